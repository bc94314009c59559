"""`apply check`: images that are broken, poor, stored twice or unlike the others; no model.

Each image is decoded once, in threads, and only its measures are kept: 150 bytes an image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasunsup.apply import image_stream
from kerasunsup.apply.image_stream import Stream
from kerasunsup.apply.job import Job, short
from kerasunsup.data import images
from kerasunsup.data.pillow_pixels import StoredPicture
from kerasunsup.evaluation import picture_quality
from kerasunsup.figures import image_grids
from kerasunsup.progress import Progress

ISSUES = (
    "unreadable", "exact_copy", "blurred", "dark", "light", "flat", "odd_size", "odd_shape", "grey",
    "transparent", "wrong_ending",
)  # fmt: skip

# Larger images are measured at this size, at which they are looked at. What is blurred there is
# blurred to the eye, and a camera's noise, which looks like detail, is averaged out.
_SIDE = 512
# An edge that a Gaussian of 1.7 pixels blurred has 0.15; and a sharpness of a quarter of what the
# sharper images have stands for edges of twice their width.
_BLURRED, _BLURRED_GAP = 0.15, math.log(4.0)
# The brightness that 99 % of the pixels do not exceed, and that 95 % exceed (1 less it), as
# cleanvision has them. A gap of 0.2 is seen by eye where two pictures lie side by side.
_DARK, _LIGHT, _BRIGHTNESS_GAP = 0.32, 0.05, 0.2
# A dark line on white is no overexposed picture: in that 99 % are brighter than this.
_DARKEST_OF_LIGHT = 0.5
# Bits: a thing that fills 5 % of a plain picture gives 0.29, one that fills a thousandth 0.011.
_FLAT, _FLAT_GAP, _EMPTY = 0.29, 0.5, 0.011
# Half or twice as much, in logarithms: less is usual where pictures are cut by hand.
_ODD_GAP = math.log(2.0)
# Colour formats that lose a little bring grey back within so many of 255 levels.
_GREY_LEVELS = 4
_MOST = 0.75  # of the images are transparent; with more of them it is the rule of the folder

_BLOCK = 8192  # images in a file of measures
_SHOWN = 40  # images on a contact sheet
_CELL = 96  # side of an image on it, pixels


class Measures(NamedTuple):
    """What is kept of each readable image, beside the hash of its pixels."""

    width: float  # pixels, upright
    height: float
    sharpness: float
    upper: float  # brightness in [0, 1] that 99 % of the pixels do not exceed
    lower: float  # that 95 % reach
    lowest: float  # that 99 % reach
    entropy: float  # bits
    is_grey: float  # 0 or 1
    transparent: float  # share of the pixels that are not opaque


# The names of what is kept of a block of images.
ARRAYS = ("positions", "measures", "hashes", "kinds", "modes", "unreadable", "reasons")

# Name of an issue, position in the stream, value in the table, how bad it is.
Finding = tuple[str, int, Any, float]


def check_images(job: Job) -> dict[str, Any]:
    """Writes check.csv, one row an issue, and a contact sheet for each kind, worst first."""
    stream = job.stream
    measured = _measured(stream, job.output.part("measures"))
    found = sorted(findings(measured, stream), key=lambda row: (ISSUES.index(row[0]), row[3]))
    table = ((stream.names[position], issue, value) for issue, position, value, _ in found)
    job.files.write_table("check.csv", ("file", "issue", "value"), table)
    counts = dict.fromkeys(ISSUES, 0)
    for issue, *_ in found:
        counts[issue] += 1
    for issue in ISSUES:
        of_issue = [(position, value) for name, position, value, _ in found if name == issue]
        if of_issue and issue != "unreadable":
            _write_sheet(job, issue, of_issue[:_SHOWN])
    without = len(stream) - len({position for _, position, *_ in found})
    return {"images": len(stream), "without_issue": without, **counts}


# ------------------------------------------------------------------------------------------ measure


def _measured(stream: Stream, folder: Path) -> dict[str, np.ndarray]:
    """The measures of all images, block by block; finished blocks are found again after a stop.

    Returns:
        Of the readable images: `positions` (n,), `measures` float64 (n, len(Measures._fields)),
        `hashes` uint8 (n, 16), `kinds` and `modes` (n,), text as in `StoredPicture`. Of the
        others: `unreadable`, positions, and `reasons`, text.
    """
    return image_stream.in_blocks(stream, folder, _block, ARRAYS, _BLOCK)


def _block(stream: Stream, positions: range, progress: Progress) -> dict[str, np.ndarray]:
    outcomes = []
    for outcome in stream.measured(positions, measure):
        outcomes.append(outcome)
        progress.advance()
    return arrays_of(positions, outcomes)


def arrays_of(
    positions: range, outcomes: Sequence[tuple[Measures, bytes, str, str] | str]
) -> dict[str, np.ndarray]:
    """The arrays that `findings` takes.

    Args:
        positions: in the stream.
        outcomes: for each position what `measure` returned, or why the image cannot be read.
    """
    pairs = list(zip(positions, outcomes, strict=True))
    readable = [(position, *found) for position, found in pairs if not isinstance(found, str)]
    unreadable = [(position, found) for position, found in pairs if isinstance(found, str)]
    hashes = b"".join(row[2] for row in readable)
    return {
        "positions": np.array([row[0] for row in readable], np.int64),
        "measures": np.array([row[1] for row in readable]).reshape(-1, len(Measures._fields)),
        "hashes": np.frombuffer(hashes, np.uint8).reshape(-1, 16),
        "kinds": np.array([row[3] for row in readable], np.str_),
        "modes": np.array([row[4] for row in readable], np.str_),
        "unreadable": np.array([position for position, _ in unreadable], np.int64),
        "reasons": np.array([reason for _, reason in unreadable], np.str_),
    }


def measure(stored: StoredPicture, path: str) -> tuple[Measures, bytes, str, str]:
    """The measures of one picture, the hash of its pixels, its format and its mode."""
    height, width = stored.pixels.shape[:2]
    small = images.resize(stored.pixels, *fitted(height, width, _SIDE))
    luma = images.with_channels(small, 1)[..., 0]
    counts = picture_quality.histogram(luma)
    opacity = stored.opacity
    measures = Measures(
        width=width,
        height=height,
        sharpness=picture_quality.sharpness(luma),
        upper=picture_quality.percentile(counts, 0.99),
        lower=picture_quality.percentile(counts, 0.05),
        lowest=picture_quality.percentile(counts, 0.01),
        entropy=picture_quality.entropy(counts),
        is_grey=picture_quality.colour_range(small) <= _GREY_LEVELS,
        transparent=0.0 if opacity is None else float((opacity < 255).mean()),
    )
    return measures, _hash(stored, path), stored.kind, stored.mode


def _hash(stored: StoredPicture, path: str) -> bytes:
    """16 bytes that follow from size, channels, pixels and opacity.

    From the file's bytes where it holds more: the pixels here are rounded, or the first of many.
    """
    if (stored.is_deep or stored.is_first_of_many) and path:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:16]
    content = hashlib.blake2b(str(stored.pixels.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(stored.pixels).data)
    if stored.opacity is not None:
        content.update(np.ascontiguousarray(stored.opacity).data)
    return content.digest()


def fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """The size, not above the side, of a picture that keeps its shape."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


