"""`apply encode`, with a small untrained model."""

import keras
import numpy as np
import pytest
from apply_command import complaint, files, pictures, run, table, write
from PIL import Image

from kerasunsup.training import files as training_files


@pytest.mark.parametrize("place", [".", "export", "model.keras"])
def test_encode_gives_the_codes_of_a_run_its_export_and_its_keras_file(
    model, folder, tmp_path, place
):
    output = tmp_path / "out"
    assert run("encode", model / place, folder, "--output", output, "--batch-size", 7) == 0
    stored = training_files.read_arrays(output / "codes.npz")
    assert list(stored["files"]) == sorted(files(folder))
    images = np.stack([np.asarray(Image.open(folder / name)) for name in stored["files"]])
    encoder = keras.models.load_model(model / "model.keras").get_layer("encoder")
    expected = np.asarray(encoder(images[..., np.newaxis].astype(np.float32) / 255.0))
    np.testing.assert_allclose(stored["codes"], expected, atol=1e-5)
    rows = table(output / "codes.csv")
    assert [row["file"] for row in rows] == list(stored["files"])
    assert float(rows[3]["code_2"]) == pytest.approx(expected[3, 2], rel=1e-4)
    assert files(output) == {"apply.json", "codes.csv", "codes.npz", "index.npz"}


def test_the_projector_gets_codes_with_their_images(model, folder, tmp_path):
    output = tmp_path / "out"
    assert run("encode", model, folder, "--output", output, "--projector") == 0
    assert len((output / "projector" / "codes.tsv").read_text().splitlines()) == 40
    assert (output / "projector" / "labels.tsv").read_text().splitlines()[0] == "a/0.png"


def test_images_from_an_npz_get_names_of_their_parts(model, tmp_path):
    np.savez(tmp_path / "x.npz", x_train=pictures(3), x_test=pictures(2, seed=1))
    output = tmp_path / "out"
    arguments = ["encode", model, tmp_path / "x.npz", "--part", "test"]
    assert run(*arguments, "--output", output) == 0
    assert [row["file"] for row in table(output / "codes.csv")] == [
        "test/00000.png", "test/00001.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "more", "says"),
    [
        ((16, 20, 1), [], "x.png is 16 x 20 pixels, the model takes 16 x 16: add --resize"),
        ((16, 16, 3), [], "x.png is in colour, the model takes grey images: add --grey"),
    ],
)
def test_images_that_do_not_fit_are_named_and_can_be_made_to_fit(
    model, tmp_path, capsys, shape, more, says
):
    write(tmp_path / "images", ["x.png"], shape)
    arguments = ["encode", model, tmp_path / "images", "--output", tmp_path / "out"]
    assert says in complaint(capsys, *arguments)
    # Nothing came of it, so the same folder will do.
    assert run(*arguments, "--resize", "--grey") == 0
