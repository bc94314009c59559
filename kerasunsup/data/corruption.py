"""Corrupted images: Gaussian noise and cropped-out holes, pure functions of a batch and a seed.

Everything runs inside `tf.function` and `tf.data` as well as eagerly. The same images and seed
give the same corruption; the images of one batch are corrupted independently of each other.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Named rather than left to TensorFlow's choice, so that a seed means the same on every device.
# It is also the only one that a CPU runs: "threefry" fails there (TensorFlow 2.21).
_GENERATOR = "philox"


def gaussian_noise(images: tf.Tensor, sigma: float | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Images with independent Gaussian noise on every value, clipped.

    Args:
        images: (batch, height, width, channels), float32 in [0, 1].
        sigma: standard deviation of the noise before clipping, >= 0, on the images' scale.
        seed: (2,), integers.

    Returns:
        clip(images + sigma * noise, 0, 1), of the images' shape, float32.

    Raises:
        ValueError: if the images have no four dimensions or sigma is a negative number.

    Example:
        >>> gaussian_noise(np.zeros((1, 2, 2, 1)), sigma=0.0, seed=[0, 1]).numpy().max().item()
        0.0
    """
    images = _batch(images)
    if not tf.is_tensor(sigma) and not sigma >= 0.0:
        raise ValueError(f"sigma must be at least 0, received {sigma}")
    noise = tf.random.stateless_normal(tf.shape(images), seed, alg=_GENERATOR)
    noise = tf.ensure_shape(noise, images.shape)
    return tf.clip_by_value(images + tf.cast(sigma, tf.float32) * noise, 0.0, 1.0)


def hole_mask(images: tf.Tensor, pixels: int, seed: tf.Tensor) -> tf.Tensor:
    """One square hole in each image, at a place drawn uniformly from those wholly inside it.

    Args:
        images: (batch, height, width, channels); only the shape is used.
        pixels: side of the hole, from 0 (no hole) to the smaller side of the images.
        seed: (2,), integers.

    Returns:
        (batch, height, width, 1), float32: 0 in the hole, 1 elsewhere.

    Raises:
        ValueError: if the hole does not fit, or height and width are not known.

    Example:
        >>> mask = hole_mask(np.zeros((1, 4, 4, 1)), pixels=2, seed=[0, 1])
        >>> int(tf.reduce_sum(mask))
        12
    """
    images = _batch(images)
    height, width = images.shape[1:3]
    if height is None or width is None:
        raise ValueError(
            f"images must have a known height and width, received the shape {images.shape}"
        )
    if not 0 <= pixels <= min(height, width):
        raise ValueError(
            f"a hole of {pixels} x {pixels} pixels does not fit into images of {height} x {width}: "
            f"use 0 to {min(height, width)}"
        )
    choices = tf.constant([height - pixels + 1, width - pixels + 1], tf.float32)
    uniform = tf.random.stateless_uniform((tf.shape(images)[0], 2), seed, alg=_GENERATOR)
    corner = tf.minimum(tf.floor(uniform * choices), choices - 1.0)  # rounding may reach choices
    top, left = corner[:, :1], corner[:, 1:]  # (batch, 1) each
    rows, columns = tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32)
    in_rows = (rows >= top) & (rows < top + float(pixels))  # (batch, height)
    in_columns = (columns >= left) & (columns < left + float(pixels))  # (batch, width)
    hole = in_rows[:, :, None] & in_columns[:, None, :]
    mask = tf.cast(~hole, tf.float32)[..., None]
    return tf.ensure_shape(mask, (images.shape[0], height, width, 1))


