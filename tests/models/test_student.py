"""The step of a classifier that teaches itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.data.augmentation import Deformation
from kerasunsup.models import student

SHAPE = (8, 8, 1)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((12, *SHAPE), np.float32)
LABELS = RANDOM.integers(0, 3, 4)
UNREAD = np.zeros(12, np.int64)
NONE = Deformation(0.0, 0.0, 0.0, 0.0)


def network(bias=(0.0, 0.0, 0.0)) -> keras.Model:
    """Batch normalization, and a linear layer that answers by its biases."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Flatten()(inputs))
    logits = keras.layers.Dense(
        3, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(bias)
    )(x)
    return keras.Model(inputs, logits)


def build(model: keras.Model, **options) -> student.SelfLabelled:
    usual = {"threshold": 0.8, "averaging": 0.9, "is_balanced": False, "weak": NONE, "strong": NONE}
    built = student.SelfLabelled(model, **usual | options)
    built.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    return built


def step(model: student.SelfLabelled, *, labelled: bool = False) -> dict[str, float]:
    element = (IMAGES, UNREAD)
    dataset = tf.data.Dataset.from_tensors(((IMAGES[:4], LABELS), element) if labelled else element)
    history = model.fit(dataset, shuffle=False, verbose=0).history
    return {name: values[-1] for name, values in history.items()}


def test_the_teacher_begins_as_a_copy_and_is_the_average_of_weights_and_batch_statistics():
    model = build(network(np.log([0.9, 0.05, 0.05]).tolist()))
    expected = [np.array(value) for value in model.network.weights]
    for ours, theirs in zip(model.teacher.weights, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for _ in range(3):
        step(model)
        expected = [
            0.9 * average + 0.1 * np.array(value)
            for average, value in zip(expected, model.network.weights, strict=True)
        ]
        for ours, theirs in zip(model.teacher.weights, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    moved = [
        np.abs(np.array(ours) - np.array(theirs)).max()
        for ours, theirs in zip(model.teacher.weights, model.network.weights, strict=True)
    ]
    assert len(moved) == 6
    assert min(moved[2:4]) > 0  # mean and variance of the batch normalization
    np.testing.assert_array_equal(model(IMAGES), model.teacher(IMAGES))


def levels_network() -> keras.Model:
    """Sure of class 0 by the brightness of an image: the logit is four times its mean."""
    model = network()
    kernel = np.zeros((64, 3), np.float32)
    kernel[:, 0] = 4.0 / 64.0
    model.layers[-1].set_weights([kernel, np.zeros(3, np.float32)])
    return model


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.95])
def test_answers_count_from_the_threshold_on_or_from_what_is_usual_in_their_class(threshold):
    levels = np.array([0.1, 0.3, 0.6, 0.9, 1.0], np.float32)
    images = np.ones((5, *SHAPE), np.float32) * levels[:, None, None, None]
    model = build(levels_network(), threshold=threshold)
    logits = np.array(model.teacher(images))
    probability = np.exp(logits[:, 0]) / np.exp(logits).sum(axis=1)
    for _ in range(2):
        classes, counts = model._answers(images)
        assert not np.array(classes).any()
        expected = probability >= min(threshold, probability.mean())
        np.testing.assert_array_equal(counts, expected)
    assert expected.sum() == {0.3: 5, 0.6: 4, 0.95: 3}[threshold]


def test_the_loss_is_of_what_counts_and_of_labelled_images():
    bias = np.log([0.7, 0.2, 0.1])
    found = step(build(network(bias.tolist()), threshold=0.65))
    assert found["counted"] == 1.0
    assert found["loss"] == pytest.approx(-bias[0], rel=1e-4)
    found = step(build(network(bias.tolist()), threshold=0.65), labelled=True)
    assert found["loss"] == pytest.approx(-bias[LABELS].mean() - bias[0], rel=1e-4)


def test_balanced_answers_are_divided_by_their_running_mean():
    model = build(network(np.log([0.6, 0.3, 0.1]).tolist()), is_balanced=True)
    mean = np.full(3, 1 / 3)
    for _ in range(50):  # the student is not asked, so that the answers stay
        mean = 0.99 * mean + 0.01 * np.array([0.6, 0.3, 0.1])
        model._answers(IMAGES)
    np.testing.assert_allclose(model._mean_answer, mean, rtol=1e-4)
    mean = 0.99 * mean + 0.01 * np.array([0.6, 0.3, 0.1])
    balanced = np.array([0.6, 0.3, 0.1]) / mean
    classes, _ = model._answers(IMAGES)
    assert set(np.array(classes)) == {balanced.argmax()}
    usual = np.array(model._sum_sure / model._num)[balanced.argmax()]
    assert usual == pytest.approx((balanced / balanced.sum()).max(), rel=0.2)
