"""Files that are moved away so that a kill at any moment loses none, and moved back.

`undo.csv` says where each file is to go before it goes there. A file is linked under its new name,
which fails where there is one already, and then loses the old one. On another disk it is copied,
compared and named last.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import filecmp
import hashlib
import io
import itertools
import logging
import os
import shutil
from pathlib import Path

from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.training import files

logger = logging.getLogger(__name__)

UNDO = "undo.csv"
_HEADER = ("file", "moved_to")
_LONGEST_NAME = 255  # bytes, which file systems take
# What a disk answers that cannot give a file a second name, or not there.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class Moves:
    """The record of moves in a folder.

    Args:
        folder: where `undo.csv` is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / UNDO
        self._places: dict[str, list[str]] = {}  # old path -> new paths
        for old, new in self.rows():
            self._places.setdefault(old, []).append(new)
        self._is_whole = False  # whether the record ends with a whole row

    @property
    def are_begun(self) -> bool:
        """Whether something was moved, or was about to be."""
        return self._path.exists()

    def rows(self) -> list[tuple[str, str]]:
        """(old path, new path) of each move, both absolute; a row that a kill cut off is none."""
        if not self.are_begun:
            return []
        text = _whole_rows(self._path.read_bytes()).decode("utf-8", "surrogateescape")
        rows = csv.reader(io.StringIO(text, newline=""))
        return [(row[0], row[1]) for row in rows if len(row) == 2 and tuple(row) != _HEADER]

    def begin(self) -> None:
        """Writes the record without a row."""
        files.write_bytes(self._path, (",".join(_HEADER) + "\n").encode())

    def move(self, source: str, wanted: str) -> bool:
        """Moves a file, or ends a move that was begun; nothing is written over.

        Args:
            source: its absolute path.
            wanted: the new one, absolute; a number is added to the name where it is taken.

        Returns:
            Whether it was still to be moved.

        Raises:
            InputError: if a file stands in the place of a folder that it goes to.
            OSError: if it cannot be moved; it keeps its old name.
        """
        for target in self._places.get(source, []):
            _remove(_part(target))
            if _is_same(source, target):  # it has both names: a kill came between
                os.unlink(source)
                return True
            if self.is_moved(source):
                return False
        while True:
            target = _free(wanted)
            _make_folder(os.path.dirname(target))
            self._write(source, target)
            with contextlib.suppress(FileExistsError):  # another program was faster
                _renamed(source, target)
                return True

    def is_moved(self, source: str) -> bool:
        """Whether a file is gone from its old path and at a new one."""
        places = self._places.get(source, [])
        return not os.path.lexists(source) and any(map(os.path.lexists, places))

    def _write(self, source: str, target: str) -> None:
        """Adds a row, and waits until the disk has it."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow((source, target))
        with self._path.open("r+b") as file:
            if not self._is_whole:
                file.truncate(len(_whole_rows(file.read())))
                self._is_whole = True
            file.seek(0, os.SEEK_END)
            file.write(buffer.getvalue().encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        self._places.setdefault(source, []).append(target)

    def undo(self) -> tuple[int, list[str]]:
        """Moves all back that stands where it was moved to, the last first.

        Returns:
            (number of files moved back, those that stay because their old name is taken).
        """
        back, staying, folders = 0, [], set()
        for old, new in reversed(self.rows()):
            folders.add(os.path.dirname(new))
            _remove(_part(new))
            _remove(_part(old))
            if not os.path.lexists(new):
                continue
            if _is_same(old, new):
                os.unlink(new)
            elif os.path.lexists(old):
                staying.append(new)
                continue
            else:
                os.makedirs(os.path.dirname(old), exist_ok=True)
                _renamed(new, old)
            back += 1
        _remove_empty(folders)
        if not staying:
            self._path.unlink(missing_ok=True)
        return back, staying


def _whole_rows(content: bytes) -> bytes:
    """A table without a last row that a kill cut off, maybe at a line break inside a name."""
    end = content.rfind(b"\n") + 1
    while content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end]


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"--move-to: {images.shown(str(error.filename))} is no folder: move it away and give "
            "the same command again, or --undo"
        ) from None


def _remove_empty(folders: set[str]) -> None:
    """Removes those of the folders, and those between them, that hold nothing any more."""
    if not folders:
        return
    top = os.path.commonpath(folders)
    for folder in sorted(folders, key=len, reverse=True):
        with contextlib.suppress(OSError):  # it holds something, or is gone
            while True:
                os.rmdir(folder)
                if folder == top:
                    break
                folder = os.path.dirname(folder)


def _is_same(one: str, other: str) -> bool:
    """Whether two paths are names of one file, or hold the same."""
    if not (os.path.lexists(one) and os.path.lexists(other)):
        return False
    if os.path.samestat(os.lstat(one), os.lstat(other)):
        return True
    return os.path.isfile(one) and os.path.isfile(other) and filecmp.cmp(one, other, shallow=False)


def _free(wanted: str) -> str:
    """The path, or the first with a number in its name that is not taken."""
    if not os.path.lexists(wanted):
        return wanted
    folder, name = os.path.split(wanted)
    stem, suffix = os.path.splitext(name)
    for number in itertools.count(2):
        added = f"-{number}{suffix}"
        while stem and len(os.fsencode(stem + added)) > _LONGEST_NAME:
            stem = stem[:-1]
        target = os.path.join(folder, stem + added)
        if not os.path.lexists(target):
            return target
    raise AssertionError("numbers do not end")


def _renamed(source: str, target: str) -> None:
    """Gives a file a new name that is not taken.

    Raises:
        FileExistsError: if it is taken.
        OSError: if the place cannot be written; the file keeps its old name.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copied(source, target)
    os.unlink(source)


def _copied(source: str, target: str) -> None:
    """Copies a file to another disk, compares both, and names the copy last."""
    part = _part(target)
    _remove(part)  # what a kill left
    try:
        shutil.copy2(source, part, follow_symlinks=False)
        if not os.path.islink(part):
            with open(part, "rb") as file:
                os.fsync(file.fileno())
            if not filecmp.cmp(source, part, shallow=False):
                raise OSError(errno.EIO, "the copy differs from the file", images.shown(target))
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(part, target)
    finally:
        _remove(part)


def _part(target: str) -> str:
    """The name of a copy that is not whole yet: always the same, so that it is found again."""
    folder, name = os.path.split(target)
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()
    return os.path.join(folder, f".{digest}.moving.part")


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
