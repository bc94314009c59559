"""One picture laid over another of its size: moved, scaled, brightness and contrast fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kerasunsup.evaluation.compared_picture import Picture

_MOST_SCALED = 0.1
_ALIKE_WHEN_MOVED = 0.6  # correlation below which no finer fit is tried


class Fit(NamedTuple):
    """One picture laid over the other: `other` is about gain * `moved` + offset.

    Example:
        >>> ramp = np.tile(np.linspace(0.0, 1.0, 8), (8, 1))
        >>> round(laid_over(ramp, 1.0 - 0.5 * ramp, np.zeros(2), np.ones(2)).gain, 3)
        -0.5
    """

    shift: np.ndarray  # float64 (2,), pixels down and right
    scale: np.ndarray  # float64 (2,)
    window: tuple[slice, slice]  # where both pictures are
    moved: np.ndarray  # float32, the first picture in the window
    other: np.ndarray  # float32, the second one
    gain: float
    residual: np.ndarray  # float32, of the second picture's contrast
    error: float  # its root mean square


def laid_over(
    one: np.ndarray, other: np.ndarray, shift: np.ndarray, scale: np.ndarray
) -> Fit | None:
    """One picture so moved, and its brightness and contrast fitted to the other.

    Args:
        one: float32 (height, width), the luma.
        other: the same shape.
        shift: (2,), pixels down and right.
        scale: (2,).

    Returns:
        The fit; None where less than half of the pictures overlaps.

    Example:
        >>> one = np.random.default_rng(0).random((32, 32), np.float32)
        >>> fit = laid_over(one, 0.5 * one + 0.1, np.zeros(2), np.ones(2))
        >>> round(fit.gain, 3), round(fit.error, 3)
        (0.5, 0.0)
    """
    window = _overlap(one.shape, shift, scale)
    if window is None:
        return None
    moved, target = warped(one, shift, scale)[window], other[window]
    centred = moved - moved.mean()
    wanted = target - target.mean()
    gain = float((centred * wanted).mean() / max(float(np.square(centred).mean()), 1e-9))
    residual = wanted - gain * centred
    error = float(np.sqrt(np.square(residual).mean()))
    return Fit(shift, scale, window, moved, target, gain, residual, error)


def warped(pictures: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Pictures moved and scaled about their middle, linearly interpolated.

    Args:
        pictures: float32 (height, width), or a stack of them.
        shift: (2,), pixels down and right.
        scale: (2,).

    Returns:
        The same shape; what lies outside is not to be used.

    Example:
        >>> warped(np.eye(4), np.array([0.0, 1.0]), np.ones(2))[:, :3].tolist()[1]
        [1.0, 0.0, 0.0]
    """
    if (scale == 1.0).all() and (shift == np.rint(shift)).all():
        if not shift.any():
            return pictures
        return np.roll(pictures, (-shift).astype(int), axis=(-2, -1))  # the rest is no overlap
    for axis in (-2, -1):
        side = pictures.shape[axis]
        middle = (side - 1) / 2
        places = np.clip(
            middle + shift[axis] + scale[axis] * (np.arange(side) - middle), 0, side - 1
        )
        before = np.minimum(places.astype(np.intp), side - 2)
        weights = (places - before).astype(np.float32)
        weights = weights[:, np.newaxis] if axis == -2 else weights
        near = pictures.take(before, axis=axis)
        pictures = near + weights * (pictures.take(before + 1, axis=axis) - near)
    return pictures


def _overlap(
    shape: tuple[int, ...], shift: np.ndarray, scale: np.ndarray
) -> tuple[slice, slice] | None:
    is_still = not shift.any() and (scale == 1.0).all()
    margin = 0.0 if is_still else 2.0  # what was beside the picture was smoothed into its edge
    parts = []
    for side, moved, factor in zip(shape, shift, scale, strict=True):
        middle = (side - 1) / 2
        place = middle + moved + factor * (np.arange(side) - middle)
        own = np.arange(side)  # the other picture ends as well, or is a moved one with a bar
        first, last = np.minimum(place, own), np.maximum(place, own)
        inside = np.flatnonzero((first >= margin - 1e-3) & (last <= side - 1 - margin + 1e-3))
        if len(inside) < 0.6 * side:
            return None
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return parts[0], parts[1]


