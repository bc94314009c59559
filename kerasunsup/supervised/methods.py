"""The ways of making a classifier that are compared, each trained on a few labels or on all.

A cell of the comparison is (method, number of labels, repetition). Everything random in it follows
from the seed and these three, and all methods of a repetition see the same labelled images: so
cells can be trained in any order, and methods be compared pair by pair.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.data import augmentation, pixel_storage
from kerasunsup.data import batches as data_batches
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.models import networks
from kerasunsup.supervised.cells import Cell, CellResult, balanced_subset, training_steps
from kerasunsup.supervised.encoded_images import EncodedImages
from kerasunsup.supervised.network_trainer import (
    LearningCurve,
    NetworkTrainer,
    TrainingBatches,
    mean_cross_entropy,
)
from kerasunsup.supervised.settings import (
    FROM_SCRATCH,
    PSEUDO_LABELLED,
    TRAINED,
    SupervisedSettings,
)
from kerasunsup.supervised.student_trainer import StudentTrainer
from kerasunsup.training import loop, self_labelling

# Validation images that curves are measured on and the best method is chosen by.
MOST_VALIDATION = 2000
_LABELLED_BATCH = 64  # labelled images in a step that sees unlabelled ones too
# The filters of the convolutional network, the slowest method: chosen for speed (see
# `networks.classifier`), and its accuracy compared with the default's on test images.
_FILTERS = (16, 32, 128)


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
        if splits.labels is None:
            raise ValueError("a comparison of classifiers needs labels")
        self._splits, self._settings, self._encoder = splits, settings, encoder
        self._num_classes = len(classes)
        measured = np.arange(min(MOST_VALIDATION, len(splits.validation)))
        labels = splits.labels.train, splits.labels.validation[measured], splits.labels.test
        self._train_labels, self._validation_labels, self._test_labels = (
            np.searchsorted(classes, of_split) for of_split in labels
        )
        validation = splits.validation.subset(measured)
        self._images = {"validation": validation.array(), "test": splits.test.array()}
        image_sets = {"train": splits.train, "validation": validation, "test": splits.test}
        self._encoded = EncodedImages(encoder, image_sets, len(classes), settings.seed)
        self._student = StudentTrainer(self._encoded, splits.train, len(classes), settings)
        self._trainers: dict[str, NetworkTrainer] = {}
        self._traced: set[tuple[str, int]] = set()  # (method, images in a step) that is compiled

    def train(self, cell: Cell, *, keeps_weights: bool = False) -> CellResult:
        """Trains one cell and measures it on the validation and the test images.

        Args:
            cell: which.
            keeps_weights: whether the result holds the weights of a network.
        """
        began = time.perf_counter()
        seed = self._settings.seed + cell.repetition
        labelled = _labelled(cell, self._encoded, self._train_labels, self._settings)
        weights: list[np.ndarray] = []
        if cell.method in TRAINED:
            trainer, curve, _ = self.fit(cell.method, labelled, seed)
            weights = trainer.network.get_weights() if keeps_weights else []
            test = trainer.probabilities(self._inputs(cell.method, "test"))
            validation = trainer.probabilities(self._inputs(cell.method, "validation"))
        else:
            curve = {}
            queries = np.concatenate([self._encoded.codes(one) for one in ("test", "validation")])
            labels = self._train_labels[labelled]
            answers = self._encoded.probe(cell.method, labelled, labels, seed, queries)
            test, validation = np.split(answers, [len(self._test_labels)])
        return CellResult(
            predictions=test.argmax(axis=1),
            confidence=test.max(axis=1).astype(np.float32),
            accuracy=classifier_metrics.accuracy(self._test_labels, test.argmax(axis=1)),
            loss=mean_cross_entropy(test, self._test_labels),
            validation_accuracy=float(
                np.mean(validation.argmax(axis=1) == self._validation_labels)
            ),
            curve=curve,
            seconds=time.perf_counter() - began,
            weights=tuple(weights),
        )

    def classifier(self, method: str, weights: Sequence[np.ndarray]) -> keras.Model:
        """Returns images -> probabilities (batch, num_classes), by the weights of a network."""
        network = self._network(method)
        network.set_weights(list(weights))
        return _with_probabilities(network, self._encoder, self._splits.image_shape)

    def fit(
        self,
        method: str,
        labelled: np.ndarray,
        seed: int,
        *,
        num_steps: int | None = None,
        may_stop: bool = False,
    ) -> tuple[NetworkTrainer | StudentTrainer, dict[str, np.ndarray], bool]:
        """Returns a trained network, its learning curve, and whether Ctrl-C ended the training.

        Args:
            method: one of `TRAINED`.
            labelled: the positions of the labelled training images.
            seed: everything random follows from it.
            num_steps: None lets the settings decide.
            may_stop: whether Ctrl-C may end it.
        """
        inputs, labels = self._inputs(method, "validation"), self._validation_labels
        if method == "student":
            points = self._student.train(
                labelled, self._train_labels[labelled], seed, inputs, labels
            )
            return self._student, points, False
        batches = self._batches(method, labelled, seed, num_steps)
        key = method, batches.batch_size
        if num_steps is None and key not in self._traced:
            self._traced.add(key)  # and tracing is no part of the seconds of a cell
            self.fit(method, labelled, seed, num_steps=2)
        if method not in self._trainers:
            build, is_pseudo = functools.partial(self._network, method), method in PSEUDO_LABELLED
            self._trainers[method] = NetworkTrainer(
                build, self._settings, is_pseudo_labelled=is_pseudo
            )
        trainer = self._trainers[method]
        trainer.begin(seed)
        curve = LearningCurve(trainer.probabilities, inputs, labels, batches, self._settings)
        with loop.stoppable(trainer.model, None, may_stop) as stops:
            trainer.model.fit(batches.dataset, shuffle=False, verbose=0, callbacks=[curve])
        return trainer, curve.arrays(), bool(stops)

    def _batches(
        self, method: str, labelled: np.ndarray, seed: int, num_steps: int | None
    ) -> TrainingBatches:
        settings, images, labels = self._settings, self._splits.train, self._train_labels[labelled]
        num_steps = num_steps or training_steps(method, settings, len(labelled))
        batches = functools.partial(data_batches.labelled_batches, seed=seed, num_steps=num_steps)
        if method in PSEUDO_LABELLED:  # a few labelled images beside many without labels
            unread = np.zeros(len(images), np.int64)
            dataset = tf.data.Dataset.zip(
                batches(images.subset(labelled), labels, _LABELLED_BATCH),
                batches(images, unread, settings.unlabelled_batch_size),
            )
            size = min(_LABELLED_BATCH, len(labelled)) + settings.unlabelled_batch_size
            return TrainingBatches(dataset, size, num_steps)
        size = min(settings.batch_size, len(labelled))
        if method == "graph_labels":
            all_labels = self._encoded.probe("graph", labelled, labels, seed).argmax(axis=1)
            all_labels[labelled] = labels
            size = min(settings.batch_size, len(images))
            dataset = _deformed(batches(images, all_labels, size), settings.deformation, seed)
            return TrainingBatches(dataset, size, num_steps)
        if method == "frozen":  # the encoder does not change: its codes are computed once
            images = ImageSet(pixel_storage.MemoryStore(self._inputs(method, "train")))
        return TrainingBatches(batches(images.subset(labelled), labels, size), size, num_steps)

    def _network(self, method: str) -> keras.Model:
        return build_network(method, self._encoder, self._splits.image_shape, self._num_classes)

    def _inputs(self, method: str, split: str) -> np.ndarray:
        """Returns what a method's network is given: images, or codes of a frozen encoder."""
        if method == "frozen":
            return self._encoded.codes(split)[:, np.newaxis, np.newaxis]
        return self._images[split]


