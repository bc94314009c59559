"""The ways of making a classifier that are compared, each trained on a few labels or on all.

A cell of the comparison is (method, number of labels, repetition). Everything random in it follows
from the seed and these three, and all methods of a repetition see the same labelled images: so
cells can be trained in any order, and methods be compared pair by pair.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.data import augmentation, pixel_storage
from kerasunsup.data import batches as data_batches
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.models import networks
from kerasunsup.supervised.cells import Cell, CellResult, balanced_subset
from kerasunsup.supervised.encoded_images import EncodedImages
from kerasunsup.supervised.network_trainer import (
    LearningCurve,
    NetworkTrainer,
    mean_cross_entropy,
)
from kerasunsup.supervised.settings import (
    FROM_SCRATCH,
    PSEUDO_LABELLED,
    TRAINED,
    SupervisedSettings,
)
from kerasunsup.training import loop

# Validation images that curves are measured on and the best method is chosen by.
MOST_VALIDATION = 2000
_LABELLED_BATCH = 64  # labelled images in a step that sees unlabelled ones too
_HOLE = 0.3  # side of the square that is blanked in pseudo-labelled images, of the smaller side
# The filters of the convolutional network, the slowest method: chosen for speed (see
# `networks.classifier`), and its accuracy compared with the default's on test images.
_FILTERS = (16, 32, 128)


class TrainingBatches(NamedTuple):
    """What a network is trained on in one cell."""

    dataset: tf.data.Dataset
    batch_size: int  # images in a step
    num_steps: int


class MethodTrainer:
    """Trains the cells of a comparison, which share the data, the encoder and compiled networks.

    Args:
        splits: the images with their labels.
        classes: the label that each class, counted from 0, stands for, ascending.
        encoder: images -> codes, trained without labels.
        settings: the settings of the comparison.
    """

    def __init__(
        self,
        splits: Splits,
        classes: np.ndarray,
        encoder: keras.Model,
        settings: SupervisedSettings,
    ) -> None:
        labels = splits.labels
        if labels is None:
            raise ValueError("a comparison of classifiers needs labels")
        self._splits, self._settings, self._encoder = splits, settings, encoder
        self._num_classes = len(classes)
        self._train_labels = np.searchsorted(classes, labels.train)
        self._test_labels = np.searchsorted(classes, labels.test)
        self._test = splits.test.array()
        measured = np.arange(min(MOST_VALIDATION, len(splits.validation)))
        self._validation = splits.validation.array(measured)
        self._validation_labels = np.searchsorted(classes, labels.validation[measured])
        self._encoded = EncodedImages(
            encoder,
            splits.train,
            validation=self._validation,
            test=self._test,
            seed=settings.seed,
        )
        self._trainers: dict[str, NetworkTrainer] = {}
        self._traced: set[tuple[str, int]] = set()  # (method, images in a step) that is compiled

    def train(self, cell: Cell, *, keeps_weights: bool = False) -> CellResult:
        """Trains one cell and measures it on the validation and the test images.

        Args:
            cell: the method, the number of labels and the repetition.
            keeps_weights: whether the result holds the weights of the network, if there is one.
        """
        began = time.perf_counter()
        seed = self._settings.seed + cell.repetition
        labelled = balanced_subset(self._train_labels, cell.num_labels, seed)
        weights: tuple[np.ndarray, ...] = ()
        if cell.method in TRAINED:
            trainer, curve, _ = self.fit(cell.method, labelled, seed)
            if keeps_weights:
                weights = tuple(trainer.network.get_weights())
            test = trainer.probabilities(self._inputs(cell.method, "test"))
            validation = trainer.probabilities(self._inputs(cell.method, "validation"))
        else:
            curve = {}
            queries = [self._encoded.codes(split) for split in ("test", "validation")]
            answers = self._probe(cell.method, labelled, seed, np.concatenate(queries))
            test, validation = answers[: len(self._test)], answers[len(self._test) :]
        predictions = test.argmax(axis=1)
        return CellResult(
            predictions=predictions,
            confidence=test.max(axis=1).astype(np.float32),
            accuracy=classifier_metrics.accuracy(self._test_labels, predictions),
            loss=mean_cross_entropy(test, self._test_labels),
            validation_accuracy=classifier_metrics.accuracy(
                self._validation_labels, validation.argmax(axis=1)
            ),
            curve=curve,
            seconds=time.perf_counter() - began,
            weights=weights,
        )

    def classifier(self, method: str, weights: Sequence[np.ndarray]) -> keras.Model:
        """Returns images -> probabilities (batch, num_classes), by the weights of a network."""
        network = self._network(method)
        network.set_weights(list(weights))
        inputs = keras.Input(self._splits.image_shape, name="images")
        x = inputs
        if method == "frozen":
            x = keras.layers.Reshape(network.input_shape[1:])(self._encoder(inputs))
        softmax = keras.layers.Softmax(dtype="float32", name="probabilities")
        return keras.Model(inputs, softmax(network(x)), name="classifier")

    def fit(
        self,
        method: str,
        labelled: np.ndarray,
        seed: int,
        *,
        num_steps: int | None = None,
        may_stop: bool = False,
    ) -> tuple[NetworkTrainer, dict[str, np.ndarray], bool]:
        """Trains the network of a method.

        Args:
            method: one of `TRAINED`.
            labelled: the positions of the labelled training images.
            seed: everything random follows from it.
            num_steps: how many steps; None lets the settings decide.
            may_stop: whether Ctrl-C is an end of the training.

        Returns:
            The network after its training, the learning curve, and whether it was stopped.
        """
        batches = self._batches(method, labelled, seed, num_steps)
        if num_steps is None and (method, batches.batch_size) not in self._traced:
            # Tracing is no part of the seconds of a cell.
            self.fit(method, labelled, seed, num_steps=2)
            self._traced.add((method, batches.batch_size))
        if method not in self._trainers:
            self._trainers[method] = NetworkTrainer(
                functools.partial(self._network, method),
                self._settings,
                hole=round(_HOLE * min(self._splits.image_shape[:2])),
                is_pseudo_labelled=method in PSEUDO_LABELLED,
            )
        trainer = self._trainers[method]
        trainer.begin(seed)
        curve = LearningCurve(
            trainer.probabilities,
            self._inputs(method, "validation"),
            self._validation_labels,
            batch_size=batches.batch_size,
            rate=functools.partial(loop.learning_rate, self._settings, batches.num_steps),
            num_steps=batches.num_steps,
            patience=self._settings.patience,
        )
        with loop.stoppable(trainer.model, None, may_stop) as stops:
            trainer.model.fit(
                batches.dataset, epochs=1, shuffle=False, verbose=0, callbacks=[curve]
            )
        return trainer, curve.arrays(), bool(stops)

    def _batches(
        self, method: str, labelled: np.ndarray, seed: int, num_steps: int | None
    ) -> TrainingBatches:
        images, labels = self._splits.train, self._train_labels[labelled]
        if method == "graph_labels":
            answers = self._probe("graph", labelled, seed).argmax(axis=1)
            answers[labelled] = labels
            return _deformed_batches(images, answers, self._settings, seed, num_steps)
        if method in PSEUDO_LABELLED:
            return _half_labelled_batches(
                images, images.subset(labelled), labels, self._settings, seed, num_steps
            )
        if method == "frozen":  # the encoder does not change: its codes are computed once
            images = ImageSet(pixel_storage.MemoryStore(self._inputs(method, "train")))
        return _labelled_batches(images.subset(labelled), labels, self._settings, seed, num_steps)

    def _network(self, method: str) -> keras.Model:
        return build_network(method, self._encoder, self._splits.image_shape, self._num_classes)

    def _probe(
        self, method: str, labelled: np.ndarray, seed: int, queries: np.ndarray | None = None
    ) -> np.ndarray:
        labels = self._train_labels[labelled]
        return self._encoded.probe(method, labelled, labels, self._num_classes, seed, queries)

    def _inputs(self, method: str, split: str) -> np.ndarray:
        """Returns what a method's network is given: images, or codes of a frozen encoder."""
        if method == "frozen":
            return self._encoded.codes(split)[:, np.newaxis, np.newaxis]
        return self._test if split == "test" else self._validation


