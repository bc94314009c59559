"""A classifier that begins with an encoder, and needs few labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
from sklearn.base import ClassifierMixin

from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Labels, Splits
from kerasunsup.errors import InputError
from kerasunsup.estimators import callers_state
from kerasunsup.estimators.autoencoder import Autoencoder
from kerasunsup.estimators.image_arrays import as_image_set
from kerasunsup.estimators.image_estimator import (
    ImageEstimator,
    predicted,
)
from kerasunsup.estimators.keywords import EstimatorSettings
from kerasunsup.estimators.labels import as_labels, is_missing
from kerasunsup.estimators.messages import python_words
from kerasunsup.models import export, loading
from kerasunsup.settings import setting
from kerasunsup.supervised.encoder import ENCODER_SETTINGS
from kerasunsup.supervised.methods import MOST_VALIDATION, MethodTrainer
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training import loop

_METHODS = ("auto", "graph_labels", "finetuned", "frozen", "scratch", "convolutional")


@dataclasses.dataclass(frozen=True)
class ClassifierKeywords(EstimatorSettings):
    """What the estimator can be told beside the command's settings."""

    method: str = setting(
        "auto",
        "the way of making a classifier, as `python -m kerasunsup.supervised` calls it; auto is"
        " graph_labels where most images have no label, else finetuned",
        choices=_METHODS,
    )


class Classifier(ClassifierMixin, ImageEstimator):
    """A classifier of images on an encoder that was trained without labels.

    Images are those that `Autoencoder` takes. As scikit-learn's semi-supervised estimators have
    it, the label -1 stands for none. Keywords are the settings of
    `python -m kerasunsup.supervised`, checked when it is fitted, and `encoder`: a fitted
    `Autoencoder`, a Keras model from images to codes, or the folder of a run. One that is not
    fitted is fitted to all images, labelled or not; None makes such a one.

    Attributes:
        classes_: the labels, ascending.
        model_: images -> probabilities (batch, num_classes), a `keras.Model`.
        encoder_: images -> codes, a `keras.Model`; None where the classifier was read from files.
        method_: what `auto` came to; None of a command's run.
        history_: `images` seen so far, `seconds`, `accuracy` and `loss` (nats, mean over images),
            each a list with a number a measured point, on the first 2,000 labelled images.
        image_shape_: (height, width, channels).

    Example:
        >>> images = np.random.default_rng(0).random((60, 16, 16), np.float32)
        >>> labels = np.r_[0, 1, np.full(58, -1)]
        >>> encoder = Autoencoder(latent_dim=4, epochs=1, filters=(4,), verbose=0)
        >>> classifier = Classifier(encoder=encoder, graph_steps=2, verbose=0)
        >>> classifier.fit(images, labels).predict_proba(images).shape
        (60, 2)
    """

    settings_type = SupervisedSettings
    own_settings = ClassifierKeywords
    experiment = "supervised"
    more_keywords: ClassVar = {"encoder": (None, "where to begin, see above")}
    left_out = ("log_dir",)

    @python_words
    @callers_state.kept()
    def fit(self, images: Any, y: Any) -> Self:
        """Trains on images of which some or all have labels.

        Args:
            images: an array, or a part of `load_images`.
            y: (num_images,), the label of each image; -1 where it has none.

        Raises:
            ValueError: if a setting is wrong, or images and labels do not fit together.
        """
        settings, own = self._checked()
        image_set = as_image_set(images)
        labels = as_labels("y", y, len(image_set))
        labelled = np.flatnonzero(~is_missing(labels))
        classes = np.unique(labels[labelled])
        if len(classes) < 2:
            raise InputError(
                f"y must name two classes or more, received {len(classes)}: label more images (-1 "
                "stands for no label)"
            )
        self.method_ = own.method
        if own.method == "auto":
            is_few = 2 * len(labelled) < len(image_set)
            self.method_ = "graph_labels" if is_few else "finetuned"
        self.encoder_ = self._encoder(image_set)
        with self._training(settings, None):
            model, fitted = _trained(
                self.method_, image_set, labels, labelled, classes, self.encoder_, settings
            )
        self._take(model, classes)
        self._remember(fitted, None)
        return self

    def _take(self, model: keras.Model, classes: Sequence[Any] | np.ndarray) -> None:
        """Becomes an estimator of a trained network."""
        self.model_, self.classes_ = model, np.asarray(classes)
        self.image_shape_ = tuple(model.input_shape[1:])

    def _network(self) -> keras.Model:
        return self.model_

    def _write(self, folder: Path, **more: Any) -> None:
        export.write_keras(folder / "model.keras", self.model_)
        super()._write(folder, classes=self.classes_.tolist(), method=self.method_)

    def _encoder(self, image_set: ImageSet) -> keras.Model:
        """The encoder to begin with, trained on the images where it is not yet."""
        given = self.encoder
        if given is None:
            given = Autoencoder(
                **ENCODER_SETTINGS, epochs=self.encoder_epochs, seed=self.seed,
                precision=self.precision, deterministic=self.deterministic, verbose=self.verbose,
            )  # fmt: skip
        if isinstance(given, str | os.PathLike):
            return _of_run(Path(given), image_set.shape)
        encoder: Any = getattr(given, "encoder_", given)
        if not isinstance(encoder, keras.Model):
            if not isinstance(given, Autoencoder):
                raise InputError(
                    "encoder must be an Autoencoder, a Keras model from images to codes or the "
                    f"folder of a run, received {type(given).__name__}: give one of these"
                )
            if given.skip:
                raise InputError(
                    "encoder is an Autoencoder with skip=True, which has no code: give another"
                )
            # A copy: keywords that were given are never changed.
            encoder = Autoencoder(**given.get_params()).fit(image_set).encoder_
        if encoder.input_shape[1:] != image_set.shape or len(encoder.output_shape) != 2:
            raise InputError(
                f"encoder must map images of {image_set.shape} to codes (batch, latent_dim), "
                f"received one from {encoder.input_shape[1:]} to {encoder.output_shape[1:]}: give "
                "another, or resize the images"
            )
        return encoder

    @python_words
    def predict_proba(self, images: Any) -> np.ndarray:
        """Class probabilities, float32 (num_images, num_classes), in the order of `classes_`."""
        self._require_fitted()
        return predicted(self.model_, as_image_set(images, self.image_shape_).blocks())

    def predict(self, images: Any) -> np.ndarray:
        """The most probable label of each image, (num_images,)."""
        probabilities = self.predict_proba(images)
        return self.classes_[probabilities.argmax(axis=1)]


