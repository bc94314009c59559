"""The image files in a folder and below, with links followed and litter passed over."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import stat
from pathlib import Path

from kerasunsup.data import images
from kerasunsup.errors import InputError

_NAMED = 10  # kinds of files that are left out, in one line
# What systems and cameras leave behind in folders, in lower case.
_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}
_TWICE = "linked to what is read already"
# Files by which a folder is one of results: of `apply`, of a run, of a search.
_RESULTS = ({"apply.json"}, {"config.json", "environment.json"}, {"best.json", "record.json"})


class FolderWalk:
    """The image files in a folder and below.

    Links are followed after all else, so that what lies in the folder itself keeps its own name.
    Whatever was met before is left out, so that a loop of links ends. So are sub-folders with
    results of this package, whose sheets and figures are no images of the folder.

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
        self._unwanted = None
        with contextlib.suppress(OSError):  # it is not there, or cannot be: who writes to it tells
            self._unwanted = _identity(os.stat(without)) if without else None
        self._seen_folders = {_identity(os.stat(root))}
        self._pending: collections.deque[tuple[str, bool]] = collections.deque([("", False)])
        self._links: collections.deque[str] = collections.deque()
        while self._pending or self._links:
            if self._pending:
                self._look_inside(*self._pending.popleft())
            else:
                self._follow(self._links.popleft())

    def _look_inside(self, prefix: str, is_linked: bool) -> None:
        """Takes what lies in one folder; links, and all that a link led to, wait."""
        with os.scandir(os.path.join(self._root, prefix)) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
            if prefix and any(results <= {entry.name for entry in entries} for results in _RESULTS):
                self.folders.remove(prefix[:-1])
                self._leave_out(prefix[:-1], "folder of results")
                return
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _LITTER:
                    continue
                name = prefix + entry.name
                if is_linked or entry.is_symlink():
                    self._links.append(name)
                elif entry.is_dir():
                    self._enter(name, os.stat(entry.path), is_linked)
                elif entry.is_file():
                    self._take(name)
                else:
                    self._leave_out(name, _kind(entry.stat().st_mode))

    def _follow(self, name: str) -> None:
        """Takes what a link leads to."""
        try:
            state = os.stat(os.path.join(self._root, name))
        except OSError:  # it leads nowhere: the reason is told when the image is read
            self._take(name)
            return
        if stat.S_ISDIR(state.st_mode):
            self._enter(name, state, is_linked=True)
        elif not stat.S_ISREG(state.st_mode):
            self._leave_out(name, _kind(state.st_mode))
        elif not _is_image(name):
            self._take(name)
        elif _identity(state) in self._seen_files:
            self._leave_out(name, _TWICE)
        else:
            self._seen_files.add(_identity(state))
            self.names.append(name)

    @functools.cached_property
    def _seen_files(self) -> set[tuple[int, int]]:
        """The image files that no link led to; those that one leads to are added."""
        seen = set()
        for name in self.names:
            with contextlib.suppress(OSError):
                seen.add(_identity(os.stat(os.path.join(self._root, name))))
        return seen

    def _enter(self, name: str, state: os.stat_result, is_linked: bool) -> None:
        if _identity(state) in self._seen_folders:
            self._leave_out(name, _TWICE)
        elif _identity(state) != self._unwanted:
            self._seen_folders.add(_identity(state))
            self.folders.append(name)
            self._pending.append((name + "/", is_linked))

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
