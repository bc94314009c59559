"""The index that `encode` keeps: codes of images, and all that is needed to go on with them.

`similar INDEX --query new.png` searches it without IMAGES, and the same `encode` encodes only the
images that are new or changed. It is `codes.npz`, which users read too, and beside it `index.npz`:
the model, how the images were brought into its shape, and size and time of each file. A query is
compared with all codes, which takes less time than to read them, so nothing else is kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.apply import encoded_images, image_stream
from kerasunsup.apply.encoded_images import EncodedImages
from kerasunsup.apply.settings import INDEX, ApplySettings
from kerasunsup.data import from_folder
from kerasunsup.errors import InputError
from kerasunsup.models import loading
from kerasunsup.training import files

logger = logging.getLogger(__name__)

_CODES = "codes.npz"
_NO_FILE = -1


@dataclasses.dataclass(frozen=True)
class KeptIndex:
    """What `encode` wrote.

    Attributes:
        folder: that it wrote to.
        names: of the images.
        codes: float32 (num_images, latent_dim).
        stamps: int64 (num_images, 2), size and time of each file; -1 where there is none.
        lowest: as in `EncodedImages`.
        highest: as in `EncodedImages`.
        model: the path of the model.
        fingerprint: of the model.
        what: what the user called the images.
        root: the folder that the names start from; None where the images were no files.
        resize: whether `--resize` was given.
        grey: whether `--grey` was given.
        white: the value that is white in files of more than 8 bits.
        digest: of names and codes.
    """

    folder: Path
    names: list[str]
    codes: np.ndarray
    stamps: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    model: Path
    fingerprint: str
    what: str
    root: Path | None
    resize: bool
    grey: bool
    white: float
    digest: str

    @property
    def has_pictures(self) -> bool:
        """Whether the images were files, which can be shown."""
        return self.root is not None

    def opened_model(self, *, is_trusted: bool) -> loading.LoadedModel:
        """The model that the images were encoded by.

        Raises:
            InputError: if it is gone, or another one stands in its place.
        """
        try:
            model = loading.open_model(self.model, is_trusted=is_trusted)
        except InputError as error:
            raise InputError(f"INDEX {self.folder}: its {error}") from error
        if model.fingerprint != self.fingerprint:
            raise InputError(
                f"INDEX {self.folder} was made by another model than MODEL {self.model} is now: "
                "encode the images into another folder"
            )
        return model

    def with_its_settings(self, settings: ApplySettings) -> ApplySettings:
        """The settings of a command, by which its images are encoded as those of the index."""
        return dataclasses.replace(
            settings, resize=settings.resize or self.resize, grey=settings.grey or self.grey
        )

    def stream(self) -> image_stream.Stream:
        """The images, as they were listed when they were encoded."""
        root = self.root

        def read(
            positions: Sequence[int], white: Callable[[], float]
        ) -> Iterator[np.ndarray | str]:
            if root is None:
                return iter(())
            return from_folder.decoded(
                [os.path.join(root, self.names[position]) for position in positions], white=white()
            )

        return image_stream.Stream(
            self.what, self.names, None, lambda _: self.digest, read, lambda: self.white, root=root
        )

    def encoded(self) -> EncodedImages:
        """All images."""
        return EncodedImages(
            names=self.names, positions=np.arange(len(self.names)), codes=self.codes,
            errors=np.empty(0, np.float32), lowest=self.lowest, highest=self.highest,
            looks=np.empty(0, np.uint8), unreadable=[],
        )  # fmt: skip


def stands(folder: Path) -> bool:
    """Whether a folder holds an index."""
    return (folder / INDEX).is_file()


def opened(folder: Path) -> KeptIndex:
    """The index in a folder.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    if not stands(folder):
        raise InputError(
            f"INDEX {folder} holds no {INDEX}: make one by encode MODEL IMAGES --output {folder}"
        )
    for name in (INDEX, _CODES):
        try:
            arrays = files.read_arrays(folder / name)
            if name == INDEX:
                kept = arrays
            else:
                index = _of_arrays(folder, kept, arrays)
        except (InputError, KeyError, ValueError) as error:
            raise InputError(
                f"INDEX {folder}: {name} is damaged or missing: encode the images into another "
                "folder"
            ) from error
    if index.digest != str(kept["digest"]):
        raise InputError(
            f"INDEX {folder}: its {INDEX} and {_CODES} do not belong together: give the encode "
            "that wrote them again"
        )
    return index


def _of_arrays(folder: Path, kept: dict[str, np.ndarray], stored: dict[str, Any]) -> KeptIndex:
    names, root = stored["files"].tolist(), str(kept["root"])
    if not len(names) == len(stored["codes"]) == len(kept["stamps"]):
        raise ValueError("codes and files are not as many")
    if kept["lowest"].ndim != 3 or kept["lowest"].shape != kept["highest"].shape:
        raise ValueError("the least and the most of each pixel are of no image")
    return KeptIndex(
        folder=folder, names=names, codes=stored["codes"], stamps=kept["stamps"],
        lowest=kept["lowest"], highest=kept["highest"], model=Path(str(kept["model"])),
        fingerprint=str(kept["fingerprint"]), what=str(kept["what"]),
        root=Path(root) if root else None, resize=bool(kept["resize"]), grey=bool(kept["grey"]),
        white=float(kept["white"]), digest=_digest(stored["codes"], names),
    )  # fmt: skip


