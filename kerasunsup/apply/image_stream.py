"""Images that a model is applied to, read batch by batch, so that their number has no limit.

Unlike in `splits.load`, nothing is drawn, split or kept in memory: images come in the order of
their names and may differ in size, and an image that cannot be read is a result too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.data import bit_depth, folder_walk, from_folder, from_idx, images
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.pillow_pixels import StoredPicture
from kerasunsup.errors import InputError
from kerasunsup.progress import Progress
from kerasunsup.training import files

# A picture, uint8 (height, width, 1|3) -> the same in another size or with other channels; raises
# InputError where that cannot be done.
Change = Callable[[np.ndarray], np.ndarray]

# A picture and the path of its file, "" where there is none -> what is kept of it, no text.
Measure = Callable[[StoredPicture, str], Any]


@dataclasses.dataclass(frozen=True)
class Stream:
    """A list of images that are read when they are needed.

    Attributes:
        what: what the user called the images, for messages.
        names: relative paths with '/', one an image; numbered where images are no files.
        labels: int64 (num_images,), or None; only compared with results, never used for them.
        white: returns the value that is white in files of more than 8 bits.
        root: the folder that the names of files are relative to; None where images are no files.
    """

    what: str
    names: Sequence[str]
    labels: np.ndarray | None
    _digest: Callable[[Sequence[int] | None], str]
    _read: Callable[[Sequence[int], Callable[[], float]], Iterator[np.ndarray | str]]
    white: Callable[[], float] = lambda: bit_depth.WHITE
    _measured: Callable[[Sequence[int], Measure, Callable[[], float]], Iterator[Any]] = lambda *_: (
        iter(())
    )
    root: Path | None = None

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hex digest of names, sizes and times of files, or of all pixels."""
        return self._digest(None)

    def stamp(self, positions: Sequence[int]) -> str:
        """The fingerprint of the images at these positions alone; no other file is looked at."""
        return self._digest(positions)

    def read(self, positions: Iterable[int]) -> Iterator[np.ndarray | str]:
        """The pictures at these positions, in this order, decoded a little ahead.

        Returns:
            uint8 (height, width, 1|3) each, or the reason why one cannot be read.
        """
        return self._read(list(positions), self.white)

    def measured(self, positions: Iterable[int], measure: Measure) -> Iterator[Any]:
        """What a function makes of each picture, in this order; no picture is kept.

        Args:
            positions: the positions of the images.
            measure: called in several threads at once where the images are files.

        Returns:
            What `measure` returned for each, or the reason why one cannot be read.
        """
        return self._measured(list(positions), measure, self.white)

    def batches(
        self, positions: Iterable[int], batch_size: int, change: Change
    ) -> Iterator[tuple[list[int], np.ndarray, list[tuple[int, str]]]]:
        """Images of one shape, a batch at a time.

        Args:
            positions: the positions of the images, in the order of use.
            batch_size: images a batch; the last batch may be smaller.
            change: brings each picture into the one shape.

        Returns:
            For each batch (positions of its images, the images as float32 (batch, height, width,
            channels) in [0, 1], (position, reason) of each image that cannot be read).

        Raises:
            InputError: if `change` refuses a picture; the picture's name is put before its text.
        """
        order = list(positions)
        pictures = self.read(order)
        for start in range(0, len(order), batch_size):
            readable: list[int] = []
            pixels: list[np.ndarray] = []
            unreadable: list[tuple[int, str]] = []
            for position in order[start : start + batch_size]:
                picture = next(pictures)
                if isinstance(picture, str):
                    unreadable.append((position, picture))
                    continue
                try:
                    pixels.append(change(picture))
                except InputError as error:
                    name = images.shown(self.names[position])
                    raise InputError(f"{name} {error}") from None
                readable.append(position)
            stacked = np.stack(pixels) if pixels else np.empty((0, 0, 0, 1), np.uint8)
            yield readable, images.to_unit(stacked), unreadable


_MODES = {1: "L", 3: "RGB"}  # of images that are no files, as Pillow would call them

EMPTY = Stream("no images", (), None, lambda _: "", lambda *_: iter(()))


def open_images(
    what: str, *, without: Path | None, part: str, limit: int | None, like: Stream | None = None
) -> Stream:
    """The images that a user names: a folder, one file, an array file, IDX files or a data name.

    Args:
        what: what the user gave.
        without: a folder that is left out, such as the one that results go to.
        part: `all`, or `train` or `test` where the data has a test set of its own.
        limit: use only so many, the first ones; None uses all.
        like: images of more than 8 bits are scaled like these; None finds a scale of their own.

    Raises:
        InputError: if there are no such images.
        OSError: if the disk is full.
    """
    try:
        path = data_splits.located(what)
        is_file = path.suffix.lower() in images.SUFFIXES and path.is_file()
        if is_file:
            names = [path.name]
        elif path.is_dir() and not from_idx.files_of_images(path):
            names = folder_walk.listed(path, without=without).names
        else:
            return _of_data(what, part, limit)
    except PermissionError as error:
        raise InputError(
            images.shown(f"{what}: no permission to use {error.filename}: change its rights")
        ) from error
    except InputError as error:
        # In training the images are given by --data and resized by --image-size.
        text = str(error).replace("--data", "IMAGES").replace("--image-size N", "--resize")
        raise InputError(images.shown(text)) from error
    if part != "all":
        splits, _ = from_folder.splits_and_classes(names)
        names = [name for name, split in zip(names, splits, strict=True) if split == part]
        if "test" not in splits or not names:
            raise InputError(
                f"--part {part}: {what} has no test set of its own (folders train/ and test/): "
                "leave --part out"
            )
    return _of_files(what, path.parent if is_file else path, names[:limit], like)