def cut_holes(images: tf.Tensor, pixels: int, seed: tf.Tensor) -> tf.Tensor:
    """Images with one square hole each, filled with black.

    Args:
        images: (batch, height, width, channels), float32 in [0, 1].
        pixels: side of the hole, from 0 (no hole) to the smaller side of the images.
        seed: (2,), integers; `hole_mask` with the same one tells where the holes are.

    Returns:
        images * hole_mask, of the images' shape, float32.

    Raises:
        ValueError: if the hole does not fit, or height and width are not known.

    Example:
        >>> images = cut_holes(np.ones((1, 4, 4, 3)), pixels=2, seed=[0, 1])
        >>> int(tf.reduce_sum(images))
        36
    """
    images = _batch(images)
    return images * hole_mask(images, pixels, seed)


def of_drawn_strength(images: tf.Tensor, sigma: float, pixels: int, seed: tf.Tensor) -> tf.Tensor:
    """Each image with noise of its own level, and every other one with a hole.

    Args:
        images: (batch, height, width, channels), float32 in [0, 1].
        sigma: the highest standard deviation of the noise, >= 0; each image's is drawn uniformly
            from 0 to it.
        pixels: side of the holes; one image in two has one, at random. 0 cuts none.
        seed: (2,), integers.

    Returns:
        float32 of the images' shape, in [0, 1].

    Raises:
        ValueError: as `gaussian_noise` and `cut_holes`.

    Example:
        >>> images = of_drawn_strength(np.ones((100, 4, 4, 1)), 0.0, pixels=4, seed=[0, 1])
        >>> 35 < float(tf.reduce_sum(images)) / 16 < 65
        True
    """
    images = _batch(images)
    if not sigma >= 0.0:
        raise ValueError(f"sigma must be at least 0, received {sigma}")

    def drawn(number: int) -> tf.Tensor:
        shape = (tf.shape(images)[0], 1, 1, 1)
        return tf.random.stateless_uniform(shape, seed + tf.constant(number), alg=_GENERATOR)

    seed = tf.convert_to_tensor(seed, tf.int32)
    corrupted = gaussian_noise(images, sigma * drawn(2), seed) if sigma else images
    if pixels:
        corrupted = tf.where(drawn(3) < 0.5, cut_holes(corrupted, pixels, seed + 1), corrupted)
    return corrupted


def of_kind(
    kind: str, images: np.ndarray, strength: float, seed: int, block: int = 0
) -> np.ndarray:
    """Images of a data set with noise (`noise`) or with holes (`crop`).

    Args:
        kind: `noise` or `crop`.
        images: float32 (num_images, height, width, channels) in [0, 1].
        strength: standard deviation of the noise, on the images' scale, or side of the hole, in
            pixels.
        seed: seed of the data set, an int32.
        block: which part of it these images are, from 0; each has a corruption of its own.

    Returns:
        float32 of the images' shape, in [0, 1].

    Raises:
        ValueError: if the strength is negative or the hole does not fit.

    Example:
        >>> images = of_kind("crop", np.ones((2, 4, 4, 1), np.float32), strength=2, seed=0)
        >>> images.sum(axis=(1, 2, 3))
        array([12., 12.], dtype=float32)
    """
    pair = seed_of(strength, seed, block)
    if kind == "noise":
        return gaussian_noise(images, strength, pair).numpy()
    return cut_holes(images, int(strength), pair).numpy()


def seed_of(strength: float, seed: int, block: int = 0) -> np.ndarray:
    """The seed by which `of_kind` corrupts a block of images, int32 (2,).

    Args:
        strength: of the corruption; each strength has noise and holes of its own.
        seed: seed of the data set, an int32.
        block: which part of it these images are, from 0; block 2,000 has the seed of block 0.

    Example:
        >>> seed_of(0.4, seed=7)
        array([  7, 400], dtype=int32)
    """
    return np.array([seed, round(strength * 1000) + 1_000_000 * (block % 2000)], np.int32)


def _batch(images: tf.Tensor) -> tf.Tensor:
    """The images as a float32 tensor of four dimensions."""
    images = tf.convert_to_tensor(images, tf.float32)
    if images.shape.rank != 4:
        raise ValueError(
            "images must be (batch, height, width, channels), received the shape "
            f"{images.shape}: add the missing dimension"
        )
    return images
