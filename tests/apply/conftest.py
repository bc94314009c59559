"""A small untrained model as a run leaves it, and folders of images."""

import dataclasses

import numpy as np
import pytest
from apply_command import SHAPE, STRANGE, parts, pictures, write

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import image_stream
from kerasunsup.data import splits
from kerasunsup.models import export, networks
from kerasunsup.settings import to_json
from kerasunsup.training import files as training_files


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A run's folder with its data, settings, SavedModel and .keras file."""
    run = tmp_path_factory.mktemp("logs") / "ae" / "small"
    training = run.parent.parent / "training.npz"
    np.savez(training, images=pictures(80, seed=5))
    settings = AutoencoderSettings(data=str(training), latent_dim=4)
    training_files.write_json(run / "config.json", to_json(settings))
    training_files.write_json(run / "environment.json", {"data": splits.load(settings).fingerprint})
    encoder, decoder = parts()
    autoencoder = networks.autoencoder(encoder, decoder)
    images = np.zeros((2, *SHAPE), np.float32)
    export.write_saved_model(
        run / "export",
        {
            "reconstruct": (autoencoder, "images", "images"),
            "encode": (encoder, "images", "codes"),
            "decode": (decoder, "codes", "images"),
        },
        {"reconstruct": images, "encode": images, "decode": np.zeros((2, 4), np.float32)},
    )
    export.write_keras(run / "model.keras", autoencoder)
    return run


@pytest.fixture
def folder(tmp_path):
    names = [f"{group}/{number}.png" for group in ("a", "b/c") for number in range(20)]
    write(tmp_path / "images", names)
    return tmp_path / "images"


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """A folder of 36 images, ten of which are read under strange names."""
    usual = [f"{number:03d}.png" for number in range(36)]
    write(tmp_path / "strange", usual)
    opened = image_stream.open_images

    def renamed(what, **more):
        stream = opened(what, **more)
        names = [*STRANGE, *usual[len(STRANGE) :]][: len(stream)]
        return dataclasses.replace(stream, names=names)

    monkeypatch.setattr(image_stream, "open_images", renamed)
    return tmp_path / "strange"
