"""Faster layers: Keras's own results, gradients of first and second order, and networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasunsup.ae import experiment as ae_experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.gan import experiment
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import faster_layers, networks
from kerasunsup.training import loop

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

    _compare(faster_layers.spread, plain, maps, kernel, upstream)


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
    spread = faster_layers.spread
    monkeypatch.setattr(
        faster_layers, "spread", lambda *given: calls.append("spread") or spread(*given)
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
    layer, twin = faster_layers.Conv2DTranspose(**given), layers.Conv2DTranspose(**given)
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


@pytest.mark.parametrize(
    ("options", "is_folded"),
    [
        ({"activation": "relu"}, True),
        ({"kernel_size": 5, "use_bias": False}, True),
        ({"kernel_size": 3, "padding": "valid"}, False),
        ({"strides": 1}, False),
        ({"kernel_size": (3, 5)}, False),
        ({"dilation_rate": 2, "strides": 1}, False),
    ],
)
@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (2, 7, 6, 1), (2, 8, 6, 8)])
def test_a_convolution_and_its_gradients_are_those_of_its_keras_twin(
    spreads, options, is_folded, shape
):
    given = {"filters": 5, "kernel_size": 4, "strides": 2, "padding": "same", **options}
    layer, twin = faster_layers.Conv2D(**given), layers.Conv2D(**given)
    images = _random(*shape)
    _assert_alike(_of_both(layer, twin, images), atol=2e-4)
    is_of_images = shape[1] % 2 == 0 and shape[3] <= 4
    assert bool(spreads) == (is_folded and is_of_images)


def _of_both(layer, twin, inputs):
    """Outputs, gradients by inputs and weights, and gradients of the former's square, of both."""
    twin(inputs)
    layer(inputs)  # builds it
    layer.set_weights([np.full_like(w, 0.3) if w.ndim == 1 else w for w in twin.get_weights()])
    twin.set_weights(layer.get_weights())
    return [_results(one, inputs) for one in (layer, twin)]


def _results(layer, inputs):
    weights = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, **_training(layer))
            loss = tf.reduce_sum(tf.tanh(tf.cast(outputs, tf.float32)) * _random(*outputs.shape))
        first = tape.gradient(loss, [inputs, *weights])
        penalty = tf.reduce_sum(tf.cast(first[0], tf.float32) ** 2)
    second = outer.gradient(penalty, [inputs, *weights], unconnected_gradients="zero")
    return {"outputs": [outputs], "first": first, "second": second}


def _training(layer):
    return {"training": True} if isinstance(layer, layers.BatchNormalization) else {}


def _assert_alike(both, *, atol, parts=("outputs", "first", "second")):
    for part in parts:
        for found, expected in zip(both[0][part], both[1][part], strict=True):
            found, expected = (tf.cast(one, tf.float32) for one in (found, expected))
            np.testing.assert_allclose(found, expected, atol=atol, rtol=atol, err_msg=part)


