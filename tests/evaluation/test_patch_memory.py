import numpy as np
import pytest

from kerasunsup.evaluation import patch_memory


def maps_of(number, seed, side=8):
    """Maps with a bump in one of two places, and a little noise."""
    random = np.random.default_rng(seed)
    maps = 0.05 * random.standard_normal((number, side, side, 3)).astype(np.float32)
    maps[::2, 2:4, 3:5] += 1.0
    maps[1::2, 5:7, 4:6] += 1.0
    return maps


def test_a_bump_elsewhere_is_odd_and_one_a_position_away_is_not():
    memory = patch_memory.fit(maps_of(60, 0), seed=0)
    usual = memory.distances(maps_of(20, 1))
    moved = memory.distances(np.roll(maps_of(20, 2), 1, axis=2))
    elsewhere = memory.distances(np.roll(maps_of(20, 3), 4, axis=2))
    assert moved.max() < 1.5 * usual.max()
    assert usual.max() < 0.5 * elsewhere.min()


def test_the_distance_is_that_of_the_oddest_of_all_compared_patches():
    clean, tests = maps_of(30, 0, side=4), maps_of(5, 1, side=4)
    memory = patch_memory.fit(clean, seed=0)
    padded, tested = (np.pad(m, ((0, 0), (2, 2), (2, 2), (0, 0))) for m in (clean, tests))

    def patches(maps, y, x):
        return maps[:, y : y + 5, x : x + 5].reshape(len(maps), -1) @ memory.components

    expected = np.zeros(len(tests))
    for y in (0, 2):
        for x in (0, 2):
            near = [(row, column) for row in range(4) for column in range(4)]
            near = [(r, c) for r, c in near if abs(r - y) <= 1 and abs(c - x) <= 1]
            known = np.concatenate([patches(padded, *place) for place in near])
            away = np.linalg.norm(patches(tested, y, x)[:, None] - known, axis=2).min(axis=1)
            expected = np.maximum(expected, away)
    np.testing.assert_allclose(memory.distances(tests), expected, rtol=1e-3)


def test_maps_of_another_shape_are_refused():
    memory = patch_memory.fit(maps_of(10, 0), seed=0)
    with pytest.raises(ValueError, match=r"maps must be \(num_images, 8, 8, 3\), received"):
        memory.distances(maps_of(2, 0, side=4))
    with pytest.raises(ValueError, match="two images or more"):
        patch_memory.fit(maps_of(1, 0), seed=0)
