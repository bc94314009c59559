"""The pixels of many images of one shape, in one array in memory or in one file on disk.

A store is read by position. What is decoded goes to a file without a name, so nothing is left of it
however the process ends. Files are read with positioned reads, by any number of threads.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence

import numpy as np

MEMORY_LIMIT = 1 << 30  # bytes; a set that may hold more pixels is kept on disk
LEAST_SIDE, MOST_SIDE = 8, 128
MOST_VALIDATION = 5000
# Names of folders and arrays -> the set that their images belong to.
SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation",
}  # fmt: skip

_CHUNK, _CHUNK_BYTES = 1024, 64 << 20  # images, and bytes of them, that are read at a time


class SideError(ValueError):
    """Images are too small or too large; the text says so, and what to do."""


def check_sides(shape: Sequence[int]) -> None:
    """Refuses images whose sides the networks are not made for.

    Args:
        shape: (height, width, ...).

    Raises:
        SideError: if a side is below 8 or above 128.
    """
    height, width = shape[:2]
    if min(height, width) < LEAST_SIDE or max(height, width) > MOST_SIDE:
        raise SideError(
            f"the images are {height} x {width} pixels (height x width), sides must be "
            f"{LEAST_SIDE} to {MOST_SIDE}: use --image-size N to resize them"
        )


def chunks(store: Store) -> Iterator[np.ndarray]:
    """All images of a store in order, as `read` gives them, a bounded number at a time."""
    of_one = math.prod(store.shape) * np.dtype(store.dtype).itemsize
    size = max(1, min(_CHUNK, _CHUNK_BYTES // max(1, of_one)))
    for start in range(0, len(store), size):
        yield store.read(np.arange(start, min(start + size, len(store))))


def _fingerprint(store: Store) -> str:
    """A hex digest of shape, dtype and every pixel; the same in memory and on disk."""
    shape = tuple(map(int, store.shape))
    digest = hashlib.sha256(f"{shape} {store.dtype}".encode())
    for chunk in chunks(store):
        digest.update(np.ascontiguousarray(chunk).data)
    return digest.hexdigest()[:16]


class MemoryStore:
    """Images in one array.

    Args:
        pixels: (num_images, height, width, channels), uint8, or float32 in [0, 1].
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.dtype = pixels.dtype
        self.shape: tuple[int, int, int] = pixels.shape[1:]

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these positions, (num_indices, height, width, channels), a copy."""
        return self.pixels[indices]

    fingerprint = functools.cached_property(_fingerprint)


class FileStore:
    """Images in a file of plain values, one image after the other.

    A memory map would serve as well, but the pages that it has read count as the process's memory.

    Args:
        descriptor: of the open file; it is closed with the store.
        length: number of images.
        shape: shape of each image in the file.
        dtype: dtype of the values in the file.
        offset: bytes before the first image.
        convert: images as they are in the file -> uint8, or float32 in [0, 1], of shape
            (num_images, height, width, channels); None where they need no conversion.
    """

    def __init__(
        self,
        descriptor: int,
        length: int,
        shape: Sequence[int],
        dtype: np.dtype,
        offset: int = 0,
        convert: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._length, self._offset = length, offset
        self._shape, self._dtype, self._convert = tuple(shape), dtype, convert
        example = self.read(np.arange(0))  # has the shape and dtype after conversion
        self.shape: tuple[int, int, int] = example.shape[1:]
        self.dtype = example.dtype

    def __len__(self) -> int:
        return self._length

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these positions, (num_indices, height, width, channels).

        Raises:
            IndexError: if a position is out of range.
            OSError: if the disk cannot be read.
        """
        if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < self._length:
            raise IndexError(f"positions 0 to {self._length - 1}, received {indices}")
        size = math.prod(self._shape) * self._dtype.itemsize
        content = np.empty((len(indices), size), np.uint8)
        rows = list(zip(content, np.asarray(indices).tolist(), strict=True))
        if rows and content.nbytes < 1 << 30 and (np.diff(indices) == 1).all():
            rows = [(content.reshape(-1), rows[0][1])]  # neighbours in one read
        for row, index in rows:
            place = self._offset + index * size
            if os.preadv(self._descriptor, [row.data], place) != row.nbytes:
                raise OSError(f"image {index} of the images on disk could not be read whole")
        pixels = content.view(self._dtype).reshape(-1, *self._shape)
        return pixels if self._convert is None else self._convert(pixels)

    fingerprint = functools.cached_property(_fingerprint)