class _ExactNormalization(layers.BatchNormalization):
    """Keras's formula, with a variance whose gradient of second order is exact."""

    def call(self, inputs, training=None, mask=None):
        axes = list(range(len(inputs.shape) - 1))
        centred = inputs - tf.reduce_mean(inputs, axes)
        variance = tf.reduce_mean(centred**2, axes)
        return self.gamma * centred * tf.math.rsqrt(variance + self.epsilon) + self.beta


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 4, 5)])
def test_a_normalization_and_its_gradients_are_those_of_its_keras_twin(shape):
    inputs = 2.0 * _random(*shape) + 1.0
    given = {"momentum": 0.9}
    layer, twin = faster_layers.BatchNormalization(**given), layers.BatchNormalization(**given)
    both = _of_both(layer, twin, inputs)
    _assert_alike(both, atol=2e-5, parts=("outputs", "first"))
    for found, expected in zip(layer.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(layer.moving_mean, 0.3)  # it moved
    np.testing.assert_allclose(layer(inputs), twin(inputs), atol=1e-5)  # not while training
    exact = _of_both(layer, _ExactNormalization(**given), inputs)
    _assert_alike(exact, atol=2e-4)


def test_a_normalization_in_bfloat16_is_its_keras_twin_but_for_rounding():
    with loop.precision("mixed_bfloat16"):
        layer, twin = faster_layers.BatchNormalization(), layers.BatchNormalization()
    both = _of_both(layer, twin, tf.cast(_random(8, 6, 6, 4), tf.bfloat16))
    assert both[0]["outputs"][0].dtype == tf.bfloat16
    _assert_alike(both, atol=0.05, parts=("outputs", "first"))


@pytest.mark.parametrize(
    "options", [{"axis": 1}, {"scale": False}, {"center": False}, {"synchronized": True}]
)
def test_other_normalizations_are_left_to_keras(monkeypatch, options):
    monkeypatch.setattr(tf.raw_ops, "FusedBatchNormV3", None)
    layer = faster_layers.BatchNormalization(**options)
    assert layer(_random(3, 4, 4, 5), training=True).shape == (3, 4, 4, 5)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (25, 30, 1)])
def test_networks_of_folded_layers_take_and_give_the_weights_of_plain_ones(shape):
    inputs = _random(3, 4)
    for build, options in (
        (networks.decoder, {"latent_dim": 4}),
        (networks.generator, {"noise_dim": 4, "base_filters": 2}),
    ):
        fast = build(shape, **options, layer_types=faster_layers)
        plain = build(shape, **options)
        assert _is_folded(fast)
        assert not _is_folded(plain)
        assert [w.path for w in fast.weights] == [w.path for w in plain.weights]
        plain.set_weights(fast.get_weights())
        np.testing.assert_allclose(fast(inputs), plain(inputs), atol=1e-5)


def _is_folded(network):
    return any(isinstance(layer, faster_layers.Conv2DTranspose) for layer in network.layers)


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
    paying = experiment.build(GANSettings(base_filters=2, gradient_penalty=0.1), shape, **shipped)
    assert _is_folded(paying.generator) == (onednn == "1" and not is_shipped)
    # The penalty is inside `tf.cond`, where the fused kernel's second derivative is wrong.
    assert not any(
        isinstance(layer, faster_layers.BatchNormalization) for layer in paying.discriminator.layers
    )
    for network in (gan.discriminator, gan.generator):
        is_faster = any(
            isinstance(layer, faster_layers.BatchNormalization) for layer in network.layers
        )
        assert is_faster == (onednn == "1" and not is_shipped)


def test_a_saved_network_of_folded_layers_comes_back(tmp_path):
    network = networks.generator(
        (16, 16, 1),
        noise_dim=4,
        base_filters=2,
        layer_types=faster_layers,
    )
    network.save(tmp_path / "network.keras")
    noise = _random(2, 4)
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again(noise), network(noise))


def test_a_game_with_a_penalty_goes_the_same_way_by_faster_layers():
    """The penalty is paid in a graph, inside `tf.cond`, and its gradient is of second order."""
    settings = GANSettings(
        base_filters=4, hidden_units=8, loss="relativistic", gradient_penalty=0.5,
        precision="float32",
    )  # fmt: skip
    images = tf.random.stateless_uniform((32, 16, 16, 1), (0, 1))
    data = tf.data.Dataset.from_tensor_slices(images).repeat(9).batch(32)
    ends = []
    for is_shipped in (True, False):
        keras.utils.set_random_seed(0)
        gan = experiment.build(settings, (16, 16, 1), is_shipped=is_shipped)
        gan.fit(data, shuffle=False, verbose=0)
        ends.append([gan.generator.get_weights(), gan.discriminator.get_weights()])
    for of_shipped, of_faster in zip(*ends, strict=True):
        for expected, found in zip(of_shipped, of_faster, strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-4)
