"""Perceptual hashes are those of imagehash."""

import imagehash
import numpy as np
import pytest
from PIL import Image

from kerasunsup.data import perceptual_hashes


def test_bits_are_those_of_imagehash(monkeypatch):
    monkeypatch.setattr(perceptual_hashes, "_BLOCK", 30)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (40, 28, 28), np.uint8)
    drawn = np.zeros((40, 28, 28), np.uint8)
    for picture, corner in zip(drawn, random.integers(0, 20, (40, 2)), strict=True):
        picture[corner[0] : corner[0] + 9, corner[1] : corner[1] + 5] = 200
    pictures = np.concatenate([noise, drawn, drawn[:, ::-1] // 2 + noise // 9])
    hashes = perceptual_hashes.perceptual_hashes(pictures)
    assert hashes.dtype == np.uint64
    expected = [int(str(imagehash.phash(Image.fromarray(picture))), 16) for picture in pictures]
    assert hashes.tolist() == expected


@pytest.mark.parametrize("shape", [(0, 28, 28), (2, 32, 32), (3, 61, 61)])
def test_pictures_may_have_any_side_and_be_none(shape):
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = [int(str(imagehash.phash(Image.fromarray(picture))), 16) for picture in pictures]
    assert perceptual_hashes.perceptual_hashes(pictures).tolist() == expected
