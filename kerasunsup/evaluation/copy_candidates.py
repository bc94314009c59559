"""Which pictures may be copies of one: by perceptual hashes and by the lowest frequencies.

Of each picture a sketch of 32 x 32 pixels is kept. Hashes are found by sorted stretches of their
bits; frequencies are compared with all others by products of matrices: a k-d tree of 36 numbers
leaves out next to none of them, and takes five times as long for what it compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import fft

SIDE = 32  # of a sketch, pixels

_FREQUENCIES = 8  # down and right, of which those are used whose sum is below it
# Distance of the frequencies: of copies, moved by 5 % of a side or cropped by 3 %, 0.32 at most.
# Of digits 2 pairs in 1,000 are so near, of photographs 2 in 10,000.
_NEAR = 0.34
_LEAST_CONTRAST = 0.3  # norm of the frequencies below which they are not blown up; in [0, 28]
_HASH_BITS = 7  # of 64 that may differ: one of four stretches then differs by one bit at most
_STRETCH = 16  # bits
_REACH = 2  # pixels of a sketch by which a picture is moved when it is looked up, and its edge
# Correlation of two sketches, best of 25 shifts: small ones keep more of it when they are moved.
_LEAST_ALIKE, _LEAST_ALIKE_OF_SMALL, _LEAST_ALIKE_OF_TINY = 0.7, 0.9, 0.8
_LEAST_ALIKE_OF_ONE_SIZE = 0.94  # of two small ones
_SMALL, _TINY = 48, 20  # shorter sides, pixels
_BLANK = 0.05  # norm of a weighted sketch, of which rounding alone makes 0.02
_BLOCK = 65536  # pictures whose frequencies are compared at a time
_ROUNDING = 1e-4  # of half a squared distance in float32
_AT_A_TIME = 256  # candidates; the next ones are looked at where some of these are copies

Hash = Callable[[np.ndarray], np.ndarray]  # uint8 (n, height, width) -> uint64 (n,)
# The position of a picture, others -> of each the distance if it is a copy, else None.
Judge = Callable[[int, Sequence[int]], Iterator[float | None]]


class CopyCandidates:
    """Finds the pictures that may be copies of one.

    Args:
        sketches: uint8 (num_pictures, 32, 32), the luma of each picture at this size.
        shapes: int (num_pictures, 2), height and width of each picture, pixels.
        hashes: perceptual hashes of grey pictures, uint8 (n, 28, 28) -> uint64 (n,).

    Example:
        >>> sketches = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
        >>> sketches[2] = sketches[0]
        >>> hashes = lambda pictures: pictures[:, 0, 0].astype(np.uint64)
        >>> candidates = CopyCandidates(sketches, np.full((3, 2), 32), hashes)
        >>> candidates.alike(0, candidates.of(0, np.full(3, True))).tolist()
        [2]
    """

    def __init__(self, sketches: np.ndarray, shapes: np.ndarray, hashes: Hash) -> None:
        self._sketches, self._shapes, self._hash_of = sketches, shapes, hashes
        self._sides = shapes.min(axis=1)
        self._hashes = hashes(_inner(sketches))
        blocks = range(0, len(sketches), 4096)
        self._frequencies = np.concatenate(
            [_frequencies(_inner(sketches[start : start + 4096])) for start in blocks]
        )
        stretches = [_stretch(self._hashes, number) for number in range(64 // _STRETCH)]
        self._orders = [np.argsort(stretch, kind="stable") for stretch in stretches]
        every = np.arange(1 + (1 << _STRETCH))
        self._starts = [  # of the pictures whose stretch is a number, in the order
            np.searchsorted(stretch[order], every)
            for stretch, order in zip(stretches, self._orders, strict=True)
        ]
        self.keep(np.full(len(sketches), True))

    def keep(self, is_left: np.ndarray) -> None:
        """Looks only for these pictures from now on: bool (num_pictures,)."""
        self._rows = np.flatnonzero(is_left)
        self._left = self._frequencies[self._rows]
        self._halved = np.square(self._left).sum(axis=1) / 2.0

    def of(self, position: int, is_left: np.ndarray) -> np.ndarray:
        """Positions of the pictures that may be copies of one, the likeliest first.

        Args:
            position: of the picture.
            is_left: bool (num_pictures,), which others come into question.
        """
        moved = _moved(self._sketches[position])
        frequencies = _frequencies(moved)
        by_hash = self._with_hash(self._hash_of(moved))
        others = np.union1d(self._with_frequencies(frequencies), by_hash).astype(np.int64)
        others = others[is_left[others] & (others != position)]
        others = others[_have_shape(self._shapes[others], self._shapes[position])]
        if not len(others):
            return others
        apart = self._frequencies[others, np.newaxis] - frequencies
        nearest = np.square(apart).sum(axis=2).min(axis=1)
        return others[np.argsort(nearest, kind="stable")]

    def alike(self, position: int, others: np.ndarray) -> np.ndarray:
        """Those of the others whose sketch is alike, moved by two of its pixels at most."""
        if not len(others):
            return others
        views = _unit(_moved(self._sketches[position]))
        inner = _unit(_inner(self._sketches[others]))
        sides = np.minimum(self._sides[others], self._sides[position])
        is_one_size = (self._shapes[others] == self._shapes[position]).all(axis=1)
        of_small = np.where(is_one_size, _LEAST_ALIKE_OF_ONE_SIZE, _LEAST_ALIKE_OF_SMALL)
        limits = (np.full(len(others), _LEAST_ALIKE_OF_TINY), of_small)
        least = np.select([sides < _TINY, sides < _SMALL], limits, _LEAST_ALIKE)
        # Nearly blank sketches correlate by their rounding alone: the pixels decide.
        is_blank = np.minimum(np.linalg.norm(inner, axis=1), np.linalg.norm(views[0])) < 0.99
        alike: np.ndarray = others[((inner @ views.T).max(axis=1) >= least) | is_blank]
        return alike

    def _with_frequencies(self, frequencies: np.ndarray) -> np.ndarray:
        """Pictures that are left and near one of some frequencies, float32 (n, 36)."""
        halved = np.square(frequencies).sum(axis=1, keepdims=True) / 2.0 - _NEAR**2 / 2.0
        found = [np.empty(0, np.int64)]
        for start in range(0, len(self._rows), _BLOCK):
            some = self._left[start : start + _BLOCK]
            # Half the squared distance is the halves of both squares less the product.
            apart = self._halved[start : start + _BLOCK] - (frequencies @ some.T - halved).max(0)
            maybe = start + np.flatnonzero(apart <= _ROUNDING)
            exact = self._left[maybe, np.newaxis].astype(np.float64) - frequencies
            is_near = np.square(exact).sum(axis=2).min(axis=1) <= _NEAR**2
            found.append(self._rows[maybe[is_near]])
        return np.concatenate(found)

    def _with_hash(self, hashes: np.ndarray) -> np.ndarray:
        """Pictures of whose hash at most seven bits differ from one of some hashes."""
        found = [np.empty(0, np.int64)]
        for number, (order, starts) in enumerate(zip(self._orders, self._starts, strict=True)):
            wanted = np.unique(_stretch(hashes, number)[:, np.newaxis] ^ _ONE_BIT_OFF)
            wanted = wanted[starts[wanted + 1] > starts[wanted]]
            found += [order[starts[some] : starts[some + 1]] for some in wanted]
        others = np.unique(np.concatenate(found))
        differing = np.bitwise_count(self._hashes[others, np.newaxis] ^ hashes).min(axis=1)
        return others[differing <= _HASH_BITS]


_ONE_BIT_OFF = np.array([0, *(1 << bit for bit in range(_STRETCH))], np.int64)


def star_groups(
    order: Sequence[int],
    candidates: CopyCandidates,
    judge: Judge,
    is_member: np.ndarray,
    is_leader: np.ndarray,
    advance: Callable[[], object] = lambda: None,
) -> list[tuple[int, list[tuple[int, float]]]]:
    """Groups of copies, each around the one that comes first: all others are copies of that one.

    So a chain of small changes leads nowhere.

    Args:
        order: the positions of all pictures, those first that lead a group rather than follow.
        candidates: finds what may be a copy.
        judge: says what is.
        is_member: bool (num_pictures,), which pictures may follow in a group.
        is_leader: bool (num_pictures,), which may lead one.
        advance: called once for each picture.

    Returns:
        (leader, [(member, distance)]) of each group of two or more, in the order of the leaders.

    Example:
        >>> sketches = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
        >>> sketches[2] = sketches[0]
        >>> hashes = lambda pictures: pictures[:, 0, 0].astype(np.uint64)
        >>> candidates = CopyCandidates(sketches, np.full((3, 2), 32), hashes)
        >>> judge = lambda position, others: iter([0.0] * len(others))
        >>> everyone = np.full(3, True)
        >>> star_groups([0, 1, 2], candidates, judge, everyone, everyone)
        [(0, [(2, 0.0)])]
    """
    is_left = is_member.copy()
    kept = int(is_left.sum())
    groups = []
    for leader in order:
        advance()
        if not is_leader[leader] or (is_member[leader] and not is_left[leader]):
            continue
        is_left[leader] = False
        members: list[tuple[int, float]] = []
        others = candidates.of(leader, is_left)
        for start in range(0, len(others), _AT_A_TIME):
            near = candidates.alike(leader, others[start : start + _AT_A_TIME]).tolist()
            distances = zip(near, judge(leader, near), strict=True) if near else ()
            copies = [(other, distance) for other, distance in distances if distance is not None]
            if not copies:
                break
            members += copies
        if members:
            is_left[[other for other, _ in members]] = False
            groups.append((leader, sorted(members, key=lambda member: (member[1], member[0]))))
            left = int(is_left.sum())
            if left < kept // 2:  # many copies of one picture would be found by all of them
                candidates.keep(is_left)
                kept = left
    return groups


def _inner(sketches: np.ndarray) -> np.ndarray:
    """The sketches without their edge, where moving and cropping bring in something new."""
    return sketches[:, _REACH:-_REACH, _REACH:-_REACH]


def _moved(sketch: np.ndarray) -> np.ndarray:
    """What `_inner` gives of a sketch moved by up to two pixels each way: uint8 (25, 28, 28)."""
    side = len(sketch) - 2 * _REACH
    views = np.lib.stride_tricks.sliding_window_view(sketch, (side, side))
    return np.ascontiguousarray(views.reshape(-1, side, side))


def _weighted(sketches: np.ndarray) -> np.ndarray:
    """Float32 of the same shape: less the mean, and weaker away from the middle."""
    side = sketches.shape[-1]
    wave = np.sin(np.pi * np.arange(1, side + 1) / (side + 1), dtype=np.float32)
    weights = np.outer(wave, wave)
    values = sketches.astype(np.float32) / np.float32(255.0)
    values -= (values * weights).sum(axis=(1, 2), keepdims=True) / weights.sum()
    return values * weights


def _frequencies(sketches: np.ndarray) -> np.ndarray:
    """Float32 (n, 36): the lowest frequencies of each, of one norm where there is contrast."""
    values = fft.dctn(_weighted(sketches), axes=(1, 2), norm="ortho")
    down, right = np.mgrid[:_FREQUENCIES, :_FREQUENCIES]
    # Finer ones are weaker in pictures, and tell as much.
    lowest = values[:, :_FREQUENCIES, :_FREQUENCIES] * np.sqrt(1.0 + np.hypot(down, right))
    lowest = lowest[:, down + right < _FREQUENCIES]
    norms = np.linalg.norm(lowest, axis=1, keepdims=True)
    return (lowest / np.maximum(norms, _LEAST_CONTRAST)).astype(np.float32)


def _unit(sketches: np.ndarray) -> np.ndarray:
    """Float32 (n, pixels), weighted, of length 1; shorter where it is nearly blank."""
    flat = _weighted(sketches).reshape(len(sketches), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), _BLANK)


def _stretch(hashes: np.ndarray, number: int) -> np.ndarray:
    """The bits of a stretch of each hash, as a number."""
    shift, mask = np.uint64(_STRETCH * number), np.uint64((1 << _STRETCH) - 1)
    stretch: np.ndarray = ((hashes >> shift) & mask).astype(np.int64)
    return stretch


def _have_shape(shapes: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Which pictures have the proportions of one, but for a crop of 6 % of a side."""
    ratios = np.log(shapes[:, 0] / shapes[:, 1]) - np.log(shape[0] / shape[1])
    # A side is rounded to whole pixels.
    rounding = 1.0 / shapes.min(axis=1) + 1.0 / shape.min()
    near: np.ndarray = np.abs(ratios) <= np.maximum(0.06, rounding)
    return near
