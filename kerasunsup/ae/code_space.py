"""Where codes lie, as pictures and numbers: maps, decoded planes and walks between test images."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasunsup.ae.trained import FITTED_CODES, TrainedAutoencoder, class_labels
from kerasunsup.data import images
from kerasunsup.evaluation import code_paths, latent_space
from kerasunsup.figures import curves, image_grids, scatter_plots
from kerasunsup.training import code_sampler

logger = logging.getLogger(__name__)

_PLANE = 15  # decoded images along each side
_WALK_STEPS = 11
_WALKS_SHOWN = 4
_WALKS = 50  # that are measured
_DIRECTIONS = ("principal component 1", "principal component 2")
# Name in pictures -> name in metrics.json.
_WALK_KINDS = {"straight": "straight", "along the density": "density"}


def encoded_space(trained: TrainedAutoencoder) -> dict[str, float]:
    """Codes in two dimensions (the study's figure 8), and TensorBoard's projector."""
    number = min(trained.settings.num_codes, len(trained.splits.test))
    codes = trained.codes(trained.splits.test, number)
    thumbnails = np.concatenate(
        [images.to_uint8(part) for part in trained.splits.test.blocks(number)]
    )
    names = class_labels(trained.splits, np.arange(number))
    trained.tensorboard.projector(codes, thumbnails, names)
    few = f"{number} test images are too few" if number < latent_space.LEAST_MAPPED else ""
    if few or latent_space.is_alike(codes):
        logger.info(f"no map of the encoded space: {few or 'all codes are alike'}")
        return {}
    labels = None if trained.splits.labels is None else trained.splits.labels.test[:number]
    components = latent_space.principal_components(
        codes, min(2, codes.shape[1]), trained.settings.seed
    )
    plane, shares = components.transform(codes), components.explained_variance_ratio_
    neighbours = latent_space.tsne(codes, trained.settings.seed)
    figure = scatter_plots.encoded_space(
        plane, shares, neighbours, labels, trained.splits.class_names
    )
    trained.tensorboard.show(
        "encoded_space", figure, f"{len(codes)} codes of test images, by class."
    )
    _write_plane(trained, codes, components, labels)
    return {"codes/explained_by_two_components": float(shares.sum())}


def _write_plane(
    trained: TrainedAutoencoder, codes: np.ndarray, components: Any, labels: np.ndarray | None
) -> None:
    """The codes' plane, and the images that codes of its quantiles decode to."""
    if codes.shape[1] < 2:
        return
    if codes.shape[1] == 2:
        plane, axes = codes, ("first number of the code", "second number of the code")
    else:
        plane, axes = components.transform(codes), _DIRECTIONS
    # Evenly in codes and not in their values: so the images lie where codes do.
    shares = (np.arange(_PLANE) + 0.5) / _PLANE
    x, y = np.quantile(plane, shares, axis=0).T
    grid = np.stack(np.meshgrid(x, y[::-1]), axis=-1).reshape(-1, 2)
    if codes.shape[1] > 2:
        grid = components.inverse_transform(grid)
    decoded = trained.part("decoder", grid.astype(np.float32))
    figure = scatter_plots.code_plane(
        plane, (x, y), decoded, axes, labels, trained.splits.class_names
    )
    trained.tensorboard.show(
        "code_plane", figure, "Codes of test images, and what codes of their quantiles decode to."
    )


def walks(trained: TrainedAutoencoder) -> dict[str, float]:
    """Paths between the codes of two test images, and whether they leave the images.

    Straight ones, and such that follow the density of the training codes. At each step counts how
    sure the classifier of the feature network is, mean over the walks: the least of it along the
    path is the number. Without classes there is none.
    """
    codes = trained.codes(trained.splits.train, FITTED_CODES)
    if len(trained.splits.test) < 2 or latent_space.is_alike(codes):
        return {}
    pictures = _walked(trained, codes)
    rows = [
        image_grids.SampleRow(name, pictures[name][index], {})
        for index in range(min(_WALKS_SHOWN, len(pictures["straight"])))
        for name in _WALK_KINDS
    ]
    trained.tensorboard.show(
        "walks",
        image_grids.sampled_images(rows),
        "From one test image to another: by the straight line, and along the codes' density.",
    )
    network = trained.feature_network
    if network.classifier is None:
        return {}
    sure = {name: network.confidence_along(made) for name, made in pictures.items()}
    trained.tensorboard.show(
        "walk_confidence",
        curves.walk_confidence(sure),
        "How sure the classifier of the feature network is along the walks.",
    )
    return {f"walks/{key}_confidence": float(sure[name].min()) for name, key in _WALK_KINDS.items()}


def _walked(trained: TrainedAutoencoder, codes: np.ndarray) -> dict[str, np.ndarray]:
    """The images along walks of each kind, float32 (walks, steps, height, width, channels)."""
    tests, seed = trained.splits.test, trained.settings.seed
    drawn = np.random.default_rng(seed).permutation(len(tests))
    held = trained.most_held // (len(_WALK_KINDS) * _WALK_STEPS)
    pairs = drawn[: 2 * max(1, min(_WALKS, len(tests) // 2, held))]
    order = np.argsort(pairs)  # a set is read in its own order
    ends = np.empty((len(pairs), codes.shape[1]), np.float32)
    ends[order] = trained.codes(tests.subset(pairs[order]), len(pairs))
    if trained.sampler is None:
        density = latent_space.fit_mixture(codes, code_sampler.COMPONENTS, seed)
    else:
        density = trained.sampler.mixture
    paths: dict[str, Callable[..., np.ndarray]] = {
        "straight": code_paths.straight,
        "along the density": functools.partial(code_paths.along_density, density),
    }
    shape = (len(pairs) // 2, _WALK_STEPS, *trained.splits.image_shape)
    return {
        name: trained.part(
            "decoder",
            np.concatenate(
                [path(*pair, _WALK_STEPS) for pair in zip(ends[::2], ends[1::2], strict=True)]
            ),
        ).reshape(shape)
        for name, path in paths.items()
    }
