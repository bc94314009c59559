"""A collection of images in parts, each made once, by any number of processes and machines.

The sorted list of images is cut into parts of 1,024. A part is one file, `parts/00042.npz` in the
output folder, written whole or not at all. One that stands is never made again: so a stopped
command goes on, a failed one is given again, and a collection that grew costs what is new.

Each part holds a fingerprint of the model and the settings, and one of its own images. Parts of
another model are refused; parts whose images changed are made again.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.apply.image_stream import Stream
from kerasunsup.apply.output_folder import RECORD, difference, holds
from kerasunsup.errors import InputError
from kerasunsup.progress import Progress
from kerasunsup.training import files as training_files

logger = logging.getLogger(__name__)

SIZE = 1024  # images
_FOLDER = "parts"
_LOCKS = ".locks"
_WHITE = "white.json"
_RECORD_BYTE = 1 << 40  # of the file of locks: behind the bytes of all parts

# Makes the part of the images at some positions; returns its arrays. Tells `Progress` of images.
Make = Callable[[range, Progress], Mapping[str, np.ndarray]]


def are_in(folder: Path) -> bool:
    """Whether an output folder holds parts."""
    return (folder / _FOLDER / _LOCKS).is_file()


class Parts:
    """The parts of one stream of images in one output folder.

    Args:
        folder: the output folder.
        made_by: what a part follows from beside its images, as plain JSON values.
        stream: all images.

    Attributes:
        stream: all images; those of more than 8 bits are scaled alike in all parts.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any], stream: Stream) -> None:
        self.stream = self._given = stream
        self._folder = folder
        content = json.dumps(made_by, sort_keys=True)
        self._made_by = hashlib.sha256(content.encode()).hexdigest()[:16]
        white = folder / _FOLDER / _WHITE
        if white.is_file():
            self._set_white(float(training_files.read_json(white)))

    def __len__(self) -> int:
        return -(-len(self.stream) // SIZE)

    def positions(self, index: int) -> range:
        """The positions in the stream of the images of a part."""
        return range(index * SIZE, min((index + 1) * SIZE, len(self.stream)))

    def path(self, index: int) -> Path:
        """The file of a part."""
        return self._folder / _FOLDER / f"{index:05d}.npz"

    def missing(self) -> list[int]:
        """The parts that do not stand.

        Raises:
            InputError: if one was made by another model or by other settings.
        """
        return [index for index in range(len(self)) if not self._stands(index)]

    def check_whole(self) -> None:
        """Refuses a folder in which a part is missing.

        Raises:
            InputError: if one is missing, or of other images, another model or other settings.
        """
        if not are_in(self._folder):
            raise InputError(
                f"--codes {self._folder} holds no parts: make them by encode MODEL IMAGES --output "
                f"{self._folder} --shard 1/1"
            )
        missing = self.missing()
        if missing:
            raise InputError(
                f"--codes {self._folder}: {len(missing)} of {len(self)} parts are missing or of "
                f"other images, such as {self.path(missing[0])}: go on by encode MODEL IMAGES "
                f"--output {self._folder}, with the same --limit and --part"
            )
        with np.load(self.path(0), allow_pickle=False) as part:
            if "codes" not in part:
                raise InputError(
                    f"--codes {self._folder} holds parts of restore: give those of encode"
                )

    def arrays(self, *names: str) -> Iterator[dict[str, np.ndarray]]:
        """Arrays of these names from all parts, in their order; no others are read."""
        for index in range(len(self)):
            with np.load(self.path(index), allow_pickle=False) as part:
                yield {name: part[name] for name in names}

    def make(self, indices: Iterable[int], make: Make, locks: Locks) -> collections.Counter[str]:
        """Makes those of some parts that do not stand and that no other process is making.

        Returns:
            How many were `made`, how many were `there` already, and how many are `busy`: another
            process is making them.
        """
        counts: collections.Counter[str] = collections.Counter()
        ordered = list(indices)
        with Progress(sum(len(self.positions(index)) for index in ordered), "image") as progress:
            done = 0
            for index in ordered:
                counts[self._make_one(index, make, locks, progress)] += 1
                done += len(self.positions(index))
                progress.advance_to(done)
        if counts["changed"]:
            logger.info(f"parts made again, as their images had changed: {counts['changed']}")
            counts["made"] += counts.pop("changed")
        return counts

    def _make_one(self, index: int, make: Make, locks: Locks, progress: Progress) -> str:
        if self._stands(index):
            return "there"
        with locks.of_part(index) as is_ours:
            if not is_ours:
                return "busy"
            if self._stands(index):  # made since the first look
                return "there"
            state = "changed" if self.path(index).exists() else "made"
            # Of the images before they are read: what changes meanwhile is made again.
            own: dict[str, Any] = {
                "made_by": np.str_(self._made_by),
                "images": np.str_(self._stamp(index)),
            }
            arrays = make(self.positions(index), progress)
            training_files.write_arrays(self.path(index), {**arrays, **own})
        return state

    def _stands(self, index: int) -> bool:
        try:
            with self.path(index).open("rb") as file, np.load(file, allow_pickle=False) as part:
                made_by, images = str(part["made_by"]), str(part["images"])
        except FileNotFoundError:
            return False
        except (
            Exception
        ):  # a damaged one is made again; zipfile and NumPy raise errors of their own
            return False
        if made_by != self._made_by:
            raise InputError(
                f"{self.path(index)} was made by another model or with other settings: give those, "
                "or choose another folder"
            )
        return images == self._stamp(index)

    def _stamp(self, index: int) -> str:
        content = f"{self.stream.stamp(self.positions(index))} {self.stream.white():g}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def scale_alike(self, *, again: bool) -> None:
        """Finds the value that is white in images of more than 8 bits, and keeps it for all parts.

        Args:
            again: whether it is looked for where it is kept already: the collection may have grown.
                If it is another one, all parts will be made again.
        """
        path = self._folder / _FOLDER / _WHITE
        kept = float(training_files.read_json(path)) if path.is_file() else None
        if kept is None or again:
            white = float(self._given.white())
            if white != kept:
                training_files.write_json(path, white)
            kept = white
        self._set_white(kept)

    def _set_white(self, white: float) -> None:
        self.stream = dataclasses.replace(self._given, white=lambda: white)


class Locks:
    """Who is making which part: one file, of which each process locks the bytes of its parts.

    The system releases a lock when its process ends. Where a file system has no locks, two
    processes may make the same part: the later one puts an equal file in the place of the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / _FOLDER / _LOCKS).open("a+b")

    @contextlib.contextmanager
    def of_part(self, index: int) -> Iterator[bool]:
        """Whether the part is this process's while the context lasts."""
        is_ours = self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, 1, index)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._lock(fcntl.LOCK_UN, 1, index)

    @contextlib.contextmanager
    def of_record(self) -> Iterator[None]:
        """One process at a time looks who owns the folder."""
        self._lock(fcntl.LOCK_EX, 1, _RECORD_BYTE)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_UN, 1, _RECORD_BYTE)

    @contextlib.contextmanager
    def of_all(self) -> Iterator[None]:
        """No other process makes parts.

        Raises:
            InputError: if one does.
        """
        if not self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 0):
            raise InputError(
                f"--output {self._folder} is in use by another process: wait for it, or stop it "
                "first"
            )
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_UN, 0, 0)

    def is_alone(self) -> bool:
        """Whether no other process makes a part at this moment."""
        is_alone = self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, _RECORD_BYTE, 0)
        if is_alone:
            self._lock(fcntl.LOCK_UN, _RECORD_BYTE, 0)
        return is_alone

    def _lock(self, kind: int, length: int, start: int) -> bool:
        try:
            fcntl.lockf(self._file, kind, length, start)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def close(self) -> None:
        """Releases all locks."""
        self._file.close()

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def claim(folder: Path, record: Mapping[str, Any]) -> Locks:
    """Makes an output folder one of parts, or finds that it is one of the same command.

    Args:
        folder: is made where it does not exist.
        record: the verb, and what its parts follow from beside their images.

    Raises:
        InputError: if the folder holds something else, or parts of another command.
    """
    place = folder / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir() if not path.name.endswith(".part")}
        if not are_in(folder):
            if RECORD in names:
                raise InputError(
                    f"--output {folder} holds results that were not made in parts: choose another "
                    "folder"
                )
            if names - {_FOLDER} or (place.is_dir() and any(place.iterdir())):
                raise InputError(
                    f"--output {folder} holds files that are no results of apply: choose another "
                    "folder"
                )
        place.mkdir(exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"--output {folder} cannot be a folder ({error.strerror}): choose another"
        ) from None
    locks = Locks(folder)
    try:
        with locks.of_record():
            _check_record(folder, record, locks)
    except BaseException:
        locks.close()
        raise
    return locks


def _check_record(folder: Path, record: Mapping[str, Any], locks: Locks) -> None:
    path = folder / RECORD
    found = training_files.read_json(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: choose another --output")
    differing = [name for name, now in record.items() if found.get(name, now) != now]
    if differing and (any((folder / _FOLDER).glob("*.npz")) or not locks.is_alone()):
        raise InputError(
            f"--output {folder} holds results of another command: "
            f"{difference(differing[0], found, record)}: choose another folder"
        )
    if not found or differing:  # nothing came of the command before
        training_files.write_json(path, {**record, "done": False})


def is_joined(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the parts were put together already, by the same command."""
    return holds(folder, {**identity, "done": True})


def reopen(folder: Path, record: Mapping[str, Any]) -> None:
    """Lets the command that puts all parts together write into the folder, once more if needed."""
    training_files.write_json(folder / RECORD, {**record, "done": False})
    for leftover in (folder / _FOLDER).glob(".*.part"):
        with contextlib.suppress(OSError):
            os.unlink(leftover)


def have_errors(made: Parts) -> bool:
    """Whether parts hold errors of reconstructions: those of a model that only encodes do not."""
    part = next(made.arrays("codes", "errors"))
    return 0 < len(part["codes"]) == len(part["errors"])
