"""One `fit` for every experiment: the machine's settings, patience, logs, stop and go on."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import os
import shlex
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.data import batches
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.models import replicated
from kerasunsup.settings import TrainingSettings
from kerasunsup.training import callbacks, several_workers
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)
# Order and progress are our own.
_NOT_BY_KERAS: dict[str, Any] = {"shuffle": False, "verbose": 0}
_MEAN_OF, _LEAST_MEAN = 500, 0.01  # training images, for the mean of their pixels; its least


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How a training went; the model holds the weights of the best epoch.

    Attributes:
        history: a column a quantity, a row an epoch; `epoch` counts from 1.
        best_epoch: with the lowest validation loss, counted from 1; the last without validation.
        seconds: of all epochs, over every session of the run.
        was_stopped: by Ctrl-C, before its end.
    """

    history: Mapping[str, list[float]]
    best_epoch: int
    seconds: float
    was_stopped: bool = False


@contextlib.contextmanager
def machine(settings: TrainingSettings) -> Iterator[tf.distribute.Strategy]:
    """The seeds, precision, determinism and devices of a training; yields the strategy, entered.

    On several machines a model is built inside, but measured outside: there every new variable is
    one of all workers.

    Raises:
        InputError: if several machines are to train and this process has not joined them.
    """
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
        # Now TensorFlow puts a plain map in the place of each parallel one, and logs as an error
        # what it drops on the way. None asks for a plain one at once, in Keras's own maps too, also
        # for what is measured later: who began the command puts it back.
        tf.data.AUTOTUNE = None
    with precision(settings.precision), _strategy(settings.strategy).scope():
        yield tf.distribute.get_strategy()


def _strategy(name: str) -> tf.distribute.Strategy:
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "none" or several_workers.is_over():
        return tf.distribute.get_strategy()
    cluster = several_workers.current()
    if cluster is None:
        raise InputError(
            "--strategy multiworker is for the commands ae, gan and supervised: choose none or "
            "mirrored"
        )
    return cluster.strategy


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """The arithmetic of the layers that are built inside; `auto` that is not decided is float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if name == "auto" else name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def is_distributed() -> bool:
    """Whether the code runs in the scope of a strategy over several devices."""
    return tf.distribute.has_strategy()


def check_memory(num_weights: int, flags: str) -> None:
    """Refuses a network that this machine cannot hold, before anything is written.

    Args:
        num_weights: about as many as it has.
        flags: what its size follows from.

    Raises:
        InputError: if weights, gradients and Adam's two averages exceed the machine's memory.
    """
    needed = 4 * 4 * num_weights  # float32
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(
            f"{flags}: a network of {num_weights:,} weights needs {needed / 2**30:,.0f} GiB to be "
            f"trained, this machine has {there / 2**30:,.1f} GiB: choose less"
        )


def check_shares(settings: TrainingSettings, num_images: int) -> None:
    """Refuses batches that cannot be divided evenly over the devices, before anything is written.

    Args:
        settings: batch size and strategy.
        num_images: of the training set.

    Raises:
        InputError: if the size is no multiple of their number.
    """
    cluster = several_workers.current()
    if settings.strategy == "none":
        return
    if cluster is not None:
        number = cluster.strategy.num_replicas_in_sync
    else:
        number = max(1, *(len(tf.config.list_logical_devices(kind)) for kind in ("CPU", "GPU")))
    size = min(settings.batch_size, num_images)
    if size % number:
        fitting = size // number * number
        advice = f"{fitting} or {fitting + number}" if fitting else str(number)
        raise InputError(
            f"--batch-size {size} cannot be divided evenly over {number} devices: choose {advice}"
        )


def learning_rate(settings: TrainingSettings, epochs: int, epoch: int) -> float:
    """The step size of one epoch, counted from 0, of a training over `epochs`.

    Along the cosine the first epoch has the whole rate, and the last one 1 % of it.
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    wave = 0.5 * (1.0 + math.cos(math.pi * min(1.0, epoch / max(1, epochs - 1))))
    return settings.learning_rate * (0.01 + 0.99 * wave)


def mean_pixel(splits: Splits) -> np.ndarray:
    """Of the first training images, float64 (channels,), in [0, 1]."""
    images = splits.train.array(np.arange(min(_MEAN_OF, len(splits.train))))
    return images.mean(axis=(0, 1, 2), dtype=np.float64)