def best_shift(one: Picture, other: Picture, reach: int) -> Fit | None:
    """The best shift by whole pixels; by two at a time where the pictures are large.

    Args:
        one: the picture that is moved.
        other: of the same shape.
        reach: the most steps, in all directions.

    Returns:
        The fit; None where no shift makes them much alike.

    Example:
        >>> pixels = np.random.default_rng(0).random((32, 32, 3), np.float32)
        >>> moved = Picture(np.roll(pixels, (1, -2), (0, 1)))
        >>> best_shift(Picture(pixels), moved, reach=2).shift.tolist()
        [-1.0, 2.0]
    """
    # A bar that came in where the picture was moved is smoothed into its edge.
    inner = slice(1, -1), slice(1, -1)
    alike = _correlations(one.coarse[inner], other.coarse[inner], reach)
    down, right = np.unravel_index(int(alike.argmax()), alike.shape)
    if alike[down, right] < _ALIKE_WHEN_MOVED:
        return None
    shift = np.array([down - reach, right - reach], float)
    return laid_over(one.luma, other.luma, shift * one.step, np.ones(2))


def _correlations(one: np.ndarray, other: np.ndarray, reach: int) -> np.ndarray:
    """The correlation of what overlaps where one picture is moved by some pixels each way.

    Args:
        one: float32 (height, width).
        other: the same shape.
        reach: the most pixels, in all directions.

    Returns:
        float64 (2 reach + 1, 2 reach + 1): at [a, b] `one[i + a - reach, j + b - reach]` lies on
        `other[i, j]`.
    """
    height, width = one.shape
    one, other = one.astype(np.float64) - one.mean(), other.astype(np.float64) - other.mean()
    moves = np.arange(-reach, reach + 1)
    # Rows and columns of each picture that overlap: those of the other one are moved back.
    rows = np.maximum(moves, 0), height + np.minimum(moves, 0)
    columns = np.maximum(moves, 0), width + np.minimum(moves, 0)
    back_rows, back_columns = ([edge[::-1] for edge in edges] for edges in (rows, columns))
    number = np.outer(rows[1] - rows[0], columns[1] - columns[0])
    views = np.lib.stride_tricks.sliding_window_view(np.pad(one, reach), one.shape)
    products = np.einsum("abij,ij->ab", views, other, optimize=True)
    sum_one, sum_other = (
        _sums(one, rows, columns), _sums(other, back_rows, back_columns)
    )  # fmt: skip
    spread_one = _sums(np.square(one), rows, columns) - np.square(sum_one) / number
    spread_other = _sums(np.square(other), back_rows, back_columns) - np.square(sum_other) / number
    norm = np.sqrt(np.maximum(spread_one, 0.0) * np.maximum(spread_other, 0.0))
    alike: np.ndarray = (products - sum_one * sum_other / number) / np.maximum(norm, 1e-9)
    return alike


def _sums(
    values: np.ndarray, rows: Sequence[np.ndarray], columns: Sequence[np.ndarray]
) -> np.ndarray:
    """The sums over all rectangles of some rows (first, end) and some columns."""
    summed = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    summed[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    bands = summed[rows[1]] - summed[rows[0]]
    sums: np.ndarray = bands[:, columns[1]] - bands[:, columns[0]]
    return sums


def refined(one: Picture, other: Picture, fit: Fit, is_scaled: bool) -> Fit:
    """The fit after some steps of Gauss-Newton over shift, scale, gain and offset.

    Args:
        one: the picture that is moved.
        other: of the same shape.
        fit: where to begin.
        is_scaled: whether it may be scaled too.

    Example:
        >>> rows, columns = np.mgrid[:40, :40]
        >>> waves = [np.sin((rows + by) / 4) * np.cos(columns / 5) for by in (0, 0.5)]
        >>> one, other = (Picture(np.stack([wave] * 3, axis=-1) / 2 + 0.5) for wave in waves)
        >>> refined(one, other, best_shift(one, other, 2), is_scaled=False).shift.round(1).tolist()
        [0.5, 0.0]
    """
    places = [np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in one.luma.shape]
    for _ in range(6):
        rows, columns = fit.window
        by_shift = fit.gain * warped(one.slopes, fit.shift, fit.scale)[:, rows, columns]
        changes = [*by_shift]
        if is_scaled:
            changes += [
                by_shift[0] * places[0][rows, np.newaxis],
                by_shift[1] * places[1][columns],
            ]
        changes += [fit.moved - fit.moved.mean(), np.ones_like(fit.moved)]
        matrix = np.stack([part.ravel() for part in changes], axis=1).astype(np.float64)
        normal = matrix.T @ matrix + 1e-7 * np.eye(matrix.shape[1])
        step = np.linalg.solve(normal, matrix.T @ fit.residual.ravel())
        scale = fit.scale
        if is_scaled:
            scale = np.clip(
                scale + np.clip(step[2:4], -0.03, 0.03), 1 - _MOST_SCALED, 1 + _MOST_SCALED
            )
        new = laid_over(one.luma, other.luma, fit.shift + np.clip(step[:2], -1.0, 1.0), scale)
        if new is None or new.error >= fit.error:
            return fit
        is_last = new.error > 0.995 * fit.error
        fit = new
        if is_last:
            return fit
    return fit
