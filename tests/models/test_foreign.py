"""Encoders that this package did not make, through `apply`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from apply_command import complaint, run, table, write

from kerasunsup.errors import InputError
from kerasunsup.models import foreign, loading


def maps(shape=(12, 12, 3), **layers):
    """A small network of the kind that `keras.applications` gives without its top."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    inside = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    return keras.Model(inputs, inside)


def vectors(activation=None):
    base = maps()
    inputs = keras.Input((12, 12, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(base(inputs))
    return keras.Model(inputs, keras.layers.Dense(5, activation=activation)(pooled))


@pytest.fixture
def grey(tmp_path):
    write(tmp_path / "images", [f"{number:02d}.png" for number in range(30)])
    return tmp_path / "images"


@pytest.mark.parametrize("build", [maps, vectors])
def test_a_keras_encoder_serves_on_images_of_other_size_and_channels(grey, tmp_path, build):
    model = build()
    model.save(tmp_path / "m.keras")
    out = tmp_path / "out"
    assert run("encode", tmp_path / "m.keras", grey, "--output", out) == 0
    codes = np.load(out / "codes.npz")["codes"]
    opened = loading.open_model(tmp_path / "m.keras")
    assert opened.is_foreign
    assert opened.input_shape("encode") == (12, 12, 3)
    images = np.random.default_rng(0).uniform(size=(2, 12, 12, 3)).astype(np.float32)
    expected = np.asarray(model(images))
    if build is maps:
        expected = expected.mean(axis=(1, 2))
    np.testing.assert_allclose(opened.function("encode")(images), expected, atol=1e-5)
    assert codes.shape == (30, expected.shape[1])


def test_outliers_need_no_decoder_of_a_foreign_encoder_but_restore_does(grey, tmp_path, capsys):
    vectors().save(tmp_path / "m.keras")
    arguments = [tmp_path / "m.keras", grey, "--output"]
    assert run("outliers", *arguments, tmp_path / "odd", "--share", 0.1) == 0
    rows = table(tmp_path / "odd" / "outliers.csv")
    assert sum(row["outlier"] == "1" for row in rows) == 3
    capsys.readouterr()
    line = complaint(capsys, "restore", *arguments, tmp_path / "restored")
    assert "can encode, not reconstruct: give an autoencoder" in line
    line = complaint(capsys, "generate", tmp_path / "m.keras", "--output", tmp_path / "new")
    assert "can encode, not decode: give an autoencoder" in line


def test_a_saved_model_from_elsewhere_serves_where_it_is_trusted(grey, tmp_path, capsys):
    model = maps()
    archive = keras.export.ExportArchive()
    archive.track(model)
    specification = tf.TensorSpec((None, 12, 12, 3), tf.float32)
    archive.add_endpoint("serve", model.call, input_signature=[specification])
    archive.write_out(tmp_path / "saved", verbose=False)
    arguments = ["cluster", tmp_path / "saved", grey, "--clusters", 2, "--output"]
    assert "--trust-model" in complaint(capsys, *arguments, tmp_path / "no")
    assert run(*arguments, tmp_path / "out", "--trust-model") == 0
    assert len(table(tmp_path / "out" / "clusters.csv")) == 30


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda: vectors("softmax"), "can classify, not encode"),
        (lambda: maps((None, None, 3)), "such as input_shape=(96, 96, 3)"),
        (lambda: maps((12, 12, 4)), "must be (None, height, width, 1 or 3)"),
    ],
)
def test_what_gives_no_vectors_of_images_is_refused(grey, tmp_path, capsys, model, says):
    model().save(tmp_path / "m.keras")
    arguments = ["encode", tmp_path / "m.keras", grey, "--output", tmp_path / "out"]
    assert says in complaint(capsys, *arguments)
    assert not (tmp_path / "out").exists()


def test_a_model_that_gives_nan_is_refused(grey, tmp_path, capsys):
    inputs = keras.Input((16, 16, 1))
    logs = keras.layers.GlobalAveragePooling2D()(keras.ops.log(inputs - 2.0))
    keras.Model(inputs, logs).save(tmp_path / "m.keras")
    arguments = ["encode", tmp_path / "m.keras", grey, "--output", tmp_path / "out"]
    assert "gives NaN or infinite values for 00.png" in complaint(capsys, *arguments)


def test_models_of_several_inputs_are_no_encoders(tmp_path):
    one, other = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([one, other], keras.layers.Add()([one, other]))
    assert not foreign.is_encoder(model)
    model.save(tmp_path / "m.keras")
    with pytest.raises(InputError, match="neither an autoencoder"):
        loading.open_model(tmp_path / "m.keras").offers("encode")


def test_an_encoder_of_the_usual_name_is_served_by_its_vectors_alone(grey, tmp_path, capsys):
    inputs = keras.Input((12, 12, 1))
    codes = keras.layers.Dense(2)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, codes, name="encoder").save(tmp_path / "encoder.keras")
    output = ["--output", tmp_path / "out"]
    model = tmp_path / "encoder.keras"
    assert run("outliers", model, grey, "--resize", "--grey", *output) == 0


@pytest.mark.parametrize("is_fixed", [True, False])
def test_an_autoencoder_whose_codes_are_maps_reconstructs_alone(grey, tmp_path, capsys, is_fixed):
    side = 12 if is_fixed else None
    inputs = keras.Input((side, side, 1))
    encoder = keras.Model(inputs, keras.layers.Conv2D(2, 4, strides=4)(inputs), name="encoder")
    codes = keras.Input(encoder.output_shape[1:])
    decoded = keras.layers.Conv2DTranspose(1, 4, strides=4)(codes)
    decoder = keras.Model(codes, decoded, name="decoder")
    keras.Model(inputs, decoder(encoder(inputs))).save(tmp_path / "maps.keras")
    says = "can reconstruct, not encode" if is_fixed else "with a fixed height and width"
    arguments = [tmp_path / "maps.keras", grey, "--output", tmp_path / "out"]
    assert says in complaint(capsys, "encode", *arguments)


@pytest.mark.parametrize("scale", [1e25, 1e-30])
def test_codes_that_give_no_distances_are_refused(grey, tmp_path, capsys, scale):
    inputs = keras.Input((12, 12, 1))
    codes = keras.layers.Rescaling(scale)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, codes).save(tmp_path / "scaled.keras")
    line = complaint(
        capsys, "cluster", tmp_path / "scaled.keras", grey, "--resize", "--grey", "--output",
        tmp_path / "out",
    )  # fmt: skip
    assert "with which no distances can be computed" in line
