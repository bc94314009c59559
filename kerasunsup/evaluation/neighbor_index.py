"""Nearest neighbours of very many codes: cells around centres, of which each code needs a few.

Comparing all with all takes time that grows with the square of the codes. Here k-means on a sample
gives as many centres as the root of their number, and each code belongs to the cell of its nearest
centre. A code starts with the cells around its own; then it is compared with the codes of another
cell only where the border between the two cells is near enough: nearer than `reach` times the
distance of the furthest neighbour found so far. At a reach of 1 nothing can be missed, as every
code beyond the border is at least as far as the border. Less is searched with a smaller reach: it
begins at 0.3 and grows until .99 of the neighbours of a random sample are found, which is compared
with all codes. So the recall is measured on every set of codes, and on data without structure
most cells are searched.

Rows that are equal cost nothing: of each only so many are kept as one code can have for neighbours.
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from kerasunsup.evaluation import neighbors
from kerasunsup.evaluation.neighbor_cells import EVERYWHERE, Cells, in_threads, slices, within_cells

logger = logging.getLogger(__name__)

LEAST_RECALL = 0.99
# Pairs times numbers of a code: 70,000 codes of 32. From 10,000 on cells are as fast, of 100,000
# seven times as fast, but fewer codes are compared within seconds too, and exactly.
_MOST_EXACT = 1.6e11
_LEAST_DIM = 32  # pairs of shorter codes take as long
_TRIED, _OF_A_CELL = 1000, 10  # queries by which the recall is measured
_MARGIN = 0.002  # of their recall, as that of another sample may be lower
_REACH, _FURTHER = 0.3, 1.15  # at first, and times as far where that is not enough


def nearest(
    codes: np.ndarray, queries: np.ndarray | None, number: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The codes nearest to each query: exactly where they are few, else by a `NeighborIndex`.

    Args:
        codes: (num_codes, dim), any float.
        queries: (num_queries, dim); None asks for each code's nearest others.
        number: how many, at most num_codes (one less without queries).
        seed: >= 0.

    Returns:
        Euclidean distances and int64 positions of codes, (num_queries, number) both, nearest first.

    Raises:
        ValueError: as `neighbors.nearest`.

    Example:
        >>> distances, positions = nearest(np.array([[0.0], [1.0], [5.0]]), np.array([[4.0]]), 2)
        >>> positions
        array([[2, 1]])
    """
    if is_exact(len(codes), len(codes if queries is None else queries), codes.shape[1]):
        return neighbors.nearest(codes, queries, number)
    index = NeighborIndex(codes, number, seed)
    found = index.nearest(queries)
    logger.info(
        f"neighbours of {len(found[0]):,} codes by cells: {index.recall:.2%} of the nearest are "
        "found, by a sample that is compared with all"
    )
    return found


def is_exact(num_codes: int, num_queries: int, dim: int) -> bool:
    """Whether `nearest` compares all with all.

    Example:
        >>> is_exact(70_000, 70_000, 32), is_exact(1_000_000, 1, 32), is_exact(10**6, 10**6, 32)
        (True, True, False)
    """
    return num_codes * num_queries * max(dim, _LEAST_DIM) <= _MOST_EXACT


