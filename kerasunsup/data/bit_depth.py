"""Pictures of more than 8 bits: which value is white in them, and how they become 8 bits.

Cameras and microscopes keep 10, 12 or 14 bits in files of 16, so white follows from the values of
a whole set and not from the file's format.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

WHITE = 65535.0  # in pictures of more than 8 bits, unless their set uses fewer bits
SUFFIXES = (".png", ".tif", ".tiff")  # files that may hold more than 8 bits

# The largest values of sets that use so many bits; 1 for floats and for masks.
_BITS_BY_WHITE = {1.0: 1, 255.0: 8, 1023.0: 10, 4095.0: 12, 16383.0: 14, WHITE: 16}

# Pillow keeps one byte of each value of 16-bit colour: by these modes the high one, or the low one.
LOW_BYTE_MODES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
}


def white_of(largest: float) -> tuple[float, int]:
    """The value that is white in a set of images, and the number of bits that the set uses.

    Args:
        largest: the largest of all values of the set, > 0.

    Returns:
        (white, bits): the largest value of 1, 8, 10, 12, 14 or 16 bits, or of up to 32, whichever
            are enough. What is larger still is a value of no picture, and 16 bits are meant.
    """
    enough = (item for item in _BITS_BY_WHITE.items() if item[0] >= largest)
    more = ((2.0**bits - 1.0, bits) for bits in range(17, 33) if 2.0**bits - 1.0 >= largest)
    return next(itertools.chain(enough, more), (WHITE, 16))


def to_8_bits(values: np.ndarray, white: float) -> np.ndarray:
    """Values of any kind as uint8 of the same shape: 0 stays 0, white and more become 255."""
    return np.rint(np.clip(values, 0, white) / (white / 255.0)).astype(np.uint8)
