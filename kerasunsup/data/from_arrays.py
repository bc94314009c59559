"""Arrays of images in .npz and .npy files: checked before they are read, never unpickled."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Literal

import numpy as np

from kerasunsup.data import array_ranges, images, pixel_storage
from kerasunsup.errors import InputError

LIMIT = 4 << 30  # bytes; a file that is read whole may declare no more

_IMAGES = {"images", "image", "imgs", "img", "x", "data", "pixels"}
_LABELS = {"labels", "label", "y", "targets", "target"}
_USUAL = {"images", "labels", "x_train", "y_train", "x_test", "y_test"}  # taken without a word


@contextlib.contextmanager
def refusing_damage(path: Path, advice: str) -> Iterator[None]:
    """Turns whatever reading a damaged file raises into an `InputError`.

    NumPy, zipfile and gzip raise nearly anything.

    Args:
        path: the file.
        advice: what the user can do.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python can hardly parse
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"--data {path} cannot be read: {error.strerror}") from error
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"--data {path} is truncated or damaged ({text}): {advice}") from error


@dataclasses.dataclass(frozen=True)
class _Header:
    """What one array declares about itself, checked against the bytes that there are."""

    shape: tuple[int, ...]
    dtype: np.dtype
    order: Literal["C", "F"]
    offset: int  # bytes before the first value

    @property
    def looks_like_images(self) -> bool:
        """Whether it declares numbers of three or four dimensions."""
        return len(self.shape) in (3, 4) and self.dtype.kind in "buif"


def _header(file: IO[bytes], size: int) -> _Header:
    """Reads the header of a .npy whose header and values take `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format is not known")
    is_first = version == (1, 0)
    npy = np.lib.format
    shape, is_fortran, dtype = (
        npy.read_array_header_1_0(file) if is_first else npy.read_array_header_2_0(file)
    )
    if min(shape, default=0) < 0:
        raise ValueError(f"it declares the shape {shape}")
    offset = file.tell()
    declared = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and declared != size - offset:
        raise ValueError(f"it declares {declared} bytes and has {size - offset}")
    return _Header(tuple(shape), dtype, "F" if is_fortran else "C", offset)


def read_npz(path: Path) -> pixel_storage.Source:
    """The images, and labels, of a .npz.

    The arrays `images` and `labels` are taken; else those whose names say training, validation or
    test, as in Keras (`x_train`) and MedMNIST (`train_images`, `train_labels`); else the only array
    that can be images.

    Raises:
        InputError: if the file cannot be used.
    """
    with refusing_damage(path, "write it anew with numpy.savez"), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename[-4:] == ".npy"]
        declared = sum(info.file_size for info in members)
        if declared > LIMIT:
            raise InputError(
                f"--data {path} unpacks to {declared / 1e9:.1f} GB, at most "
                f"{LIMIT / 1e9:.1f} are read: use fewer images, a .npy, or a folder of them"
            )
        headers = {}
        for info in members:
            with archive.open(info) as file:
                headers[info.filename[:-4]] = _header(file, info.file_size)
        image_keys, label_keys = _keys_by_split(path, headers)
        arrays = {
            key: _npz_array(archive, key, headers[key], path)
            for key in [*image_keys.values(), *(label_keys.get(split) for split in image_keys)]
            if key is not None
        }
    raw = {split: arrays[key] for split, key in image_keys.items()}
    labels = {
        split: _labels(path, key, arrays[key]) if (key := label_keys.get(split)) else None
        for split in raw
    }
    keys = ", ".join(repr(key) for key in image_keys.values())
    form = array_ranges.form(
        path, keys, [pixel_storage.MemoryStore(values) for values in raw.values()]
    )
    notes = [form.note]
    if not _USUAL.issuperset(image_keys.values()):
        notes.insert(0, "the images are " + " and ".join(
            f"{key!r} ({split})" if split else repr(key) for split, key in image_keys.items()
        ))  # fmt: skip
    _tell(path, notes)
    parts = {split: form.whole(values) for split, values in raw.items()}
    return source_of(str(path), path.stem, parts, labels)


def _keys_by_split(
    path: Path, headers: Mapping[str, _Header]
) -> tuple[dict[str, str], dict[str, str]]:
    """The keys of images and of labels by split: "" where it is the only one, else `train` etc."""
    keys: dict[str, dict[str, str]] = {"images": {}, "labels": {}}
    for key, header in headers.items():
        words = set(re.split(r"[^a-z]+", key.lower())) - {""}
        splits = {pixel_storage.SPLITS[word] for word in words if word in pixel_storage.SPLITS}
        rest = words - set(pixel_storage.SPLITS)
        if len(splits) > 1 or len(rest) > 1:
            continue
        split = next(iter(splits), "")
        if rest & _IMAGES or (split and not rest and header.looks_like_images):
            role = "images"
        elif rest & _LABELS:
            role = "labels"
        else:
            continue
        other = keys[role].setdefault(split, key)
        if other != key:
            raise InputError(
                f"--data {path} holds {other!r} and {key!r}, both {role}: keep one of them"
            )
    image_keys, label_keys = keys["images"], keys["labels"]
    if "" in image_keys:
        return {"": image_keys[""]}, label_keys
    if "train" in image_keys:
        order = [split for split in ("train", "validation", "test") if split in image_keys]
        return {split: image_keys[split] for split in order}, label_keys
    candidates = [key for key, header in headers.items() if header.looks_like_images]
    if len(candidates) != 1 or image_keys:
        raise InputError(
            f"--data {path} holds {', '.join(headers) or 'no arrays'}: it needs 'images' "
            "(and optionally 'labels'), or 'x_train', 'y_train', 'x_test', 'y_test', or "
            "'train_images' and the like, or one array of images"
        )
    number = headers[candidates[0]].shape[0]
    label_candidates = [
        key
        for key, header in headers.items()
        if header.dtype.kind in "iu" and header.shape in ((number,), (number, 1))
    ]
    if not label_keys and len(label_candidates) == 1:
        label_keys = {"": label_candidates[0]}
    return {"": candidates[0]}, label_keys


def _npz_array(archive: zipfile.ZipFile, key: str, header: _Header, path: Path) -> np.ndarray:
    """One array of a .npz; its header was checked before anything is allocated."""
    if header.dtype.hasobject:
        raise InputError(
            f"--data {path}: {key!r} holds pickled Python objects, which are never loaded: "
            "save a plain array of uint8, or of floats in [0, 1]"
        )
    content = archive.read(f"{key}.npy")
    values = np.frombuffer(content, header.dtype, math.prod(header.shape), header.offset)
    return values.reshape(header.shape, order=header.order)


def read_npy(path: Path, memory_limit: int) -> pixel_storage.Source:
    """The images of a .npy; one that is larger than the limit stays on disk.

    Args:
        path: the .npy file.
        memory_limit: bytes of values above which they stay on disk.

    Raises:
        InputError: if the file cannot be used.
    """
    with refusing_damage(path, "write it anew with numpy.save"):
        with open(path, "rb") as file:
            header = _header(file, path.stat().st_size)
        if not header.looks_like_images:
            raise InputError(
                f"--data {path} is {header.dtype} of shape {header.shape}: images are numbers of "
                "shape (n, height, width) or (n, height, width, 1 or 3)"
            )
        number = math.prod(header.shape)
        size = number * header.dtype.itemsize
        if header.order == "F" and size > LIMIT:
            raise InputError(
                f"--data {path} is in Fortran order, in which one image is all over the file: save "
                "numpy.ascontiguousarray of it"
            )
        if header.order == "F" or size <= memory_limit:
            values = np.fromfile(path, header.dtype, number, offset=header.offset)
            values = values.reshape(header.shape, order=header.order)
            form = array_ranges.form(path, "it", [pixel_storage.MemoryStore(values)])
            store: pixel_storage.Store = pixel_storage.MemoryStore(form.whole(values))
        else:
            in_file = header.shape[0], header.shape[1:], header.dtype, header.offset
            raw = pixel_storage.FileStore(os.open(path, os.O_RDONLY), *in_file)
            form = array_ranges.form(path, "it", [raw])
            store = pixel_storage.FileStore(os.open(path, os.O_RDONLY), *in_file, form.convert)
    _tell(path, [form.note])
    return pixel_storage.Source(name=images.shown(path.stem), store=store)


def _labels(path: Path, key: str, values: np.ndarray) -> np.ndarray | None:
    """Labels as int64 (num_images,), also from one column; None where an image has several."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.shape[1] > 1:
        _tell(path, [f"{key!r} has {values.shape[1]} columns, classes are left out"])
        return None
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values.size and values.min() < 0):
        raise InputError(
            f"--data {path}: {key!r} is {values.dtype} of shape {values.shape}: labels are "
            "integers from 0, one an image"
        )
    return values.astype(np.int64)


