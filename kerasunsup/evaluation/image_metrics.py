"""Numbers from arrays that say how close images are to each other.

Images are float32 (num_images, height, width, channels) in [0, 1]. Nothing here reads a file or
draws a picture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from kerasunsup.evaluation import neighbors

logger = logging.getLogger(__name__)

# PSNR of identical images would be infinite, and one of them would hide all others in the mean.
# 100 dB (a root mean squared error of 1e-5) is far beyond the 59 dB of rounding to 8 bits.
PSNR_CAP_DB = 100.0


def mean_of_blocks(parts: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Means over all images, from the means of blocks of images.

    Args:
        parts: (number of images, name -> mean over them) of each block; all have the same names.

    Returns:
        name -> mean over all images; nothing where there is no block.

    Example:
        >>> mean_of_blocks([(3, {"mse": 0.1}), (1, {"mse": 0.5})])
        {'mse': 0.2}
    """
    total = sum(number for number, _ in parts)
    names = parts[0][1] if parts else ()
    return {name: sum(number * means[name] for number, means in parts) / total for name in names}


def finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """The finite numbers among them (name -> value); a line of the log names the others.

    Example:
        >>> finite({"mse": 0.004, "fid": math.nan})
        left out, as they are no finite numbers: fid
        {'mse': 0.004}
    """
    kept = {name: value for name, value in numbers.items() if math.isfinite(value)}
    if len(kept) < len(numbers):
        missing = ", ".join(name for name in numbers if name not in kept)
        logger.info(f"left out, as they are no finite numbers: {missing}")
    return kept


def mse(images: np.ndarray, reference: np.ndarray) -> float:
    """Mean squared error over all values and images, without clipping.

    Args:
        images: (num_images, height, width, channels), float32.
        reference: of the same shape, float32 in [0, 1].

    Returns:
        Mean over pixels, channels and images of the squared difference, >= 0; on the [0, 1] scale.

    Raises:
        ValueError: if the shapes differ or there are no images.

    Example:
        >>> mse(np.full((1, 4, 4, 1), 0.5), np.zeros((1, 4, 4, 1)))
        0.25
    """
    _check_pairs(images, reference)
    # Every image has as many values as every other, so the mean of means is the mean.
    return float(_squared_errors(images, reference, clip=False).mean())


def psnr_db_per_image(images: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, after clipping both to [0, 1].

    Arguments and errors are those of `mse`.

    Returns:
        (num_images,), float64: -10 log10(mean over an image's values of the squared difference),
        in dB; at most `PSNR_CAP_DB`, which is what identical images get.

    Example:
        >>> images = np.stack([np.zeros((4, 4, 1)), np.full((4, 4, 1), 0.1)])
        >>> psnr_db_per_image(images, np.zeros((2, 4, 4, 1)))
        array([100.,  20.])
    """
    _check_pairs(images, reference)
    errors = _squared_errors(images, reference, clip=True)
    return -10.0 * np.log10(np.maximum(errors, 10.0 ** (-PSNR_CAP_DB / 10.0)))


def psnr_db(images: np.ndarray, reference: np.ndarray) -> float:
    """Mean over the images of `psnr_db_per_image`, in dB, at most `PSNR_CAP_DB`.

    Example:
        >>> psnr_db(np.full((1, 4, 4, 1), 0.1), np.zeros((1, 4, 4, 1)))
        20.0
    """
    return float(psnr_db_per_image(images, reference).mean())


def ssim(images: np.ndarray, reference: np.ndarray) -> float:
    """Mean structural similarity, after clipping both to [0, 1].

    Arguments and errors are those of `mse`.

    Returns:
        Mean over windows, channels and images, in [-1, 1]; 1 for identical images. Gaussian
        windows of 11 pixels (of the smaller side, where that is less), standard deviation 1.5,
        wholly inside the image.

    Source:
        Wang et al., 2004, IEEE Transactions on Image Processing 13(4), eq. 13.

    Example:
        >>> images = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
        >>> round(ssim(images, images), 4)
        1.0
    """
    _check_pairs(images, reference)
    filter_size = min(11, *images.shape[1:3])
    total = 0.0
    for rows in neighbors.blocks(len(images)):
        values = tf.image.ssim(
            tf.clip_by_value(tf.convert_to_tensor(images[rows], tf.float32), 0.0, 1.0),
            tf.clip_by_value(tf.convert_to_tensor(reference[rows], tf.float32), 0.0, 1.0),
            max_val=1.0,
            filter_size=filter_size,
        )
        total += float(np.sum(values.numpy(), dtype=np.float64))
    return total / len(images)


def _check_pairs(images: np.ndarray, reference: np.ndarray) -> None:
    if images.shape != reference.shape or images.ndim != 4 or not images.size:
        raise ValueError(
            "images and reference must have one shape (num_images, height, width, channels), "
            f"received {images.shape} and {reference.shape}"
        )


def _squared_errors(images: np.ndarray, reference: np.ndarray, *, clip: bool) -> np.ndarray:
    """Mean squared error of each image, float64 (num_images,)."""
    errors = np.empty(len(images))
    for rows in neighbors.blocks(len(images)):
        pair = (images[rows], reference[rows])
        first, second = (np.clip(part, 0.0, 1.0) for part in pair) if clip else pair
        difference = (first - second).reshape(len(first), -1)
        errors[rows] = np.mean(np.square(difference), axis=1, dtype=np.float64)
    return errors