def build_network(
    method: str, encoder: keras.Model, image_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns the network of a method: images, or codes where the encoder is frozen -> logits.

    Args:
        method: one of `TRAINED`.
        encoder: images -> codes; its weights are copied where the method begins with them.
        image_shape: (height, width, channels).
        num_classes: the number of classes.
    """
    if method == "convolutional":
        return networks.classifier(image_shape, num_classes, filters=_FILTERS, is_pooled_first=True)
    # Zeros: the codes of an encoder are large, and random weights on them begin surely wrong.
    new_layer = keras.layers.Dense(
        num_classes, kernel_initializer="zeros", dtype="float32", name="logits"
    )
    if method == "frozen":
        inputs = keras.Input((1, 1, encoder.output_shape[-1]), name="codes")
        return keras.Model(inputs, new_layer(keras.layers.Flatten()(inputs)), name="new_layer")
    copy = keras.models.clone_model(encoder)
    if method not in FROM_SCRATCH:
        copy.set_weights(encoder.get_weights())
    inputs = keras.Input(image_shape, name="images")
    return keras.Model(inputs, new_layer(copy(inputs)), name=method)


def _labelled_batches(
    images: ImageSet,
    labels: np.ndarray,
    settings: SupervisedSettings,
    seed: int,
    num_steps: int | None,
) -> TrainingBatches:
    size = min(settings.batch_size, len(images))
    steps = num_steps or max(settings.steps, settings.epochs * len(images) // size)
    batches = data_batches.labelled_batches(images, labels, size, seed=seed, num_steps=steps)
    return TrainingBatches(batches, size, steps)


def _half_labelled_batches(
    images: ImageSet,
    labelled_images: ImageSet,
    labels: np.ndarray,
    settings: SupervisedSettings,
    seed: int,
    num_steps: int | None,
) -> TrainingBatches:
    """Returns steps of a few labelled images beside many without labels."""
    steps = num_steps or settings.pseudo_label_steps
    labelled = data_batches.labelled_batches(
        labelled_images, labels, _LABELLED_BATCH, seed=seed, num_steps=steps
    )
    unlabelled = data_batches.labelled_batches(
        images,
        np.zeros(len(images), np.int64),  # never read
        settings.unlabelled_batch_size,
        seed=seed,
        num_steps=steps,
    )
    size = min(_LABELLED_BATCH, len(labelled_images)) + settings.unlabelled_batch_size
    return TrainingBatches(tf.data.Dataset.zip(labelled, unlabelled), size, steps)


def _deformed_batches(
    images: ImageSet,
    labels: np.ndarray,
    settings: SupervisedSettings,
    seed: int,
    num_steps: int | None,
) -> TrainingBatches:
    """Returns steps of deformed images, all of which have a label."""
    steps, size = num_steps or settings.graph_steps, min(settings.batch_size, len(images))
    batches = data_batches.labelled_batches(images, labels, size, seed=seed, num_steps=steps)
    deformed = batches.enumerate().map(
        lambda step, batch: (
            augmentation.deform(batch[0], settings.deformation, tf.stack([seed, step])),
            batch[1],
        ),
        **data_batches.map_options(tf.data.AUTOTUNE),
    )
    return TrainingBatches(deformed, size, steps)
