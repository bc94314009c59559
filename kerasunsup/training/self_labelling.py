"""Groups of codes, or a few labels, become a classifier of images: the self-labelling student.

Codes say which images lie together, and some of that is wrong. What is the surest of every group is
taught to a convolutional network, under deformations; it sees images and not codes, and errors that
follow no pattern in the images it does not learn. Then the network's average labels all images and
the network learns what that is sure of (see `models.student`), until answers change no more.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from kerasunsup.data import augmentation, batches
from kerasunsup.data.augmentation import Deformation
from kerasunsup.data.image_set import ImageSet
from kerasunsup.evaluation import clustering, sure_groups
from kerasunsup.models import faster_layers, networks, optimizers, student
from kerasunsup.progress import Progress

# What may happen to a digit: three of its 28 pixels, 20 degrees. No flips.
DIGITS = Deformation(rotation=0.35, scale=0.15, shear=0.15, shift=3 / 28)
# Images that nobody described: half of it changes hardly any thing into another one.
MILD = DIGITS.scaled(0.5)

_EVALUATED = 500  # images that the network is given at a time
_WATCHED = 5000  # images whose answers are compared from one epoch to the next, at most
_LEAST_STEPS = 100  # of an epoch: few images are gone through several times


@dataclasses.dataclass(frozen=True)
class StudentSettings:
    """The settings of a student; the defaults were tried on MNIST.

    Raises:
        ValueError: if a share is none, or there is no step.

    Attributes:
        limits: the largest deformation that the network must see through. Images that groups are
            taught on are deformed by two thirds of it; those that the teacher answers to are only
            shifted, by a third of it.
        hole: side of the hole in images that the student learns, as a share of the smaller side.
        share: of each group, the surest, that is taught. Of MNIST's codes 0.6 holds fewer errors,
            and too few of the rarer forms: sevens with a bar then end as twos, and after three
            epochs 97.0 % of the validation images are right, not 98.0 % (seed 0).
        taught_steps: steps in which groups are taught.
        epochs: at most so many in which the network teaches itself.
        changed: share of the images whose answer may change in the last epoch; 0 lets all come.
        threshold: probability from which an answer of the teacher counts.
        averaging: share of itself that the teacher keeps in each step.
        is_balanced: whether the teacher is drawn towards equal classes. It keeps a large group from
            taking over what belongs to others, and rare classes from being lost.
        learning_rate: Adam's first step size of either part; it falls along a cosine.
        batch_size: images in a step.
        labelled_batch_size: labelled images beside them, where there are any.
        filters: of each convolution; the side is halved behind each.
        hidden_units: of the dense layer behind them.
    """

    limits: Deformation = MILD
    hole: float = 0.0
    share: float = 0.8
    taught_steps: int = 300
    epochs: int = 10
    changed: float = 0.0005
    threshold: float = 0.9
    averaging: float = 0.99
    is_balanced: bool = True
    learning_rate: float = 0.001
    batch_size: int = 128
    labelled_batch_size: int = 64
    filters: tuple[int, ...] = (32, 64, 128)
    hidden_units: int = 128

    def __post_init__(self) -> None:
        """Refuses shares that are none, and a training without a step."""
        for name in ("share", "threshold", "averaging"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(
                    f"{name} must be above 0 and at most 1, received {getattr(self, name)}"
                )
        if min(self.taught_steps, self.epochs) < 1:
            raise ValueError(
                "taught_steps and epochs must be at least 1, received "
                f"{self.taught_steps} and {self.epochs}"
            )


@dataclasses.dataclass(frozen=True)
class Epoch:
    """How a student stands after an epoch; the first is the end of teaching groups.

    Attributes:
        images: deformed images that it has learned from so far.
        seconds: since the beginning, with those that `watch` took.
        counted: share of the images whose answer the teacher was sure of; 1 in the first.
        changed: share of the watched images whose answer is another than an epoch before; NaN in
            the first.
    """

    images: int
    seconds: float
    counted: float
    changed: float


@dataclasses.dataclass(frozen=True)
class Student:
    """What a student became.

    Attributes:
        network: images -> logits (batch, num_classes); the averaged weights.
        classes: int64 (num_images,), its answer to every image.
        probability: float32 (num_images,), of that answer.
        epochs: how it went.
    """

    network: keras.Model
    classes: np.ndarray
    probability: np.ndarray
    epochs: tuple[Epoch, ...]


# Told after every epoch: (images -> logits, how it stands).
Watch = Callable[[keras.Model, Epoch], None]


def train(
    images: ImageSet,
    groups: np.ndarray,
    confidence: np.ndarray,
    *,
    labelled: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    num_classes: int | None = None,
    settings: StudentSettings | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Student:
    """Teaches groups to a network, which then teaches itself on all images.

    Args:
        images: all of them; they are read batch by batch.
        groups: int64 (num_images,) from 0; below 0 stands for none.
        confidence: (num_images,), the surer the larger; compared within a group.
        labelled: positions of labelled images, int64; they name the groups (see
            `sure_groups.named`) and take part in every step.
        labels: their classes from 0, int64.
        num_classes: how many there are; None takes the groups, or the labels where there are any.
        settings: the numbers of the training; None takes the defaults.
        seed: 0 to 2**31 - 1; everything random follows from it.
        watch: told after every epoch.

    Raises:
        ValueError: if images are too few, arrays are not theirs, or there is one class only.
    """
    settings = settings or StudentSettings()
    began = time.perf_counter()
    classes, num_classes = _classes(images, groups, confidence, labelled, labels, num_classes)
    given = None if labelled is None or labels is None else (images.subset(labelled), labels)
    taught = sure_groups.surest(classes, confidence, settings.share)
    taught = taught if labelled is None else np.union1d(taught, labelled)
    keras.utils.set_random_seed(seed)
    network = build_network(
        images.shape, num_classes, settings, layer_types=faster_layers.for_training()
    )
    training = _Training(images, given, settings, seed)
    watched = np.random.default_rng(seed).permutation(len(images))[:_WATCHED]
    with Progress(training.num_steps, "step") as progress:
        training.teach(network, images.subset(taught), classes[taught], progress)
        before = _probabilities(network, images.subset(watched)).argmax(axis=1)
        model = training.self_labelled(network)
        epochs: list[Epoch] = []
        for number in range(settings.epochs + 1):
            counted, changed = 1.0, math.nan
            if number:
                counted = training.teach_itself(model, number, progress)
                answers = _probabilities(model.teacher, images.subset(watched)).argmax(axis=1)
                changed, before = float(np.mean(answers != before)), answers
            seconds = time.perf_counter() - began
            epochs.append(Epoch(training.images_seen(number), seconds, counted, changed))
            if watch is not None:
                watch(model.teacher, epochs[-1])
            if changed < settings.changed:
                break
    answers = _probabilities(model.teacher, images)
    return Student(model.teacher, answers.argmax(axis=1), answers.max(axis=1), tuple(epochs))


def build_network(
    image_shape: tuple[int, int, int],
    num_classes: int,
    settings: StudentSettings | None = None,
    **options: Any,
) -> keras.Model:
    """The student's network, untrained: images -> logits (batch, num_classes).

    `options` go to `networks.classifier`.
    """
    settings = settings or StudentSettings()
    return networks.classifier(
        image_shape,
        num_classes,
        filters=settings.filters,
        feature_dim=settings.hidden_units,
        **options,
    )


def _classes(
    images: ImageSet,
    groups: np.ndarray,
    confidence: np.ndarray,
    labelled: np.ndarray | None,
    labels: np.ndarray | None,
    num_classes: int | None,
) -> tuple[np.ndarray, int]:
    """The class of each image to begin with, -1 for none, and their number, after a look at all."""
    if len(images) < clustering.LEAST_CODES:
        raise ValueError(f"a student needs {clustering.LEAST_CODES} images, received {len(images)}")
    if not len(groups) == len(confidence) == len(images):
        raise ValueError(
            f"{len(images)} images need as many groups and confidences, received {len(groups)} and "
            f"{len(confidence)}"
        )
    if labelled is None or labels is None:
        if (labelled is None) != (labels is None):
            raise ValueError("labelled positions and labels go together: give both or none")
        classes, number = groups, int(groups.max()) + 1
    else:
        if len(labelled) != len(labels) or not len(labels):
            raise ValueError(
                f"each labelled image needs a label, received {len(labelled)} and {len(labels)}"
            )
        number = int(labels.max()) + 1
        classes = sure_groups.named(groups, labelled, labels, max(number, num_classes or 0))
    number = num_classes or number
    found = len(np.unique(classes[classes >= 0]))
    if found < 2 or classes.max() >= number:
        raise ValueError(
            f"a student tells two classes or more apart, received images of {found} in {number}: "
            "ask for more groups, or give labels of more classes"
        )
    return classes, number


class _Training:
    """The two parts of a student's training: what is given to the network, and in which steps."""

    def __init__(
        self,
        images: ImageSet,
        given: tuple[ImageSet, np.ndarray] | None,
        settings: StudentSettings,
        seed: int,
    ) -> None:
        self._images, self._given, self._settings, self._seed = images, given, settings, seed
        self._steps = max(_LEAST_STEPS, batches.steps_per_epoch(images, settings.batch_size))

    @property
    def num_steps(self) -> int:
        """In all, if no epoch is left out."""
        return self._settings.taught_steps + self._settings.epochs * self._steps

    def images_seen(self, epoch: int) -> int:
        """Images that were learned from until the end of an epoch."""
        size = min(self._settings.batch_size, len(self._images))
        if self._given is not None:
            size += min(self._settings.labelled_batch_size, len(self._given[0]))
        return size * (self._settings.taught_steps + epoch * self._steps)

    def teach(
        self, network: keras.Model, images: ImageSet, classes: np.ndarray, progress: Progress
    ) -> None:
        """Trains a network on images and their classes."""
        settings = self._settings
        limits = settings.limits.scaled(2 / 3)

        def deformed(step: Any, batch: Any) -> Any:
            pictures, targets = batch
            if self._given is not None:
                pictures, targets = (
                    tf.concat([pictures[0], targets[0]], 0),
                    tf.concat([pictures[1], targets[1]], 0),
                )
            seed = tf.stack([tf.constant(self._seed, tf.int64), step])
            return augmentation.deform(pictures, 1.0, seed, limits), targets

        dataset = self._batches(images, classes, 0, settings.taught_steps)
        dataset = dataset.enumerate().map(deformed, **batches.map_options(2))
        self._compile(
            network,
            settings.taught_steps,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self._fit(network, dataset, 0, progress)

    def self_labelled(self, network: keras.Model) -> student.SelfLabelled:
        """The model that goes on with a taught network."""
        settings = self._settings
        model = student.SelfLabelled(
            network,
            threshold=settings.threshold,
            averaging=settings.averaging,
            is_balanced=settings.is_balanced,
            weak=Deformation(0.0, 0.0, 0.0, settings.limits.shift / 3),
            strong=settings.limits,
            hole=round(settings.hole * min(self._images.shape[:2])),
            seed=self._seed,
        )
        self._compile(model, settings.epochs * self._steps)
        return model

    def teach_itself(self, model: student.SelfLabelled, epoch: int, progress: Progress) -> float:
        """Goes through an epoch, from 1; returns the share of answers that counted."""
        unread = np.zeros(len(self._images), np.int64)
        dataset = self._batches(self._images, unread, epoch, self._steps)
        done = self._settings.taught_steps + (epoch - 1) * self._steps
        return float(self._fit(model, dataset, done, progress)["counted"][-1])

    def _batches(
        self, images: ImageSet, classes: np.ndarray, epoch: int, num_steps: int
    ) -> tf.data.Dataset:
        """(images, classes), or ((labelled images, labels), (images, classes)), in new orders."""
        settings, seed = self._settings, (self._seed + 7919 * epoch) % 2**31
        dataset = batches.labelled_batches(
            images, classes, settings.batch_size, seed=seed, num_steps=num_steps
        )
        if self._given is None:
            return dataset
        labelled = batches.labelled_batches(
            *self._given, settings.labelled_batch_size, seed=seed, num_steps=num_steps
        )
        return tf.data.Dataset.zip(labelled, dataset)

    def _compile(self, model: keras.Model, num_steps: int, loss: Any = None) -> None:
        rate = keras.optimizers.schedules.CosineDecay(
            self._settings.learning_rate, num_steps, alpha=0.01
        )
        model.compile(optimizers.adam(rate), loss, jit_compile=False)

    @staticmethod
    def _fit(
        model: keras.Model, dataset: tf.data.Dataset, done: int, progress: Progress
    ) -> dict[str, list[float]]:
        shown = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: progress.advance_to(done + batch + 1)
        )
        return model.fit(dataset, shuffle=False, verbose=0, callbacks=[shown]).history


def _probabilities(network: keras.Model, images: ImageSet) -> np.ndarray:
    """Of each class, float32 (num_images, num_classes); the images are read batch by batch."""
    dataset = batches.evaluation_batches(images, _EVALUATED, prepare=lambda pixels, _: pixels)
    logits = [network(pixels, training=False).numpy() for pixels in dataset]
    return special.softmax(np.concatenate(logits), axis=1)
