"""What happens around an epoch: its order, patience, the full state on disk, progress.

Keras's own `BackupAndRestore` keeps neither EarlyStopping's counters nor the history, and the
data's order restarts with it. Here everything that decides how training goes on is one set of
arrays, written atomically after each epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.errors import InputError
from kerasunsup.progress import Progress
from kerasunsup.training import files
from kerasunsup.training.run_folder import Run


class Stateful(Protocol):
    """Something whose state must survive a stop."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything that it needs to go on, as named arrays."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` gave."""


class ModelState:
    """A model's weights, random state and optimizers, which are built; None is the model's one.

    `keras.Model.get_weights` leaves out the optimizers and the state of random layers.
    """

    def __init__(
        self, model: keras.Model, optimizers: Sequence[keras.Optimizer] | None = None
    ) -> None:
        all_optimizers = [model.optimizer] if optimizers is None else optimizers
        self._variables = [*model.variables, *(v for one in all_optimizers for v in one.variables)]

    def state(self) -> dict[str, np.ndarray]:
        """One array a variable, by position."""
        return {f"{index}": variable.numpy() for index, variable in enumerate(self._variables)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Assigns every variable.

        Raises:
            ValueError: if number or shapes are not those of the model, or a value is not finite.
        """
        shapes = [tuple(variable.shape) for variable in self._variables]
        stored = [state[f"{index}"].shape for index in range(len(state))]
        if shapes != stored:
            raise ValueError("the stored state belongs to another model")
        if not all(np.isfinite(value).all() for value in state.values()):
            raise ValueError("a weight is no finite number")
        for index, variable in enumerate(self._variables):
            variable.assign(state[f"{index}"])


class EpochOrder(keras.callbacks.Callback):
    """Tells the data which epoch comes, so that its order follows from (seed, epoch)."""

    def __init__(self, epoch: tf.Variable) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the epoch before its first batch is asked for."""
        self._epoch.assign(epoch)


class Schedule(keras.callbacks.Callback):
    """Sets each epoch's learning rate, `rate(epoch)` from 0 on; None is the model's own optimizer.

    A function of the epoch alone: a run that goes on sees the rates that it would have seen.
    """

    def __init__(
        self, rate: Callable[[int], float], optimizers: Sequence[keras.Optimizer] | None = None
    ) -> None:
        super().__init__()
        self._rate = rate
        self._optimizers = optimizers

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the rate before the epoch's first step."""
        for optimizer in self._optimizers or [self.model.optimizer]:
            optimizer.learning_rate = self._rate(epoch)


class Measure(keras.callbacks.Callback):
    """Adds the learning rate, seconds and images per second to the epoch's numbers."""

    def __init__(self, images_per_epoch: int) -> None:
        super().__init__()
        self._images = images_per_epoch
        self._began = self._trained = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._began = self._trained = time.perf_counter()

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Validation begins: training is over."""
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the numbers; callbacks behind this one see them."""
        now = time.perf_counter()
        if self._trained == self._began:  # there was no validation
            self._trained = now
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
            logs["seconds"] = now - self._began
            logs["images_per_second"] = self._images / (self._trained - self._began)


class EpochProgress(keras.callbacks.Callback):
    """Shows epoch, losses and time left: on a bar, or one line an epoch without a terminal.

    Args:
        epochs: the most that will be trained.
        steps: of one epoch.
        first_epoch: number of epochs that are already done.
        shown: the numbers of an epoch that are shown -> what they are called.
    """

    def __init__(self, epochs: int, steps: int, first_epoch: int, shown: Mapping[str, str]) -> None:
        super().__init__()
        self._epochs, self._steps = epochs, steps
        self._shown = shown
        self._epoch = first_epoch
        self._last: dict[str, float] = {}
        self._progress = Progress(epochs * steps, done=first_epoch * steps, stays=True)
        # Keras calls a batch hook only where one is defined: without a bar none is paid for.
        if self._progress.has_bar:
            self.on_train_batch_end = self._advance

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Names the epoch."""
        self._epoch = epoch
        self._progress.name(f"epoch {epoch + 1}/{self._epochs}")

    def _advance(self, batch: int, logs: dict | None = None) -> None:
        """Moves the bar; `batch` counts from 0 within the epoch."""
        # The last step is counted when validation is over.
        self._progress.advance_to(self._epoch * self._steps + min(batch + 1, self._steps - 1))
        self._progress.say(self._text({**self._last, **(logs or {})}))

    def _text(self, logs: Mapping[str, float]) -> str:
        named = {called: logs[name] for name, called in self._shown.items() if name in logs}
        return ", ".join(f"{called} {value:.5f}" for called, value in named.items())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Shows the epoch's numbers."""
        self._last = dict(logs or {})
        done, text = epoch + 1, self._text(self._last)
        self._progress.advance_to(done * self._steps)
        if not self._progress.has_bar:
            speed = self._last.get("images_per_second", np.nan)
            text = (
                f"epoch {done}/{self._epochs}: {text}, {speed:,.0f} images/s, "
                f"at most {self._progress.left} left"
            )
        self._progress.say(text)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._progress.close()


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops with one clear line when the loss is NaN or infinite.

    The state on disk stays that of the last epoch before.
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Raises `InputError` if a loss is NaN or infinite."""
        for name, value in (logs or {}).items():
            if name.endswith("loss") and not np.isfinite(value):
                rate = float(self.model.optimizer.learning_rate.numpy())
                raise InputError(
                    f"{name} became {value} in epoch {epoch + 1} with --learning-rate {rate:g}: "
                    "training cannot go on from there; start a new run with a smaller one"
                )


class Patience(keras.callbacks.EarlyStopping):
    """EarlyStopping on the validation loss that can be stopped and gone on with.

    The best weights are restored at the end.

    Args:
        patience: epochs without a lower validation loss; 0 never stops but still restores.
        shapes: of the model's weights, that a stored state must fit; None checks nothing.
    """

    def __init__(self, patience: int, shapes: Sequence[tuple[int, ...]] | None = None) -> None:
        super().__init__(
            monitor="val_loss",
            mode="min",
            patience=patience if patience else 10**9,
            restore_best_weights=True,
        )
        self._shapes = shapes
        self._restored: Mapping[str, np.ndarray] | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the counters, or goes on with the stored ones."""
        super().on_train_begin(logs)
        if self._restored is not None:
            state, self._restored = self._restored, None
            self.wait = int(state["wait"])
            self.best = float(state["best"])
            self.best_epoch = int(state["best_epoch"])
            self.best_weights = [state[f"weights_{i}"] for i in range(len(state) - 3)]

    def state(self) -> dict[str, np.ndarray]:
        """The counters and the best weights so far."""
        weights = {f"weights_{i}": value for i, value in enumerate(self.best_weights or [])}
        counters = {
            "wait": np.array(self.wait, np.int64),
            "best": np.array(np.inf if self.best is None else self.best, np.float64),
            "best_epoch": np.array(self.best_epoch, np.int64),
        }
        return {**counters, **weights}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Keeps the counters until training begins.

        Raises:
            ValueError: if they make no sense, or the best weights are of another model.
        """
        counters = [int(state["wait"]), int(state["best_epoch"]), float(state["best"])]
        shapes = [state[f"weights_{i}"].shape for i in range(len(state) - 3)]
        if min(counters[:2]) < 0 or np.isnan(counters[2]):
            raise ValueError(f"the counters of patience are {counters}")
        if self._shapes is not None and shapes and shapes != list(self._shapes):
            raise ValueError("the stored best weights belong to another model")
        self._restored = dict(state)

    @property
    def is_over(self) -> bool:
        """Whether a restored state had already waited as long as this patience allows."""
        return self._restored is not None and int(self._restored["wait"]) >= self.patience


class Snapshots(keras.callbacks.Callback):
    """Records what the model makes of a fixed input, after chosen epochs.

    Each is written once, into a file of its own: a state that held them all would grow with them.

    Args:
        make: () -> float32 (num_images, height, width, channels), as the model stands.
        when: epoch, from 1 -> whether to record after it.
        folder: where the records are kept.
    """

    def __init__(
        self, make: Callable[[], np.ndarray], when: Callable[[int], bool], folder: Path
    ) -> None:
        super().__init__()
        self._make = make
        self._when = when
        self._folder = folder
        self.epochs: list[int] = []
        self.outputs: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Records where the epoch is one of the chosen."""
        if self._when(epoch + 1):
            self._keep(epoch + 1, np.asarray(self._make(), np.float32))

    def _keep(self, epoch: int, output: np.ndarray) -> None:
        self.epochs.append(epoch)
        self.outputs.append(output)
        files.write_arrays(self._file(epoch), {"output": output})

    def _file(self, epoch: int) -> Path:
        return self._folder / f"epoch_{epoch}.npz"

    def state(self) -> dict[str, np.ndarray]:
        """Which epochs are recorded; the records themselves lie in their files."""
        return {"epochs": np.array(self.epochs, np.int64)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the records back; those inside the state of an older version become files.

        Raises:
            InputError: if a file is missing or damaged.
            ValueError: if there are not as many records as epochs.
        """
        self.epochs, self.outputs = [], []
        epochs = [int(epoch) for epoch in state["epochs"]]
        if "outputs" in state:
            for epoch, output in zip(epochs, state["outputs"], strict=True):
                self._keep(epoch, output)
            return
        self.epochs = epochs
        self.outputs = [files.read_arrays(self._file(epoch))["output"] for epoch in epochs]
        if len({output.shape for output in self.outputs}) > 1:
            raise ValueError(f"the records in {self._folder} are of different shapes")


class Checkpoint(keras.callbacks.Callback):
    """Writes the full state after each epoch; must come behind every callback that has one.

    Args:
        run: whose folder it goes into; None only adds to the history.
        parts: everything with a state, by name.
        history: the columns so far; a row is added an epoch.
    """

    def __init__(
        self, run: Run | None, parts: Mapping[str, Stateful], history: dict[str, list[float]]
    ) -> None:
        super().__init__()
        self._run = run
        self._parts = parts
        self.history = history

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the epoch's row, then writes the state and `history.csv`.

        What is not measured in every epoch is NaN in the others.
        """
        if self._run is not None:
            self._run.check_folder()
        row = {"epoch": epoch + 1, **(logs or {})}
        before = len(self.history.get("epoch", []))
        for name in [*self.history, *(name for name in row if name not in self.history)]:
            column = self.history.setdefault(name, [np.nan] * before)
            column.append(row.get(name, np.nan))
        if self._run is None:
            return
        arrays = {
            f"{part}/{name}": value
            for part, stateful in self._parts.items()
            for name, value in stateful.state().items()
        }
        for name, column in self.history.items():
            arrays[f"history/{name}"] = np.array(column)
        files.write_arrays(self._run.checkpoint, arrays)
        self._run.write_history(self.history)


def read_state(run: Run) -> dict[str, dict[str, np.ndarray]] | None:
    """The state that `Checkpoint` wrote, by part; None where no epoch was finished.

    Raises:
        InputError: if the file is damaged, or its history is none.
    """
    if not run.checkpoint.exists():
        return None
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, value in files.read_arrays(run.checkpoint).items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = value
    history = parts.get("history", {})
    counted = np.arange(1, 1 + history.get("epoch", np.zeros(0)).size)
    is_sound = len(counted) and all(
        column.shape == counted.shape and column.dtype.kind in "iuf" for column in history.values()
    )
    if not is_sound or not np.array_equal(history["epoch"], counted):
        raise InputError(
            f"{run.checkpoint} is damaged (its epochs are not 1, 2, 3 and so on): start a new run"
        )
    return parts
