"""Paths between codes."""

import numpy as np
import pytest

from kerasunsup.evaluation import code_paths, latent_space


@pytest.fixture(scope="module")
def half_ring():
    """Codes on the upper half of a ring of radius 5, and a mixture of them."""
    random = np.random.default_rng(0)
    angles = random.uniform(0.0, np.pi, 2000)
    codes = 5.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    codes += 0.2 * random.normal(size=codes.shape)
    return latent_space.fit_mixture(codes, 12, seed=0)


def test_a_straight_path_has_its_ends_and_even_steps():
    path = code_paths.straight(np.array([1.0, 2.0]), np.array([3.0, 6.0]), 5)
    np.testing.assert_allclose(path, [[1, 2], [1.5, 3], [2, 4], [2.5, 5], [3, 6]])
    with pytest.raises(ValueError, match="2 steps or more, received 1"):
        code_paths.straight(np.zeros(2), np.ones(2), 1)


def test_a_path_along_the_density_goes_round_where_no_codes_are(half_ring):
    start, end = np.array([-5.0, 0.3]), np.array([5.0, 0.3])
    path = code_paths.along_density(half_ring, start, end, 15)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-6)
    radii = np.linalg.norm(path, axis=1)
    assert radii.min() > 4.0
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() < 2.5 * steps.mean()
    line = code_paths.straight(start, end, 15)
    assert half_ring.log_likelihoods(path).min() > half_ring.log_likelihoods(line).min() + 50


def test_gradients_are_those_of_the_density(half_ring):
    points = np.random.default_rng(1).normal(size=(4, 2))
    values, slopes = code_paths._log_density(half_ring, points)
    for axis in range(2):
        moved = points + 1e-6 * np.eye(2)[axis]
        differences = (code_paths._log_density(half_ring, moved)[0] - values) / 1e-6
        np.testing.assert_allclose(slopes[:, axis], differences, rtol=1e-3, atol=1e-3)


def test_a_path_between_equal_codes_stays(half_ring):
    code = np.array([0.0, 5.0])
    np.testing.assert_allclose(
        code_paths.along_density(half_ring, code, code, 4), np.tile(code, (4, 1)), atol=1e-6
    )


def test_a_mixture_that_was_kept_in_a_file_leads_the_same_way(half_ring):
    kept = latent_space.Mixture.of_arrays(half_ring.arrays())
    start, end = np.array([-5.0, 0.3]), np.array([5.0, 0.3])
    paths = [code_paths.along_density(one, start, end, 9) for one in (half_ring, kept)]
    np.testing.assert_array_equal(*paths)
