"""One trial after another on the same data and the same compiled models.

What makes a search over small models slow is not their training: it is building, tracing and
saving a model for each trial. Here all trials of one shape share one compiled step, and all share
one data set in memory; a trial begins by giving that model new weights.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.data import batches as data_batches
from kerasunsup.data.image_set import ImageSet
from kerasunsup.settings import TrainingSettings
from kerasunsup.training import callbacks, files

# What a compiled step does not depend on, and the value that stands for all others.
_SET_IN_PLACE: dict[str, Any] = {"learning_rate": 1.0, "weight_decay": 0.0, "schedule": "constant"}


@dataclasses.dataclass(frozen=True)
class Task:
    """One training of one trial.

    Attributes:
        settings: the settings of the model, of the optimizer and of patience.
        seed: the seed of the initial weights.
        first_epoch: from 0; above 0 the training goes on from `parent`.
        last_epoch: the number of epochs in all, those of the parent included.
        parent: the state to go on from.
        fold: which of the data's parts to train on.
    """

    settings: Any
    seed: int
    first_epoch: int
    last_epoch: int
    parent: Path | None = None
    fold: int = 0


@dataclasses.dataclass(frozen=True)
class FoldResult:
    """The result of one training of one trial, on one fold of the data.

    Attributes:
        error: the lowest validation loss of any epoch, those of the parent included.
        history: a column a quantity (`loss`, `val_loss`, `learning_rate`), a row an epoch.
        trained: the number of epochs that were trained now.
        seconds: what this training took, with everything around it.
        state: returns what a promoted trial goes on from, as named arrays.
        state_bytes: the size of these arrays.
    """

    error: float
    history: dict[str, list[float]]
    trained: int
    seconds: float
    state: Callable[[], dict[str, np.ndarray]]
    state_bytes: int


class TrialRunner:
    """Trains one trial after another on the data and the compiled models that all of them share.

    Args:
        parts: (training images, validation images), one pair for each fold.
        settings: their batch size and seed make the batches, the same ones for every trial.
        build: settings -> compiled model.
        rate: (settings, epochs of a whole training, epoch) -> learning rate.
        max_epochs: the epochs that a learning-rate schedule is laid out over, so that a promoted
            trial goes on along the same curve.
        prepare: as for `data_batches.training_batches`.
        deformation: as for `data_batches.training_batches`.
    """

    def __init__(
        self,
        parts: Sequence[tuple[ImageSet, ImageSet]],
        settings: TrainingSettings,
        *,
        build: Callable[[Any], keras.Model],
        rate: Callable[[Any, int, int], float],
        max_epochs: int,
        prepare: data_batches.Prepare | None = None,
        deformation: float = 0.0,
    ) -> None:
        self._build, self._rate, self._max_epochs = build, rate, max_epochs
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._models: dict[Any, keras.Model] = {}
        self._batches = [
            (
                data_batches.training_batches(
                    train,
                    settings.batch_size,
                    seed=settings.seed,
                    epoch=self._epoch,
                    prepare=prepare,
                    deformation=deformation,
                ),
                data_batches.evaluation_batches(validation, settings.batch_size, prepare=prepare),
            )
            for train, validation in parts
        ]
        self._steps = data_batches.steps_per_epoch(parts[0][0], settings.batch_size)

    @property
    def num_compiled(self) -> int:
        """The number of models that were compiled so far, one for each shape."""
        return len(self._models)

    def model(self, settings: Any, seed: int) -> keras.Model:
        """Returns a model as `build` would make it with this seed, with a fresh optimizer."""
        in_place = dict(_SET_IN_PLACE)
        if tf.distribute.has_strategy():  # plain Adam: the decay is part of the trace
            del in_place["weight_decay"]
        fields = {field.name for field in dataclasses.fields(settings)}
        shape = {name: value for name, value in in_place.items() if name in fields}
        key = dataclasses.replace(settings, **shape)
        keras.utils.set_random_seed(seed)
        fresh = self._build(settings)
        model = self._models.get(key)
        if model is None:
            fresh.optimizer.build(fresh.trainable_variables)
            self._models[key] = fresh
            return fresh
        for variable, initial in zip(model.variables, fresh.variables, strict=True):
            variable.assign(initial)
        for variable in model.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        model.optimizer.learning_rate = settings.learning_rate
        if "weight_decay" in shape:
            model.optimizer.set_weight_decay(settings.weight_decay)
        return model

    def warm_up(self, settings: Any) -> float:
        """Trains a few steps, which shows mistakes before a search; returns seconds an epoch."""
        model = self.model(settings, seed=0)
        batches, validation = self._batches[0]
        steps = min(self._steps, 64)
        few = batches.take(steps)
        model.fit(few, verbose=0, shuffle=False)  # traces and compiles
        began = time.perf_counter()
        model.fit(few, verbose=0, shuffle=False)
        training = (time.perf_counter() - began) / steps * self._steps
        model.evaluate(validation, verbose=0)
        began = time.perf_counter()
        model.evaluate(validation, verbose=0)
        return training + time.perf_counter() - began

    def train(self, task: Task) -> FoldResult:
        """Trains one trial, from the beginning or from where its parent stood.

        Raises:
            errors.InputError: if the loss becomes no number, or the parent's state is damaged.
        """
        began = time.perf_counter()
        model = self.model(task.settings, task.seed)
        state = callbacks.ModelState(model)
        history = _History(task.settings.patience)
        if task.parent is not None:
            stored = files.read_arrays(task.parent)
            history.restore({key[6:]: stored[key] for key in stored if key.startswith("watch/")})
            state.restore({key[6:]: stored[key] for key in stored if key.startswith("model/")})
        batches, validation = self._batches[task.fold]
        done = len(history.columns["loss"])
        if not history.is_exhausted:
            model.fit(
                batches,
                validation_data=validation,
                initial_epoch=task.first_epoch,
                epochs=task.last_epoch,
                shuffle=False,
                verbose=0,
                callbacks=[
                    callbacks.EpochOrder(self._epoch),
                    callbacks.Schedule(
                        lambda epoch: self._rate(task.settings, self._max_epochs, epoch)
                    ),
                    callbacks.StopOnNonFinite(),
                    history,
                ],
            )
        return FoldResult(
            error=min(history.columns["val_loss"]),
            history=history.columns,
            trained=len(history.columns["loss"]) - done,
            seconds=time.perf_counter() - began,
            state=lambda: {
                **{f"model/{name}": value for name, value in state.state().items()},
                **{f"watch/{name}": value for name, value in history.state().items()},
            },
            state_bytes=sum(
                int(np.prod(variable.shape)) * np.dtype(variable.dtype).itemsize
                for variable in [*model.variables, *model.optimizer.variables]
            ),
        )


class _History(keras.callbacks.Callback):
    """Keeps the history of a trial and stops it when patience is over, across a promotion too.

    Keras's EarlyStopping would begin to wait anew at each rung, and put back the best weights
    where a promoted trial must go on from the last.
    """

    def __init__(self, patience: int) -> None:
        super().__init__()
        self._patience = patience
        self.columns: dict[str, list[float]] = {"loss": [], "val_loss": [], "learning_rate": []}

    @property
    def is_exhausted(self) -> bool:
        """Whether the validation loss has not gone down for as long as patience allows."""
        losses = self.columns["val_loss"]
        if not self._patience or not losses:
            return False
        return len(losses) - 1 - int(np.argmin(losses)) >= self._patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        row = {**(logs or {}), "learning_rate": float(self.model.optimizer.learning_rate)}
        for name, column in self.columns.items():
            column.append(float(row[name]))
        if self.is_exhausted:
            self.model.stop_training = True

    def state(self) -> dict[str, np.ndarray]:
        return {name: np.array(column) for name, column in self.columns.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.columns = {name: state[name].tolist() for name in self.columns}


def folds(images: ImageSet, number: int) -> list[tuple[ImageSet, ImageSet]]:
    """Returns (the rest, one part) for each of `number` parts of a set, as equal as can be.

    The set's own order follows from the seed already, so the parts are random ones.
    """
    positions = np.arange(len(images))
    parts = np.array_split(positions, number)
    return [(images.subset(np.setdiff1d(positions, part)), images.subset(part)) for part in parts]


def trial_seed(seed: int, settings: Mapping[str, Any], fold: int = 0) -> int:
    """Returns the seed of a trial's initial weights, 0 to 2**31 - 1.

    It follows from the trial's settings and never from its number: where workers end in another
    order, the next trials get other numbers.

    Args:
        seed: the seed of the search.
        settings: setting -> value, as plain JSON, of the settings that are searched.
        fold: the fold of the cross-validation, from 0.
    """
    text = json.dumps([seed, fold, settings], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def summary_of_folds(folds: Sequence[FoldResult], reference: float) -> dict[str, Any]:
    """Returns a trial's entries in its `result.json`, from one training on each fold.

    The score is the mean error over the folds divided by `reference`.
    """
    errors = [fold.error for fold in folds]
    mean = statistics.fmean(errors)
    summary: dict[str, Any] = {
        "score": mean / reference,
        "validation_mse": mean,
        "trained_epochs": sum(fold.trained for fold in folds),
        "state_bytes": folds[0].state_bytes,
        "history": folds[0].history,
    }
    if len(folds) > 1:
        deviation = statistics.stdev(errors)
        summary |= {
            "fold_mse": errors,
            "standard_deviation": deviation,
            "standard_error": deviation / len(errors) ** 0.5,
            "history": {
                name: np.mean([fold.history[name] for fold in folds], axis=0).tolist()
                for name in folds[0].history
                if len({len(fold.history[name]) for fold in folds}) == 1
            },
        }
    return summary