def begin_at(decoder: keras.Model, mean: np.ndarray) -> None:
    """Sets the last bias so that an untrained decoder answers each code with about this pixel.

    From 0.5 a decoder of mostly dark images is first pushed to black as a whole, so far that its
    sigmoid has no gradient any more, and a deep one stays there: see docs/autoencoder.md.
    """
    share = np.clip(mean, _LEAST_MEAN, 1.0 - _LEAST_MEAN)
    decoder.get_layer("transposed_convolution_1").bias.assign(np.log(share / (1.0 - share)))


def compile_options() -> dict[str, int | bool]:
    """`compile` arguments that were measured fastest on processors (see `benchmarks/`).

    XLA is left to the optimizer. Under a strategy Keras fails with more than one step an execution.
    """
    return {"steps_per_execution": 1 if is_distributed() else 16, "jit_compile": False}


def fit(
    model: keras.Model,
    splits: Splits,
    settings: TrainingSettings,
    run: Run | None,
    *,
    prepare: batches.Prepare | None = None,
    deformation: float = 0.0,
    rate: Callable[[int], float] | None = None,
    optimizers: Sequence[keras.Optimizer] | None = None,
    validates: bool = True,
    may_stop: bool = False,
    recorders: Mapping[str, Any] = types.MappingProxyType({}),
    shown: Mapping[str, str] = types.MappingProxyType({"loss": "loss", "val_loss": "validation"}),
) -> Fitted:
    """Trains until the epochs are over or patience is; goes on exactly where the run stood.

    Args:
        model: compiled, its optimizers not necessarily built.
        splits: the data; patience looks at the validation part, nothing at the test part.
        settings: epochs, batch size, patience, seed.
        run: whose folder receives state, `history.csv` and events; None writes nothing.
        prepare: as for `batches.training_batches`.
        deformation: of training images alone, as for `batches.training_batches`.
        rate: epoch, from 0 -> learning rate; None leaves the optimizers' own.
        optimizers: all that train the model, built; None stands for the model's one.
        validates: whether there is a validation loss, and so patience.
        may_stop: whether Ctrl-C is an end of the training, with the best weights so far.
        recorders: name -> callback; a state is kept with the run's, `is_over` ends the training.
        shown: the numbers of an epoch that are shown -> what they are called.

    Raises:
        InputError: if the stored state is damaged or the loss is no number any more.
        Interrupted: on Ctrl-C, unless it may stop; the text says how to go on.
    """
    parts = _stateful_parts(model, settings, optimizers, recorders, validates)
    history, first_epoch = _restored(run, parts)
    epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    order = functools.partial(batches.training_batches, epoch=epoch, deformation=deformation)
    training, validation = _batches(order, splits, settings, prepare, validates, model)
    steps = batches.steps_per_epoch(splits.train, settings.batch_size)
    images = steps * min(settings.batch_size, len(splits.train))
    progress = callbacks.EpochProgress(settings.epochs, steps, first_epoch, shown)
    patience: Any = parts.get("patience")
    with _resumable(run, history, progress), stoppable(model, patience, may_stop) as stops:
        model.fit(
            training,
            validation_data=validation,
            epochs=_last_epoch(parts, first_epoch, settings.epochs),
            initial_epoch=first_epoch,
            **_NOT_BY_KERAS,
            callbacks=[
                *_epoch_callbacks(epoch, rate, optimizers, images, patience, run),
                *recorders.values(),
                callbacks.Checkpoint(run, parts, history),
                *_shown(progress),
            ],
        )
    best_epoch = len(history.get("epoch", [])) if patience is None else patience.best_epoch + 1
    return Fitted(history, best_epoch, sum(history.get("seconds", [])), bool(stops))


def _shown(progress: callbacks.EpochProgress) -> list[keras.callbacks.Callback]:
    """What comes last in an epoch: one worker shows how it goes, and all keep together."""
    cluster = several_workers.current()
    if cluster is None:
        return [progress]
    return [*([progress] if cluster.is_first else []), several_workers.KeepTogether(cluster)]


@contextlib.contextmanager
def stoppable(
    model: keras.Model, patience: callbacks.Patience | None, may_stop: bool
) -> Iterator[list[KeyboardInterrupt]]:
    """Makes Ctrl-C an end like any other, where it may be one: with the best weights so far.

    Yields:
        A list that holds the interrupt afterwards, if there was one.
    """
    stops: list[KeyboardInterrupt] = []
    try:
        yield stops
    except KeyboardInterrupt as stop:
        if not may_stop:
            raise
        stops.append(stop)
        if patience is not None and patience.best_weights is not None:
            model.set_weights(patience.best_weights)


