"""Folded convolutions: Keras's own results, gradients of first and second order, and layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasunsup.ae import experiment as ae_experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.gan import experiment
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import folded_convolution, networks

SIZES = [2, 3, 4, 5, 6]


def _random(*shape):
    return tf.random.stateless_normal(shape, (len(shape), sum(shape)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_spread_and_its_gradients_are_those_of_a_transposed_convolution(size, channels):
    maps, kernel = _random(2, 5, 4, 6), _random(size, size, channels, 6)
    upstream = _random(2, 10, 8, channels)

    def plain(maps, kernel):
        return tf.nn.conv2d_transpose(maps, kernel, (2, 10, 8, channels), 2, "SAME")

    _compare(folded_convolution.spread, plain, maps, kernel, upstream)


def _compare(function, plain, values, kernel, upstream):
    results = []
    for one in (function, plain):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch((values, kernel))
            with tf.GradientTape() as tape:
                tape.watch((values, kernel))
                outputs = one(values, kernel)
                loss = tf.reduce_sum(tf.tanh(outputs) * upstream)
            gradients = tape.gradient(loss, (values, kernel))
            # As a gradient penalty is: its gradient is of second order.
            penalty = tf.reduce_sum(gradients[0] ** 2)
        results.append((outputs, *gradients, *outer.gradient(penalty, (values, kernel))))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=2e-4)


@pytest.fixture
def spreads(monkeypatch):
    """Counts how often a fold took a convolution's place."""
    calls = []
    spread = folded_convolution.spread
    monkeypatch.setattr(
        folded_convolution, "spread", lambda *given: calls.append("spread") or spread(*given)
    )
    return calls


@pytest.mark.parametrize(
    ("options", "is_folded"),
    [
        ({"use_bias": True, "activation": "sigmoid"}, True),
        ({"filters": 3, "use_bias": False}, True),
        ({"filters": 8}, False),
        ({"strides": 1}, False),
        ({"padding": "valid"}, False),
        ({"kernel_size": (3, 5)}, False),
        ({"output_padding": 1}, False),
        ({"dtype": "mixed_bfloat16"}, False),
    ],
)
def test_a_layer_gives_what_its_keras_twin_gives_folded_or_not(spreads, options, is_folded):
    given = {"filters": 1, "kernel_size": 5, "strides": 2, "padding": "same", **options}
    layer, twin = folded_convolution.FoldedConv2DTranspose(**given), layers.Conv2DTranspose(**given)
    maps = _random(2, 6, 7, 4)
    expected = twin(maps)
    layer.build(maps.shape)
    layer.set_weights([np.full_like(w, 0.3) if w.ndim == 1 else w for w in twin.get_weights()])
    twin.set_weights(layer.get_weights())
    expected = twin(maps)
    np.testing.assert_allclose(
        keras.ops.cast(layer(maps), "float32"), keras.ops.cast(expected, "float32"), atol=1e-5
    )
    assert spreads == (["spread"] if is_folded else [])


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (25, 30, 1)])
def test_networks_of_folded_layers_take_and_give_the_weights_of_plain_ones(shape):
    inputs = _random(3, 4)
    for build, options in (
        (networks.decoder, {"latent_dim": 4}),
        (networks.generator, {"noise_dim": 4, "base_filters": 2}),
    ):
        fast = build(shape, **options, convolution=folded_convolution.FoldedConv2DTranspose)
        plain = build(shape, **options)
        assert _is_folded(fast)
        assert not _is_folded(plain)
        assert [w.path for w in fast.weights] == [w.path for w in plain.weights]
        plain.set_weights(fast.get_weights())
        np.testing.assert_allclose(fast(inputs), plain(inputs), atol=1e-5)


def _is_folded(network):
    return any(
        isinstance(layer, folded_convolution.FoldedConv2DTranspose) for layer in network.layers
    )


@pytest.mark.parametrize(("onednn", "is_shipped"), [("1", False), ("1", True), ("0", False)])
def test_only_networks_that_train_beside_fast_kernels_are_of_folded_layers(
    monkeypatch, onednn, is_shipped
):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    shape, shipped = (16, 16, 1), {"is_shipped": is_shipped}
    model = ae_experiment.build(AutoencoderSettings(filters=(2,)), shape, **shipped)
    gan = experiment.build(GANSettings(base_filters=2), shape, **shipped)
    for network in (model.get_layer("decoder"), gan.generator):
        assert _is_folded(network) == (onednn == "1" and not is_shipped)


def test_a_saved_network_of_folded_layers_comes_back(tmp_path):
    network = networks.generator(
        (16, 16, 1),
        noise_dim=4,
        base_filters=2,
        convolution=folded_convolution.FoldedConv2DTranspose,
    )
    network.save(tmp_path / "network.keras")
    noise = _random(2, 4)
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again(noise), network(noise))
