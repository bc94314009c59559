"""Folders of image files: one walk, one decoder, and all images of a folder in one store."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import stat
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.data import decoding, images, pixel_storage
from kerasunsup.errors import InputError

_NAMED = 10  # unreadable files in one line

_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}
_TWICE = "linked to what is read already"


def read(folder: Path, image_size: int | None, memory_limit: int) -> pixel_storage.Source:
    """The images of a folder: flat, one sub-folder a class, or either in train/ and test/.

    Args:
        folder: that exists.
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
    names, splits, classes = _arranged(folder, listed(folder))
    writer = pixel_storage.Writer(len(names), memory_limit)
    kept: list[int] = []
    unreadable: list[str] = []
    first: tuple[str, tuple[int, int]] | None = None
    paths = [os.path.join(folder, name) for name in names]
    white = white_of(str(folder), paths)
    with contextlib.closing(decoded(paths, side=image_size, white=white)) as pictures:
        for index, outcome in enumerate(_with_progress(pictures, len(names))):
            if isinstance(outcome, str):
                unreadable.append(f"{names[index]} ({outcome})")
                continue
            if first is None:
                first = names[index], outcome.shape[:2]
            elif outcome.shape[:2] != first[1]:
                (height, width), (other_height, other_width) = first[1], outcome.shape[:2]
                raise InputError(
                    f"--data {folder}: the images differ in size, {first[0]} is {height} x {width}"
                    f" and {names[index]} is {other_height} x {other_width} (height x width): use "
                    "--image-size N to resize all"
                )
            writer.append(outcome[np.newaxis])
            kept.append(index)
    judge_unreadable(f"--data {folder}", unreadable, len(names))
    labels, class_names = None, None
    if classes is not None:
        found = sorted(set(classes))
        positions = {name: position for position, name in enumerate(found)}
        labels = np.array([positions[classes[index]] for index in kept], np.int64)
        class_names = tuple(map(images.shown, found))
    return pixel_storage.Source(
        name=images.shown(folder.resolve().name),
        store=writer.finish(),
        labels=labels,
        class_names=class_names,
        files=[names[index] for index in kept],
        num_test=sum(splits[index] == "test" for index in kept),
        num_validation=sum(splits[index] == "validation" for index in kept),
    )


