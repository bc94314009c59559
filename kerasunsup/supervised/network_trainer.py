"""Trains the network of one method in steps, and measures how fast it learns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.errors import InputError
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.models import fixmatch, optimizers
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training import loop

_EVALUATED = 500  # images that the network is given at a time
_HOLE = 0.3  # side of the square that is blanked in pseudo-labelled images, of the smaller side
_LEAST_PROBABILITY = 1e-7  # a logarithm of 0 would be infinite
_RATE_EVERY = 10  # steps from one change of the learning rate to the next


class TrainingBatches(NamedTuple):
    """What a network is trained on in one cell."""

    dataset: tf.data.Dataset
    batch_size: int  # images in a step
    num_steps: int


class NetworkTrainer:
    """The network of one method with one compiled step; every cell trains it from its beginning.

    Args:
        build: () -> network, inputs -> logits, with new weights by the global seed.
        settings: the settings of the comparison.
        is_pseudo_labelled: whether the network learns from unlabelled images too.
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        settings: SupervisedSettings,
        *,
        is_pseudo_labelled: bool,
    ) -> None:
        self._build, self._rate = build, settings.learning_rate
        self.network = build()
        self.model: keras.Model = self.network
        if is_pseudo_labelled:
            hole = round(_HOLE * min(self.network.input_shape[1:3]))
            self.model = fixmatch.PseudoLabelled(
                self.network, strong=settings.deformation, hole=hole
            )
        self.model.compile(
            optimizer=optimizers.adam(settings.learning_rate, fused=not loop.is_distributed()),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        self.model.optimizer.build(self.network.trainable_variables)

        @tf.function(
            input_signature=[tf.TensorSpec((None, *self.network.input_shape[1:]), tf.float32)],
            autograph=False,
        )
        def probabilities(inputs: Any) -> Any:
            return tf.nn.softmax(self.network(inputs, training=False))

        self._probabilities = probabilities

    def begin(self, seed: int) -> None:
        """Puts the network and the optimizer back to their beginning."""
        keras.utils.set_random_seed(seed)
        for variable, initial in zip(self.network.variables, self._build().variables, strict=True):
            variable.assign(initial)
        for variable in self.model.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self.model.optimizer.learning_rate = self._rate
        if isinstance(self.model, fixmatch.PseudoLabelled):
            self.model.set_seed(seed)

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Returns float32 (num_inputs, num_classes) by the present weights."""
        blocks = range(0, len(inputs), _EVALUATED)
        return np.concatenate(
            [self._probabilities(inputs[start : start + _EVALUATED]).numpy() for start in blocks]
        )


class LearningCurve(keras.callbacks.Callback):
    """Measures a training before its first step and after step 1, 2, 4, 8, ... and the last.

    Args:
        probabilities: inputs -> probabilities by the present weights.
        inputs: what the network is given of the validation images.
        labels: int64 (num_validation,), classes counted from 0.
        batches: what the network is trained on.
        settings: the settings of the comparison, for the learning rate and the patience.
    """

    def __init__(
        self,
        probabilities: Callable[[np.ndarray], np.ndarray],
        inputs: np.ndarray,
        labels: np.ndarray,
        batches: TrainingBatches,
        settings: SupervisedSettings,
    ) -> None:
        super().__init__()
        self._probabilities, self._inputs, self._labels = probabilities, inputs, labels
        self._batch_size, self._num_steps = batches.batch_size, batches.num_steps
        self._settings, self._marks = settings, measured_steps(batches.num_steps)
        self._rows: list[tuple[float, float, float, float]] = []
        self._seconds = self._began = 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Measures the untrained model."""
        self._measure(0)
        self._began = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Sets the learning rate every few steps."""
        if batch % _RATE_EVERY == 0 or batch == self._num_steps - 1:
            rate = loop.learning_rate(self._settings, self._num_steps, batch)
            self.model.optimizer.learning_rate = rate

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Measures after the steps that are marked; the clock stands still meanwhile."""
        if batch + 1 in self._marks:
            self._seconds += time.perf_counter() - self._began
            self._measure(batch + 1)
            self._began = time.perf_counter()

    def _measure(self, step: int) -> None:
        probabilities = self._probabilities(self._inputs)
        loss = mean_cross_entropy(probabilities, self._labels)
        if not np.isfinite(loss):
            raise InputError(
                f"the loss became {loss} after {step} steps: choose a smaller --learning-rate"
            )
        accuracy = classifier_metrics.accuracy(self._labels, probabilities.argmax(axis=1))
        self._rows.append((step * self._batch_size, self._seconds, accuracy, loss))
        losses = [row[-1] for row in self._rows]
        if 0 < self._settings.patience <= len(losses) - 1 - int(np.argmin(losses)):
            self.model.stop_training = True

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns `images`, `seconds`, `accuracy` and `loss`, each float64 (num_points,)."""
        columns = np.array(self._rows, np.float64).T
        return dict(zip(("images", "seconds", "accuracy", "loss"), columns, strict=True))


def measured_steps(num_steps: int) -> set[int]:
    """Returns the steps after which a training is measured: 1, 2, 4, ... and the last."""
    return {2**exponent for exponent in range(num_steps.bit_length())} | {num_steps}


def mean_cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the cross entropy in nats, mean over the rows.

    Args:
        probabilities: (num_images, num_classes).
        labels: int64 (num_images,), classes counted from 0.
    """
    of_labels = probabilities[np.arange(len(probabilities)), labels]
    return float(-np.mean(np.log(np.maximum(of_labels, _LEAST_PROBABILITY))))
