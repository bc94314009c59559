"""`apply generate`, with a small autoencoder and a small generator."""

import shutil

import keras
import numpy as np
from apply_command import complaint, files, run
from PIL import Image

from kerasunsup.data import images
from kerasunsup.evaluation import latent_space
from kerasunsup.models import code_flow, export, networks
from kerasunsup.training import code_sampler


def test_generate_begins_alike_whatever_the_count_and_the_batch(model, tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    assert run("generate", model, "--count", 3, "--output", few) == 0
    assert run("generate", model, "--count", 5, "--batch-size", 2, "--output", many) == 0
    names = [f"images/{number:05d}.png" for number in range(5)]
    assert files(many) == {"apply.json", "generate_sheet.png", *names}
    for name in names[:3]:
        assert (few / name).read_bytes() == (many / name).read_bytes()


def test_generate_from_a_generator(tmp_path):
    generator = networks.generator((16, 16, 3), noise_dim=4, base_filters=2, categories=3)
    export.write_keras(tmp_path / "generator.keras", generator)
    output = tmp_path / "out"
    assert run("generate", tmp_path / "generator.keras", "--count", 2, "--output", output) == 0
    with Image.open(output / "images" / "00001.png") as picture:
        assert (picture.size, picture.mode) == ((16, 16), "RGB")


def test_generate_by_the_sampler_that_is_kept_with_the_run(model, tmp_path, monkeypatch, capsys):
    """Nothing is fitted; what is made is what the SavedModel makes of the same noise."""
    monkeypatch.setattr(code_flow, "_UNITS", 8)
    monkeypatch.setattr(code_flow, "_LEAST_STEPS", 10)
    run_folder = shutil.copytree(model, tmp_path / "run")
    codes = np.random.default_rng(0).standard_normal((90, 4)).astype(np.float32)
    sampler = code_sampler.fit(codes, "flow", seed=0)
    sampler.write(run_folder / "sampler.npz")
    (run_folder / "config.json").write_text("{}")  # the training images are not needed

    monkeypatch.setattr(latent_space, "fit_mixture", None)
    output = tmp_path / "out"
    assert run("generate", run_folder, "--count", 3, "--seed", 5, "--output", output) == 0
    assert "drawing codes from the flow" in capsys.readouterr().out
    decoder = keras.models.load_model(run_folder / "model.keras").get_layer("decoder")
    noise = code_sampler.noise(256, 4, [5, 0])
    expected = images.to_uint8(sampler.generator(decoder).predict(noise, verbose=0))
    with Image.open(output / "images" / "00002.png") as picture:
        np.testing.assert_allclose(np.asarray(picture), expected[2, ..., 0], atol=1)


def test_generate_follows_a_reference_even_where_a_sampler_is_kept(model, folder, tmp_path, capsys):
    run_folder = shutil.copytree(model, tmp_path / "run")
    (run_folder / "sampler.npz").write_bytes(b"damaged")
    arguments = ("--count", 2, "--output", tmp_path / "out")
    assert run("generate", run_folder, "--reference", folder, *arguments) == 0
    line = complaint(capsys, "generate", run_folder, "--count", 2, "--output", tmp_path / "other")
    assert "sampler.npz cannot be read" in line


def test_one_image_does_not_tell_what_codes_are_like(model, folder, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    shutil.copy(folder / "a" / "3.png", tmp_path / "one")
    line = complaint(
        capsys, "generate", model, "--reference", tmp_path / "one", "--output", tmp_path / "out"
    )
    assert "give more images" in line
