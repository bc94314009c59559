"""A set of images of one shape, in memory or on disk."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasunsup.data import images, pixel_storage

if TYPE_CHECKING:
    import tensorflow as tf

# TensorFlow copies an array that becomes a tensor: worth 0.1 ms a batch, but not a second gigabyte.
_TENSOR_LIMIT = 256 << 20

_BLOCK_BYTES = 32 << 20  # float32 images that are measured at a time

# The tensor of each store in memory, made once for all sets of the store.
_TENSORS: weakref.WeakKeyDictionary[pixel_storage.MemoryStore, Any] = weakref.WeakKeyDictionary()


class ImageSet:
    """A set of images of one shape, in memory or on disk; a subset shares its parent's store.

    Args:
        store: the pixels, of this set and perhaps of others.
        indices: the positions in the store that belong to the set, in order; None means all.
        files: relative names of the files, one an image of the store.

    Attributes:
        shape: (height, width, channels).
        positions: where the images lie in the store, int64 (num_images,).
    """

    def __init__(
        self,
        store: pixel_storage.Store,
        indices: np.ndarray | None = None,
        files: list[str] | None = None,
    ) -> None:
        self.shape = store.shape
        self._store = store
        self.positions = np.arange(len(store)) if indices is None else indices.astype(np.int64)
        self._all_files = files

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def files(self) -> list[str] | None:
        """Relative names, one an image; None where images do not come from files of their own."""
        if self._all_files is None:
            return None
        return [self._all_files[index] for index in self.positions]

    @property
    def fingerprint(self) -> str:
        """A hex digest of every pixel and of the order; the same in memory and on disk."""
        digest = hashlib.sha256(self._store.fingerprint.encode())
        digest.update(self.positions.tobytes())
        return digest.hexdigest()[:16]

    @property
    def whole(self) -> ImageSet:
        """All images of the store, in its order."""
        return ImageSet(self._store, files=self._all_files)

    def subset(self, indices: np.ndarray | Sequence[int]) -> ImageSet:
        """The images at these positions of this set, in this order; nothing is copied."""
        positions = self.positions[np.asarray(indices, np.int64)]
        return ImageSet(self._store, positions, self._all_files)

    def followed_by(self, other: ImageSet) -> ImageSet:
        """The images of this set, then those of another one of the same store."""
        positions = np.concatenate([self.positions, other.positions])
        return ImageSet(self._store, positions, self._all_files)

    def array(self, indices: np.ndarray | Sequence[int] | None = None) -> np.ndarray:
        """The images as one array; a large set on disk need not fit into memory.

        Args:
            indices: positions in this set; None means all.

        Returns:
            float32 (num_images, height, width, channels) in [0, 1].
        """
        subset = self if indices is None else self.subset(indices)
        pixels = self._store.read(subset.positions)
        return images.to_unit(pixels) if pixels.dtype == np.uint8 else pixels

    def blocks(self, number: int | None = None) -> Iterator[np.ndarray]:
        """The images, or the first `number`, as `array` gives them, a block of bounded size each.

        All of MNIST's test images are one block.
        """
        number = len(self) if number is None else min(number, len(self))
        size = block_size(self.shape)
        for start in range(0, number, size):
            yield self.array(np.arange(start, min(start + size, number)))

    def gather(self, indices: tf.Tensor) -> tf.Tensor:
        """The images at these positions, inside a graph such as a `tf.data` map.

        Args:
            indices: int64 (batch,).

        Returns:
            float32 (batch, height, width, channels) in [0, 1]; the same bits as `array` gives.
        """
        import tensorflow as tf

        with tf.init_scope(), tf.device("CPU"):  # held by the graph, not written into it
            order = tf.constant(self.positions)
        positions = tf.gather(order, indices)
        store = self._store
        if isinstance(store, pixel_storage.MemoryStore) and store.pixels.nbytes <= _TENSOR_LIMIT:
            pixels = tf.gather(_tensor(store), positions)
        else:
            pixels = tf.numpy_function(store.read, [positions], store.dtype, stateful=False)
        pixels = tf.ensure_shape(pixels, (indices.shape[0], *self.shape))
        if pixels.dtype == tf.float32:
            return pixels
        return tf.cast(pixels, tf.float32) / tf.constant(255.0)


def block_size(shape: tuple[int, int, int]) -> int:
    """The number of images of a shape that are measured at a time."""
    return max(1, _BLOCK_BYTES // (4 * int(np.prod(shape))))


def _tensor(store: pixel_storage.MemoryStore) -> tf.Tensor:
    """The store's array as one tensor, made once for all sets of the store."""
    import tensorflow as tf

    if store not in _TENSORS:
        with tf.init_scope(), tf.device("CPU"):
            _TENSORS[store] = tf.constant(store.pixels)
    return _TENSORS[store]
