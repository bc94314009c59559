"""Data sets by TFDS name, and the packaged MNIST; the only module that knows TFDS."""

from __future__ import annotations

import contextlib
import difflib
import errno
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup import tensorflow_startup
from kerasunsup.data import images, pixel_storage
from kerasunsup.errors import InputError

PACKAGED = Path(__file__).parent.parent / "mnist_data"


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keeps the libraries' notes off the terminal; errors and progress bars stay.

    Absl sets the root logger up where it has no handler, and a program's own `basicConfig` would
    do nothing afterwards: meanwhile it has one.
    """
    levels = {name: logging.getLogger(name).level for name in ("absl", "urllib3")}
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger().removeHandler(handler)


@_quiet_libraries()
def read_mnist() -> pixel_storage.Source:
    """The packaged MNIST; it needs no network and prints nothing.

    Raises:
        InputError: if the packaged files are missing or damaged.
    """
    tensorflow_startup.import_tensorflow()
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(PACKAGED / "mnist" / "3.0.1"))
        parts, labels = zip(
            *(_read_packaged_split(builder, split) for split in ("train", "test")), strict=True
        )
    except (OSError, tf.errors.OpError, tfds.core.DatasetNotFoundError) as error:
        raise InputError(
            f"the packaged MNIST in {PACKAGED} is missing or damaged "
            f"({_first_line(error)}): install kerasunsup anew"
        ) from error
    return pixel_storage.Source(
        name="mnist",
        store=pixel_storage.MemoryStore(np.concatenate(parts)),
        labels=np.concatenate(labels),
        class_names=tuple(builder.info.features["label"].names),
        num_test=len(parts[1]),
    )


def _read_packaged_split(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The pixels and labels of a split of PNGs, read a thousand at a time for speed."""
    import tensorflow as tf

    shape = builder.info.features["image"].shape
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def decode(records: Any) -> tuple[Any, Any]:
        batch = tf.io.parse_example(records, features)
        pixels = tf.map_fn(
            lambda png: tf.io.decode_png(png, channels=shape[-1]),
            batch["image"],
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return pixels, batch["label"]

    files = [str(path) for path in builder.info.splits[split].filepaths]
    batches = tf.data.TFRecordDataset(files).batch(1000).map(decode, num_parallel_calls=2)
    pixels, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


@_quiet_libraries()
def read(name: str, image_size: int | None, memory_limit: int) -> pixel_storage.Source:
    """A data set of TFDS, downloaded where it is not there yet.

    Its split `test` is the test set; without one, `validation` takes its place.

    Args:
        name: as TFDS spells it; `/config` and `:version` may follow.
        image_size: resize to this height and width; None keeps the images' own.
        memory_limit: bytes of pixels above which they are kept on disk.

    Raises:
        InputError: if there is no such name, no network, or no image in it.
        pixel_storage.SideError: if the images are too small or too large.
        OSError: if the disk is full.
    """
    tensorflow_startup.import_tensorflow()
    import tensorflow_datasets as tfds

    builder = _prepared_builder(name)
    features = builder.info.features
    if "image" not in features or not isinstance(features["image"], tfds.features.Image):
        raise InputError(
            f"--data {name} has no feature 'image' (it has {', '.join(features.keys())}): choose "
            "a data set of images"
        )
    splits = [split for split in ("train", "test", "validation") if split in builder.info.splits]
    splits = splits[:2] if "train" in splits else list(builder.info.splits)[:1]
    counts = [builder.info.splits[split].num_examples for split in splits]
    has_labels = "label" in features and isinstance(features["label"], tfds.features.ClassLabel)
    writer = pixel_storage.Writer(sum(counts), memory_limit)
    labels: list[int] = []
    read_config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    decoded_features = {"image": True, **({"label": True} if has_labels else {})}
    for split in splits:
        # Masks, bounding boxes and the like are not decoded.
        examples = builder.as_dataset(
            split=split,
            read_config=read_config,
            decoders=tfds.decode.PartialDecoding(decoded_features),
        )
        for example in tfds.as_numpy(examples):
            writer.append(_tfds_pixels(name, example["image"], image_size, writer)[np.newaxis])
            labels.append(int(example.get("label", -1)))
    classes = features["label"].names if has_labels else ()
    is_labelled = has_labels and min(labels) >= 0  # some test sets hold -1: kept secret
    return pixel_storage.Source(
        name=name,
        store=writer.finish(),
        labels=np.array(labels, np.int64) if is_labelled else None,
        class_names=tuple(classes) if is_labelled else None,
        num_test=counts[1] if len(counts) > 1 else 0,
    )


def _tfds_pixels(
    name: str, pixels: np.ndarray, image_size: int | None, writer: pixel_storage.Writer
) -> np.ndarray:
    """One example as uint8 (height, width, 1|3), of the size of the examples before it."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3, 4):
        raise InputError(
            f"--data {name}: its images are {pixels.dtype} {pixels.shape}, uint8 with 1, 3 or 4 "
            "channels can be used: choose another data set"
        )
    if pixels.shape[-1] == 4:
        pixels = images.with_channels(pixels, 3)
    if image_size is not None:
        return images.resize(pixels, image_size, image_size)
    if writer.shape is not None and writer.shape[:2] != pixels.shape[:2]:
        raise InputError(
            f"--data {name}: its images differ in size, {writer.shape[0]} x {writer.shape[1]} and "
            f"{pixels.shape[0]} x {pixels.shape[1]}: use --image-size N to resize all"
        )
    return pixels


_FULL_OR_FORBIDDEN = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def _prepared_builder(name: str) -> Any:
    """TFDS's builder with its files on disk; TFDS shows its own progress while it downloads."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    tfds_names = tfds.list_builders(with_community_datasets=False)
    base = re.split(r"[/:]", name)[0]
    if base not in tfds_names:
        close = difflib.get_close_matches(base.lower(), tfds_names, n=3, cutoff=0.5)
        advice = f"the closest TFDS names are {', '.join(close)}" if close else "check the name"
        raise InputError(
            f"--data {name}: there is no such file or folder and no such TFDS name: {advice}"
        )
    try:
        builder = tfds.builder(name)
    except Exception as error:  # each data set's module raises its own
        raise InputError(
            f"--data {name}: TFDS cannot use this name ({_first_line(error)}): check what follows "
            f"{base!r}"
        ) from error
    downloader.MAX_RETRIES = 3  # its own ten wait for minutes where there is no network
    try:
        builder.download_and_prepare()
    except Exception as error:  # requests, urllib3, TFDS and the data sets each raise their own
        if isinstance(error, OSError) and error.errno in _FULL_OR_FORBIDDEN:
            raise
        raise InputError(
            f"--data {name} could not be downloaded ({_first_line(error)}): check the network, or "
            "give 'mnist', a folder of images or a .npz file"
        ) from error
    return builder


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
