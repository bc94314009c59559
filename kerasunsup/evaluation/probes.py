"""What a few labels are worth on codes: classifiers of vectors, some of which use the rest too.

All have one signature, so that they stand in one table. They return probabilities, and what is
asked for is never looked at while they learn. Settings were chosen by the accuracy on MNIST's 5,000
validation images, with all their labels, of what 10, 100 and 1,000 labels gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import sparse
from sklearn import linear_model, neighbors, pipeline, preprocessing

from kerasunsup.evaluation import latent_space

Probe = Callable[..., np.ndarray]

_PENALTY = 10.0  # of the squared weights; scikit-learn's own 1 is 0.5 points worse with few labels
_COMPONENTS = 100  # 60 do as well with ten labels, 200 cost three times as much
_MIXTURE_ROWS = (
    20_000  # what `latent_space.fit_mixture` would draw itself, but with all labelled codes
)
_BETWEEN_COMPONENTS = 0.9
_GRAPH_ROWS = 60_000  # the time grows with their square
_NEIGHBORS = 7  # 5 and 10 give the same within the spread of the draws
_ONE_SIDED = 0.1  # weight of a link that only one of the two has among its nearest
_BETWEEN_CODES = 0.99  # 0.9 does not reach far enough from ten labels: 75 % instead of 87 %
_TOLERANCE = 1e-5
_BLOCK = 4096  # queries at a time: more take memory and save no time


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
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    classes = np.unique(labels)
    if len(classes) == 1:  # nothing to separate
        return _one_hot(np.full(len(queries), classes[0]), num_classes)
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(C=1.0 / _PENALTY, max_iter=1000),
    )
    found = np.zeros((len(queries), num_classes))
    # On so few codes threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        model.fit(codes.astype(np.float64), labels)
        found[:, classes] = model.predict_proba(queries.astype(np.float64))
    return found


def nearest(
    codes: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    num_classes: int,
    *,
    unlabelled: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """The class of the nearest labelled code.

    Of one only: with one label a class there is no second to ask, with ten the second is farther
    than it helps (three neighbours lose 4 points), with a hundred three gain less than 0.5.

    Arguments, result and errors as those of `linear_probe`; 1 for the class, 0 for all others.
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    index = neighbors.NearestNeighbors(n_neighbors=1, algorithm="brute").fit(codes)
    positions = index.kneighbors(queries, return_distance=False)[:, 0]
    return _one_hot(labels[positions], num_classes)


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

    Args:
        codes: (num_labelled, dim), float32.
        labels: (num_labelled,), int64 in [0, num_classes).
        queries: (num_queries, dim), float32.
        num_classes: how many there are, those that no label has too.
        unlabelled: (num_unlabelled, dim), float32; of more than 20,000 codes in all, as many are
            drawn. None are needed, but then it is one Gaussian for every 20 labelled codes.
        seed: >= 0.

    Returns:
        (num_queries, num_classes), float64, rows sum to 1; a class without labels has zeros.

    Raises:
        ValueError: if the shapes do not fit, a value is not finite or a class is out of range.
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    everything = _together(codes, unlabelled, _MIXTURE_ROWS, seed)
    if len(everything) == 1:
        return nearest(codes, labels, queries, num_classes)
    return MixtureOfCodes(everything, seed).spread(
        np.arange(len(codes)), labels, queries, num_classes
    )


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

    A query is no part of the graph: it takes the mean of its seven nearest codes. What no label
    reaches takes the class of the labelled code nearest to it.

    Links weigh exp(-d^2 / (s t)), d the distance, s and t those from either end to its seventh
    neighbour, and a tenth of it where only one of the two has the other among its nearest.
    scikit-learn's `LabelSpreading` weighs all links alike, one-sided ones too: with one draw of ten
    labels of MNIST it was right in 50 % of the validation images where this was in 91 %. 55,000
    codes take 12 s of one core.

    Arguments, result and errors as those of `mixture`; of more than 60,000 codes in all, as many
    are drawn.

    Source:
        Zhou et al., 2004, "Learning with local and global consistency", NIPS 16; the weights
        follow Zelnik-Manor & Perona, 2004, "Self-tuning spectral clustering", NIPS 17.
    """
    codes, labels, queries = _checked(codes, labels, queries, num_classes)
    everything = _together(codes, unlabelled, _GRAPH_ROWS, seed)
    if len(everything) == 1:
        return nearest(codes, labels, queries, num_classes)
    return GraphOfCodes(everything, seed).spread(
        np.arange(len(codes)), labels, queries, num_classes
    )


class MixtureOfCodes:
    """The Gaussians of `mixture`, which any labels of the same codes can spread over.

    Args:
        codes: (num_codes, dim), two or more, float32; labelled and not.
        seed: >= 0, of the fit.
    """

    def __init__(self, codes: np.ndarray, seed: int) -> None:
        self._codes = codes
        self._fitted = latent_space.fit_mixture(codes, _COMPONENTS, seed)
        shares = self._responsibilities(codes)
        self._sizes = shares.sum(axis=0)
        self._overlaps = shares.T @ shares
        np.fill_diagonal(self._overlaps, 0.0)

    def spread(
        self, labelled: np.ndarray, labels: np.ndarray, queries: np.ndarray, num_classes: int
    ) -> np.ndarray:
        """Float64 (num_queries, num_classes), as `mixture`; `labelled` are positions of codes."""
        codes = self._codes[labelled]
        given = self._responsibilities(codes).T @ _one_hot(labels, num_classes)
        classes = _spread(sparse.csr_array(self._overlaps), given, _BETWEEN_COMPONENTS, self._sizes)
        filled = _filled(classes, self._fitted.means, codes, labels)
        return self._responsibilities(queries) @ filled

    def _responsibilities(self, codes: np.ndarray) -> np.ndarray:
        # Many products of thin matrices, as in `latent`.
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            return self._fitted.responsibilities(codes)


class GraphOfCodes:
    """The graph of `graph_spread`, along which any labels of the same codes can spread.

    Args:
        codes: (num_codes, dim), two or more, float32; labelled and not.
        seed: not used: nothing is random.

    Attributes:
        links: symmetric weights in [0, 1], (num_codes, num_codes), zeros on the diagonal.
    """

    def __init__(self, codes: np.ndarray, seed: int) -> None:
        self._codes = codes
        self._scaler = preprocessing.StandardScaler().fit(codes)
        self._scaler.scale_[~latent_space.varying(codes)] = np.inf  # rounding is no structure
        number = min(_NEIGHBORS, len(codes) - 1)
        self._index = neighbors.NearestNeighbors(n_neighbors=number, algorithm="brute")
        self._index.fit(self.standardized(codes))
        self.links = _links(*self._index.kneighbors())  # of all, each without itself

    def standardized(self, codes: np.ndarray) -> np.ndarray:
        """(num_codes, dim), in which distances are measured: each coordinate by its spread."""
        return self._scaler.transform(codes)

    def spread(
        self, labelled: np.ndarray, labels: np.ndarray, queries: np.ndarray, num_classes: int
    ) -> np.ndarray:
        """Float64 (num_queries, num_classes), as `graph_spread`; `labelled` are positions."""
        classes = self.classes(labelled, labels, num_classes)
        found = np.empty((len(queries), num_classes))
        for block, means in self.of_nearest(classes, queries):
            found[block] = means
        return found

    def of_nearest(
        self, classes: np.ndarray, queries: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """The mean classes of the codes nearest to each query, block by block.

        All at once would hold the classes of seven codes a query: 0.6 GB where 100,000 codes are
        sorted into 100 groups.

        Args:
            classes: (num_codes, num_classes), of the graph's own codes.
            queries: (num_queries, dim).

        Returns:
            Which queries, and (num_queries_in_block, num_classes).
        """
        for start in range(0, len(queries), _BLOCK):
            block = slice(start, start + _BLOCK)
            near = self._index.kneighbors(self.standardized(queries[block]), return_distance=False)
            yield block, classes[near].mean(axis=1)

    def classes(self, labelled: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """Float64 (num_codes, num_classes), of the graph's own codes; rows sum to 1."""
        given = np.zeros((len(self._codes), num_classes))
        given[labelled, labels] = 1.0
        found = _spread(self.links, given, _BETWEEN_CODES)
        return _filled(found, self._codes, self._codes[labelled], labels)


