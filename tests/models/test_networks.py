"""Shapes, ranges, names and sizes of the networks."""

import itertools
import math
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasunsup import cli
from kerasunsup.models import export, networks

SIDES = (8, 9, 28, 31, 64, 127, 128)


def build(image_shape, latent_dim=4, filters=(32,), hidden_units=8):
    shape = {"latent_dim": latent_dim, "filters": filters, "hidden_units": hidden_units}
    encoder = networks.encoder(image_shape, **shape)
    decoder = networks.decoder(image_shape, **shape)
    return encoder, decoder, networks.autoencoder(encoder, decoder)


@pytest.fixture
def bfloat16():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("filters", [(32,), (8, 16, 32)])
@pytest.mark.parametrize(("side", "channels"), list(itertools.product(SIDES, (1, 3))))
def test_every_side_comes_back_in_its_own_shape_and_range(side, channels, filters):
    shape = (side, side, channels)
    encoder, decoder, autoencoder = build(shape, filters=filters)
    assert encoder.output_shape == (None, 4)
    assert decoder.output_shape == (None, *shape)
    assert autoencoder.output_shape == (None, *shape)
    assert [networks.stage_shapes(shape, filters)[-1]] == [
        (math.ceil(side / 2 ** len(filters)),) * 2 + filters[-1:]
    ]


@pytest.mark.parametrize("shape", [(9, 31, 3), (28, 28, 1), (127, 8, 1)])
@pytest.mark.parametrize("filters", [(4,), (8, 16, 32)])
def test_images_and_codes_are_float32_and_images_in_the_unit_range(shape, filters):
    encoder, decoder, autoencoder = build(shape, filters=filters)
    images = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    codes = np.asarray(encoder(images))
    assert (codes.dtype, codes.shape) == (np.float32, (2, 4))
    # Far codes drive the sigmoid to its ends, never beyond.
    for drawn in (autoencoder(images), decoder(1e4 * codes)):
        drawn = np.asarray(drawn)
        assert (drawn.dtype, drawn.shape) == (np.float32, (2, *shape))
        assert drawn.min() >= 0.0
        assert drawn.max() <= 1.0
    np.testing.assert_array_equal(np.asarray(autoencoder(images)), np.asarray(decoder(codes)))


def test_codes_and_images_stay_float32_in_mixed_precision(bfloat16):
    encoder, decoder, autoencoder = build((28, 28, 1), filters=(4, 8))
    assert encoder.get_layer("hidden").compute_dtype == "bfloat16"
    assert decoder.get_layer("hidden").compute_dtype == "bfloat16"
    images = np.random.default_rng(0).random((2, 28, 28, 1)).astype(np.float32)
    for model in (encoder, autoencoder):
        assert np.asarray(model(images)).dtype == np.float32
    assert {variable.dtype for variable in autoencoder.variables} == {"float32"}
    # Rounded to bfloat16 there would be at most 128 values between 0.25 and 0.5.
    drawn = np.asarray(decoder(np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)))
    assert len(np.unique(drawn)) > 1000


def test_classifier_stays_float32_where_sets_are_compared_in_mixed_precision(bfloat16):
    classifier = networks.classifier((28, 28, 1), 10)
    assert classifier.get_layer("conv_1").compute_dtype == "bfloat16"
    assert classifier.get_layer("features").output.dtype == "float32"
    assert classifier.output.dtype == "float32"


@pytest.mark.parametrize(
    ("shape", "num_stages"), [((8, 8, 1), 3), ((9, 9, 1), 4), ((128, 8, 3), 3), ((31, 28, 1), 5)]
)
def test_more_stages_than_the_image_can_be_halved_are_refused(shape, num_stages):
    assert build(shape, filters=(2,) * num_stages)[2].output_shape == (None, *shape)
    for network in (networks.encoder, networks.decoder):
        with pytest.raises(ValueError, match=f"use at most {num_stages} values") as caught:
            network(shape, latent_dim=4, filters=(2,) * (num_stages + 1))
        assert f"{shape[0]} x {shape[1]}" in str(caught.value)


