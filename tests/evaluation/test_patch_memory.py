import numpy as np
import pytest

from kerasunsup.evaluation import patch_memory


def maps_of(number, seed, side=8):
    """Maps with a bump in one of two places, and a little noise."""
    random = np.random.default_rng(seed)
    maps = 0.05 * random.standard_normal((number, side, side, 3)).astype(np.float32)
    maps[::2, 1:3, 1:3] += 1.0
    maps[1::2, 5:7, 4:6] += 1.0
    return maps


def test_a_bump_in_a_usual_place_is_usual_and_elsewhere_odd():
    memory = patch_memory.fit(maps_of(60, 0), seed=0)
    usual = memory.distances(maps_of(20, 1))
    elsewhere = memory.distances(np.roll(maps_of(20, 2), 4, axis=2))
    assert usual.max() < 0.5 * elsewhere.min()


def test_the_distance_is_that_of_the_oddest_of_all_patches():
    clean, tests = maps_of(30, 0, side=4), maps_of(5, 1, side=4)
    memory = patch_memory.fit(clean, seed=0)
    padded, tested = (np.pad(m, ((0, 0), (2, 2), (2, 2), (0, 0))) for m in (clean, tests))

    def patches(maps, y, x):
        return maps[:, y : y + 5, x : x + 5].reshape(len(maps), -1) @ memory.components

    expected = np.zeros(len(tests))
    for y, x in np.ndindex(4, 4):
        away = np.linalg.norm(patches(tested, y, x)[:, None] - patches(padded, y, x), axis=2)
        expected = np.maximum(expected, away.min(axis=1))
    np.testing.assert_allclose(memory.distances(tests), expected, rtol=1e-3)


def test_maps_of_another_shape_are_refused():
    memory = patch_memory.fit(maps_of(10, 0), seed=0)
    with pytest.raises(ValueError, match=r"maps must be \(num_images, 8, 8, 3\), received"):
        memory.distances(maps_of(2, 0, side=4))
    with pytest.raises(ValueError, match="two images or more"):
        patch_memory.fit(maps_of(1, 0), seed=0)
