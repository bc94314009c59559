"""An encoder that learns which two views show one image."""

import keras
import numpy as np
import pytest

from kerasunsup.data import augmentation, pixel_storage
from kerasunsup.data.augmentation import Deformation
from kerasunsup.data.image_set import ImageSet
from kerasunsup.training import contrastive

SHAPE = (14, 14, 1)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    """96 drawings of 14 x 14 pixels: strokes of their own each."""
    random = np.random.default_rng(0)
    images = np.zeros((96, *SHAPE), np.float32)
    for image in images:
        for _ in range(3):
            row, column = random.integers(2, 10, 2)
            if random.random() < 0.5:
                image[row : row + 2, column : column + 4] = 1.0
            else:
                image[row : row + 4, column : column + 2] = 1.0
    return ImageSet(pixel_storage.MemoryStore(images))


@pytest.fixture(scope="module")
def like() -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(8)(x), name="encoder")


SETTINGS = contrastive.ContrastiveSettings(
    limits=Deformation(0.2, 0.1, 0.1, 0.08), learning_rate=0.003, batch_size=32
)


def found_share(encoder: keras.Model, images: ImageSet) -> float:
    """Of first views, those whose own second view is the nearest of all second views by cosine."""
    codes = []
    for seed in ([5, 1], [5, 2]):
        views = augmentation.deform(images.array(), 1.0, seed, SETTINGS.limits)
        vectors = encoder.predict(views, verbose=0)
        codes.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return float(np.mean((codes[0] @ codes[1].T).argmax(axis=1) == np.arange(len(images))))


def test_the_loss_falls_and_views_of_an_image_come_nearer_than_those_of_others(digits, like):
    before = [np.array(weight) for weight in like.weights]
    trained = contrastive.train(like, digits, num_steps=241, settings=SETTINGS, seed=1)
    assert trained.images == 241 * 32
    assert trained.seconds > 0
    assert len(trained.losses) == 81  # three steps an epoch, and one more
    assert trained.losses[-2] < 0.8 * trained.losses[0]
    untrained = keras.models.clone_model(like)
    assert found_share(trained.encoder, digits) > found_share(untrained, digits) + 0.1
    for old, new in zip(before, like.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


def test_everything_follows_from_the_seed(digits, like):
    def weights(seed):
        trained = contrastive.train(like, digits, num_steps=4, settings=SETTINGS, seed=seed)
        return trained.losses, trained.encoder.get_weights()

    (losses, first), (again, second), (other, third) = weights(2), weights(2), weights(3)
    assert losses == again != other
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.abs(first[0] - third[0]).max() > 0.01


def test_steps_within_a_time_grow_with_it_and_are_one_at_least(digits, like, monkeypatch):
    monkeypatch.setattr(contrastive, "_TIMED", 10)
    assert contrastive.steps_within(0.0, like, digits, SETTINGS) == 1
    steps = contrastive.steps_within(100.0, like, digits, SETTINGS)
    trained = contrastive.train(like, digits, num_steps=60, settings=SETTINGS)
    assert 0.1 < (100.0 / steps) / (trained.seconds / 59) < 10  # other work shares the processors


def test_nonsense_is_refused(digits, like):
    with pytest.raises(ValueError, match="two images and one step, received 1 and 5"):
        contrastive.train(like, digits.subset(np.arange(1)), num_steps=5)
    with pytest.raises(ValueError, match="received 96 and 0"):
        contrastive.train(like, digits, num_steps=0)
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        contrastive.ContrastiveSettings(batch_size=1)
    with pytest.raises(ValueError, match="temperature above 0"):
        contrastive.ContrastiveSettings(temperature=-1.0)
