"""Images from Python: arrays and sets that are given, and the splits that `load_images` reads."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from kerasunsup.data import pixel_storage
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.estimators.messages import python_words
from kerasunsup.settings import TrainingSettings

_SLACK = 1e-3  # by which resampling overshoots [0, 1]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledImages:
    """One part of a data set; estimators take it wherever they take an array of images.

    A slice, positions or a mask give a part of it, a number one image, float32 (height, width,
    channels); `numpy.asarray` gives all of them.

    Attributes:
        image_set: the images, in memory or on disk.
        labels: int64 (num_images,), classes counted from 0; None where the data has none.

    Example:
        >>> test = load_images("mnist", limit=100, test_limit=50).test
        >>> len(test[:20]), test[0].shape, np.asarray(test).shape
        (20, (28, 28, 1), (50, 28, 28, 1))
    """

    image_set: ImageSet
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.image_set)

    def __repr__(self) -> str:
        """How many of which size, not all labels."""
        labelled = "no labels" if self.labels is None else "labels"
        return f"LabelledImages({len(self)} of {_size(self.image_set.shape)}, {labelled})"

    def __getitem__(self, index: Any) -> LabelledImages | np.ndarray:
        positions = np.arange(len(self))[index]
        if positions.ndim > 1:
            raise IndexError(
                f"an index must be a number, a slice, positions or a mask, received {index!r}"
            )
        if positions.ndim == 0:
            return self.image_set.array(positions[None])[0]
        labels = None if self.labels is None else self.labels[positions]
        return LabelledImages(self.image_set.subset(positions), labels)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("these images are made when they are asked for: leave copy=False out")
        return self.images if dtype is None else self.images.astype(dtype)

    @property
    def images(self) -> np.ndarray:
        """All images as one new array, float32 (num_images, height, width, channels) in [0, 1]."""
        return self.image_set.array()

    @property
    def files(self) -> list[str] | None:
        """The relative names of the files, one an image; None where images are not files."""
        return self.image_set.files


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedImages:
    """Disjoint training, validation and test images.

    Attributes:
        train: in an order drawn by the seed.
        validation: in an order drawn by the seed.
        test: the data's own test set in its own order, else drawn by the seed.
        name: what the data is called.
        class_names: one name a class; None where there are no labels or no names.
    """

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    name: str
    class_names: tuple[str, ...] | None

    def __iter__(self) -> Iterator[LabelledImages]:
        """Training, validation and test images, in this order."""
        return iter((self.train, self.validation, self.test))


@python_words
def load_images(
    name_or_path: str | os.PathLike[str] = "mnist",
    *,
    image_size: int | None = None,
    limit: int | None = None,
    test_limit: int | None = None,
    seed: int = 0,
) -> LoadedImages:
    """The images that the commands' `--data` names, in three parts.

    Args:
        name_or_path: `mnist` (inside the package), a folder of images (flat, or one sub-folder a
            class), a `.npz` or `.npy` file, a folder of IDX files, or a TFDS name.
        image_size: resize to so many pixels a side; needed where a folder's images differ in size.
        limit: at most so many training images.
        test_limit: at most so many validation and so many test images.
        seed: what is drawn follows from it.

    Raises:
        ValueError: if there is no such data, or it cannot be used.

    Example:
        >>> splits = load_images("mnist", limit=1000, test_limit=100)
        >>> splits.train.images.shape, splits.train.labels.shape
        ((1000, 28, 28, 1), (1000,))
    """
    splits = data_splits.load(
        TrainingSettings(
            data=os.fspath(name_or_path),
            image_size=image_size,
            limit=limit,
            test_limit=test_limit,
            seed=seed,
        )
    )
    labels: Any = splits.labels
    parts = {
        part: LabelledImages(
            getattr(splits, part), None if labels is None else getattr(labels, part)
        )
        for part in ("train", "validation", "test")
    }
    return LoadedImages(**parts, name=splits.name, class_names=splits.class_names)


def as_image_set(images: Any, shape: tuple[int, int, int] | None = None) -> ImageSet:
    """What a user gave as images, checked.

    Args:
        images: (num_images, height, width) or (num_images, height, width, 1 or 3), uint8 or float
            in [0, 1]; or a `LabelledImages`.
        shape: (height, width, channels) that they must have; None takes any.

    Raises:
        InputError: if they are no such images.
    """
    if isinstance(images, LoadedImages):
        raise InputError(
            "images must be one part of what load_images returns, received all three: give .train, "
            ".validation or .test"
        )
    if isinstance(images, LabelledImages | ImageSet):
        image_set = images if isinstance(images, ImageSet) else images.image_set
    else:
        image_set = ImageSet(pixel_storage.MemoryStore(_pixels(images)))
    if not len(image_set):
        raise InputError("images must be one or more, received none: give some")
    if shape is not None and image_set.shape != shape:
        raise InputError(
            f"images must be {_size(shape)} as those that the model was fitted on, received "
            f"{_size(image_set.shape)}: resize them, or fit a model on such images"
        )
    try:
        pixel_storage.check_sides(image_set.shape)
    except pixel_storage.SideError as error:
        raise InputError(str(error).partition(": use")[0] + ": resize them") from error
    return image_set


def as_splits(images: Any, validation: Any, seed: int, *, holds_out: bool = True) -> Splits:
    """Training and validation images; a tenth is drawn for validation where none are given.

    Args:
        images: to learn from, as in `as_image_set`.
        validation: as in `as_image_set`, or None.
        seed: what is drawn follows from it.
        holds_out: whether validation images are needed.

    Raises:
        InputError: if they are no images, or fewer than ten for training.
    """
    train = held_out = as_image_set(images)
    if validation is not None:
        held_out = as_image_set(validation, train.shape)
    elif holds_out:
        number = min(pixel_storage.MOST_VALIDATION, max(1, len(train) // 10))
        order = np.random.default_rng(seed).permutation(len(train))
        train, held_out = train.subset(order[number:]), train.subset(order[:number])
    if len(train) < data_splits.LEAST_TRAINING:
        raise InputError(
            f"images must be {data_splits.LEAST_TRAINING} or more without those for validation, "
            f"received {len(train)}: give more"
        )
    return Splits(train, held_out, held_out, name="images", class_names=None, labels=None)


def as_array(name: str, values: Any) -> np.ndarray:
    """Values as one array.

    Raises:
        InputError: if NumPy makes none of them, as of images that differ in size.
    """
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name} cannot be read as one array ({reason}): give arrays of one shape, of numbers "
            "that NumPy knows"
        ) from error


def _pixels(images: Any) -> np.ndarray:
    """uint8, or float32 in [0, 1], (num_images, height, width, 1 or 3)."""
    pixels = as_array("images", images)
    if pixels.dtype.kind not in "buf":
        raise InputError(
            f"images must be of dtype uint8 or float, received {pixels.dtype}: convert them"
            + (", for instance by load_images for files" if pixels.dtype.kind in "OUS" else "")
        )
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[-1] not in (1, 3)):
        raise InputError(
            "images must be (num_images, height, width) or (num_images, height, width, 1 or 3), "
            f"received {pixels.shape}: reshape them"
        )
    if not pixels.size:
        raise InputError(f"images must be one or more, received {pixels.shape}: give some")
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.float32)
    elif pixels.dtype.kind == "u" and pixels.dtype != np.uint8:
        raise InputError(
            f"images must be of dtype uint8 or float, received {pixels.dtype}: divide them by "
            "their white and give floats in [0, 1]"
        )
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= -_SLACK and high <= 1.0 + _SLACK):  # NaN is neither
            raise InputError(
                f"images of floats must lie in [0, 1], received {low:g} to {high:g}: scale them"
            )
        pixels = np.clip(pixels.astype(np.float32, copy=False), 0.0, 1.0)
    return pixels[..., np.newaxis] if pixels.ndim == 3 else pixels


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
