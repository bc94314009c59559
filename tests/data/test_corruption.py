import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.data import corruption

SEED = (3, 5)


def _grey(num_images=64, side=16, channels=1, value=0.5):
    return np.full((num_images, side, side, channels), value, np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_has_the_mean_and_standard_deviation_asked_for(channels):
    noisy = corruption.gaussian_noise(_grey(channels=channels), 0.1, SEED).numpy()
    assert noisy.shape == (64, 16, 16, channels)
    assert noisy.dtype == np.float32
    assert abs(noisy.mean() - 0.5) < 0.003
    assert abs(noisy.std() - 0.1) < 0.003


def test_noise_stays_in_range_and_is_clipped_not_scaled():
    noisy = corruption.gaussian_noise(_grey(value=0.0), 0.5, SEED).numpy()
    assert noisy.min() == 0.0
    assert noisy.max() <= 1.0
    assert abs((noisy == 0.0).mean() - 0.5) < 0.02  # negative half of the noise


def test_noise_differs_between_the_images_of_a_batch_and_between_seeds():
    noisy = corruption.gaussian_noise(_grey(), 0.1, SEED).numpy()
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.25
    assert not np.array_equal(noisy, corruption.gaussian_noise(_grey(), 0.1, (3, 6)))


def test_no_noise_changes_nothing():
    np.testing.assert_array_equal(corruption.gaussian_noise(_grey(), 0.0, SEED), _grey())


@pytest.mark.parametrize("pixels", [0, 1, 5, 11])
def test_each_hole_is_a_square_of_its_size_wholly_inside_the_image(pixels):
    images = np.zeros((200, 11, 17, 3), np.float32)
    mask = corruption.hole_mask(images, pixels, SEED).numpy()
    assert mask.shape == (200, 11, 17, 1)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    for hole in mask[..., 0] == 0.0:
        assert hole.sum() == pixels**2
        assert hole.any(axis=0).sum() == hole.any(axis=1).sum() == pixels


def test_holes_reach_every_place_equally_often():
    images = np.zeros((9000, 8, 8, 1), np.float32)
    holes = corruption.hole_mask(images, 6, SEED).numpy()[..., 0] == 0.0
    corners = np.array([np.argwhere(hole)[0] for hole in holes])
    counts = np.bincount(corners[:, 0] * 3 + corners[:, 1], minlength=9)
    assert len(counts) == 9
    assert abs(counts - 1000).max() < 150


def test_cut_holes_are_black_and_leave_the_rest_alone():
    images = _grey(channels=3)
    mask = corruption.hole_mask(images, 6, SEED).numpy()
    cut = corruption.cut_holes(images, 6, SEED).numpy()
    np.testing.assert_array_equal(cut, images * mask)


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda images, seed: corruption.gaussian_noise(images, 0.3, seed),
        lambda images, seed: corruption.cut_holes(images, 4, seed),
    ],
)
def test_same_seed_gives_the_same_in_a_graph_with_a_free_batch_as_eagerly(corrupt):
    graph = tf.function(
        corrupt,
        input_signature=[
            tf.TensorSpec((None, 16, 16, 1), tf.float32),
            tf.TensorSpec((2,), tf.int64),
        ],
    )
    images = _grey(8)
    np.testing.assert_array_equal(
        graph(tf.constant(images), tf.constant(SEED, tf.int64)), corrupt(images, np.array(SEED))
    )
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8).map(lambda x: corrupt(x, SEED))
    np.testing.assert_array_equal(next(iter(dataset)), corrupt(images, SEED))


@pytest.mark.parametrize("pixels", [-1, 17])
def test_a_hole_that_does_not_fit_is_refused(pixels):
    with pytest.raises(ValueError, match="does not fit"):
        corruption.cut_holes(_grey(), pixels, SEED)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="sigma must be"):
        corruption.gaussian_noise(_grey(), -0.1, SEED)
    with pytest.raises(ValueError, match="batch, height, width, channels"):
        corruption.gaussian_noise(_grey()[0], 0.1, SEED)
    function = tf.function(
        lambda images: corruption.hole_mask(images, 2, SEED),
        input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32)],
    )
    with pytest.raises(ValueError, match="known height and width"):
        function.get_concrete_function()


@pytest.mark.parametrize(("kind", "strength"), [("noise", 0.3), ("crop", 4)])
def test_each_block_of_a_data_set_is_corrupted_by_a_seed_of_its_own(kind, strength):
    images = np.full((5, 16, 16, 1), 0.5, np.float32)
    first = corruption.of_kind(kind, images, strength, 3)
    np.testing.assert_array_equal(first, corruption.of_kind(kind, images, strength, 3, block=0))
    second = corruption.of_kind(kind, images, strength, 3, block=1)
    assert np.any(first != second)
    seed = corruption.seed_of(strength, 3)
    plain = corruption.gaussian_noise if kind == "noise" else corruption.cut_holes
    np.testing.assert_array_equal(first, plain(images, strength, seed))


def test_levels_are_drawn_evenly_and_one_image_in_two_has_a_hole():
    images = _grey(num_images=2000, side=8)
    noisy = corruption.of_drawn_strength(images, 0.1, 0, SEED).numpy()
    spread = noisy.std(axis=(1, 2, 3))
    assert abs(spread.mean() - 0.05) < 0.003
    assert abs(np.quantile(spread, 0.25) - 0.025) < 0.004
    holes = (corruption.of_drawn_strength(images, 0.0, 3, SEED).numpy() == 0.0).sum(axis=(1, 2, 3))
    assert set(holes) == {0, 9}
    assert abs((holes == 9).mean() - 0.5) < 0.05
    with pytest.raises(ValueError, match="sigma must be at least 0"):
        corruption.of_drawn_strength(images, -0.1, 0, SEED)
