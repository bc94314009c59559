"""The files that `apply` writes: images, tables, codes and contact sheets, each whole or none."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.training import files as training_files

_NAMES_AT_A_TIME = 1024
_FLOATS = (float, np.floating)


class ResultFiles:
    """Writes files into one folder and nowhere else.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = folder.resolve()

    def path(self, name: str) -> Path:
        """The path of a file of this name; the folder that it lies in is made.

        Args:
            name: relative, with '/' between folders.

        Raises:
            InputError: if the file would lie outside the folder.
        """
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise InputError(f"the image's name {name!r} leads out of --output: rename it")
        path = self.folder / pure
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self._root):  # through a link inside the folder
            raise InputError(
                f"--output {self.folder}: {path.parent} is a link out of it: remove the link"
            )
        return path

    def write_picture(self, name: str, pixels: np.ndarray) -> None:
        """Writes an image, uint8 (height, width, 1|3), in the format that its name says."""
        self.write(name, images.encode(pixels, os.path.splitext(name)[1]))

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Writes a file of any kind."""
        training_files.write_bytes(self.path(name), content)

    def write_table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Writes a CSV file; floats get six significant digits.

        Python's `csv` module reads all names back unchanged (`newline=""`, UTF-8 with
        surrogateescape).
        """
        buffer = io.StringIO()
        plain = csv.writer(buffer, lineterminator="\n")
        # The writer leaves a lone carriage return unquoted, and a reader would end the row there.
        quoted = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
        plain.writerow(header)
        for row in rows:
            fields = [f"{v:.6g}" if isinstance(v, _FLOATS) else str(v) for v in row]
            (quoted if "\r" in "".join(fields) else plain).writerow(fields)
        self.write(name, buffer.getvalue().encode("utf-8", "surrogateescape"))

    def write_codes(self, name: str, codes: np.ndarray, files: Sequence[str]) -> None:
        """Writes a .npz of `codes` and of `files`, the names of the images that they belong to.

        An array of text is as wide in every row as its longest name, so it is made and compressed
        a few rows at a time.

        Args:
            name: the name of the .npz.
            codes: float32 (num_images, latent_dim).
            files: (num_images,); a byte that is no UTF-8 is a lone surrogate, as in `os`.
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
        self.write(name, buffer.getbuffer())