def _tell(path: Path, notes: Iterable[str]) -> None:
    text = "; ".join(filter(None, notes))
    if text:
        images.tell(f"{path}: {text}")


def source_of(
    place: str,
    name: str,
    parts: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray | None],
) -> pixel_storage.Source:
    """A source made of arrays of images and labels.

    Args:
        place: where the arrays come from, for complaints.
        name: what the source is called.
        parts: split -> images, uint8, or float32 in [0, 1]: `train`, then `validation` and `test`
            where there are such; or one part of any name.
        labels: split -> labels, or None.

    Raises:
        InputError: if they do not fit together.
    """
    for split, part in parts.items():
        values = labels[split]
        if values is not None and len(part) != len(values):
            raise InputError(
                f"--data {place}: {len(part)} images and {len(values)} labels do not match: give "
                "one label an image, or none"
            )
    arrays = list(parts.values())
    if len({part.shape[1:] for part in arrays}) > 1:
        received = " and ".join(str(part.shape) for part in arrays)
        raise InputError(
            f"--data {place}: training and test images differ, {received}: save both in one shape"
        )
    all_labels = [values for split in parts if (values := labels[split]) is not None]
    if all_labels and len(all_labels) < len(parts):
        images.tell(f"{place}: labels are left out, as only some of the images have them")
    return pixel_storage.Source(
        name=images.shown(name),
        store=pixel_storage.MemoryStore(arrays[0] if len(arrays) == 1 else np.concatenate(arrays)),
        labels=np.concatenate(all_labels) if len(all_labels) == len(parts) else None,
        num_test=len(parts.get("test", ())),
        num_validation=len(parts.get("validation", ())),
    )
