"""A picture that is compared with several others, and what is made of it for that."""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage

from kerasunsup.evaluation import moved_pictures

_SMOOTHING = 0.6  # pixels; hides noise of single pixels and how a resizing rounds
_PARTS = 8  # along a side


class Picture:
    """What is made of a picture to compare it, once for all comparisons.

    Args:
        pixels: float32 (height, width, 3) in [0, 1].

    Attributes:
        channels: float32 (3, height, width), luma and both colour differences (ITU-R BT.601).
        luma: float32 (height, width), smoothed.

    Example:
        >>> Picture(np.ones((32, 24, 3), np.float32)).channels.shape
        (3, 32, 24)
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.channels = _channels(pixels)
        self.luma: np.ndarray = ndimage.gaussian_filter(self.channels[0], _SMOOTHING)

    @property
    def nbytes(self) -> int:
        """Memory that it takes, with all that is made of it later."""
        return 8 * self.luma.nbytes

    @property
    def step(self) -> int:
        """Pixels by which it is moved first."""
        return 2 if max(self.luma.shape) >= 96 else 1

    @functools.cached_property
    def coarse(self) -> np.ndarray:
        """The luma at these steps."""
        smooth = ndimage.uniform_filter(self.luma, self.step)
        return np.ascontiguousarray(smooth[:: self.step, :: self.step])

    @functools.cached_property
    def slopes(self) -> np.ndarray:
        """Float32 (2, height, width), of the luma: down and right."""
        return np.stack(np.gradient(self.luma))

    @functools.cached_property
    def roughness(self) -> float:
        """How steep the luma is, in parts of its contrast: noise and marks make it steeper."""
        steep = float(np.sqrt(np.square(self.slopes).mean()))
        return steep / max(float(self.luma.std()), 1e-9)

    @functools.cached_property
    def detail_of_parts(self) -> np.ndarray:
        """The contrast of detail in 8 x 8 parts."""
        sigma = max(self.luma.shape) / 16
        detail = self.luma - ndimage.gaussian_filter(self.luma, sigma)
        return np.sqrt(by_parts(np.square(detail)))

    @functools.cached_property
    def sketch(self) -> np.ndarray:
        """The luma at 32 pixels."""
        return moved_pictures.sketch(self.luma)


def by_parts(values: np.ndarray) -> np.ndarray:
    """The means over 8 x 8 parts of a picture; what is left over at its end belongs to none.

    Args:
        values: (height, width), 8 or more each.

    Example:
        >>> by_parts(np.ones((16, 24))).shape
        (8, 8)
    """
    height, width = (side // _PARTS for side in values.shape)
    cut = values[: height * _PARTS, : width * _PARTS]
    means: np.ndarray = cut.reshape(_PARTS, height, _PARTS, width).mean(axis=(1, 3))
    return means


def over_pixels(parts: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Whether each pixel and its neighbours lie in parts for which something is true.

    Args:
        parts: bool (8, 8), as `by_parts` divides a picture.
        shape: (height, width).

    Example:
        >>> int(over_pixels(np.ones((8, 8), bool), (17, 16)).sum())
        240
    """
    height, width = (side // _PARTS for side in shape)
    pixels = np.zeros(shape, bool)
    pixels[: height * _PARTS, : width * _PARTS] = np.kron(parts, np.ones((height, width), bool))
    inner: np.ndarray = ndimage.minimum_filter(pixels, 3)
    return inner


def _channels(picture: np.ndarray) -> np.ndarray:
    """Float32 (3, height, width): luma and both colour differences (ITU-R BT.601)."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, 0.564 * (blue - luma), 0.713 * (red - luma)]).astype(np.float32)
