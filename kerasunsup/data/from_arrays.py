"""Arrays of images in files, .npz, .npy and IDX: checked before they are read, never unpickled."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import math
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np

from kerasunsup.data import array_ranges, images, pixel_storage
from kerasunsup.errors import InputError

LIMIT = 4 << 30  # bytes of pixels that one file that is read whole may declare

_IMAGES = {"images", "image", "imgs", "img", "x", "data", "pixels"}
_LABELS = {"labels", "label", "y", "targets", "target"}
_KNOWN = {"images", "labels", "x_train", "y_train", "x_test", "y_test"}  # need no word


@contextlib.contextmanager
def _one_line(path: Path, advice: str) -> Iterator[None]:
    """Whatever reading a damaged file raises, and NumPy, zipfile and gzip raise nearly anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python can hardly parse
            yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"--data {path} cannot be read: {error.strerror}") from error
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"--data {path} is truncated or damaged ({text}): {advice}") from error


# ---------------------------------------------------------------------------------- .npz and .npy


@dataclasses.dataclass(frozen=True)
class _Header:
    """Of one array: what it declares, checked against the bytes that there are."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    offset: int  # of the first value

    @property
    def order(self) -> Literal["C", "F"]:
        """As NumPy has it."""
        return "F" if self.fortran_order else "C"

    @property
    def looks_like_images(self) -> bool:
        """Numbers of three or four dimensions."""
        return len(self.shape) in (3, 4) and self.dtype.kind in "buif"


def _header(file: IO[bytes], size: int) -> _Header:
    """The header of a .npy, the file being left at the first value.

    Args:
        file: at its begin.
        size: bytes of header and values.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format is not known")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran_order, dtype = read(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"it declares the shape {shape}")
    offset = file.tell()
    declared = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and declared != size - offset:
        raise ValueError(f"it declares {declared} bytes and has {size - offset}")
    return _Header(tuple(shape), dtype, bool(fortran_order), offset)


def read_npz(path: Path, image_size: int | None) -> pixel_storage.Source:
    """The images, and labels, of a .npz.

    Taken are `images` and `labels`; else those whose names say training, validation or test, as
    Keras (`x_train`) and MedMNIST (`train_images`, `train_labels`) have them; else the only array
    that can be images.

    Args:
        path: of the .npz file.
        image_size: resize to this height and width; None keeps the file's own.

    Raises:
        InputError: if the file cannot be used.
    """
    with _one_line(path, "write it anew with numpy.savez"), zipfile.ZipFile(path) as archive:
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
        image_keys, label_keys = _chosen(path, headers)

        def read(key: str) -> np.ndarray:
            return _npz_array(archive, key, headers[key], path)

        raw = {split: read(key) for split, key in image_keys.items()}
        labels = {
            split: _labels(path, label_keys[split], read(label_keys[split]))
            if split in label_keys
            else None
            for split in raw
        }
    keys = ", ".join(repr(key) for key in image_keys.values())
    form = array_ranges.form(
        path, keys, [pixel_storage.MemoryStore(values) for values in raw.values()]
    )
    notes = [form.note]
    if not _KNOWN.issuperset(image_keys.values()):
        notes.insert(0, "the images are " + " and ".join(
            f"{key!r} ({split})" if split else repr(key) for split, key in image_keys.items()
        ))  # fmt: skip
    _tell(path, notes)
    parts = {split: form.whole(values) for split, values in raw.items()}
    return from_arrays(str(path), path.stem, parts, labels, image_size)


def _chosen(path: Path, headers: Mapping[str, _Header]) -> tuple[dict[str, str], dict[str, str]]:
    """The keys of images and of labels, each by split: "" alone, else `train` and others."""
    found: dict[str, dict[str, str]] = {"images": {}, "labels": {}}
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
        other = found[role].setdefault(split, key)
        if other != key:
            raise InputError(
                f"--data {path} holds {other!r} and {key!r}, both {role}: keep one of them"
            )
    image_keys, label_keys = found["images"], found["labels"]
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
    others = [
        key
        for key, header in headers.items()
        if header.dtype.kind in "iu" and header.shape in ((number,), (number, 1))
    ]
    if not label_keys and len(others) == 1:
        label_keys = {"": others[0]}
    return {"": candidates[0]}, label_keys


