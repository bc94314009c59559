"""The method `student`: groups of codes that labels name, taught to a network that teaches itself.

See `training.self_labelling`.
"""

from __future__ import annotations

import dataclasses
import functools
import time

import keras
import numpy as np
from scipy import special

from kerasunsup.data.image_set import ImageSet
from kerasunsup.errors import InputError
from kerasunsup.evaluation import classifier_metrics, sure_groups
from kerasunsup.supervised.encoded_images import EncodedImages
from kerasunsup.supervised.network_trainer import mean_cross_entropy
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training import self_labelling

# Steps: after 20 batch statistics have not left their beginning and every answer is the same one,
# after 60 they serve (600 images of MNIST).
_LEAST_TAUGHT = 60


class StudentTrainer:
    """Trains students, which begin from the same groups.

    Args:
        encoded: the codes of the training images.
        images: the training images.
        num_classes: how many there are; as many groups are made.
        settings: the settings of the comparison.

    Attributes:
        network: of the student that was trained last, images -> logits; set by `train`.
    """

    network: keras.Model

    def __init__(
        self,
        encoded: EncodedImages,
        images: ImageSet,
        num_classes: int,
        settings: SupervisedSettings,
    ) -> None:
        self._encoded, self._images, self._num_classes = encoded, images, num_classes
        self._seed = settings.seed
        self._settings = self_labelling.StudentSettings(
            limits=self_labelling.MILD.scaled(settings.deformation),
            taught_steps=max(_LEAST_TAUGHT, settings.steps),
            retaught_steps=3 * max(_LEAST_TAUGHT, settings.steps),
            epochs=settings.student_epochs,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
        )

    @functools.cached_property
    def _groups(self) -> tuple[np.ndarray, np.ndarray]:
        """The groups of the training images and how sure they are."""
        codes = self._encoded.codes("train")
        try:
            return sure_groups.with_confidence(codes, self._num_classes, self._seed)
        except ValueError as error:
            raise InputError(f"--arms student: {error}: give more images") from error

    def train(
        self,
        labelled: np.ndarray,
        labels: np.ndarray,
        seed: int,
        validation: np.ndarray,
        validation_labels: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Trains a student; returns its learning curve, a point an epoch.

        Args:
            labelled: positions of the labelled training images, int64.
            labels: their classes from 0, int64.
            seed: everything random follows from it.
            validation: images that it is measured on after every epoch, float32.
            validation_labels: their classes from 0, int64.

        Raises:
            InputError: if there are too few training images.
        """
        rows: list[tuple[float, float, float, float]] = []
        measuring = 0.0  # seconds, which are none of training

        def watch(network: keras.Model, epoch: self_labelling.Epoch) -> None:
            nonlocal measuring
            began = time.perf_counter()
            self.network = network
            answers = self.probabilities(validation)
            accuracy = classifier_metrics.accuracy(validation_labels, answers.argmax(axis=1))
            loss = mean_cross_entropy(answers, validation_labels)
            rows.append((epoch.images, epoch.seconds - measuring, accuracy, loss))
            measuring += time.perf_counter() - began

        settings = self._settings
        if len(labelled) < len(self._images):
            groups, confidence = self._groups
            spread = self._encoded.probe("graph", labelled, labels, self._seed)
            groups = sure_groups.agreed(groups, spread, labelled, labels)
        else:  # nothing is left to be named, and a new network would begin from the same labels
            groups, confidence = np.full(len(labelled), -1), np.zeros(len(labelled))
            epochs = settings.rounds * settings.epochs
            settings = dataclasses.replace(settings, rounds=1, epochs=epochs)
        self_labelling.train(
            self._images,
            groups,
            confidence,
            labelled=labelled,
            labels=labels,
            num_classes=self._num_classes,
            settings=settings,
            seed=seed,
            watch=watch,
        )
        columns = np.array(rows, np.float64).T
        names = ("images", "seconds", "accuracy", "loss")
        return dict(zip(names, columns, strict=True))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of each class, float32 (num_images, num_classes), by the present network."""
        return special.softmax(self.network.predict(images, batch_size=500, verbose=0), axis=1)
