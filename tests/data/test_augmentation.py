import math

import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.data import augmentation
from kerasunsup.data import splits as data_splits
from kerasunsup.settings import TrainingSettings

SEED = (3, 5)


def _square(num_images=64, height=28, width=28, channels=1, half=4):
    """A white square in the middle of black images."""
    images = np.zeros((num_images, height, width, channels), np.float32)
    top, left = height // 2 - half, width // 2 - half
    images[:, top : top + 2 * half, left : left + 2 * half] = 1.0
    return images


def _ramp(num_images, height, width):
    """Images whose two channels are the column and the row, as shares of the largest."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([columns / (width - 1), rows / (height - 1)], axis=-1)
    return np.repeat(image[np.newaxis], num_images, axis=0)


def _centers(images):
    """(num_images, 2): row and column of the centre of mass of the first channel."""
    mass = images[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]]
    total = mass.sum(axis=(1, 2))
    return np.stack([(mass * axis).sum(axis=(1, 2)) / total for axis in (rows, columns)], axis=1)


def _matrices(height, width, strength, num_images=500):
    """Of each image, output offset (x, y) from the middle -> input offset: (2, 2) and a shift (2,).

    Read off the deformed ramps in the middle, where no edge is in reach.
    """
    deformed = augmentation.deform(_ramp(num_images, height, width), strength, SEED).numpy()
    at = deformed * np.array([width - 1, height - 1]) - np.array([width - 1, height - 1]) / 2
    row, column = height // 2, width // 2
    here = at[:, row, column]
    across, down = at[:, row, column + 2] - here, at[:, row + 2, column] - here
    matrices = np.stack([across, down], axis=2) / 2.0
    offset = np.array([column - (width - 1) / 2, row - (height - 1) / 2])
    return matrices, here - matrices @ offset


def _digits():
    settings = TrainingSettings(limit=200, test_limit=200)
    return data_splits.load(settings).train.array()


def _steepness(images):
    """Mean square of the difference between neighboring pixels."""
    images = np.asarray(images)
    return np.square(np.diff(images, axis=1)).mean() + np.square(np.diff(images, axis=2)).mean()


@pytest.mark.parametrize("is_sharp", [False, True])
def test_no_strength_changes_nothing(is_sharp):
    images = np.random.default_rng(0).random((4, 9, 12, 3)).astype(np.float32)
    deformed = augmentation.deform(images, 0.0, SEED, is_sharp=is_sharp)
    np.testing.assert_array_equal(deformed, images)


@pytest.mark.parametrize("shape", [(5, 28, 28, 1), (5, 17, 30, 3)])
@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("is_sharp", [False, True])
def test_shape_type_and_range_stay(shape, strength, is_sharp):
    images = np.random.default_rng(0).random(shape).astype(np.float32)
    deformed = augmentation.deform(images, strength, SEED, is_sharp=is_sharp)
    assert deformed.shape == shape
    assert deformed.dtype == tf.float32
    assert deformed.numpy().min() >= 0.0
    assert deformed.numpy().max() <= 1.0
    assert not np.array_equal(deformed, images)


def test_the_seed_decides_alone():
    first = augmentation.deform(_square(), 1.0, SEED).numpy()
    tf.random.set_seed(99)
    np.testing.assert_array_equal(first, augmentation.deform(_square(), 1.0, SEED))
    assert not np.array_equal(first, augmentation.deform(_square(), 1.0, (3, 6)))


def test_the_images_of_a_batch_are_deformed_independently():
    deformed = augmentation.deform(_square(200), 1.0, SEED).numpy()
    assert len(np.unique(deformed.reshape(200, -1), axis=0)) == 200
    moved = _centers(deformed)
    for axis in (0, 1):
        assert abs(np.corrcoef(moved[:-1, axis], moved[1:, axis])[0, 1]) < 0.25
    assert abs(np.corrcoef(moved[:, 0], moved[:, 1])[0, 1]) < 0.25


def test_one_images_channels_are_deformed_alike():
    images = np.repeat(_square(), 3, axis=3) * np.array([1.0, 0.5, 0.25], np.float32)
    deformed = augmentation.deform(images, 1.0, SEED).numpy()
    np.testing.assert_allclose(deformed[..., 1], 0.5 * deformed[..., 0], atol=1e-6)
    np.testing.assert_allclose(deformed[..., 2], 0.25 * deformed[..., 0], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (28, 40), (41, 28)])
def test_a_centred_square_moves_both_ways_and_no_farther_than_a_tenth(height, width):
    images = _square(600, height, width)
    moved = _centers(augmentation.deform(images, 1.0, SEED).numpy()) - _centers(images)
    # Uniform within a tenth of a side: a standard error of 0.1 side / sqrt(3 * 600).
    assert (abs(moved.mean(axis=0)) < 0.1 * np.array([height, width]) / math.sqrt(1800) * 4).all()
    # The shift is on the input's side; what is turned and scaled back reaches as far as this.
    reach = 0.1 * math.hypot(height, width) * (1.0 + 0.3) / (1.0 - 0.15)
    assert np.linalg.norm(moved, axis=1).max() < reach + 0.3
    assert (abs(moved).max(axis=0) > 0.05 * np.array([height, width])).all()


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize(("height", "width"), [(41, 41), (32, 48)])
def test_no_deformation_exceeds_the_limits_and_most_of_each_is_used(height, width, strength):
    matrices, shifts = _matrices(height, width, strength)
    # matrix = turn @ [[across, shear], [0, down]] up to the order of its parts: the first column
    # is the turn times its scale, what is left of the second is shear and scale.
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    across = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    cosine, sine = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    shear = cosine * matrices[:, 0, 1] + sine * matrices[:, 1, 1]
    down = -sine * matrices[:, 0, 1] + cosine * matrices[:, 1, 1]
    for values, middle, limit in (
        (angles, 0.0, 20.0),
        (across, 1.0, 0.15),
        (down, 1.0, 0.15),
        (shear, 0.0, 0.3),
        (shifts[:, 0], 0.0, 0.1 * width),
        (shifts[:, 1], 0.0, 0.1 * height),
    ):
        largest = limit * strength
        assert abs(values - middle).max() < 1.01 * largest
        assert (values - middle).max() > 0.95 * largest
        assert (values - middle).min() < -0.95 * largest
        assert abs((values - middle).mean()) < 4 * largest / math.sqrt(3 * 500)


@pytest.mark.parametrize("is_sharp", [False, True])
def test_what_comes_in_from_outside_repeats_the_edge(is_sharp):
    images = np.full((8, 20, 20, 1), 0.5, np.float32)
    deformed = augmentation.deform(images, 1.0, SEED, is_sharp=is_sharp)
    np.testing.assert_allclose(deformed, images, atol=1e-6)


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_sharp_digits_stay_as_sharp_as_they_were(strength):
    images = _digits()
    blurred, sharp = (
        _steepness(augmentation.deform(images, strength, SEED, is_sharp=is_sharp))
        for is_sharp in (False, True)
    )
    assert blurred < 0.75 * _steepness(images)
    assert sharp == pytest.approx(_steepness(images), rel=0.05)


def test_sharp_images_are_deformed_as_others_are():
    images = _square(100, 28, 36)
    plain, sharp = (
        augmentation.deform(images, 1.0, SEED, is_sharp=is_sharp).numpy()
        for is_sharp in (False, True)
    )
    np.testing.assert_allclose(_centers(sharp), _centers(plain), atol=0.2)
    assert abs(sharp - plain).mean() < 0.02


def test_same_seed_gives_the_same_in_a_graph_with_a_free_batch_as_eagerly():
    graph = tf.function(
        lambda images, seed: augmentation.deform(images, 0.7, seed),
        input_signature=[
            tf.TensorSpec((None, 28, 28, 1), tf.float32),
            tf.TensorSpec((2,), tf.int64),
        ],
    )
    images = _square(8)
    expected = augmentation.deform(images, 0.7, np.array(SEED))
    found = graph(tf.constant(images), tf.constant(SEED, tf.int64))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8)
    dataset = dataset.map(lambda batch: augmentation.deform(batch, 0.7, SEED))
    assert dataset.element_spec.shape.as_list() == [None, 28, 28, 1]
    np.testing.assert_allclose(next(iter(dataset)), expected, atol=1e-4)


@pytest.mark.parametrize("strength", [-0.1, math.nan])
def test_a_strength_below_zero_is_refused(strength):
    with pytest.raises(ValueError, match="strength must be at least 0"):
        augmentation.deform(_square(), strength, SEED)


def test_images_without_a_known_shape_are_refused():
    with pytest.raises(ValueError, match="batch, height, width, channels"):
        augmentation.deform(_square()[0], 1.0, SEED)
    function = tf.function(
        lambda images: augmentation.deform(images, 1.0, SEED),
        input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32)],
    )
    with pytest.raises(ValueError, match="known height and width"):
        function.get_concrete_function()
