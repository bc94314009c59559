"""What the estimators share: a command's settings as keywords, and one way of training."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import logging
import os
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.exceptions import NotFittedError

import kerasunsup
from kerasunsup import progress, tensorflow_startup
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.estimators.keywords import SettingsKeywords
from kerasunsup.models import export, loading
from kerasunsup.settings import Command, TrainingSettings, to_json
from kerasunsup.training import files, loop, precision, run_folder
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

FILE = "estimator.json"  # in a folder that `save` wrote
_BATCH_SIZE = 500  # images that a network is given at a time
# Traced once for any number of images; `predict` is traced anew for each size of a last batch.
_FUNCTIONS: weakref.WeakKeyDictionary[keras.Model, loading.Function] = weakref.WeakKeyDictionary()


class ImageEstimator(SettingsKeywords, abc.ABC):
    """Training, attributes and files of an estimator of images."""

    def __sklearn_tags__(self) -> Any:
        """Tells scikit-learn that images are no tables."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.target_tags.required = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "image_shape_")

    @abc.abstractmethod
    def _network(self) -> keras.Model:
        """What a `.keras` file receives."""

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted: call fit(images), or kerasunsup.load"
            )

    def _decided(self, settings: Any, splits: Splits, build: Any, prepare: Any) -> Any:
        """The settings with the faster arithmetic; the arguments are `precision.decided`'s."""
        logs = self._checked()[1].log_dir
        return precision.decided(
            settings, splits, build, prepare, None if logs is None else Path(logs)
        )

    @contextlib.contextmanager
    def _training(self, settings: TrainingSettings, splits: Splits | None) -> Iterator[Run | None]:
        """Seeds, arithmetic, devices and the bar of one training; its run, if one is written."""
        own = self._checked()[1]
        with contextlib.ExitStack() as stack:
            run = None
            if own.log_dir is not None and splits is not None:
                command = Command(
                    self.experiment,
                    dataclasses.replace(settings, data="array"),
                    Path(own.log_dir),
                    name=None,
                    resume=False,
                    arguments=(),
                )
                run = stack.enter_context(run_folder.opened(command, splits.fingerprint))
            stack.enter_context(_bar(own.verbose > 0))
            stack.callback(tensorflow_startup.restore_parallel_maps)
            stack.enter_context(loop.machine(settings))
            yield run

    def _remember(self, fitted: loop.Fitted, run: Run | None) -> None:
        """The attributes that every training leaves."""
        if fitted.was_stopped:
            done = len(fitted.history.get("epoch", []))
            logger.warning(
                "stopped after %d epochs; the model has the weights of %s",
                done,
                f"epoch {fitted.best_epoch}" if done else "the steps that were done",
            )
        self.history_ = {name: list(column) for name, column in fitted.history.items()}
        self.run_folder_ = None if run is None else run.folder

    def save(self, path: Any) -> Path:
        """Writes the fitted estimator to a new folder; `kerasunsup.load` reads it.

        Args:
            path: a folder that does not exist; or a name that ends in `.keras`, which receives the
                network alone.

        Returns:
            The path.

        Raises:
            ValueError: if it exists already.
            NotFittedError: if there is nothing to be saved.

        Example:
            >>> Autoencoder(epochs=1).fit(images).save("mine")  # doctest: +SKIP
        """
        self._require_fitted()
        path = Path(path).expanduser()
        if path.exists():
            raise InputError(f"path {path} exists already: choose another, or remove it")
        if path.suffix == ".keras":
            export.write_keras(path, self._network())
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(files.part_name(path.name))
        temporary.mkdir()
        try:
            self._write(temporary)
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return path

    def _write(self, folder: Path, **more: Any) -> None:
        """Writes what `load` reads into a folder, but for the networks."""
        settings, own = self._checked()
        keywords = {
            field.name: getattr(values, field.name)
            for values in (settings, own)
            for field in self._fields(type(values))
        }
        written = {
            "class": type(self).__name__,
            "version": kerasunsup.__version__,
            "keywords": keywords,
            "history": getattr(self, "history_", {}),
        }
        files.write_json(folder / FILE, written | more)
        if not (folder / "config.json").exists():
            settings = dataclasses.replace(settings, data="array")
            files.write_json(folder / "config.json", to_json(settings))


@contextlib.contextmanager
def _bar(is_shown: bool) -> Iterator[None]:
    """Draws a bar where one is watched; elsewhere a program's own logging decides on its lines."""
    logger_of_bars = logging.getLogger("kerasunsup.progress")
    level = logger_of_bars.level
    if not is_shown:
        logger_of_bars.setLevel(logging.CRITICAL)
    elif progress.is_watched():
        logger_of_bars.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger_of_bars.setLevel(level)


def check_number(name: str, number: Any, least: int = 1, most: int | None = None) -> None:
    """Refuses what is no count.

    Raises:
        InputError: if it is no whole number, less than the least or more than the most.
    """
    if most is not None and isinstance(number, int | np.integer) and number > most:
        raise InputError(f"{name} must be at most {most}, received {number}")
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < least:
        raise InputError(f"{name} must be a whole number of at least {least}, received {number!r}")


def predicted(model: keras.Model, blocks: Iterable[np.ndarray]) -> np.ndarray:
    """A model's outputs for blocks of inputs, float32 (num_inputs, ...)."""
    return np.concatenate([output for _, output in with_outputs(model, blocks)])


def with_outputs(
    model: keras.Model, blocks: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and their outputs, a few hundred at a time."""
    if model not in _FUNCTIONS:
        # The function must not hold the model that it is kept for.
        _FUNCTIONS[model] = loading.from_model(weakref.proxy(model))
    function = _FUNCTIONS[model]
    for block in blocks:
        for start in range(0, len(block), _BATCH_SIZE):
            inputs = block[start : start + _BATCH_SIZE]
            yield inputs, function(inputs)
