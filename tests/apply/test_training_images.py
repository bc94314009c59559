"""The images that a model was trained on, gone or replaced."""

import json
import shutil

import numpy as np
import pytest
from apply_command import complaint, pictures, run

from kerasunsup.training import files as training_files


@pytest.mark.parametrize("verb", ["outliers", "generate"])
def test_training_images_that_are_gone_are_named(model, folder, tmp_path, capsys, verb):
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    settings = json.loads((moved / "config.json").read_text())
    training_files.write_json(
        moved / "config.json", settings | {"data": str(tmp_path / "gone.npz")}
    )
    given = [verb, moved, *([folder] if verb == "outliers" else ["--count", 2])]
    line = complaint(capsys, *given, "--output", tmp_path / "out")
    assert "gone.npz" in line
    assert "--data" not in line
    assert "--reference" in line
    assert run(*given, "--output", tmp_path / "out", "--reference", folder) == 0
    assert str(folder) in capsys.readouterr().out  # and not "the images that it was trained on"


@pytest.mark.parametrize("verb", ["outliers", "generate"])
def test_other_images_in_the_place_of_the_training_images_are_not_taken_for_them(
    model, folder, tmp_path, capsys, verb
):
    moved, other = tmp_path / "moved", tmp_path / "other.npz"
    shutil.copytree(model, moved)
    np.savez(other, images=pictures(80, seed=6))
    settings = json.loads((moved / "config.json").read_text())
    training_files.write_json(moved / "config.json", settings | {"data": str(other)})
    given = [verb, moved, *([folder] if verb == "outliers" else ["--count", 2])]
    line = complaint(capsys, *given, "--output", tmp_path / "out")
    assert "other.npz holds other images" in line
    assert "--reference" in line
    # The run may know where they are by their whole path, whatever folder it was started in.
    recorded = json.loads((moved / "environment.json").read_text())
    training_files.write_json(
        moved / "environment.json", recorded | {"data_path": settings["data"]}
    )
    assert run(*given, "--output", tmp_path / "out") == 0
    assert "the images that the model was trained on" in capsys.readouterr().out