def test_layers_are_named():
    encoder, decoder, autoencoder = build((9, 9, 1), filters=(8, 16))
    assert [layer.name for layer in encoder.layers] == [
        "images", "convolution_1", "convolution_2", "flatten", "hidden", "codes",
    ]  # fmt: skip
    assert [layer.name for layer in decoder.layers] == [
        "codes", "hidden", "to_feature_maps", "feature_maps", "transposed_convolution_2", "crop_2",
        "transposed_convolution_1", "crop_1", "images",
    ]  # fmt: skip
    assert [layer.name for layer in autoencoder.layers] == ["images", "encoder", "decoder"]
    assert autoencoder.name == "autoencoder"


def test_codes_are_linear():
    # ReLU on the code would let most of its units die.
    assert networks.encoder((9, 9, 1), latent_dim=4).get_layer("codes").activation.__name__ == (
        "linear"
    )


def test_only_odd_sides_are_cropped():
    decoder = networks.decoder((28, 28, 1), latent_dim=4, filters=(8, 16))
    assert not [layer for layer in decoder.layers if layer.name.startswith("crop")]


def test_default_network_has_the_number_of_weights_that_its_layers_add_up_to():
    encoder, decoder, autoencoder = build((28, 28, 1), latent_dim=32, hidden_units=128)
    maps = 14 * 14 * 32
    assert encoder.count_params() == ((5 * 5 * 1 * 32 + 32) + (maps * 128 + 128) + (128 * 32 + 32))
    assert decoder.count_params() == ((32 * 128 + 128) + (128 * maps + maps) + (5 * 5 * 32 * 1 + 1))
    assert autoencoder.count_params() == encoder.count_params() + decoder.count_params()
    assert autoencoder.count_params() == 1_622_017


@pytest.mark.parametrize("shape", [(8, 8, 1), (31, 28, 3)])
def test_classifier_gives_logits_and_has_a_feature_layer(shape):
    classifier = networks.classifier(shape, 7, feature_dim=16)
    assert classifier.output_shape == (None, 7)
    assert classifier.get_layer("features").output.shape == (None, 16)
    images = np.random.default_rng(0).random((5, *shape)).astype(np.float32)
    logits = np.asarray(classifier(images))
    assert np.abs(logits.sum(axis=1) - 1.0).max() > 1e-3  # no softmax
    np.testing.assert_array_equal(logits, np.asarray(classifier(images)))  # no dropout outside fit


