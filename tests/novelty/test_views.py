"""Turned and shifted views, the network that tells them apart, and what it says of outliers."""

import numpy as np
import tensorflow as tf

from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.novelty import views


def test_views_are_all_turns_of_all_shifts():
    picture = np.random.default_rng(0).random((28, 28, 1), np.float32)
    shown = views.view(np.stack([picture] * views.NUM_VIEWS), tf.range(views.NUM_VIEWS)).numpy()
    padded = np.pad(picture, ((5, 5), (5, 5), (0, 0)), mode="edge")
    expected = {
        np.rot90(padded[y : y + 28, x : x + 28], turn).tobytes()
        for turn in range(4)
        for y in (0, 5, 10)
        for x in (0, 5, 10)
    }
    assert {view.tobytes() for view in shown} == expected
    np.testing.assert_array_equal(shown[0], picture)


def drawn(number: int, seed: int, *, is_odd: bool) -> np.ndarray:
    """Noisy images, uint8 (number, 16, 16, 1), of an upright L, or of a cross."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (number, 16, 16, 1), np.uint8)
    if is_odd:
        pixels[:, 7:9, 3:13] += 180
        pixels[:, 3:7, 7:9] += 180
        pixels[:, 9:13, 7:9] += 180
    else:
        pixels[:, 3:13, 5:7] += 180
        pixels[:, 11:13, 7:12] += 180
    return pixels


def test_a_class_whose_turns_look_alike_is_odd_beside_one_whose_turns_do_not(tmp_path):
    known = ImageSet(pixel_storage.MemoryStore(drawn(64, 0, is_odd=False)))
    tests = [drawn(20, 1, is_odd=False), drawn(20, 2, is_odd=True)]
    pictures = np.concatenate(tests).astype(np.float32) / 255.0
    path = tmp_path / "views.npz"
    found = views.of_class(path, known, pictures, num_steps=30, seed=0)
    is_other = np.arange(40) >= 20
    assert classifier_metrics.auroc(is_other, found.distances) > 0.95
    assert classifier_metrics.auroc(is_other, found.surprise) > 0.95
    assert found.seconds > 0.0
    again = views.of_class(path, known, pictures, num_steps=1, seed=1)  # read, not trained anew
    for ours, others in zip(found, again, strict=True):
        np.testing.assert_array_equal(ours, others)
