"""The `README.md` of a run: what the Hub reads, and what a stranger can do with it."""

import json
import os
import re

import keras
import numpy as np
import pytest
from apply_command import SHAPE, parts

from kerasunsup.errors import InputError
from kerasunsup.models import export, networks
from kerasunsup.training import files, model_card
from kerasunsup.training.run_folder import Run

METRICS = {
    "ae": {"test/mse": 0.0041, "test/psnr_db": None, "noise_0.4/gain_db": 9.25, "epochs": 3},
    "gan": {"fid": 2.25, "real/fid": 0.5},
    "supervised": {"test/accuracy": 0.983, "labels_100/scratch_accuracy": 0.7},
}


def run_of(tmp_path, experiment, name="first", **settings) -> Run:
    folder = tmp_path / experiment / name
    files.write_json(
        folder / "config.json",
        {"data": "mnist", "limit": None, "latent_dim": 4, "noise_dim": 6, "filters": [4, 8]}
        | settings,
    )
    files.write_json(
        folder / "environment.json",
        {
            "started": "2026-11-26T00:21:51+00:00",
            "command": ["kerasunsup", experiment, "--name", "first run"],
            "seed": 3,
            "versions": {"keras": "3.15.1"},
            "git_commit": None,
            "data": "bdbb4f53bdb0f60f",
            "data_path": "/home/somebody/secret",
        },
    )
    files.write_json(folder / "metrics.json", METRICS[experiment])
    return Run(folder)


def front_matter(text):
    """The fields of the front matter, each of which is JSON, which YAML includes."""
    _, head, _ = text.split("---\n", 2)
    return {
        name: json.loads(value)
        for name, value in (line.split(": ", 1) for line in head.splitlines())
    }


def written(run) -> str:
    path = model_card.write(run, run.read_metrics())
    assert path == run.folder / "README.md"
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("experiment", ["ae", "gan", "supervised"])
def test_the_hub_finds_its_fields(tmp_path, experiment):
    text = written(run_of(tmp_path, experiment))
    fields = front_matter(text)
    assert fields["license"] == "mit"
    assert fields["library_name"] == "keras"
    assert {"keras", "kerasunsup"} < set(fields["tags"])
    expected = {
        "ae": [{"type": "mse", "value": 0.0041, "name": "test/mse"}],  # null is no number
        "gan": [],  # its distances are not those that the Hub calls so
        "supervised": [{"type": "accuracy", "value": 0.983, "name": "test/accuracy"}],
    }[experiment]
    assert fields.get("metrics", []) == [metric["type"] for metric in expected]
    (index,) = fields.get("model-index", [{"results": [{"metrics": []}]}])
    (result,) = index["results"]
    assert result["metrics"] == expected
    assert text.startswith("---\n")


@pytest.mark.parametrize("experiment", ["ae", "gan", "supervised"])
def test_every_number_is_one_of_metrics_json(tmp_path, experiment):
    text = written(run_of(tmp_path, experiment))
    section = text.split("## Numbers")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| (\S+) \| (\S+) \|$", section, flags=re.MULTILINE))
    del rows["number"], rows["---"]
    assert set(rows) == set(METRICS[experiment])
    for name, value in METRICS[experiment].items():
        assert rows[name] == ("none" if value is None else f"{value:.6g}")


def test_data_settings_command_and_versions_are_told(tmp_path):
    text = written(run_of(tmp_path, "ae"))
    for line in (
        "# An autoencoder of mnist",
        "into a code of 4 numbers",
        "| fingerprint | bdbb4f53bdb0f60f |",
        "| filters | 4 8 |",
        "| command | kerasunsup ae --name 'first run' |",
        "| keras | 3.15.1 |",
        "| run | ae/first |",
    ):
        assert line in text
    assert "secret" not in text
    assert "commit" not in text
    assert "--quick" not in text
    assert "Attribution-ShareAlike" in text


