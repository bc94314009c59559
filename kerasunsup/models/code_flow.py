"""New codes from noise: by Gaussians, many or few, and by a flow that carries draws to codes.

The flow is a velocity, a small network of a code and the time. It is trained by flow matching: each
code is paired with a draw of a Gaussian of its own, and on the straight line between both the
velocity is their difference (Lipman et al. 2023, arXiv:2210.02747). New codes follow it from a draw
of the mixture, at time 0, to time 1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasunsup.models import optimizers
from kerasunsup.progress import Progress

MOST_VALUES = 256  # in a code; each draw of a batch reads a matrix of their square

_UNITS = 512
_LAYERS = 4
_BATCH = 512
_LEARNING_RATE = 0.001
_AVERAGING = 0.999
_MOST_STEPS = 6000
_LEAST_STEPS = 200
_PASSES = 56  # over the codes: 5,468 steps for 50,000 codes, fewer for fewer
_FREQUENCIES = 32  # of the time's sines and cosines
_SOLVER_STEPS = 20
_CARRIED_AT_ONCE = 500  # codes; the memory that their gradients take
_PROBES = 4  # random directions by which a divergence is estimated
_OWN_SHARE, _SPREAD = 0.5, 0.8  # of a Gaussian around a code, see `Neighborhoods`
_LEAST_SPREAD = 1e-4  # of a Gaussian in any direction, as a share of its mean variance


class Gaussians(NamedTuple):
    """A mixture of Gaussians in a unit of its own; code = mean + scale * draw.

    Attributes:
        weights: (num_components,), sum 1.
        means: (num_components, latent_dim).
        factors: (num_components, latent_dim, latent_dim); a covariance is factor @ factor.T.
        mean: of the codes, (latent_dim,).
        scale: of the codes, one number.
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    mean: np.ndarray
    scale: float


class Neighborhoods(NamedTuple):
    """A Gaussian around each code, as the codes nearest to it lie.

    Its mean is halfway between the code and the mean of these, its spread 0.8 of theirs: about the
    spread of a code about its neighbours' mean is kept. See docs/autoencoder.md.

    Attributes:
        codes: float32 (num_codes, latent_dim).
        nearest: the rows of those nearest to each, int32 (num_codes, number).
    """

    codes: np.ndarray
    nearest: np.ndarray


def velocity_network(latent_dim: int, seed: int = 0) -> keras.Model:
    """(codes (batch, latent_dim), times (batch, 1)) -> velocities (batch, latent_dim).

    Codes are in the unit of the mixture; times are in [0, 1]. It begins as no velocity at all, with
    which a flow is the mixture itself.
    """
    codes = keras.Input((latent_dim,), name="codes")
    times = keras.Input((1,), name="times")
    angles = times * np.exp(np.linspace(0.0, 5.0, _FREQUENCIES)).astype(np.float32)
    waves = keras.layers.Concatenate()([ops.sin(angles), ops.cos(angles)])
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=2 + _LAYERS).tolist())

    def uniform() -> keras.Initializer:
        # Without a seed of its own it would follow from the state of the process.
        return keras.initializers.GlorotUniform(next(seeds))

    hidden = keras.layers.Dense(_UNITS, kernel_initializer=uniform(), name="code")(codes)
    timing = keras.layers.Dense(_UNITS, kernel_initializer=uniform(), name="time")
    hidden = hidden + timing(waves)
    for number in range(_LAYERS):
        layer = keras.layers.Dense(_UNITS, kernel_initializer=uniform(), name=f"layer_{number}")
        hidden = hidden + layer(ops.silu(hidden))
    last = keras.layers.Dense(latent_dim, kernel_initializer="zeros", name="velocity")
    return keras.Model([codes, times], last(ops.silu(hidden)), name="velocity")


