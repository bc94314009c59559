"""The image files in a folder and below, with links followed and litter passed over."""

from __future__ import annotations

import collections
import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from kerasunsup.data import images
from kerasunsup.errors import InputError

_NAMED = 10  # kinds of files that are left out, in one line
# What systems and cameras leave behind in folders, in lower case.
_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}
_TWICE = "linked to what is read already"


class FolderWalk:
    """The image files in a folder and below.

    Links are followed after all else, so that what lies in the folder itself keeps its own name.
    Whatever was met before is left out, so that a loop of links ends.

    Attributes:
        names: relative, with '/'.
        folders: relative names of all sub-folders.
        left_out: ending, or kind such as `named pipe` -> number of files that are left out.
        examples: a name of each kind that is not told by an ending.

    Args:
        root: the folder.
        without: a folder that is not entered; None enters all.
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
        """Takes what lies in one folder; yields the folders that are to be entered next."""
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
        """Takes what a link leads to; yields it where it is a folder that is to be entered."""
        try:
            state = os.stat(os.path.join(self._root, name))
        except OSError:  # it leads nowhere: the reason is told when the image is read
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
                for earlier in self.names:
                    with contextlib.suppress(OSError):
                        self._seen_files.add(_identity(os.stat(os.path.join(self._root, earlier))))
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


def listed(folder: Path, *, without: Path | None = None) -> FolderWalk:
    """The image files in a folder and below; says in one line what is left out.

    Hidden files and what systems leave behind in folders (Thumbs.db) are passed over in silence.

    Args:
        folder: an existing folder.
        without: a folder that is not entered, such as the one that results go to.

    Raises:
        InputError: if a folder cannot be read, or there is no image.
    """
    try:
        walk = FolderWalk(folder, without)
    except OSError as error:
        raise InputError(
            f"--data {error.filename or folder} cannot be read: {error.strerror}"
        ) from error
    walk.names.sort()
    total = walk.left_out.total()
    if not walk.names:
        what_is_there = f"none of its {total} files is an image" if total else "the folder is empty"
        raise InputError(
            f"--data {folder}: {what_is_there}: give a folder of {images.KINDS} images, or of IDX "
            "files"
        )
    if total:
        kinds = [
            f"{number} {kind}" + (f" ({walk.examples[kind]})" if kind in walk.examples else "")
            for kind, number in walk.left_out.most_common()
        ]
        more = f" and {len(kinds) - _NAMED} further kinds" if len(kinds) > _NAMED else ""
        images.tell(f"{folder}: left out: {', '.join(kinds[:_NAMED])}{more}")
    return walk