def _labelled(
    cell: Cell, encoded: EncodedImages, labels: np.ndarray, settings: SupervisedSettings
) -> np.ndarray:
    """The positions of the training images whose labels a cell sees, ascending."""
    if settings.choose == "random" or not cell.num_labels:
        return balanced_subset(labels, cell.num_labels, settings.seed + cell.repetition)
    most = max(number for number in settings.labels if number < len(labels))
    return np.sort(encoded.worth_labelling(most)[: cell.num_labels])


def _with_probabilities(
    network: keras.Model, encoder: keras.Model, image_shape: tuple[int, int, int]
) -> keras.Model:
    """Returns images -> probabilities; of a network on codes, by the encoder that makes them."""
    inputs = keras.Input(image_shape, name="images")
    x = inputs
    if network.input_shape[1:] != image_shape:
        x = keras.layers.Reshape(network.input_shape[1:])(encoder(inputs))
    softmax = keras.layers.Softmax(dtype="float32", name="probabilities")
    return keras.Model(inputs, softmax(network(x)), name="classifier")


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
    if method == "student":
        return self_labelling.build_network(image_shape, num_classes)
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


def _deformed(batches: tf.data.Dataset, strength: float, seed: int) -> tf.data.Dataset:
    """Batches of labelled images, each image deformed at random."""
    return batches.enumerate().map(
        lambda step, batch: (
            augmentation.deform(batch[0], strength, tf.stack([seed, step])),
            batch[1],
        ),
        **data_batches.map_options(tf.data.AUTOTUNE),
    )
