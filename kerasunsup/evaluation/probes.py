"""What a few labels are worth on codes: classifiers of vectors, some of which use the rest too.

All have one signature, so that they stand in one table. They return probabilities, and they never
see the queries while they learn. Their settings were chosen by the accuracy that 10, 100 and 1,000
labels gave on MNIST's 5,000 validation images, with all labels of those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from sklearn import linear_model, pipeline, preprocessing

from kerasunsup.evaluation import neighbors
from kerasunsup.evaluation.label_spreading import GraphOfCodes, MixtureOfCodes

Probe = Callable[..., np.ndarray]

_PENALTY = 10.0  # of the squared weights; scikit-learn's own 1 is 0.5 points worse with few labels
_MIXTURE_ROWS = 20_000  # as many as `latent_space.fit_mixture` takes, but with all labelled codes
_GRAPH_ROWS = 60_000  # the time grows with their square


def linear_probe(
    codes: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    num_classes: int,
    *,
    unlabelled: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Multinomial logistic regression on codes standardized by the labelled ones.

    Args:
        codes: (num_labelled, dim), float32.
        labels: (num_labelled,), int64 in [0, num_classes).
        queries: (num_queries, dim), float32.
        num_classes: how many there are, those that no label has too.
        unlabelled: not used.
        seed: not used: nothing is random.

    Returns:
        (num_queries, num_classes), float64, rows sum to 1; a class without labels has zeros.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite or a class is out of range.

    Example:
        >>> codes = np.array([[0.0, 0.0], [9.0, 9.0]], np.float32)
        >>> linear_probe(codes, np.array([0, 1]), codes[1:] - 1.0, 2).argmax(axis=1)
        array([1])
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    classes = np.unique(labels)
    if len(classes) == 1:  # nothing to separate
        return np.eye(num_classes)[np.full(len(queries), classes[0])]
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(C=1.0 / _PENALTY, max_iter=1000),
    )
    probabilities = np.zeros((len(queries), num_classes))
    # On so few codes threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        model.fit(codes.astype(np.float64), labels)
        probabilities[:, classes] = model.predict_proba(queries.astype(np.float64))
    return probabilities


def nearest_neighbor(
    codes: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    num_classes: int,
    *,
    unlabelled: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """The class of the one nearest labelled code.

    One neighbour is enough: with one label a class there is no second to ask, with ten labels three
    neighbours lose 4 points, with a hundred they gain less than 0.5.

    Arguments, result and errors are those of `linear_probe`; the class has 1, all others have 0.

    Example:
        >>> codes = np.array([[0.0, 0.0], [9.0, 9.0]], np.float32)
        >>> nearest_neighbor(codes, np.array([0, 1]), codes[1:] - 1.0, 2)
        array([[0., 1.]])
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    _, positions = neighbors.nearest(codes, queries, 1)
    return np.eye(num_classes)[labels[positions[:, 0]]]


def mixture(
    codes: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    num_classes: int,
    *,
    unlabelled: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """A hundred Gaussians fitted to all codes; labels spread from those that hold them.

    A Gaussian's classes are at first those of the labelled codes that it is responsible for. With
    few labels most have none; they get theirs from Gaussians that overlap them: two are linked by
    the mean product of their responsibilities. One that overlaps none that a label reaches takes
    the class of the labelled code nearest to its mean.

    Arguments, result and errors are those of `linear_probe`. `unlabelled`, float32
    (num_unlabelled, dim), are fitted too; of more than 20,000 codes in all, as many are drawn.
    None are needed, but then it is one Gaussian for every 20 labelled codes.

    Example:
        >>> codes = np.array([[0.0, 0.0], [9.0, 9.0]], np.float32)
        >>> mixture(codes, np.array([0, 1]), codes[1:] - 1.0, 2).shape
        (1, 2)
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    everything = _together(codes, unlabelled, _MIXTURE_ROWS, seed)
    if len(everything) == 1:
        return nearest_neighbor(codes, labels, queries, num_classes)
    structure = MixtureOfCodes(everything, seed)
    return structure.spread(np.arange(len(codes)), labels, queries, num_classes)


def graph_spread(
    codes: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    num_classes: int,
    *,
    unlabelled: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Labels spread along the graph of nearest neighbours of all standardized codes.

    A query is no part of the graph: it takes the mean of its seven nearest codes. A code that no
    label reaches takes the class of the labelled code nearest to it.

    Links weigh exp(-d^2 / (s t)), d the distance, s and t those from either end to its seventh
    neighbour, and a tenth of it where only one of the two has the other among its nearest.
    scikit-learn's `LabelSpreading` weighs all links alike, one-sided ones too: with one draw of ten
    labels of MNIST it was right in 50 % of the validation images where this was in 91 %. 55,000
    codes take 12 s of one core.

    Arguments, result and errors are those of `mixture`; of more than 60,000 codes in all, as many
    are drawn.

    Source:
        Zhou et al., 2004, "Learning with local and global consistency", NIPS 16; the weights
        follow Zelnik-Manor & Perona, 2004, "Self-tuning spectral clustering", NIPS 17.

    Example:
        >>> codes = np.array([[0.0, 0.0], [9.0, 9.0]], np.float32)
        >>> graph_spread(codes, np.array([0, 1]), codes[1:] - 1.0, 2).argmax(axis=1)
        array([1])
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    everything = _together(codes, unlabelled, _GRAPH_ROWS, seed)
    if len(everything) == 1:
        return nearest_neighbor(codes, labels, queries, num_classes)
    structure = GraphOfCodes(everything, seed)
    return structure.spread(np.arange(len(codes)), labels, queries, num_classes)


PROBES: Mapping[str, Probe] = {
    "linear_probe": linear_probe,
    "neighbors": nearest_neighbor,
    "mixture": mixture,
    "graph": graph_spread,
}
# What `mixture` and `graph_spread` fit to codes without labels; it can be kept for other labels.
STRUCTURES: Mapping[str, type[MixtureOfCodes | GraphOfCodes]] = {
    "mixture": MixtureOfCodes,
    "graph": GraphOfCodes,
}
MOST_CODES = _GRAPH_ROWS  # in a structure; of more, `mixture` and `graph_spread` draw some


def _together(codes: np.ndarray, unlabelled: np.ndarray | None, most: int, seed: int) -> np.ndarray:
    """All labelled codes, then the others, or as many of them as are wanted, drawn by the seed."""
    if unlabelled is None:
        return codes
    unlabelled = neighbors.checked(unlabelled, "unlabelled", dim=codes.shape[1], least=0)
    room = max(0, most - len(codes))
    if len(unlabelled) > room:
        drawn = np.random.default_rng(seed).choice(len(unlabelled), room, replace=False)
        unlabelled = unlabelled[np.sort(drawn)]
    return np.concatenate([codes, unlabelled])


def _checked(
    codes: np.ndarray, labels: np.ndarray, queries: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes, labels = neighbors.checked(codes, "codes"), np.asarray(labels)
    queries = neighbors.checked(queries, "queries", dim=codes.shape[1])
    if labels.shape != codes.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be one integer a code ({len(codes)}), received {labels.dtype} of the "
            f"shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must be 0 to {num_classes - 1}, received {labels.min()} to {labels.max()}"
        )
    return codes, labels, queries