PROBES: Mapping[str, Probe] = {
    "linear_probe": linear_probe,
    "neighbors": nearest,
    "mixture": mixture,
    "graph": graph_spread,
}
# What the probes that use the rest find in it, by itself worth keeping for other labels.
STRUCTURES: Mapping[str, type[MixtureOfCodes | GraphOfCodes]] = {
    "mixture": MixtureOfCodes,
    "graph": GraphOfCodes,
}
MOST_CODES = _GRAPH_ROWS  # in a structure; of more, `mixture` and `graph_spread` draw some


def _links(distances: np.ndarray, positions: np.ndarray) -> sparse.csr_array:
    """Symmetric weights in [0, 1] between points, from each one's nearest: (num_points, k) both."""
    num_points, number = distances.shape
    # Copies of one code lie at distance 0 from each other: their links weigh 1.
    reach = np.maximum(distances[:, -1].astype(np.float64), 1e-6 * (distances.mean() or 1.0))
    weights = np.exp(-np.square(distances) / (reach[:, np.newaxis] * reach[positions]))
    rows = np.repeat(np.arange(num_points), number)
    links = sparse.csr_array(
        (weights.ravel(), (rows, positions.ravel())), shape=(num_points, num_points)
    )
    mutual, any_ = links.minimum(links.T), links.maximum(links.T)
    return ((1.0 - _ONE_SIDED) * mutual + _ONE_SIDED * any_).tocsr()


