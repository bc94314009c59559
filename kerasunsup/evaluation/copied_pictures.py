"""Whether one picture is a copy of another: stored again, resized, moved, cropped, marked.

Two pictures of one size are laid over each other, brightness and contrast of the one are fitted to
the other, and what differs is measured. All limits are differences of pixels in [0, 1]: none
depends on other pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from kerasunsup.evaluation import compared_picture, moved_pictures, picture_agreement, picture_fit
from kerasunsup.evaluation.compared_picture import Picture
from kerasunsup.evaluation.picture_agreement import DetailAgreement
from kerasunsup.evaluation.picture_fit import Fit

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
# times what differs (less by the root of the size). A straight edge fits another anywhere along it.
_LEAST_HOLD = 3.0
# The largest difference over 4 x 4 pixels where moving by a pixel changes less than what differs:
# JPEG and slight noise differ everywhere, edges of two pictures along the edge.
_MOST_LOCAL_OF_EDGE = 0.022
# What changes along the edges of copies correlates so, and their detail, where there is any. Of
# photographs out of focus with other grain the first is 0.05 at most.
_ALONG_EDGES, _AGREEING = 0.2, 0.3
# The same where what differs is as even as what JPEG leaves, and of pictures with a mark.
_ALONG_EDGES_WHERE_EVEN, _AGREEING_WHERE_EVEN = 0.1, 0.45
_ALONG_EDGES_OF_MARKED = 0.3
_STANDS_OUT = 0.1  # correlation of detail, less that with one picture moved
_MOST_MOVED = 3.6  # pixels of 64, at any size
_MOST_SQUEEZED = 0.025  # difference of the scales down and across
_SMALL = 48  # smaller pictures are not scaled: digits that differ by a little would fit
_TINY = 20  # still smaller ones are not moved
_LEAST_SKETCHED = 64  # pixels of the longer side from which sketches tell which are not moved
# Of 1,700 moved, cropped, scaled and noisy copies the sketches differ by 0.66 of the limit at most.
_SKETCH_MARGIN = 1.2
# Under a mark, this share of the 8 x 8 parts must fit, and of those with detail at least so many,
# some of them in the middle.
_FITTING, _LEAST_PARTS, _LEAST_INNER_PARTS = 0.85, 20, 4
_PART_DETAIL, _FAINT_PART_DETAIL = 0.01, 0.003
_PART_DIFFERENCE, _PART_NOISE = 0.35, 0.012


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
    # The smoother one is fitted to the other, so that it does not matter which comes first.
    one, other = sorted((one, other), key=lambda picture: picture.roughness)
    still = picture_fit.laid_over(one.luma, other.luma, np.zeros(2), np.ones(2))
    if still is None:
        return None
    # With brightness as it is: of what is nearly blank, contrast must not be fitted.
    is_equal = all(
        _largest(a - b, 3) <= _ROUNDING for a, b in zip(one.channels, other.channels, strict=True)
    )
    if is_equal or _is_marked(still, one, other):
        return _distance(still)
    if _is_copy(still, one.channels, other.channels) and _is_told(still, one.luma.shape):
        return _distance(still)
    return _distance_of_moved(one, other) if may_move else None


def _distance_of_moved(one: Picture, other: Picture) -> float | None:
    shape = one.luma.shape
    reach = 2 if max(shape) < _SMALL else 3
    moved = picture_fit.best_shift(one, other, reach) if min(shape) >= _TINY else None
    if moved is None:
        return None
    for is_scaled in (False, True)[: 1 + (min(shape) >= _SMALL)]:
        moved = picture_fit.refined(one, other, moved, is_scaled)
        if (
            _is_near(moved, shape)
            and _is_copy(moved, one.channels, other.channels)
            and _is_told_of_moved(moved, shape)
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


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / max(norm, 1e-9)


def _is_copy(fit: Fit, first: np.ndarray, second: np.ndarray) -> bool:
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


def _is_coloured_alike(fit: Fit, first: np.ndarray, second: np.ndarray) -> bool:
    for one, other in zip(first[1:], second[1:], strict=True):
        apart = (
            fit.gain * picture_fit.warped(one, fit.shift, fit.scale)[fit.window] - other[fit.window]
        )
        if abs(float(apart.mean())) > _MOST_HUE or _largest(apart, 5) > _MOST_COLOUR:
            return False
    return True


def _is_marked(fit: Fit, one: Picture, other: Picture) -> bool:
    """Whether the pictures, as they lie, are equal in most parts that hold detail.

    So is one with a watermark; small pictures hold too few parts to tell.
    """
    height, width = fit.residual.shape
    if min(height, width) < _SMALL:
        return False
    # Nothing is fitted: a white mark would move the mean and the contrast.
    held = np.minimum(one.detail_of_parts, other.detail_of_parts)
    differing = np.sqrt(compared_picture.by_parts(np.square(fit.other - fit.moved)))
    is_equal = differing <= _PART_DIFFERENCE * held
    # Faint detail tells where it agrees; that it does not may be noise.
    told = (held >= _PART_DETAIL) | (is_equal & (held >= _FAINT_PART_DETAIL))
    fits = is_equal | (differing <= _PART_NOISE)
    # Two pictures with one frame, or one bar beside them, fit along it.
    if told.sum() < _LEAST_PARTS or told[2:-2, 2:-2].sum() < _LEAST_INNER_PARTS:
        return False
    if fits.mean() < _FITTING:
        return False
    for first, second in zip(one.channels[1:], other.channels[1:], strict=True):
        fits &= np.abs(compared_picture.by_parts(first - second)) <= _MOST_HUE
    if fits[told].mean() < _FITTING or fits.mean() < _FITTING:
        return False
    # Boards or blinds of two pictures are equal in most parts too, and change along themselves.
    where = compared_picture.over_pixels(fits, fit.moved.shape)
    along = picture_agreement.agreement_along_edges(fit.moved, fit.other, where)
    return along >= _ALONG_EDGES_OF_MARKED


def _is_near(fit: Fit, shape: tuple[int, ...]) -> bool:
    """Whether the picture was moved by a few pixels, or cropped by a few and resized."""
    most = _MOST_MOVED * max(1.0, max(shape[:2]) / 64)
    apart = abs(fit.scale[0] - fit.scale[1])
    return bool(np.abs(fit.shift).max() <= most and apart <= _MOST_SQUEEZED)


def _is_told(fit: Fit, shape: tuple[int, ...]) -> bool:
    """Whether pictures that fit as they lie are one: two edges or shadings fit as well."""
    if _holds(fit, 1.0):
        return True
    largest = _largest(fit.residual, 3)
    if min(shape) < _SMALL:
        return largest <= _MOST_LOCAL_OF_EDGE
    detail = DetailAgreement(fit.moved, fit.other, max(shape))
    along = picture_agreement.agreement_along_edges(fit.moved, fit.other)
    if along >= _ALONG_EDGES and detail.where_detailed >= _AGREEING:
        return True
    is_even = largest <= _MOST_LOCAL_OF_EDGE and detail.where_detailed >= _AGREEING_WHERE_EVEN
    if is_even and (along >= _ALONG_EDGES_WHERE_EVEN or largest <= _ROUNDING):
        return True
    return detail.more_than_moved >= _STANDS_OUT


def _is_told_of_moved(fit: Fit, shape: tuple[int, ...]) -> bool:
    """The same of a picture that was moved to fit."""
    if _holds(fit, _LEAST_HOLD / np.sqrt(max(1.0, max(shape) / 64))):
        return True
    if min(shape) < _SMALL:
        return False
    return DetailAgreement(fit.moved, fit.other, max(shape)).more_than_moved >= _STANDS_OUT


def _holds(fit: Fit, least: float) -> bool:
    """Whether moving the picture by a pixel, in any direction, changes it so much more."""
    slope = picture_agreement.weakest_slope(fit.moved)
    return abs(fit.gain) * slope >= least * fit.error


def _distance(fit: Fit) -> float:
    contrast = max(float(fit.other.std()), _ROUNDING)
    return fit.error / contrast


def _largest(difference: np.ndarray, smoothing: int) -> float:
    """The largest root mean square over 4 x 4 pixels, after smoothing; takes (height, width)."""
    smooth = ndimage.uniform_filter(difference, smoothing, mode="nearest")
    squares = ndimage.uniform_filter(np.square(smooth), 4, mode="nearest")
    return float(np.sqrt(max(float(squares.max()), 0.0)))
