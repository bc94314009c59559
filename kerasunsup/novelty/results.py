"""The scores of the test images, their areas under the ROC curve, and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
from scipy import stats

from kerasunsup.data.splits import Labels, Splits
from kerasunsup.errors import InputError
from kerasunsup.evaluation import (
    classifier_metrics,
    latent_space,
    outlier_detector,
    patch_memory,
)
from kerasunsup.evaluation.neighbors import blocks, nearest
from kerasunsup.figures import curves, image_grids
from kerasunsup.novelty.settings import JOINED_SCORES, OUTLIER_SCORES
from kerasunsup.training import code_sampler, feature_network
from kerasunsup.training.tensorboard import TensorBoardWriter

_NEIGHBORS = 5  # nearest codes whose distances are averaged
_BATCH_SIZE = 500  # images that a network is given at a time
_SHOWN = 30  # images in the figure of overlooked ones

# Label of the clean class -> key of `OUTLIER_SCORES` -> float64 (num_test,).
ScoresByClass = Mapping[int, Mapping[str, np.ndarray]]


class _Encoded(NamedTuple):
    """What one autoencoder makes of images, float32."""

    codes: np.ndarray  # (num_images, latent_dim)
    errors: np.ndarray  # (num_images,), the mean squared error of each reconstruction
    changes: np.ndarray  # (num_images, latent_dim), the code less the code of the reconstruction


def _encode(model: keras.Model, pictures: np.ndarray) -> _Encoded:
    encoder = model.get_layer("encoder")
    codes = encoder.predict(pictures, batch_size=_BATCH_SIZE, verbose=0)
    restored = model.predict(pictures, batch_size=_BATCH_SIZE, verbose=0)
    again = encoder.predict(restored, batch_size=_BATCH_SIZE, verbose=0)
    return _Encoded(codes, np.square(restored - pictures).mean(axis=(1, 2, 3)), codes - again)


def outlier_scores(
    model: keras.Model,
    clean: np.ndarray,
    tests: np.ndarray,
    *,
    latent_dim: int,
    seed: int,
    flow: bool = False,
) -> dict[str, np.ndarray]:
    """Returns the outlier scores of each test image by the autoencoder; outliers score higher.

    Args:
        model: the autoencoder that was trained on images of the class alone.
        clean: the training images of the class, float32 (num_clean, height, width, channels).
        tests: the test images of all classes, float32 (num_test, height, width, channels).
        latent_dim: the number of PCA's components.
        seed: the seed of what is random in the detectors.
        flow: fit a flow to the codes as well, in the place of the mixture.

    Returns:
        A key of `OUTLIER_SCORES` -> float64 (num_test,); those of views are not among them.
    """
    of_clean, of_tests = _encode(model, clean), _encode(model, tests)
    flat, test_flat = clean.reshape(len(clean), -1), tests.reshape(len(tests), -1)
    components = latent_space.principal_components(flat, latent_dim, seed)
    projected = components.inverse_transform(components.transform(test_flat))
    neighbors = min(_NEIGHBORS, len(of_clean.codes) - 1)
    detector = outlier_detector.fit(of_clean.errors, of_clean.codes, seed)
    scores = {
        "outliers": detector.scores(of_tests.errors, of_tests.codes),
        "error": of_tests.errors.astype(np.float64),
        "density": -detector.mixture.log_likelihoods(of_tests.codes),
        "neighbors": nearest(of_clean.codes, of_tests.codes, neighbors)[0].mean(axis=1),
        "code_error": outlier_detector.mahalanobis(of_clean.changes, of_tests.changes),
        "pca": np.square(projected - test_flat).mean(axis=1),
        "patches": _patch_distances(model, clean, tests),
    }
    if flow:
        fitted = code_sampler.fit(of_clean.codes, code_sampler.FLOW, seed)
        scores["flow"] = -fitted.log_likelihoods(of_tests.codes)
    return scores


def _patch_distances(model: keras.Model, clean: np.ndarray, tests: np.ndarray) -> np.ndarray:
    """Returns the distance of each test image's oddest patch, as `PatchMemory.distances`."""
    encoder = model.get_layer("encoder")
    maps = keras.Model(encoder.inputs, encoder.get_layer("convolution_1").output)
    memory = patch_memory.fit(maps.predict_on_batch(clean[: patch_memory.REMEMBERED]), seed=0)
    parts = [memory.distances(maps.predict_on_batch(tests[block])) for block in blocks(len(tests))]
    return np.concatenate(parts)