def test_the_default_classifier_is_that_of_stored_judges():
    layers = networks.classifier((28, 28, 1), 10).layers
    kinds = ["conv", "norm", "relu", "pool"]
    stages = [f"{kind}_{stage}" for stage in (1, 2, 3) for kind in kinds]
    assert [layer.name for layer in layers[1:13]] == stages
    convolutions = [layer.filters for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolutions == [32, 64, 128]


def test_a_classifier_pooled_first_normalizes_a_quarter_of_the_numbers():
    classifier = networks.classifier((28, 28, 1), 10, filters=(4, 6), is_pooled_first=True)
    assert classifier.get_layer("conv_1").output.shape == (None, 28, 28, 4)
    assert classifier.get_layer("norm_1").output.shape == (None, 14, 14, 4)
    assert classifier.get_layer("relu_2").output.shape == (None, 7, 7, 6)
    assert classifier.get_layer("flatten").output.shape == (None, 7 * 7 * 6)


def test_the_largest_of_the_first_noise_values_chooses_the_category(tmp_path):
    generator = networks.generator((16, 16, 1), noise_dim=5, base_filters=2, categories=3)
    generator.save(tmp_path / "generator.keras")
    for model in (generator, keras.models.load_model(tmp_path / "generator.keras")):
        joined = keras.Model(model.input, model.get_layer("category_and_noise").output)
        noise = np.array([[0.1, 0.9, 0.2, 5.0, 5.0], [-0.1, -0.9, -0.2, 0.0, 0.0]], np.float32)
        expected = np.concatenate([[[0.0, 3.0, 0.0], [3.0, 0.0, 0.0]], noise], axis=1)
        np.testing.assert_allclose(np.asarray(joined(noise)), expected)


def test_an_export_for_which_the_disk_has_no_room_leaves_what_stood_and_nothing_else(
    tmp_path, monkeypatch, capsys
):
    class Archive:
        def track(self, model):
            pass

        def add_endpoint(self, *arguments, **options):
            pass

        def write_out(self, folder, **options):
            (Path(folder) / "half").write_bytes(b"half")
            raise tf.errors.ResourceExhaustedError(None, None, f"{folder}; {os.strerror(28)}")

    model = networks.encoder((8, 8, 1), latent_dim=2, filters=(2,), hidden_units=4)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "old").write_bytes(b"whole")
    # Of another process of the same number, in another container, and killed.
    (tmp_path / f".export.{os.getpid()}.part").mkdir()
    monkeypatch.setattr(keras.export, "ExportArchive", Archive)
    with cli.exit_status("ae") as status:
        signatures = {"encode": (model, "images", "codes")}
        export.write_saved_model(tmp_path / "export", signatures, {})
    assert status.code == 2
    error = capsys.readouterr().err
    assert error.startswith("kerasunsup ae: cannot write: No space left on device; what was saved")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["old"]


@pytest.mark.parametrize("shape", [(28, 28, 1), (33, 64, 3)])
@pytest.mark.parametrize("hidden", [0, 200])
def test_weights_are_known_before_a_network_is_built(shape, hidden):
    filters = networks.adversarial_filters(shape, 16)
    adversarial = {"base_filters": 16, "hidden_units": hidden}
    built = [
        networks.generator(shape, noise_dim=8, **adversarial),
        networks.discriminator(shape, **adversarial),
    ]
    if hidden:
        pair = {"latent_dim": 8, "filters": (4, 9), "hidden_units": hidden}
        both = [networks.encoder(shape, **pair), networks.decoder(shape, **pair)]
        counted = networks.num_weights(shape, (4, 9), hidden, 5)
        assert counted == pytest.approx(sum(model.count_params() for model in both), rel=0.03)
    counted = networks.num_weights(shape, filters, hidden, 4)
    rough = 0.1 if hidden else 0.5  # without it most weights are those of noise and logit
    assert counted == pytest.approx(sum(model.count_params() for model in built), rel=rough)


def test_more_categories_than_noise_values_are_refused():
    with pytest.raises(ValueError, match="6 categories need as many noise values, received 5"):
        networks.generator((16, 16, 1), noise_dim=5, categories=6)


@pytest.mark.parametrize("filters", [(4,), (4, 8)])
def test_a_saved_autoencoder_comes_back_with_its_parts(tmp_path, filters):
    _, _, autoencoder = build((9, 9, 3), filters=filters)
    export.write_keras(tmp_path / "model.keras", autoencoder)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.to_json() == autoencoder.to_json()
    images = np.random.default_rng(0).random((2, 9, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(loaded(images)), np.asarray(autoencoder(images)))
    for part in ("encoder", "decoder"):
        ours, theirs = autoencoder.get_layer(part), loaded.get_layer(part)
        for before, after in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("shape", [(16, 16, 1), (28, 28, 1), (31, 17, 3), (64, 64, 3), (32, 48, 1)])
def test_adversarial_networks_fit_every_side_from_16_to_64(shape):
    generator = networks.generator(shape, noise_dim=5, base_filters=2)
    discriminator = networks.discriminator(shape, base_filters=2)
    noise = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32) * 100
    images = np.array(generator(noise))
    assert (images.shape, images.dtype) == ((3, *shape), np.float32)
    assert images.min() >= 0.0
    assert images.max() <= 1.0
    logits = np.array(discriminator(images))
    assert (logits.shape, logits.dtype) == ((3, 1), np.float32)
    for network in (generator, discriminator):
        kinds = [type(layer).__name__ for layer in network.layers]
        assert "BatchNormalization" in kinds


