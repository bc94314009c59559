"""Groups of codes, or a few labels, become a classifier of images: the self-labelling student.

Codes say which images lie together, and some of that is wrong. What is the surest of every group is
taught to a convolutional network, under deformations; it sees images and not codes, and errors that
follow no pattern in the images it does not learn. Then the network's average labels all images and
the network learns what that is sure of (see `models.student`), until answers change no more. Two
more networks, new ones, begin from the answers of the one before.
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
# Images that nobody described. On MNIST too it taught more than 0.5, 1 and 1.4 of it did.
MILD = DIGITS.scaled(0.7)

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
        epochs: at most so many in which the network teaches itself, in each round.
        rounds: how many networks there are, one after the other. All but the first are new ones
            that begin from the answers of the last: what of its errors follows no pattern in the
            images a new network does not learn again (Xie et al., 2020, arXiv:1911.04252).
        retaught_share: of each class, the surest answers that are taught to a new network.
        retaught_steps: steps in which they are taught.
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
    epochs: int = 4
    rounds: int = 3
    retaught_share: float = 0.95
    retaught_steps: int = 900
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
        for name in ("share", "retaught_share", "threshold", "averaging"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(
                    f"{name} must be above 0 and at most 1, received {getattr(self, name)}"
                )
        for name in ("taught_steps", "epochs", "rounds", "retaught_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, received {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Epoch:
    """How a student stands after an epoch; the first of each round is the end of teaching.

    Attributes:
        images: deformed images that it has learned from so far.
        seconds: since the beginning, with those that `watch` took.
        counted: share of the images whose answer the teacher was sure of; 1 in a first one.
        changed: share of the watched images whose answer is another than an epoch before; NaN in
            a first one.
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
    classes, num_classes = _classes(images, groups, confidence, labelled, labels, num_classes)
    given = None if labelled is None or labels is None else (images.subset(labelled), labels)
    record = _Record(images, settings, seed, watch)
    rounds = [_Round(images, given, settings, seed, number) for number in range(settings.rounds)]
    with Progress(sum(one.num_steps for one in rounds), "step") as progress:
        for one in rounds:
            taught = sure_groups.surest(classes, confidence, one.share)
            taught = taught if labelled is None else np.union1d(taught, labelled)
            network = one.new_network(num_classes)
            one.teach(network, images.subset(taught), classes[taught], progress)
            model = one.self_labelled(network)
            record.epoch_ended(model.teacher, one.images_taught, 1.0, is_first=True)
            for epoch in range(1, settings.epochs + 1):
                counted = one.teach_itself(model, epoch, progress)
                record.epoch_ended(model.teacher, one.images_an_epoch, counted)
                if record.epochs[-1].changed < settings.changed:
                    break
            probabilities = _probabilities(model.teacher, images)
            answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
            classes = answers.copy()
            if labelled is not None:
                classes[labelled] = labels
    return Student(model.teacher, answers, confidence, tuple(record.epochs))


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


class _Record:
    """How a student stands after each of its epochs, and what is told of it."""

    def __init__(
        self, images: ImageSet, settings: StudentSettings, seed: int, watch: Watch | None
    ) -> None:
        watched = np.random.default_rng(seed).permutation(len(images))[:_WATCHED]
        self._watched, self._watch = images.subset(watched), watch
        self._began, self._answers = time.perf_counter(), np.empty(0)
        self.epochs: list[Epoch] = []

    def epoch_ended(
        self, network: keras.Model, num_images: int, counted: float, *, is_first: bool = False
    ) -> None:
        """Adds an epoch of so many images; `is_first` of a network that was only taught."""
        before, self._answers = self._answers, _probabilities(network, self._watched).argmax(axis=1)
        changed = math.nan if is_first else float(np.mean(self._answers != before))
        seen = num_images + (self.epochs[-1].images if self.epochs else 0)
        self.epochs.append(Epoch(seen, time.perf_counter() - self._began, counted, changed))
        if self._watch is not None:
            self._watch(network, self.epochs[-1])


class _Round:
    """The two parts of a network's training: what is given to it, and in which steps."""

    def __init__(
        self,
        images: ImageSet,
        given: tuple[ImageSet, np.ndarray] | None,
        settings: StudentSettings,
        seed: int,
        number: int,
    ) -> None:
        self._images, self._given, self._settings = images, given, settings
        self._seed = (seed + 15_485_863 * number) % 2**31
        self._steps = max(_LEAST_STEPS, batches.steps_per_epoch(images, settings.batch_size))
        self._taught_steps = settings.retaught_steps if number else settings.taught_steps
        self.share = settings.retaught_share if number else settings.share
        size = min(settings.batch_size, len(images))
        if given is not None:
            size += min(settings.labelled_batch_size, len(given[0]))
        self.images_taught, self.images_an_epoch = size * self._taught_steps, size * self._steps
        # Of all rounds before, if no epoch was left out.
        before = settings.taught_steps + (number - 1) * settings.retaught_steps if number else 0
        self._begin = before + number * settings.epochs * self._steps

    @property
    def num_steps(self) -> int:
        """In all, if no epoch is left out."""
        return self._taught_steps + self._settings.epochs * self._steps

    def new_network(self, num_classes: int) -> keras.Model:
        """Images -> logits, untrained."""
        keras.utils.set_random_seed(self._seed)
        layer_types = faster_layers.for_training()
        return build_network(
            self._images.shape, num_classes, self._settings, layer_types=layer_types
        )

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

        dataset = self._batches(images, classes, 0, self._taught_steps)
        dataset = dataset.enumerate().map(deformed, **batches.map_options(2))
        self._compile(
            network,
            self._taught_steps,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self._fit(network, dataset, self._begin, progress)

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
        done = self._begin + self._taught_steps + (epoch - 1) * self._steps
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
