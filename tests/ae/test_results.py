"""What is measured of an autoencoder: of few images, of equal ones, and a block at a time."""

from __future__ import annotations

import dataclasses
import functools
import math
import types

import keras
import numpy as np
import pytest

from kerasunsup.ae import experiment, results, summary
from kerasunsup.ae import trained as trained_module
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.ae.trained import TrainedAutoencoder, example_indices
from kerasunsup.data import image_set as data_image_set
from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Labels, Splits
from kerasunsup.models import networks, optimizers
from kerasunsup.training import feature_network, loop, self_labelling
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

SETTINGS = AutoencoderSettings(latent_dim=3, num_samples=100, num_codes=50)


def splits(pixels: np.ndarray, num_test: int, labels: np.ndarray | None = None) -> Splits:
    """The last images are for the test, one before them for validation."""
    pool = ImageSet(pixel_storage.MemoryStore(pixels))
    last = len(pixels) - num_test
    parts = [slice(0, last - 1), slice(last - 1, last), slice(last, len(pixels))]
    return Splits(
        *(pool.subset(np.arange(len(pixels))[part]) for part in parts), "shapes", None,
        None if labels is None else Labels(*(labels[part] for part in parts)),
    )  # fmt: skip


def noise(number: int, channels: int = 1, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, side, side, channels), np.uint8)


@pytest.fixture(autouse=True)
def short(monkeypatch, small_figures):
    """One step of a feature network's training, one strength of each corruption."""
    monkeypatch.setattr(feature_network, "_LEAST_STEPS", 1)
    monkeypatch.setattr(results, "_SIGMAS", (0.4,))
    monkeypatch.setattr(results, "_HOLES", (4,))


def measured(folder, parts: Splits) -> dict[str, float]:
    """All numbers of a network that was not trained."""
    keras.utils.set_random_seed(0)
    shape = {"latent_dim": 3, "filters": (2,), "hidden_units": 16}
    encoder = networks.encoder(parts.image_shape, **shape)
    model = networks.autoencoder(encoder, networks.decoder(parts.image_shape, **shape))
    fitted = loop.Fitted({"epoch": [1], "loss": [0.1], "val_loss": [0.1]}, 1, 1.0)
    shown = parts.test.array(example_indices(parts))
    snapshots = types.SimpleNamespace(outputs=[shown], epochs=[1])
    run = Run(folder / "ae" / "run")
    with training_tensorboard.TensorBoardWriter(run.folder) as tensorboard:
        return results.write_results(model, parts, SETTINGS, run, tensorboard, fitted, snapshots)


CASES = {
    "13 images": (noise(13), 1, False),
    "3 to test, in colour": (noise(20, 3, 9), 3, True),
    "black": (np.zeros((40, 8, 8, 1), np.uint8), 25, True),
    "alike but for one": (np.concatenate([noise(1)] * 39 + [noise(1) ^ 255]), 25, False),
}


@pytest.mark.parametrize("name", CASES)
def test_few_and_equal_images_end_with_finite_numbers(tmp_path, name, capsys, monkeypatch):
    pixels, num_test, is_labelled = CASES[name]
    if name != "black":  # of which every figure is drawn to its end
        monkeypatch.setattr(training_tensorboard.TensorBoardWriter, "show", lambda *_: None)
    labels = np.arange(len(pixels)) % 2 if is_labelled else None
    numbers = measured(tmp_path, splits(pixels, num_test, labels))
    assert all(map(math.isfinite, numbers.values()))
    assert {"test/mse", "test/ssim", "pca/mse", "noise_0.4/gain_db"} <= set(numbers)
    assert ("reconstructed/precision" in numbers) == (num_test >= 20)
    assert "real/precision" not in numbers  # of one validation image
    assert ("judge/accuracy" in numbers) == (is_labelled and num_test >= 20)
    output = capsys.readouterr().out
    assert "too few real images for some numbers" in output
    assert ("a black hole changes no test image" in output) == (name == "black")
    assert ("crop_4/mse" in numbers) == (name != "black")
    why = f"{num_test} test images are too few" if num_test < 4 else "all codes are alike"
    is_mapped = name == "alike but for one"
    assert (f"no map of the encoded space: {why}" in output) != is_mapped


def test_numbers_of_blocks_are_those_of_all_images_at_once(tmp_path, monkeypatch):
    labels = np.arange(160) % 2
    parts = splits(noise(160), 60, labels)
    monkeypatch.setattr(training_tensorboard.TensorBoardWriter, "show", lambda *_: None)
    whole = measured(tmp_path / "whole", parts)
    monkeypatch.setattr(data_image_set, "_BLOCK_BYTES", 40 * 8 * 8 * 4)
    (tmp_path / "blocks").mkdir()
    (tmp_path / "whole" / "judge").rename(tmp_path / "blocks" / "judge")
    read = []
    array = ImageSet.array

    def recorded(image_set, indices=None):
        read.append(len(image_set) if indices is None else len(indices))
        return array(image_set, indices)

    monkeypatch.setattr(ImageSet, "array", recorded)
    blocks = measured(tmp_path / "blocks", parts)
    assert sorted(read)[-3:] == [40, 60, 99]  # PCA's and the groups' images are bounded apart
    assert set(blocks) == set(whole)
    for name, value in whole.items():
        # Each block has noise of its own.
        tolerance = 0.3 if name.startswith(("noise", "crop")) else 1e-3
        assert blocks[name] == pytest.approx(value, rel=1e-3, abs=tolerance), name