def write(
    folder: Path,
    encoded: EncodedImages,
    stream: image_stream.Stream,
    model: loading.LoadedModel,
    settings: ApplySettings,
    stamps: np.ndarray,
) -> None:
    """Writes `index.npz` beside the `codes.npz` that stands.

    Args:
        folder: of the results.
        encoded: what was written to `codes.npz`.
        stream: all images.
        model: that encoded them.
        settings: `resize` and `grey` are kept.
        stamps: of the stream, from before its images were read.
    """
    texts = {
        "model": os.path.abspath(os.path.expanduser(model.path)),
        "fingerprint": model.fingerprint,
        "what": stream.what,
        "root": "" if stream.root is None else os.path.abspath(stream.root),
        "digest": _digest(encoded.codes, encoded.names),
    }
    files.write_arrays(
        folder / INDEX,
        {
            **{name: np.array(text, np.str_) for name, text in texts.items()},
            "resize": np.array(settings.resize), "grey": np.array(settings.grey),
            "white": np.array(float(stream.white())), "stamps": stamps[encoded.positions],
            "lowest": encoded.lowest, "highest": encoded.highest,
        },
    )  # fmt: skip


def stamps_of(stream: image_stream.Stream) -> np.ndarray:
    """Size and time (ns) of each file, int64 (num_images, 2); -1 where there is none."""
    stamps = np.full((len(stream), 2), _NO_FILE, np.int64)
    if stream.root is not None:
        for position, name in enumerate(stream.names):
            with contextlib.suppress(OSError):  # a broken link is reported when it is read
                state = os.stat(os.path.join(stream.root, name))
                stamps[position] = state.st_size, state.st_mtime_ns
    return stamps


def encode_new(
    folder: Path,
    part: Callable[[str], Path],
    stream: image_stream.Stream,
    model: loading.LoadedModel,
    settings: ApplySettings,
) -> EncodedImages:
    """Encodes the images of a stream, those alone that the index in a folder does not have.

    Args:
        folder: of the results; it may hold an index.
        part: where what is finished is kept, by a name.
        stream: all images.
        model: encodes.
        settings: as in `encoded_images.encode_stream`.
    """
    kept = _usable(folder, stream, model, settings)
    if kept is None:
        # What a stopped command left may be of other images.
        blocks = part(f"images_{stream.fingerprint}")
        return encoded_images.encode_stream(model, stream, blocks, settings, errors=False)
    row_of = {name: row for row, name in enumerate(kept.names)}
    rows = np.array([row_of.get(name, -1) for name in stream.names])
    stamps = stamps_of(stream)
    is_known = (rows >= 0) & (stamps == kept.stamps[rows]).all(axis=1)
    known, new = np.flatnonzero(is_known), np.flatnonzero(~is_known)
    logger.info(f"{len(new):,} of {len(stream):,} images are new or changed: only they are encoded")
    some = image_stream.some_of(stream, new.tolist())
    made = encoded_images.encode_stream(
        model, some, part(f"images_{some.fingerprint}"), settings, errors=False
    ) if len(new) else None  # fmt: skip
    positions = known if made is None else np.r_[known, new[made.positions]]
    codes, order = kept.codes[rows[known]], np.argsort(positions)
    lowest, highest = kept.lowest, kept.highest
    if made is not None:
        codes = np.concatenate([codes, made.codes])
        lowest, highest = np.minimum(lowest, made.lowest), np.maximum(highest, made.highest)
    return dataclasses.replace(
        kept.encoded(), positions=positions[order], codes=codes[order], lowest=lowest,
        highest=highest, names=[stream.names[position] for position in positions[order]],
        unreadable=[] if made is None else made.unreadable,
    )  # fmt: skip


def _usable(
    folder: Path,
    stream: image_stream.Stream,
    model: loading.LoadedModel,
    settings: ApplySettings,
) -> KeptIndex | None:
    """The index in a folder, where the codes in it are those that would be made now."""
    if stream.root is None or not stands(folder):
        return None
    try:
        kept = opened(folder)
    except InputError as error:
        logger.info(f"{error}; all images are encoded anew")
        return None
    now = (model.fingerprint, settings.resize, settings.grey, stream.white())
    is_same = now == (kept.fingerprint, kept.resize, kept.grey, kept.white)
    is_here = kept.root is not None and os.path.abspath(stream.root) == os.fspath(kept.root)
    return kept if is_same and is_here and len(kept.names) else None


def _digest(codes: np.ndarray, names: Sequence[str]) -> str:
    text = "\0".join(names).encode("utf-8", "surrogateescape")
    return f"{zlib.crc32(np.ascontiguousarray(codes).data):08x}{zlib.crc32(text):08x}"