def _of_files(what: str, root: Path, names: Sequence[str], like: Stream | None) -> Stream:
    def digest(positions: Sequence[int] | None) -> str:
        content = hashlib.sha256()
        for name in names if positions is None else [names[position] for position in positions]:
            content.update(os.fsencode(name) + b"\0")
            with contextlib.suppress(OSError):  # a broken link is reported when it is read
                state = os.stat(os.path.join(root, name))
                content.update(f"{state.st_size}\0{state.st_mtime_ns}\0".encode())
        return content.hexdigest()[:16]

    _, classes = from_folder.splits_and_classes(names)
    labels = None
    if "" not in classes and len(set(classes)) > 1:
        number_of = {group: number for number, group in enumerate(sorted(set(classes)))}
        labels = np.array([number_of[group] for group in classes], np.int64)

    def paths(positions: Iterable[int]) -> list[str]:
        return [os.path.join(root, names[position]) for position in positions]

    @functools.cache
    def white() -> float:
        if like is not None:
            return like.white()
        return from_folder.white_of(what, paths(range(len(names))))

    def read(positions: Sequence[int], white: Callable[[], float]) -> Iterator[np.ndarray | str]:
        return from_folder.decoded(paths(positions), white=white())

    def measured(
        positions: Sequence[int], measure: Measure, white: Callable[[], float]
    ) -> Iterator[Any]:
        return from_folder.measured(paths(positions), measure, white=white())

    return Stream(what, names, labels, digest, read, white, measured, root)


def _of_data(what: str, part: str, limit: int | None) -> Stream:
    source = data_splits.read(what)
    sizes = {
        "train": len(source.store) - source.num_validation - source.num_test,
        "validation": source.num_validation,
        "test": source.num_test,
    }
    if part != "all" and not source.num_test:
        raise InputError(f"--part {part}: {what} has no test set of its own: leave --part out")
    first = len(source.store) - source.num_test if part == "test" else 0
    number = len(source.store) if part == "all" else sizes[part]
    positions = np.arange(first, first + number)[:limit]
    if sizes["train"] == len(source.store):
        names = [f"{position:05d}.png" for position in positions]
    else:
        all_names = [f"{split}/{at:05d}.png" for split, size in sizes.items() for at in range(size)]
        names = [all_names[position] for position in positions]
    labels = None if source.labels is None else source.labels[positions]
    return _of_set(what, ImageSet(source.store, positions), names, labels)


def of_set(what: str, image_set: ImageSet) -> Stream:
    """A stream of the images of a set, which are named by their numbers."""
    names = [f"{position:05d}.png" for position in range(len(image_set))]
    return _of_set(what, image_set, names, None)


def _of_set(
    what: str, image_set: ImageSet, names: Sequence[str], labels: np.ndarray | None
) -> Stream:
    def read(
        positions: Sequence[int], white: Callable[[], float] = lambda: bit_depth.WHITE
    ) -> Iterator[np.ndarray]:
        for start in range(0, len(positions), 256):
            yield from images.to_uint8(image_set.array(positions[start : start + 256]))

    def measured(positions: Sequence[int], measure: Measure, _: object) -> Iterator[Any]:
        for pixels in read(positions):
            yield measure(StoredPicture(pixels, "", _MODES[pixels.shape[-1]]), "")

    def digest(positions: Sequence[int] | None) -> str:
        if positions is None:
            return image_set.fingerprint
        content = hashlib.sha256()
        for position, picture in zip(positions, read(positions), strict=True):
            content.update(f"{names[position]}\0{picture.shape}\0".encode())
            content.update(np.ascontiguousarray(picture).data)
        return content.hexdigest()[:16]

    return Stream(what, names, labels, digest, read, _measured=measured)


def some_of(stream: Stream, positions: Sequence[int]) -> Stream:
    """The images at some positions of a stream, as a stream of their own."""

    def at(some: Sequence[int] | None) -> Sequence[int]:
        return positions if some is None else [positions[index] for index in some]

    return dataclasses.replace(
        stream,
        names=[stream.names[position] for position in positions],
        labels=None if stream.labels is None else stream.labels[list(positions)],
        _digest=lambda some: stream._digest(at(some)),
        _read=lambda some, white: stream._read(at(some), white),
        _measured=lambda some, *more: stream._measured(at(some), *more),
    )


def in_blocks(
    stream: Stream,
    folder: Path,
    make: Callable[[Stream, range, Progress], dict[str, np.ndarray]],
    names: Sequence[str],
    size: int,
) -> dict[str, np.ndarray]:
    """What is measured of all images, block by block; finished blocks are found after a stop.

    Args:
        stream: the images.
        folder: where the blocks are kept.
        make: (stream, positions, progress) -> arrays of one block; it advances the progress.
        names: of these arrays.
        size: images in a block.

    Returns:
        The arrays of all blocks, each joined along its first axis.
    """
    blocks = []
    with Progress(len(stream), "image") as progress:
        for start in range(0, len(stream), size):
            positions = range(start, min(start + size, len(stream)))
            path = folder / f"{start:09d}.npz"
            try:
                block = files.read_arrays(path)
                if set(block) != set(names):
                    raise InputError(f"{path} is of an earlier version")
                progress.advance(len(positions))
            except InputError:  # there is none, or one that is damaged or of other arrays
                block = make(stream, positions, progress)
                files.write_arrays(path, block)
            blocks.append(block)
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
