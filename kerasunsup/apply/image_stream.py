"""Images that a model is applied to: read batch by batch, so that any number of them will do.

Unlike `splits.load`, nothing is drawn, split or kept: images come in the order of their names, may
differ in size, and one that cannot be read is a result too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from kerasunsup.data import bit_depth, folder_walk, from_folder, from_idx, images
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.errors import InputError

# uint8 (height, width, 1|3) -> the same in another form; raises InputError.
Change = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Stream:
    """A list of images that are read when they are needed.

    Attributes:
        what: as the user named it, for complaints.
        names: relative paths with '/', one an image; of images that are no files they are made up.
        labels: int64 (num_images,), or None; nothing but a final comparison looks at them.
        fingerprint: hex digest of the names and of what tells that a file has changed.
        white: the value that is white in files of more than 8 bits.
    """

    what: str
    names: Sequence[str]
    labels: np.ndarray | None
    fingerprint: str
    _read: Callable[[Sequence[int]], Iterator[np.ndarray | str]]
    white: Callable[[], float] = lambda: bit_depth.WHITE

    def __len__(self) -> int:
        return len(self.names)

    def read(self, positions: Iterable[int]) -> Iterator[np.ndarray | str]:
        """The pictures at these positions, in this order, decoded a little ahead.

        Returns:
            uint8 (height, width, 1|3) each, or the reason why one cannot be read.
        """
        return self._read(list(positions))

    def batches(
        self, positions: Iterable[int], batch_size: int, change: Change
    ) -> Iterator[tuple[list[int], np.ndarray, list[tuple[int, str]]]]:
        """Images of one shape, a batch at a time.

        Args:
            positions: which, in which order.
            batch_size: images a batch; the last may be smaller.
            change: brings each picture into the one shape; its complaint gets the name before it.

        Returns:
            (their positions, float32 (batch, height, width, channels) in [0, 1], the positions
            that cannot be read, each with its reason) of each batch.

        Raises:
            InputError: if `change` refuses a picture.
        """
        wanted = list(positions)
        pictures = self.read(wanted)
        for start in range(0, len(wanted), batch_size):
            kept: list[int] = []
            pixels: list[np.ndarray] = []
            unreadable: list[tuple[int, str]] = []
            for position in wanted[start : start + batch_size]:
                picture = next(pictures)
                if isinstance(picture, str):
                    unreadable.append((position, picture))
                    continue
                try:
                    pixels.append(change(picture))
                except InputError as error:
                    name = images.shown(self.names[position])
                    raise InputError(f"{name} {error}") from None
                kept.append(position)
            shape = pixels[0].shape if pixels else (0, 0, 1)
            stacked = np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8)
            yield kept, images.to_unit(stacked), unreadable


def open_images(
    what: str, *, without: Path | None, part: str, limit: int | None, like: Stream | None = None
) -> Stream:
    """The images that a user names: a folder, one file, an array file, IDX files or a data name.

    Args:
        what: as the user gave it.
        without: a folder that is left out, such as the one that results go to.
        part: `all`, or `train` or `test` where the data has a test set of its own.
        limit: the first so many; None means all.
        like: images whose scale those of more than 8 bits share; None finds their own.

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
    except InputError as error:
        # The flag of a training's images is an argument here, and its --image-size is --resize.
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
    digest = hashlib.sha256()
    for name in names:
        digest.update(os.fsencode(name) + b"\0")
        with contextlib.suppress(OSError):  # a link that leads nowhere is listed when it is read
            state = os.stat(os.path.join(root, name))
            digest.update(f"{state.st_size}\0{state.st_mtime_ns}\0".encode())
    _, classes = from_folder.splits_and_classes(names)
    labels = None
    if "" not in classes and len(set(classes)) > 1:
        numbers = {group: number for number, group in enumerate(sorted(set(classes)))}
        labels = np.array([numbers[group] for group in classes], np.int64)

    def paths(positions: Iterable[int]) -> list[str]:
        return [os.path.join(root, names[position]) for position in positions]

    @functools.cache
    def white() -> float:
        return (
            from_folder.white_of(what, paths(range(len(names)))) if like is None else like.white()
        )

    def read(positions: Sequence[int]) -> Iterator[np.ndarray | str]:
        return from_folder.decoded(paths(positions), white=white())

    return Stream(what, names, labels, digest.hexdigest()[:16], read, white)


def _of_data(what: str, part: str, limit: int | None) -> Stream:
    source = data_splits.read(what)
    total = len(source.store)
    first_test = total - source.num_test
    first_validation = first_test - source.num_validation
    if part != "all" and not source.num_test:
        raise InputError(f"--part {part}: {what} has no test set of its own: leave --part out")
    ranges = {
        "all": range(total),
        "train": range(first_validation),
        "test": range(first_test, total),
    }
    positions = np.array(ranges[part][:limit], np.int64)
    if source.num_test or source.num_validation:
        names = [
            f"train/{position:05d}.png"
            if position < first_validation
            else f"validation/{position - first_validation:05d}.png"
            if position < first_test
            else f"test/{position - first_test:05d}.png"
            for position in positions
        ]
    else:
        names = [f"{position:05d}.png" for position in positions]
    everything = ImageSet(source.store)
    read = functools.partial(_read_set, everything, positions)
    return Stream(
        what,
        names,
        None if source.labels is None else source.labels[positions],
        everything.subset(positions).fingerprint,
        read,
    )


def of_set(what: str, image_set: ImageSet) -> Stream:
    """A set of images that is open already, as a stream; its images get numbers for names."""
    positions = np.arange(len(image_set))
    return Stream(
        what,
        [f"{position:05d}.png" for position in positions],
        None,
        image_set.fingerprint,
        functools.partial(_read_set, image_set, positions),
    )


def _read_set(
    everything: ImageSet, positions: np.ndarray, wanted: Sequence[int]
) -> Iterator[np.ndarray | str]:
    for start in range(0, len(wanted), 256):
        pixels = images.to_uint8(everything.array(positions[list(wanted[start : start + 256])]))
        yield from pixels
