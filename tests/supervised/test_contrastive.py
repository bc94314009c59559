"""The methods on a contrastive encoder: trained once in a run, kept, measured beside the others."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasunsup.supervised import __main__ as supervised
from kerasunsup.supervised import contrastive as methods
from kerasunsup.supervised.settings import CONTRASTIVE
from kerasunsup.training import contrastive, files

TRAINING_IMAGES = 480


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    """Arguments of a small run: 600 images of 16 x 16 with a bright bar, whose row is the class."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    labels = np.arange(600) % 4
    pixels = np.random.default_rng(0).integers(0, 120, (600, 16, 16), np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        picture[3 * label + 2 : 3 * label + 5] += 100
    np.savez(path, images=pixels, labels=labels)
    return [
        "--data", str(path), "--encoder-epochs", "2", "--labels", "40", "--epochs", "1",
        "--steps", "20", "--repetitions", "2", "--batch-size", "32", "--deformation", "0.2",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """An autoencoder of which no run says how long its training took."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(inputs))
    part = keras.Model(inputs, keras.layers.Dense(8, name="codes")(x), name="encoder")
    path = tmp_path_factory.mktemp("encoder") / "model.keras"
    keras.Model(inputs, part(inputs)).save(path)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small, encoder) -> Path:
    """The folder of a run with every contrastive method."""
    logs = tmp_path_factory.mktemp("logs")
    arguments = ["--logs", str(logs), "--name", "run", "--encoder", str(encoder)]
    assert supervised.main([*small, *arguments, "--arms", "linear_probe", *CONTRASTIVE]) == 0
    return logs / "supervised" / "run"


def numbers_of(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def test_a_run_measures_both_encoders(finished):
    numbers = numbers_of(finished)
    for method in CONTRASTIVE:
        assert numbers[f"labels_40/{method}_accuracy"] > 0.4  # more than a guess
        assert f"labels_40/{method}_accuracy_std" in numbers
        assert f"labels_40/{method}_validation_accuracy" in numbers
    assert "labels_40/contrastive_minus_linear_probe" in numbers
    assert numbers["contrastive/seconds"] > 0
    assert numbers["contrastive/loss"] < np.log(2 * 32 - 1)
    # No run says the seconds of this encoder: two epochs of the training images, in full batches.
    assert numbers["contrastive/images"] == 2 * 32 * (TRAINING_IMAGES // 32)
    assert "encoder/seconds" not in numbers
    for name in ("contrastive", "encoder"):
        assert 0.25 <= numbers[f"{name}/groups_accuracy"] <= 1.0
        assert 0.25 <= numbers[f"{name}/groups_training_accuracy"] <= 1.0


def test_the_exported_classifier_is_the_contrastive_one_that_was_measured(finished, small):
    model = keras.models.load_model(finished / "model.keras")
    stored = files.read_arrays(finished / "checkpoints" / "contrastive_finetuned-40-0.npz")
    assert model.input_shape == (None, 16, 16, 1)
    assert numbers_of(finished)["test/accuracy"] == stored["accuracy"]
    weights = [array for name, array in sorted(stored.items()) if name.startswith("weights/")]
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_goes_on_with_the_encoder_that_it_trained(finished, monkeypatch):
    before = numbers_of(finished)
    (finished / "metrics.json").unlink()
    (finished / "checkpoints" / "contrastive-40-1.npz").unlink()

    def never(*_, **__):
        raise AssertionError("the encoder is trained already")

    monkeypatch.setattr(contrastive, "train", never)
    logs = str(finished.parent.parent)
    assert supervised.main(["--resume", "--logs", logs, "--name", "run"]) == 0
    after = numbers_of(finished)
    del before["training_seconds"], after["training_seconds"]
    assert after == pytest.approx(before, nan_ok=True, abs=1e-6)


def test_a_training_that_was_stopped_is_repeated_with_as_many_steps(finished, monkeypatch):
    """What was stopped leaves the number of steps, which may follow from the time of some."""
    kept = finished / "checkpoints" / "contrastive_encoder.npz"
    content, arrays = kept.read_bytes(), files.read_arrays(kept)
    kept.unlink()
    (finished / "metrics.json").unlink()
    logs = str(finished.parent.parent)
    try:
        assert supervised.main(["--resume", "--logs", logs, "--name", "run"]) == 0
        again = files.read_arrays(kept)
    finally:
        kept.write_bytes(content)
    assert set(again) == set(arrays)
    for name in set(arrays) - {"contrastive/seconds"}:
        np.testing.assert_allclose(again[name], arrays[name], rtol=1e-5, atol=1e-6)


def test_a_damaged_encoder_is_named(finished, capsys):
    kept = finished / "checkpoints" / "contrastive_encoder.npz"
    content = kept.read_bytes()
    logs = str(finished.parent.parent)
    try:
        for arrays in ({"weights/0000": np.zeros(3)}, None):
            if arrays is None:
                kept.write_bytes(content[:50])
            else:
                files.write_arrays(kept, arrays)
            assert supervised.main(["--resume", "--logs", logs, "--name", "run"]) == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert str(kept) in error
    finally:
        kept.write_bytes(content)


def test_it_takes_the_seconds_of_the_usual_encoder_where_its_run_says_them(
    small, encoder, tmp_path, monkeypatch
):
    run = tmp_path / "ae" / "timed"
    run.mkdir(parents=True)
    (run / "model.keras").write_bytes(encoder.read_bytes())
    (run / "metrics.json").write_text('{"training_seconds": 12.5}')
    asked = []

    def steps_within(seconds, *_):
        asked.append(seconds)
        return 7

    monkeypatch.setattr(contrastive, "steps_within", steps_within)
    arguments = ["--logs", str(tmp_path), "--name", "run", "--encoder", "timed"]
    assert supervised.main([*small, *arguments, "--arms", "contrastive", "--labels", "40"]) == 0
    numbers = numbers_of(tmp_path / "supervised" / "run")
    assert asked == [12.5] == [numbers["encoder/seconds"]]
    assert numbers["contrastive/images"] == 7 * 32
    assert not (tmp_path / "supervised" / "run" / "export").exists()  # a probe is no network


def test_no_contrastive_encoder_is_trained_unless_a_method_needs_it(
    small, encoder, tmp_path, monkeypatch
):
    monkeypatch.setattr(methods, "_contrastive_encoder", None)  # it cannot be called
    arguments = ["--logs", str(tmp_path), "--name", "run", "--encoder", str(encoder)]
    assert supervised.main([*small, *arguments, "--arms", "linear_probe"]) == 0
    assert not any("contrastive" in name for name in numbers_of(tmp_path / "supervised" / "run"))


def test_codes_that_are_no_numbers_are_one_line(small, encoder, tmp_path, capsys):
    arguments = ["--logs", str(tmp_path), "--name", "run", "--encoder", str(encoder)]
    broken = ["--arms", "contrastive", "--learning-rate", "1e30"]
    assert supervised.main([*small, *arguments, *broken]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "codes that are no numbers: choose a smaller --learning-rate" in error
    kept = tmp_path / "supervised" / "run" / "checkpoints" / "contrastive_encoder.npz"
    assert not kept.exists()


def test_several_devices_are_refused_in_one_line(small, tmp_path, capsys):
    arguments = ["--logs", str(tmp_path), "--arms", "contrastive", "--strategy", "mirrored"]
    assert supervised.main([*small, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--arms contrastive trains on one device" in error
    assert not (tmp_path / "supervised").exists()
