"""The codes of many images, and how well an autoencoder reconstructs each.

Images are read batch by batch and only their codes are kept. Finished blocks of codes are written
to disk, so that a stopped command goes on where it was.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.apply import image_stream
from kerasunsup.apply.settings import ApplySettings
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.models import loading
from kerasunsup.progress import Progress
from kerasunsup.training import files

_BLOCK = 8192  # images
_LARGEST, _SMALLEST = 1e15, 1e-15  # squares of values beyond overflow, or vanish, in float32
_ALIKE = 8 / 255  # blank scans, and copies that were rounded differently, differ by no more


# A picture as it was read, uint8 (height, width, 1|3) -> what is kept of it, uint8 (bytes,).
Look = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class EncodedImages:
    """The readable images of a stream, encoded.

    Attributes:
        names: of the images, as in the stream.
        positions: int64 (num_readable,), where each image stands in the stream.
        codes: float32 (num_readable, latent_dim).
        errors: float32 (num_readable,), mean squared error of each reconstruction; empty where it
            was not measured.
        lowest: float32 (height, width, channels), the smallest value of each pixel in any image.
        highest: float32 (height, width, channels), the largest value of each pixel in any image.
        looks: uint8 (num_readable, bytes), what `look` returned for each image; empty without it.
        unreadable: (name, reason) of each image that cannot be read.
        rounding: values of `lowest` and `highest` that differ by no more are the same.
    """

    names: list[str]
    positions: np.ndarray
    codes: np.ndarray
    errors: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    looks: np.ndarray
    unreadable: list[tuple[str, str]]
    rounding: float = _ALIKE

    def are_alike(self, other: EncodedImages | None = None) -> bool:
        """Whether all images, and all of `other` if it is given, are the same but for rounding."""
        highest, lowest = self.highest, self.lowest
        if other is not None:
            highest, lowest = np.maximum(highest, other.highest), np.minimum(lowest, other.lowest)
        return len(self.codes) > 1 and float((highest - lowest).max()) <= self.rounding


def change_to(
    shape: tuple[int, ...], settings: ApplySettings, *, resize: bool = False
) -> image_stream.Change:
    """The function that brings a picture into the shape that the model takes.

    Args:
        shape: (height, width, channels).
        settings: `resize` and `grey` are used.
        resize: whether pictures are resized even without `--resize`.
    """
    resize = resize or settings.resize
    return functools.partial(loading.to_shape, shape=shape, resize=resize, grey=settings.grey)


def encode_stream(
    model: loading.LoadedModel,
    stream: image_stream.Stream,
    folder: Path,
    settings: ApplySettings,
    *,
    errors: bool,
    look: Look | None = None,
) -> EncodedImages:
    """Encodes every readable image of a stream.

    Args:
        model: a model that encodes, and reconstructs where errors are measured.
        stream: the images.
        folder: finished blocks are kept here.
        settings: `batch_size`, `resize` and `grey` are used.
        errors: whether reconstruction errors are measured.
        look: what is kept of each picture beside its code.

    Raises:
        InputError: if an image does not fit the model.
    """
    blocks = []
    with Progress(len(stream), "image") as progress:
        for start in range(0, len(stream), _BLOCK):
            positions = range(start, min(start + _BLOCK, len(stream)))
            path = folder / f"{start:09d}.npz"
            block = _finished_block(path)
            if block is None:
                block = encoded_block(model, stream, positions, settings, errors, look, progress)
                files.write_arrays(path, block)
            else:
                progress.advance(len(positions))
            blocks.append(block)
    encoded = joined(stream, blocks)
    largest = largest_too_far(encoded.codes)
    if largest is not None:
        raise InputError(
            f"MODEL {model.path} gives codes of values up to {largest:.0e}, with which no "
            "distances can be computed: scale its output, so that they come near 1"
        )
    return encoded


def largest_too_far(codes: np.ndarray) -> float | None:
    """The largest value of codes, where distances of such cannot be computed; else None."""
    largest = float(np.abs(codes).max(initial=0.0))
    return largest if largest and not _SMALLEST <= largest <= _LARGEST else None


def joined(
    stream: image_stream.Stream, blocks: Sequence[Mapping[str, np.ndarray]]
) -> EncodedImages:
    """The images of a whole stream from what `encoded_block` returned for each stretch of it.

    `errors` and `looks` may be left out.
    """
    none = np.empty(0, np.uint8)
    merged: dict[str, Any] = {
        name: np.concatenate([block.get(name, none) for block in blocks]) for name in _OF_EACH_IMAGE
    }
    unreadable = [
        (stream.names[position], str(reason))
        for block in blocks
        for position, reason in zip(block["unreadable"], block["reasons"], strict=True)
    ]
    return EncodedImages(
        **merged,
        names=[stream.names[position] for position in merged["positions"]],
        lowest=np.minimum.reduce([block["lowest"] for block in blocks]),
        highest=np.maximum.reduce([block["highest"] for block in blocks]),
        unreadable=unreadable,
    )


_OF_EACH_IMAGE = ("positions", "codes", "errors", "looks")


def arrays_of(*, errors: bool, look: bool) -> list[str]:
    """The names of the arrays that `joined` needs: with errors, with looks, or without."""
    left_out = {"errors"} if not errors else set()
    left_out |= {"looks"} if not look else set()
    own = (*_OF_EACH_IMAGE, "lowest", "highest", "unreadable", "reasons")
    return [name for name in own if name not in left_out]


def _finished_block(path: Path) -> dict[str, np.ndarray] | None:
    """The block in a file; None where there is no file, or it cannot be used."""
    try:
        block = files.read_arrays(path)
    except InputError:  # a damaged block is made once more
        return None
    names = {*_OF_EACH_IMAGE, "lowest", "highest", "unreadable", "reasons"}
    return block if names <= set(block) else None


def encoded_block(
    model: loading.LoadedModel,
    stream: image_stream.Stream,
    positions: range,
    settings: ApplySettings,
    errors: bool,
    look: Look | None,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """The images at some positions of a stream, encoded, as the arrays of one file.

    The arguments are those of `encode_stream`.

    Returns:
        `positions`, `codes`, `errors`, `looks`, `lowest` and `highest` as in `EncodedImages`, and
        `unreadable`, int64 positions, with `reasons`, text, as many.
    """
    encode, shape = model.function("encode"), model.input_shape("encode")
    lowest, highest = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
    to_shape = change_to(shape, settings, resize=model.is_foreign)
    # The first of `codes` and `looks` only give the arrays their widths.
    codes = [encode(np.zeros((1, *shape), np.float32))[:0]]
    looks = [np.empty(0, np.uint8) if look is None else look(np.zeros((1, 1, 1), np.uint8))]
    squared = [np.empty(0, np.float32)]
    readable: list[int] = []
    unreadable: list[tuple[int, str]] = []

    def prepare(picture: np.ndarray) -> np.ndarray:
        prepared = to_shape(picture)
        looks.append(looks[0] if look is None else look(picture))
        return prepared

    for in_batch, pixels, failed in stream.batches(positions, settings.batch_size, prepare):
        unreadable += failed
        progress.advance(len(in_batch) + len(failed))
        if not in_batch:
            continue
        readable += in_batch
        codes.append(_finite(encode(pixels), in_batch, model, stream))
        lowest = np.minimum(lowest, pixels.min(axis=0))
        highest = np.maximum(highest, pixels.max(axis=0))
        if errors:
            reconstructed = model.function("reconstruct")(pixels)
            squared.append(np.square(reconstructed - pixels).mean(axis=(1, 2, 3)))
    return {
        "positions": np.array(readable, np.int64),
        "codes": np.concatenate(codes),
        "errors": np.concatenate(squared),
        "looks": np.stack(looks)[1:],
        "lowest": lowest,
        "highest": highest,
        "unreadable": np.array([position for position, _ in unreadable], np.int64),
        "reasons": np.array([reason for _, reason in unreadable], np.str_),
    }


def _finite(
    codes: np.ndarray, positions: list[int], model: loading.LoadedModel, stream: image_stream.Stream
) -> np.ndarray:
    """The codes; refuses those of a model that gives something else than numbers."""
    bad = np.flatnonzero(~np.isfinite(codes).all(axis=1))
    if len(bad):
        name = images.shown(stream.names[positions[bad[0]]])
        raise InputError(
            f"MODEL {model.path} gives NaN or infinite values for {name}: it must take images with "
            "values from 0 to 1"
        )
    return codes