def test_a_variational_autoencoder_is_called_so_and_names_its_signature(tmp_path):
    run = run_of(tmp_path, "ae", variational=True)
    (run.folder / "model.keras").touch()
    text = written(run)
    assert "# A variational autoencoder of mnist" in text
    assert "from 4 normally distributed numbers" in text
    assert "# others: decode, reconstruct, sample\n" in text
    assert {"autoencoder", "variational-autoencoder"} < set(front_matter(text)["tags"])
    assert "sample" not in written(run_of(tmp_path, "ae", "other", variational=False))


@pytest.mark.parametrize(("sampler", "is_said"), [("neighbors", True), ("mixture", False)])
def test_who_holds_codes_of_training_images_is_told(tmp_path, sampler, is_said):
    run = run_of(tmp_path, "ae", sampler=sampler)
    (run.folder / "model.keras").touch()
    (run.folder / "sampler.npz").touch()
    assert ("hold codes of training images" in written(run)) is is_said


def test_of_own_images_the_licence_is_left_to_their_owner(tmp_path):
    text = written(run_of(tmp_path, "ae", data="/home/somebody/cats | <b>dogs"))
    assert front_matter(text)["license"] == "unknown"
    assert "put their licence" in text
    assert "# An autoencoder of cats \\| \\<b>dogs" in text
    assert "somebody/cats" not in text.split("## Settings")[0]


def test_a_smoke_run_says_so(tmp_path):
    run = run_of(tmp_path, "gan")
    path = run.folder / "environment.json"
    files.write_json(path, files.read_json(path) | {"command": ["kerasunsup", "gan", "--quick"]})
    assert "numbers say nothing" in written(run)


@pytest.mark.parametrize(
    ("experiment", "settings"), [("ae", {}), ("ae", {"variational": True}), ("gan", {})]
)
def test_what_it_says_of_loading_works(tmp_path, monkeypatch, experiment, settings):
    run = run_of(tmp_path, experiment, **settings)
    encoder, decoder = parts()
    if experiment == "ae":
        model, signature = networks.autoencoder(encoder, decoder), (encoder, "images", "codes")
        images = np.zeros((2, *SHAPE), np.float32)
        export.write_saved_model(run.folder / "export", {"encode": signature}, {"encode": images})
    else:
        inputs = keras.Input((6,))
        model = keras.Model(inputs, decoder(keras.layers.Dense(4)(inputs)))
        export.write_saved_model(
            run.folder / "export",
            {"generate": (model, "noise", "images")},
            {"generate": np.zeros((2, 6), np.float32)},
        )
    file = {"ae": "model.keras", "gan": "generator.keras"}[experiment]
    export.write_keras(run.folder / file, model)
    monkeypatch.chdir(run.folder)
    names = {"images": np.zeros((3, *SHAPE), np.float32)}
    for block in re.findall(r"```python\n(.*?)```", written(run), flags=re.DOTALL):
        exec(block, names)  # noqa: S102
    if experiment == "ae":
        assert names["codes"].shape == (3, 4)
        assert names["reconstructions"].shape == (3, *SHAPE)
        assert ("samples" in names) is bool(settings)
        assert "samples" not in names or names["samples"].shape == (16, *SHAPE)
    else:
        assert names["images"].shape == (16, *SHAPE)


def test_a_run_without_a_model_says_so(tmp_path):
    text = written(run_of(tmp_path, "supervised"))
    assert "This run left no model" in text
    assert "```" not in text


def test_it_is_written_anew_whole_or_not_at_all(tmp_path, monkeypatch):
    run = run_of(tmp_path, "ae")
    first = written(run)
    files.write_json(run.folder / "metrics.json", {"test/mse": 0.5})

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            model_card.write(run, {})
    assert (run.folder / "README.md").read_text(encoding="utf-8") == first
    assert "| test/mse | 0.5 |" in written(run)
    assert not list(run.folder.glob(".*"))


def test_what_cannot_be_told_is_refused(tmp_path):
    run = run_of(tmp_path, "ae")
    (run.folder / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        model_card.write(run, {})
    with pytest.raises(ValueError, match="novelty leaves no model"):
        model_card.write(Run(tmp_path / "novelty" / "first"), {})
