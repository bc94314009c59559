"""The folder that `apply` writes to: claimed by one command, gone on with by the same one."""

from __future__ import annotations

import csv
import io
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tqdm

from kerasunsup import config, images, runs

_RECORD = "apply.json"
_WORK = ".work"  # parts of what is being computed, until it is whole


class Output:
    """A folder whose files are each written whole or not at all, and nowhere else.

    Args:
        folder: created where it does not exist.
        identity: what the results follow from, as plain JSON values: verb, model, images and
            settings.

    Raises:
        config.InputError: if the folder holds something else, or results of another command.
        OSError: if it cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise config.InputError(f"--output {folder} is a file: choose a folder")
        record = folder / _RECORD
        self.is_done = False
        self._identity = dict(identity)
        if record.is_file():
            self._take_up(runs.read_json(record))
        elif folder.exists() and any(folder.iterdir()):
            raise config.InputError(
                f"--output {folder} holds files that are no results of apply: choose another folder"
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
        self._root = folder.resolve()
        self._work = folder / _WORK
        self._lock: io.TextIOWrapper | None = None
        if self.is_done:
            return
        self._work.mkdir(exist_ok=True)
        self._lock = runs.locked(
            self._work / "lock",
            f"--output {folder} is in use by another process: wait for it, or stop it first",
        )
        for leftover in folder.rglob(".*.part"):  # of a write that was killed
            leftover.unlink(missing_ok=True)
        if not record.exists():
            runs.write_json(record, {**self._identity, "done": False})

    def _take_up(self, found: Any) -> None:
        """Goes on with results that are there, if they are of the same command."""
        if not isinstance(found, dict):
            raise config.InputError(f"{self.folder / _RECORD} is damaged: choose another --output")
        for name, value in self._identity.items():
            if found.get(name) != value:
                if {path.name for path in self.folder.iterdir()} <= {_RECORD, _WORK}:
                    # It was refused before anything came of it: an image that did not fit, say.
                    shutil.rmtree(self.folder / _WORK, ignore_errors=True)
                    (self.folder / _RECORD).unlink()
                    return
                raise config.InputError(
                    f"--output {self.folder} holds results of another command: their {name} is "
                    f"{found.get(name)}, now it is {value}: choose another folder"
                )
        self.is_done = bool(found.get("done"))

    def path(self, name: str) -> Path:
        """Where a file of this name belongs; its folder is made.

        Args:
            name: relative, with '/' between folders.

        Raises:
            config.InputError: if it would lie outside the folder.
        """
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise config.InputError(f"the image's name {name!r} leads out of --output: rename it")
        path = self.folder / pure
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self._root):  # through a link that lies there
            raise config.InputError(
                f"--output {self.folder}: {path.parent} is a link out of it: remove the link"
            )
        return path

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """Writes an image, uint8 (height, width, 1|3), in the format that its name says."""
        runs.write_bytes(self.path(name), images.encode(pixels, os.path.splitext(name)[1]))

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Writes a CSV file; floats with six significant digits."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{v:.6g}" if isinstance(v, float | np.floating) else v for v in row])
        runs.write_bytes(self.path(name), buffer.getvalue().encode("utf-8", "surrogateescape"))

    def sheet(self, name: str, png: bytes) -> None:
        """Writes a picture that is encoded already."""
        runs.write_bytes(self.path(name), png)

    def arrays(self, name: str, values: Mapping[str, np.ndarray]) -> None:
        """Writes named arrays as one .npz."""
        runs.write_arrays(self.path(name), values)

    def part(self, name: str) -> Path:
        """Where a part of unfinished work is kept until `finish`."""
        return self._work / name

    def finish(self, **numbers: Any) -> None:
        """Says that all is done, removes the parts, and lets go of the folder."""
        runs.write_json(self.folder / _RECORD, {**self._identity, "done": True, "numbers": numbers})
        self.close()
        shutil.rmtree(self._work, ignore_errors=True)

    def close(self) -> None:
        """Lets go of the folder; what is unfinished stays for the next start."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Output:
        """The output itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Lets go of the folder."""
        self.close()


class Progress:
    """How far a long work is: a bar on a terminal, else a line every ten seconds.

    Args:
        total: items in all.
        unit: what an item is called.
    """

    def __init__(self, total: int, unit: str) -> None:
        self._total, self._unit, self._number = total, unit, 0
        self._began = self._told = time.monotonic()
        self._bar = tqdm.tqdm(total=total, unit=unit, leave=False) if runs.is_terminal() else None

    def advance(self, count: int) -> None:
        """So many more items are done."""
        self._number += count
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(count)
        elif now - self._told > 10.0:
            self._told = now
            rate = self._number / (now - self._began)
            print(
                f"{self._number:,} of {self._total:,} {self._unit}s, {rate:,.0f} a second",
                flush=True,
            )

    def __enter__(self) -> Progress:
        """The progress itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