def rank_average(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the mean rank of each image among all by the scores that are joined, in (0, 1]."""
    ranks = [stats.rankdata(scores[name]) / len(scores[name]) for name in JOINED_SCORES]
    return np.mean(ranks, axis=0)


def labels_of(splits: Splits) -> Labels:
    """Returns the labels.

    Raises:
        InputError: if there are none of two classes.
    """
    if splits.labels is None or not feature_network.has_classes(splits):
        raise InputError(
            f"--data {splits.name} has no labels of two classes or more: sort the images into one "
            "sub-folder a class, or give a .npz with labels"
        )
    return splits.labels


def class_name(splits: Splits, label: int) -> str:
    """Returns the name of a class, or its label where it has none."""
    return str(label) if splits.class_names is None else splits.class_names[label]


def areas_under_curves(splits: Splits, scores: ScoresByClass) -> dict[str, list[float]]:
    """Returns the area under the ROC curve of every score, one for each clean class.

    It is the probability that an image of another class has a higher score than one of the class.
    """
    labels = labels_of(splits).test
    return {
        name: [
            classifier_metrics.auroc(labels != label, of_class[name])
            for label, of_class in scores.items()
        ]
        for name in OUTLIER_SCORES
        if all(name in of_class for of_class in scores.values())
    }


def metrics(names: list[str], areas: Mapping[str, list[float]]) -> dict[str, float]:
    """Returns `<score>/auroc_<class>` and `<score>/auroc_mean`, as `metrics.json` holds them."""
    numbers: dict[str, float] = {}
    for score, of_classes in areas.items():
        for name, area in zip(names, of_classes, strict=True):
            numbers[f"{score}/auroc_{name}"] = area
        numbers[f"{score}/auroc_mean"] = float(np.mean(of_classes))
    return numbers


def draw_areas(
    tensorboard: TensorBoardWriter, names: list[str], areas: Mapping[str, list[float]]
) -> None:
    """Draws the area under the ROC curve by class and score."""
    titled = {OUTLIER_SCORES[score]: of_classes for score, of_classes in areas.items()}
    tensorboard.show(
        "auroc",
        curves.areas_under_curves(names, titled),
        "Area under the ROC curve, one class against all others, by class and score.",
    )


def draw_overlooked(tensorboard: TensorBoardWriter, splits: Splits, scores: ScoresByClass) -> None:
    """Draws the images of other classes whose outlier scores are lowest."""
    labels = labels_of(splits).test
    each = max(1, _SHOWN // len(scores))
    shown, above, below = [], [], []
    for label, of_class in scores.items():
        others, values = np.flatnonzero(labels != label), of_class["outliers"]
        for index in others[np.argsort(values[others], kind="stable")][:each]:
            shown.append(index)
            above.append(f"{class_name(splits, labels[index])} as {class_name(splits, label)}")
            share = np.mean(values[labels == label] >= values[index])
            below.append(f"{100 * share:.0f} % higher")
    shown, above, below = shown[:_SHOWN], above[:_SHOWN], below[:_SHOWN]
    tensorboard.show(
        "overlooked",
        image_grids.captioned_images(splits.test.array(np.array(shown)), above, below),
        "The images of other classes with the lowest scores; below, the share of the class's own"
        " images that score as high or higher.",
    )


def summary(numbers: dict[str, float]) -> str:
    """Returns the table that a run prints at its end."""
    width = max(map(len, OUTLIER_SCORES.values()))
    lines = ["", f"  {'area under the ROC curve, mean over classes':<{width}}"]
    for name, text in OUTLIER_SCORES.items():
        if f"{name}/auroc_mean" not in numbers:
            continue
        lines.append(f"  {text:<{width}}  {100 * numbers[f'{name}/auroc_mean']:.2f} %")
    return "\n".join(lines)