def _npz_array(archive: zipfile.ZipFile, key: str, header: _Header, path: Path) -> np.ndarray:
    """One array; its header was checked before anything is allocated."""
    if header.dtype.hasobject:
        raise InputError(
            f"--data {path}: {key!r} holds pickled Python objects, which are never loaded: "
            "save a plain array of uint8, or of floats in [0, 1]"
        )
    content = archive.read(f"{key}.npy")
    values = np.frombuffer(content, header.dtype, math.prod(header.shape), header.offset)
    return values.reshape(header.shape, order=header.order)


def read_npy(path: Path, image_size: int | None, memory_limit: int) -> pixel_storage.Source:
    """The images of a .npy; one that is larger than the limit stays on disk.

    Args:
        path: of the .npy file.
        image_size: resize to this height and width; None keeps the file's own.
        memory_limit: in bytes.

    Raises:
        InputError: if the file cannot be used.
        OSError: if the disk is full.
    """
    with _one_line(path, "write it anew with numpy.save"):
        with open(path, "rb") as file:
            header = _header(file, path.stat().st_size)
        if not header.looks_like_images:
            raise InputError(
                f"--data {path} is {header.dtype} of shape {header.shape}: images are numbers of "
                "shape (n, height, width) or (n, height, width, 1 or 3)"
            )
        number = math.prod(header.shape)
        size = number * header.dtype.itemsize
        if header.fortran_order and size > LIMIT:
            raise InputError(
                f"--data {path} is in Fortran order, in which one image is all over the file: save "
                "numpy.ascontiguousarray of it"
            )
        if header.fortran_order or size <= memory_limit:
            values = np.fromfile(path, header.dtype, number, offset=header.offset)
            values = values.reshape(header.shape, order=header.order)
            form = array_ranges.form(path, "it", [pixel_storage.MemoryStore(values)])
            store: pixel_storage.Store = pixel_storage.MemoryStore(form.whole(values))
        else:
            raw = pixel_storage.FileStore(
                path, header.shape[0], header.shape[1:], header.dtype, header.offset
            )
            form = array_ranges.form(path, "it", [raw])
            store = raw.converted(form.convert)
    _tell(path, [form.note])
    if image_size is not None and store.shape[:2] != (image_size, image_size):
        writer = pixel_storage.Writer(len(store), memory_limit)
        for start in range(0, len(store), array_ranges.CHUNK):
            pixels = store.read(np.arange(start, min(start + array_ranges.CHUNK, len(store))))
            writer.append(_resized_all(pixels, image_size))
        store = writer.finish()
    return pixel_storage.Source(name=images.shown(path.stem), store=store)


def _labels(path: Path, key: str, values: np.ndarray) -> np.ndarray | None:
    """int64 (num_images,); a column is taken too. None where an image has several labels."""
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
    said = "; ".join(filter(None, notes))
    if said:
        images.tell(f"{path}: {said}")


def from_arrays(
    place: str,
    name: str,
    parts: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray | None],
    image_size: int | None,
) -> pixel_storage.Source:
    """A source of images and labels by split.

    Args:
        place: where they come from, for complaints.
        name: of the source.
        parts: `train`, then `validation` and `test` where there are such; or one of any name.
        labels: of each part.
        image_size: resize to this height and width; None keeps the images' own.

    Raises:
        InputError: if they do not fit together.
    """
    for split, part in parts.items():
        known = labels[split]
        if known is not None and len(part) != len(known):
            raise InputError(
                f"--data {place}: {len(part)} images and {len(known)} labels do not match: give "
                "one label an image, or none"
            )
    arrays = list(parts.values())
    if len({part.shape[1:] for part in arrays}) > 1:
        received = " and ".join(str(part.shape) for part in arrays)
        raise InputError(
            f"--data {place}: training and test images differ, {received}: save both alike"
        )
    if image_size is not None and arrays[0].shape[1:3] != (image_size, image_size):
        arrays = [_resized_all(part, image_size) for part in arrays]
    given = [known for split in parts if (known := labels[split]) is not None]
    if given and len(given) < len(parts):
        images.tell(f"{place}: only some of its images have labels: left out")
    return pixel_storage.Source(
        name=images.shown(name),
        store=pixel_storage.MemoryStore(arrays[0] if len(arrays) == 1 else np.concatenate(arrays)),
        labels=np.concatenate(given) if len(given) == len(parts) else None,
        num_test=len(parts.get("test", ())),
        num_validation=len(parts.get("validation", ())),
    )


