"""The folder that `apply` writes to: one command claims it, and only the same one goes on in it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerasunsup.apply.result_files import ResultFiles
from kerasunsup.apply.settings import INDEX
from kerasunsup.errors import InputError
from kerasunsup.training import files as training_files

RECORD = "apply.json"
_WORK = ".work"  # holds the lock, and parts of results until all is done
_LOCK = "lock"
# What results may be made of, in a record of them; None where a command has none of it.
SOURCES = (
    "model", "file of --codes", "file of --query", "file of --reference", "images of --query",
    "images of --reference", "images of --against", "sampler", "mask",
)  # fmt: skip
FOLDER = "folder of images"  # in the record; where it lies
_UNREADABLE = "unreadable*.csv"  # tables that are no result of their own


class OutputFolder:
    """A folder that belongs to one command and, while that is at work, to one process.

    Args:
        folder: is created where it does not exist.
        identity: what the results follow from, as plain JSON values: verb, model, images and
            settings.
        may_grow: whether results of other images of the same folder are gone on with.
        tries_again: whether results are not done while images could not be read: rights, or the
            disk, may have been mended.

    Attributes:
        files: writes the results.
        is_done: whether all results are there.

    Raises:
        InputError: if the folder holds something else, or results of another command.
        OSError: if it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        may_grow: bool = False,
        tries_again: bool = False,
    ) -> None:
        self.folder, self._may_grow, self._tries_again = folder, may_grow, tries_again
        self._identity = dict(identity)
        self._work = folder / _WORK
        self._lock: io.TextIOWrapper | None = None
        self._is_held = False
        self._is_new = not folder.exists()
        _make(folder)
        self.files = ResultFiles(folder)
        # Finished results need no lock: they may lie on a disk that cannot be written.
        self.is_done = self._is_finished()
        if self.is_done:
            return
        # Before the lock is held nothing is removed: it may belong to another process.
        self._take_lock()
        try:
            self.is_done = self._is_finished()  # another process may just have finished
            if self.is_done:
                self.close()
                return
            for leftover in folder.rglob(".*.part"):  # a killed write left it
                if leftover.is_file():
                    leftover.unlink(missing_ok=True)
            training_files.write_json(folder / RECORD, {**self._identity, "done": False})
        except BaseException:
            self.close()
            raise

    def _is_finished(self) -> bool:
        """Whether all results of this command are there; refuses those of another command.

        Unfinished ones are refused under the lock only: until then that command may be at work.
        """
        path = self.folder / RECORD
        record = training_files.read_json(path) if path.is_file() else {}
        if not isinstance(record, dict):
            raise InputError(f"{path} is damaged: choose another --output")
        if not (record.get("done") or self._is_held) or self._is_untouched():
            return False
        differing = _differing(record, self._identity)
        # Of finished results an index tells what they are of; unfinished ones are begun anew.
        has_index = (self.folder / INDEX).is_file()
        if differing == ["images"] and self._may_grow and (has_index or not record.get("done")):
            return False
        if differing:
            told = difference(differing[0], record, self._identity)
            raise InputError(
                f"--output {self.folder} holds results of another command: {told}: "
                "choose another folder"
            )
        is_whole = not (self._tries_again and any(self.folder.glob(_UNREADABLE)))
        return bool(record.get("done")) and is_whole

    def _is_untouched(self) -> bool:
        """Whether the folder holds no result and no part of one."""
        names = {path.name for path in self.folder.iterdir()}
        parts = {path.name for path in self._work.iterdir()} if self._work.is_dir() else set()
        return names <= {RECORD, _WORK} and parts <= {_LOCK}

    def _take_lock(self) -> None:
        """Locks the folder; a lock file that its owner removed meanwhile is no lock."""
        while not self._is_held:
            self._work.mkdir(exist_ok=True)
            path = self._work / _LOCK
            with contextlib.suppress(FileNotFoundError):  # its owner finished and removed it
                self._lock = training_files.locked(
                    path,
                    f"--output {self.folder} is in use by another process: wait for it, or stop it "
                    "first",
                )
                if self._lock is None:
                    self._is_held = True
                    return
                try:
                    self._is_held = os.path.samestat(os.fstat(self._lock.fileno()), path.stat())
                finally:
                    if not self._is_held:
                        self._lock.close()

    def part(self, name: str) -> Path:
        """The path at which a part of the work is kept until `finish`."""
        return self._work / name

    def finish(self, **numbers: Any) -> None:
        """Records that all is done, removes the parts and releases the folder."""
        training_files.write_json(
            self.folder / RECORD, {**self._identity, "done": True, "numbers": numbers}
        )
        self.is_done = True
        self.close()

    def close(self, *, is_refused: bool = False) -> None:
        """Releases the folder; unfinished work stays for the next start.

        Args:
            is_refused: whether the command cannot be done as it is, so that its work is of no use.
        """
        if not self._is_held:
            return
        self._is_held = False
        passed_over = _UNREADABLE if is_refused else RECORD
        names = {path.name for path in self.folder.iterdir() if not path.match(passed_over)}
        came_to_nothing = names <= {RECORD, _WORK} and (is_refused or self._is_untouched())
        # The lock is released last: until then no other process uses the folder.
        if not self.is_done and came_to_nothing:
            _remove([self.folder / RECORD, *self.folder.glob(_UNREADABLE)])
        if self.is_done or came_to_nothing:
            shutil.rmtree(self._work, ignore_errors=True)
        if not self.is_done and came_to_nothing and self._is_new:
            _remove_folder(self.folder)
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> OutputFolder:
        """Returns the folder itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Releases the folder."""
        self.close(is_refused=kind is not None and issubclass(kind, InputError))


def _make(folder: Path) -> None:
    """Makes the folder where it is missing; refuses one that belongs to something else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"--output {folder} cannot be a folder ({error.strerror}): choose another"
        ) from None
    names = {path.name for path in folder.iterdir()}
    if RECORD not in names and not names <= {_WORK}:
        raise InputError(
            f"--output {folder} holds files that are no results of apply: choose another folder"
        )


def _remove_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another program uses it
        folder.rmdir()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def holds(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a folder holds results, or unfinished ones, of this very command."""
    path = folder / RECORD
    found = training_files.read_json(path) if path.is_file() else {}
    return isinstance(found, dict) and all(
        name in found and found[name] == now for name, now in identity.items()
    )


def _differing(record: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """The names in which a command of before and one of now differ."""
    differing = [
        name
        for name, now in identity.items()
        # Records of before a setting existed lack it; what was made of something names it.
        if record.get(name, None if name in SOURCES else now) != now
    ]
    if FOLDER in differing and "images" not in differing:
        differing.remove(FOLDER)  # it was moved as it is
    return differing


def difference(name: str, record: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """How a command of before and one of now differ in one name, in words."""
    if name == "verb" or name.startswith("--"):
        return f"their {name} is {record[name]}, now it is {identity[name]}"
    return f"they were made with {'other' if name.startswith('images') else 'another'} {name}"
