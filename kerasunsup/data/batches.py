"""Batches for training and for measuring, in an order that follows from seed and epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kerasunsup.data import augmentation
from kerasunsup.data.image_set import ImageSet

# (images (batch, height, width, channels), seed int32 (2,)) -> the element that the model gets.
Prepare = Callable[[Any, Any], Any]


def steps_per_epoch(image_set: ImageSet, batch_size: int) -> int:
    """Full batches in an epoch, at least one."""
    return max(1, len(image_set) // batch_size)


def training_batches(
    image_set: ImageSet,
    batch_size: int,
    *,
    seed: int,
    epoch: int | tf.Variable = 0,
    prepare: Prepare | None = None,
    deformation: float = 0.0,
) -> tf.data.Dataset:
    """The full batches of one epoch, whose order follows from (seed, epoch) and nothing else.

    So a run that goes on with some epoch sees exactly the batches that it would have seen.
    What does not fill a batch is left out of that epoch.

    Args:
        image_set: the images.
        batch_size: images a batch; all of them where there are fewer.
        seed: 0 to 2**31 - 1.
        epoch: from 0. A variable is read anew whenever an iteration begins, so that one data set
            serves a whole training.
        prepare: (images, seed) -> element. The seed, int32 (2,), follows from (seed, epoch, step).
        deformation: strength with which every image is deformed before that, another way in each
            epoch (`augmentation.deform`).

    Returns:
        Elements of `prepare`, else (images, images): input and target, float32 (batch, height,
        width, channels) in [0, 1].
    """
    num_steps = steps_per_epoch(image_set, batch_size)

    @tf.autograph.experimental.do_not_convert
    def batches_of_epoch(_: tf.Tensor) -> tf.data.Dataset:
        return _epoch_order(image_set, batch_size, seed, epoch)

    # Made inside a map, the order is computed when an iteration begins and not before.
    batches = tf.data.Dataset.range(1).flat_map(batches_of_epoch)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_steps))
    make = _with_seed(prepare)
    if deformation == 0.0:
        return _elements(batches, image_set, make)

    def deformed(images: tf.Tensor, indices: tf.Tensor, seed: tf.Tensor) -> Any:
        own = tf.random.experimental.stateless_fold_in(seed, 2)  # apart from that of `prepare`
        return make(augmentation.deform(images, deformation, own, is_sharp=True), indices, seed)

    return _elements(batches, image_set, deformed)


def labelled_batches(
    image_set: ImageSet,
    labels: np.ndarray,
    batch_size: int,
    *,
    seed: int,
    num_steps: int,
) -> tf.data.Dataset:
    """The batches of a training that is counted in steps, each image with its label.

    The orders are those of `training_batches`, epoch after epoch from 0. A few labelled images
    make short epochs; running through many short epochs here costs no more than a long one.

    Args:
        image_set: the images.
        labels: int64 (num_images,), one an image of the set.
        batch_size: images a batch; all of them where there are fewer.
        seed: 0 to 2**31 - 1.
        num_steps: batches in all.

    Returns:
        Elements (images float32 (batch, height, width, channels) in [0, 1], labels int64 (batch,)).
    """
    epochs = -(-num_steps // steps_per_epoch(image_set, batch_size))
    with tf.init_scope(), tf.device("CPU"):
        targets = tf.constant(labels, tf.int64)

    @tf.autograph.experimental.do_not_convert
    def batches_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        return _epoch_order(image_set, batch_size, seed, epoch)

    def with_labels(images: tf.Tensor, indices: tf.Tensor, _: tf.Tensor) -> Any:
        return images, tf.gather(targets, indices)

    batches = tf.data.Dataset.range(epochs).flat_map(batches_of_epoch).take(num_steps)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_steps))
    return _elements(batches, image_set, with_labels)


def _epoch_order(
    image_set: ImageSet, batch_size: int, seed: int, epoch: int | tf.Variable | tf.Tensor
) -> tf.data.Dataset:
    """(positions int64 (batch,), seed int32 (2,)) of each full batch of one epoch."""
    num_images = len(image_set)
    batch_size = min(batch_size, num_images)
    num_steps = steps_per_epoch(image_set, batch_size)
    key = tf.stack([tf.constant(seed, tf.int32), tf.cast(epoch, tf.int32)])
    order = tf.random.experimental.stateless_shuffle(tf.range(num_images), seed=key)
    order = tf.cast(order[: num_steps * batch_size], tf.int64)
    seeds = tf.random.stateless_uniform(
        (num_steps, 2),
        seed=tf.random.experimental.stateless_fold_in(key, 1),  # apart from the order's
        minval=None, maxval=None, dtype=tf.int32,
    )  # fmt: skip
    return tf.data.Dataset.from_tensor_slices((tf.reshape(order, (num_steps, batch_size)), seeds))


def evaluation_batches(
    image_set: ImageSet,
    batch_size: int,
    *,
    seed: int = 0,
    prepare: Prepare | None = None,
) -> tf.data.Dataset:
    """Every image once, in order; the last batch may be smaller.

    Args:
        image_set: the images.
        batch_size: images a batch.
        seed: with the number of the batch it makes the seed that `prepare` gets, so that every
            pass is prepared alike.
        prepare: as for `training_batches`.

    Returns:
        Elements as those of `training_batches`.
    """
    num_images = len(image_set)

    @tf.autograph.experimental.do_not_convert
    def batch_of(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step = tf.cast(start // batch_size, tf.int32)
        indices = tf.range(start, tf.minimum(start + batch_size, num_images))
        return indices, tf.stack([tf.constant(seed, tf.int32), step])

    batches = tf.data.Dataset.range(0, num_images, batch_size).map(batch_of)
    return _elements(batches, image_set, _with_seed(prepare))


def _with_seed(prepare: Prepare | None) -> Callable[..., Any]:
    if prepare is None:
        return lambda images, *_: (images, images)
    return lambda images, _, seed: prepare(images, seed)


def _elements(
    batches: tf.data.Dataset, image_set: ImageSet, make: Callable[..., Any]
) -> tf.data.Dataset:
    """Maps (indices, seed) to what `make` makes of images, indices and seed, ahead of need."""

    @tf.autograph.experimental.do_not_convert
    def element(indices: tf.Tensor, seed: tf.Tensor) -> Any:
        return make(image_set.gather(indices), indices, seed)

    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # its thread costs more than these maps do
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.map(element, **map_options(2)).prefetch(4).with_options(options)


def map_options(num_calls: int) -> dict[str, Any]:
    """Arguments of a `tf.data` map that computes several elements at once and keeps their order.

    There are none, so that the map is a plain one, where `training.loop` set `tf.data.AUTOTUNE` to
    None.
    """
    if tf.data.AUTOTUNE is None:
        return {}
    return {"num_parallel_calls": num_calls, "deterministic": True}
