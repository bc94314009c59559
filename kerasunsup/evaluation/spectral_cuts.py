"""The connected parts of a graph of codes: how they are cut into groups, and into how many.

`clustering` says what for.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import sparse
from sklearn import cluster, exceptions

LEAST_MEMBERS = 10  # of a group of its own
MOST_GROUPS = 20  # that what hangs together is cut into where no number is given
RESTARTS = 20  # of k-means
_STEPS = 20  # along the graph's links
_CLEAR = 15.0  # times; single clouds in two dimensions or more hardly ever reach it
_DENSE = 300  # codes, up to which all eigenvectors are faster than the first few
_DRAWS = 6
_DRAWN = 0.8  # of the codes; half of them show fewer groups
_DRAWS_RESTARTS = 3


def _with_more(number: int) -> int:
    """How many eigenvectors so many groups are found by."""
    return number + max(2, number // 5)


class Parts:
    """The parts of a graph that no link joins, with their eigenvectors.

    Args:
        links: symmetric weights >= 0, (num_codes, num_codes).
        number: of groups that may be asked for; None for as many as may be found.
        seed: >= 0.

    Attributes:
        members: the positions of each part's codes; parts of fewer than ten codes, or than a
            thousandth of all, are left out.
        values: the largest eigenvalues of each part's normalized links, falling.

    Example:
        >>> links = sparse.csr_array(np.kron(np.eye(2), 1.0 - np.eye(20)))
        >>> Parts(links, 2, seed=0).cut([1, 1], seed=0)[[0, 19, 20, 39]]
        array([0, 0, 1, 1])
    """

    def __init__(self, links: sparse.csr_array, number: int | None, seed: int) -> None:
        self._size = links.shape[0]
        _, part_of = sparse.csgraph.connected_components(links, directed=False)
        sizes = np.bincount(part_of)
        least = min(max(LEAST_MEMBERS, self._size // 1000), sizes.max())
        self.members = [np.flatnonzero(part_of == part) for part in np.flatnonzero(sizes >= least)]
        most = MOST_GROUPS + 1 if number is None else max(1, number - len(self.members) + 1)
        spectra = [
            _eigenvectors(links[part][:, part], _with_more(most), seed) for part in self.members
        ]
        self.values = [values for values, _ in spectra]
        self._vectors = [vectors for _, vectors in spectra]

    def numbers(self, number: int) -> list[int]:
        """Groups a part: one each, and the others where the next eigenvalue is the largest."""
        of_part = np.repeat(np.arange(len(self.values)), [len(own) - 1 for own in self.values])
        further = np.concatenate([own[1:] for own in self.values])
        largest = np.argsort(-further, kind="stable")[: max(0, number - len(self.values))]
        return (1 + np.bincount(of_part[largest], minlength=len(self.values))).tolist()

    def cut(self, numbers: Sequence[int], seed: int, restarts: int = RESTARTS) -> np.ndarray:
        """The group of each code, int64, numbered through the parts; -1 for codes of none.

        Args:
            numbers: how many groups each part is cut into.
            seed: >= 0.
            restarts: of k-means.
        """
        group_of, first = np.full(self._size, -1), 0
        for part, values, vectors, own in zip(
            self.members, self.values, self._vectors, numbers, strict=True
        ):
            group_of[part] = first
            if own > 1:
                group_of[part] += _groups_of(values, vectors, own, seed, restarts)
            first += own
        return group_of


def _eigenvectors(links: sparse.csr_array, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a part's normalized links, falling, and their vectors in columns.

    As many as are wanted, or one less than codes.
    """
    roots = 1.0 / np.sqrt(np.asarray(links.sum(axis=1)).ravel())
    normalized = sparse.diags_array(roots) @ links @ sparse.diags_array(roots)
    number = min(number, len(roots) - 1)
    with threadpoolctl.threadpool_limits(1):
        if len(roots) <= _DENSE:
            values, vectors = np.linalg.eigh(normalized.toarray())
        else:
            start = np.random.default_rng(seed).standard_normal(len(roots))
            values, vectors = sparse.linalg.eigsh(normalized, k=number, which="LA", v0=start)
    return values[::-1][:number], vectors[:, ::-1][:, :number]


def _groups_of(
    values: np.ndarray, vectors: np.ndarray, number: int, seed: int, restarts: int
) -> np.ndarray:
    """Groups of the codes of a part, int64, from its eigenvalues and eigenvectors."""
    vectors = vectors[:, : _with_more(number)]
    # What fades within a few steps along the links is no group of its own.
    vectors = vectors * np.maximum(values[: vectors.shape[1]], 0.0) ** _STEPS
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    method = cluster.KMeans(number, n_init=restarts, random_state=seed)
    # On so few columns threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1):
        return method.fit_predict(vectors / np.maximum(lengths, 1e-12)).astype(np.int64)


