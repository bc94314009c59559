"""The feature network in which sets of images are compared: trained once per data set, and kept.

Distances between sets of images need features that suit the images. Networks trained on
photographs do not suit digits and would have to be downloaded; where the data has labels, a small
classifier of the same images serves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasunsup import classification, data, export, metrics, networks, runs

_EPOCHS = 4
_LEAST_STEPS = 80  # of few images more epochs are needed
_BATCH = 128
_CODE_SIZE = 64  # of an encoder that stands in for a classifier
_MOST_BYTES = 1 << 28  # float32 training images held at once; MNIST's 55,000 are 172 MB

_COLUMNS = {
    "fid": "distance",
    "classifier_score": "score",
    "precision": "precision",
    "recall": "recall",
}


@dataclasses.dataclass(frozen=True)
class Judge:
    """A feature network.

    Attributes:
        features: images -> features (batch, feature_dim).
        classifier: images -> logits (batch, num_classes); None where the data has no labels.
        test_accuracy: of the classifier; None without one.
    """

    features: keras.Model
    classifier: keras.Model | None
    test_accuracy: float | None

    def describe(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The features, and where there is a classifier the class probabilities.

        Args:
            images: float32 (num_images, height, width, channels) in [0, 1].

        Returns:
            float32 (num_images, feature_dim) and float32 (num_images, num_classes) or None.
        """
        if self.classifier is None:
            return self.features.predict(images, batch_size=500, verbose=0), None
        both = keras.Model(self.classifier.input, [self.features.output, self.classifier.output])
        features, logits = both.predict(images, batch_size=500, verbose=0)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return features, shifted / shifted.sum(axis=1, keepdims=True)

    def compare(self, images: np.ndarray, reference_features: np.ndarray) -> dict[str, float]:
        """Numbers of a set of images beside a set of real ones.

        Args:
            images: float32 (num_images, height, width, channels) in [0, 1].
            reference_features: of the real images, as `describe` gives them.

        Returns:
            `fid`, `kid`, `precision`, `recall` (k = 3), and with a classifier `classifier_score`
            and `smallest_class_share`; those for which there are too few images are left out.
        """
        features, probabilities = self.describe(images)
        found: dict[str, float] = {}
        least = min(len(features), len(reference_features))
        # A Gaussian can be fitted only to more images than the features have dimensions.
        if least > features.shape[1]:
            found["fid"] = metrics.frechet_distance(features, reference_features)
        if least > 3:
            found["kid"] = metrics.kernel_distance(features, reference_features)
        if probabilities is not None:
            found["classifier_score"] = metrics.classifier_score(probabilities)
            found["smallest_class_share"] = float(metrics.class_shares(probabilities).min())
        if least > 3:
            found["precision"], found["recall"] = metrics.precision_recall(
                features, reference_features
            )
        return found


def columns(found: Mapping[str, float]) -> dict[str, float]:
    """The numbers of `Judge.compare` that stand beside a picture's rows, by their short names."""
    return {shown: found[name] for name, shown in _COLUMNS.items() if name in found}


def of_data(splits: data.Splits, folder: Path) -> Judge:
    """The judge of a data set: its classifier, or without labels an encoder of its images.

    Args:
        splits: the data.
        folder: where judges are kept, one a data set.
    """
    return classifier_of(splits, folder) if has_classes(splits) else encoder_of(splits, folder)


def has_classes(splits: data.Splits) -> bool:
    """Whether there are labels of two classes or more."""
    return splits.labels is not None and len(np.unique(splits.labels.train)) > 1


