"""The pixels of many images of one shape, in one array in memory or in one file on disk.

A store is read by position. What is decoded goes to a file without a name, so nothing is left of it
however the process ends. Files are read with positioned reads, by any number of threads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

MEMORY_LIMIT = 1 << 30  # bytes; a set that may hold more pixels is kept on disk
LEAST_SIDE, MOST_SIDE = 8, 128
MOST_VALIDATION = 5000
# Names of folders and arrays -> the set that their images belong to.
SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation",
}  # fmt: skip

_CHUNK = 1024  # images that are copied or hashed at a time


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


class MemoryStore:
    """Images in one array.

    Args:
        pixels: (num_images, height, width, channels), uint8, or float32 in [0, 1].
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.dtype = pixels.dtype
        self.shape: tuple[int, int, int] = pixels.shape[1:]
        self._fingerprint = ""

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these positions, (num_indices, height, width, channels), a copy."""
        return self.pixels[indices]

    @property
    def fingerprint(self) -> str:
        """A hex digest of shape, dtype and every pixel."""
        if not self._fingerprint:
            digest = _digest(self.shape, self.dtype)
            for start in range(0, len(self.pixels), _CHUNK):
                digest.update(np.ascontiguousarray(self.pixels[start : start + _CHUNK]).data)
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint


class _File:
    """An unbuffered file that is closed as soon as nothing refers to it.

    Args:
        path: a file to be read; None makes an anonymous one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._descriptor: int | None = None
        if path is None:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below
        else:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.file = open(self._descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115

    def write(self, content: memoryview) -> None:
        """Appends all of it, or raises OSError where the disk is full."""
        while content.nbytes:
            content = content[self.file.write(content) :]

    def __del__(self) -> None:
        if hasattr(self, "file"):  # opening it may have failed
            self.file.close()
        if self._descriptor is not None:
            os.close(self._descriptor)


class FileStore:
    """Images in a file of plain values, one image after the other.

    Args:
        file: the file that holds the images.
        length: number of images.
        shape: shape of each image in the file.
        dtype: dtype of the values in the file.
        offset: bytes before the first image.
        convert: images as they are in the file -> uint8, or float32 in [0, 1], of shape
            (num_images, height, width, channels); None where they need no conversion.
        fingerprint: the digest, if it was computed before; else it is computed when it is needed.
    """

    def __init__(
        self,
        file: Path | _File,
        length: int,
        shape: Sequence[int],
        dtype: np.dtype,
        offset: int = 0,
        convert: Callable[[np.ndarray], np.ndarray] | None = None,
        fingerprint: str = "",
    ) -> None:
        self._file = file if isinstance(file, _File) else _File(file)
        self._length, self._offset = length, offset
        self._shape, self._dtype, self._convert = tuple(shape), dtype, convert
        example = self.read(np.arange(0))  # has the shape and dtype after conversion
        self.shape: tuple[int, int, int] = example.shape[1:]
        self.dtype = example.dtype
        self._fingerprint = fingerprint

    def __len__(self) -> int:
        return self._length

    def converted(self, convert: Callable[[np.ndarray], np.ndarray]) -> FileStore:
        """The same images in the same file, converted as they are read."""
        return FileStore(self._file, self._length, self._shape, self._dtype, self._offset, convert)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these positions, (num_indices, height, width, channels).

        Raises:
            IndexError: if a position is out of range.
            OSError: if the disk cannot be read.
        """
        size = int(np.prod(self._shape)) * self._dtype.itemsize
        content = np.empty((len(indices), size), np.uint8)
        if len(indices) and not 0 <= np.min(indices) <= np.max(indices) < self._length:
            raise IndexError(f"positions 0 to {self._length - 1}, received {indices}")
        descriptor = self._file.file.fileno()
        rows = list(zip(content, np.asarray(indices).tolist(), strict=True))
        if rows and content.nbytes < 1 << 30 and (np.diff(indices) == 1).all():
            rows = [(content.reshape(-1), rows[0][1])]  # neighbours in one read
        for row, index in rows:
            place = self._offset + index * size
            if os.preadv(descriptor, [row.data], place) != row.nbytes:
                raise OSError(f"image {index} of the images on disk could not be read whole")
        pixels = content.view(self._dtype).reshape(-1, *self._shape)
        return pixels if self._convert is None else self._convert(pixels)

    @property
    def fingerprint(self) -> str:
        """A hex digest of shape, dtype and every pixel; the same images in memory have the same."""
        if not self._fingerprint:
            digest = _digest(self.shape, self.dtype)
            for start in range(0, self._length, _CHUNK):
                chunk = self.read(np.arange(start, min(start + _CHUNK, self._length)))
                digest.update(np.ascontiguousarray(chunk).data)
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint


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
        self._length = 0
        self.shape: tuple[int, int, int] | None = None
        self._array: np.ndarray | None = None
        self._spool: _File | None = None

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
            self._to_colour()
        elif self.shape[-1] == 3 and pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
        content = np.ascontiguousarray(pixels)
        if self._array is not None:
            self._array[self._length : self._length + len(content)] = content
        elif self._spool is not None:
            self._digest.update(content.data)
            self._spool.write(content.reshape(-1).data)
        self._length += len(content)

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
        spool, self._spool = self._spool, None
        if spool is None:
            raise ValueError("the writer was finished before")
        fingerprint = self._digest.hexdigest()[:16]
        return FileStore(
            spool, self._length, self.shape, np.dtype(np.uint8), fingerprint=fingerprint
        )

    def _open(self, shape: tuple[int, int, int]) -> None:
        self.shape, self._length, self._array, self._spool = shape, 0, None, None
        if self._capacity * int(np.prod(shape)) <= self._memory_limit:
            self._array = np.empty((self._capacity, *shape), np.uint8)
        else:
            self._digest = _digest(shape, np.dtype(np.uint8))
            self._spool = _File()

    def _to_colour(self) -> None:
        grey = self.finish()
        self._open((*grey.shape[:2], 3))
        for start in range(0, len(grey), _CHUNK):
            self.append(grey.read(np.arange(start, min(start + _CHUNK, len(grey)))))


def _digest(shape: tuple[int, ...], dtype: np.dtype) -> hashlib._Hash:
    return hashlib.sha256(f"{tuple(map(int, shape))} {dtype}".encode())
