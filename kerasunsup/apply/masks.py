"""Masks that say which pixels of an image are missing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from kerasunsup.apply import image_stream
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.settings import path_of


class Masks:
    """Where images have holes: one mask for all images, one mask an image, or none.

    Args:
        place: a picture or a folder of pictures, as the user gave it; None for no mask.
        stream: the images.

    Attributes:
        fingerprint: a hex digest of the content of all masks; None where there are none.

    Raises:
        InputError: if a mask is missing or cannot be read.
    """

    def __init__(self, place: str | None, stream: image_stream.Stream) -> None:
        self._folder: Path | None = None
        self._mask: np.ndarray | None = None
        self.fingerprint: str | None = None
        if place is None:
            return
        path = path_of("--mask", place, is_written=False)
        if path.is_dir():
            missing = [name for name in stream.names if not (path / name).is_file()]
            if missing:
                raise InputError(
                    f"--mask {place} lacks masks of {len(missing)} images, such as {missing[0]}: "
                    "add them under the images' own names, or give one mask for all"
                )
            self._folder = path
            files = [path / name for name in stream.names]
        else:
            self._mask = _read_mask(path)
            files = [path]
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        self.fingerprint = digest.hexdigest()[:16]

    def of(self, name: str, picture: np.ndarray) -> np.ndarray | None:
        """An image's mask, bool (height, width, 1), True in the hole; None where there are none.

        Raises:
            InputError: if it cannot be read, or is not of the image's size.
        """
        mask = self._mask if self._folder is None else _read_mask(self._folder / name)
        if mask is not None and mask.shape[:2] != picture.shape[:2]:
            raise InputError(
                f"is {picture.shape[0]} x {picture.shape[1]} pixels and its mask "
                f"{mask.shape[0]} x {mask.shape[1]}: give a mask of the image's size"
            )
        return mask


def _read_mask(path: Path) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"--mask {path} is not there: give a picture or a folder of them")
    try:
        return images.with_channels(images.decode(path), 1) > 127
    except ValueError as error:
        raise InputError(f"--mask {path} cannot be read ({error})") from error
