"""Arrays of images in files, .npz and IDX: checked before they are read, then kept in memory."""

from __future__ import annotations

import gzip
import math
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasunsup import config, images, stores

LIMIT = 4 << 30  # bytes of pixels that one file may declare


def read_npz(path: Path, image_size: int | None) -> stores.Source:
    """The arrays `images` and `labels`, or Keras's `x_train`, `y_train`, `x_test`, `y_test`.

    Args:
        path: of the .npz file.
        image_size: resize to this height and width; None keeps the file's own.

    Raises:
        config.InputError: if the file cannot be used.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                info.filename[:-4] for info in archive.infolist() if info.filename[-4:] == ".npy"
            ]
            declared = sum(info.file_size for info in archive.infolist())
            if declared > LIMIT:
                raise config.InputError(
                    f"--data {path} unpacks to {declared / 1e9:.1f} GB, at most "
                    f"{LIMIT / 1e9:.1f} are read: use fewer images, or a folder of them"
                )
            if "images" in names:
                image_keys, label_keys = ["images"], ["labels"]
            elif "x_train" in names:
                image_keys, label_keys = ["x_train"], ["y_train"]
                if "x_test" in names:
                    image_keys.append("x_test")
                    label_keys.append("y_test")
            else:
                raise config.InputError(
                    f"--data {path} holds {', '.join(names) or 'no arrays'}: it needs 'images' "
                    "(and optionally 'labels'), or 'x_train', 'y_train', 'x_test', 'y_test'"
                )
            parts = [_npz_images(archive, key, path) for key in image_keys]
            labels = [
                _npz_labels(archive, key, path) if key in names else None for key in label_keys
            ]
    # RuntimeError is zipfile's, for an encrypted file and for a compression that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise config.InputError(
            f"--data {path} is damaged or no .npz file ({error}): write it anew with numpy.savez"
        ) from error
    except OSError as error:
        raise config.InputError(f"--data {path} cannot be read: {error.strerror}") from error
    return from_arrays(str(path), path.stem, parts, labels, image_size)


def _npz_array(archive: zipfile.ZipFile, key: str, path: Path) -> np.ndarray:
    """One array, its header checked against the file before anything is allocated."""
    info = archive.getinfo(f"{key}.npy")
    with archive.open(info) as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran_order, dtype = read_header(file)
        except ValueError as error:
            raise zipfile.BadZipFile(f"{key}: {' '.join(str(error).split())[:80]}") from error
        if dtype.hasobject:
            raise config.InputError(
                f"--data {path}: {key!r} holds pickled Python objects, which are never loaded: "
                "save a plain array of uint8, or of floats in [0, 1]"
            )
        size = math.prod(shape) * dtype.itemsize
        if size > info.file_size:
            raise zipfile.BadZipFile(f"{key}: declares {size} bytes and has {info.file_size}")
        content = file.read()
    if len(content) != size:
        raise zipfile.BadZipFile(f"{key}: declares {size} bytes and has {len(content)}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")


def _npz_images(archive: zipfile.ZipFile, key: str, path: Path) -> np.ndarray:
    """Uint8 or float32 in [0, 1], (num_images, height, width, 1|3)."""
    values = _npz_array(archive, key, path)
    if values.ndim == 3:
        values = values[..., np.newaxis]
    if values.ndim != 4 or values.shape[-1] not in (1, 3) or not values.size:
        raise config.InputError(
            f"--data {path}: {key!r} has the shape {_npz_array(archive, key, path).shape}, images "
            "need (n, height, width) or (n, height, width, 1 or 3)"
        )
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f":
        raise config.InputError(
            f"--data {path}: {key!r} is of dtype {values.dtype}: images are uint8, or floats in "
            "[0, 1]"
        )
    least, most = float(values.min()), float(values.max())
    if not math.isfinite(least) or not math.isfinite(most):
        raise config.InputError(
            f"--data {path}: {key!r} holds NaN or infinite values: replace or remove those images"
        )
    if least < 0.0 or most > 1.0:
        raise config.InputError(
            f"--data {path}: {key!r} goes from {least:g} to {most:g}: floats must lie in [0, 1] "
            "(divide by 255, or save uint8)"
        )
    return values.astype(np.float32)


def _npz_labels(archive: zipfile.ZipFile, key: str, path: Path) -> np.ndarray:
    """int64 (num_images,); a column, as CIFAR's in Keras, is taken too."""
    values = _npz_array(archive, key, path)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values.size and values.min() < 0):
        raise config.InputError(
            f"--data {path}: {key!r} is {values.dtype} of shape {values.shape}: labels are "
            "integers from 0, one an image"
        )
    return values.astype(np.int64)


