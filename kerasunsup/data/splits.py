"""What `--data` names, as training, validation and test images with their labels.

The ranges, shapes and dtypes of all images are those that `data/images` states.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from kerasunsup.data import from_arrays, from_folder, from_idx, from_tfds, images, pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings

LEAST_TRAINING = 10
_ALIKE = 0.01  # root mean square deviation from the mean image; MNIST has 0.23


@dataclasses.dataclass(frozen=True)
class Labels:
    """The class of each image, from 0: int64 (num_images,) for each split."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Splits:
    """One data set in three disjoint parts; the labels are kept apart from the images.

    Attributes:
        train: in an order drawn by the seed, so that its first images already mix the classes.
        validation: in an order drawn by the seed.
        test: the data's own test set in its own order; else drawn by the seed.
        name: what the data is called in titles.
        class_names: one name a class; None where there are no labels or no names.
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
        """A hex digest of the content and order of the three splits, and of the labels."""
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
        memory_limit: bytes of pixels above which they are kept on disk; a .npz and IDX files are
            read into memory.

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
            source = from_tfds.read_mnist()
        elif path.is_dir():
            idx_files = from_idx.files_of_images(path)
            if idx_files:
                source = from_idx.read(path, idx_files)
            else:
                source = from_folder.read(path, image_size, memory_limit)
        elif path.suffix.lower() == ".npz" and path.is_file():
            source = from_arrays.read_npz(path)
        elif path.suffix.lower() == ".npy" and path.is_file():
            source = from_arrays.read_npy(path, memory_limit)
        elif path.exists():
            raise InputError(
                f"--data {path} is neither a folder nor a .npz or .npy file: give a folder of "
                "images or of IDX files, a .npz, a .npy, or a TFDS name"
            )
        else:
            source = from_tfds.read(name_or_path, image_size, memory_limit)
        # Readers resize by themselves only where their images may differ in size.
        if image_size is not None and source.store.shape[:2] != (image_size, image_size):
            resized = _resized(source.store, image_size, memory_limit)
            source = dataclasses.replace(source, store=resized)
        pixel_storage.check_sides(source.store.shape)
    except pixel_storage.SideError as error:
        raise InputError(images.shown(f"--data {name_or_path}: {error}")) from error
    except PermissionError as error:
        raise InputError(
            f"--data {name_or_path}: no permission to use {error.filename}: change its rights"
        ) from error
    except InputError as error:  # the names of files in its text may hold anything
        raise InputError(images.shown(str(error))) from error
    return source


def _resized(store: pixel_storage.Store, image_size: int, memory_limit: int) -> pixel_storage.Store:
    writer = pixel_storage.Writer(len(store), memory_limit)
    for chunk in pixel_storage.chunks(store):
        pixels = chunk if chunk.dtype == np.uint8 else images.to_uint8(chunk)
        writer.append(np.stack([images.resize(part, image_size, image_size) for part in pixels]))
    return writer.finish()


def located(name_or_path: str) -> Path:
    """The path that a user's text stands for, whether or not anything is there.

    Raises:
        InputError: if it cannot be a path.
    """
    if not name_or_path.strip():
        raise InputError("--data is empty: give 'mnist', a TFDS name, a folder or a .npz")
    try:
        path = Path(name_or_path).expanduser()
        path.exists()
    except PermissionError:
        return path  # what is wrong is told when it is used
    except (OSError, RuntimeError) as error:  # the name is too long, or `~user` names no user
        raise InputError(
            images.shown(f"--data {name_or_path[:80]} is no name or path ({error}): check it")
        ) from error
    return path


def load(settings: TrainingSettings, *, memory_limit: int = pixel_storage.MEMORY_LIMIT) -> Splits:
    """Training, validation and test images of `settings.data`.

    The sets are the data's own, else drawn by the seed (see `pixel_storage.Source.split`);
    then `limit` and `test_limit` apply. If the training images are all alike, one line says so.

    Args:
        settings: `data`, `image_size`, `limit`, `test_limit` and `seed` are used.
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
    """Tells the user if the images are nearly alike, by a look at 128 of them."""
    sample = training.array(np.linspace(0, len(training) - 1, min(len(training), 128), dtype=int))
    deviation = images.deviation(sample)
    if deviation < _ALIKE:
        hint = " (transparent parts of images are taken as white)" if sample.min() > 0.99 else ""
        images.tell(
            f"{what}: all images are alike or nearly so, they differ by {255 * deviation:.2g} of "
            f"255 grey levels from their mean{hint}: there is little to learn from them"
        )