class _Walk:
    """The image files in a folder and below.

    Links are followed when all else is read, so that what lies in the folder itself keeps its own
    name. What they lead to a second time is left out: a loop, or a file that was met before.

    Attributes:
        names: relative, with '/'.
        folders: relative names of all sub-folders.
        left_out: number of files by their ending or by what they are.
        examples: a name of each kind that its ending does not tell.
    """

    def __init__(self, root: Path, without: Path | None) -> None:
        self.names: list[str] = []
        self.folders: list[str] = []
        self.left_out: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, str] = {}
        self._root = root
        self._links: collections.deque[str] = collections.deque()
        self._unwanted = _identity(os.stat(without)) if without and without.exists() else None
        self._seen_folders = {_identity(os.stat(root))}
        self._seen_files: set[tuple[int, int]] | None = None
        pending: collections.deque[tuple[str, bool]] = collections.deque([("", False)])
        while pending or self._links:
            if pending:
                pending.extend(self._inside(*pending.popleft()))
            else:
                pending.extend(self._behind(self._links.popleft()))

    def _inside(self, prefix: str, is_linked: bool) -> Iterator[tuple[str, bool]]:
        """Takes what lies in one folder; what it yields is to be entered."""
        with os.scandir(os.path.join(self._root, prefix)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name.lower() in _LITTER:
                    continue
                name = prefix + entry.name
                if is_linked or entry.is_symlink():
                    self._links.append(name)
                elif entry.is_dir():
                    identity = _identity(os.stat(entry.path))
                    if identity != self._unwanted:
                        self._seen_folders.add(identity)
                        self.folders.append(name)
                        yield name + "/", False
                elif entry.is_file():
                    self._take(name)
                else:
                    self._leave_out(name, _kind(entry.stat().st_mode))

    def _behind(self, name: str) -> Iterator[tuple[str, bool]]:
        """Takes what a link leads to, or what lies in a linked folder."""
        try:
            state = os.stat(os.path.join(self._root, name))
        except OSError:  # it leads nowhere: named with the reason when it is read
            self._take(name)
            return
        identity = _identity(state)
        if stat.S_ISDIR(state.st_mode):
            if identity in self._seen_folders:
                self._leave_out(name, _TWICE)
            elif identity != self._unwanted:
                self._seen_folders.add(identity)
                self.folders.append(name)
                yield name + "/", True
        elif not stat.S_ISREG(state.st_mode):
            self._leave_out(name, _kind(state.st_mode))
        elif _is_image(name):
            if self._seen_files is None:
                self._seen_files = set()
                for known in self.names:
                    with contextlib.suppress(OSError):
                        self._seen_files.add(_identity(os.stat(os.path.join(self._root, known))))
            if identity in self._seen_files:
                self._leave_out(name, _TWICE)
            else:
                self._seen_files.add(identity)
                self.names.append(name)
        else:
            self._take(name)

    def _take(self, name: str) -> None:
        if _is_image(name):
            self.names.append(name)
        else:
            self.left_out[os.path.splitext(name)[1].lower() or "without an ending"] += 1

    def _leave_out(self, name: str, kind: str) -> None:
        self.left_out[kind] += 1
        self.examples.setdefault(kind, name)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in images.SUFFIXES


def listed(folder: Path, *, without: Path | None = None) -> _Walk:
    """The image files in a folder and below; says in one line what is left out.

    Hidden files and what systems leave behind in folders (Thumbs.db) are passed over in silence.

    Args:
        folder: that exists.
        without: a folder that is not entered, such as the one that results go to.

    Raises:
        InputError: if a folder cannot be read, or there is no image.
    """
    try:
        found = _Walk(folder, without)
    except OSError as error:
        raise InputError(
            f"--data {error.filename or folder} cannot be read: {error.strerror}"
        ) from error
    found.names.sort()
    total = found.left_out.total()
    if not found.names:
        found_instead = f"none of its {total} files is an image" if total else "the folder is empty"
        raise InputError(
            f"--data {folder}: {found_instead}: give a folder of {images.KINDS} images, or of IDX "
            "files"
        )
    if total:
        kinds = [
            f"{number} {kind}" + (f" ({found.examples[kind]})" if kind in found.examples else "")
            for kind, number in found.left_out.most_common()
        ]
        more = f" and {len(kinds) - _NAMED} further kinds" if len(kinds) > _NAMED else ""
        images.tell(f"{folder}: left out: {', '.join(kinds[:_NAMED])}{more}")
    return found


def splits_and_classes(names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """Of each file its split and its class, by the folders that it lies in.

    The uppermost folders are splits where they are called `train`, `test`, `val` or the like, all
    of them or at least `train` and another one. They may lie in one more folder.

    Args:
        names: relative, with '/'.

    Returns:
        (`train`, `validation`, `test`, or None where a file lies in no split folder; the folder
        below that, else the uppermost one, or "" where there is none).
    """
    folders = [name.split("/")[:-1] for name in names]

    def level(depth: int) -> list[str]:
        return [path[depth] if len(path) > depth else "" for path in folders]

    depth = 0
    while True:
        at_depth = level(depth)
        uppermost = set(at_depth)
        known = {pixel_storage.SPLITS.get(folder.lower()) for folder in uppermost}
        splits = known - {None}
        if splits and (None not in known or ("train" in splits and len(splits) > 1)):
            return [pixel_storage.SPLITS.get(folder.lower()) for folder in at_depth], level(
                depth + 1
            )
        if len(uppermost) != 1 or "" in uppermost:
            return [None] * len(names), level(0)
        depth += 1


def _arranged(folder: Path, found: _Walk) -> tuple[list[str], list[str | None], list[str] | None]:
    """(names in the order of splits, split of each, class of each or None without classes)."""
    splits, classes = splits_and_classes(found.names)
    present = {split for split in splits if split is not None}
    if not present:
        _refuse_mixture(folder, found.names, classes)
        # A single sub-folder separates nothing.
        return found.names, splits, classes if len(set(classes)) > 1 else None
    if "train" not in present:
        raise InputError(
            f"--data {folder} holds images for {' and '.join(sorted(present))} and none to train "
            "on: put training images into its folder train/, or give a folder below it"
        )
    order = [
        index
        for wanted in ("train", "validation", "test")
        for index, split in enumerate(splits)
        if split == wanted
    ]
    notes = []
    if len(order) < len(splits):
        beside = next(name for name, split in zip(found.names, splits, strict=True) if not split)
        notes.append(
            f"{len(splits) - len(order)} images beside the training and test images are left out, "
            f"such as {beside}"
        )
    for name in found.folders:
        split = pixel_storage.SPLITS.get(os.path.basename(name).lower(), "train")
        if split not in present and not any(n.startswith(name + "/") for n in found.names):
            notes.append(f"{name}/ holds no images: some are taken from the training images")
            break
    in_split: dict[str, set[str]] = {}
    for split in sorted(present):
        chosen = [index for index in order if splits[index] == split]
        in_split[split] = {classes[index] for index in chosen}
        _refuse_mixture(
            folder, [found.names[index] for index in chosen], [classes[index] for index in chosen]
        )
    everywhere = set().union(*in_split.values())
    if "" in everywhere and len(everywhere) > 1:
        flat = sorted(split for split in present if "" in in_split[split])
        notes.append(f"no class folders for {' and '.join(flat)}: classes are left out")
        everywhere = set()
    elif unknown := sorted(everywhere - in_split["train"]):
        notes.append(f"classes without training images: {', '.join(unknown)}")
    if notes:
        images.tell(f"{folder}: {'; '.join(notes)}")
    return (
        [found.names[index] for index in order],
        [splits[index] for index in order],
        [classes[index] for index in order] if len(everywhere) > 1 else None,
    )


def _refuse_mixture(folder: Path, names: Sequence[str], classes: Sequence[str]) -> None:
    """Refuses images beside class folders, whose class nobody knows."""
    flat = [name for name, group in zip(names, classes, strict=True) if not group]
    if flat and len(flat) < len(names):
        inside = next(name for name, group in zip(names, classes, strict=True) if group)
        raise InputError(
            f"--data {folder} holds images ({flat[0]}) beside sub-folders of images ({inside}): "
            "put all into one folder, or all into one sub-folder a class"
        )


def decoded(
    paths: Sequence[str], *, side: int | None = None, white: float = images.WHITE
) -> Generator[np.ndarray | str, None, None]:
    """The pictures in files, in order, decoded ahead by all processors in bounded memory.

    Args:
        paths: of image files.
        side: height and width of the results; None keeps the files' own.
        white: the value that becomes 255 in pictures of more than 8 bits.

    Returns:
        uint8 (height, width, 1|3) each, or the reason why one cannot be read.
    """
    return decoding.in_order(functools.partial(_decoded, side, white), paths)


def _decoded(side: int | None, white: float, path: str, claim: decoding.Claim) -> np.ndarray | str:
    try:
        return images.decode(path, side=side, white=white, claim=claim)
    except ValueError as error:
        return " ".join(str(error).split())[:80]


def white_of(place: str, paths: Sequence[str]) -> float:
    """The value that is white in a set's pictures of more than 8 bits; tells it where it is odd.

    All pictures of a set are scaled alike, by the number of bits that the set uses. One that uses
    all 16 is known by its first bright picture; one that uses fewer is read twice.

    Args:
        place: what the set is called.
        paths: of its files.
    """
    deep = [path for path in paths if path.lower().endswith(images.DEEP_SUFFIXES)]
    largest = 0.0
    with contextlib.closing(decoding.in_order(images.largest_value, deep)) as values:
        for value in values:
            largest = max(largest, value)
            if images.white_of(largest)[0] == images.WHITE:
                return images.WHITE
    white, bits = images.white_of(largest or images.WHITE)
    if largest:
        images.tell(
            f"{place}: its images of more than 8 bits use values up to {largest:g}: taken as "
            f"{bits} bits, {white:g} is white"
        )
    return white


def _with_progress(outcomes: Iterable[Any], total: int) -> Iterable[Any]:
    """The same, with a progress bar where there is a terminal and much to do."""
    if total < 2000 or not sys.stderr.isatty():
        return outcomes
    import tqdm

    return tqdm.tqdm(outcomes, total=total, unit="image", desc="reading", leave=False)


def judge_unreadable(place: str, unreadable: Sequence[str], total: int) -> None:
    """Says which images are skipped; refuses them all where more than one in ten is unreadable.

    Args:
        place: what they belong to.
        unreadable: name and reason of each image that cannot be read.
        total: readable and unreadable images.

    Raises:
        InputError: if more than one in ten cannot be read.
    """
    if not unreadable:
        return
    number = len(unreadable)
    more = f" and {number - _NAMED} more" if number > _NAMED else ""
    named = ", ".join(unreadable[:_NAMED]) + more
    if 10 * number > total:
        raise InputError(
            f"{place}: {number} of {total} images cannot be read, more than one in ten: {named}; "
            "repair or remove them"
        )
    images.tell(f"skipped {number} of {total} images that cannot be read: {named}")
