"""Which pictures are certainly not one picture moved a little, told of many at once.

All are looked at as sketches of 32 pixels. Every move and scaling that a copy may have is nearly a
sum of a few pictures: of the sketch at a step of whole pixels and of its slopes. What of another
sketch is no such sum remains different however the picture is moved.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SIDE = 32  # longer side of a sketch, pixels
_REACH = 2  # pixels that a picture may be moved by
_SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)
_EDGE = 4  # pixels: beyond them, a moved or scaled picture may have ended
_LEAST = 16  # shorter side of a sketch, in pixels, below which too little is left
_RIDGE = 1e-5
_SMOOTHING = 0.8  # pixels of the sketch


def sketch(luma: np.ndarray) -> np.ndarray:
    """A picture at 32 pixels for its longer side, or as it is where it is smaller.

    Args:
        luma: float32 (height, width).

    Returns:
        float32 (rows, columns).

    Example:
        >>> sketch(np.zeros((96, 128), np.float32)).shape
        (24, 32)
    """
    factor = max(1.0, max(luma.shape) / SIDE)
    rows, columns = (
        np.rint((np.arange(max(1, round(side / factor))) + 0.5) * factor - 0.5).astype(int)
        for side in luma.shape
    )
    # So smooth that moves by half a pixel are told by the slopes.
    smooth = ndimage.gaussian_filter(luma, _SMOOTHING * factor, mode="nearest")
    reduced: np.ndarray = smooth[np.minimum(rows, luma.shape[0] - 1)]
    return reduced[:, np.minimum(columns, luma.shape[1] - 1)]


class MovedPicture:
    """A sketch and all its moves by up to two pixels, scaled by up to a tenth.

    Args:
        picture: float32 (rows, columns), by `sketch`.

    Example:
        >>> y, x = np.mgrid[:32, :32].astype(np.float32)
        >>> waves = np.sin(x / 3) + np.cos((x + y) / 5)
        >>> others = np.stack([np.roll(waves, 1, axis=0), waves[::-1]])
        >>> near, far = MovedPicture(waves).least_differences(others)
        >>> near < 0.1 < far
        np.True_
    """

    def __init__(self, picture: np.ndarray) -> None:
        self._inner: tuple[slice, slice] | None = None
        if min(picture.shape) < _LEAST:
            return
        self._inner = slice(_EDGE, -_EDGE), slice(_EDGE, -_EDGE)
        parts = np.concatenate([_moves(_scaled(picture, scale)) for scale in _SCALES])
        parts = parts.astype(np.float64)
        parts /= np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-9)
        products = parts @ parts.swapaxes(1, 2)
        whole = np.linalg.cholesky(products + _RIDGE * np.eye(products.shape[-1]))
        # The same sums, of pictures that are at right angles to each other.
        self._axes = np.linalg.solve(whole, parts).astype(np.float32)

    def least_differences(self, others: np.ndarray) -> np.ndarray:
        """What differs from each of the others at least, however the picture is moved.

        Args:
            others: float32 (num_others, rows, columns), sketches of the same shape.

        Returns:
            float32 (num_others,): root mean square away from the edges, the contrast fitted; 0
            where the sketch is too small to tell.
        """
        if self._inner is None:
            return np.zeros(len(others), np.float32)
        rows, columns = self._inner
        wanted = others[:, rows, columns].reshape(len(others), -1)
        wanted = wanted - wanted.mean(axis=1, keepdims=True)
        number, components, pixels = self._axes.shape
        along = wanted @ self._axes.reshape(-1, pixels).T
        explained = np.square(along).reshape(len(others), number, components).sum(axis=2)
        left = np.square(wanted).sum(axis=1) - explained.max(axis=1)
        least: np.ndarray = np.sqrt(np.maximum(left, 0.0) / pixels)
        return least


def _scaled(picture: np.ndarray, scale: float) -> np.ndarray:
    """The picture about its middle, as large as what moves of its inner part need."""
    away = _EDGE - _REACH
    at = [
        (side - 1) / 2 + scale * (np.arange(away, side - away) - (side - 1) / 2)
        for side in picture.shape
    ]
    grid = np.meshgrid(*at, indexing="ij")
    return ndimage.map_coordinates(picture, grid, order=1, mode="nearest", output=np.float32)


def _moves(scaled: np.ndarray) -> np.ndarray:
    """Of each move by whole pixels the picture and its slopes: float32 (25, 9, pixels)."""
    down, right = np.gradient(scaled)
    twice_down, across = np.gradient(down)
    fields = np.stack([scaled, down, right, twice_down, across, np.gradient(right, axis=1)])
    size = [side - 2 * _REACH for side in scaled.shape]
    views = np.lib.stride_tricks.sliding_window_view(fields, size, axis=(1, 2))
    views = views.reshape(len(fields), -1, *size).swapaxes(0, 1)
    y, x = (np.linspace(-1.0, 1.0, side, dtype=np.float32) for side in size)
    parts = [views, views[:, 1:2] * y[:, np.newaxis], views[:, 2:3] * x]
    flat = np.concatenate(parts, axis=1).reshape(len(views), -1, size[0] * size[1])
    flat -= flat.mean(axis=2, keepdims=True)
    return flat
