"""What `--data` names, as training, validation and test images, and as batches for training."""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasunsup.data import from_arrays, from_folder, from_tfds, images, pixel_storage
from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings

LEAST_TRAINING = 10
_ALIKE = 0.01  # root mean square deviation from the mean image; MNIST has 0.23

# TensorFlow copies an array that becomes a tensor: worth 0.1 ms a batch, but not a second gigabyte.
_TENSOR_LIMIT = 256 << 20
_BLOCK_BYTES = 32 << 20  # float32 images that are measured at a time

# (images (batch, height, width, channels), seed int32 (2,)) -> the element that the model gets.
Prepare = Callable[[Any, Any], Any]


_TENSORS: weakref.WeakKeyDictionary[pixel_storage.MemoryStore, Any] = weakref.WeakKeyDictionary()


class ImageSet:
    """A set of images of one shape, in memory or on disk; a subset shares its parent's store.

    Args:
        store: holds the pixels.
        indices: the positions in the store that belong to the set, in order; None means all.
        files: relative names of the files, one an image of the store.

    Attributes:
        shape: (height, width, channels).
        files: relative names, one an image of this set; None where images are not files.
    """

    def __init__(
        self,
        store: pixel_storage.Store,
        indices: np.ndarray | None = None,
        files: list[str] | None = None,
    ) -> None:
        self.shape = store.shape
        self._store = store
        self._indices = np.arange(len(store)) if indices is None else indices.astype(np.int64)
        self._all_files = files

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def files(self) -> list[str] | None:
        """Relative names, one an image; None where images do not come from files of their own."""
        if self._all_files is None:
            return None
        return [self._all_files[index] for index in self._indices]

    @property
    def fingerprint(self) -> str:
        """Hex digest of every pixel and of the order; the same in memory and on disk."""
        digest = hashlib.sha256(self._store.fingerprint.encode())
        digest.update(self._indices.tobytes())
        return digest.hexdigest()[:16]

    @property
    def positions(self) -> np.ndarray:
        """Where the images lie in the store, int64 (num_images,)."""
        return self._indices

    @property
    def whole(self) -> ImageSet:
        """All images of the store, in its order."""
        return ImageSet(self._store, files=self._all_files)

    def subset(self, indices: np.ndarray | Iterable[int]) -> ImageSet:
        """The images at these positions of this set, in this order; nothing is copied."""
        chosen = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices), np.int64)
        return ImageSet(self._store, self._indices[chosen], self._all_files)

    def followed_by(self, other: ImageSet) -> ImageSet:
        """The images of this set, then those of another one of the same store."""
        return ImageSet(
            self._store, np.concatenate([self._indices, other._indices]), self._all_files
        )

    def array(self, indices: np.ndarray | Iterable[int] | None = None) -> np.ndarray:
        """The images as one array; a large set on disk need not fit into memory.

        Args:
            indices: positions in this set; None means all.

        Returns:
            float32 (num_images, height, width, channels) in [0, 1].
        """
        chosen = self if indices is None else self.subset(indices)
        return _to_float(self._store.read(chosen._indices))

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
        with tf.init_scope(), tf.device("CPU"):  # held by the graph, not written into it
            order = tf.constant(self._indices)
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
    """So many images of a shape are measured at a time."""
    return max(1, _BLOCK_BYTES // (4 * int(np.prod(shape))))


def _tensor(store: pixel_storage.MemoryStore) -> tf.Tensor:
    """The store's array as one tensor, made once for all sets of the store."""
    if store not in _TENSORS:
        with tf.init_scope(), tf.device("CPU"):
            _TENSORS[store] = tf.constant(store.pixels)
    return _TENSORS[store]


def _to_float(pixels: np.ndarray) -> np.ndarray:
    return images.to_unit(pixels) if pixels.dtype == np.uint8 else pixels


@dataclasses.dataclass(frozen=True)
class Labels:
    """int64 (num_images,) of each split: the class of each image, from 0."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Splits:
    """One data set, cut in three; the labels stand apart.

    Attributes:
        train: drawn in an order that follows from the seed, so that its head mixes the classes.
        validation: drawn likewise.
        test: the data's own test set in its own order, else drawn likewise.
        name: what the data is called in titles.
        class_names: one a class; None where there are no labels or no names.
        labels: None where the data has none.
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    name: str
    class_names: tuple[str, ...] | None
    labels: Labels | None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train.shape

    @property
    def fingerprint(self) -> str:
        """Hex digest of the three splits' content and order, and of the labels."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            digest.update(split.fingerprint.encode())
        if self.labels is not None:
            for values in (self.labels.train, self.labels.validation, self.labels.test):
                digest.update(values.tobytes())
        return digest.hexdigest()[:16]


def read(
    name_or_path: str,
    *,
    image_size: int | None = None,
    memory_limit: int = pixel_storage.MEMORY_LIMIT,
) -> pixel_storage.Source:
    """All images that `--data` names: `mnist`, else a path that exists, else a TFDS name.

    Args:
        name_or_path: as the user gave it.
        image_size: resize to this height and width; None keeps the data's own.
        memory_limit: bytes of pixels above which a folder or a TFDS set is kept on disk.

    Returns:
        The images in the data's own order, unsplit; `ImageSet(source.store, files=source.files)`
        makes a set of them.

    Raises:
        InputError: if there is no such data, or it cannot be used.
        OSError: if the disk is full.
    """
    path = located(name_or_path)
    try:
        if name_or_path == "mnist":
            source = from_tfds.read_mnist(image_size)
        elif path.is_dir():
            idx_files = from_arrays.idx_files(path)
            if idx_files:
                source = from_arrays.read_idx(path, idx_files, image_size)
            else:
                source = from_folder.read(path, image_size, memory_limit)
        elif path.suffix.lower() == ".npz" and path.is_file():
            source = from_arrays.read_npz(path, image_size)
        elif path.suffix.lower() == ".npy" and path.is_file():
            source = from_arrays.read_npy(path, image_size, memory_limit)
        elif path.exists():
            raise InputError(
                f"--data {path} is neither a folder nor a .npz or .npy file: give a folder of "
                "images or of IDX files, a .npz, a .npy, or a TFDS name"
            )
        else:
            source = from_tfds.read(name_or_path, image_size, memory_limit)
        pixel_storage.check_sides(source.store.shape)
    except pixel_storage.SideError as error:
        raise InputError(images.shown(f"--data {name_or_path}: {error}")) from error
    except PermissionError as error:
        raise InputError(
            f"--data {name_or_path}: no permission to use {error.filename}: change its rights"
        ) from error
    except InputError as error:  # names of files in it may hold anything
        raise InputError(images.shown(str(error))) from error
    return source


def located(name_or_path: str) -> Path:
    """The path that a user's words would be, there or not.

    Raises:
        InputError: if it can be none.
    """
    if not name_or_path.strip():
        raise InputError("--data is empty: give 'mnist', a TFDS name, a folder or a .npz")
    try:
        path = Path(name_or_path).expanduser()
        path.exists()
    except PermissionError:
        return path  # named with what is wrong when it is used
    except (OSError, RuntimeError) as error:  # a name that is too long, or of no user
        raise InputError(
            images.shown(f"--data {name_or_path[:80]} is no name or path ({error}): check it")
        ) from error
    return path


def load(settings: TrainingSettings, *, memory_limit: int = pixel_storage.MEMORY_LIMIT) -> Splits:
    """Training, validation and test images of `settings.data`.

    The sets are the data's own, else drawn by the seed (see `pixel_storage.Source.split`); then `limit`
    and `test_limit` apply. Says in one line where the training images are all alike.

    Args:
        settings: whose `data`, `image_size`, `limit`, `test_limit` and `seed` are used.
        memory_limit: bytes of pixels above which a folder or a TFDS set is kept on disk.

    Raises:
        InputError: if there is no such data, or it cannot be used.
        OSError: if the disk is full.
    """
    source = read(settings.data, image_size=settings.image_size, memory_limit=memory_limit)
    train, validation, test = source.split(settings.limit, settings.test_limit, settings.seed)
    if len(train) < LEAST_TRAINING or not len(validation) or not len(test):
        advice = "" if settings.limit is None else ", or raise --limit"
        raise InputError(
            f"--data {images.shown(settings.data)} gives {len(train)} training, {len(validation)} "
            f"validation and {len(test)} test images, at least {LEAST_TRAINING}, 1 and 1 are "
            f"needed: add images{advice}"
        )
    everything = ImageSet(source.store, files=source.files)
    labels = source.labels
    splits = Splits(
        train=everything.subset(train),
        validation=everything.subset(validation),
        test=everything.subset(test),
        name=source.name,
        class_names=source.class_names,
        labels=None if labels is None else Labels(labels[train], labels[validation], labels[test]),
    )
    _tell_if_alike(settings.data, splits.train)
    return splits


def _tell_if_alike(what: str, training: ImageSet) -> None:
    """Looks at some of the images, which is cheap."""
    some = training.array(np.linspace(0, len(training) - 1, min(len(training), 128), dtype=int))
    deviation = images.deviation(some)
    if deviation < _ALIKE:
        hint = " (transparent parts of images are taken as white)" if some.min() > 0.99 else ""
        images.tell(
            f"{what}: all images are alike or nearly so, they differ by {255 * deviation:.2g} of "
            f"255 grey levels from their mean{hint}: there is little to learn from them"
        )


def steps_per_epoch(image_set: ImageSet, batch_size: int) -> int:
    """Full batches in an epoch, at least one."""
    return max(1, len(image_set) // batch_size)


def training_batches(
    image_set: ImageSet,
    batch_size: int,
    *,
    seed: int,
    epoch: int | tf.Variable = 0,
    prepare: Prepare | None = None,
) -> tf.data.Dataset:
    """The full batches of one epoch, whose order follows from (seed, epoch) and nothing else.

    So a run that goes on with some epoch sees exactly the batches that it would have seen.
    What does not fill a batch is left out of that epoch.

    Args:
        image_set: to draw from.
        batch_size: images a batch; all of them where there are fewer.
        seed: 0 to 2**31 - 1.
        epoch: from 0. A variable is read anew whenever an iteration begins, so that one data set
            serves a whole training.
        prepare: (images, seed) -> element. The seed, int32 (2,), follows from (seed, epoch, step).

    Returns:
        Elements of `prepare`, else (images, images): input and target, float32 (batch, height,
        width, channels) in [0, 1].
    """
    num_steps = steps_per_epoch(image_set, batch_size)

    @tf.autograph.experimental.do_not_convert
    def batches_of_epoch(_: tf.Tensor) -> tf.data.Dataset:
        return _epoch_order(image_set, batch_size, seed, epoch)

    # Made inside a map, the order is computed when an iteration begins and not before.
    batches = tf.data.Dataset.range(1).flat_map(batches_of_epoch)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_steps))
    return _elements(batches, image_set, prepare)


def labelled_batches(
    image_set: ImageSet,
    labels: np.ndarray,
    batch_size: int,
    *,
    seed: int,
    num_steps: int,
) -> tf.data.Dataset:
    """The batches of a training that is counted in steps, each image with its label.

    The orders are those of `training_batches`, epoch after epoch from 0. A few labelled images
    make short epochs, and one pass over many of those costs no more than one over a long one.

    Args:
        image_set: to draw from.
        labels: int64 (num_images,), one an image of the set.
        batch_size: images a batch; all of them where there are fewer.
        seed: 0 to 2**31 - 1.
        num_steps: batches in all.

    Returns:
        Elements (images float32 (batch, height, width, channels) in [0, 1], labels int64 (batch,)).
    """
    epochs = -(-num_steps // steps_per_epoch(image_set, batch_size))
    with tf.init_scope(), tf.device("CPU"):
        targets = tf.constant(labels, tf.int64)

    @tf.autograph.experimental.do_not_convert
    def batches_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        return _epoch_order(image_set, batch_size, seed, epoch)

    @tf.autograph.experimental.do_not_convert
    def element(indices: tf.Tensor, _: tf.Tensor) -> Any:
        return image_set.gather(indices), tf.gather(targets, indices)

    batches = tf.data.Dataset.range(epochs).flat_map(batches_of_epoch).take(num_steps)
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_steps))
    return _mapped(batches, element)


def _epoch_order(
    image_set: ImageSet, batch_size: int, seed: int, epoch: int | tf.Variable | tf.Tensor
) -> tf.data.Dataset:
    """(positions int64 (batch,), seed int32 (2,)) of each full batch of one epoch."""
    num_images = len(image_set)
    batch_size = min(batch_size, num_images)
    num_steps = steps_per_epoch(image_set, batch_size)
    key = tf.stack([tf.constant(seed, tf.int32), tf.cast(epoch, tf.int32)])
    order = tf.random.experimental.stateless_shuffle(tf.range(num_images), seed=key)
    order = tf.cast(order[: num_steps * batch_size], tf.int64)
    seeds = tf.random.stateless_uniform(
        (num_steps, 2),
        seed=tf.random.experimental.stateless_fold_in(key, 1),  # apart from the order's
        minval=None, maxval=None, dtype=tf.int32,
    )  # fmt: skip
    return tf.data.Dataset.from_tensor_slices((tf.reshape(order, (num_steps, batch_size)), seeds))


def evaluation_batches(
    image_set: ImageSet, batch_size: int, *, seed: int = 0, prepare: Prepare | None = None
) -> tf.data.Dataset:
    """Every image once, in order; the last batch may be smaller.

    Args:
        image_set: to read.
        batch_size: images a batch.
        seed: with the number of the batch it makes the seed that `prepare` gets, so that every
            pass is prepared alike.
        prepare: as for `training_batches`.

    Returns:
        Elements as those of `training_batches`.
    """
    num_images = len(image_set)

    @tf.autograph.experimental.do_not_convert
    def batch_of(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step = tf.cast(start // batch_size, tf.int32)
        indices = tf.range(start, tf.minimum(start + batch_size, num_images))
        return indices, tf.stack([tf.constant(seed, tf.int32), step])

    batches = tf.data.Dataset.range(0, num_images, batch_size).map(batch_of)
    return _elements(batches, image_set, prepare)


def _elements(
    batches: tf.data.Dataset, image_set: ImageSet, prepare: Prepare | None
) -> tf.data.Dataset:
    """(indices, seed) -> what the model gets."""

    @tf.autograph.experimental.do_not_convert
    def element(indices: tf.Tensor, seed: tf.Tensor) -> Any:
        gathered = image_set.gather(indices)
        return (gathered, gathered) if prepare is None else prepare(gathered, seed)

    return _mapped(batches, element)


def _mapped(batches: tf.data.Dataset, element: Callable[..., Any]) -> tf.data.Dataset:
    """What `element` makes of each batch, two at a time, in order, ahead of need."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # its thread costs more than these maps do
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.map(element, **map_options(2)).prefetch(4).with_options(options)


def map_options(num_calls: int) -> dict[str, Any]:
    """Arguments of a `tf.data` map that is made several times at once, in order.

    A plain map where `loop.machine` has asked for those.
    """
    if tf.data.AUTOTUNE is None:
        return {}
    return {"num_parallel_calls": num_calls, "deterministic": True}