@pytest.mark.parametrize(("side", "stages"), [(16, 2), (28, 2), (29, 3), (32, 3), (33, 3), (64, 4)])
def test_stages_follow_from_the_side(side, stages):
    filters = networks.adversarial_filters((side, side, 1), 8)
    assert filters == tuple(8 * 2**stage for stage in range(stages))


@pytest.mark.parametrize("shape", [(15, 28, 1), (28, 65, 3)])
def test_sides_that_a_gan_is_not_built_for_are_refused(shape):
    with pytest.raises(ValueError, match="16 to 64 pixels"):
        networks.generator(shape, noise_dim=3)


def test_adversarial_networks_stay_float32_at_their_borders(bfloat16):
    generator = networks.generator((16, 16, 1), noise_dim=5, base_filters=2)
    discriminator = networks.discriminator((16, 16, 1), base_filters=2)
    assert generator.get_layer("transposed_convolution_2").compute_dtype == "bfloat16"
    assert generator.get_layer("transposed_convolution_1").compute_dtype == "float32"
    assert discriminator.get_layer("conv_2").compute_dtype == "bfloat16"
    images = generator(np.ones((2, 5), np.float32))
    assert images.dtype == discriminator(images).dtype == np.float32


def test_without_a_hidden_layer_the_logit_is_linear_in_the_last_feature_maps():
    shape, options = (16, 16, 1), {"base_filters": 4, "hidden_units": 0}
    plain = networks.discriminator(shape, **options)
    assert plain.get_layer("logits").kernel.shape == (4 * 4 * 8, 1)
    assert networks.discriminator(shape, base_filters=4).get_layer("logits").kernel.shape[0] == 256
    names = [layer.name for layer in networks.generator(shape, noise_dim=3, **options).layers]
    assert "hidden" not in names
    hidden = networks.generator(shape, noise_dim=3, base_filters=4, hidden_units=7)
    assert hidden.get_layer("to_feature_maps").kernel.shape == (7, 4 * 4 * 8)


def test_a_discriminators_noise_and_dropout_act_while_training_only():
    images = np.random.default_rng(0).random((64, 16, 16, 1), np.float32)
    plain = networks.discriminator((16, 16, 1), base_filters=4)
    for option, layer in (({"noise": 0.5}, "noise"), ({"dropout": 0.5}, "dropout_2")):
        changed = networks.discriminator((16, 16, 1), base_filters=4, **option)
        assert changed.get_layer(layer) is not None
        changed.set_weights(plain.get_weights())
        np.testing.assert_array_equal(np.array(changed(images)), np.array(plain(images)))
        first, second = (np.array(changed(images, training=True)) for _ in range(2))
        assert np.abs(first - second).min() > 0


@pytest.mark.parametrize("filters", [(32, 64, 128), (8, 16, 16, 16)])
def test_what_codes_say_is_not_lost_in_the_stages_before_training(filters):
    # Else the gradient is as small, and the network answers each image with the mean one.
    keras.utils.set_random_seed(0)
    encoder, decoder, _ = build((64, 64, 3), latent_dim=32, filters=filters, hidden_units=64)
    images = np.random.default_rng(0).random((32, 64, 64, 3)).astype(np.float32)
    assert np.asarray(encoder(images)).std(axis=0).mean() > 0.1
    codes = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    before_sigmoid = keras.Model(decoder.input, decoder.layers[-2].output)
    assert np.asarray(before_sigmoid(codes)).std(axis=0).mean() > 0.15
