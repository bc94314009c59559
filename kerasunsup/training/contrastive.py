"""An encoder trained to tell images apart, and not to draw them again: SimCLR.

What it must find again is the image behind two deformations of it, among the other images of the
batch (see `models.contrastive`). It needs no decoder and no label.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import keras
import numpy as np

from kerasunsup.data import batches
from kerasunsup.data.augmentation import Deformation
from kerasunsup.data.image_set import ImageSet
from kerasunsup.models import contrastive, optimizers
from kerasunsup.progress import Progress
from kerasunsup.training.self_labelling import MILD

_TRACED = 5  # steps before the clock: the first traces, and memory is taken
_TIMED = 40  # steps that one step's time is measured by


@dataclasses.dataclass(frozen=True)
class ContrastiveSettings:
    """The settings of a contrastive training.

    Raises:
        ValueError: if a batch holds less than two images, or the temperature is not above 0.

    Attributes:
        limits: the largest deformation of a view.
        temperature: of the loss; the paper's own for long trainings and CIFAR-10.
        hidden_units: of the head's first layer.
        projection_dim: size of what the loss compares.
        learning_rate: Adam's first step size; it falls to a hundredth of it along a cosine.
        batch_size: images in a step, each of them twice.
    """

    limits: Deformation = MILD
    temperature: float = 0.5
    hidden_units: int = 128
    projection_dim: int = 64
    learning_rate: float = 0.001
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Refuses what there is nothing to learn from."""
        if self.batch_size < 2 or not self.temperature > 0.0:
            raise ValueError(
                "batch_size must be at least 2 and temperature above 0, received "
                f"{self.batch_size} and {self.temperature}"
            )


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a contrastive training came to.

    Attributes:
        encoder: images -> codes (batch, codes_dim).
        losses: of each epoch, mean over its steps, in nats; the last may be a part of an epoch.
        images: that it has seen, each of them in two views.
        seconds: from the end of the first step on, which is compiled.
    """

    encoder: keras.Model
    losses: tuple[float, ...]
    images: int
    seconds: float


def train(
    like: keras.Model,
    images: ImageSet,
    *,
    num_steps: int,
    settings: ContrastiveSettings | None = None,
    seed: int = 0,
) -> Trained:
    """Trains an encoder of the architecture of another from its own beginning.

    Args:
        like: images -> codes; its weights are not read.
        images: two or more; they are read batch by batch.
        num_steps: updates, at least one.
        settings: the numbers of the training; None takes the defaults.
        seed: 0 to 2**31 - 1; everything random follows from it.

    Raises:
        ValueError: if there are too few images or steps.
    """
    settings = settings or ContrastiveSettings()
    with Progress(num_steps, "step") as progress:
        return _fitted(like, images, num_steps, settings, seed, _Clock(1, progress))


def steps_within(
    seconds: float,
    like: keras.Model,
    images: ImageSet,
    settings: ContrastiveSettings | None = None,
) -> int:
    """How many steps of `train` take about so long here: 40 are timed. At least one.

    Arguments and errors are those of `train`.
    """
    clock = _Clock(_TRACED)
    _fitted(like, images, _TRACED + _TIMED, settings or ContrastiveSettings(), 0, clock)
    return max(1, round(seconds / (clock.seconds / _TIMED)))


def _fitted(
    like: keras.Model,
    images: ImageSet,
    num_steps: int,
    settings: ContrastiveSettings,
    seed: int,
    clock: _Clock,
) -> Trained:
    if len(images) < 2 or num_steps < 1:
        raise ValueError(
            "a contrastive training needs two images and one step, received "
            f"{len(images)} and {num_steps}"
        )
    keras.utils.set_random_seed(seed)
    encoder = keras.models.clone_model(like)
    head = contrastive.projection_head(
        encoder.output_shape[-1], hidden_units=settings.hidden_units, dim=settings.projection_dim
    )
    model = contrastive.Contrastive(
        encoder, head, limits=settings.limits, temperature=settings.temperature, seed=seed
    )
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, num_steps, alpha=0.01)
    model.compile(optimizers.adam(rate), jit_compile=False)
    clock.steps_per_epoch = batches.steps_per_epoch(images, settings.batch_size)
    unread = np.zeros(len(images), np.int64)
    dataset = batches.labelled_batches(
        images, unread, settings.batch_size, seed=seed, num_steps=num_steps
    )
    model.fit(dataset, shuffle=False, verbose=0, callbacks=[clock])
    size = min(settings.batch_size, len(images))
    return Trained(encoder, tuple(clock.losses), size * num_steps, clock.seconds)


class _Clock(keras.callbacks.Callback):
    """Counts the seconds behind the first steps, and keeps the loss of each epoch."""

    def __init__(self, first: int, progress: Progress | None = None) -> None:
        super().__init__()
        self._first, self._progress = first, progress
        self._began = time.perf_counter()
        self._loss: float | None = None  # of the epoch that is not at its end
        self.steps_per_epoch = 1
        self.losses: list[float] = []
        self.seconds = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch + 1 == self._first:
            self._began = time.perf_counter()
        self._loss = float(logs["loss"]) if logs else None
        if (batch + 1) % self.steps_per_epoch == 0:
            self._end_epoch()
        if self._progress is not None:
            self._progress.advance_to(batch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.seconds = time.perf_counter() - self._began
        self._end_epoch()

    def _end_epoch(self) -> None:
        if self._loss is not None:
            self.losses.append(self._loss)
        self._loss = None
        self.model.reset_metrics()
