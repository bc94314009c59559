"""What Keras needs where several replicas train one model, on one machine or on several.

`MultiWorkerMirroredStrategy` fails under Keras 3 in two places, and both can be overridden:

- Before the first step Keras adds up the first batch of all replicas to see its shape. Here every
  model is built already, so that there is nothing to see (`_maybe_symbolic_build`).
- Keras averages each number that a step returns over its first axis, which a scalar has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


def with_an_axis(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The scalars that a step returns, as Keras takes them under the strategy in use.

    Returns:
        Each of the shape (1,) where several machines train; as they were elsewhere.
    """
    if not isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return dict(numbers)
    return {name: tf.reshape(number, (1,)) for name, number in numbers.items()}


class ReplicatedModel(keras.Model):
    """A functional model that is trained by several replicas, on batches of equal shares.

    Validation batches are (input, target, weights), weights float32 (batch,): 1, or 0 for what only
    fills a batch up and does not count (see `filled`).
    """

    def _maybe_symbolic_build(self, *_: Any, **__: Any) -> None:
        """Nothing is left to be built."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the model, as Keras's own."""
        return with_an_axis(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, Any]:
        """The loss of one batch, of which rows with the weight 0 do not count."""
        inputs, target, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is None:
            weights = ops.ones(ops.shape(inputs)[:1])
        outputs = self(inputs, training=False)
        of_pixels = ops.reshape(weights, (-1, *[1] * (len(target.shape) - 2)))
        loss = self._compute_loss(
            x=inputs, y=target, y_pred=outputs, sample_weight=of_pixels, training=False
        )
        # Keras divides the sum by all rows of this replica's share, and by the number of replicas.
        rows = ops.cast(ops.shape(inputs)[0], "float32")
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        counted = ops.sum(weights)
        mean = tf.math.divide_no_nan(loss * replicas * rows, counted)
        self._loss_tracker.update_state(mean, sample_weight=counted)
        return with_an_axis({"loss": self._loss_tracker.result()})


def replicated(model: keras.Model) -> keras.Model:
    """The same functional network as a model that several replicas can train."""
    return ReplicatedModel(model.inputs[0], model.outputs[0], name=model.name)


def filled(dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Batches (input, target) filled up to one size by repeating rows, with weights.

    Args:
        dataset: of which the last batch may be smaller.
        batch_size: rows of every batch that comes out.

    Returns:
        Elements (input, target, weights), weights float32 (batch_size,): 1, or 0 for a row that
        only fills up.
    """
    positions = np.arange(batch_size, dtype=np.int32)

    def fill(inputs: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        rows = tf.shape(inputs)[0]
        indices = tf.minimum(positions, rows - 1)
        weights = tf.cast(positions < rows, tf.float32)
        parts = [
            tf.ensure_shape(tf.gather(part, indices), (batch_size, *part.shape[1:]))
            for part in (inputs, target)
        ]
        return parts[0], parts[1], weights

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.map(tf.autograph.experimental.do_not_convert(fill)).with_options(options)


def own_rows(
    dataset: tf.data.Dataset, num_replicas: int, first: int, number: int
) -> tf.data.Dataset:
    """What some replicas take of whole batches: an element a replica, of equal shares.

    Args:
        dataset: batches whose size is a multiple of the replicas, and known.
        num_replicas: of all workers.
        first: number of the first replica that the elements are for.
        number: of replicas that they are for.
    """

    @tf.autograph.experimental.do_not_convert
    def shares(*parts: tf.Tensor) -> Any:
        chosen = []
        for part in parts:
            rows = part.shape[0] // num_replicas
            apart = tf.reshape(part, (num_replicas, rows, *part.shape[1:]))
            chosen.append(apart[first] if number == 1 else apart[first : first + number])
        return tuple(chosen) if len(chosen) > 1 else chosen[0]

    shared = dataset.map(shares)
    if number == 1:
        return shared
    count = number * int(dataset.cardinality())
    return shared.unbatch().apply(tf.data.experimental.assert_cardinality(count))
