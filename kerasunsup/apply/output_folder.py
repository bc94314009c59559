"""The folder that `apply` writes to: claimed by one command, gone on with by the same one."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.training import files as training_files

_RECORD = "apply.json"
_WORK = ".work"  # parts of what is being computed, until it is whole
_LOCK = "lock"  # in it
_NAMES_AT_A_TIME = 1024


class Output:
    """A folder whose files are each written whole or not at all, and nowhere else.

    Args:
        folder: created where it does not exist.
        identity: what the results follow from, as plain JSON values: verb, model, images and
            settings.

    Raises:
        InputError: if the folder holds something else, or results of another command.
        OSError: if it cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._identity = dict(identity)
        self._work = folder / _WORK
        self._lock: io.TextIOWrapper | None = None
        self._is_held = False
        self._is_new = not folder.exists()
        self._make_folder()
        self._root = folder.resolve()
        # Finished results need no lock: they may lie on a disk that cannot be written.
        self.is_done = self._is_finished()
        if self.is_done:
            return
        # Before the lock nothing is taken up and nothing removed: it may belong to another process.
        self._take_lock()
        try:
            self.is_done = self._is_finished()  # it may have come to its end just now
            if self.is_done:
                self.close()
                return
            for leftover in folder.rglob(".*.part"):  # of a write that was killed
                if leftover.is_file():
                    leftover.unlink(missing_ok=True)
            training_files.write_json(folder / _RECORD, {**self._identity, "done": False})
        except BaseException:
            self.close()
            raise

    def _make_folder(self) -> None:
        """Makes it where it is missing; refuses one that belongs to something else."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                f"--output {self.folder} cannot be a folder ({error.strerror}): choose another"
            ) from None
        names = {path.name for path in self.folder.iterdir()}
        if _RECORD not in names and not names <= {_WORK}:
            raise InputError(
                f"--output {self.folder} holds files that are no results of apply: choose another "
                "folder"
            )

    def _is_finished(self) -> bool:
        """Whether all results of this command are there.

        Raises:
            InputError: if the folder holds results of another command; of one that is not
                finished only under the lock, as it may be at work.
        """
        record = self.folder / _RECORD
        if not record.is_file():
            return False
        found = training_files.read_json(record)
        if not isinstance(found, dict):
            raise InputError(f"{record} is damaged: choose another --output")
        if not found.get("done") and not self._is_held:
            return False
        for name, value in self._identity.items():
            if found.get(name, value) != value and not self._is_untouched():
                other = "other" if name.startswith("images") else "another"
                difference = (
                    f"their {name} is {found.get(name)}, now it is {value}"
                    if name == "verb" or name.startswith("--")
                    else f"they were made with {other} {name}"
                )
                raise InputError(
                    f"--output {self.folder} holds results of another command: {difference}: "
                    "choose another folder"
                )
        return bool(found.get("done")) and not self._is_untouched()

    def _is_untouched(self) -> bool:
        """Whether nothing has come of the command that the folder was made for."""
        names = {path.name for path in self.folder.iterdir()}
        parts = {path.name for path in self._work.iterdir()} if self._work.is_dir() else set()
        return names <= {_RECORD, _WORK} and parts <= {_LOCK}

    def _take_lock(self) -> None:
        while not self._is_held:
            self._work.mkdir(exist_ok=True)
            path = self._work / _LOCK
            with contextlib.suppress(FileNotFoundError):  # removed by one that came to its end
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

    def path(self, name: str) -> Path:
        """Where a file of this name belongs; its folder is made.

        Args:
            name: relative, with '/' between folders.

        Raises:
            InputError: if it would lie outside the folder.
        """
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise InputError(f"the image's name {name!r} leads out of --output: rename it")
        path = self.folder / pure
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self._root):  # through a link that lies there
            raise InputError(
                f"--output {self.folder}: {path.parent} is a link out of it: remove the link"
            )
        return path

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Writes an image, uint8 (height, width, 1|3), in the format that its name says."""
        training_files.write_bytes(
            self.path(name), images.encode(pixels, os.path.splitext(name)[1])
        )

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Writes a CSV file; floats with six significant digits.

        Python's `csv` module reads the very names back (`newline=""`, UTF-8 with surrogateescape).
        """
        buffer = io.StringIO()
        plain = csv.writer(buffer, lineterminator="\n")
        # A lone carriage return would end the row for a reader, and the writer does not quote it.
        quoted = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
        plain.writerow(header)
        for row in rows:
            fields = [f"{v:.6g}" if isinstance(v, float | np.floating) else str(v) for v in row]
            (quoted if any("\r" in field for field in fields) else plain).writerow(fields)
        training_files.write_bytes(
            self.path(name), buffer.getvalue().encode("utf-8", "surrogateescape")
        )

    def sheet(self, name: str, png: bytes) -> None:
        """Writes a picture that is encoded already."""
        training_files.write_bytes(self.path(name), png)

    def codes(self, name: str, codes: np.ndarray, files: Sequence[str]) -> None:
        """Writes a .npz of `codes` and `files`, the codes' images by name, as an array of text.

        Such an array is as wide in every row as its longest name: it is made and compressed a few
        rows at a time.

        Args:
            name: of the file.
            codes: float32 (num_images, latent_dim).
            files: (num_images,); a byte that is no UTF-8 is a lone surrogate, as `os` names files.
        """
        buffer = io.BytesIO()
        dtype = np.dtype(f"<U{max(map(len, files), default=1)}")
        header = {"descr": dtype.str, "fortran_order": False, "shape": (len(files),)}
        with zipfile.ZipFile(buffer, "w") as archive:
            with archive.open("codes.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, codes, allow_pickle=False)
            compressed = zipfile.ZipInfo("files.npy")
            compressed.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(compressed, "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for start in range(0, len(files), _NAMES_AT_A_TIME):
                    block = np.array(files[start : start + _NAMES_AT_A_TIME], dtype)
                    member.write(block.tobytes())
        training_files.write_bytes(self.path(name), buffer.getbuffer())

    def part(self, name: str) -> Path:
        """Where a part of unfinished work is kept until `finish`."""
        return self._work / name

    def finish(self, **numbers: Any) -> None:
        """Says that all is done, removes the parts, and lets go of the folder."""
        training_files.write_json(
            self.folder / _RECORD, {**self._identity, "done": True, "numbers": numbers}
        )
        self.is_done = True
        self.close()

    def close(self, *, is_refused: bool = False) -> None:
        """Lets go of the folder; unfinished work stays for the next start.

        Args:
            is_refused: the command cannot be done as it is, so that its work is of no use.
        """
        if not self._is_held:
            return
        self._is_held = False
        names = {path.name for path in self.folder.iterdir()}
        came_to_nothing = names <= {_RECORD, _WORK} and (is_refused or self._is_untouched())
        # The lock goes last: until then nobody else takes the folder up.
        if not self.is_done and came_to_nothing:
            (self.folder / _RECORD).unlink(missing_ok=True)
        if self.is_done or came_to_nothing:
            shutil.rmtree(self._work, ignore_errors=True)
        if not self.is_done and came_to_nothing and self._is_new:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Output:
        """The output itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Lets go of the folder."""
        self.close(is_refused=kind is not None and issubclass(kind, InputError))
