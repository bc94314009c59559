"""What is done to images before the autoencoder trains on them."""

import numpy as np
import tensorflow as tf

from kerasunsup.ae import experiment
from kerasunsup.ae.settings import AutoencoderSettings


def test_training_images_are_deformed_and_what_is_measured_is_not():
    settings = AutoencoderSettings(deformation=1.0)
    images = tf.constant(np.random.default_rng(0).random((4, 28, 28, 1)), tf.float32)
    first, second = tf.constant([0, 1]), tf.constant([0, 2])
    prepare = experiment.preparation_of(settings)
    given, wanted = prepare(images, first)
    np.testing.assert_array_equal(given, wanted)
    assert np.abs(given - images).mean() > 0.05
    assert np.abs(given - prepare(images, second)[0]).mean() > 0.05
    assert experiment.corruption_of(settings) is None
    noisy, clean = experiment.preparation_of(AutoencoderSettings(deformation=1.0, noise=0.5))(
        images, first
    )
    np.testing.assert_array_equal(clean, given)  # restores the deformed image
    assert np.abs(noisy - clean).mean() > 0.2