def _spread(
    links: sparse.csr_array, given: np.ndarray, alpha: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """What spreads along weighted links until nothing changes.

    Args:
        links: (num_nodes, num_nodes), symmetric, >= 0, zeros on the diagonal.
        given: (num_nodes, num_classes), float64 >= 0: how much of each class a node was given.
        alpha: in [0, 1), the share that a node takes over from its neighbours in each step.
        weights: (num_nodes,), how many codes each node stands for; None for one each.

    Returns:
        float64 (num_nodes, num_classes), rows sum to 1, or to 0 where nothing reaches the node.

    Source:
        Zhou et al., 2004: F = (I - alpha S)^-1 Y, here by conjugate gradients. Then class mass
        normalization (Zhu, Ghahramani & Lafferty, 2003, ICML, section 4): each class in all has
        the share that it has of what was given. That share is the choice of labels, not of the
        data: one step of Saerens, Latinne & Decaestecker, 2002, Neural Computation 14, puts the
        mean of what was found in its place. More steps lose rare classes.
    """
    degrees = np.asarray(links.sum(axis=1)).ravel()
    roots = np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0.0)
    normalized = sparse.diags_array(roots) @ links @ sparse.diags_array(roots)
    system = (sparse.eye_array(len(given)) - alpha * normalized).tocsr()
    found = np.zeros_like(given)
    # Single vectors: threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        for column in np.flatnonzero(given.any(axis=0)):
            solution, _ = sparse.linalg.cg(system, given[:, column], rtol=_TOLERANCE)
            found[:, column] = np.maximum(solution, 0.0)  # the exact one has no negative value
    mass = found.sum(axis=0)
    shares = given.sum(axis=0) / given.sum()
    found = _rows_to_one(found * _ratio(shares, mass))
    reached = found.any(axis=1)
    estimated = np.average(
        found[reached], axis=0, weights=None if weights is None else weights[reached]
    )
    return _rows_to_one(found * _ratio(estimated, shares))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(
        numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0.0
    )


def _rows_to_one(values: np.ndarray) -> np.ndarray:
    """Each row as shares of its sum; rows of zeros stay."""
    return _ratio(values, np.broadcast_to(values.sum(axis=1, keepdims=True), values.shape))


def _filled(
    classes: np.ndarray, points: np.ndarray, codes: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The classes of points, of which those that no label reached get the nearest code's."""
    empty = ~classes.any(axis=1)
    if empty.any():
        classes[empty] = nearest(codes, labels, points[empty], classes.shape[1])
    return classes


def _together(codes: np.ndarray, unlabelled: np.ndarray | None, most: int, seed: int) -> np.ndarray:
    """All labelled codes, then the others, or as many of them as are wanted, drawn by the seed."""
    if unlabelled is None:
        return codes
    unlabelled = np.asarray(unlabelled)
    if unlabelled.ndim != 2 or unlabelled.shape[1] != codes.shape[1]:
        raise ValueError(
            f"unlabelled must be (num_unlabelled, {codes.shape[1]}) as the codes, received the "
            f"shape {unlabelled.shape}"
        )
    _check_finite(unlabelled, "unlabelled")
    room = max(0, most - len(codes))
    if len(unlabelled) > room:
        chosen = np.random.default_rng(seed).choice(len(unlabelled), room, replace=False)
        unlabelled = unlabelled[np.sort(chosen)]
    return np.concatenate([codes, unlabelled])


def _checked(
    codes: np.ndarray, labels: np.ndarray, queries: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes, labels, queries = np.asarray(codes), np.asarray(labels), np.asarray(queries)
    if codes.ndim != 2 or queries.ndim != 2 or codes.shape[1] != queries.shape[1]:
        raise ValueError(
            "codes and queries must be (number, dim) of one dim, received the shapes "
            f"{codes.shape} and {queries.shape}"
        )
    if not codes.size or not len(queries):
        raise ValueError(
            "codes and queries must have one row at least, received the shapes "
            f"{codes.shape} and {queries.shape}"
        )
    if labels.shape != codes.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be one integer a code ({len(codes)}), received {labels.dtype} of the "
            f"shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must be 0 to {num_classes - 1}, received {labels.min()} to {labels.max()}"
        )
    _check_finite(codes, "codes")
    _check_finite(queries, "queries")
    return codes, labels, queries


def _check_finite(vectors: np.ndarray, name: str) -> None:
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} must be finite, received NaN or infinity: has training diverged?")


def _one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes)[labels]