def _of_run(path: Path, shape: tuple[int, int, int]) -> keras.Model:
    network = loading.open_model(path).keras_model
    encoder = None if network is None else loading.parts(network).get("encode")
    if encoder is None or encoder.input_shape[1:] != shape:
        received = "no encoder" if encoder is None else f"one for {encoder.input_shape[1:]}"
        raise InputError(
            f"encoder {path} must be the run of an autoencoder for images of {shape}, received "
            f"{received}: train one on such images"
        )
    return encoder


def _trained(
    method: str,
    image_set: ImageSet,
    labels: np.ndarray,
    labelled: np.ndarray,
    classes: np.ndarray,
    encoder: keras.Model,
    settings: SupervisedSettings,
) -> tuple[keras.Model, loop.Fitted]:
    """The classifier, and how its training went."""
    positions = np.zeros(len(image_set), np.int64)  # of images without a label they are not read
    positions[labelled] = np.searchsorted(classes, labels[labelled])
    shown = labelled[:MOST_VALIDATION]
    measured = image_set.subset(shown)
    trainer = MethodTrainer(
        Splits(
            image_set, measured, measured, "images", None,
            Labels(positions, positions[shown], positions[shown]),
        ),
        np.arange(len(classes)),
        encoder,
        settings,
    )  # fmt: skip
    trained, curve, was_stopped = trainer.fit(method, labelled, settings.seed, may_stop=True)
    history = {name: values.tolist() for name, values in curve.items()}
    done = loop.Fitted(history, 0, history["seconds"][-1], was_stopped)
    return trainer.classifier(method, trained.network.get_weights()), done
