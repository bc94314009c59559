"""The variational autoencoder as a `keras.Model` with its own `train_step`.

It receives its networks; it builds none but the head of the variances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasunsup.models import gan, networks, replicated

# Of a pixel about the decoder's output, pixels in [0, 1]; it sets how much error a nat is worth.
# What counts is its product with beta: another one was not tried, beta is there for that.
PIXEL_VARIANCE = 0.1

_METRICS = (
    "loss",  # reconstruction + beta * kl with the whole beta, nats
    "reconstruction",  # see `reconstruction`, of drawn codes, nats
    "kl",  # summed over units, nats
    "mse",  # mean over pixels; in training of drawn codes, in validation of the means
)
_VALIDATION_SEED = 1  # of the codes drawn in a validation, the same in every epoch


class VariationalAutoencoder(replicated.ReplicatedModel):
    """An autoencoder whose codes are distributions, held near the standard normal one.

    As a functional model it decodes the mean of an image's code, so that `encoder` and `decoder`,
    what is exported and all that is measured are those of a plain autoencoder.

    The loss is the mean over the images of `reconstruction` and beta times `kl_of_units`, summed
    over the units. With beta 1 it is the negative evidence lower bound less a constant, for pixels
    that are Gaussian about the decoder's output with the variance `PIXEL_VARIANCE`. In training
    beta is raised by epochs; every loss that is reported has the whole beta, so that epochs can be
    compared.

    Args:
        encoder: images -> codes, as `networks.encoder` makes it.
        decoder: codes -> images in [0, 1].
        beta: weight of the divergence.
        warm_up: epoch e, counted from 1, trains with e / warm_up of beta, at most with all of it.
        seed: of the codes that are drawn.

    Attributes:
        posterior: images -> [means, logarithms of the variances]; shares the encoder's layers.

    Source:
        Kingma & Welling, 2013, arXiv:1312.6114, eq. 10, with one code drawn an image; beta: Higgins
        et al., 2017, beta-VAE, eq. 4; warm-up: Bowman et al., 2015, arXiv:1511.06349, section 3.1,
        evenly as Sonderby et al., 2016, arXiv:1602.02282, section 2.3.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        beta: float = 1.0,
        warm_up: int = 1,
        seed: int = 0,
    ) -> None:
        whole = networks.autoencoder(encoder, decoder)
        super().__init__(whole.inputs[0], whole.outputs[0], name=whole.name)
        self.posterior = networks.posterior(encoder)
        self._decoder = decoder
        self._beta, self._warm_up = beta, warm_up
        self._share = tf.Variable(1.0, trainable=False)  # of beta, in this epoch
        self._random = keras.random.SeedGenerator(seed)
        self._trackers = [keras.metrics.Mean(name) for name in _METRICS]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Exactly what the steps report."""
        return self._trackers

    def fit(self, *arguments: Any, callbacks: Sequence[Any] | None = None, **options: Any) -> Any:
        """Trains as `keras.Model.fit` does, and raises beta by epochs."""
        warm_up = _WarmUp(self._share, self._warm_up)
        return super().fit(*arguments, callbacks=[*(callbacks or ()), warm_up], **options)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update on (images, target), float32 (batch, height, width, channels) in [0, 1]."""
        images, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        noise = gan.draw_noise(self._random, tf.shape(images)[0], self._latent_dim)
        with tf.GradientTape() as tape:
            error, kl, _ = self._parts(images, target, noise, training=True)
            loss = ops.mean(error + self._share * self._beta * kl)
            # Gradients are summed over replicas, and each mean is over one replica's share.
            loss = loss / tf.distribute.get_strategy().num_replicas_in_sync
        variables = self.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self.optimizer.apply(gradients, variables)
        mse = error * (2.0 * PIXEL_VARIANCE / math.prod(target.shape[1:]))
        return self._counted(error, kl, mse)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The numbers of one batch, of which rows with the weight 0 do not count."""
        images, target, weights = keras.utils.unpack_x_y_sample_weight(data)
        seed = tf.constant([0, _VALIDATION_SEED], tf.int32)
        noise = gan.noise_of(seed, tf.shape(images)[0], self._latent_dim)
        error, kl, means = self._parts(images, target, noise, training=False)
        decoded = self._decoder(means, training=False)
        mse = ops.mean(ops.square(target - decoded), axis=(1, 2, 3))
        return self._counted(error, kl, mse, weights)

    @property
    def _latent_dim(self) -> int:
        return int(self._decoder.input_shape[-1])

    def _parts(self, images: Any, target: Any, noise: Any, *, training: bool) -> tuple:
        """The reconstruction's error and the divergence, both nats (batch,), and the means."""
        means, log_variances = self.posterior(images, training=training)
        codes = means + ops.exp(0.5 * log_variances) * noise
        error = reconstruction(target, self._decoder(codes, training=training))
        return error, ops.sum(kl_of_units(means, log_variances), axis=1), means

    def _counted(self, error: Any, kl: Any, mse: Any, weights: Any = None) -> dict[str, Any]:
        values = (error + self._beta * kl, error, kl, mse)
        for tracker, value in zip(self._trackers, values, strict=True):
            tracker.update_state(value, sample_weight=weights)
        return {tracker.name: tracker.result() for tracker in self._trackers}


class _WarmUp(keras.callbacks.Callback):
    """Sets each epoch's share of beta, which follows from the epoch alone."""

    def __init__(self, share: tf.Variable, epochs: int) -> None:
        super().__init__()
        self._share, self._epochs = share, epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the share before the epoch's first step."""
        self._share.assign(min(1.0, (epoch + 1) / self._epochs))


def reconstruction(images: Any, decoded: Any) -> Any:
    """Squared error, summed over pixels and channels, by twice `PIXEL_VARIANCE`: nats (batch,).

    The negative logarithm of a Gaussian density less its constant.

    Args:
        images: (batch, height, width, channels), float32 in [0, 1].
        decoded: of the same shape.
    """
    return ops.sum(ops.square(images - decoded), axis=(1, 2, 3)) / (2.0 * PIXEL_VARIANCE)


def kl_of_units(means: Any, log_variances: Any) -> Any:
    """Divergence of Gaussians from the standard normal one, nats, of the arguments' shape.

    Source:
        Kingma & Welling, 2013, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (ops.square(means) + ops.exp(log_variances) - 1.0 - log_variances)
