"""The denoiser with skips: its levels, shapes, range and weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasunsup.models import export, skip


@pytest.mark.parametrize(
    ("shape", "filters", "expected"),
    [
        ((28, 28, 1), (32,), (32, 64, 128)),
        ((28, 28, 1), (8, 8, 8, 8), (8, 8, 8, 8)),
        ((64, 64, 3), (4, 6), (4, 6, 12)),
        ((8, 8, 1), (5,), (5, 10)),
        ((8, 128, 1), (5,), (5, 10)),
    ],
)
def test_levels_are_three_or_as_many_as_fit(shape, filters, expected):
    assert skip.level_filters(shape, filters) == expected


def test_more_levels_than_the_image_can_be_halved_are_refused():
    with pytest.raises(ValueError, match="below one pixel: use at most 3"):
        skip.denoiser((8, 8, 1), filters=(2, 2, 2, 2))


@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 17, 3), (8, 8, 4), (31, 16, 1)])
def test_images_come_back_in_their_shape_and_range(shape):
    keras.utils.set_random_seed(0)
    model = skip.denoiser(shape, filters=(4,))
    images = np.random.default_rng(0).random((3, *shape), np.float32)
    restored = np.asarray(model(images))
    assert restored.shape == images.shape
    assert restored.dtype == np.float32
    assert restored.min() >= 0.0
    assert restored.max() <= 1.0
    assert not np.array_equal(restored, images)


def test_output_is_the_input_and_a_correction():
    model = skip.denoiser((12, 12, 1), filters=(4,))
    last = model.get_layer("transposed_convolution_1")
    last.set_weights([np.zeros_like(last.kernel), np.full(1, 0.25, np.float32)])
    images = np.random.default_rng(0).random((3, 12, 12, 1), np.float32)
    np.testing.assert_allclose(model(images), np.minimum(1.0, images + 0.25), atol=1e-6)


def test_every_level_has_a_way_across():
    model = skip.denoiser((16, 16, 1), filters=(4,))
    for name in ("down_2", "transposed_convolution_2"):  # nothing comes through what is below
        layer = model.get_layer(name)
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    images = np.random.default_rng(0).random((2, 16, 16, 1), np.float32)
    first, second = np.asarray(model(images)) - images
    assert np.abs(first - second).max() > 1e-4  # what the input says passes beside the middle


def test_weights_are_counted_from_plain_values():
    for shape, filters in (((28, 28, 1), (32,)), ((9, 17, 3), (6, 7))):
        model = skip.denoiser(shape, filters=filters, kernel_size=5)
        kernels = sum(w.size for w in model.get_weights() if w.ndim == 4)
        assert skip.num_weights(shape, filters, 5) == kernels


def test_it_is_saved_as_keras_and_savedmodel(tmp_path):
    model = skip.denoiser((9, 12, 3), filters=(4,))
    images = np.random.default_rng(0).random((2, 9, 12, 3), np.float32)
    export.write_keras(tmp_path / "model.keras", model)
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(loaded(images), model(images), atol=1e-6)
    export.write_saved_model(
        tmp_path / "export", {"reconstruct": (model, "images", "images")}, {"reconstruct": images}
    )
