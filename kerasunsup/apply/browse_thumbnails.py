"""The thumbnails of a page to browse, and what `check` measures, from one look at each image."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasunsup.apply import check, image_stream
from kerasunsup.apply.image_stream import Stream
from kerasunsup.data import images, pillow_pixels
from kerasunsup.data.pillow_pixels import StoredPicture
from kerasunsup.progress import Progress

# Images on a page, at most -> longer side of their thumbnails, pixels: a page grows no further.
_SIDES = ((10_000, 64), (20_000, 48), (50_000, 32))
MOST_SHOWN = _SIDES[-1][0]
_BLOCK = 2048  # images in a file of looks, of 12 kB each
_SHEET = 2048  # side of a sheet, pixels: what graphics chips take, and quickly decoded
_ARRAYS = (*check.ARRAYS, "shown", "thumbnails", "sizes")  # of a file of looks
_OF_CODEC = 16  # pixels: cells of whole blocks of the codec do not run into each other


class Thumbnails(NamedTuple):
    """Small pictures, each in the upper left corner of its cell."""

    pixels: np.ndarray  # uint8 (n, cell, cell, 3)
    sizes: np.ndarray  # uint8 (n, 2), height and width; 0 where an image could not be read


class Seen(NamedTuple):
    """What was seen of the images of a stream."""

    measured: dict[str, np.ndarray]  # as `check.findings` takes it
    thumbnails: Thumbnails


def look_at(stream: Stream, positions: np.ndarray, folder: Path) -> Seen:
    """Decodes every image of a stream once, in threads.

    Args:
        stream: the images; all are measured, as what is unusual follows from all of them.
        positions: int64 (n,), ascending, those of which thumbnails are made, `MOST_SHOWN` at most.
        folder: where finished blocks are kept.

    Returns:
        The measures of all, and the thumbnails of `positions`.
    """
    side = next(side for most, side in _SIDES if len(positions) <= most)
    is_shown = np.zeros(len(stream), bool)
    is_shown[positions] = True
    block = functools.partial(_block, is_shown=is_shown, side=side)
    seen = image_stream.in_blocks(stream, folder, block, _ARRAYS, _BLOCK)
    found = seen.pop("thumbnails"), seen.pop("sizes")
    rows = np.searchsorted(positions, seen.pop("shown"))
    largest = int(found[1].max(initial=1))
    cell = min(side, -(-largest // _OF_CODEC) * _OF_CODEC)
    pixels = np.zeros((len(positions), cell, cell, 3), np.uint8)
    sizes = np.zeros((len(positions), 2), np.uint8)
    pixels[rows], sizes[rows] = found[0][:, :cell, :cell], found[1]
    return Seen(seen, Thumbnails(pixels, sizes))


def _block(
    stream: Stream, positions: range, progress: Progress, *, is_shown: np.ndarray, side: int
) -> dict[str, np.ndarray]:
    measures, shown, pixels, sizes = [], [], [], []

    def measure(stored: StoredPicture, path: str) -> Any:
        return check.measure(stored, path), *_thumbnail(stored.pixels, side)

    for position, outcome in zip(positions, stream.measured(positions, measure), strict=True):
        progress.advance()
        measures.append(outcome if isinstance(outcome, str) else outcome[0])
        if is_shown[position] and not isinstance(outcome, str):
            shown.append(position)
            pixels.append(outcome[1])
            sizes.append(outcome[2])
    return {
        **check.arrays_of(positions, measures),
        "shown": np.array(shown, np.int64),
        "thumbnails": np.array(pixels, np.uint8).reshape(-1, side, side, 3),
        "sizes": np.array(sizes, np.uint8).reshape(-1, 2),
    }


def _thumbnail(picture: np.ndarray, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture in its own shape in the corner of a cell, and its height and width there."""
    height, width = check.fitted(picture.shape[0], picture.shape[1], side)
    small = images.with_channels(images.resize(picture, height, width), 3)
    # The edge goes on, as a codec would blur it into anything else.
    beyond = ((0, side - height), (0, side - width), (0, 0))
    return np.pad(small, beyond, mode="edge"), (height, width)


def one_by_one(thumbnails: Thumbnails) -> Iterator[bytes | None]:
    """A file of each thumbnail; None of what could not be read."""
    for cell, (height, width) in zip(thumbnails.pixels, thumbnails.sizes, strict=True):
        yield pillow_pixels.encode_thumbnail(cell[:height, :width]) if height else None


def per_row(thumbnails: Thumbnails) -> int:
    """How many cells a sheet has in each row, and rows of them at most."""
    return _SHEET // thumbnails.pixels.shape[1]


def sheets(thumbnails: Thumbnails) -> Iterator[bytes]:
    """Files of many thumbnails each, row by row; the last sheet is as high as it must be."""
    cell, columns = thumbnails.pixels.shape[1], per_row(thumbnails)
    for start in range(0, len(thumbnails.pixels), columns**2):
        block = thumbnails.pixels[start : start + columns**2]
        rows = -(-len(block) // columns)
        cells = np.zeros((rows * columns, cell, cell, 3), np.uint8)
        cells[: len(block)] = block
        sheet = cells.reshape(rows, columns, cell, cell, 3).swapaxes(1, 2)
        yield pillow_pixels.encode_thumbnail(sheet.reshape(rows * cell, columns * cell, 3))