class NeighborIndex:
    """Codes in cells, and a search that finds .99 of the nearest neighbours or more.

    Takes a copy of the codes as float32, and about 64 MiB for each processor.

    Args:
        codes: (num_codes, dim), any float.
        number: of neighbours that are searched, below num_codes.
        seed: >= 0, of the cells and of the sample.

    Attributes:
        reach: how far the last search went; 1 is exact but for rounding.
        recall: share of the neighbours that the last search found, of a sample of its queries; one
            counts as found where it is as near as the right one.

    Raises:
        ValueError: if a value is not finite, or there are too few codes.

    Example:
        >>> codes = np.random.default_rng(0).normal(size=(2000, 4))
        >>> index = NeighborIndex(codes, 3, seed=0)
        >>> distances, positions = index.nearest()
        >>> distances.shape, index.recall >= 0.99
        ((2000, 3), True)
    """

    def __init__(self, codes: np.ndarray, number: int, seed: int) -> None:
        if number < 1:
            raise ValueError(f"number must be 1 or more, received {number}")
        codes = neighbors.checked(codes, "codes", least=number + 1)
        self.reach, self.recall = _REACH, 1.0
        self._number, self._seed, self._size = number, seed, len(codes)
        self._mean = codes.mean(axis=0, dtype=np.float64)
        values = self._centred(codes)
        kept, self._left_out, self._equal = _without_copies(values, number)
        values = values if len(kept) == len(values) else values[kept]
        self._cells = Cells(values, kept, seed)

    def nearest(self, queries: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The codes nearest to each query, nearest first, and of equally near ones the first.

        Args:
            queries: (num_queries, dim), any float; None asks for each code's nearest others.

        Returns:
            Euclidean distances, float32, and positions of codes, int64; (num_queries, number) both.

        Raises:
            ValueError: if the sizes differ or a value is not finite.
        """
        if queries is None:
            places, size = self._cells.positions, self._size
            own = np.arange(len(places))
            asked = _Queries(self._cells.values, self._cells.cell_of, own)
        else:
            queries = neighbors.checked(queries, "queries", dim=len(self._mean), least=0)
            values, size = self._centred(queries), len(queries)
            cell_of = self._cells.of(values)
            places = np.argsort(cell_of, kind="stable")
            asked = _Queries(values[places], cell_of[places], None)
        distances = np.zeros((size, self._number), np.float32)
        positions = np.zeros((size, self._number), np.int64)
        if size:
            self._set_reach(asked)
        if queries is None:
            positions[self._left_out] = self._equal

        def search(block: slice) -> None:
            found = self._search(asked, block, int(asked.cell_of[block.start]), self.reach)
            distances[places[block]], positions[places[block]] = found

        in_threads(search, within_cells(asked.cell_of, self._cells.rows_at_a_time))
        return distances, positions

    def _search(
        self, asked: _Queries, rows: slice | np.ndarray, cell: int, reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        own = None if asked.own is None else asked.own[rows]
        return self._cells.nearest(asked.values[rows], cell, own, self._number, reach)

    def _centred(self, codes: np.ndarray) -> np.ndarray:
        """Float32, about the mean of the codes: far from 0 the sums of squares round."""
        centred = np.empty(codes.shape, np.float32)
        for block in slices(len(codes)):
            centred[block] = codes[block] - self._mean
        centred += 0.0  # -0 becomes 0
        return centred

    def _set_reach(self, asked: _Queries) -> None:
        """Reaches further until enough of the neighbours of a sample of the queries are found."""
        rows_at_a_time = self._cells.rows_at_a_time
        tried = _sample(asked.cell_of, self._seed)
        right = np.empty((len(tried), 1), np.float32)
        found = np.empty((len(tried), self._number), np.float32)

        def compare_with_all(block: slice) -> None:
            distances, _ = self._search(asked, tried[block], 0, EVERYWHERE)
            right[block] = distances[:, -1:]

        def search(block: slice) -> None:
            rows = tried[block]
            found[block] = self._search(asked, rows, int(asked.cell_of[rows[0]]), self.reach)[0]

        in_threads(compare_with_all, slices(len(tried), min(rows_at_a_time, _TRIED // 4)))
        while True:
            in_threads(search, within_cells(asked.cell_of[tried], rows_at_a_time))
            # Another order of the same sum rounds otherwise.
            self.recall = float((found <= right * (1.0 + 1e-5)).mean())
            if self.recall >= LEAST_RECALL + _MARGIN or self.reach >= 1.0:
                break
            self.reach = min(1.0, self.reach * _FURTHER)


@dataclasses.dataclass(frozen=True)
class _Queries:
    """The codes whose neighbours are searched.

    Attributes:
        values: float32 (num_queries, dim), about the mean of the codes.
        cell_of: int64 (num_queries,), ascending.
        own: the row of the cells' values that each is itself; None for others.
    """

    values: np.ndarray
    cell_of: np.ndarray
    own: np.ndarray | None


def _sample(cell_of: np.ndarray, seed: int) -> np.ndarray:
    """Rows of about a thousand queries, ascending: ten or more of a cell, searched together."""
    random = np.random.default_rng(seed)
    drawn = random.permutation(len(cell_of))[:_TRIED]
    if len(cell_of) <= _TRIED:
        return np.sort(drawn)
    cells = np.unique(cell_of[drawn[: _TRIED // _OF_A_CELL]])
    bounds = zip(
        np.searchsorted(cell_of, cells), np.searchsorted(cell_of, cells, "right"), strict=True
    )
    number = max(_OF_A_CELL, _TRIED // len(cells))
    rows = [start + random.permutation(end - start)[:number] for start, end in bounds]
    return np.sort(np.concatenate(rows))


def _without_copies(values: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows to search in, where many may be equal.

    Args:
        values: float32 (num_rows, dim).
        number: of neighbours.

    Returns:
        The positions of one more than `number` of each set of equal rows, ascending; those of the
        others; and for each of these `number` of its equals, (num_others, number).
    """
    # Sums of products of whole numbers, so that they do not depend on rounding. Two different ones
    # of a million rows have one hash by a chance of 3 in 100 million.
    odd = np.random.default_rng(0).integers(1, 2**63, values.shape[1], np.uint64) * 2 + 1
    hashes = np.empty(len(values), np.uint64)
    for block in slices(len(values)):
        hashes[block] = (values[block].view(np.uint32) * odd).sum(axis=1)
    order = np.argsort(hashes, kind="stable")
    is_first = np.r_[True, np.diff(hashes[order]) != 0]
    starts = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    is_left_out = np.arange(len(order)) - starts > number
    equal = order[starts[is_left_out, np.newaxis] + np.arange(number)]
    return np.sort(order[~is_left_out]), order[is_left_out], equal