# -------------------------------------------------------------------------------------------- judge


def findings(measured: dict[str, np.ndarray], stream: Stream) -> Iterator[Finding]:
    """Everything that is found, in no order; a smaller last number is worse."""
    for position, reason in zip(measured["unreadable"], measured["reasons"], strict=True):
        yield "unreadable", int(position), str(reason), float(position)
    of = dict(zip(Measures._fields, measured["measures"].T, strict=True))
    positions = measured["positions"]
    yield from _copies(measured["hashes"], positions, stream)
    is_empty = of["entropy"] < _EMPTY
    # An empty picture has no edges that could be sharp.
    log_sharpness = np.where(is_empty, np.nan, np.log(np.maximum(of["sharpness"], 1e-6)))
    sides = np.log(of["width"] * of["height"]) / 2.0
    elongation = np.abs(np.log(of["width"] / of["height"]))  # a turned picture has the same
    is_blurred = picture_quality.too_low(log_sharpness, math.log(_BLURRED), _BLURRED_GAP)
    is_dark = picture_quality.too_low(of["upper"], _DARK, _BRIGHTNESS_GAP)
    is_light = picture_quality.too_low(1.0 - of["lower"], _LIGHT, _BRIGHTNESS_GAP)
    is_light &= of["lowest"] > _DARKEST_OF_LIGHT
    is_flat = is_empty | picture_quality.too_low(of["entropy"], _FLAT, _FLAT_GAP)
    is_odd_size = picture_quality.far_from_median(sides, _ODD_GAP)
    is_odd_shape = picture_quality.far_from_median(elongation, _ODD_GAP)
    is_grey = (of["is_grey"] > 0) & (of["is_grey"].sum() < len(positions) / 2)
    # Icons and sprites have a transparent ground, all of them.
    is_transparent = (of["transparent"] > 0) & (
        (of["transparent"] > 0).sum() <= _MOST * len(positions)
    )
    sizes = [
        f"{width:.0f}x{height:.0f}" for width, height in zip(of["width"], of["height"], strict=True)
    ]
    rules: list[tuple[str, np.ndarray, Any, np.ndarray]] = [
        ("blurred", is_blurred, of["sharpness"], of["sharpness"]),
        ("dark", is_dark, of["upper"], of["upper"]),
        ("light", is_light, of["lower"], -of["lower"]),
        ("flat", is_flat, of["entropy"], of["entropy"]),
        ("odd_size", is_odd_size, sizes, _nearness(sides)),
        ("odd_shape", is_odd_shape, of["width"] / of["height"], _nearness(elongation)),
        ("grey", is_grey, measured["modes"], positions),
        ("transparent", is_transparent, of["transparent"], -of["transparent"]),
    ]
    for issue, is_found, values, order in rules:
        for row in np.flatnonzero(is_found):
            yield issue, int(positions[row]), values[row], float(order[row])
    for position, kind in zip(positions.tolist(), measured["kinds"], strict=True):
        if kind and kind != images.kind_of_ending(stream.names[position]):
            yield "wrong_ending", position, str(kind), float(position)