def _resized_all(pixels: np.ndarray, image_size: int) -> np.ndarray:
    if pixels.dtype != np.uint8:
        pixels = images.to_uint8(pixels)
    return np.stack([images.resize(picture, image_size, image_size) for picture in pixels])


# ------------------------------------------------------------------------------------- IDX files

_IDX_IMAGES = re.compile(r"(?P<prefix>.*)images(?:[-.]idx[34][-.]ubyte)?(?:\.gz)?")


def idx_files(folder: Path) -> dict[str, Path]:
    """The folder's IDX files of images by prefix (`train-`, `t10k-`); plain goes before packed."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _IDX_IMAGES.fullmatch(path.name)
        if match and path.is_file() and not path.name.startswith("."):
            found.setdefault(match["prefix"], path)
    return found


def read_idx(folder: Path, files: dict[str, Path], image_size: int | None) -> pixel_storage.Source:
    """IDX files as MNIST's are: training images, test images (t10k), labels of each if there.

    Args:
        folder: that holds them.
        files: what `idx_files` found there.
        image_size: resize to this height and width; None keeps the file's own.

    Raises:
        InputError: if the file cannot be used.
    """
    test = [prefix for prefix in files if "t10k" in prefix or "test" in prefix]
    training = [prefix for prefix in files if prefix not in test]
    if len(training) > 1 or len(test) > 1:
        raise InputError(
            f"--data {folder} holds {', '.join(path.name for path in files.values())}: one file "
            "of training images and one of test images (t10k-...) are read, remove the others"
        )
    parts: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray | None] = {}
    for prefix in training + test:
        part = _read_idx_file(files[prefix], (3, 4))
        if part.ndim == 4 and part.shape[-1] not in (1, 3):
            raise InputError(
                f"--data {files[prefix]} holds images of shape {part.shape[1:]}: they need "
                "(height, width) or (height, width, 1 or 3)"
            )
        split = "test" if training and prefix in test else "train"
        parts[split] = part[..., np.newaxis] if part.ndim == 3 else part
        pattern = re.compile(re.escape(prefix) + r"labels(?:[-.]idx1[-.]ubyte)?(?:\.gz)?")
        paths = [path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)]
        labels[split] = _read_idx_file(paths[0], (1,)).astype(np.int64) if paths else None
    return from_arrays(str(folder), folder.resolve().name, parts, labels, image_size)


def _read_idx_file(path: Path, dimensions: Sequence[int]) -> np.ndarray:
    """Uint8 array of an IDX file, packed or not; never reads more than its header declares."""
    with (
        _one_line(path, "fetch or write it anew"),
        gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file,
    ):
        header = file.read(4)
        if len(header) < 4 or header[:3] != b"\0\0\x08" or header[3] not in dimensions:
            raise InputError(
                f"--data {path} does not begin as an IDX file of unsigned bytes with "
                f"{' or '.join(map(str, dimensions))} dimensions does (received "
                f"{header.hex() or 'nothing'}): it is damaged or no IDX file"
            )
        sizes = file.read(4 * header[3])
        if len(sizes) < 4 * header[3]:
            raise EOFError("the header is cut off")
        shape = struct.unpack(f">{header[3]}I", sizes)
        size = math.prod(shape)
        if not 0 < size <= LIMIT:
            raise InputError(
                f"--data {path} declares {shape[0]} items of shape {shape[1:]}: at most "
                f"{LIMIT / 1e9:.1f} GB, and at least one item, are read"
            )
        content = bytearray()
        while len(content) < size:
            block = file.read(min(1 << 20, size - len(content)))
            if not block:
                raise EOFError(f"it declares {size} bytes and has {len(content)}")
            content += block
        if file.read(1):
            raise EOFError(f"it declares {size} bytes and has more")
    return np.frombuffer(content, np.uint8).reshape(shape)
