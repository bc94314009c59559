"""Images that a model is applied to: read batch by batch, so that any number of them will do.

Unlike `data.load`, nothing is drawn, split or kept: images come in the order of their names, may
differ in size, and one that cannot be read is a result too.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from kerasunsup import arrays, config, data, folders, images

_CHUNK_BYTES = 1 << 20  # of files that a thread decodes at a time,
_CHUNK_FILES = 64  # and at most so many of them

# uint8 (height, width, 1|3) -> the same in another form; raises config.InputError.
Change = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Stream:
    """A list of images that are read when they are needed.

    Attributes:
        what: as the user named it, for complaints.
        names: relative paths with '/', one an image; of images that are no files they are made up.
        labels: int64 (num_images,), or None; nothing but a final comparison looks at them.
        fingerprint: hex digest of the names and of what tells that a file has changed.
    """

    what: str
    names: Sequence[str]
    labels: np.ndarray | None
    fingerprint: str
    _read: Callable[[Sequence[int]], Iterator[np.ndarray | str]]

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
            config.InputError: if `change` refuses a picture.
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
                except config.InputError as error:
                    raise config.InputError(f"{self.names[position]} {error}") from None
                kept.append(position)
            shape = pixels[0].shape if pixels else (0, 0, 1)
            stacked = np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8)
            yield kept, images.to_unit(stacked), unreadable


def open_images(what: str, *, without: Path | None, part: str, limit: int | None) -> Stream:
    """The images that a user names: a folder, one file, a .npz, IDX files or a data name.

    Args:
        what: as the user gave it.
        without: a folder that is left out, such as the one that results go to.
        part: `all`, or `train` or `test` where the data has a test set of its own.
        limit: the first so many; None means all.

    Raises:
        config.InputError: if there are no such images.
        OSError: if the disk is full.
    """
    path = config.path_of("IMAGES", what, is_written=False)
    is_file = path.suffix.lower() in images.SUFFIXES and path.is_file()
    if is_file or (path.is_dir() and not arrays.idx_files(path)):
        if part != "all":
            raise config.InputError(
                f"--part {part}: {what} holds files, which have no test set of their own: leave "
                "--part out"
            )
        root = path.parent if is_file else path
        names = [path.name] if is_file else _files(path, without)
        return _of_files(what, root, names[:limit])
    return _of_data(what, part, limit)


def _files(folder: Path, without: Path | None) -> list[str]:
    """Relative names of the image files in a folder and below, sorted; hidden ones left out."""
    names: list[str] = []
    others = 0
    unwanted = None if without is None else without.resolve()
    try:
        for directory, subfolders, files in os.walk(folder, onerror=_raise):
            place = Path(directory)
            subfolders[:] = [
                name
                for name in subfolders
                if not name.startswith(".") and (place / name).resolve() != unwanted
            ]
            for name in files:
                if name.startswith("."):
                    continue
                if os.path.splitext(name)[1].lower() in images.SUFFIXES:
                    names.append((place / name).relative_to(folder).as_posix())
                else:
                    others += 1
    except OSError as error:
        raise config.InputError(
            f"IMAGES {error.filename or folder} cannot be read: {error.strerror}"
        ) from error
    if not names:
        found = f"none of its {others} files is an image" if others else "the folder is empty"
        raise config.InputError(
            f"IMAGES {folder}: {found}: give a folder with PNG, JPEG, BMP or GIF images"
        )
    return sorted(names)


def _raise(error: OSError) -> None:
    raise error


def _of_files(what: str, root: Path, names: Sequence[str]) -> Stream:
    sizes: list[int] = []
    digest = hashlib.sha256()
    for name in names:
        try:
            state = (root / name).stat()
            sizes.append(state.st_size)
            digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        except OSError:  # a dangling link, say: it is listed when it is read
            sizes.append(0)
            digest.update(f"{name}\0".encode())
    classes = [name.split("/")[0] if "/" in name else "" for name in names]
    labels = None
    if "" not in classes and len(set(classes)) > 1:
        labels = np.unique(classes, return_inverse=True)[1].astype(np.int64)

    def read(positions: Sequence[int]) -> Generator[np.ndarray | str, None, None]:
        chunks = _chunks([(root / names[position], sizes[position]) for position in positions])
        return folders.in_parallel(_decode, chunks)

    return Stream(what, names, labels, digest.hexdigest()[:16], read)


def _chunks(files: Sequence[tuple[Path, int]]) -> Iterator[list[Path]]:
    """Small files together, large ones alone: what is decoded ahead stays small."""
    chunk: list[Path] = []
    total = 0
    for path, size in files:
        if chunk and (total + size > _CHUNK_BYTES or len(chunk) == _CHUNK_FILES):
            yield chunk
            chunk, total = [], 0
        chunk.append(path)
        total += size
    if chunk:
        yield chunk


def _decode(paths: Sequence[Path]) -> list[np.ndarray | str]:
    outcomes: list[np.ndarray | str] = []
    for path in paths:
        try:
            outcomes.append(images.decode(path))
        except ValueError as error:
            outcomes.append(" ".join(str(error).split())[:80])
    return outcomes


def _of_data(what: str, part: str, limit: int | None) -> Stream:
    try:
        source = data.read(what)
    except config.InputError as error:
        # The flag of a training's images is an argument here, and its --image-size is --resize.
        text = str(error).replace("--data", "IMAGES").replace("--image-size N", "--resize")
        raise config.InputError(text) from error
    total = len(source.store)
    first_test = total - source.num_test
    if part != "all" and not source.num_test:
        raise config.InputError(
            f"--part {part}: {what} has no test set of its own: leave --part out"
        )
    chosen = {"all": range(total), "train": range(first_test), "test": range(first_test, total)}
    positions = np.array(chosen[part][:limit], np.int64)
    if source.files is not None:
        names = [source.files[position] for position in positions]
    elif source.num_test:
        names = [
            f"train/{position:05d}.png"
            if position < first_test
            else f"test/{position - first_test:05d}.png"
            for position in positions
        ]
    else:
        names = [f"{position:05d}.png" for position in positions]
    everything = data.ImageSet(source.store)
    read = functools.partial(_read_set, everything, positions)
    return Stream(
        what,
        names,
        None if source.labels is None else source.labels[positions],
        everything.subset(positions).fingerprint,
        read,
    )


def of_set(what: str, image_set: data.ImageSet) -> Stream:
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
    everything: data.ImageSet, positions: np.ndarray, wanted: Sequence[int]
) -> Iterator[np.ndarray | str]:
    for start in range(0, len(wanted), 256):
        pixels = images.to_uint8(everything.array(positions[list(wanted[start : start + 256])]))
        yield from pixels
