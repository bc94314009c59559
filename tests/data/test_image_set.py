"""Sets of images and their subsets."""

import numpy as np
from image_sources import noise, numbered_set, numbers, orders

from kerasunsup.data import batches as data_batches
from kerasunsup.data import image_set as data_image_set
from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet


def test_subset_of_a_subset_shares_the_store():
    train = numbered_set(200).subset(np.random.default_rng(0).permutation(200)[:162])
    subset = train.subset(range(10, 20)).subset([3, 1])
    assert numbers(subset) == [numbers(train)[13], numbers(train)[11]]
    assert subset._store is train._store
    assert subset.fingerprint != train.fingerprint
    assert train.array([]).shape == (0, 8, 8, 1)


def test_fingerprint_follows_the_content():
    pixels = noise(20, 8, 8, 1)
    changed = pixels.copy()
    changed[13, 4, 4] ^= 1
    first, same, other = (
        ImageSet(pixel_storage.MemoryStore(values)).fingerprint
        for values in (pixels, pixels.copy(), changed)
    )
    assert first == same != other


def test_large_arrays_are_not_copied_into_a_tensor(monkeypatch):
    pool = numbered_set(20)
    expected = orders(data_batches.training_batches(pool, 4, seed=1))
    monkeypatch.setattr(data_image_set, "_TENSOR_LIMIT", 0)
    assert orders(data_batches.training_batches(pool, 4, seed=1)) == expected
