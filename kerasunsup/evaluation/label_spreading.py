"""Labels spread over codes: along the graph of nearest neighbours, or over a mixture of Gaussians.

The two structures are fitted to codes alone, so that any labels of the same codes can spread over
one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import sparse
from sklearn import preprocessing

from kerasunsup.evaluation import latent_space, neighbor_index

_COMPONENTS = 100  # 60 do as well with ten labels, 200 cost three times as much
_BETWEEN_COMPONENTS = 0.9
_NEIGHBORS = 7  # 5 and 10 give the same within the spread of the draws
_ONE_SIDED = 0.1  # weight of a link that only one of the two has among its nearest
_BETWEEN_CODES = 0.99  # 0.9 does not reach far enough from ten labels: 75 % instead of 87 %
_TOLERANCE = 1e-5
_BLOCK = 4096  # queries at a time: more take memory and save no time


class MixtureOfCodes:
    """The Gaussians of `probes.mixture`, which any labels of the same codes can spread over.

    Args:
        codes: (num_codes, dim), two or more, float32; labelled and not.
        seed: >= 0, of the fit.

    Example:
        >>> codes = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
        >>> codes[30:] += 9.0
        >>> structure = MixtureOfCodes(codes, seed=0)
        >>> structure.spread(np.array([0, 59]), np.array([0, 1]), codes[[1, 58]], 2).round(2)
        array([[1., 0.],
               [0., 1.]])
    """

    def __init__(self, codes: np.ndarray, seed: int) -> None:
        self._codes = codes
        self._fitted = latent_space.fit_mixture(codes, _COMPONENTS, seed)
        shares = self._fitted.responsibilities(codes)
        self._sizes = shares.sum(axis=0)
        self._overlaps = shares.T @ shares
        np.fill_diagonal(self._overlaps, 0.0)

    def spread(
        self, labelled: np.ndarray, labels: np.ndarray, queries: np.ndarray, num_classes: int
    ) -> np.ndarray:
        """The class probabilities of queries, as `probes.mixture` gives them.

        Args:
            labelled: positions of the labelled codes, int64 (num_labelled,).
            labels: their classes, int64 (num_labelled,) in [0, num_classes).
            queries: (num_queries, dim), float32.
            num_classes: how many there are, those that no label has too.

        Returns:
            float64 (num_queries, num_classes), rows sum to 1.
        """
        codes = self._codes[labelled]
        given = self._fitted.responsibilities(codes).T @ np.eye(num_classes)[labels]
        classes = _spread(sparse.csr_array(self._overlaps), given, _BETWEEN_COMPONENTS, self._sizes)
        filled = _filled(classes, self._fitted.means, codes, labels)
        return self._fitted.responsibilities(queries) @ filled


class GraphOfCodes:
    """The graph of `probes.graph_spread`, along which any labels of the same codes can spread.

    Args:
        codes: (num_codes, dim), two or more, float32; labelled and not.
        seed: >= 0, of the search for neighbours where the codes are very many (`neighbor_index`).

    Attributes:
        links: symmetric weights in [0, 1], (num_codes, num_codes), zeros on the diagonal.

    Example:
        >>> codes = np.array([[0.0], [1.0], [2.0], [50.0], [51.0], [52.0]], np.float32)
        >>> graph = GraphOfCodes(np.repeat(codes, 5, axis=0), seed=0)
        >>> graph.spread(np.array([0, 29]), np.array([0, 1]), codes[[1, 4]], 2).argmax(axis=1)
        array([0, 1])
    """

    def __init__(self, codes: np.ndarray, seed: int) -> None:
        self._codes = codes
        self._scaler = preprocessing.StandardScaler().fit(codes)
        self._scaler.scale_[~latent_space.varying(codes)] = np.inf  # rounding is no structure
        self._seed, self._number = seed, min(_NEIGHBORS, len(codes) - 1)
        self._standardized = self.standardized(codes)
        self.links = _links(*self._nearest(None))  # of all, each without itself

    def standardized(self, codes: np.ndarray) -> np.ndarray:
        """Codes divided by their spread, (num_codes, dim); distances are measured between these."""
        return self._scaler.transform(codes)

    def _nearest(self, queries: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        return neighbor_index.nearest(self._standardized, queries, self._number, self._seed)

    def spread(
        self, labelled: np.ndarray, labels: np.ndarray, queries: np.ndarray, num_classes: int
    ) -> np.ndarray:
        """The class probabilities of queries, as `probes.graph_spread` gives them.

        Arguments and result are those of `MixtureOfCodes.spread`.
        """
        classes = self.classes(labelled, labels, num_classes)
        probabilities = np.empty((len(queries), num_classes))
        for block, means in self.of_nearest(classes, queries):
            probabilities[block] = means
        return probabilities

    def of_nearest(
        self, classes: np.ndarray, queries: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """The mean classes of the codes nearest to each query, block by block.

        All at once would hold the classes of seven codes a query: 0.6 GB where 100,000 codes are
        sorted into 100 groups.

        Args:
            classes: (num_codes, num_classes), of the graph's own codes.
            queries: (num_queries, dim).

        Yields:
            Which queries, and their classes, (num_queries_in_block, num_classes).
        """
        _, near = self._nearest(self.standardized(queries))
        for start in range(0, len(queries), _BLOCK):
            block = slice(start, start + _BLOCK)
            yield block, classes[near[block]].mean(axis=1)

    def classes(self, labelled: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """The class probabilities of the graph's own codes, float64 (num_codes, num_classes)."""
        given = np.zeros((len(self._codes), num_classes))
        given[labelled, labels] = 1.0
        spread = _spread(self.links, given, _BETWEEN_CODES)
        return _filled(spread, self._codes, self._codes[labelled], labels)


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
        the share that it has of what was given. That share follows from the choice of labels, not
        from the data, so that one step of Saerens, Latinne & Decaestecker, 2002, Neural Computation
        14, replaces it by the mean over the nodes that are reached. More steps lose rare classes.
    """
    degrees = np.asarray(links.sum(axis=1)).ravel()
    roots = np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0.0)
    normalized = sparse.diags_array(roots) @ links @ sparse.diags_array(roots)
    system = (sparse.eye_array(len(given)) - alpha * normalized).tocsr()
    spread = np.zeros_like(given)
    # Single vectors: threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        for column in np.flatnonzero(given.any(axis=0)):
            solution, _ = sparse.linalg.cg(system, given[:, column], rtol=_TOLERANCE)
            spread[:, column] = np.maximum(solution, 0.0)  # the exact one has no negative value
    mass = spread.sum(axis=0)
    shares = given.sum(axis=0) / given.sum()
    spread = preprocessing.normalize(spread * _ratio(shares, mass), "l1")
    reached = spread.any(axis=1)
    estimated = np.average(
        spread[reached], axis=0, weights=None if weights is None else weights[reached]
    )
    return preprocessing.normalize(spread * _ratio(estimated, shares), "l1")


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(
        numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0.0
    )


def _filled(
    classes: np.ndarray, points: np.ndarray, codes: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The classes of points, of which those that no label reached get the nearest code's."""
    empty = ~classes.any(axis=1)
    if empty.any():
        _, positions = neighbor_index.nearest(codes, points[empty], 1)
        classes[empty] = np.eye(classes.shape[1])[labels[positions[:, 0]]]
    return classes
