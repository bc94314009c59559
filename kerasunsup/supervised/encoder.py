"""The encoder that the comparison starts from: the one that `--encoder` names, or the usual one."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import keras

import kerasunsup
from kerasunsup.ae import experiment as autoencoder
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.settings import Command, path_of, to_json
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training import files, several_workers
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

# The usual encoder has the schedule and the width that a search's defaults have, in place of the
# study's own. Both were compared by their errors on test images, once (see `ae.__main__`).
ENCODER_SETTINGS: dict[str, Any] = {"schedule": "cosine", "hidden_units": 256, "patience": 0}

_SHARED = (  # settings that the encoder takes over from the comparison
    "data", "image_size", "limit", "test_limit", "seed", "precision", "strategy", "deterministic",
)  # fmt: skip
_RECORD = "encoder.json"  # in the checkpoints of a run: which encoder it uses


def named_encoder(command: Command, splits: Splits) -> Path:
    """Returns the path of the model whose encoder `--encoder` names, by a run or by a file.

    Raises:
        InputError: if there is no such run, it is not finished, or is for other images.
    """
    name = command.config.encoder
    path = path_of("--encoder", name, is_written=False)
    in_logs = command.logs / "ae" / name
    if not path.exists() and in_logs.exists():
        path = in_logs
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise InputError(
            f"--encoder {name}: there is no finished autoencoder run in {Path(name)} or {in_logs}; "
            "train one with python -m kerasunsup.ae"
        )
    encoder = load_encoder(path, f"--encoder {path}", "give an autoencoder run or its model.keras")
    if tuple(encoder.input_shape[1:]) != tuple(splits.image_shape):
        theirs, ours = (
            " x ".join(map(str, shape)) for shape in (encoder.input_shape[1:], splits.image_shape)
        )
        raise InputError(
            f"--encoder {path}: it was trained on images of {theirs}, --data {splits.name} has "
            f"{ours}: choose another or give --image-size"
        )
    return path


def load_encoder(path: Path, name: str, advice: str) -> keras.Model:
    """Returns the encoder of a stored autoencoder: images -> codes.

    Args:
        path: the `model.keras`.
        name: what the message calls it.
        advice: what to do where it cannot be used.

    Raises:
        InputError: if there is no encoder that can be read.
    """
    try:
        return keras.models.load_model(path, compile=False).get_layer("encoder")
    except Exception as error:  # zipfile, h5py, json and Keras each raise their own
        raise InputError(f"{name} cannot be used ({type(error).__name__}): {advice}") from error


def record_encoder(run: Run, path: Path) -> None:
    """Writes down which encoder a run uses, so that no other is used when the run goes on.

    Raises:
        InputError: if the finished trainings of the run used another one.
    """
    record = run.folder / "checkpoints" / _RECORD
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if record.exists() and files.read_json(record).get("sha256") != digest:
        raise InputError(
            f"--resume: {path} is another encoder than the one that {run.folder} began with: put "
            "that one back, or start a new run"
        )
    files.write_json(record, {"encoder": str(path), "sha256": digest})
    logger.info(f"encoder: {path}")


def encoder_name(settings: AutoencoderSettings, fingerprint: str) -> str:
    """Returns the name of the run of the usual encoder, different for each encoder.

    Args:
        settings: the settings that the encoder is trained by.
        fingerprint: the fingerprint of the images and their splits.
    """
    determining = to_json(settings) | {"version": kerasunsup.__version__}
    del determining["data"]  # the images count, not their place
    digest = hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()
    return f"encoder-{fingerprint}-{settings.epochs}-{digest[:8]}"


def encoder_settings_of(settings: SupervisedSettings) -> AutoencoderSettings:
    """Returns the settings that the usual encoder is trained by."""
    shared: dict[str, Any] = {field: getattr(settings, field) for field in _SHARED}
    return AutoencoderSettings(epochs=settings.encoder_epochs, **shared, **ENCODER_SETTINGS)


def train_along(command: Command) -> None:
    """Trains the usual encoder with worker 0, which compares the classifiers afterwards.

    Where that has the encoder already there is nothing to do.
    """
    if several_workers.is_wanted():
        encoder_settings = encoder_settings_of(command.config)
        autoencoder.run(Command("ae", encoder_settings, command.logs, None, False, ()), brief=True)


def usual_encoder(command: Command, splits: Splits, run: Run) -> Path:
    """Returns the path of the encoder that all comparisons on the same data share.

    It is trained first where it does not exist yet. A run that goes on keeps to the encoder that it
    began with.
    """
    settings: SupervisedSettings = command.config
    encoder_settings = encoder_settings_of(settings)
    name = encoder_name(encoder_settings, splits.fingerprint)
    if command.resume:
        record = run.folder / "checkpoints" / _RECORD
        before = f"encoder-{splits.fingerprint}-{settings.encoder_epochs}"  # of earlier versions
        if record.exists():
            before = Path(files.read_json(record)["encoder"]).parent.name
        name = before if (command.logs / "ae" / before / "metrics.json").exists() else name
    folder = command.logs / "ae" / name
    if several_workers.is_wanted(not (folder / "metrics.json").exists()):
        logger.info(
            f"training the usual encoder of {splits.name}, without labels (once, kept in {folder})"
        )
        goes_on = (folder / "config.json").exists()
        autoencoder.run(
            Command("ae", encoder_settings, command.logs, name, goes_on, command.arguments),
            brief=True,
        )
    return folder / "model.keras"
