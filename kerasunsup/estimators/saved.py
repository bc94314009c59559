"""Reads fitted estimators back: what `save` wrote, a command's run, or a `.keras` file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from kerasunsup.errors import InputError
from kerasunsup.estimators import callers_state
from kerasunsup.estimators.autoencoder import USUAL_FILE, Autoencoder
from kerasunsup.estimators.classifier import Classifier
from kerasunsup.estimators.gan import GAN
from kerasunsup.estimators.image_estimator import FILE
from kerasunsup.estimators.messages import python_words
from kerasunsup.estimators.usual_images import UsualImages
from kerasunsup.models import loading
from kerasunsup.settings import read_config
from kerasunsup.training import code_sampler, files

_KINDS: dict[str, type[Autoencoder | GAN | Classifier]] = {
    "reconstruct": Autoencoder,
    "generate": GAN,
    "classify": Classifier,
}


@python_words
@callers_state.kept()
def load(path: str | os.PathLike[str]) -> Autoencoder | GAN | Classifier:
    """A fitted estimator.

    Args:
        path: a folder that `save` wrote, the folder of a run such as `logs/ae/RUN`, or a `.keras`
            file. A file holds the network alone: an autoencoder's `sample` and `predict` need a
            folder.

    Raises:
        ValueError: if there is no such model, or it cannot be read.

    Example:
        >>> load("logs/ae/reference").transform(images)  # doctest: +SKIP
    """
    trained = loading.open_model(Path(path))
    network = trained.keras_model
    if network is None:
        raise InputError(
            f"path {path} is a SavedModel, which holds no Keras model: give the folder of its run "
            "or a .keras file"
        )
    offered = [kind for name, kind in _KINDS.items() if trained.offers(name)]
    if not offered:
        raise InputError(
            f"path {path} is a part of a model ({network.name}): give a whole autoencoder, a "
            "generator or a classifier"
        )
    folder = trained.run
    stored = _stored(folder, offered[0])
    keywords = stored.get("keywords") or _keywords(offered[0], folder)
    estimator = offered[0](**{name: _plain(value) for name, value in keywords.items()})
    _take(estimator, network, folder, stored)
    estimator.history_ = stored.get("history", {})
    estimator.run_folder_ = folder
    return estimator


def _stored(folder: Path | None, kind: type[Autoencoder | GAN | Classifier]) -> dict[str, Any]:
    """What `save` wrote beside the network; nothing of a run or a file."""
    if folder is None or not (folder / FILE).is_file():
        return {}
    stored = files.read_json(folder / FILE)
    if not isinstance(stored, dict) or not isinstance(stored.get("keywords", {}), dict):
        raise InputError(f"{folder / FILE} is damaged (no keywords): save the estimator anew")
    unknown = stored.get("keywords", {}).keys() - set(kind._get_param_names())
    if unknown:
        raise InputError(
            f"{folder / FILE} has keywords that this version does not know "
            f"({', '.join(sorted(unknown))}): install version {stored.get('version')} of kerasunsup"
        )
    return stored


def _keywords(kind: type[Autoencoder | GAN | Classifier], folder: Path | None) -> dict[str, Any]:
    """The settings of a command's run, as far as they are keywords."""
    if folder is None or not (folder / "config.json").is_file():
        return {}
    names = kind._get_param_names()
    settings = read_config(kind.settings_type, folder / "config.json")
    return {name: value for name, value in settings.items() if name in names and name != "encoder"}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _take(
    estimator: Autoencoder | GAN | Classifier,
    network: keras.Model,
    folder: Path | None,
    stored: dict[str, Any],
) -> None:
    if isinstance(estimator, Classifier):
        estimator._take(network, stored.get("classes", range(network.output_shape[-1])))
        estimator.encoder_, estimator.method_ = None, stored.get("method")
    elif isinstance(estimator, GAN):
        discriminator = None if folder is None else folder / "discriminator.keras"
        estimator._take(
            network,
            loading.open_model(discriminator).keras_model
            if discriminator is not None and discriminator.is_file()
            else None,
        )
    else:
        estimator._take(network)
        if folder is not None and (folder / code_sampler.FILE).is_file():
            estimator._sampler = code_sampler.read(folder / code_sampler.FILE)
        if folder is not None and (folder / USUAL_FILE).is_file():
            estimator._usual = UsualImages(**files.read_arrays(folder / USUAL_FILE))
        elif folder is not None and (folder / "environment.json").is_file():
            estimator._run_read = folder
