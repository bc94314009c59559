"""Whether two pictures that fit agree by more than an edge or a shading that both have.

A straight edge fits another one wherever it lies along it, and stripes fit other stripes. So what
changes along them is looked at, and what is left of the fit where one picture is moved.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

# Of detail and of the places where it is compared, in pixels of 64.
_DETAIL, _PLACE, _MOVE = 4, 8, 2
_FAINT = 0.004  # contrast of detail that counts half


def weakest_slope(picture: np.ndarray) -> float:
    """The root mean square change by a pixel, in the direction in which it is least.

    Args:
        picture: float32 (height, width).

    Example:
        >>> weakest_slope(np.tile(np.arange(8.0), (8, 1)))
        0.0
    """
    return float(np.sqrt(max(np.linalg.eigvalsh(_tensor(np.stack(np.gradient(picture))))[0], 0.0)))


def agreement_along_edges(
    one: np.ndarray, other: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The correlation of what changes in the direction in which the pictures change least.

    Args:
        one: float32 (height, width).
        other: the same shape.
        weights: bool or float of the same shape, what counts; None for all of it.

    Returns:
        -1 to 1; 0 where nothing changes.

    Example:
        >>> random = np.random.default_rng(0)
        >>> stripes, (one, other) = 9 * np.sin(np.arange(32)), random.random((2, 32, 32))
        >>> [round(agreement_along_edges(stripes + one, stripes + part)) for part in (one, other)]
        [1, 0]
    """
    slopes = [np.stack(np.gradient(part)) for part in (one, other)]
    if weights is not None:
        slopes = [slope * weights for slope in slopes]
    direction = np.linalg.eigh(_tensor(slopes[0]))[1][:, 0]
    first, second = (np.tensordot(direction, slope, 1) for slope in slopes)
    norm = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / max(norm, 1e-9)


def _tensor(slopes: np.ndarray) -> np.ndarray:
    """The structure tensor of a whole picture: float64 (2, 2)."""
    flat = slopes.reshape(2, -1).astype(np.float64)
    tensor: np.ndarray = flat @ flat.T / flat.shape[1]
    return tensor


class DetailAgreement:
    """How well the detail of two pictures agrees, place by place, faint and strong alike.

    Args:
        one: float32 (height, width), the luma in [0, 1].
        other: the same shape, laid over it.
        side: pixels of the longer side of the pictures, of which these may be parts.

    Example:
        >>> clouds, others = np.random.default_rng(0).random((2, 64, 64), np.float32)
        >>> same, other = (DetailAgreement(clouds, part, 64) for part in (clouds, others))
        >>> round(same.where_detailed, 1), round(abs(other.where_detailed), 1)
        (1.0, 0.0)
        >>> round(same.more_than_moved, 1), round(abs(other.more_than_moved), 1)
        (1.0, 0.0)
    """

    def __init__(self, one: np.ndarray, other: np.ndarray, side: int) -> None:
        pixels = max(1.0, side / 64)
        self._move, size = round(_MOVE * pixels), round(_PLACE * pixels)
        self._mean: Callable[[np.ndarray], np.ndarray] = lambda values: ndimage.uniform_filter(
            values, size, mode="nearest"
        )
        details = [part - ndimage.gaussian_filter(part, _DETAIL * pixels) for part in (one, other)]
        squares = [np.maximum(self._mean(np.square(part)), 0.0) for part in details]
        norms = [np.sqrt(square + _FAINT**2) for square in squares]
        self._details, self._norms = np.stack(details), np.stack(norms)
        self._held = float(np.sqrt(squares[0] * squares[1] / np.square(norms).prod(axis=0)).mean())
        self._still = self._correlation(0, 0)

    @property
    def where_detailed(self) -> float:
        """The mean correlation, -1 to 1, of places each as much as it holds detail."""
        return self._still / max(self._held, 1e-9)

    @property
    def more_than_moved(self) -> float:
        """The mean correlation of all places, less the best with one moved by 2 pixels of 64.

        Where there is no detail it counts as 0. Of a motif that goes on, as stripes do, nothing
        is left.
        """
        by = (-self._move, 0, self._move)
        moves = [(down, right) for down in by for right in by if down or right]
        return self._still - max(self._correlation(*move) for move in moves)

    def _correlation(self, down: int, right: int) -> float:
        height, width = self._details.shape[1:]
        here = _kept(height, down), _kept(width, right)
        there = _kept(height, -down), _kept(width, -right)
        products = self._mean(self._details[0][here] * self._details[1][there])
        return float((products / (self._norms[0][here] * self._norms[1][there])).mean())


def _kept(side: int, by: int) -> slice:
    return slice(max(by, 0), side + min(by, 0))
