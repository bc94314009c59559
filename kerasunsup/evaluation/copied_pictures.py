"""Whether one picture is a copy of another: stored again, resized, moved, cropped, marked.

Two pictures of one size are laid over each other, brightness and contrast of the one are fitted to
the other, and what differs is measured. All limits are differences of pixels in [0, 1]: none
depends on other pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from kerasunsup.evaluation import compared_picture, moved_pictures
from kerasunsup.evaluation.compared_picture import Picture

# Of 5,000 digits the two most alike differ by 0.123 of their contrast after they were moved onto
# each other. JPEG of quality 50 changes a digit by 0.1 of its contrast at most.
_MOST_OF_CONTRAST = 0.105
# What JPEG and slight noise change however small the contrast is: in small pictures, in others.
_NOISE_OF_SMALL, _NOISE = 0.014, 0.018
_MOST_LOCAL = 0.042  # largest difference of the luma over 4 x 4 pixels, root mean square
_MOST_COLOUR = 0.11  # the same of the colour differences, which JPEG keeps at half the size
_MOST_HUE = 0.03  # mean difference of the colour over all pixels
_ROUNDING = 1.5 / 255  # pictures that differ by no more are copies, however faint they are
# Correlation of what is left without the shading: two skies have one shading and other clouds.
_LEAST_DETAIL = 0.75
_GAIN = (0.5, 2.0)  # contrast of the one in parts of the other's
# A picture may be moved where moving it by a pixel of 64 in any direction changes it by so many
# times what differs. A straight edge fits another one wherever it lies along it.
_LEAST_HOLD = 3.0
# The largest difference over 4 x 4 pixels where moving by a pixel changes less than what differs:
# JPEG and slight noise differ everywhere, edges of two pictures along the edge.
_MOST_LOCAL_OF_EDGE = 0.022
_MOST_MOVED = 3.6  # pixels of 64, at any size
_MOST_SCALED, _MOST_SQUEEZED = 0.1, 0.025
_ALIKE_WHEN_MOVED = 0.6  # correlation below which no finer fit is tried
_SMALL = 48  # smaller pictures are not scaled: digits that differ by a little would fit
_TINY = 20  # still smaller ones are not moved
_LEAST_SKETCHED = 64  # pixels of the longer side from which sketches tell which are not moved
# Of 1,700 moved, cropped, scaled and noisy copies the sketches differ by 0.66 of the limit at most.
_SKETCH_MARGIN = 1.2
# Under a mark, this share of the 8 x 8 parts must fit, and of those with detail, at least so many.
_FITTING, _LEAST_PARTS = 0.85, 20
_PART_DETAIL, _PART_DIFFERENCE, _PART_NOISE = 0.01, 0.35, 0.012


class _Fit(NamedTuple):
    """One picture laid over the other: `other` is about gain * `moved` + offset."""

    shift: np.ndarray  # float64 (2,), pixels down and right
    scale: np.ndarray  # float64 (2,)
    window: tuple[slice, slice]  # where both pictures are
    moved: np.ndarray  # float32, the first picture in the window
    other: np.ndarray  # float32, the second one
    gain: float
    residual: np.ndarray  # float32, of the second picture's contrast
    error: float  # its root mean square


def copy_distance(one: np.ndarray, other: np.ndarray) -> float | None:
    """How much two copies of one picture differ; None where they are no copies.

    Args:
        one: float32 (height, width, 3) in [0, 1].
        other: the same shape.

    Returns:
        The root mean square of what differs after moving and fitting, >= 0, in parts of the
        contrast (standard deviation of the luma).

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> picture = np.random.default_rng(0).random((32, 32, 3), np.float32)
        >>> round(copy_distance(picture, 0.8 * picture), 3), copy_distance(picture, picture[::-1])
        (0.0, None)
    """
    if one.shape != other.shape or one.ndim != 3 or one.shape[-1] != 3:
        raise ValueError(f"two pictures (h, w, 3) of one size, not {one.shape} and {other.shape}")
    return distance_of_copies(Picture(one), Picture(other))


def distance_of_copies(one: Picture, other: Picture, *, may_move: bool = True) -> float | None:
    """As `copy_distance`, of pictures that are compared with several.

    Args:
        one: the picture.
        other: one of the same shape.
        may_move: whether it may be the other one moved, by `may_be_moved`; False saves most of the
            time.

    Example:
        >>> pixels = np.random.default_rng(0).random((32, 32, 3), np.float32)
        >>> one, moved = Picture(pixels), Picture(np.roll(pixels, 1, axis=1))
        >>> distance_of_copies(one, moved, may_move=False) is None
        True
    """
    still = _fit(one.luma, other.luma, np.zeros(2), np.ones(2))
    if still is None:
        return None
    # With brightness as it is: of what is nearly blank, contrast must not be fitted.
    is_equal = all(
        _largest(a - b, 3) <= _ROUNDING for a, b in zip(one.channels, other.channels, strict=True)
    )
    if is_equal or _is_marked(still, one, other):
        return _distance(still)
    if _is_copy(still, one.channels, other.channels) and (
        _holds(still, 1.0) or _largest(still.residual, 3) <= _MOST_LOCAL_OF_EDGE
    ):
        return _distance(still)
    return _distance_of_moved(one, other) if may_move else None


def _distance_of_moved(one: Picture, other: Picture) -> float | None:
    shape = one.luma.shape
    pixels = max(1.0, max(shape) / 64)  # that are one of 64
    moved = _start(one, other) if min(shape) >= _TINY else None
    if moved is None:
        return None
    for is_scaled in (False, True)[: 1 + (min(shape) >= _SMALL)]:
        moved = _refined(one, other, moved, is_scaled)
        if (
            _is_near(moved, shape)
            and _holds(moved, _LEAST_HOLD / pixels)
            and _is_copy(moved, one.channels, other.channels)
        ):
            return _distance(moved)
    return None


def may_be_moved(one: Picture, others: Sequence[Picture]) -> np.ndarray:
    """Which of the others may be the picture moved, cropped or scaled by a little.

    It takes as long as a few comparisons, and tells of most others that they are none.

    Args:
        one: the picture.
        others: of the same shape, one or more.

    Returns:
        bool (num_others,).

    Example:
        >>> one, other = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
        >>> may_be_moved(Picture(one), [Picture(one), Picture(other)]).tolist()[0]
        True
    """
    if min(one.luma.shape) < _SMALL or max(one.luma.shape) < _LEAST_SKETCHED:
        return np.ones(len(others), bool)
    moves = moved_pictures.MovedPicture(one.sketch)
    least = moves.least_differences(np.stack([other.sketch for other in others]))
    may_be: np.ndarray = least <= _SKETCH_MARGIN * max(
        _MOST_OF_CONTRAST * float(one.luma.std()), _NOISE
    )
    return may_be


# --------------------------------------------------------------------------------------------- fit


def _fit(one: np.ndarray, other: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> _Fit | None:
    """The pictures so moved, brightness and contrast fitted; None where less than half overlaps."""
    window = _overlap(one.shape, shift, scale)
    if window is None:
        return None
    moved, target = _warped(one, shift, scale)[window], other[window]
    centred = moved - moved.mean()
    wanted = target - target.mean()
    gain = float((centred * wanted).mean() / max(float(np.square(centred).mean()), 1e-9))
    residual = wanted - gain * centred
    error = float(np.sqrt(np.square(residual).mean()))
    return _Fit(shift, scale, window, moved, target, gain, residual, error)


def _warped(pictures: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Pictures moved and scaled about their middle, linearly interpolated.

    Args:
        pictures: float32 (height, width), or a stack of them.
        shift: (2,), pixels down and right.
        scale: (2,).
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
        inside = np.flatnonzero((place >= margin - 1e-3) & (place <= side - 1 - margin + 1e-3))
        if len(inside) < 0.6 * side:
            return None
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return parts[0], parts[1]


def _start(one: Picture, other: Picture) -> _Fit | None:
    """The best shift by whole pixels; by two at a time where the pictures are large."""
    reach = 2 if max(one.luma.shape) < _SMALL else 3
    alike = _correlations(one.coarse, other.coarse, reach)
    down, right = np.unravel_index(int(alike.argmax()), alike.shape)
    if alike[down, right] < _ALIKE_WHEN_MOVED:
        return None
    shift = np.array([down - reach, right - reach], float)
    return _fit(one.luma, other.luma, shift * one.step, np.ones(2))


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


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / max(norm, 1e-9)


def _refined(one: Picture, other: Picture, fit: _Fit, is_scaled: bool) -> _Fit:
    """The fit after some steps of Gauss-Newton over shift, scale, gain and offset."""
    places = [np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in one.luma.shape]
    for _ in range(6):
        rows, columns = fit.window
        by_shift = fit.gain * _warped(one.slopes, fit.shift, fit.scale)[:, rows, columns]
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
        new = _fit(one.luma, other.luma, fit.shift + np.clip(step[:2], -1.0, 1.0), scale)
        if new is None or new.error >= fit.error:
            return fit
        is_last = new.error > 0.995 * fit.error
        fit = new
        if is_last:
            return fit
    return fit


# ------------------------------------------------------------------------------------------- judge


def _is_copy(fit: _Fit, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether what differs is within the limits, all over and everywhere, in luma and colour."""
    if not _GAIN[0] <= fit.gain <= _GAIN[1]:
        return False
    # In the brightness of the paler picture faint differences would not count.
    strength = min(fit.gain, 1.0)
    contrast = float(fit.moved.std())
    noise = _NOISE_OF_SMALL if min(fit.moved.shape) < _SMALL else _NOISE
    if fit.error / strength > max(_MOST_OF_CONTRAST * contrast, noise):
        return False
    if _largest(fit.residual, 3) / strength > _MOST_LOCAL:
        return False
    if not _is_coloured_alike(fit, first, second):
        return False
    sigma = max(2.0, max(fit.moved.shape) / 8)
    details = [part - ndimage.gaussian_filter(part, sigma) for part in (fit.moved, fit.other)]
    return _correlation(*details) >= _LEAST_DETAIL


