"""Vectors of images that a user brings in a file, in the place of a model's codes.

The file is a `.npz` (as `encode` writes it, or with one array of vectors), a `.npy` of vectors, or
Parquet with a column of lists. It may say which image each vector belongs to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.apply import codes_from_parquet, image_stream
from kerasunsup.apply.encoded_images import EncodedImages, Look, largest_too_far
from kerasunsup.apply.settings import CODE_FILES, ApplySettings, is_file_of_codes
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.settings import flag, path_of

logger = logging.getLogger(__name__)

_CODES = ("codes", "vector", "embedding", "vectors", "embeddings")
_FILES = ("files", "file")
_SIDE = 64  # pixels of a picture on a contact sheet


@dataclasses.dataclass(frozen=True)
class Vectors:
    """What a file holds.

    Attributes:
        codes: float32 (num_images, dim), finite.
        files: the names of the images, all different; None where the file does not say.
        fingerprint: hex digest of the file.
    """

    codes: np.ndarray
    files: list[str] | None
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class GivenCodes:
    """Vectors, and the images that they belong to.

    Attributes:
        codes: float32 (num_images, dim).
        stream: the images; where none are given, names alone, and nothing can be read.
        positions: int64 (num_images,), where each vector's image stands in the stream.
        has_pictures: whether the stream's images can be read.
        fingerprint: hex digest of the file.
    """

    codes: np.ndarray
    stream: image_stream.Stream
    positions: np.ndarray
    has_pictures: bool
    fingerprint: str

    def encoded(self, look: Look | None = None) -> EncodedImages:
        """The images as if a model had encoded them.

        Args:
            look: what is kept of each picture, which is read for it; an image that cannot be read
                is left out then.
        """
        rows, looks, unreadable = list(range(len(self.codes))), [], []
        if look is not None:
            rows = []
            for row, picture in enumerate(self.stream.read(self.positions.tolist())):
                if isinstance(picture, str):
                    unreadable.append((self.stream.names[self.positions[row]], picture))
                else:
                    rows.append(row)
                    looks.append(look(picture))
        codes, positions = self.codes[rows], self.positions[rows]
        nothing = np.zeros(codes.shape[1])
        return EncodedImages(
            names=[self.stream.names[position] for position in positions],
            positions=positions,
            codes=codes,
            errors=np.empty(0, np.float32),
            lowest=codes.min(axis=0) if len(codes) else nothing,
            highest=codes.max(axis=0) if len(codes) else nothing,
            looks=np.stack(looks) if looks else np.empty((0, 0), np.uint8),
            unreadable=unreadable,
            rounding=0.0,
        )


@dataclasses.dataclass(frozen=True)
class Taken:
    """All vectors of a command.

    Attributes:
        images: the vectors of `--codes`.
        query: those of `--query`; None without it.
        reference: those of `--reference`; None without it.
    """

    images: GivenCodes
    query: GivenCodes | None
    reference: GivenCodes | None

    @property
    def made_by(self) -> dict[str, str]:
        """The fingerprint of each file."""
        names = {"codes": self.images, "query": self.query, "reference": self.reference}
        return {
            f"file of --{name}": vectors.fingerprint
            for name, vectors in names.items()
            if vectors is not None
        }


def taken(settings: ApplySettings, stream: image_stream.Stream) -> Taken | None:
    """The vectors of `--codes FILE`; None without them.

    Args:
        settings: of the command line.
        stream: the images that the vectors belong to; empty where none are given.

    Raises:
        InputError: if the files cannot be used.
    """
    if settings.codes is None or not is_file_of_codes(settings.codes):
        return None
    if settings.student:
        raise InputError("--student teaches from images and codes of a MODEL: leave it out")
    for name in ("limit", "part"):
        if getattr(settings, name) != getattr(ApplySettings, name):
            raise InputError(
                f"{flag(name)} {getattr(settings, name)} takes some of IMAGES, and --codes FILE "
                f"names its own: leave {flag(name)} out, or save fewer vectors"
            )
    path = path_of("--codes", settings.codes, is_written=False)
    images_of = stream if len(stream) else None
    given = of_images(read(path), images_of, f"--codes {images.shown(settings.codes)}")
    query, reference = settings.query, settings.reference
    return Taken(
        given,
        None if query is None else of_query(given, query),
        None if reference is None else of_reference(given, reference),
    )


def of_images(vectors: Vectors, stream: image_stream.Stream | None, called: str) -> GivenCodes:
    """Vectors with the images that they belong to.

    Args:
        vectors: from `read`.
        stream: the images; None where none are given.
        called: the file, for messages.

    Raises:
        InputError: if a vector has no image, or vectors without names are more or fewer than the
            images.
    """
    number = len(vectors.codes)
    if stream is None:
        names = vectors.files or [str(row) for row in range(number)]
        stream = dataclasses.replace(image_stream.EMPTY, what=called, names=names)
        return GivenCodes(vectors.codes, stream, np.arange(number), False, vectors.fingerprint)
    if vectors.files is None:
        if number != len(stream):
            raise InputError(
                f"{called} holds {number:,} vectors without names and {stream.what} "
                f"{len(stream):,} images: give one a vector, or name the files"
            )
        return GivenCodes(vectors.codes, stream, np.arange(number), True, vectors.fingerprint)
    # Parquet holds UTF-8 only: `browse` writes other names there as they are shown.
    at = {images.shown(name): position for position, name in enumerate(stream.names)}
    at |= {name: position for position, name in enumerate(stream.names)}
    positions = []
    for name in vectors.files:
        known = [at[short] for short in _without(name, stream.what) if short in at]
        if not known:
            raise InputError(
                f"{called} has a vector of {images.shown(name)}, which is not in {stream.what}: "
                "give the folder that its names start from"
            )
        positions.append(known[0])
    if len(set(positions)) < number:
        raise InputError(f"{called} names an image of {stream.what} twice: give one vector each")
    if number < len(stream):
        logger.info(f"{len(stream) - number:,} images of {stream.what} have no vector: left out")
    order = np.argsort(positions, kind="stable")  # of the images, as where a model encodes them
    return GivenCodes(
        vectors.codes[order], stream, np.array(positions)[order], True, vectors.fingerprint
    )


def _without(name: str, folder: str) -> list[str]:
    """A name as it is, and as it is in the folder, by whichever path it leads there."""
    path = os.path.normpath(name)
    starts = (os.path.join(os.path.normpath(to), "") for to in (folder, os.path.abspath(folder)))
    return [name, path, *(path[len(start) :] for start in starts if path.startswith(start))]


def of_query(given: GivenCodes, text: str) -> GivenCodes:
    """The vectors of a query: those of another file, or the one of an image that has a vector.

    Raises:
        InputError: if there is none, or its size differs.
    """
    if is_file_of_codes(text) and Path(text).suffix.lower() in CODE_FILES:
        return _like(given, text, "--query")
    what = given.stream.what
    names = {given.stream.names[position]: row for row, position in enumerate(given.positions)}
    row = next((names[name] for name in _without(text, what) if name in names), None)
    if row is None:
        raise InputError(
            f"--query {images.shown(text)} is no image that has a vector in {what}: give such a "
            "name, or a file of vectors"
        )
    return dataclasses.replace(
        given, codes=given.codes[[row]], positions=given.positions[[row]],
        fingerprint=f"{given.fingerprint} {row}",
    )  # fmt: skip


def of_reference(given: GivenCodes, text: str) -> GivenCodes:
    """The vectors of clean images, in a file of their own.

    Raises:
        InputError: if it is no such file, or their size differs.
    """
    if not is_file_of_codes(text):
        raise InputError(
            f"--reference {images.shown(text)} must be a file of vectors too, as --codes is "
            f"({', '.join(CODE_FILES)})"
        )
    return _like(given, text, "--reference")


def _like(given: GivenCodes, text: str, flag: str) -> GivenCodes:
    path = Path(os.path.expanduser(text))
    found = of_images(read(path, flag), None, f"{flag} {images.shown(text)}")
    if found.codes.shape[1] != given.codes.shape[1]:
        raise InputError(
            f"{flag} {images.shown(text)} holds vectors of {found.codes.shape[1]} numbers, --codes "
            f"of {given.codes.shape[1]}: give vectors of one model"
        )
    return found


def read(path: Path, flag: str = "--codes") -> Vectors:
    """The vectors in a file.

    Args:
        path: ends in .npz, .npy or .parquet.
        flag: that named the file, for messages.

    Raises:
        InputError: if they cannot be read, are no table of finite numbers, or names repeat.
    """
    called = f"{flag} {images.shown(str(path))}"
    if not path.is_file():
        raise InputError(f"{called} is not there: give a file that ends in {', '.join(CODE_FILES)}")
    suffix = path.suffix.lower()
    if suffix not in CODE_FILES:
        raise InputError(f"{called} must be a file that ends in {', '.join(CODE_FILES)}")
    try:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()[:16]
        values, files = (
            codes_from_parquet.read(path, called, _CODES)
            if suffix == ".parquet"
            else _from_numpy(path)
        )
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, NumPy and Arrow each raise their own
        if isinstance(error, OSError) and error.errno:  # Arrow raises it for damaged files too
            raise
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise InputError(
                f"{called} holds Python objects: save numbers and names of a fixed type (in NumPy "
                "by .astype(np.float32) and .astype(str))"
            ) from error
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{called} cannot be read ({type(error).__name__}: {reason})") from error
    return Vectors(_checked(values, called), _checked_files(files, len(values), called), digest)


def _checked(values: np.ndarray, called: str) -> np.ndarray:
    """Vectors as float32; refuses what is no table of finite numbers."""
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiu":
        raise InputError(
            f"{called} must hold numbers of shape (images, numbers of a vector), received "
            f"{values.dtype} {values.shape}"
        )
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told so
        codes = np.ascontiguousarray(values, np.float32)
    bad = np.flatnonzero(~np.isfinite(codes).all(axis=1))
    if len(bad):
        raise InputError(
            f"{called} holds NaN or infinite values in {len(bad):,} of {len(codes):,} vectors, the "
            f"first in row {bad[0]}: leave these rows out"
        )
    largest = largest_too_far(codes)
    if largest is not None:
        raise InputError(
            f"{called} holds values up to {largest:.0e}, with which no distances can be computed: "
            "multiply all by one number, so that they come near 1"
        )
    return codes


def _checked_files(files: Sequence[Any] | None, number: int, called: str) -> list[str] | None:
    if files is None:
        return None
    if len(files) != number:
        raise InputError(f"{called} holds {number:,} vectors and {len(files):,} names of files")
    names = [str(name) for name in files]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(
                f"{called} names {images.shown(name)} twice: give each file one vector, and the "
                "names in a column or array called file"
            )
        seen.add(name)
    return names


def _from_numpy(path: Path) -> tuple[np.ndarray, Sequence[Any] | None]:
    # A mapped file is refused where it is shorter than it says, before memory is taken for it.
    loaded = np.load(path, allow_pickle=False, mmap_mode="r")
    if isinstance(loaded, np.ndarray):
        return loaded, None
    with loaded as archive:
        names = archive.files
        named = [name for name in _CODES if name in names]
        others = [name for name in names if name not in _FILES]
        if not named and len(others) != 1:
            raise ValueError(f"none of the arrays {', '.join(others)} is called codes")
        files = next((archive[name] for name in _FILES if name in names), None)
        if files is not None and (files.ndim != 1 or files.dtype.kind != "U"):
            raise ValueError(
                f"the names of files are no text but {files.dtype} {files.shape}: save them as a "
                "row of text, in NumPy by .astype(str)"
            )
        values = archive[(named or others)[0]]
        if not isinstance(values, np.ndarray):  # any file may lie in a zip
            raise ValueError(f"{(named or others)[0]} is no array")
        return values, files


def thumbnails(stream: image_stream.Stream, positions: Sequence[int]) -> np.ndarray:
    """Small colour pictures of images of any size; one that cannot be read is white.

    Returns:
        float32 (num_positions, 64, 64, 3) in [0, 1].
    """
    pictures = [
        np.full((_SIDE, _SIDE, 3), 255, np.uint8)
        if isinstance(picture, str)
        else images.with_channels(images.resize(picture, _SIDE, _SIDE), 3)
        for picture in stream.read(positions)
    ]
    return images.to_unit(np.stack(pictures))
