"""Small sets of images in folders and files, and what tests ask about them."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.apply import image_stream
from kerasunsup.data import images as data_images
from kerasunsup.data import pixel_storage
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings


def settings(source, **options) -> TrainingSettings:
    return TrainingSettings(data=str(source), **options)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_images(folder, pixels, *, start: int = 0, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pixels, start):
        (folder / f"{index:04d}{suffix}").write_bytes(data_images.encode_png(picture))


def refusal(source, **options) -> str:
    """The one line that refuses the data."""
    with pytest.raises(InputError) as caught:
        data_splits.load(settings(source, **options))
    text = str(caught.value)
    assert "\n" not in text
    return text


def open_stream(source) -> image_stream.Stream:
    return image_stream.open_images(str(source), without=None, part="all", limit=None)


def parts_of(splits: Splits) -> list[set[str]]:
    return [set(part.files) for part in (splits.train, splits.validation, splits.test)]


GOOD = noise(20, 8, 8)
GOOD[0, 0, :2] = 0, 255


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def numbers(image_set: ImageSet) -> list[int]:
    return data_images.to_uint8(image_set.array())[:, 0, 0, 0].tolist()


def numbered_set(num_images: int) -> ImageSet:
    pixels = np.zeros((num_images, 8, 8, 1), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(num_images)
    return ImageSet(pixel_storage.MemoryStore(pixels))


def orders(batches: tf.data.Dataset) -> list[list[int]]:
    """The numbers of the images in each batch."""
    return [data_images.to_uint8(inputs.numpy())[:, 0, 0, 0].tolist() for inputs, _ in batches]