Store = MemoryStore | FileStore


@dataclasses.dataclass(frozen=True)
class Source:
    """All images of one data set before they are split, in the order of its files.

    Attributes:
        name: what the data is called in titles: the TFDS name, or the last part of the path.
        store: the images.
        labels: int64 (num_images,), or None.
        class_names: one name a class, or None where there are no labels or no names.
        files: relative names, one an image; None where images do not come from files of their own.
        num_test: number of images at the end that are the data's own test set.
        num_validation: number of images before those that are its own validation set.
    """

    name: str
    store: Store
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    files: list[str] | None = None
    num_test: int = 0
    num_validation: int = 0

    def split(
        self, limit: int | None, test_limit: int | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Disjoint positions of training, validation and test images, drawn by the seed.

        The test set is the data's own, else 10 % of the images. The validation set is the data's
        own, else 10 % of the rest, at most 5,000.

        Args:
            limit: at most so many training images; None means all.
            test_limit: at most so many validation and so many test images.
            seed: >= 0.

        Returns:
            int64 each. The data's own test set is in its own order.
        """
        generator = np.random.default_rng(seed)
        total = len(self.store)
        num_training = total - self.num_test - self.num_validation
        if self.num_test:
            test = np.arange(total - self.num_test, total)
            if test_limit is not None:
                test = generator.permutation(test)[:test_limit]
            rest = generator.permutation(num_training)
        else:
            order = generator.permutation(num_training)
            num_test = max(1, num_training // 10)
            test, rest = order[:num_test][:test_limit], order[num_test:]
        if self.num_validation:
            validation = num_training + generator.permutation(self.num_validation)
        else:
            num_validation = min(MOST_VALIDATION, max(1, len(rest) // 10))
            validation, rest = rest[:num_validation], rest[num_validation:]
        return rest[:limit], validation[:test_limit], test


class Writer:
    """Collects images in memory, or on disk where they may be too many.

    If any image is in colour, all become colour, also those that were appended before.

    Args:
        capacity: the largest number of images that may be appended.
        memory_limit: in bytes; a set that could grow larger is written to disk from the start.

    Attributes:
        shape: (height, width, channels) of the images so far; None before the first.
    """

    def __init__(self, capacity: int, memory_limit: int) -> None:
        self._capacity, self._memory_limit = capacity, memory_limit
        self.shape: tuple[int, int, int] | None = None

    def append(self, pixels: np.ndarray) -> None:
        """Appends images, uint8 (num_images, height, width, 1|3), of one height and width.

        Raises:
            OSError: if the disk is full.
            SideError: if the images are too small or too large.
        """
        if self.shape is None:
            check_sides(pixels.shape[1:])
            self._open(pixels.shape[1:])
        elif self.shape[-1] == 1 and pixels.shape[-1] == 3:
            grey = self.finish()
            self._open(pixels.shape[1:])
            for chunk in chunks(grey):
                self.append(chunk)
        elif self.shape[-1] == 3 and pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
        if self._array is None:
            content = np.ascontiguousarray(pixels).reshape(-1).data
            while content:  # the disk may take a part of it first
                content = content[self._file.write(content) :]
        else:
            self._array[self._length : self._length + len(pixels)] = pixels
        self._length += len(pixels)

    def finish(self) -> Store:
        """The store of all images that were appended.

        Raises:
            OSError: if the disk is full.
            ValueError: if nothing was appended.
        """
        if self.shape is None:
            raise ValueError("no image was appended")
        if self._array is not None:
            return MemoryStore(self._array[: self._length])
        with self._file as file:
            descriptor = os.dup(file.fileno())
        return FileStore(descriptor, self._length, self.shape, np.dtype(np.uint8))

    def _open(self, shape: tuple[int, int, int]) -> None:
        self.shape, self._length = shape, 0
        self._array: np.ndarray | None = None
        if self._capacity * math.prod(shape) <= self._memory_limit:
            self._array = np.empty((self._capacity, *shape), np.uint8)
        else:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by finish
            weakref.finalize(self, self._file.close)
