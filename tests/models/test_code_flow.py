"""The flow on codes: what its draws follow from, and where they lie."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import tensorflow as tf

from kerasunsup.evaluation import neighbors
from kerasunsup.models import code_flow


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A network that is trained in a second."""
    monkeypatch.setattr(code_flow, "_UNITS", 64)
    monkeypatch.setattr(code_flow, "_LAYERS", 2)
    monkeypatch.setattr(code_flow, "_LEAST_STEPS", 400)
    monkeypatch.setattr(code_flow, "_LEARNING_RATE", 0.005)


def ring(number: int, seed: int = 0) -> np.ndarray:
    """Codes on a circle of radius 3 about (5, 1): no Gaussian is like it."""
    random = np.random.default_rng(seed)
    angles = random.uniform(0, 2 * np.pi, number)
    radius = 3.0 + 0.05 * random.standard_normal(number)
    return np.stack([5 + radius * np.cos(angles), 1 + radius * np.sin(angles)], axis=1)


def one_gaussian(codes: np.ndarray) -> code_flow.Gaussians:
    scale = float(codes.std())
    covariance = np.cov(codes.T) / scale**2
    return code_flow.Gaussians(
        np.ones(1), np.zeros((1, 2)), np.linalg.cholesky(covariance)[None], codes.mean(0), scale
    )


def noise(number: int, dim: int = 2) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((number, dim), np.float32)


def test_a_flow_carries_draws_to_the_codes():
    codes = ring(2000)
    gaussian = one_gaussian(codes)
    velocity = code_flow.train(codes, np.ones((len(codes), 1)), gaussian, seed=0)
    away = {}
    for name, layer in {
        "mixture": code_flow.DrawnCodes(gaussian),
        "flow": code_flow.DrawnCodes(gaussian, velocity),
    }.items():
        drawn = layer(noise(1000)).numpy()
        away[name] = np.abs(np.linalg.norm(drawn - [5, 1], axis=1) - 3.0).mean()
    assert away["flow"] < 0.35 * away["mixture"]
    again = code_flow.train(codes, np.ones((len(codes), 1)), gaussian, seed=0)
    for one, other in zip(velocity.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_noise_becomes_draws_of_the_mixture():
    """The Gaussians have their shares, and each its own mean and covariance."""
    weights = np.array([0.5, 0.002, 0.498])
    means = np.array([[-9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [9.0, 0.0, 1.0]])
    factor = np.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, -0.3, 0.2]])
    factors = np.stack([factor, 0.1 * np.eye(3), factor.T])
    gaussians = code_flow.Gaussians(weights, means, factors, np.array([1.0, 2.0, 3.0]), 2.0)
    drawn = code_flow.DrawnCodes(gaussians)(noise(100_000, 3)).numpy()
    assert np.isfinite(drawn).all()
    units = (drawn - [1.0, 2.0, 3.0]) / 2.0
    of = np.square(units[:, None] - means).sum(axis=2).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(of) / len(of), weights, atol=0.005)
    for component in (0, 2):
        members = units[of == component]
        np.testing.assert_allclose(members.mean(axis=0), means[component], atol=0.02)
        covariance = factors[component] @ factors[component].T
        np.testing.assert_allclose(np.cov(members.T), covariance, atol=0.03)


def test_noise_becomes_draws_around_the_neighbors_of_codes():
    """Each code is chosen alike often, and drawn as its neighbours lie."""
    codes = np.array([[0.0, 0], [1, 0], [2, 3], [100, 0], [102, 2], [104, 7]], np.float32)
    nearest = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]], np.int32)
    layer = code_flow.DrawnCodes(code_flow.Neighborhoods(codes, nearest))
    values = noise(120_000)
    drawn = layer(values).numpy()
    chosen = np.floor(len(codes) * scipy.stats.norm.cdf(values[:, 0].astype(np.float64)))
    for place in range(len(codes)):
        members, group = drawn[chosen == place], codes[nearest[place]]
        assert len(members) > 19_000
        middle = (codes[place] + group.mean(axis=0)) / 2.0
        np.testing.assert_allclose(members.mean(axis=0), middle, atol=0.08)
        expected = 0.8**2 * np.cov(group.T, bias=True)
        np.testing.assert_allclose(np.cov(members.T), expected, rtol=0.05, atol=0.05)


def test_extreme_noise_gives_finite_codes():
    gaussians = one_gaussian(ring(100))
    values = np.array([[-60.0, 0.0], [60.0, 0.0], [-9.0, 9.0]], np.float32)
    assert np.isfinite(code_flow.DrawnCodes(gaussians)(values).numpy()).all()


def test_a_flow_that_has_not_learned_is_the_mixture():
    gaussians = one_gaussian(ring(100))
    velocity = code_flow.velocity_network(2)
    drawn = [
        code_flow.DrawnCodes(gaussians, network)(noise(20)).numpy() for network in (None, velocity)
    ]
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=1e-6)


def test_a_graph_gives_the_same_codes():
    gaussians = one_gaussian(ring(100))
    layer = code_flow.DrawnCodes(gaussians, code_flow.velocity_network(2))
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, 2), tf.float32)])
    np.testing.assert_allclose(graph(noise(50)), layer(noise(50)), atol=1e-5)


def test_few_codes_get_few_steps():
    assert code_flow.num_steps(10) == 400
    assert code_flow.num_steps(55_000) == code_flow.num_steps(10**9)


def test_codes_are_carried_back_to_where_they_began_and_their_spread_is_counted():
    """Of a linear velocity the way back is a matrix, and the divergence its trace."""
    matrix = np.array([[0.8, 0.3], [0.1, -0.4]], np.float32)
    codes, times = keras.Input((2,)), keras.Input((1,))
    linear = keras.layers.Dense(2, use_bias=False)
    velocity = keras.Model([codes, times], linear(codes) + 0.0 * times)
    linear.set_weights([matrix.T])
    given = noise(2000)
    begun, spread = code_flow.carried_back(velocity, given, seed=0)
    np.testing.assert_allclose(begun, given @ scipy.linalg.expm(-matrix).T, atol=1e-3)
    assert spread.mean() == pytest.approx(np.trace(matrix), abs=0.02)
    assert spread.std() < 0.5  # four directions a code


def test_draws_around_neighbors_do_not_show_the_rounding_of_a_graph():
    """Ten neighbors span few of 32 directions; the exported signature is another graph."""
    codes = 5.0 * np.abs(np.random.default_rng(0).standard_normal((300, 32))).astype(np.float32)
    nearest = neighbors.nearest(codes, None, 10)[1].astype(np.int32)
    layer = code_flow.DrawnCodes(code_flow.Neighborhoods(codes, nearest))
    drawn = np.asarray(layer(noise(200, 32)))
    traced = tf.function(layer, jit_compile=False)(tf.constant(noise(200, 32))).numpy()
    np.testing.assert_allclose(traced, drawn, rtol=0, atol=2e-6 * np.abs(drawn).max())
