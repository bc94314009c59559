"""Perceptual hashes of pictures: few of their bits change where a picture is stored again."""

from __future__ import annotations

import numpy as np
from PIL import Image


def perceptual_hashes(lumas: np.ndarray) -> np.ndarray:
    """A perceptual hash of each picture, by the library imagehash (`phash`).

    A bit says whether one of the 64 lowest frequencies is above their median.

    Args:
        lumas: uint8 (num_pictures, height, width), grey; imagehash resizes each to 32 x 32.

    Returns:
        uint64 (num_pictures,).

    Example:
        >>> perceptual_hashes(np.zeros((2, 32, 32), np.uint8)).tolist()
        [0, 0]
    """
    import imagehash  # loads SciPy

    bits = [imagehash.phash(Image.fromarray(luma)).hash.ravel() for luma in lumas]
    packed = np.packbits(np.array(bits, bool).reshape(-1, 64), axis=1)
    return packed.view(">u8").ravel().astype(np.uint64)
