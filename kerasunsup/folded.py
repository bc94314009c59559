"""Strided convolutions between feature maps and images, as one matrix product and one fold.

A processor's convolution kernels work on many channels at once, and an image has one or three:
oneDNN's transposed convolution to one channel takes longer than the dense layers around it. The
same sum as a matrix product (every input pixel times the whole window) and a fold (windows added up
where they overlap, "col2im") takes a seventh of its time or less.

The layers have the names of weights, and the results up to the order of roundings, of Keras's own.
They are for training where `is_faster`; what is shipped is built of Keras's, so that it loads
anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

_MOST_CHANNELS = 4  # of an image; with more, the kernels for many channels have something to do


def is_faster() -> bool:
    """Whether the folded layers are the faster ones here: beside oneDNN's kernels, on processors.

    Beside TensorFlow's other kernels a step of the autoencoder takes about 1.1 times as long with
    them; graphics cards have kernels of their own.
    """
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" and not tf.config.list_physical_devices(
        "GPU"
    )


def spread(maps: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A transposed convolution with stride 2 and padding `same`, to few channels.

    Args:
        maps: (batch, height, width, filters), float32.
        kernel: (size, size, channels, filters), float32, size >= 2.

    Returns:
        (batch, 2 * height, 2 * width, channels), what `tf.nn.conv2d_transpose` gives.
    """
    return _spread(maps, kernel)


def gather(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A convolution with stride 2 and padding `same`; its gradient by the images is a `spread`.

    Args:
        images: (batch, height, width, channels), float32, height and width even.
        kernel: (size, size, channels, filters), float32, size >= 2.

    Returns:
        (batch, height / 2, width / 2, filters), what `tf.nn.conv2d` gives.
    """
    return _gather(images, kernel)


@tf.custom_gradient
def _spread(maps: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    height, width, filters = maps.shape[1:]
    size, _, channels, _ = kernel.shape
    windows = tf.matmul(
        tf.reshape(maps, (-1, filters)), tf.reshape(kernel, (-1, filters)), transpose_b=True
    )
    images = _fold(tf.reshape(windows, (-1, height, width, size, size, channels)))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _gather(upstream, kernel), _by_kernel(upstream, maps, kernel)

    return images, gradient


@tf.custom_gradient
def _gather(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _spread(upstream, kernel), _by_kernel(images, upstream, kernel)

    return tf.nn.conv2d(images, kernel, 2, "SAME"), gradient


def _by_kernel(images: tf.Tensor, maps: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.Conv2DBackpropFilter(
        input=images,
        filter_sizes=kernel.shape,
        out_backprop=maps,
        strides=(1, 2, 2, 1),
        padding="SAME",
    )


@tf.function(jit_compile=True, autograph=False)
def _fold(windows: tf.Tensor) -> tf.Tensor:
    """Windows that overlap by all but two pixels, added up.

    Args:
        windows: (batch, height, width, size, size, channels).

    Returns:
        (batch, 2 * height, 2 * width, channels).
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


def _is_foldable(layer: Any, images: tuple[int | None, ...], channels: int) -> bool:
    """Whether a layer is of the kind that is faster folded."""
    size = set(layer.kernel_size)
    return (
        channels <= _MOST_CHANNELS
        and tuple(layer.strides) == (2, 2)
        and len(size) == 1
        and min(size) >= 2
        and layer.padding == "same"
        and tuple(layer.dilation_rate) == (1, 1)
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "output_padding", None) is None
        and layer.data_format == "channels_last"
        and layer.compute_dtype == "float32"  # in bfloat16 the fold's sums would be rounded
        and all(side is not None and side % 2 == 0 for side in images[1:3])
    )


def _finished(layer: Any, outputs: tf.Tensor) -> tf.Tensor:
    """With the layer's bias and activation."""
    if layer.use_bias:
        outputs = ops.add(outputs, layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)


@keras.saving.register_keras_serializable(package="kerasunsup")
class FoldedConv2DTranspose(layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, folded where it makes images of feature maps."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, filters) -> (batch, 2 * height, 2 * width, channels)."""
        doubled = (None, *(None if side is None else 2 * side for side in inputs.shape[1:3]))
        if not _is_foldable(self, doubled, self.filters):
            return super().call(inputs)
        return _finished(self, spread(inputs, tf.convert_to_tensor(self.kernel.value)))


@keras.saving.register_keras_serializable(package="kerasunsup")
class FoldedConv2D(layers.Conv2D):
    """`keras.layers.Conv2D`, whose gradient by images is folded; a GAN's generator learns by it."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> (batch, height / 2, width / 2, filters)."""
        if not _is_foldable(self, inputs.shape, inputs.shape[-1]):
            return super().call(inputs)
        return _finished(self, gather(inputs, tf.convert_to_tensor(self.kernel.value)))
