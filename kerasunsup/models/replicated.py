"""What Keras needs where several replicas train one model, on one machine or on several.

`MultiWorkerMirroredStrategy` fails under Keras 3 in two places, and `Replicated` overrides both:

- Before the first step Keras adds up the first batch of all replicas to see its shape. Here every
  model is built already, so that there is nothing to see.
- Keras averages the numbers of each step over all replicas, and cannot do so with scalars. Here a
  step returns none: the metrics hold them, and are added up once an epoch. That also saves the
  workers two exchanges for each number in each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class Replicated:
    """Beside `keras.Model`: built when it is fitted, so that several replicas can train it.

    No `keras.Model` itself: Keras makes every model among the bases of a functional model's class
    a functional one, so that no GAN could be made after the first replicated autoencoder.
    """

    train_function: Any
    test_function: Any
    train_step: Any
    test_step: Any
    get_metrics_result: Any
    _distribute_strategy: Any

    def _maybe_symbolic_build(self, *_: Any, **__: Any) -> None:
        """Nothing is left to be built."""

    def make_train_function(self, force: bool = False) -> Any:
        """What Keras calls for each training step."""
        if self._distribute_strategy is None:
            return super().make_train_function(force)  # type: ignore[misc]
        if self.train_function is None or force:
            self.train_function = on_all_replicas(self._distribute_strategy, self.train_step)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """What Keras calls for each step of a validation."""
        if self._distribute_strategy is None:
            return super().make_test_function(force)  # type: ignore[misc]
        if self.test_function is None or force:
            self.test_function = on_all_replicas(self._distribute_strategy, self.test_step)
        return self.test_function

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        """The metrics over all replicas."""
        if self._distribute_strategy is None:
            return super()._get_metrics_result_or_logs(logs)  # type: ignore[misc]
        return self.get_metrics_result()


def on_all_replicas(
    strategy: tf.distribute.Strategy, step: Callable[[Any], Any]
) -> Callable[[Any], dict[str, Any]]:
    """Lets all replicas do a step, each with what an iterator gives it; returns no numbers."""

    @tf.function(autograph=False, reduce_retracing=True)
    def graph(iterator: Any) -> None:
        strategy.run(step, args=(iterator.get_next(),))

    def function(iterator: Any) -> dict[str, Any]:
        graph(iterator)
        return {}

    return function


class ReplicatedModel(Replicated, keras.Model):
    """A functional model that is trained by several replicas, on batches of equal shares.

    Validation batches are (input, target, weights), weights float32 (batch,): 1, or 0 for what only
    fills a batch up and does not count (see `filled`).
    """

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
        return {"loss": self._loss_tracker.result()}


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
