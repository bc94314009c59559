"""A network that tells how an image was turned and shifted, and what its features say of outliers.

To tell how an image of the known class was turned and shifted, a network must know how the class
looks. Golan & El-Yaniv score an image by the probabilities of the right answers. Here it is the
density of the network's features, which tells digits better (docs/outliers.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from kerasunsup.data import batches
from kerasunsup.data.image_set import ImageSet
from kerasunsup.evaluation import outlier_detector
from kerasunsup.models import faster_layers, networks, optimizers
from kerasunsup.training import files

_TURNS = 4  # by quarters of a circle
_SHIFT = 5 / 28  # of a side
_SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
NUM_VIEWS = _TURNS * len(_SHIFTS)

_FILTERS = (32, 64, 64)
_LEARNING_RATE = 0.002
_BATCH_SIZE = 128
_EVALUATED = 500  # images that the network is given at a time
_MOST_FITTED = 3000  # images that the density of features is fitted to
# Share of the mean variance that is added to each: features that no clean image has vary by none.
_LEAST_VARIANCE = 0.001


class ViewScores(NamedTuple):
    """How odd the views of each tested image are; float64 (num_tests,) both, outliers higher."""

    distances: np.ndarray  # squared Mahalanobis distances of the features, sum over the views
    surprise: np.ndarray  # -log probability of the right answers, in nats, sum over the views
    seconds: float  # that the training took


def view(images: Any, views: Any) -> tf.Tensor:
    """Each image turned and shifted in one of the ways.

    Args:
        images: (batch, height, width, channels), float32.
        views: (batch,), integers below `NUM_VIEWS`; 0 leaves an image as it is.

    Returns:
        float32 of the images' shape; pixels from outside repeat the edge.
    """
    height, width = images.shape[1:3]
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    rows = []
    for a, b in ((1, 0), (0, 1), (-1, 0), (0, -1)):  # cosine and sine of the turn
        for across, down in _SHIFTS:
            # Output position -> input position, about the middle.
            x_offset = x - a * x + b * y + across * round(_SHIFT * width)
            y_offset = y - b * x - a * y + down * round(_SHIFT * height)
            rows.append((a, -b, x_offset, b, a, y_offset, 0.0, 0.0))
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.gather(tf.constant(rows, tf.float32), views),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="NEAREST",
    )


def train(images: ImageSet, num_steps: int, seed: int) -> keras.Model:
    """Returns a network that was trained to tell the views of images apart.

    Args:
        images: of the known class.
        num_steps: of 128 images each, every one in a view at random.
        seed: 0 to 2**31 - 1; everything random follows from it.

    Returns:
        images -> logits (batch, `NUM_VIEWS`), with a layer `features`.
    """
    keras.utils.set_random_seed(seed)
    network = networks.classifier(
        images.shape,
        NUM_VIEWS,
        filters=_FILTERS,
        is_pooled_first=True,
        layer_types=faster_layers.for_training(),
    )

    def viewed(step: Any, batch: Any) -> Any:
        key = tf.stack([tf.constant(seed, tf.int64), step])
        views = tf.random.stateless_uniform(
            tf.shape(batch[1]), key, 0, NUM_VIEWS, tf.int32, alg="philox"
        )
        return view(batch[0], views), views

    dataset = batches.labelled_batches(
        images, np.zeros(len(images), np.int64), _BATCH_SIZE, seed=seed, num_steps=num_steps
    )
    dataset = dataset.enumerate().map(viewed, **batches.map_options(2))
    rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, num_steps, alpha=0.01)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizers.adam(rate), loss, jit_compile=False)
    network.fit(dataset, shuffle=False, verbose=0)
    return network


def measured(images: ImageSet, tests: np.ndarray, *, num_steps: int, seed: int) -> ViewScores:
    """Returns how odd the views of test images are beside those of images of the known class.

    Args:
        images: of the known class.
        tests: float32 (num_tests, height, width, channels).
        num_steps: of the training.
        seed: 0 to 2**31 - 1.
    """
    began = time.perf_counter()
    network = train(images, num_steps, seed)
    seconds = time.perf_counter() - began
    drawn = np.random.default_rng(seed).permutation(len(images))[:_MOST_FITTED]
    clean = images.array(np.sort(drawn))
    outputs = _outputs(network)
    distances, surprise = np.zeros(len(tests)), np.zeros(len(tests))
    for number in range(NUM_VIEWS):
        _, of_clean = outputs(clean, number)
        logits, features = outputs(tests, number)
        distances += outlier_detector.mahalanobis(of_clean, features, _LEAST_VARIANCE)
        surprise -= special.log_softmax(logits.astype(np.float64), axis=1)[:, number]
    return ViewScores(distances, surprise, seconds)


def _outputs(network: keras.Model) -> Callable[[np.ndarray, int], list[np.ndarray]]:
    """(images, number of a view) -> logits and features of these views, one row an image."""
    features = network.get_layer("features").output
    both = keras.Model(network.inputs, [network.outputs[0], features])

    @tf.function(reduce_retracing=True)
    def of_batch(pictures: tf.Tensor, number: tf.Tensor) -> Any:
        return both(view(pictures, tf.fill(tf.shape(pictures)[:1], number)), training=False)

    def of_all(pictures: np.ndarray, number: int) -> list[np.ndarray]:
        parts = np.split(pictures, range(_EVALUATED, len(pictures), _EVALUATED))
        results = [of_batch(part, tf.constant(number)) for part in parts]
        return [np.concatenate(values) for values in zip(*results, strict=True)]

    return of_all


def of_class(
    path: Path, images: ImageSet, tests: np.ndarray, *, num_steps: int, seed: int
) -> ViewScores:
    """Returns what `measured` does, from the file that an earlier call left where there is one."""
    if path.exists():
        found = files.read_arrays(path)
        return ViewScores(found["distances"], found["surprise"], float(found["seconds"]))
    result = measured(images, tests, num_steps=num_steps, seed=seed)
    files.write_arrays(path, {n: np.asarray(v) for n, v in result._asdict().items()})
    return result
