"""Figures of fitted estimators, which a notebook shows inline."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import numpy as np

from kerasunsup.ae import results
from kerasunsup.errors import InputError
from kerasunsup.estimators.autoencoder import Autoencoder
from kerasunsup.estimators.gan import GAN
from kerasunsup.estimators.image_arrays import LabelledImages, as_image_set
from kerasunsup.estimators.image_estimator import check_number
from kerasunsup.estimators.labels import as_labels, is_missing
from kerasunsup.estimators.messages import python_words
from kerasunsup.evaluation import image_metrics, latent_space
from kerasunsup.figures import curves, image_grids, scatter_plots, style

_P = ParamSpec("_P")
_MOST_CODES = 5000  # what t-SNE handles in half a minute
_INLINE_DPI = 80


def _inline(plot: Callable[_P, style.Figure]) -> Callable[_P, style.Figure]:
    """Makes a notebook show the figure, whether or not pyplot is loaded."""

    @functools.wraps(plot)
    def shown_inline(*args: _P.args, **kwargs: _P.kwargs) -> style.Figure:
        figure = plot(*args, **kwargs)
        # No function of its own, so that figures can be pickled, and a copy shows itself.
        show = functools.partial(style.to_png, figure, _INLINE_DPI)
        figure._repr_png_ = show  # type: ignore[attr-defined]
        return figure

    return shown_inline


@_inline
@python_words
def plot_reconstructions(
    autoencoder: Autoencoder, images: Any, *, inputs: Any = None, most: int = 10
) -> style.Figure:
    """Images, and below each what the autoencoder makes of it.

    Args:
        autoencoder: a fitted `Autoencoder`.
        images: the originals; the first are shown.
        inputs: what it is given instead of them, such as noisy copies, of the same shape.
        most: how many are shown.

    Returns:
        A matplotlib figure; the PSNR in dB stands beside a row, mean over its images.

    Example:
        >>> figure = plot_reconstructions(autoencoder, images)  # doctest: +SKIP
        >>> figure.savefig("reconstructions.png")  # doctest: +SKIP
    """
    _check(autoencoder, "reconstruct", "Autoencoder")
    check_number("most", most)
    image_set = as_image_set(images, autoencoder.image_shape_)
    originals = image_set.array(range(min(most, len(image_set))))
    rows = [image_grids.SampleRow("original", originals, {})]
    given = originals
    if inputs is not None:
        given_set = as_image_set(inputs, autoencoder.image_shape_)
        if len(given_set) < len(originals):
            raise InputError(
                f"inputs must be one an image ({len(originals)}), received {len(given_set)}: give "
                "as many"
            )
        given = given_set.array(range(len(originals)))
        rows.append(image_grids.SampleRow("input", given, _psnr(originals, given)))
    outputs = autoencoder.reconstruct(given)
    rows.append(image_grids.SampleRow("reconstruction", outputs, _psnr(originals, outputs)))
    return image_grids.sampled_images(rows)


def _psnr(originals: np.ndarray, others: np.ndarray) -> dict[str, float]:
    return {"PSNR (dB)": image_metrics.psnr_db(others, originals)}


@_inline
@python_words
def plot_codes(
    autoencoder: Autoencoder,
    images: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
) -> style.Figure:
    """The codes of the first 5,000 images in two dimensions: principal components and t-SNE.

    Args:
        autoencoder: a fitted `Autoencoder`.
        images: four or more.
        labels: (num_images,), names or whole numbers from 0, for the colours; -1 stands for no
            label. By default those of a part of `load_images`.
        class_names: of the classes 0, 1, ...

    Example:
        >>> plot_codes(autoencoder, images, labels)  # doctest: +SKIP
    """
    _check(autoencoder, "transform", "Autoencoder")
    if labels is None and isinstance(images, LabelledImages):
        labels = images.labels
    image_set = as_image_set(images, autoencoder.image_shape_)
    if len(image_set) < latent_space.LEAST_MAPPED:
        raise InputError(
            f"images must be {latent_space.LEAST_MAPPED} or more, received {len(image_set)}: give "
            "more"
        )
    if labels is not None:
        labels, class_names = _numbered(as_labels("labels", labels, len(image_set)), class_names)
    first = range(min(_MOST_CODES, len(image_set)))
    codes, seed = autoencoder.transform(image_set.array(first)), autoencoder._checked()[0].seed
    pca = latent_space.principal_components(codes, min(2, codes.shape[1]), seed)
    return scatter_plots.encoded_space(
        pca.transform(codes),
        list(pca.explained_variance_ratio_),
        latent_space.tsne(codes, seed),
        None if labels is None else labels[: len(first)],
        class_names,
    )


def _numbered(
    labels: np.ndarray, class_names: Sequence[str] | None
) -> tuple[np.ndarray, list[str] | None]:
    """Labels as whole numbers from 0, and the names of these."""
    missing = is_missing(labels)
    is_named = labels.dtype.kind in "UO"
    if not is_named and (labels[~missing] < 0).any():
        raise InputError(
            f"labels must be whole numbers from 0, received {labels[~missing].min()}: -1 alone "
            "stands for no label"
        )
    if class_names is not None:
        class_names = [str(class_names[place]) for place in range(len(class_names))]
    if is_named or (missing.any() and class_names is None):
        if class_names is not None:
            raise InputError("labels are names already: leave class_names out")
        classes, numbers = np.unique(labels[~missing], return_inverse=True)
        class_names = [str(one) for one in classes]
    else:
        numbers = labels[~missing].astype(np.int64)
    if not missing.any() or class_names is None:
        return numbers, class_names
    placed = np.full(len(labels), len(class_names))
    placed[~missing] = numbers
    return placed, [*class_names, "none"]


def _check(estimator: Any, method: str, kinds: str) -> None:
    """Refuses what has not the method, in Python's class for that, and what is not fitted."""
    if isinstance(estimator, type) or not hasattr(estimator, method):
        received = (
            f"the class {estimator.__name__}"
            if isinstance(estimator, type)
            else (f"an object of type {type(estimator).__name__}")
        )
        raise TypeError(f"this figure is of a fitted {kinds}, received {received}: give one")
    estimator._require_fitted()


@_inline
@python_words
def plot_history(estimator: Autoencoder | GAN) -> style.Figure:
    """How a training went: errors of an autoencoder, losses and accuracies of a GAN, by epoch.

    Example:
        >>> plot_history(autoencoder)  # doctest: +SKIP
    """
    _check(estimator, "sample", "Autoencoder or GAN")
    history = estimator.history_
    if not history.get("epoch"):
        raise InputError(
            "there is no history of finished epochs: fit the estimator for one or more"
        )
    if isinstance(estimator, GAN):
        return curves.adversarial_curves(history)
    errors = results.errors_of(history)
    return curves.learning_curve(history["epoch"], *errors, best_epoch=estimator.best_epoch_)


@_inline
@python_words
def plot_samples(estimator: Autoencoder | GAN, n: int = 30, seed: int = 0) -> style.Figure:
    """New images, ten a row.

    Args:
        estimator: a fitted `Autoencoder` or `GAN`.
        n: how many.
        seed: what is drawn follows from it.

    Example:
        >>> plot_samples(gan, n=30, seed=1)  # doctest: +SKIP
    """
    _check(estimator, "sample", "Autoencoder or GAN")
    samples = estimator.sample(n, seed)
    rows = [samples[start : start + 10] for start in range(0, n, 10)]
    return image_grids.sampled_images([image_grids.SampleRow("", row, {}) for row in rows])
