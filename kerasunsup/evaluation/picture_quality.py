"""How sharp, bright, varied and colourful a picture is, and what is too little beside the others.

A measure alone seldom tells a fault: a digit on black is mostly dark, a drawing on white mostly
light, an X-ray never sharp. So what is called too low must be low in itself and also stand far
below the other pictures of its set.
"""

from __future__ import annotations

import numpy as np

# Edges are where the gradient reaches a quarter of the strongest one, which a thousandth of the
# pixels surpass, and at least two of 255 levels a pixel: below it rounding to whole levels is seen.
_SHARE_OF_STRONGEST, _STRONGEST, _LEAST_LEVELS = 0.25, 0.999, 2.0
# Brightness is counted in steps so wide: blank scans differ by no more.
_LEVELS_A_STEP = 8
# In fewer pictures quartiles and tenths mean nothing.
_ENOUGH = 10
# For values of a normal distribution, three standard deviations below the median in standard
# deviations below the upper quartile (3 + 0.6745), and the distance of the upper tenth from it.
_DEVIATIONS, _QUARTILE_TO_TENTH = 3.67, 0.607
# Quartile ranges from the median: Tukey's outer fence, three of them beyond a quartile. A normal
# distribution has two in a million beyond it, and 7 in a thousand beyond the inner fence of 1.5.
_OUTER_FENCE = 3.5


def sharpness(luma: np.ndarray) -> float:
    """Mean square of the Laplacian, in parts of that of the gradient, over the edges.

    The square of the Laplacian alone grows with contrast and with the number of edges, so that it
    tells a plain picture from a busy one better than a blurred one from a sharp one. Divided by the
    gradient's it follows from the width of the edges: an edge blurred by a Gaussian of sigma pixels
    has about 1 / (1 + 2 sigma^2). The picture is smoothed by (1, 2, 1) / 4 in both directions
    before, as otherwise rounding to 255 levels looks like detail.

    Args:
        luma: uint8 (height, width).

    Returns:
        The ratio, >= 0, no unit: 0.8 for straight edges between two pixels, more for thin lines and
        texture, 0 where no edge is strong enough to be seen. NaN for sides below 5 pixels.

    Source:
        Pech-Pacheco et al., 2000, the variance of the Laplacian; the division is ours.

    Example:
        >>> edge = np.repeat(np.array([0] * 8 + [200] * 8, np.uint8)[None], 16, axis=0)
        >>> round(sharpness(edge), 1)
        0.8
    """
    if min(luma.shape) < 5:
        return float("nan")
    smooth = luma.astype(np.float32)
    smooth = smooth[:-2] + 2.0 * smooth[1:-1] + smooth[2:]
    smooth = (smooth[:, :-2] + 2.0 * smooth[:, 1:-1] + smooth[:, 2:]) / np.float32(16.0)
    middle, above, below = smooth[1:-1, 1:-1], smooth[:-2, 1:-1], smooth[2:, 1:-1]
    left, right = smooth[1:-1, :-2], smooth[1:-1, 2:]
    gradient = (np.square(below - above) + np.square(right - left)).ravel() / 4.0
    rank = int(_STRONGEST * (gradient.size - 1))
    strongest = np.partition(gradient, rank)[rank]
    is_edge = gradient >= max(_SHARE_OF_STRONGEST**2 * strongest, _LEAST_LEVELS**2)
    if not is_edge.any():
        return 0.0
    laplacian = (above + below + left + right - 4.0 * middle).ravel()
    squares = np.square(laplacian[is_edge]).sum(dtype=np.float64)
    return float(squares / gradient[is_edge].sum(dtype=np.float64))


def histogram(luma: np.ndarray) -> np.ndarray:
    """How many pixels have each brightness: int64 (256,) of uint8 (height, width).

    Example:
        >>> histogram(np.array([[0, 2], [2, 2]], np.uint8))[:3].tolist()
        [1, 0, 3]
    """
    return np.bincount(luma.ravel(), minlength=256)


def percentile(counts: np.ndarray, share: float) -> float:
    """The smallest brightness, in [0, 1], that this share of the pixels does not exceed.

    Args:
        counts: int (256,), of `histogram`.
        share: > 0 and <= 1.

    Example:
        >>> percentile(histogram(np.array([[0, 51], [255, 255]], np.uint8)), 0.5)
        0.2
    """
    below = np.cumsum(counts)
    return float(np.searchsorted(below, share * below[-1]) / 255.0)


def entropy(counts: np.ndarray) -> float:
    """Entropy of the brightness in bits, 0 to 5: 0 where all pixels are alike, 1 for two halves.

    Brightness is counted in steps of 8 of 255 levels, the middle one around the median, so that
    rounding and faint noise on a blank picture count as nothing.

    Args:
        counts: int (256,), of `histogram`.

    Example:
        >>> entropy(histogram(np.array([[0, 255]], np.uint8)))
        1.0
    """
    median = round(percentile(counts, 0.5) * 255.0)
    # The first step lies far enough down that none is negative.
    steps = (np.arange(256) - median + _LEVELS_A_STEP // 2) // _LEVELS_A_STEP + 256
    in_steps = np.bincount(steps, weights=counts)
    shares = in_steps[in_steps > 0] / in_steps.sum()
    return float(max(0.0, -(shares * np.log2(shares)).sum()))


def colour_range(picture: np.ndarray) -> int:
    """The largest difference, of 255 levels, between two channels of one pixel; 0 for grey.

    Args:
        picture: uint8 (height, width, 1|3).

    Example:
        >>> colour_range(np.array([[[10, 20, 40]]], np.uint8))
        30
    """
    if picture.shape[-1] == 1:
        return 0
    red, green, blue = (picture[..., channel] for channel in range(3))
    highest = np.maximum(np.maximum(red, green), blue)
    return int((highest - np.minimum(np.minimum(red, green), blue)).max(initial=0))


def too_low(values: np.ndarray, limit: float, gap: float) -> np.ndarray:
    """Which values are low in themselves, and far below those of the set.

    Ten or more values are compared with the upper quartile: a value is far below where a normal
    distribution with that quartile and the upper tenth has it more than three standard deviations
    below its median, and by the gap at least. The lower half of the values is not asked, as it may
    consist of faults.

    Args:
        values: float (n,); NaN where nothing was measured.
        limit: only values below it are called too low.
        gap: the least distance from the upper quartile, > 0.

    Returns:
        bool (n,).

    Example:
        >>> int(too_low(np.array([0.1, *[0.9] * 12]), limit=0.3, gap=0.2).sum())
        1
    """
    known = values[np.isfinite(values)]
    if len(known) >= _ENOUGH:
        quartile, tenth = np.percentile(known, [75, 90])
        spread = (tenth - quartile) / _QUARTILE_TO_TENTH
        limit = min(limit, quartile - max(gap, _DEVIATIONS * spread))
    return np.nan_to_num(values, nan=np.inf) < limit


def far_from_median(values: np.ndarray, gap: float) -> np.ndarray:
    """Which values differ from the median by more than the gap and 3.5 quartile ranges.

    Args:
        values: float (n,).
        gap: the least distance from the median, > 0.

    Returns:
        bool (n,).

    Example:
        >>> far_from_median(np.array([1.0, 1.0, 1.0, 4.0]), gap=2.0).tolist()
        [False, False, False, True]
    """
    if not len(values):
        return np.zeros(0, bool)
    lower, median, upper = np.percentile(values, [25, 50, 75])
    # What is equal to the gap but for rounding is no further away.
    return np.abs(values - median) > max(gap, _OUTER_FENCE * (upper - lower)) + 1e-9
