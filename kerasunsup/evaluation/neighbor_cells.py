"""Codes in cells around centres, and the search for the codes nearest to queries of one cell.

`neighbor_index` says what for.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from sklearn import cluster

EVERYWHERE = 1e30  # a reach beyond all borders
_A_CELL = 64  # codes of the sample for each centre
_SAMPLE_NUMBERS = 1 << 24  # of the sample: 64 MiB
_STEPS = 10  # of k-means
_ROWS, _FIRST = 512, 1024  # queries at a time, and codes that each is compared with first
_COLUMNS = 4096  # codes at a time
_BLOCK_NUMBERS = 1 << 22  # of codes at a time: 16 MiB
_SPARE = 4  # neighbours beyond those asked for, as sums of squares round


class Cells:
    """Codes sorted by the nearest of some centres.

    Args:
        values: float32 (num_codes, dim), two or more, about their mean.
        positions: int64 (num_codes,), what each is called in results.
        seed: >= 0.

    Attributes:
        values: the codes, cell by cell.
        positions: what each of these is called.
        cell_of: the cell of each of these, int64 (num_codes,), ascending.
        centres: float32 (num_cells, dim).

    Example:
        >>> values = np.array([[0.0], [1.0], [5.0]], np.float32)
        >>> cells = Cells(values, np.arange(3), seed=0)
        >>> cells.nearest(np.array([[4.0]], np.float32), 0, None, 1, 1.0)
        (array([[1.]], dtype=float32), array([[2]]))
    """

    def __init__(self, values: np.ndarray, positions: np.ndarray, seed: int) -> None:
        self.centres = _centres(values, seed)
        cell_of = self.of(values)
        order = np.argsort(cell_of, kind="stable")
        self.values, self.positions, self.cell_of = values[order], positions[order], cell_of[order]
        self._starts = np.searchsorted(self.cell_of, np.arange(len(self.centres) + 1))
        self.rows_at_a_time = min(_ROWS, max(32, _BLOCK_NUMBERS // 8 // values.shape[1]))

    def of(self, values: np.ndarray) -> np.ndarray:
        """The cell of each code: that of the nearest centre."""
        cell_of = np.empty(len(values), np.int64)
        half = np.square(self.centres).sum(axis=1) / 2.0

        def find(block: slice) -> None:
            cell_of[block] = (half - values[block] @ self.centres.T).argmin(axis=1)

        in_threads(find, list(slices(len(values), _COLUMNS)))
        return cell_of

    def nearest(
        self,
        queries: np.ndarray,
        cell: int,
        own: np.ndarray | None,
        number: int,
        reach: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The codes nearest to queries of one cell, nearest first.

        Args:
            queries: float32 (num_queries, dim), about the mean of the codes.
            cell: that they are in; any one where the reach is `EVERYWHERE`.
            own: the row of `values` that each query is itself, which is not found; None for others.
            number: how many, at most as many as there are others.
            reach: another cell is searched where the border to it is within this share of the
                distance of the furthest neighbour found so far.

        Returns:
            Distances, float32, and positions, int64; (num_queries, number) both.
        """
        centre = self.centres[cell]
        queries = queries - centre
        away = self.centres - centre
        apart = np.linalg.norm(away, axis=1)
        near = np.argsort(apart, kind="stable")
        away, apart = away[near], apart[near, np.newaxis]
        # How far the border to each of the other cells is from each query.
        borders = apart.T / 2.0 - queries @ (away / np.maximum(apart, 1e-30)).T
        keep = min(number + _SPARE, len(self.values) - (own is not None))
        slices = self._slices_of(near)
        first, size = [], 0
        while size < max(_FIRST, keep + 1) and slices:
            first.append(slices.pop(0))
            size += first[-1][2] - first[-1][1]
        found = Found(queries, keep)
        columns = np.concatenate([np.arange(start, end) for _, start, end in first])
        found.begin(self.values[columns] - centre, columns, own)
        is_near = (borders <= reach * found.furthest[:, np.newaxis]).any(axis=0)
        for rank, start, end in slices:
            if is_near[rank]:
                rows = np.flatnonzero(borders[:, rank] <= reach * found.furthest)
                if len(rows):
                    found.add(rows, self.values[start:end] - centre, start, own)
        columns = found.columns()
        # The differences themselves: sums of squares round.
        differences = self.values[columns] - centre - queries[:, np.newaxis]
        distances = np.linalg.norm(differences, axis=2)
        positions = self.positions[columns]
        order = np.lexsort((positions, distances))[:, :number]
        return np.take_along_axis(distances, order, 1), np.take_along_axis(positions, order, 1)

    def _slices_of(self, near: np.ndarray) -> list[tuple[int, int, int]]:
        """(rank of the cell, start, end) of the codes of cells, few at a time."""
        columns = min(_COLUMNS, max(256, _BLOCK_NUMBERS // self.values.shape[1]))
        return [
            (rank, start, min(start + columns, end))
            for rank, (begin, end) in enumerate(
                zip(self._starts[near].tolist(), self._starts[near + 1].tolist(), strict=True)
            )
            for start in range(begin, end, columns)
        ]


class Found:
    """The nearest codes to some queries so far, by half of their squared distance.

    Args:
        queries: float32 (num_queries, dim).
        keep: how many are kept of each.

    Attributes:
        furthest: float32 (num_queries,), the distance of the last that is kept.

    Example:
        >>> found = Found(np.zeros((1, 1), np.float32), keep=1)
        >>> found.begin(np.array([[3.0], [4.0]], np.float32), np.array([0, 1]), None)
        >>> found.add(np.array([0]), np.array([[9.0], [2.0]], np.float32), 2, None)
        >>> found.columns(), found.furthest
        (array([[3]]), array([2.], dtype=float32))
    """

    furthest: np.ndarray

    def __init__(self, queries: np.ndarray, keep: int) -> None:
        self._queries, self._keep = queries, keep
        self._squared = np.square(queries).sum(axis=1)
        self._hits: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # row, column, half
        self._pending = 0

    def begin(self, codes: np.ndarray, columns: np.ndarray, own: np.ndarray | None) -> None:
        """Takes the first codes: more than are kept."""
        halves = self._halves(self._queries, codes)
        if own is not None:
            halves[columns == own[:, np.newaxis]] = np.inf
        self._set_limit(np.partition(halves, self._keep - 1, axis=1)[:, self._keep - 1])
        rows, at = np.divmod(np.flatnonzero(halves <= self._limit[:, np.newaxis]), len(columns))
        self._hits, self._pending = [(rows, columns[at], halves[rows, at])], len(rows)

    def add(self, rows: np.ndarray, codes: np.ndarray, start: int, own: np.ndarray | None) -> None:
        """Takes codes that may be nearer to some of the queries; they follow from `start` on."""
        is_all = len(rows) == len(self._queries)
        halves = self._halves(self._queries if is_all else self._queries[rows], codes)
        hits = np.flatnonzero(halves <= self._limit[rows, np.newaxis])
        if not len(hits):
            return
        at, columns = np.divmod(hits, len(codes))
        values, hit_rows, columns = halves.ravel()[hits], rows[at], columns + start
        if own is not None:
            is_other = columns != own[hit_rows]
            values, hit_rows, columns = values[is_other], hit_rows[is_other], columns[is_other]
        self._hits.append((hit_rows, columns, values))
        self._pending += len(hit_rows)
        if self._pending > 3 * self._keep * len(self._queries):
            self._shrink()

    def columns(self) -> np.ndarray:
        """The columns of those that are kept, int64 (num_queries, keep)."""
        self._shrink()
        return self._hits[0][1].reshape(len(self._queries), self._keep)

    def _shrink(self) -> None:
        rows, columns, values = (np.concatenate(part) for part in zip(*self._hits, strict=True))
        order = np.lexsort((columns, values, rows))
        starts = np.searchsorted(rows[order], np.arange(len(self._queries)))
        best = order[(starts[:, np.newaxis] + np.arange(self._keep)).ravel()]
        self._hits = [(rows[best], columns[best], values[best])]
        self._pending = len(best)
        self._set_limit(values[best].reshape(-1, self._keep)[:, -1])

    def _set_limit(self, halves: np.ndarray) -> None:
        self._limit = halves
        self.furthest = np.sqrt(np.maximum(2.0 * halves + self._squared, 0.0))

    @staticmethod
    def _halves(queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Half of the squared distances, less half of the queries' squares."""
        halves = queries @ codes.T
        return np.subtract(np.einsum("ij,ij->i", codes, codes) / np.float32(2.0), halves, halves)


def _centres(values: np.ndarray, seed: int) -> np.ndarray:
    """Float32 (num_cells, dim), by k-means on a sample."""
    drawn = min(len(values), max(_A_CELL, _SAMPLE_NUMBERS // values.shape[1]))
    number = max(1, min(round(len(values) ** 0.5), drawn // 16))
    drawn = min(drawn, _A_CELL * number)
    rows = np.random.default_rng(seed).permutation(len(values))[:drawn]
    method = cluster.MiniBatchKMeans(
        number, init="random", n_init=1, max_iter=_STEPS, batch_size=_COLUMNS, random_state=seed,
        compute_labels=False, reassignment_ratio=0.0,
    )  # fmt: skip
    # Threads add up in any order, which another run rounds otherwise.
    with threadpoolctl.threadpool_limits(1):
        return method.fit(values[np.sort(rows)]).cluster_centers_.astype(np.float32)


def slices(size: int, step: int = _COLUMNS) -> Iterator[slice]:
    """Slices of so many rows.

    Example:
        >>> list(slices(5, 3))
        [slice(0, 3, None), slice(3, 5, None)]
    """
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def within_cells(cell_of: np.ndarray, rows: int) -> list[slice]:
    """Slices of at most so many rows, each within one cell; cells ascend.

    Example:
        >>> within_cells(np.array([4, 4, 4, 7]), 2)
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    bounds = [0, *(np.flatnonzero(np.diff(cell_of)) + 1).tolist(), len(cell_of)]
    return [
        slice(start, min(start + rows, end))
        for begin, end in itertools.pairwise(bounds)
        for start in range(begin, end, rows)
    ]


def in_threads(work: Callable[[slice], None], blocks: Iterable[slice]) -> None:
    """Does each block, on all processors: one thread a block, as NumPy lets the others run.

    Example:
        >>> done = []
        >>> in_threads(done.append, slices(5, 3))
        >>> len(done)
        2
    """
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        pool = concurrent.futures.ThreadPoolExecutor(_workers())
        try:
            for _ in pool.map(work, blocks):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


def _workers() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