def _is_coloured_alike(fit: _Fit, first: np.ndarray, second: np.ndarray) -> bool:
    for one, other in zip(first[1:], second[1:], strict=True):
        apart = fit.gain * _warped(one, fit.shift, fit.scale)[fit.window] - other[fit.window]
        if abs(float(apart.mean())) > _MOST_HUE or _largest(apart, 5) > _MOST_COLOUR:
            return False
    return True


def _is_marked(fit: _Fit, one: Picture, other: Picture) -> bool:
    """Whether the pictures, as they lie, are equal in most parts that hold detail.

    So is one with a watermark; small pictures hold too few parts to tell.
    """
    height, width = fit.residual.shape
    if min(height, width) < _SMALL or not _GAIN[0] <= fit.gain <= _GAIN[1]:
        return False
    # Nothing is fitted: a white mark would move the mean and the contrast.
    held = one.detail_of_parts
    told = held >= _PART_DETAIL
    if told.sum() < _LEAST_PARTS:
        return False
    differing = np.sqrt(compared_picture.by_parts(np.square(fit.other - fit.moved)))
    fits = differing <= np.maximum(_PART_DIFFERENCE * held, _PART_NOISE)
    if fits.mean() < _FITTING:
        return False
    for first, second in zip(one.channels[1:], other.channels[1:], strict=True):
        fits &= np.abs(compared_picture.by_parts(first - second)) <= _MOST_HUE
    return bool(fits[told].mean() >= _FITTING and fits.mean() >= _FITTING)