def _nearness(values: np.ndarray) -> np.ndarray:
    return -np.abs(values - np.median(values)) if len(values) else values


def _copies(hashes: np.ndarray, positions: np.ndarray, stream: Stream) -> Iterator[Finding]:
    """Each image with the pixels of an earlier one, which is not called a copy itself."""
    first_with: dict[bytes, int] = {}
    for content, position in zip(hashes, positions.tolist(), strict=True):
        first = first_with.setdefault(content.tobytes(), position)
        if first != position:
            yield "exact_copy", position, stream.names[first], float(first)


# --------------------------------------------------------------------------------------------- show


def _write_sheet(job: Job, issue: str, found: list[tuple[int, Any]]) -> None:
    cells, above, below = [], [], []
    positions = [position for position, _ in found]
    pictures = job.stream.read(positions)
    for (position, value), picture in zip(found, pictures, strict=True):
        if isinstance(picture, str):  # it was readable before
            continue
        cells.append(images.to_unit(_cell(picture)))
        above.append(short(job.stream.names[position]))
        below.append(_as_text[issue](value) if issue in _as_text else short(str(value)))
    if cells:
        job.write_sheet(issue, image_grids.captioned_images(np.stack(cells), above, below))


_as_text: dict[str, Callable[[Any], str]] = dict.fromkeys(
    ("blurred", "dark", "light", "flat", "odd_shape", "transparent"), "{:.3g}".format
)


def _cell(picture: np.ndarray) -> np.ndarray:
    """A picture in the middle of a white square, uint8 (96, 96, 3), in its own shape.

    Small pictures are enlarged by a whole number, so that pixels stay what they are.
    """
    height, width = picture.shape[:2]
    times = max(1, _CELL // max(height, width))
    picture = picture.repeat(times, axis=0).repeat(times, axis=1)
    height, width = fitted(height * times, width * times, _CELL)
    picture = images.with_channels(images.resize(picture, height, width), 3)
    cell = np.full((_CELL, _CELL, 3), 255, np.uint8)
    top, left = (_CELL - height) // 2, (_CELL - width) // 2
    cell[top : top + height, left : left + width] = picture
    return cell
