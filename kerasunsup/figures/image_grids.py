"""Rows of images with their names and numbers beside them, as `matplotlib.figure.Figure`.

Images are float32 (..., height, width, channels) in [0, 1] with one or three channels; values
outside are clipped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import patches
from matplotlib.figure import Figure

from kerasunsup.figures import style

_CELL_INCHES = 0.56  # side of one image, about
# Of reconstructions: the first of 50 epochs, every second one, and the originals. More make a
# picture taller than a page can show.
_MOST_ROWS = 27
_CAPTIONED_A_ROW = 10
_PAGE_INCHES = 7.2  # width that captioned images may take
_MARGIN = round(0.1 * style.DPI)  # pixels around all
_GAP = round(0.2 * style.DPI)  # pixels between blocks
_SMALL = style.FONT_SIZE - 1  # of the texts above and below images


@dataclasses.dataclass(frozen=True)
class Restoration:
    """One block of `restorations`: the same images corrupted, restored and original.

    Example:
        >>> image = np.zeros((1, 8, 8, 1), np.float32)
        >>> block = Restoration("noise", image, image, image, gains_db=np.array([3.0]))
        >>> len(restorations([block]).axes)
        1
    """

    title: str
    corrupted: np.ndarray  # (k, height, width, channels), float32 in [0, 1]
    restored: np.ndarray  # the same shape
    originals: np.ndarray  # the same shape
    gains_db: np.ndarray  # (k,), PSNR of the restored less that of the corrupted, in dB
    holes: np.ndarray | None = None  # (k, height, width, 1), 0 in the hole; outlined


@dataclasses.dataclass(frozen=True)
class SampleRow:
    """One row of `sampled_images`: images of one method, and the numbers of that method.

    Example:
        >>> row = SampleRow("gaussian", np.zeros((2, 8, 8, 1), np.float32), {"FID": 12.5})
        >>> len(sampled_images([row]).axes)
        1
    """

    name: str
    images: np.ndarray  # (k, height, width, channels), float32 in [0, 1]
    numbers: Mapping[str, float]  # column header -> value; NaN or a missing one shows a dash


@style.styled
def reconstructions_over_epochs(
    originals: np.ndarray,
    snapshots: np.ndarray,
    epochs: Sequence[int],
    *,
    column_labels: Sequence[str] | None = None,
) -> Figure:
    """How the reconstructions of the same images changed while training.

    Args:
        originals: (k, height, width, channels), float32 in [0, 1]; the top row.
        snapshots: (s, k, height, width, channels), float32 in [0, 1]; a row each. Of more than 26,
            the first is shown and, back from the last, every second, third and so on.
        epochs: (s,), the epoch of each snapshot.
        column_labels: (k,), printed above the columns.

    Raises:
        ValueError: if the shapes do not fit together.

    Example:
        >>> originals = np.zeros((2, 8, 8, 1), np.float32)
        >>> figure = reconstructions_over_epochs(originals, originals[None], epochs=[1])
        >>> [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]
        ['original', 'epoch 1']
    """
    originals, snapshots = np.asarray(originals), np.asarray(snapshots)
    if snapshots.ndim != 5 or snapshots.shape[1:] != originals.shape or not len(snapshots):
        raise ValueError(
            "snapshots must be (s, k, height, width, channels) of originals "
            f"(k, height, width, channels), received {snapshots.shape} and {originals.shape}"
        )
    if len(epochs) != len(snapshots):
        raise ValueError(f"received {len(epochs)} epochs for {len(snapshots)} snapshots")
    if column_labels is not None and len(column_labels) != len(originals):
        raise ValueError(f"received {len(column_labels)} labels for {len(originals)} columns")
    last, most = len(epochs) - 1, _MOST_ROWS - 2  # beside the originals and the first
    shown = [0, *range(last, 0, -max(1, math.ceil(last / most)))[::-1]]
    names = [f"epoch {epochs[index]}" for index in shown]
    top = _Block(originals[None], ["original"], columns=column_labels or ())
    return _sheet([top, _Block(snapshots[shown], names)])


@style.styled
def restorations(blocks: Sequence[Restoration]) -> Figure:
    """Corrupted, restored and original images, with the gain of each in dB.

    Args:
        blocks: one a kind of corruption; each is three rows under its title.

    Raises:
        ValueError: if there is no block, or the shapes of one do not fit together.

    Example:
        >>> image = np.zeros((1, 8, 8, 1), np.float32)
        >>> figure = restorations([Restoration("noise", image, image, image, np.array([3.0]))])
        >>> "+3.0 dB" in [text.get_text() for text in figure.axes[0].texts]
        True
    """
    if not blocks:
        raise ValueError("restorations needs at least one block, received none")
    drawn = []
    for block in blocks:
        rows = [np.asarray(part) for part in (block.corrupted, block.restored, block.originals)]
        if not rows[0].shape == rows[1].shape == rows[2].shape:
            raise ValueError(
                f"{block.title}: corrupted, restored and originals must have one shape, received "
                + ", ".join(str(part.shape) for part in rows)
            )
        if len(block.gains_db) != len(rows[0]):
            raise ValueError(
                f"{block.title}: received {len(block.gains_db)} gains for {len(rows[0])} images"
            )
        gains = [f"{gain:+.1f} dB".replace("-", "\N{MINUS SIGN}") for gain in block.gains_db]
        names = ["input", "restored", "original"]
        drawn.append(_Block(np.stack(rows), names, block.title, (), gains, "gain", block.holes))
    return _sheet(drawn)


@style.styled
def sampled_images(rows: Sequence[SampleRow]) -> Figure:
    """Images of several methods, a row each, beside the numbers that were measured on each.

    Args:
        rows: from top to bottom. A row with fewer images than another leaves its right end empty.

    Raises:
        ValueError: if there is no row, or the image sizes differ.

    Example:
        >>> images = np.zeros((2, 8, 8, 1), np.float32)
        >>> figure = sampled_images([SampleRow("gaussian", images, {"FID": 12.5})])
        >>> "12.50" in [text.get_text() for text in figure.axes[0].texts]
        True
    """
    if not rows:
        raise ValueError("sampled_images needs at least one row, received none")
    shapes = {np.shape(row.images)[1:] for row in rows}
    if len(shapes) != 1:
        raise ValueError(f"all rows must have one image shape, received {sorted(shapes)}")
    most = max(len(row.images) for row in rows)
    stack = np.ones((len(rows), most, *shapes.pop()), np.float32)
    for index, row in enumerate(rows):
        stack[index, : len(row.images)] = row.images
    table = {
        name: _aligned([row.numbers.get(name, math.nan) for row in rows])
        for name in dict.fromkeys(name for row in rows for name in row.numbers)
    }
    return _sheet([_Block(stack, [row.name for row in rows])], table)


@style.styled
def captioned_images(pictures: np.ndarray, above: Sequence[str], below: Sequence[str]) -> Figure:
    """Images with a text above and below each, ten a row, fewer where the texts are long.

    Args:
        pictures: (k, height, width, channels), float32 in [0, 1].
        above: (k,), such as "4 as 9".
        below: (k,), such as "99.8 %".

    Raises:
        ValueError: if there is no image, or not one text above and below each.

    Example:
        >>> figure = captioned_images(np.zeros((1, 8, 8, 3)), ["4 as 9"], ["99.8 %"])
        >>> [text.get_text() for text in figure.axes[0].texts if text.get_text()]
        ['4 as 9', '99.8 %']
    """
    pictures = np.asarray(pictures)
    if not len(pictures) or not len(pictures) == len(above) == len(below):
        raise ValueError(
            f"captioned images need a text above and below each image, received {len(above)} and "
            f"{len(below)} for {len(pictures)} images"
        )
    widest = max(style.text_inches(text, _SMALL) for text in [*above, *below])
    most = int(_PAGE_INCHES / (max(_CELL_INCHES, widest + 0.08) + 0.04))
    columns = min(max(1, most), _CAPTIONED_A_ROW, len(pictures))
    padding = [(0, -len(pictures) % columns), (0, 0), (0, 0), (0, 0)]
    rows = np.pad(pictures, padding, constant_values=1.0)
    parts = [slice(start, start + columns) for start in range(0, len(rows), columns)]
    return _sheet(
        [_Block(rows[part][None], [""], columns=above[part], footer=below[part]) for part in parts]
    )


@dataclasses.dataclass(frozen=True)
class CaptionedRow:
    """One row of `captioned_rows`: images that belong together, with texts around each.

    Example:
        >>> row = CaptionedRow("1", np.zeros((1, 8, 8, 3), np.float32), ["a.png"], ["keep"])
        >>> len(captioned_rows([row]).axes)
        1
    """

    name: str
    pictures: np.ndarray  # (k, height, width, channels), float32 in [0, 1]
    above: Sequence[str]  # (k,)
    below: Sequence[str]  # (k,)


@style.styled
def captioned_rows(rows: Sequence[CaptionedRow]) -> Figure:
    """Rows of images that belong together, with a text above and below each.

    Raises:
        ValueError: if there is no row, or not one text above and below each image.

    Example:
        >>> row = CaptionedRow("1", np.zeros((1, 8, 8, 3), np.float32), ["a.png"], ["keep"])
        >>> [text.get_text() for text in captioned_rows([row]).axes[0].texts if text.get_text()]
        ['1', 'a.png', 'keep']
    """
    if not rows:
        raise ValueError("captioned rows need at least one row, received none")
    for row in rows:
        if not len(row.pictures) == len(row.above) == len(row.below):
            raise ValueError(
                f"row {row.name} needs a text above and below each of its {len(row.pictures)} "
                f"images, received {len(row.above)} and {len(row.below)}"
            )
    return _sheet(
        [
            _Block(row.pictures[None], [row.name], columns=row.above, footer=row.below)
            for row in rows
        ]
    )


@dataclasses.dataclass(frozen=True)
class _Block:
    """Rows of images, and the texts around them."""

    rows: np.ndarray  # (rows, columns, height, width, channels) in [0, 1]
    names: Sequence[str]  # one a row
    title: str = ""
    columns: Sequence[str] = ()  # texts above the columns
    footer: Sequence[str] = ()  # texts below them
    footer_name: str = ""
    holes: np.ndarray | None = None  # (columns, height, width, 1), 0 in the hole; in the first row

    def __post_init__(self) -> None:
        if self.rows.ndim != 5 or self.rows.shape[-1] not in (1, 3) or not self.rows.size:
            raise ValueError(
                "images must be (k, height, width, channels) with 1 or 3 channels, received "
                f"{self.rows.shape[1:]}"
            )


def _sheet(blocks: Sequence[_Block], table: Mapping[str, Sequence[str]] | None = None) -> Figure:
    """The blocks one below the other in whole pixels at `style.DPI`, a table at their right."""
    table = table or {}
    texts = [text for block in blocks for text in (*block.columns, *block.footer)]
    needed = max((style.text_inches(text, _SMALL) + 0.08 for text in texts), default=0.0)
    figure = Figure(dpi=style.DPI)
    placed, boxes = [], []  # in pixels
    for block in blocks:
        height, width = block.rows.shape[2:4]
        scale = max(1, round(_CELL_INCHES * style.DPI / max(height, width)))
        gap = max(1, math.ceil(4 / scale))  # about four pixels, in image pixels
        # Columns move apart where a text needs more room than its image.
        steps = height + gap, max(width + gap, math.ceil(needed * style.DPI / scale))
        montage = _montage(block.rows, *steps)
        size = scale * np.array(montage.shape[1::-1])
        axes = figure.add_axes((0.0, 0.0, *(size / figure.bbox.size)))
        axes.imshow(montage, interpolation="nearest", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_axis_off()
        _write_texts(axes, block, table, steps, montage.shape)
        placed.append((axes, size))
        box: Any = axes.get_tightbbox()  # with the texts around it
        boxes.append([*np.floor(box.min), *np.ceil(box.max)])
    lefts, lows, rights, highs = np.transpose(boxes)
    left, top = _MARGIN - lefts.min(), _MARGIN + np.sum(highs - lows + _GAP) - _GAP
    whole = np.array([left + rights.max(), top]) + _MARGIN
    figure.set_size_inches(*(whole / style.DPI))
    for (axes, size), low, high in zip(placed, lows, highs, strict=True):
        bottom = top - high
        axes.set_position((left / whole[0], bottom / whole[1], *(size / whole)))
        top = bottom + low - _GAP
    return figure


def _write_texts(
    axes: Any,
    block: _Block,
    table: Mapping[str, Sequence[str]],
    steps: tuple[int, int],
    shape: tuple[int, ...],
) -> None:
    """The texts around a montage of a shape, whose images lie steps of pixels apart."""

    def write(text: str, x: float, y: float, shift: tuple[float, float], **look: Any) -> None:
        """At image pixel (x, y), moved by points."""
        axes.annotate(
            text, (x, y), shift, textcoords="offset points", annotation_clip=False, **look
        )

    num_rows, num_columns, height, width = block.rows.shape[:4]
    lefts = [column * steps[1] for column in range(num_columns)]
    middles = [row * steps[0] + (height - 1) / 2 for row in range(num_rows)]
    bottom, right = (side - 0.5 for side in shape[:2])
    small = {"ha": "center", "fontsize": _SMALL}
    for name, middle in zip(block.names, middles, strict=True):
        write(name, -0.5, middle, (-6, 0), ha="right", va="center")
    write(block.title, -0.5, -0.5, (0, 5), ha="left", va="bottom", weight="bold")
    for text, left in zip(block.columns, lefts, strict=False):
        write(text, left + (width - 1) / 2, -0.5, (0, 3), va="bottom", **small)
    for text, left in zip(block.footer, lefts, strict=False):
        write(text, left + (width - 1) / 2, bottom, (0, -3), va="top", **small)
    write(block.footer_name, -0.5, bottom, (-6, -3), ha="right", va="top")
    offset = 0.0
    for name, values in table.items():
        offset += 72 * (max(map(style.text_inches, [name, *values])) + 0.18)
        write(name, right, -0.5, (offset, 3), ha="right", va="bottom")
        for text, middle in zip(values, middles, strict=True):
            write(text, right, middle, (offset, 0), ha="right", va="center")
    if block.holes is not None:
        for mask, left in zip(np.asarray(block.holes), lefts, strict=True):
            _outline(axes, mask[..., 0] == 0, left)


def _outline(axes: Any, hole: np.ndarray, left: int) -> None:
    """A thin frame around the hole, (height, width) bool, of the image at (left, 0)."""
    if hole.any():
        (y, x), (bottom, right) = np.argwhere(hole).min(axis=0), np.argwhere(hole).max(axis=0) + 1
        place, width, height = (left + x - 0.5, y - 0.5), right - x, bottom - y
        # An orange that is seen on black, on white, and in grey.
        frame = patches.Rectangle(
            place, width, height, fill=False, edgecolor=style.COLORS[5], linewidth=0.9
        )
        axes.add_patch(frame)


def _montage(rows: np.ndarray, row_step: int, column_step: int) -> np.ndarray:
    """One picture, float (height, width, 3), of images set apart by white gaps."""
    num_rows, num_columns, height, width = rows.shape[:4]
    gaps = ((0, 0), (0, 0), (0, row_step - height), (0, column_step - width), (0, 0))
    spaced = np.pad(np.clip(rows, 0.0, 1.0), gaps, constant_values=1.0).swapaxes(1, 2)
    picture = spaced.reshape(num_rows * row_step, num_columns * column_step, -1)
    picture = picture[: picture.shape[0] - gaps[2][1], : picture.shape[1] - gaps[3][1]]
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _aligned(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals as their column needs; a dash for NaN."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    decimals = 1 if max(finite, default=0.0) >= 100.0 else 2
    return ["\N{EN DASH}" if math.isnan(value) else f"{value:.{decimals}f}" for value in values]
