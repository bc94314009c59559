"""Adam whose update of all variables is one compiled kernel, and whose averages warm up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def adam(
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    beta_1: float = 0.9,
    averaging: float = 0.0,
    fused: bool = True,
) -> keras.Optimizer:
    """Adam with decoupled weight decay.

    Decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101, "AdamW") shrinks every weight by
    `learning_rate * weight_decay` of itself in each step. The study's optimizer adds
    `weight_decay * weight` to the gradient instead, where Adam divides it by the gradient's own
    size. At 1e-5 both are weak: with a learning rate of 0.003 the decoupled form takes 3e-8 of a
    weight a step, or 1.3 % of it in 1,000 epochs of 429 steps.

    Args:
        learning_rate: step size.
        weight_decay: 0 for none.
        beta_1: decay of the mean of gradients.
        averaging: decay of an exponential average of the weights, kept beside them (Keras's
            `use_ema`); 0 keeps none. In step t, counted from 0, it is t / (9 + t) where that is
            less.
        fused: compile the update: the same arithmetic up to the order of roundings, on a processor
            in 0.4 of the time. Off under `tf.distribute`, which cannot trace it.

    Returns:
        An optimizer that is not built yet.
    """
    optimizer = FusedAdam if fused else AveragingAdam
    averages = {"use_ema": True, "ema_momentum": averaging} if averaging else {}
    return optimizer(learning_rate, weight_decay=weight_decay or None, beta_1=beta_1, **averages)


@keras.saving.register_keras_serializable(package="kerasunsup")
class AveragingAdam(keras.optimizers.Adam):
    """Keras's Adam whose average of the weights soon forgets the first ones.

    Keras begins with the weights after the first step: at a decay of 0.999 they still make up 0.65
    of the average 429 steps later, and its samples are noise where the last weights draw strokes.
    A decay that rises with the steps, as in TensorFlow's `ExponentialMovingAverage`, spans the
    last tenth of all steps until it has reached its end.
    """

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        if not self.use_ema:
            return
        steps = tf.cast(self.iterations, tf.float32)  # before this one, which is counted later
        decay = tf.minimum(self.ema_momentum, steps / (9.0 + steps))
        for variable, average in zip(
            trainable_variables, self._model_variables_moving_average, strict=True
        ):
            average.assign(average + tf.cast(1.0 - decay, variable.dtype) * (variable - average))


@keras.saving.register_keras_serializable(package="kerasunsup")
class FusedAdam(AveragingAdam):
    """Keras's Adam with its update compiled by XLA.

    TensorFlow runs Keras's update as about fifteen passes over every variable; compiled, each is
    read and written once. Compiling the whole step is no gain on a processor: XLA's convolutions
    are slower than oneDNN's by more than the fusion saves (see `benchmarks/`).

    Learning rate and weight decay are variables of the compiled update, so that one trace serves
    every trial of a search. A decay of 0 leaves each weight as it is, to the bit.
    """

    def __init__(self, learning_rate: float = 0.001, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        with tf.init_scope():
            self._decay = tf.Variable(self.weight_decay or 0.0, dtype=tf.float32, trainable=False)

    def set_weight_decay(self, weight_decay: float) -> None:
        """Another decay from the next step on; nothing is traced anew."""
        self.weight_decay = weight_decay or None
        self._decay.assign(weight_decay)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        factor = tf.cast(self.learning_rate, tf.float32) * self._decay
        for variable in variables:
            if self._use_weight_decay(variable):
                variable.assign_sub(variable * tf.cast(factor, variable.dtype))

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables by the gradients, as `keras.optimizers.Adam.apply` does."""
        if not tf.inside_function():
            super().apply(grads, trainable_variables)
            return
        if not self.built:
            self.build(trainable_variables)

        @tf.function(jit_compile=True, autograph=False)
        def update(*gradients: tf.Tensor) -> None:
            full = [tf.cast(gradient, tf.float32) for gradient in gradients]
            super(FusedAdam, self).apply(full, trainable_variables)

        update(*map(_before_cast, grads))


def _before_cast(gradient: tf.Tensor) -> tf.Tensor:
    """A gradient as it was before it was cast to float32: the compiled update casts as it reads.

    In bfloat16 the autoencoder's step has 0.96 of its time so (AMD EPYC with AVX-512 BF16).
    """
    is_cast = gradient.op.type == "Cast" and gradient.dtype == tf.float32
    return gradient.op.inputs[0] if is_cast else gradient
