"""Perceptual hashes are those of imagehash."""

import imagehash
import numpy as np
from PIL import Image

from kerasunsup.data import perceptual_hashes


def test_bits_are_those_of_imagehash():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    hashes = perceptual_hashes.perceptual_hashes(pictures)
    assert hashes.dtype == np.uint64
    expected = [int(str(imagehash.phash(Image.fromarray(picture))), 16) for picture in pictures]
    assert hashes.tolist() == expected