def _stateful_parts(
    model: keras.Model,
    settings: TrainingSettings,
    optimizers: Sequence[keras.Optimizer] | None,
    recorders: Mapping[str, Any],
    validates: bool,
) -> dict[str, callbacks.Stateful]:
    """Everything that decides how the training goes on, by the name it is stored under."""
    if optimizers is None:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
    parts: dict[str, callbacks.Stateful] = {"model": callbacks.ModelState(model, optimizers)}
    if validates:
        shapes = [weight.shape for weight in model.get_weights()]
        parts["patience"] = callbacks.Patience(settings.patience, shapes)
    return parts | {name: part for name, part in recorders.items() if hasattr(part, "restore")}


def _epoch_callbacks(
    epoch: tf.Variable,
    rate: Callable[[int], float] | None,
    optimizers: Sequence[keras.Optimizer] | None,
    images_per_epoch: int,
    patience: callbacks.Patience | None,
    run: Run | None,
) -> list[keras.callbacks.Callback]:
    """Those that set an epoch up, add to its numbers and decide whether another one comes."""
    return [
        callbacks.EpochOrder(epoch),
        *([] if rate is None else [callbacks.Schedule(rate, optimizers)]),
        callbacks.Measure(images_per_epoch),
        callbacks.StopOnNonFinite(),
        *([] if patience is None else [patience]),
        *([] if run is None else [keras.callbacks.TensorBoard(run.folder, write_graph=False)]),
    ]


def _last_epoch(parts: Mapping[str, callbacks.Stateful], first_epoch: int, epochs: int) -> int:
    """Where training ends: where it stands already, if patience was over by then."""
    is_over = any(getattr(part, "is_over", False) for part in parts.values())
    if is_over and epochs > first_epoch:
        logger.info(f"--patience is over since epoch {first_epoch}: a larger one, or 0, goes on")
    return several_workers.said_by_first(first_epoch if is_over else max(first_epoch, epochs))


@contextlib.contextmanager
def _resumable(
    run: Run | None, history: Mapping[str, Sequence[float]], progress: callbacks.EpochProgress
) -> Iterator[None]:
    """Makes Ctrl-C an `Interrupted` that says how to go on; refuses a folder that was removed."""
    try:
        with contextlib.closing(progress):
            yield
        if run is not None:
            run.check_folder()
    except KeyboardInterrupt:
        if run is None:
            raise
        raise Interrupted(how_to_resume(run, len(history.get("epoch", [])))) from None


def _batches(
    order: Callable[..., tf.data.Dataset],
    splits: Splits,
    settings: TrainingSettings,
    prepare: batches.Prepare | None,
    validates: bool,
    model: keras.Model,
) -> tuple[Any, Any]:
    """Those of training, in their order, and of validation, if any; each worker gets its own rows.

    Several replicas get validation batches of one size with weights: their shares are equal.
    """
    size = settings.batch_size
    training = order(splits.train, size, seed=settings.seed, prepare=prepare)
    validation = None
    if validates:
        validation = batches.evaluation_batches(splits.validation, size, prepare=prepare)
        if isinstance(model, replicated.ReplicatedModel):
            replicas = model.distribute_strategy.num_replicas_in_sync
            least = -(-len(splits.validation) // replicas) * replicas
            validation = replicated.filled(validation, min(size, least))
    cluster = several_workers.current()
    if cluster is None:
        return training, validation
    distributed = cluster.distributed
    return distributed(training), None if validation is None else distributed(validation)


def _restored(
    run: Run | None, parts: Mapping[str, callbacks.Stateful]
) -> tuple[dict[str, list[float]], int]:
    """Puts each part back to where the run stood.

    Returns:
        The run's history, empty where it begins, and the number of epochs that are done.

    Raises:
        InputError: if the stored state is damaged or of another model.
    """
    stored = several_workers.of_all(None if run is None else callbacks.read_state(run))
    if stored is None:
        return {}, 0
    place = "the state that worker 0 gave" if run is None else run.checkpoint
    try:
        for name, part in parts.items():
            part.restore(stored[name])
    except InputError:
        raise
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise InputError(
            f"{place} does not fit this version's model ({error}): start a new run"
        ) from error
    history = {name: column.tolist() for name, column in stored["history"].items()}
    return history, len(history["epoch"])


def how_to_resume(run: Run, done: int, unit: str = "epochs") -> str:
    """The line that tells a user how a stopped run goes on."""
    logs = run.folder.parent.parent
    arguments = ["--resume", "--name", run.name]
    if str(logs) != "logs":
        arguments += ["--logs", str(logs)]
    return (
        f"stopped, {done} {unit} are saved; go on with: "
        f"python -m kerasunsup.{run.experiment} {shlex.join(arguments)}"
        f"{'' if several_workers.current() is None else ' and the flags of the workers, on each'}"
    )