def num_steps(num_codes: int) -> int:
    """Steps that a flow is trained in: so many passes over the codes, within limits."""
    return int(np.clip(_PASSES * num_codes // _BATCH, _LEAST_STEPS, _MOST_STEPS))


def train(
    codes: np.ndarray, responsibilities: np.ndarray, gaussians: Gaussians, seed: int
) -> keras.Model:
    """The velocity of a flow from a mixture to codes.

    Args:
        codes: (num_codes, latent_dim), of training images.
        responsibilities: (num_codes, num_components), how likely each Gaussian made each code.
        gaussians: the mixture.
        seed: 0 to 2**31 - 1; everything random follows from it.

    Returns:
        As `velocity_network` makes it, with averaged weights.

    Source:
        Lipman et al., 2023, arXiv:2210.02747, section 4.1, with a mixture in the place of one
        Gaussian and no noise at the end.
    """
    network = velocity_network(codes.shape[1], seed)
    steps = num_steps(len(codes))
    rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)
    optimizer = optimizers.adam(rate, averaging=_AVERAGING, fused=False)  # all is compiled below
    optimizer.build(network.trainable_variables)
    step = _step(network, optimizer, codes, responsibilities, gaussians, seed)
    with Progress(steps, "step") as progress:
        for number in range(steps):
            step(tf.constant(number, tf.int64))
            progress.advance()
    optimizer.finalize_variable_values(network.trainable_variables)
    return network


def _step(
    network: keras.Model,
    optimizer: keras.Optimizer,
    codes: np.ndarray,
    responsibilities: np.ndarray,
    gaussians: Gaussians,
    seed: int,
) -> Any:
    """A function of the step's number that updates the network by one batch."""
    scaled = tf.constant((codes - gaussians.mean) / gaussians.scale, tf.float32)
    cumulative = tf.constant(np.cumsum(responsibilities, axis=1), tf.float32)
    means, factors = (tf.constant(part, tf.float32) for part in gaussians[1:3])
    variables, last = network.trainable_variables, len(gaussians.weights) - 1

    @tf.function(jit_compile=True, autograph=False)
    def step(number: tf.Tensor) -> None:
        keys = [tf.stack([tf.constant(4 * seed + draw, tf.int64), number]) for draw in range(4)]
        rows = tf.random.stateless_uniform((_BATCH,), keys[0], 0, len(codes), tf.int32)
        limits = tf.random.stateless_uniform((_BATCH, 1), keys[1])
        times = tf.random.stateless_uniform((_BATCH, 1), keys[2])
        normal = tf.random.stateless_normal((_BATCH, codes.shape[1]), keys[3])
        below = tf.cast(tf.gather(cumulative, rows) < limits, tf.int32)
        components = tf.minimum(tf.reduce_sum(below, axis=1), last)
        ends = tf.gather(scaled, rows)
        starts = tf.gather(means, components) + tf.linalg.matvec(
            tf.gather(factors, components), normal
        )
        with tf.GradientTape() as tape:
            between = (1.0 - times) * starts + times * ends
            velocities = network([between, times], training=True)
            loss = tf.reduce_mean(tf.square(velocities - (ends - starts)))
        optimizer.apply(tape.gradient(loss, variables), variables)

    return step


class DrawnCodes(keras.layers.Layer):
    """Standard normal noise (batch, latent_dim) -> codes of Gaussians, or of the flow on them.

    The first value of the noise chooses the Gaussian: the normal distribution's function makes it
    uniform, and an interval of [0, 1] belongs to each Gaussian. Where in its interval it lies is
    uniform again and becomes the first value of the draw. So every code follows from as many values
    as it has, and nothing else is random.

    Args:
        source: the mixture, or a Gaussian around each code, all alike in weight.
        velocity: of the flow, as `train` returns it; None draws from the Gaussians.
    """

    def __init__(
        self, source: Gaussians | Neighborhoods, velocity: keras.Model | None = None
    ) -> None:
        super().__init__(name="drawn_codes")
        if isinstance(source, Neighborhoods):
            number, dim = source.codes.shape
            weights, mean, scale = np.full(number, 1.0 / number), np.zeros(dim), 1.0
            self._parts = (_kept(source.codes, "float32"), _kept(source.nearest, "int32"))
            self._draw = self._around
        else:
            weights, mean, scale = source.weights, source.mean, source.scale
            self._parts = (_kept(source.means, "float32"), _kept(source.factors, "float32"))
            self._draw = self._of_mixture
        weights = np.asarray(weights, np.float64)
        weights = weights / weights.sum()
        # In float64: a small interval stretched to [0, 1] would show float32's rounding.
        self._ends = _kept(np.cumsum(weights), "float64")
        self._weights = _kept(weights, "float64")
        self._mean = _kept(mean, "float32")
        self._scale = float(scale)
        self._velocity = velocity

    def call(self, noise: tf.Tensor) -> tf.Tensor:
        """float32 to float32, both (batch, latent_dim)."""
        chosen, first = self._component(noise[:, 0])
        codes = self._draw(chosen, tf.concat([first[:, None], noise[:, 1:]], axis=1))
        return self._mean.value + self._scale * self._carried(codes)

    def _of_mixture(self, chosen: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
        means, factors = (part.value for part in self._parts)
        return tf.gather(means, chosen) + tf.linalg.matvec(tf.gather(factors, chosen), normal)

    def _around(self, chosen: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
        codes, nearest = (part.value for part in self._parts)
        # In float64: the factor of a nearly flat covariance would show float32's rounding, which
        # differs from one graph to another.
        group = tf.cast(tf.gather(codes, tf.gather(nearest, chosen)), tf.float64)
        mean = tf.reduce_mean(group, axis=1, keepdims=True)
        away = _SPREAD * (group - mean)
        covariance = tf.matmul(away, away, transpose_a=True) / group.shape[1]
        # Fewer codes than values span no volume, and equal ones nothing.
        spread = tf.linalg.trace(covariance) / covariance.shape[-1]
        unit = tf.eye(covariance.shape[-1], dtype=tf.float64)
        factor = tf.linalg.cholesky(
            covariance + (_LEAST_SPREAD * spread + 1e-12)[:, None, None] * unit
        )
        own = tf.cast(tf.gather(codes, chosen), tf.float64)
        middle = _OWN_SHARE * own + (1.0 - _OWN_SHARE) * mean[:, 0]
        drawn = middle + tf.linalg.matvec(factor, tf.cast(normal, tf.float64))
        return tf.cast(drawn, tf.float32)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The noise's own."""
        return input_shape

    def _component(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        uniform = 0.5 * tf.math.erfc(-tf.cast(values, tf.float64) / math.sqrt(2.0))
        ends, last = self._ends.value, self._weights.shape[0] - 1
        chosen = tf.minimum(tf.searchsorted(ends, uniform, side="right"), last)
        weight = tf.gather(self._weights.value, chosen)
        rest = 1.0 - (tf.gather(ends, chosen) - uniform) / weight
        first = tf.math.ndtri(tf.clip_by_value(rest, 1e-9, 1.0 - 1e-9))
        return chosen, tf.cast(first, tf.float32)

    def _carried(self, codes: tf.Tensor) -> tf.Tensor:
        """Draws of the mixture, carried along the velocity from time 0 to 1 by Heun's method."""
        length = 1.0 / _SOLVER_STEPS

        network = self._velocity
        if network is None:
            return codes

        def velocity(at: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
            times = tf.fill([tf.shape(at)[0], 1], length * tf.cast(number, tf.float32))
            return network([at, times], training=False)

        def step(number: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            here = velocity(at, number)
            there = velocity(at + length * here, number + 1)
            return number + 1, at + 0.5 * length * (here + there)

        _, ends = tf.while_loop(
            lambda number, _: number < _SOLVER_STEPS, step, (tf.constant(0), codes)
        )
        return ends


def carried_back(
    velocity: keras.Model, codes: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the flow's way to each code began, and how far the flow spread out along it.

    The logarithm of the density at a code is that at its beginning less this spread.

    Args:
        velocity: of the flow, as `train` returns it.
        codes: (num_codes, latent_dim), in the unit of the mixture.
        seed: of the directions, 0 to 2**31 - 1.

    Returns:
        The draws of the mixture, float32 (num_codes, latent_dim), and the divergence of the
        velocity summed up along each way, float32 (num_codes,), in nats: an estimate.

    Source:
        Grathwohl et al., 2019, arXiv:1810.01367, equations 4 and 7, by Heun's method.
    """
    length, dim = 1.0 / _SOLVER_STEPS, codes.shape[1]

    @tf.function(autograph=False, reduce_retracing=True)
    def change(at: tf.Tensor, time: tf.Tensor, probes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        times = tf.fill([tf.shape(at)[0], 1], time)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(at)
            velocities = velocity([at, times], training=False)
            along = [tf.reduce_sum(velocities * probe) for probe in tf.unstack(probes)]
        products = [
            tf.reduce_sum(tape.gradient(total, at) * probe, axis=1)
            for total, probe in zip(along, tf.unstack(probes), strict=True)
        ]
        return velocities, tf.add_n(products) / _PROBES

    signs = np.random.default_rng(seed).integers(0, 2, (_PROBES, len(codes), dim))
    starts, spreads = [], []
    for first in range(0, len(codes), _CARRIED_AT_ONCE):
        block = slice(first, first + _CARRIED_AT_ONCE)
        at = tf.constant(codes[block], tf.float32)
        probes = tf.constant(2 * signs[:, block] - 1, tf.float32)
        spread = tf.zeros(len(at))
        for number in range(_SOLVER_STEPS, 0, -1):
            here, widening = change(at, tf.constant(number * length), probes)
            there, widening_there = change(
                at - length * here, tf.constant((number - 1) * length), probes
            )
            at = at - 0.5 * length * (here + there)
            spread += 0.5 * length * (widening + widening_there)
        starts.append(at.numpy())
        spreads.append(spread.numpy())
    return np.concatenate(starts), np.concatenate(spreads)


def _kept(values: Any, dtype: str) -> keras.Variable:
    """Values that a SavedModel keeps beside its graph, as they are."""
    return keras.Variable(np.asarray(values), dtype=dtype, trainable=False, autocast=False)


def generator(drawn: DrawnCodes, decoder: keras.Model) -> keras.Model:
    """Standard normal noise (batch, latent_dim) -> images, through codes."""
    noise = keras.Input((decoder.input_shape[-1],), name="noise")
    return keras.Model(noise, decoder(drawn(noise)), name="generator")
