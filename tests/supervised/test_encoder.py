"""The encoder of the comparison: how the usual one is told apart, and that a run keeps its own."""

from __future__ import annotations

import dataclasses

import pytest

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.errors import InputError
from kerasunsup.settings import Command
from kerasunsup.supervised import encoder
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training.run_folder import Run


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "mixed_bfloat16"}, {"strategy": "mirrored"}, {"deterministic": True},
        {"seed": 1}, {"epochs": 3}, {"schedule": "constant"}, {"hidden_units": 128},
    ],
)  # fmt: skip
def test_usual_encoders_are_told_apart_by_everything_that_changes_them(change):
    usual = AutoencoderSettings(epochs=20, **encoder.ENCODER_SETTINGS)
    name = encoder.encoder_name(usual, "images")
    assert encoder.encoder_name(dataclasses.replace(usual, **change), "images") != name
    assert encoder.encoder_name(dataclasses.replace(usual, data="a/copy"), "images") == name
    assert encoder.encoder_name(usual, "others") != name


def test_usual_encoders_of_two_versions_are_told_apart(monkeypatch):
    usual = AutoencoderSettings()
    name = encoder.encoder_name(usual, "images")
    monkeypatch.setattr(encoder.kerasunsup, "__version__", "99")
    assert encoder.encoder_name(usual, "images") != name


def test_a_run_that_goes_on_keeps_to_its_encoder(tmp_path, monkeypatch):
    model = tmp_path / "ae" / "encoder-of-an-earlier-version" / "model.keras"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    (model.parent / "metrics.json").write_text("{}")
    given = Command("supervised", SupervisedSettings(), tmp_path, "r", True, ())
    run = Run(tmp_path / "supervised" / "r")
    encoder.record_encoder(run, model)

    class Splits:
        fingerprint = name = "images"

    monkeypatch.setattr(encoder.autoencoder, "run", lambda *_, **__: pytest.fail("trains"))
    assert encoder.usual_encoder(given, Splits(), run) == model
    encoder.record_encoder(run, model)
    model.write_bytes(b"trained anew")
    with pytest.raises(InputError, match=r"another encoder than the one that .* began"):
        encoder.record_encoder(run, model)
    # One that an earlier version began wrote down nothing: its encoder had a shorter name.
    (run.folder / "checkpoints" / "encoder.json").unlink()
    model.parent.rename(tmp_path / "ae" / "encoder-images-20")
    found = encoder.usual_encoder(given, Splits(), run)
    assert found == tmp_path / "ae" / "encoder-images-20" / "model.keras"