def from_arrays(
    place: str,
    name: str,
    parts: Sequence[np.ndarray],
    labels: Sequence[np.ndarray | None],
    image_size: int | None,
) -> stores.Source:
    """A source of the training part and, where there is one, the test part."""
    for part, part_labels in zip(parts, labels, strict=True):
        if part_labels is not None and len(part) != len(part_labels):
            raise config.InputError(
                f"--data {place}: {len(part)} images and {len(part_labels)} labels do not match: "
                "give one label an image, or none"
            )
    if len({part.shape[1:] for part in parts}) > 1 or len({part.dtype for part in parts}) > 1:
        received = " and ".join(f"{part.dtype} {part.shape}" for part in parts)
        raise config.InputError(
            f"--data {place}: training and test images differ, {received}: save both alike"
        )
    if image_size is not None and parts[0].shape[1:3] != (image_size, image_size):
        parts = [_resized_all(part, image_size) for part in parts]
    known = [part_labels for part_labels in labels if part_labels is not None]
    if known and len(known) < len(parts):
        print(
            f"kerasunsup: {place}: only one of training and test images has labels: left out",
            file=sys.stderr,
        )
    return stores.Source(
        name=name,
        store=stores.MemoryStore(parts[0] if len(parts) == 1 else np.concatenate(parts)),
        labels=np.concatenate(known) if len(known) == len(parts) else None,
        num_test=len(parts[1]) if len(parts) > 1 else 0,
    )


def _resized_all(pixels: np.ndarray, image_size: int) -> np.ndarray:
    if pixels.dtype != np.uint8:
        pixels = images.to_uint8(pixels)
    return np.stack([images.resize(picture, image_size, image_size) for picture in pixels])


_IDX_IMAGES = re.compile(r"(?P<prefix>.*)images(?:[-.]idx[34][-.]ubyte)?(?:\.gz)?")


def idx_files(folder: Path) -> dict[str, Path]:
    """The folder's IDX files of images by prefix (`train-`, `t10k-`); plain goes before packed."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _IDX_IMAGES.fullmatch(path.name)
        if match and path.is_file() and not path.name.startswith("."):
            found.setdefault(match["prefix"], path)
    return found


def read_idx(folder: Path, files: dict[str, Path], image_size: int | None) -> stores.Source:
    """IDX files as MNIST's are: training images, test images (t10k), labels of each if there.

    Args:
        folder: that holds them.
        files: what `idx_files` found there.
        image_size: resize to this height and width; None keeps the file's own.

    Raises:
        config.InputError: if the file cannot be used.
    """
    test = [prefix for prefix in files if "t10k" in prefix or "test" in prefix]
    training = [prefix for prefix in files if prefix not in test]
    if len(training) > 1 or len(test) > 1:
        raise config.InputError(
            f"--data {folder} holds {', '.join(path.name for path in files.values())}: one file "
            "of training images and one of test images (t10k-...) are read, remove the others"
        )
    prefixes = training + test
    parts = [_read_idx_file(files[prefix], (3, 4)) for prefix in prefixes]
    for prefix, part in zip(prefixes, parts, strict=True):
        if part.ndim == 4 and part.shape[-1] not in (1, 3):
            raise config.InputError(
                f"--data {files[prefix]} holds images of shape {part.shape[1:]}: they need "
                "(height, width) or (height, width, 1 or 3)"
            )
    parts = [part[..., np.newaxis] if part.ndim == 3 else part for part in parts]
    labels: list[np.ndarray | None] = []
    for prefix in prefixes:
        pattern = re.compile(re.escape(prefix) + r"labels(?:[-.]idx1[-.]ubyte)?(?:\.gz)?")
        paths = [path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)]
        labels.append(_read_idx_file(paths[0], (1,)).astype(np.int64) if paths else None)
    return from_arrays(str(folder), folder.resolve().name, parts, labels, image_size)


def _read_idx_file(path: Path, dimensions: Sequence[int]) -> np.ndarray:
    """Uint8 array of an IDX file, packed or not; never reads more than its header declares."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(4)
            if len(header) < 4 or header[:3] != b"\0\0\x08" or header[3] not in dimensions:
                raise config.InputError(
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
                raise config.InputError(
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
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise config.InputError(
            f"--data {path} is truncated or damaged ({error}): fetch or write it anew"
        ) from error
    except OSError as error:
        raise config.InputError(f"--data {path} cannot be read: {error.strerror}") from error
    return np.frombuffer(content, np.uint8).reshape(shape)
