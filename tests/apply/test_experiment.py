"""`apply` as a user starts it: models and images that it refuses, and every verb on few images."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from apply_command import complaint, parts, run, write

from kerasunsup.apply import __main__ as apply
from kerasunsup.models import export
from kerasunsup.training import files as training_files


def test_a_model_that_cannot_do_it_says_what_can(model, folder, tmp_path, capsys):
    export.write_keras(tmp_path / "encoder.keras", parts()[0])
    out = tmp_path / "out"
    line = complaint(capsys, "restore", tmp_path / "encoder.keras", folder, "--output", out)
    assert "can encode, not reconstruct: give an autoencoder" in line
    assert not out.exists()


def test_what_is_no_model_is_refused(folder, tmp_path, capsys):
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    for place, says in (
        ("missing", "is not there"),
        ("images", "is a folder without a model"),
        ("bad.keras", "cannot be loaded"),
    ):
        line = complaint(capsys, "encode", tmp_path / place, folder, "--output", tmp_path / "out")
        assert says in line


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_images_come_to_an_end_in_every_verb(model, tmp_path, capsys, number):
    write(tmp_path / "images", [f"{index}.png" for index in range(number)])
    for verb in ("restore", "encode", "outliers", "select", "similar"):
        output = tmp_path / verb
        if verb == "similar" and number == 1:
            line = complaint(capsys, verb, model, tmp_path / "images", "--output", output)
            assert "need two images" in line
            continue
        assert run(verb, model, tmp_path / "images", "--output", output) == 0
        assert list(output.glob("*_sheet.png")) or verb in ("encode", "similar")
    line = complaint(capsys, "cluster", model, tmp_path / "images", "--output", tmp_path / "groups")
    assert "give more images" in line


def test_a_saved_model_is_opened_only_where_it_is_trusted(
    model, folder, tmp_path, capsys, monkeypatch
):
    alone = tmp_path / "alone"
    shutil.copytree(model / "export", alone)
    # A file of settings in its own folder, or around it, vouches for nothing.
    around = tmp_path / "around"
    shutil.copytree(model / "export", around / "export")
    shutil.copy(model / "config.json", around)
    opened, load = [], tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda at: opened.append(at) or load(at))
    for place in (alone, around, around / "export"):
        line = complaint(capsys, "encode", place, folder, "--output", tmp_path / "out")
        assert "can do anything" in line
        assert "--trust-model" in line
    for place in (model, model / "export"):
        assert run("encode", place, folder, "--output", tmp_path / f"out-{place.name}") == 0
    assert opened == []  # the .keras file beside it is
    assert run("encode", alone, folder, "--output", tmp_path / "out", "--trust-model") == 0
    assert len(opened) == 1
    codes = [
        training_files.read_arrays(tmp_path / at / "codes.npz")["codes"]
        for at in ("out", "out-export")
    ]
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["encode", "m"], "required: IMAGES, --output"),
        (["clean", "m"], "invalid choice: 'clean'"),
        (["outliers", "m", "i", "--output", "o", "--share", "0"], "--share must be above 0.0"),
        (["encode", "m", "i", "--output", "o", "--clusters", "3"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_get_one_line(capsys, arguments, says):
    try:
        status = apply.main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line


def test_empty_and_unreadable_folders_are_refused(model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    line = complaint(capsys, "encode", model, tmp_path / "empty", "--output", tmp_path / "out")
    assert "the folder is empty" in line
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"nothing")
    line = complaint(capsys, "encode", model, tmp_path / "bad", "--output", tmp_path / "out2")
    assert "can be read, such as x.png" in line
    assert not (tmp_path / "out2").exists()
