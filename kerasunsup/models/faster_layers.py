"""Keras's layers, the same to the order of roundings, by kernels that are faster on processors.

For training, where `for_training` says so; what is shipped is built of Keras's own, so that it
loads anywhere. They have the names of Keras's, and of their weights: a network takes its layers
from `keras.layers` or from here.

- A convolution's kernels work on many channels at once, and an image has one or three: oneDNN's
  transposed convolution to one channel took a quarter of a profiled step of the autoencoder. The
  same sum as a matrix product (every input pixel times the whole window) and a fold (windows added
  up where they overlap, "col2im") takes a tenth to a half of its time, by shape. It is also the
  gradient by an image of the convolution that reads it, which a generator learns from.
- Keras computes a batch normalization while training in some fifteen passes over its inputs;
  TensorFlow has a kernel for it, and one for its gradient.

The adversarial step by the last two (AMD EPYC with AVX-512 BF16, in turns, by trial versions of
these layers on commit fa5b22f): 1.10 times as fast in float32 with 32 base filters, 1.12 with 64;
with 64 in bfloat16 1.25, the last layer in float32 included. Other processors were not tried.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

_MOST_CHANNELS = 4  # of an image; with more, the kernels for many channels have something to do


def for_training(*, is_penalized: bool = False) -> Any:
    """Where a network that is trained here takes its layers from: this module or `keras.layers`.

    Beside TensorFlow's other kernels a step takes about 1.1 times as long with these; graphics
    cards have kernels of their own. Where a gradient penalty is paid for a network, its batch
    normalization is Keras's (see `BatchNormalization`).
    """
    if not is_faster():
        return layers
    return _Penalized if is_penalized else sys.modules[__name__]


def is_faster() -> bool:
    """Whether these layers are the faster ones: beside oneDNN's kernels, on processors."""
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" and not tf.config.list_physical_devices(
        "GPU"
    )


@tf.custom_gradient
def spread(maps: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """A transposed convolution with stride 2 and padding `same`, to few channels.

    Args:
        maps: (batch, height, width, filters), float32.
        kernel: (size, size, channels, filters), float32, size >= 2.

    Returns:
        (batch, 2 * height, 2 * width, channels), what `tf.nn.conv2d_transpose` gives; through
        `tf.custom_gradient`, which takes the second value.
    """
    height, width, filters = maps.shape[1:]
    size, _, channels, _ = kernel.shape
    windows = tf.matmul(
        tf.reshape(maps, (-1, filters)), tf.reshape(kernel, (-1, filters)), transpose_b=True
    )
    images = _fold(tf.reshape(windows, (-1, height, width, size, size, channels)))
    # Says its shape again: the graph optimizer does not see it through a compiled call, and then
    # fails where it fuses a discriminator's layers ("remapper failed", TensorFlow 2.21).
    images = tf.reshape(images, (-1, 2 * height, 2 * width, channels))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        by_maps = tf.nn.conv2d(upstream, kernel, 2, "SAME")
        by_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=upstream,
            filter_sizes=kernel.shape,
            out_backprop=maps,
            strides=(1, 2, 2, 1),
            padding="SAME",
        )
        return by_maps, by_kernel

    return images, gradient


