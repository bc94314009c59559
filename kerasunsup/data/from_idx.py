"""IDX files, in which MNIST and its relatives are published; checked before they are read."""

from __future__ import annotations

import gzip
import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasunsup.data import from_arrays, pixel_storage
from kerasunsup.errors import InputError

_IDX_IMAGES = re.compile(r"(?P<prefix>.*)images(?:[-.]idx[34][-.]ubyte)?(?:\.gz)?")


def files_of_images(folder: Path) -> dict[str, Path]:
    """Prefix (`train-`, `t10k-`) -> IDX file of images; a plain file goes before a packed one."""
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _IDX_IMAGES.fullmatch(path.name)
        if match and path.is_file() and not path.name.startswith("."):
            paths.setdefault(match["prefix"], path)
    return paths


def read(folder: Path, files: dict[str, Path]) -> pixel_storage.Source:
    """The images, and labels, of IDX files as MNIST has them: training files and t10k files.

    Args:
        folder: the folder that holds the files.
        files: what `files_of_images` returned for it.

    Raises:
        InputError: if a file cannot be used.
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
        part = _read_file(files[prefix], (3, 4))
        if part.ndim == 4 and part.shape[-1] not in (1, 3):
            raise InputError(
                f"--data {files[prefix]} holds images of shape {part.shape[1:]}: they need "
                "(height, width) or (height, width, 1 or 3)"
            )
        split = "test" if training and prefix in test else "train"
        parts[split] = part[..., np.newaxis] if part.ndim == 3 else part
        pattern = re.compile(re.escape(prefix) + r"labels(?:[-.]idx1[-.]ubyte)?(?:\.gz)?")
        paths = [path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)]
        labels[split] = _read_file(paths[0], (1,)).astype(np.int64) if paths else None
    return from_arrays.source_of(str(folder), folder.resolve().name, parts, labels)


def _read_file(path: Path, dimensions: Sequence[int]) -> np.ndarray:
    """The uint8 array of an IDX file, packed or not; reads no more than its header declares."""
    with (
        from_arrays.refusing_damage(path, "fetch or write it anew"),
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
        if not 0 < size <= from_arrays.LIMIT:
            raise InputError(
                f"--data {path} declares {shape[0]} items of shape {shape[1:]}: at most "
                f"{from_arrays.LIMIT / 1e9:.1f} GB, and at least one item, are read"
            )
        content = file.read(size)
        if len(content) < size:
            raise EOFError(f"it declares {size} bytes and has {len(content)}")
        if file.read(1):
            raise EOFError(f"it declares {size} bytes and has more")
    return np.frombuffer(content, np.uint8).reshape(shape)
