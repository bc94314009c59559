"""A denoiser with skips: images in, images out, and no code between them.

An autoencoder passes a whole image through a few numbers, which costs more than a little noise
does. Here each resolution has a way across, and the network only adds a correction to its input
(U-Net, Ronneberger et al. 2015, arXiv:1505.04597; residual output, Zhang et al. 2017,
arXiv:1608.03981). Unlike U-Net's, all its convolutions work at half the image's side or less, as
one at the whole side would cost four times as much; and what comes across is added, not put beside,
which costs half.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kerasunsup.models import networks

_LEVELS = 3  # at most, where the filters of fewer are given
_INNER_KERNEL = 3  # pixels, of all convolutions but those that read and make the image


def level_filters(image_shape: Sequence[int], filters: Sequence[int]) -> tuple[int, ...]:
    """Filters of each level, given those of the first ones: each further level has twice as many.

    Args:
        image_shape: (height, width, channels).
        filters: of the first levels; of the autoencoder's stages.

    Returns:
        The filters as they were given where they are three or more; else of three levels, or of
        as many as leave two pixels of the smaller side.

    Raises:
        ValueError: if there are more filters than the image can be halved.

    Example:
        >>> level_filters((28, 28, 1), (32,)), level_filters((8, 9, 3), (16,))
        ((32, 64, 128), (16, 32))
    """
    levels = list(filters)
    while min(networks.stage_shapes(image_shape, levels)[-1][:2]) >= 4 and len(levels) < _LEVELS:
        levels.append(2 * levels[-1])
    return tuple(levels)


def denoiser(
    image_shape: Sequence[int],
    *,
    filters: Sequence[int] = (32,),
    kernel_size: int = 5,
    layer_types: Any = layers,
) -> keras.Model:
    """Strided convolutions down, transposed ones up, added level by level, at last to the input.

    Each level has two more convolutions on the way up, around which its input is added to theirs.

    Args:
        image_shape: (height, width, channels).
        filters: of each level, or of the first ones (see `level_filters`); every level halves
            height and width, rounding up.
        kernel_size: side of the windows that read and make the image, in pixels; the others' is 3.
        layer_types: `keras.layers`, or `faster_layers`, which has the same.

    Returns:
        images (batch, height, width, channels) in [0, 1] -> images of the same shape and range.

    Raises:
        ValueError: if there are more filters than the image can be halved.
    """
    filters = level_filters(image_shape, filters)
    shapes = networks.stage_shapes(image_shape, filters)
    inputs = keras.Input(tuple(image_shape), name="images")
    x, across = inputs, []
    for level, num_filters in enumerate(filters, start=1):
        size = kernel_size if level == 1 else _INNER_KERNEL
        x = _convolution(num_filters, size, f"down_{level}", strides=2)(x)
        across.append(x)
    x = _refined(x, filters[-1], len(filters))
    for level in reversed(range(1, len(filters))):
        x = networks.doubled(x, shapes, level, layer_types, _INNER_KERNEL)
        x = _added(x, across[level - 1], f"joined_{level}")
        x = _refined(x, filters[level - 1], level)
    correction = networks.doubled(x, shapes, 0, layer_types, kernel_size)
    # float32 in every precision, as every image is.
    x = layers.Add(dtype="float32", name="corrected")([inputs, correction])
    images = layers.ReLU(max_value=1.0, dtype="float32", name="restored")(x)
    return keras.Model(inputs, images, name="denoiser")


def _refined(x: Any, filters: int, level: int) -> Any:
    """Feature maps after two convolutions, added to the maps before them."""
    y = _convolution(filters, _INNER_KERNEL, f"refined_{level}a")(x)
    y = _convolution(filters, _INNER_KERNEL, f"refined_{level}b", activation=None)(y)
    return _added(x, y, f"refined_{level}")


def _added(x: Any, y: Any, name: str) -> Any:
    total = layers.Add(name=f"{name}_sum")([x, y])
    return layers.Activation("relu", name=name)(total)


def _convolution(
    filters: int, kernel_size: int, name: str, strides: int = 1, activation: str | None = "relu"
) -> layers.Conv2D:
    return layers.Conv2D(
        filters, kernel_size, strides=strides, padding="same", activation=activation, name=name
    )


def num_weights(image_shape: Sequence[int], filters: Sequence[int], kernel_size: int) -> int:
    """Weights of a denoiser, about, counted from plain values as `networks.num_weights` does.

    Raises:
        ValueError: if there are more filters than the image can be halved.
    """
    channels = [image_shape[-1], *level_filters(image_shape, filters)]
    outer = 2 * kernel_size**2 * channels[0] * channels[1]
    inner = sum(2 * before * after for before, after in itertools.pairwise(channels[1:]))
    inner += sum(2 * each**2 for each in channels[1:])
    return outer + _INNER_KERNEL**2 * inner
