"""Folders of image files: their splits and classes by folder names, and all images in one store."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from kerasunsup.data import bit_depth, decoding, folder_walk, images, pixel_storage
from kerasunsup.data.pillow_pixels import StoredPicture
from kerasunsup.errors import InputError
from kerasunsup.progress import Progress

_NAMED = 10  # unreadable files in one line
_WATCHED = 2000  # so many files get a progress bar

Measured = TypeVar("Measured")


class _File(NamedTuple):
    name: str  # relative, with '/'
    split: str | None
    group: str  # the folder that may be its class, "" where there is none


def read(folder: Path, image_size: int | None, memory_limit: int) -> pixel_storage.Source:
    """The images of a folder: flat, one sub-folder a class, or either of them in train/ and test/.

    Args:
        folder: an existing folder.
        image_size: resize to this height and width; None keeps the files' own.
        memory_limit: bytes of pixels above which they are kept on disk.

    Returns:
        The images in the order of their sorted names, those of train/ first, then those of a
        validation folder, then those of test/; colour where any of them is.

    Raises:
        InputError: if there are no images, they differ in size, or more than one in ten of
            them cannot be read.
        pixel_storage.SideError: if the images are too small or too large.
        OSError: if the disk is full.
    """
    files, has_classes = _arranged(folder, folder_walk.listed(folder))
    writer = pixel_storage.Writer(len(files), memory_limit)
    readable: list[_File] = []
    unreadable: list[str] = []
    paths = [os.path.join(folder, file.name) for file in files]
    white = white_of(str(folder), paths)
    has_bar = len(files) >= _WATCHED and sys.stderr.isatty()
    with (
        contextlib.closing(decoded(paths, side=image_size, white=white)) as pictures,
        Progress(len(files), "image" if has_bar else "", has_bar=has_bar) as progress,
    ):
        progress.name("reading")
        for file, outcome in zip(files, pictures, strict=True):
            progress.advance()
            if isinstance(outcome, str):
                unreadable.append(f"{file.name} ({outcome})")
                continue
            if writer.shape is not None and outcome.shape[:2] != writer.shape[:2]:
                (height, width), (other_height, other_width) = writer.shape[:2], outcome.shape[:2]
                raise InputError(
                    f"--data {folder}: the images differ in size, {readable[0].name} is "
                    f"{height} x {width} and {file.name} is {other_height} x {other_width} "
                    "(height x width): use --image-size N to resize all"
                )
            writer.append(outcome[np.newaxis])
            readable.append(file)
    _skip_unreadable(folder, unreadable, len(files))
    labels, class_names = None, None
    if has_classes:
        groups = sorted({file.group for file in files})
        number_of = {group: number for number, group in enumerate(groups)}
        labels = np.array([number_of[file.group] for file in readable], np.int64)
        class_names = tuple(map(images.shown, groups))
    return pixel_storage.Source(
        name=images.shown(folder.resolve().name),
        store=writer.finish(),
        labels=labels,
        class_names=class_names,
        files=[file.name for file in readable],
        num_test=sum(file.split == "test" for file in readable),
        num_validation=sum(file.split == "validation" for file in readable),
    )


def splits_and_classes(names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """The split and the class of each file, by the names of the folders that it lies in.

    The uppermost folders are splits if all of them, or at least `train` and another one, are called
    `train`, `test`, `val` or the like. They may lie together in one more folder.

    Args:
        names: relative, with '/'.

    Returns:
        (`train`, `validation`, `test`, or None where a file lies in no split folder; the folder
        below that, else the uppermost one, or "" where there is none).
    """
    folders = [name.split("/")[:-1] for name in names]

    def level(depth: int) -> list[str]:
        return [path[depth] if len(path) > depth else "" for path in folders]

    for depth in itertools.count():
        at_depth = level(depth)
        splits = [pixel_storage.SPLITS.get(folder.lower()) for folder in at_depth]
        meanings = set(splits)
        if meanings != {None} and (None not in meanings or {"train", None} < meanings):
            return splits, level(depth + 1)
        if len(set(at_depth)) != 1 or not at_depth[0]:
            break
    return [None] * len(names), level(0)


def _arranged(folder: Path, walk: folder_walk.FolderWalk) -> tuple[list[_File], bool]:
    """The files of a folder, split by split, and whether their groups are classes."""
    files = list(map(_File, walk.names, *splits_and_classes(walk.names)))
    beside = [file for file in files if file.split is None]
    in_split = {
        split: [file for file in files if file.split == split]
        for split in ("train", "validation", "test")
    }
    present = sorted(split for split, members in in_split.items() if members)
    if not present:
        _refuse_mixture(folder, files)
        # A single sub-folder separates nothing.
        return files, len({file.group for file in files}) > 1
    if "train" not in present:
        raise InputError(
            f"--data {folder} holds images for {' and '.join(present)} and none to train "
            "on: put training images into its folder train/, or give a folder below it"
        )
    notes = []
    if beside:
        notes.append(
            f"{len(beside)} images beside the training and test images are left out, "
            f"such as {beside[0].name}"
        )
    for name in walk.folders:
        split = pixel_storage.SPLITS.get(os.path.basename(name).lower(), "train")
        if split not in present and not any(n.startswith(name + "/") for n in walk.names):
            notes.append(f"{name}/ holds no images: some are taken from the training images")
            break
    for split in present:
        _refuse_mixture(folder, in_split[split])
    groups = {split: {file.group for file in in_split[split]} for split in present}
    everywhere = set().union(*groups.values())
    if "" in everywhere and len(everywhere) > 1:
        flat = [split for split in present if "" in groups[split]]
        notes.append(f"no class folders for {' and '.join(flat)}: classes are left out")
        everywhere = set()
    elif unknown := sorted(everywhere - groups["train"]):
        notes.append(f"classes without training images: {', '.join(unknown)}")
    if notes:
        images.tell(f"{folder}: {'; '.join(notes)}")
    return list(itertools.chain.from_iterable(in_split.values())), len(everywhere) > 1


def _refuse_mixture(folder: Path, files: Sequence[_File]) -> None:
    """Refuses images that lie beside class folders: nobody knows their class."""
    flat = [file.name for file in files if not file.group]
    if flat and len(flat) < len(files):
        inside = next(file.name for file in files if file.group)
        raise InputError(
            f"--data {folder} holds images ({flat[0]}) beside sub-folders of images ({inside}): "
            "put all into one folder, or all into one sub-folder a class"
        )


def decoded(
    paths: Sequence[str], *, side: int | None = None, white: float = bit_depth.WHITE
) -> Generator[np.ndarray | str, None, None]:
    """The pictures in files, in order, decoded ahead by all processors in bounded memory.

    Args:
        paths: the image files.
        side: height and width of the results; None keeps the files' own.
        white: the value that becomes 255 in pictures of more than 8 bits.

    Returns:
        uint8 (height, width, 1|3) each, or the reason why one cannot be read.
    """

    def decode(path: str, claim: decoding.Claim) -> np.ndarray | str:
        try:
            return images.decode(path, side=side, white=white, claim=claim)
        except ValueError as error:
            return _reason(error)

    return decoding.in_order(decode, paths)


def measured(
    paths: Sequence[str],
    measure: Callable[[StoredPicture, str], Measured],
    *,
    white: float = bit_depth.WHITE,
) -> Generator[Measured | str, None, None]:
    """What a function makes of the picture in each file, in order; no picture is kept.

    Args:
        paths: the image files.
        measure: (picture, path of its file) -> a small outcome, no text; called by several threads
            at once.
        white: the value that becomes 255 in pictures of more than 8 bits.

    Returns:
        The outcome of each, or the reason why a file cannot be read.
    """

    def work(path: str, claim: decoding.Claim) -> Measured | str:
        try:
            picture = images.stored(path, white=white, claim=claim)
        except ValueError as error:
            return _reason(error)
        try:
            return measure(picture, path)
        except OSError as error:  # it may look into the file once more
            return error.strerror or str(error)

    return decoding.in_order(work, paths)


def _reason(error: ValueError) -> str:
    return " ".join(str(error).split())[:80]


def white_of(place: str, paths: Sequence[str]) -> float:
    """The value that is white in a set's pictures of more than 8 bits; says so if it is not 65535.

    All pictures of a set are scaled alike, by the number of bits that the set uses. A set that uses
    all 16 bits is recognized by its first bright picture; one that uses fewer is read twice.
    Values below 0 are black, which is said too.

    Args:
        place: what the set is called.
        paths: the set's files.
    """
    deep = [path for path in paths if path.lower().endswith(bit_depth.SUFFIXES)]
    smallest = largest = 0.0
    with contextlib.closing(decoding.in_order(images.value_range, deep)) as ranges:
        for low, high in ranges:
            smallest, largest = min(smallest, low), max(largest, high)
            if bit_depth.white_of(largest)[0] == bit_depth.WHITE:
                return bit_depth.WHITE
    if smallest < 0:
        images.tell(
            f"{place}: its images have values down to {smallest:g}: all below 0 become black (if "
            "they should not, save values from 0 up)"
        )
    white, bits = bit_depth.white_of(largest or bit_depth.WHITE)
    if largest:
        images.tell(
            f"{place}: its images of more than 8 bits use values up to {largest:g}: taken as "
            f"{bits} bits, {white:g} is white"
        )
    return white


def _skip_unreadable(folder: Path, unreadable: Sequence[str], total: int) -> None:
    """Says which images are skipped, or refuses a folder where more than one in ten is."""
    if not unreadable:
        return
    number = len(unreadable)
    more = f" and {number - _NAMED} more" if number > _NAMED else ""
    named = ", ".join(unreadable[:_NAMED]) + more
    if 10 * number > total:
        raise InputError(
            f"--data {folder}: {number} of {total} images cannot be read, more than one in ten: "
            f"{named}; repair or remove them"
        )
    images.tell(f"skipped {number} of {total} images that cannot be read: {named}")