@tf.function(jit_compile=True, autograph=False)
def _fold(windows: tf.Tensor) -> tf.Tensor:
    """Windows that overlap by all but two pixels, added up.

    (batch, height, width, size, size, channels) -> (batch, 2 * height, 2 * width, channels).
    """
    height, width, size = windows.shape[1:4]
    taps = -(-size // 2)

    def phase(row: int, column: int) -> tf.Tensor:
        """Every other pixel of every other row: what the taps of one parity add up to."""
        total = 0.0
        for down in range((size - row + 1) // 2):
            for right in range((size - column + 1) // 2):
                part = windows[:, :, :, 2 * down + row, 2 * right + column]
                padding = ((down, taps - 1 - down), (right, taps - 1 - right))
                total += tf.pad(part, ((0, 0), *padding, (0, 0)))
        return total

    phases = [phase(row, column) for row in range(2) for column in range(2)]
    whole = tf.nn.depth_to_space(tf.concat(phases, axis=-1), 2)
    before = (size - 2) // 2  # what `same` cuts off at the top and on the left
    return whole[:, before : before + 2 * height, before : before + 2 * width]


def _is_foldable(layer: layers.Conv2DTranspose, inputs: tuple[int | None, ...]) -> bool:
    """Whether a layer is of the kind that is faster folded."""
    size = set(layer.kernel_size)
    return (
        layer.filters <= _MOST_CHANNELS
        and tuple(layer.strides) == (2, 2)
        and len(size) == 1
        and min(size) >= 2
        and layer.padding == "same"
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.output_padding is None
        and layer.data_format == "channels_last"
        and layer.compute_dtype == "float32"  # in bfloat16 the fold's sums would be rounded
        and None not in inputs[1:3]
    )


@keras.saving.register_keras_serializable(package="kerasunsup")
class Conv2DTranspose(layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, folded where it makes images of feature maps."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, filters) -> (batch, 2 * height, 2 * width, channels)."""
        if not _is_foldable(self, inputs.shape):
            return super().call(inputs)
        outputs = spread(inputs, tf.convert_to_tensor(self.kernel.value))
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


@tf.custom_gradient
def image_convolution(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """`tf.nn.conv2d` with stride 2 and padding `same`, of images whose sides are even.

    Its gradient by the images is a fold, in float32.

    Args:
        images: (batch, 2 * height, 2 * width, channels).
        kernel: (size, size, channels, filters), size >= 2.

    Returns:
        (batch, height, width, filters); through `tf.custom_gradient`, which takes the second value.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        by_images = spread(tf.cast(upstream, tf.float32), tf.cast(kernel, tf.float32))
        by_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=images,
            filter_sizes=kernel.shape,
            out_backprop=upstream,
            strides=(1, 2, 2, 1),
            padding="SAME",
        )
        return tf.cast(by_images, images.dtype), by_kernel

    return tf.nn.conv2d(images, kernel, 2, "SAME"), gradient


@keras.saving.register_keras_serializable(package="kerasunsup")
class Conv2D(layers.Conv2D):
    """`keras.layers.Conv2D`, whose gradient by images of few channels is a fold."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(batch, 2 * height, 2 * width, channels) -> (batch, height, width, filters)."""
        _, height, width, channels = inputs.shape
        size = set(self.kernel_size)
        is_foldable = (
            channels <= _MOST_CHANNELS
            and tuple(self.strides) == (2, 2)
            and len(size) == 1
            and min(size) >= 2
            and self.padding == "same"
            and tuple(self.dilation_rate) == (1, 1)
            and self.groups == 1
            and self.data_format == "channels_last"
            and None not in (height, width)
            and height % 2 == width % 2 == 0
        )
        if not is_foldable:
            return super().call(inputs)
        outputs = image_convolution(inputs, tf.convert_to_tensor(self.kernel))
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="kerasunsup")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` of the last axis, by TensorFlow's kernel while training.

    Its gradient of second order is exact outside of `tf.cond` and wrong inside (TensorFlow 2.21);
    Keras's leaves out what comes through the mean.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """(batch, channels) or (batch, height, width, channels) -> the same shape."""
        rank = len(inputs.shape)
        is_fused = (
            training
            and self.trainable
            and mask is None
            and not self.synchronized
            and not self.renorm
            and self.scale
            and self.center
            and rank in (2, 4)
            and self.axis in (-1, rank - 1)
        )
        if not is_fused:
            return super().call(inputs, training=training, mask=mask)
        maps = inputs if rank == 4 else inputs[:, None, None, :]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=maps,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel's variance is divided by one less than their number, Keras's by the number.
        number = tf.cast(tf.size(maps) // maps.shape[-1], tf.float32)
        variance *= (number - 1.0) / number
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return outputs if rank == 4 else outputs[:, 0, 0, :]


class _Penalized:
    Conv2D, Conv2DTranspose = Conv2D, Conv2DTranspose
    BatchNormalization = layers.BatchNormalization
