"""What the values of an array of images mean: which is black or white, where channels are."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kerasunsup.data import bit_depth, images, pixel_storage
from kerasunsup.errors import InputError

_CHUNK = 1024  # images that are converted at a time


@dataclasses.dataclass(frozen=True)
class Form:
    """How the values of an array become pictures: their range, and where the channels are.

    Attributes:
        convert: values (n, ...) as they are stored -> uint8, or float32 in [0, 1], (n, height,
            width, 1|3).
        note: what was assumed, in a few words for the user; empty where nothing was.
    """

    convert: Callable[[np.ndarray], np.ndarray]
    note: str

    def whole(self, values: np.ndarray) -> np.ndarray:
        """All values, converted block by block to avoid a second large copy."""
        first = self.convert(values[:1])
        if np.may_share_memory(first, values):  # nothing is computed
            return self.convert(values)
        converted = np.empty((len(values), *first.shape[1:]), first.dtype)
        for start in range(0, len(values), _CHUNK):
            converted[start : start + _CHUNK] = self.convert(values[start : start + _CHUNK])
        return converted


def form(path: Path, name: str, sets: Sequence[pixel_storage.Store]) -> Form:
    """The form of one file's images; its sets (training, test) are looked at together.

    Args:
        path: the file, for complaints.
        name: the arrays' names, for complaints.
        sets: their values, as they are stored.

    Raises:
        InputError: if the values cannot be images.
    """
    if len({values.dtype for values in sets}) > 1:
        received = " and ".join(str(values.dtype) for values in sets)
        raise InputError(
            f"--data {path}: training and test images differ, {received}: save both with one dtype"
        )
    shape = (len(sets[0]), *sets[0].shape)
    is_first = len(shape) == 4 and shape[-1] not in (1, 3, 4) and shape[1] in (1, 3, 4)
    is_last = len(shape) == 4 and shape[-1] in (1, 3, 4)
    if not math.prod(shape) or not (len(shape) == 3 or is_first or is_last):
        raise InputError(
            f"--data {path}: {name} has the shape {shape}, images need (n, height, width) or "
            "(n, height, width, 1 or 3)"
        )
    scale, note = _scale(path, name, sets)

    def convert(values: np.ndarray) -> np.ndarray:
        if values.ndim == 3:
            values = values[..., np.newaxis]
        pixels = scale(np.moveaxis(values, 1, -1) if is_first else values)
        if pixels.shape[-1] != 4:
            return pixels
        return images.with_channels(
            pixels if pixels.dtype == np.uint8 else images.to_uint8(pixels), 3
        )

    notes = [note, "channels first" if is_first else ""]
    if (is_first and shape[1] == 4) or (is_last and shape[-1] == 4):
        notes.append("four channels taken as RGBA")
    return Form(convert, ", ".join(filter(None, notes)))


def _scale(
    path: Path, name: str, sets: Sequence[pixel_storage.Store]
) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """A function that makes uint8, or float32 in [0, 1], of the values, and what was assumed."""
    dtype = sets[0].dtype
    if dtype.kind == "b":
        return lambda values: values.astype(np.uint8) * np.uint8(255), ""
    if dtype.kind not in "uif":
        raise InputError(
            f"--data {path}: {name} is of dtype {dtype}: images are integers from 0 to 65535, or "
            "floats in [0, 1]"
        )
    smallest, largest = _range(path, name, sets)
    if dtype.kind == "f":
        slack = 1e-3  # what resampling overshoots by
        if -slack <= smallest and largest <= 1.0 + slack:
            return lambda values: np.clip(values.astype(np.float32), 0.0, 1.0), ""
        if -1.0 - slack <= smallest < -0.5 and largest <= 1.0 + slack:
            low, high = -1, 1
        elif -slack <= smallest and 64.0 < largest <= 255.0 + slack:
            low, high = 0, 255
        else:
            raise InputError(
                f"--data {path}: {name} goes from {smallest:g} to {largest:g}: floats must lie in "
                "[0, 1], [-1, 1] or [0, 255] (or save uint8)"
            )
        return (
            lambda values: np.clip((values.astype(np.float32) - low) / (high - low), 0.0, 1.0),
            f"{dtype} from {smallest:g} to {largest:g} taken as [{low}, {high}]",
        )
    if smallest < 0 or largest > bit_depth.WHITE:
        raise InputError(
            f"--data {path}: {name} is {dtype} from {smallest:g} to {largest:g}: integers must lie "
            "in 0 to 65535 (or save uint8)"
        )
    if dtype == np.uint8 and largest != 1:
        return lambda values: values, ""
    white, bits = bit_depth.white_of(largest or 255)
    return (
        lambda values: bit_depth.to_8_bits(values, white),
        f"{dtype} with values up to {largest:g} taken as {bits} bits, {white:g} is white",
    )


def _range(path: Path, name: str, sets: Sequence[pixel_storage.Store]) -> tuple[float, float]:
    """The smallest and the largest value; reading stops where more values change nothing."""
    enough = {"uint8": 1, "uint16": 16383}.get(str(sets[0].dtype), math.inf)
    smallest, largest = math.inf, -math.inf
    for chunk in itertools.chain.from_iterable(map(pixel_storage.chunks, sets)):
        smallest, largest = min(smallest, float(chunk.min())), max(largest, float(chunk.max()))
        if not np.isfinite([chunk.min(), chunk.max()]).all():
            raise InputError(
                f"--data {path}: {name} holds NaN or infinite values: replace or remove those "
                "images"
            )
        if largest > enough:
            break
    return smallest, largest
