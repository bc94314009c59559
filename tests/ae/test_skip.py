"""`ae --skip`: from the command line to restored pictures, and what has no code to work on."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import keras
import numpy as np
import processes
import pytest
import tensorflow as tf
from apply_command import complaint
from apply_command import run as apply
from apply_command import write as write_pictures

import kerasunsup as ku
from kerasunsup.ae import __main__ as ae
from kerasunsup.ae import experiment, results
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.errors import InputError
from kerasunsup.export import __main__ as export

TINY = ["--skip", "--filters", "4", "--batch-size", "32", "--deterministic"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Colour images of a bright part on black."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    generator = np.random.default_rng(0)
    pixels = np.zeros((240, 12, 15, 3), np.uint8)
    for picture in pixels:
        top, left = generator.integers(0, 6, 2)
        picture[top : top + 6, left : left + 8] = generator.integers(100, 256, 3)
    np.savez(path, images=pixels, labels=np.arange(240) % 2)
    return path


def train(data: Path, logs: Path, name: str, *more: str) -> Path:
    arguments = ["--data", str(data), "--logs", str(logs), "--name", name, *TINY, *more]
    assert ae.main(arguments) == 0
    return logs / "ae" / name


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(results, "_SIGMAS", (0.1, 0.4))
        patched.setattr(results, "_HOLES", (4,))
        more = ["--epochs", "16", "--crop", "4", "--noise", "0.5", "--learning-rate", "0.01"]
        return train(data, tmp_path_factory.mktemp("logs"), "first", *more)


def test_a_run_restores_and_leaves_out_what_is_about_codes(finished):
    numbers = json.loads((finished / "metrics.json").read_text())
    assert numbers["noise_0.4/gain_db"] > 2.0
    assert 0.0 <= numbers["noise_0.1/share_better"] <= 1.0
    assert {"test/mse", "test/psnr_db", "test/ssim", "crop_4/gain_db"} <= set(numbers)
    left_out = ("pca", "codes", "latent", "pixels", "real", "mixture_100", "judge")
    assert not [name for name in numbers if name.split("/")[0] in left_out]
    figures = {path.stem for path in (finished / "figures").glob("*.png")}
    assert figures == {"learning_curve", "reconstructions", "restorations", "corruption_sweep"}
    assert not (finished / "projector").exists()
    card = (finished / "README.md").read_text()
    assert "# A denoiser of " in card
    assert '"image-to-image"' in card
    assert "latent_dim} numbers" not in card


def test_the_saved_model_restores_by_name_and_by_default(finished):
    images = np.random.default_rng(0).random((3, 12, 15, 3), np.float32)
    loaded = tf.saved_model.load(str(finished / "export"))
    assert set(loaded.signatures) == {"reconstruct", "serving_default"}
    expected = keras.models.load_model(finished / "model.keras")(images)
    for signature in loaded.signatures.values():
        restored = signature(images=tf.constant(images))["images"]
        np.testing.assert_allclose(restored, expected, atol=1e-5)


def test_what_its_card_says_of_loading_works(finished, monkeypatch):
    monkeypatch.chdir(finished)
    names = {"images": np.zeros((3, 12, 15, 3), np.float32)}
    text = (finished / "README.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(block, names)  # noqa: S102
    assert names["restored"].shape == names["images"].shape == (3, 12, 15, 3)


def test_a_run_that_goes_on_ends_as_one_that_was_not_stopped(data, tmp_path, small_figures):
    whole = train(data, tmp_path, "whole", "--epochs", "4")
    short = train(data, tmp_path, "parts", "--epochs", "2")
    assert ae.main(["--logs", str(tmp_path), "--name", "parts", "--resume", "--epochs", "4"]) == 0
    assert json.loads((short / "config.json").read_text())["noise"] == 0.5
    one, two = processes.arrays_of(whole), processes.arrays_of(short)
    assert set(one) == set(two)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)


def test_pictures_are_restored_in_tiles_and_codes_are_refused(finished, tmp_path, capsys):
    write_pictures(tmp_path / "images", ["one.png", "sub/large.png"], (40, 33, 3))
    assert apply("restore", finished, tmp_path / "images", "--output", tmp_path / "out") == 0
    assert (tmp_path / "out" / "sub" / "large.png").is_file()
    capsys.readouterr()
    for verb in ("encode", "cluster", "outliers"):
        line = complaint(
            capsys, verb, finished, tmp_path / "images", "--resize", "--output", tmp_path / verb
        )
        assert "can reconstruct, not encode: give an autoencoder with a code" in line
        assert not (tmp_path / verb).exists()
    line = complaint(capsys, "generate", finished, "--output", tmp_path / "new")
    assert "can reconstruct, not decode" in line


def test_it_is_exported_as_one_part(finished, tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    output = tmp_path / "files"
    assert export.main([str(finished), "--format", "onnx", "--output", str(output)]) == 0
    record = json.loads((output / "export.json").read_text())["parts"]
    assert list(record) == ["autoencoder"]
    assert record["autoencoder"]["input"]["name"] == "images"
    assert record["autoencoder"]["output"]["name"] == "reconstructions"


@pytest.mark.parametrize("kind", ["--tune", "--grid", "--random"])
def test_a_search_of_it_is_refused_in_one_line(data, tmp_path, capsys, kind):
    folders = ["--logs", str(tmp_path / "logs"), "--tuning", str(tmp_path / "tuning")]
    assert ae.main(["--data", str(data), *TINY, kind, *folders]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--skip has no code" in line
    assert not list(tmp_path.iterdir())


def test_settings_give_it_something_to_restore_and_no_code():
    assert AutoencoderSettings(skip=True).noise == 0.5
    assert AutoencoderSettings(skip=True, noise=0.2).noise == 0.2
    assert AutoencoderSettings(skip=True, crop=4).noise == 0.0
    assert AutoencoderSettings().noise == 0.0
    for wrong in ({"latent_dim": 8}, {"student": True}):
        with pytest.raises(InputError, match="is about codes, and --skip has none"):
            AutoencoderSettings(skip=True, **wrong)


def test_levels_of_noise_are_drawn_and_validation_sees_the_same_ones_each_time():
    prepare = experiment.corruption_of(AutoencoderSettings(skip=True))
    images = np.full((64, 12, 12, 1), 0.5, np.float32)
    given, target = prepare(images, tf.constant([0, 1]))
    np.testing.assert_array_equal(target, images)
    spread = np.std(given, axis=(1, 2, 3))
    assert spread.min() < 0.05
    assert 0.25 < spread.max() < 0.5
    np.testing.assert_array_equal(prepare(images, tf.constant([0, 1]))[0], given)


def test_the_estimator_reconstructs_and_refuses_codes(tmp_path):
    images = np.zeros((60, 12, 12), np.uint8)
    images[:, 3:9, 2:7] = np.random.default_rng(0).integers(50, 256, (60, 1, 1))
    fitted = ku.Autoencoder(skip=True, filters=(4,), epochs=2, batch_size=16, verbose=0).fit(images)
    restored = fitted.reconstruct(images[:5])
    assert restored.shape == (5, 12, 12)
    assert fitted.score(images) < 0.0
    loaded = ku.load(fitted.save(tmp_path / "saved"))
    assert loaded.skip is True
    np.testing.assert_allclose(loaded.reconstruct(images[:5]), restored, atol=1e-6)
    for call in (
        lambda: loaded.transform(images),
        lambda: loaded.inverse_transform(np.zeros((2, 32))),
        lambda: loaded.sample(2),
        lambda: loaded.predict(images),
        lambda: loaded.cluster(images),
    ):
        with pytest.raises(ValueError, match="a denoiser has no code"):
            call()
    with pytest.raises(ValueError, match="encoder"):
        ku.Classifier(encoder=loaded).fit(images, np.arange(60) % 2)


def test_history_has_the_error_of_restored_images(finished):
    with (finished / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_loss"]) < 0.8 * float(rows[0]["val_loss"])
