"""The step that learns from unlabelled images by the network's own confident answers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.models import fixmatch

SHAPE = (8, 8, 1)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((12, *SHAPE), np.float32)
LABELS = RANDOM.integers(0, 3, 12)


def network(bias=(0.0, 0.0, 0.0)) -> keras.Model:
    """A linear classifier that answers by its biases."""
    inputs = keras.Input(SHAPE)
    logits = keras.layers.Dense(
        3, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(bias)
    )(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, logits)


def build(model: keras.Model, **options) -> fixmatch.PseudoLabelled:
    built = fixmatch.PseudoLabelled(model, **{"hole": 2, **options})
    built.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    return built


def batches(steps: int = 1) -> tf.data.Dataset:
    labelled = tf.data.Dataset.from_tensors((IMAGES[:4], LABELS[:4])).repeat(steps)
    unlabelled = tf.data.Dataset.from_tensors((IMAGES, np.zeros(12, np.int64))).repeat(steps)
    return tf.data.Dataset.zip(labelled, unlabelled)


def fit(model: fixmatch.PseudoLabelled, steps: int = 1) -> dict[str, float]:
    history = model.fit(batches(steps), shuffle=False, verbose=0).history
    return {name: values[-1] for name, values in history.items()}


def test_only_sure_answers_count():
    # Probabilities 0.9, 0.05, 0.05.
    bias = np.log([0.9, 0.05, 0.05]).tolist()
    found = fit(build(network(bias), threshold=0.95))
    assert (found["counted"], found["unlabelled_loss"]) == (0.0, 0.0)
    found = fit(build(network(bias), threshold=0.85))
    assert found["counted"] == 1.0
    assert found["unlabelled_loss"] == pytest.approx(-np.log(0.9), rel=1e-4)
    expected = np.mean([-np.log([0.9, 0.05, 0.05][label]) for label in LABELS[:4]])
    assert found["loss"] == pytest.approx(expected, rel=1e-4)


def test_the_update_follows_labels_and_answers():
    model = network([5.0, 0.0, 0.0])
    fit(build(model, strong=0.0, weak=0.0, hole=0))
    bias = np.array(model.layers[-1].bias)
    probabilities = np.exp([5.0, 0.0, 0.0]) / np.exp([5.0, 0.0, 0.0]).sum()
    targets = np.eye(3)[LABELS[:4]].mean(axis=0) + np.eye(3)[0]
    np.testing.assert_allclose(bias, [5, 0, 0] - 0.1 * (2 * probabilities - targets), atol=1e-5)


def test_answers_are_given_without_training_behaviour_and_carry_no_gradient():
    inputs = keras.Input(SHAPE)
    x = keras.layers.BatchNormalization(name="normalization")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    before = np.array(model.get_layer("normalization").moving_mean)
    fit(build(model))
    after = np.array(model.get_layer("normalization").moving_mean)
    images = np.concatenate([IMAGES[:4], IMAGES]).reshape(16, -1).mean(axis=0)
    # One pass in training mode moved it: towards the mean of 16 deformed images, not twice.
    assert 0 < np.abs(after - before).max() < 0.011 * 1.5 * images.max() + 0.01


def test_deformations_follow_from_the_seed():
    results = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(0)
        model = build(network(), threshold=0.0)
        model.set_seed(seed)
        fit(model, steps=3)
        results.append(np.array(model.network.layers[-1].kernel))
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 0


def test_it_can_be_saved_and_predicts_as_its_network(tmp_path):
    model = build(network([1.0, 2.0, 3.0]), threshold=0.7)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config()["threshold"] == 0.7
    np.testing.assert_allclose(np.array(loaded(IMAGES)), np.array(model.network(IMAGES)), atol=1e-6)
