"""The variational step beside plain NumPy, its warm-up, and the networks that it leaves."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.models import gan, networks, optimizers
from kerasunsup.models.variational import PIXEL_VARIANCE, VariationalAutoencoder

SHAPE, LATENT = (8, 8, 1), 3
IMAGES = np.random.default_rng(0).random((12, *SHAPE), np.float32)


def build(*, learning_rate: float = 0.01, **options) -> VariationalAutoencoder:
    keras.utils.set_random_seed(0)
    shape = {"latent_dim": LATENT, "filters": (2,), "hidden_units": 6}
    encoder, decoder = networks.encoder(SHAPE, **shape), networks.decoder(SHAPE, **shape)
    model = VariationalAutoencoder(encoder, decoder, **options)
    model.compile(optimizers.adam(learning_rate, fused=False), jit_compile=False, run_eagerly=True)
    return model


def parts(model: VariationalAutoencoder, noise: np.ndarray) -> tuple[np.ndarray, ...]:
    """Reconstruction error and divergence in nats, one an image, and the error of the means."""
    means, logs = map(np.asarray, model.posterior(IMAGES))
    decoder = model.get_layer("decoder")
    decoded, of_means = (
        np.asarray(decoder(codes)) for codes in (means + np.exp(logs / 2) * noise, means)
    )
    # The negative logarithm of the pixels' density, less that of a perfect reconstruction.
    error = ((IMAGES - decoded) ** 2 / (2 * PIXEL_VARIANCE)).sum(axis=(1, 2, 3))
    kl = -0.5 * (1 + logs - means**2 - np.exp(logs)).sum(axis=1)
    return error, kl, ((IMAGES - of_means) ** 2).mean(axis=(1, 2, 3))


def test_validation_reports_the_bound_and_its_parts():
    model = build(beta=2.5)
    noise = np.asarray(gan.noise_of(tf.constant([0, 1]), len(IMAGES), LATENT))
    error, kl, mse = parts(model, noise)
    found = model.evaluate(IMAGES, IMAGES, batch_size=12, verbose=0, return_dict=True)
    assert found["reconstruction"] == pytest.approx(error.mean(), rel=1e-5)
    assert found["kl"] == pytest.approx(kl.mean(), rel=1e-5)
    assert found["loss"] == pytest.approx((error + 2.5 * kl).mean(), rel=1e-5)
    assert found["mse"] == pytest.approx(mse.mean(), rel=1e-5)
    assert model.evaluate(IMAGES, IMAGES, batch_size=12, verbose=0, return_dict=True) == found


def test_rows_that_fill_a_batch_up_do_not_count():
    model = build()
    weights = (np.arange(12) < 7).astype(np.float32)
    model.evaluate(IMAGES, IMAGES, sample_weight=weights, batch_size=12, verbose=0)
    filled = {tracker.name: float(tracker.result()) for tracker in model.metrics}
    alone = model.evaluate(IMAGES[:7], IMAGES[:7], batch_size=7, verbose=0, return_dict=True)
    assert filled == pytest.approx(alone, rel=1e-5)


def test_a_step_goes_down_the_gradient_of_the_weighted_sum_of_all_weights():
    model = build(beta=2.0, warm_up=4)
    noise = np.asarray(gan.draw_noise(keras.random.SeedGenerator(0), len(IMAGES), LATENT))
    variables = [variable.value for variable in model.trainable_variables]
    assert len(variables) == 14  # the head of the variances among them
    with tf.GradientTape() as tape:
        means, logs = model.posterior(IMAGES)
        decoded = model.get_layer("decoder")(means + tf.exp(logs / 2) * noise)
        error = tf.reduce_sum((IMAGES - decoded) ** 2, axis=(1, 2, 3)) / (2 * PIXEL_VARIANCE)
        kl = -0.5 * tf.reduce_sum(1 + logs - means**2 - tf.exp(logs), axis=1)
        loss = tf.reduce_mean(error + 0.25 * 2.0 * kl)  # the first of four epochs
    expected = tape.gradient(loss, variables)
    applied = []
    model.optimizer.apply = lambda gradients, _: applied.extend(gradients)
    history = model.fit(IMAGES, IMAGES, batch_size=12, shuffle=False, verbose=0).history
    for found, value in zip(applied, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6)
    # What is reported has the whole beta.
    assert history["loss"][0] == pytest.approx(float(tf.reduce_mean(error + 2.0 * kl)), rel=1e-5)
    assert history["mse"][0] == pytest.approx(
        float(tf.reduce_mean((IMAGES - decoded) ** 2)), rel=1e-5
    )


def test_beta_rises_by_epochs_wherever_a_training_goes_on():
    model, shares = build(warm_up=4), []
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: shares.append(float(model._share))
    )
    for first, last in ((0, 2), (2, 6)):
        model.fit(
            IMAGES, IMAGES, initial_epoch=first, epochs=last, callbacks=[seen], verbose=0,
            batch_size=12,
        )  # fmt: skip
    assert shares == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_as_a_network_it_is_the_plain_autoencoder_of_the_means():
    model = build()
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    means, _ = model.posterior(IMAGES)
    np.testing.assert_array_equal(encoder(IMAGES), means)
    np.testing.assert_array_equal(model(IMAGES), decoder(means))
    plain = keras.Model(model.input, model.output)
    assert len(model.get_weights()) == len(plain.get_weights()) + 2
    other = build(learning_rate=0.1)
    other.set_weights([weight + 1.0 for weight in model.get_weights()])
    np.testing.assert_allclose(
        other.posterior.get_layer("log_variances").bias, np.ones(LATENT, np.float32)
    )