def _is_near(fit: _Fit, shape: tuple[int, ...]) -> bool:
    """Whether the picture was moved by a few pixels, or cropped by a few and resized."""
    most = _MOST_MOVED * max(1.0, max(shape[:2]) / 64)
    apart = abs(fit.scale[0] - fit.scale[1])
    return bool(np.abs(fit.shift).max() <= most and apart <= _MOST_SQUEEZED)


def _holds(fit: _Fit, least: float) -> bool:
    """Whether moving the picture by a pixel, in any direction, changes it so much more."""
    down, right = np.gradient(fit.moved)
    across = (down * right).mean()
    tensor = np.array([[np.square(down).mean(), across], [across, np.square(right).mean()]])
    weakest = max(float(np.linalg.eigvalsh(tensor)[0]), 0.0)
    return abs(fit.gain) * np.sqrt(weakest) >= least * fit.error


def _distance(fit: _Fit) -> float:
    contrast = max(float(fit.other.std()), _ROUNDING)
    return fit.error / contrast


def _largest(difference: np.ndarray, smoothing: int) -> float:
    """The largest root mean square over 4 x 4 pixels, after smoothing; takes (height, width)."""
    smooth = ndimage.uniform_filter(difference, smoothing, mode="nearest")
    squares = ndimage.uniform_filter(np.square(smooth), 4, mode="nearest")
    return float(np.sqrt(max(float(squares.max()), 0.0)))
