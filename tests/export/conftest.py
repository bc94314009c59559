"""Small untrained models as their runs leave them, with their data."""

import keras
import numpy as np
import pytest
from apply_command import SHAPE, parts, pictures

from kerasunsup.data import splits
from kerasunsup.models import export, networks
from kerasunsup.settings import TrainingSettings, to_json
from kerasunsup.training import files


def write_run(folder, training, **models):
    """A run's folder with its settings, the fingerprint of its data, and `.keras` files."""
    settings = TrainingSettings(data=str(training))
    # Settings of its own, which an export does not know, stand beside those of every run.
    files.write_json(folder / "config.json", {**to_json(settings), "own": 4})
    files.write_json(folder / "environment.json", {"data": splits.load(settings).fingerprint})
    for name, model in models.items():
        export.write_keras(folder / f"{name}.keras", model)
    return folder


@pytest.fixture(scope="session")
def training(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "training.npz"
    labels = np.arange(80) % 3
    # A bright band says the class.
    images = pictures(80, seed=5) // 2
    for image, label in zip(images, labels, strict=True):
        image[5 * label : 5 * label + 5] += 100
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="session")
def ae(tmp_path_factory, training):
    folder = tmp_path_factory.mktemp("logs") / "ae" / "small"
    return write_run(folder, training, model=networks.autoencoder(*parts()))


@pytest.fixture(scope="session")
def gan(tmp_path_factory, training):
    keras.utils.set_random_seed(0)
    small = {"base_filters": 4, "hidden_units": 8}
    generator = networks.generator(SHAPE, noise_dim=6, categories=3, **small)
    discriminator = networks.discriminator(SHAPE, noise=0.1, dropout=0.2, **small)
    folder = tmp_path_factory.mktemp("logs") / "gan" / "small"
    return write_run(folder, training, generator=generator, discriminator=discriminator)


@pytest.fixture(scope="session")
def supervised(tmp_path_factory, training):
    folder = tmp_path_factory.mktemp("logs") / "supervised" / "small"
    return write_run(folder, training, model=classifier("float32"))


@pytest.fixture(scope="session")
def classifier_in_bfloat16():
    return classifier("mixed_bfloat16")


def classifier(precision):
    keras.utils.set_random_seed(1)
    inputs = keras.Input(SHAPE, name="images")
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", dtype=precision)(inputs)
    x = keras.layers.Flatten(dtype=precision)(x)
    x = keras.layers.Dense(3, dtype=precision, name="logits")(x)
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, probabilities, name="classifier")
