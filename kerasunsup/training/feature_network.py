"""The feature network in which sets of images are compared: shipped, or trained once and kept.

Distances between sets of images need features that suit the images. Networks trained on
photographs do not suit digits and would have to be downloaded; where the data has labels, a small
classifier of the same images serves. That of the packaged MNIST comes with the package, so that
distances can be compared between machines, users and versions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy import special

from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.evaluation import classifier_metrics, generative_metrics
from kerasunsup.models import faster_layers, networks
from kerasunsup.training import files, loop

logger = logging.getLogger(__name__)

PACKAGED = Path(__file__).parent.parent / "feature_network" / "mnist.npz"

_EPOCHS = 4
_LEAST_STEPS = 80  # of few images more epochs are needed
_BATCH = 128
_SEED = 0
_ENCODER: dict[str, Any] = {"latent_dim": 64, "filters": (32, 64)}  # stands in for a classifier
_MOST_BYTES = 1 << 28  # float32 training images held at once; MNIST's 55,000 are 172 MB
_LEAST_IMAGES = 20  # below, distances and neighbours of images say next to nothing
_LEAST_A_CLASS = 10  # nor does how often each class occurs

# Images, float32 (num_images, height, width, channels) in [0, 1], or blocks of them, which need not
# be in memory at once.
Pictures = np.ndarray | Iterable[np.ndarray]

IDENTITY = "feature_network.json"  # in a run's folder: what its distances were measured in

_COLUMNS = {
    "fid": "distance",
    "classifier_score": "score",
    "precision": "precision",
    "recall": "recall",
}


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """A feature network.

    Attributes:
        features: images -> features (batch, feature_dim).
        classifier: images -> logits (batch, num_classes); None where the data has no labels.
        test_accuracy: of the classifier; None without one, or where test images were too few.
        origin: where it comes from, in a few words.
        held_out: int64, positions in the data's store of the validation images of the run that
            trained the network; None stands for the validation images of the run at hand.
    """

    features: keras.Model
    classifier: keras.Model | None
    test_accuracy: float | None
    origin: str = "its own encoder"
    held_out: np.ndarray | None = None

    def describe(self, images: Pictures) -> tuple[np.ndarray, np.ndarray | None]:
        """The features, and where there is a classifier the class probabilities.

        Args:
            images: float32 (num_images, height, width, channels) in [0, 1], one image or more.

        Returns:
            float32 (num_images, feature_dim) and float32 (num_images, num_classes) or None.
        """
        blocks = [images] if isinstance(images, np.ndarray) else images
        if self.classifier is None:
            codes = [self.features.predict(part, batch_size=500, verbose=0) for part in blocks]
            return np.concatenate(codes), None
        both = keras.Model(self.classifier.input, [self.features.output, self.classifier.output])
        described = [both.predict(part, batch_size=500, verbose=0) for part in blocks]
        features, logits = (np.concatenate(parts) for parts in zip(*described, strict=True))
        return features, special.softmax(logits, axis=1)

    def confidence_along(self, walks: np.ndarray) -> np.ndarray:
        """How sure the classifier is at each step of walks from image to image.

        Args:
            walks: float32 (num_walks, num_steps, height, width, channels) in [0, 1].

        Returns:
            float32 (num_steps,), in (0, 1]: the largest class probability, mean over the walks.

        Raises:
            ValueError: if there is no classifier.
        """
        if self.classifier is None:
            raise ValueError("walks need a classifier, received a feature network without one")
        probabilities = self.describe(walks.reshape(-1, *walks.shape[2:]))[1]
        return np.asarray(probabilities).max(axis=1).reshape(walks.shape[:2]).mean(axis=0)

    @property
    def needs(self) -> dict[str, int]:
        """The least images of a set that each number of `compare` is measured from."""
        least = {
            # A Gaussian can be fitted only to more images than the features have dimensions.
            "fid": max(_LEAST_IMAGES, self.features.output_shape[1] + 1),
            "kid": _LEAST_IMAGES,
            "precision": _LEAST_IMAGES,
            "recall": _LEAST_IMAGES,
        }
        if self.classifier is not None:
            of_classes = _LEAST_A_CLASS * self.classifier.output_shape[1]
            least |= dict.fromkeys(
                ("classifier_score", "smallest_class_share", "unsure_share"), of_classes
            )
        return least

    def compare(self, images: Pictures, reference_features: np.ndarray) -> dict[str, float]:
        """Numbers of a set of images beside a set of real ones.

        Args:
            images: float32 (num_images, height, width, channels) in [0, 1].
            reference_features: of the real images, as `describe` gives them.

        Returns:
            `fid`, `kid`, `precision`, `recall` (k = 3), and with a classifier `classifier_score`,
            `smallest_class_share` and `unsure_share`; those for which there are too few images (see
            `needs`) are left out.
        """
        features, probabilities = self.describe(images)
        numbers: dict[str, float] = {}
        least = min(len(features), len(reference_features))
        if least >= self.needs["fid"]:
            numbers["fid"] = generative_metrics.frechet_distance(features, reference_features)
        if least >= self.needs["kid"]:
            numbers["kid"] = generative_metrics.kernel_distance(features, reference_features)
        if probabilities is not None and len(features) >= self.needs["classifier_score"]:
            numbers["classifier_score"] = generative_metrics.classifier_score(probabilities)
            numbers["smallest_class_share"] = float(
                generative_metrics.class_shares(probabilities).min()
            )
            numbers["unsure_share"] = generative_metrics.unsure_share(probabilities)
        if least >= self.needs["precision"]:
            numbers["precision"], numbers["recall"] = generative_metrics.precision_recall(
                features, reference_features
            )
        return numbers

    def real_images(self, splits: Splits, number: int) -> Iterator[np.ndarray]:
        """Blocks of validation images, at most `number`, which the network was not trained on.

        Their comparison with the test images shows the best that new images can reach.
        """
        real = splits.validation
        if self.held_out is not None:
            real = real.whole.subset(self.held_out)
        return real.blocks(min(number, len(splits.test)))

    def identity(self) -> dict[str, Any]:
        """What tells one network from another, to be kept beside the numbers measured in it."""
        digest = hashlib.sha256()
        for values in (self.classifier or self.features).get_weights():
            digest.update(values.astype(np.float32).tobytes())
        return {
            "sha256": digest.hexdigest()[:16],
            "origin": self.origin,
            "test_accuracy": self.test_accuracy,
        }


def columns(numbers: Mapping[str, float]) -> dict[str, float]:
    """Those of `compare`'s numbers that stand beside a picture's rows, by their short names."""
    return {shown: numbers[name] for name, shown in _COLUMNS.items() if name in numbers}


def log_left_out(network: FeatureNetwork, compared: Iterable[Mapping[str, float]]) -> None:
    """Logs a line on the numbers that one of these comparisons had too few images for."""
    measured = set(network.needs).intersection(*compared)
    missing = [f"{name} {least}" for name, least in network.needs.items() if name not in measured]
    if missing:
        logger.info(
            "too few real images for some numbers, they are left out; needed are of each set: "
            + ", ".join(missing)
        )


def of_data(splits: Splits, folder: Path) -> FeatureNetwork:
    """The network of a data set: its classifier, or without labels an encoder of its images.

    Networks are kept in `folder`, one a data set.
    """
    return classifier_of(splits, folder) if has_classes(splits) else encoder_of(splits, folder)


def has_classes(splits: Splits) -> bool:
    """Whether there are labels of two classes or more."""
    return splits.labels is not None and len(np.unique(splits.labels.train)) > 1


def classifier_of(splits: Splits, folder: Path) -> FeatureNetwork:
    """The classifier of a labelled data set, the same one in later runs on the same data.

    The packaged MNIST's comes with the package. Any other data set's is trained on its training
    part at the first call, with a fixed seed and by one process at a time.

    Args:
        splits: the data, with labels of two classes or more.
        folder: where networks are kept, one a data set.

    Raises:
        ValueError: if there are no labels.
        InputError: if a stored network is damaged.
    """
    labels = splits.labels
    classes = classes_of(splits)
    if labels is None or len(classes) < 2:
        raise ValueError("a classifier needs labels of two classes or more")
    packaged = _packaged(splits)
    if packaged is not None:
        return packaged
    # The test images tell data sets apart; what a seed draws from the rest for validation does not,
    # so that runs of several seeds are compared alike.
    # The labels do too: the same images may be sorted into other classes.
    digest = hashlib.sha256(classes.tobytes() + labels.test.tobytes()).hexdigest()
    path = folder / f"{splits.test.fingerprint}-{digest[:8]}-{len(splits.train)}.npz"
    _make_once(path, splits, f"a classifier of {splits.name}, in whose features", train_classifier)
    return _classifier(path, len(classes), splits.image_shape, f"trained on {splits.name}")


def encoder_of(splits: Splits, folder: Path) -> FeatureNetwork:
    """The encoder of a small autoencoder of the data, trained at the first call; no classifier.

    Args:
        splits: the data; its labels are not looked at.
        folder: where networks are kept.

    Raises:
        InputError: if a stored network is damaged.
    """
    path = folder / f"encoder-{splits.test.fingerprint}-{len(splits.train)}.npz"
    _make_once(path, splits, f"an encoder of {splits.name}, in whose codes", _train_encoder)
    encoder = networks.encoder(splits.image_shape, **_ENCODER)
    kept = _restore(path, encoder)
    return of_encoder(encoder, f"trained on {splits.name}", kept["held_out"])


def of_encoder(
    encoder: keras.Model, origin: str = "its own encoder", held_out: np.ndarray | None = None
) -> FeatureNetwork:
    """The encoder as feature network, for data without labels: distances in its own code space."""
    return FeatureNetwork(encoder, None, None, origin, held_out)


def classes_of(splits: Splits) -> np.ndarray:
    """The label that each column of the classifier stands for, int64 (num_classes,), ascending."""
    if splits.class_names:
        return np.arange(len(splits.class_names))
    # Without names labels may be any numbers: 3 and 8 are two classes, not nine.
    labels = splits.labels
    if labels is None:
        return np.array([], np.int64)
    return np.unique(np.concatenate([labels.train, labels.validation, labels.test]))


def train_classifier(splits: Splits) -> keras.Model:
    """A new classifier of the training part, which has labels; its weights follow from a seed."""
    classes = classes_of(splits)
    keras.utils.set_random_seed(_SEED)
    model = networks.classifier(
        splits.image_shape, len(classes), layer_types=faster_layers.for_training()
    )
    targets = np.searchsorted(classes, splits.labels.train)  # type: ignore[union-attr]
    _fit(model, splits, keras.losses.SparseCategoricalCrossentropy(from_logits=True), targets)
    return model


def _train_encoder(splits: Splits) -> keras.Model:
    keras.utils.set_random_seed(_SEED)
    encoder = networks.encoder(splits.image_shape, **_ENCODER)
    decoder = networks.decoder(
        splits.image_shape, **_ENCODER, layer_types=faster_layers.for_training()
    )
    loop.begin_at(decoder, loop.mean_pixel(splits))
    _fit(networks.autoencoder(encoder, decoder), splits, "mean_squared_error", None)
    return encoder


def _fit(model: keras.Model, splits: Splits, loss: Any, targets: np.ndarray | None) -> None:
    """Trains on the training images; without targets, one an image, on the images themselves."""
    most = _MOST_BYTES // (4 * int(np.prod(splits.image_shape)))
    positions = np.random.default_rng(0).permutation(len(splits.train))[:most]
    steps = math.ceil(len(positions) / _BATCH)
    epochs = max(_EPOCHS, math.ceil(_LEAST_STEPS / steps))
    rate = keras.optimizers.schedules.CosineDecay(0.002, epochs * steps)
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    pixels = splits.train.array(positions)
    wanted = pixels if targets is None else targets[positions]
    model.fit(pixels, wanted, batch_size=_BATCH, epochs=epochs, verbose=0)


def _make_once(
    path: Path, splits: Splits, what: str, train: Callable[[Splits], keras.Model]
) -> None:
    """Trains and keeps a network where the file does not exist yet."""
    with files.one_at_a_time(path, f"the feature network {path}"):
        if not path.exists():
            logger.info(f"training {what} sets of images are compared (once, kept in {path})")
            write(path, train(splits), splits)


def write(path: Path, model: keras.Model, splits: Splits, dtype: str = "float32") -> float:
    """Keeps the weights of a network as .npz, with what it is worth and what it did not see.

    Args:
        path: of the file.
        model: a classifier, or an encoder; its weights are rounded as they are kept.
        splits: that it was trained on.
        dtype: of the kept weights; `float16` halves the file.

    Returns:
        A classifier's accuracy on the test images, with the rounded weights; else NaN.
    """
    weights = [value.astype(dtype) for value in model.get_weights()]
    model.set_weights([value.astype(np.float32) for value in weights])
    accuracy = _accuracy(model, splits) if model.name == "classifier" else math.nan
    files.write_arrays(
        path,
        {f"weights_{place:02}": value for place, value in enumerate(weights)}
        | {
            "accuracy": np.array(accuracy),
            "images": np.array(splits.validation.whole.fingerprint),
            "held_out": splits.validation.positions,
        },
    )
    return accuracy


def _accuracy(model: keras.Model, splits: Splits) -> float:
    """On the test images; NaN where they are too few to say."""
    labels, classes = splits.labels, classes_of(splits)
    if labels is None or len(splits.test) < _LEAST_IMAGES:
        return math.nan
    logits = [model.predict(part, batch_size=500, verbose=0) for part in splits.test.blocks()]
    return classifier_metrics.accuracy(labels.test, classes[np.concatenate(logits).argmax(axis=1)])


def _packaged(splits: Splits) -> FeatureNetwork | None:
    """The network that comes with the package, where these are the images that it was made for."""
    # Images of the same pixels may be sorted into other classes.
    if splits.image_shape != (28, 28, 1) or splits.class_names != tuple("0123456789"):
        return None
    if str(files.read_arrays(PACKAGED)["images"]) != splits.test.whole.fingerprint:
        return None
    return _classifier(PACKAGED, 10, splits.image_shape, "shipped with the package")


def _classifier(
    path: Path, num_classes: int, image_shape: tuple[int, int, int], origin: str
) -> FeatureNetwork:
    model = networks.classifier(image_shape, num_classes)
    arrays = _restore(path, model)
    features = keras.Model(model.input, model.get_layer("features").output, name="features")
    accuracy = float(arrays["accuracy"])
    test_accuracy = None if math.isnan(accuracy) else accuracy
    return FeatureNetwork(features, model, test_accuracy, origin, arrays["held_out"])


def _restore(path: Path, model: keras.Model) -> dict[str, np.ndarray]:
    """Gives a network the weights that `write` kept, and returns all that it kept."""
    arrays = files.read_arrays(path)
    names = sorted(name for name in arrays if name.startswith("weights_"))
    try:
        model.set_weights([arrays[name].astype(np.float32) for name in names])
        return {name: arrays[name] for name in ("accuracy", "images", "held_out")}
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} holds no feature network of this version: remove it, and it is made anew"
        ) from error
