"""Perceptual hashes of pictures: few of their bits change where a picture is stored again."""

from __future__ import annotations

import numpy as np
from PIL import Image

_SIDE, _LOWEST = 32, 8  # pixels, frequencies in each direction
_BLOCK = 1024  # pictures at a time


def perceptual_hashes(lumas: np.ndarray) -> np.ndarray:
    """A perceptual hash of each picture: that of the library imagehash (`phash`).

    A bit says whether one of the 64 lowest frequencies is above their median. imagehash transforms
    one picture at a time, which takes ten times as long for many. A test compares both.

    Args:
        lumas: uint8 (num_pictures, side, side), grey and square; each is resized to 32 x 32.

    Returns:
        uint64 (num_pictures,).

    Example:
        >>> perceptual_hashes(np.zeros((2, 32, 32), np.uint8)).tolist()
        [0, 0]
    """
    from scipy import fft

    if len(lumas) > _BLOCK:
        blocks = range(0, len(lumas), _BLOCK)
        return np.concatenate([perceptual_hashes(lumas[at : at + _BLOCK]) for at in blocks])
    resized = _resized(lumas).astype(np.float64)
    down = fft.dct(resized, axis=1)[:, :_LOWEST]
    lowest = fft.dct(down, axis=2)[:, :, :_LOWEST].reshape(-1, _LOWEST * _LOWEST)
    bits = lowest > np.median(lowest, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def _resized(lumas: np.ndarray) -> np.ndarray:
    """Each picture at 32 x 32 pixels, as Pillow resizes it alone: the width, then the height.

    All pictures lie below each other for the one and beside each other for the other. (What is
    not square Pillow may resize in the other order.)
    """
    number, side, _ = lumas.shape
    if not number:
        return np.zeros((0, _SIDE, _SIDE), np.uint8)
    lanczos = Image.Resampling.LANCZOS
    column = Image.fromarray(lumas.reshape(number * side, side))
    column = column.resize((_SIDE, number * side), lanczos)
    side_by_side = np.asarray(column).reshape(number, side, _SIDE).swapaxes(0, 1)
    row = Image.fromarray(side_by_side.reshape(side, number * _SIDE))
    row = row.resize((number * _SIDE, _SIDE), lanczos)
    return np.asarray(row).reshape(_SIDE, number, _SIDE).swapaxes(0, 1)