def test_large_images_are_held_in_smaller_numbers(monkeypatch):
    monkeypatch.setattr(trained_module, "_HELD_BYTES", 50 * 8 * 8 * 4)
    trained = TrainedAutoencoder(None, splits(noise(300), 100), SETTINGS, None, None)
    assert trained.most_held == 50
    trained = TrainedAutoencoder(None, splits(noise(300, 3, 16), 100), SETTINGS, None, None)
    assert trained.most_held == 4


def test_a_student_groups_the_test_images_by_what_training_images_taught_it(monkeypatch):
    """Bright upper or lower halves, whose codes are two numbers."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    pixels = random.integers(0, 60, (200, 8, 8, 1), np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        picture[4 * label : 4 * label + 4] += 150
    short = functools.partial(self_labelling.StudentSettings, taught_steps=40, epochs=1)
    monkeypatch.setattr(self_labelling, "StudentSettings", short)
    monkeypatch.setattr(self_labelling, "_LEAST_STEPS", 4)
    monkeypatch.setattr(optimizers, "FusedAdam", optimizers.AveragingAdam)
    inputs = keras.Input((8, 8, 1))
    halves = keras.layers.Flatten()(keras.layers.AveragePooling2D((4, 8))(inputs))
    model = keras.Model(inputs, keras.Model(inputs, halves, name="encoder")(inputs))
    # A second network would be taught for 900 steps.
    asked = dataclasses.replace(SETTINGS, student=True, student_rounds=1)
    trained = TrainedAutoencoder(model, splits(pixels, 60, labels), asked, None, None)
    numbers = results.groups(trained)
    assert {"latent/student_accuracy", "latent/student_nmi", "latent/graph_ari"} <= set(numbers)
    assert numbers["latent/student_accuracy"] > 0.9
    trained = dataclasses.replace(trained, settings=SETTINGS)
    assert "latent/student_accuracy" not in results.groups(trained)


@pytest.mark.parametrize(("error", "is_said"), [(0.066, True), (0.05, False)])
def test_a_network_that_answers_with_one_picture_is_told_of(error, is_said):
    text = summary.summary({"test/mse": error, "mean_image/mse": 0.067})
    assert ("with nearly the same picture: lower --learning-rate" in text) is is_said
    assert "nearly the same" not in summary.summary({"test/mse": error})  # a denoiser's


@pytest.mark.parametrize(("training", "is_said"), [(0.015, True), (0.05, False), (0.0, False)])
def test_a_network_that_knows_its_images_by_heart_is_told_of(training, is_said):
    text = summary.summary({"training/mse": training, "validation/mse": 0.0567})
    advice = (
        "by heart (error 0.015, of images held out 0.0567): give it more images, or deform them "
        "(--deformation 0.5)"
    )
    assert (advice in text) is is_said
    assert "by heart" not in summary.summary({"test/mse": 0.1})
    # As a part of another command, which has other flags.
    numbers = {"training/mse": 0.01, "validation/mse": 0.06, "test/mse": 0.06}
    assert "--" not in summary.summary(numbers | {"mean_image/mse": 0.06}, advice=False)


def test_training_begins_with_images_like_the_mean_one():
    # Else a deep network of dark images ends with black ones.
    dark = np.random.default_rng(0).integers(0, 40, (30, 32, 32, 3), np.uint8)
    dark[..., 0] = 200
    part = ImageSet(pixel_storage.MemoryStore(dark))
    splits = Splits(
        train=part, validation=part, test=part, name="dark", class_names=None, labels=None
    )
    settings = AutoencoderSettings(filters=(4, 8, 8), hidden_units=16, latent_dim=4)
    mean = loop.mean_pixel(splits)
    np.testing.assert_allclose(mean, part.array().mean(axis=(0, 1, 2), dtype=float))
    answer = np.asarray(experiment.untrained(settings, splits)(part.array()))
    np.testing.assert_allclose(answer.mean(axis=(0, 1, 2)), mean, atol=0.1)
    black = dataclasses.replace(splits, train=ImageSet(pixel_storage.MemoryStore(0 * dark)))
    answer = np.asarray(experiment.untrained(settings, black)(part.array()))
    assert 0.001 < answer.mean() < 0.1  # there is a gradient left