def clear_number(values: np.ndarray, size: int) -> int:
    """Into how many groups eigenvalues cut a part beyond doubt; 1 where they do not.

    Args:
        values: the largest eigenvalues of the part's normalized links, falling.
        size: how many codes it has.

    Example:
        >>> clear_number(np.array([1.0, 0.999, 0.998, 0.5, 0.4, 0.3]), 100)
        3
    """
    most = _most_groups(values, size)
    if most < 2:
        return 1
    fading = np.maximum(1.0 - values[: most + 1], 1e-9)  # 0 for the part as a whole
    growth = fading[2:] / fading[1:-1]
    return 2 + int(growth.argmax()) if growth.max() >= _CLEAR else 1


def number_by_gap(values: np.ndarray, size: int) -> int:
    """The number of groups before the largest gap of the eigenvalues to the power of the steps.

    Args:
        values: the largest eigenvalues of the part's normalized links, falling.
        size: how many codes it has.

    Example:
        >>> number_by_gap(np.array([1.0, 0.999, 0.998, 0.5, 0.4, 0.3]), 100)
        3
    """
    most = _most_groups(values, size)
    lasting = np.maximum(values[: most + 1], 0.0) ** _STEPS
    return 1 if most < 2 else 2 + int(np.argmax(lasting[1:-1] - lasting[2:]))


def _most_groups(values: np.ndarray, size: int) -> int:
    return min(MOST_GROUPS, size // LEAST_MEMBERS, len(values) - 2)


def stable_number(links: sparse.csr_array, least: float, seed: int) -> int:
    """The most groups of a part that all come back in random draws of its codes; 1 if none do.

    Six draws of 80 % of the codes are sorted into 20 groups, 19, and so on, and the draw that
    agrees most with the others is asked. A group is there again in another draw by the share of
    codes that are in both it and its likest group there, of those in either; the worst group
    counts, on the mean over the other draws, and is to reach `least`.

    Source:
        Hennig, 2007, "Cluster-wise assessment of cluster stability", Computational Statistics and
        Data Analysis 52: Jaccard index, 0.75 or more for a valid and stable group, 0.6 or more for
        a pattern. He compares draws with the groups of all codes, group by group.

    Example:
        >>> two = np.kron(np.eye(2), np.ones((20, 20)) - np.eye(20))
        >>> two[19, 20] = two[20, 19] = 0.1
        >>> stable_number(sparse.csr_array(two), 0.75, seed=0)
        2
    """
    generator, size = np.random.default_rng(seed), links.shape[0]
    most = min(MOST_GROUPS, int(_DRAWN * size) // LEAST_MEMBERS)
    draws = []
    for _ in range(_DRAWS):
        drawn = np.sort(generator.choice(size, int(_DRAWN * size), replace=False))
        draws.append((drawn, Parts(links[drawn][:, drawn], None, seed)))
    for number in range(most, 1, -1):
        found = np.full((_DRAWS, size), -1)
        for draw, (drawn, parts) in enumerate(draws):
            with warnings.catch_warnings():
                # Too few different codes for so many groups: these do not come back.
                warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
                # Another seed a draw: codes of the same rank would begin groups in each of them.
                found[draw, drawn] = parts.cut(parts.numbers(number), seed + draw, _DRAWS_RESTARTS)
        if stability(found) >= least:
            return number
    return 1


def stability(found: np.ndarray) -> float:
    """How far all groups of some draw are there in the other draws, in [0, 1].

    Args:
        found: int64 (num_draws, num_codes), groups from 0, below 0 for codes that were not drawn.

    Example:
        >>> stability(np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]]))
        0.75
    """
    agreements = np.eye(len(found))
    for first, second in itertools.combinations(range(len(found)), 2):
        agreements[first, second] = agreements[second, first] = _least_jaccard(
            found[first], found[second]
        )
    draw = int(agreements.sum(axis=1).argmax())  # the one that agrees most with all
    return float(np.delete(agreements[draw], draw).mean())


def _least_jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Of the codes in both: the worst group's Jaccard index with the likest of the other."""
    both = (first >= 0) & (second >= 0)
    shared = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(shared, (first[both], second[both]), 1.0)
    either = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
    jaccard = shared / np.maximum(either, 1.0)
    return float(min(jaccard.max(axis=0).min(), jaccard.max(axis=1).min()))