def classifier_of(splits: data.Splits, folder: Path) -> Judge:
    """The classifier of a labelled data set, trained on its training part at the first call.

    Args:
        splits: the data, with labels of two classes or more.
        folder: where classifiers are kept, one a data set.

    Returns:
        The judge; later runs on the same data get the same one, so they can be compared.

    Raises:
        ValueError: if there are no labels.
    """
    labels = splits.labels
    classes = classes_of(splits)
    if labels is None or len(classes) < 2:
        raise ValueError("a classifier needs labels of two classes or more")
    # The test images tell data sets apart; what a seed draws from the rest for validation does not,
    # so that runs of several seeds are judged alike.
    # The labels do too: the same images may be sorted into other classes.
    digest = hashlib.sha256(classes.tobytes() + labels.test.tobytes()).hexdigest()
    place = folder / f"{splits.test.fingerprint}-{digest[:8]}-{len(splits.train)}"
    if (place / "metrics.json").exists():
        model = keras.models.load_model(place / "classifier.keras", compile=False)
        accuracy = runs.read_json(place / "metrics.json")["test/accuracy"]
        return _judge(model, accuracy)
    print(
        f"training a classifier of {splits.name}, in whose features sets of images are compared "
        f"(once, kept in {place})",
        flush=True,
    )
    chosen, epochs, steps = _training(splits)
    model = networks.classifier(splits.image_shape, len(classes))
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.002, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    targets = np.searchsorted(classes, labels.train[chosen])
    model.fit(splits.train.array(chosen), targets, batch_size=_BATCH, epochs=epochs, verbose=0)
    logits = model.predict(splits.test.array(), batch_size=500, verbose=0)
    accuracy = classification.accuracy(labels.test, classes[logits.argmax(axis=1)])
    export.write_keras(place / "classifier.keras", model)
    # The numbers come last: they say that the classifier is whole.
    runs.write_json(place / "metrics.json", {"data": splits.name, "test/accuracy": accuracy})
    return _judge(model, accuracy)


def encoder_of(splits: data.Splits, folder: Path) -> Judge:
    """The encoder of a small autoencoder of the data, trained at the first call.

    Args:
        splits: the data; its labels are not looked at.
        folder: where judges are kept.

    Returns:
        A judge without a classifier.
    """
    place = folder / f"encoder-{splits.test.fingerprint}-{len(splits.train)}"
    if (place / "metrics.json").exists():
        return of_encoder(keras.models.load_model(place / "encoder.keras", compile=False))
    print(
        f"training an encoder of {splits.name}, in whose codes sets of images are compared "
        f"(once, kept in {place})",
        flush=True,
    )
    chosen, epochs, steps = _training(splits)
    shape: dict[str, Any] = {"latent_dim": _CODE_SIZE, "filters": (32, 64)}
    encoder = networks.encoder(splits.image_shape, **shape)
    model = networks.autoencoder(encoder, networks.decoder(splits.image_shape, **shape))
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.002, steps)),
        loss="mean_squared_error",
        jit_compile=False,
    )
    pixels = splits.train.array(chosen)
    model.fit(pixels, pixels, batch_size=_BATCH, epochs=epochs, verbose=0)
    tests = splits.test.array()
    error = metrics.mse(model.predict(tests, batch_size=500, verbose=0), tests)
    export.write_keras(place / "encoder.keras", encoder)
    runs.write_json(place / "metrics.json", {"data": splits.name, "test/mse": error})
    return of_encoder(encoder)


def _training(splits: data.Splits) -> tuple[np.ndarray, int, int]:
    """(positions of training images, epochs, steps in all)."""
    most = _MOST_BYTES // (4 * int(np.prod(splits.image_shape)))
    chosen = np.random.default_rng(0).permutation(len(splits.train))[:most]
    steps_per_epoch = math.ceil(len(chosen) / _BATCH)
    epochs = max(_EPOCHS, math.ceil(_LEAST_STEPS / steps_per_epoch))
    return chosen, epochs, epochs * steps_per_epoch


def classes_of(splits: data.Splits) -> np.ndarray:
    """The label that each column of the classifier stands for, int64 (num_classes,), ascending."""
    if splits.class_names:
        return np.arange(len(splits.class_names))
    # Without names labels may be any numbers: 3 and 8 are two classes, not nine.
    labels = splits.labels
    if labels is None:
        return np.array([], np.int64)
    return np.unique(np.concatenate([labels.train, labels.validation, labels.test]))


def _judge(model: keras.Model, accuracy: float) -> Judge:
    features = keras.Model(model.input, model.get_layer("features").output, name="features")
    return Judge(features, model, accuracy)


def of_encoder(encoder: keras.Model) -> Judge:
    """The encoder as feature network, for data without labels: distances in its own code space."""
    return Judge(encoder, None, None)
