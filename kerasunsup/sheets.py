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

from kerasunsup import drawing

_CELL_INCHES = 0.56  # side of one image, about
_MOST_ROWS = 26  # of reconstructions; more make a picture taller than a page can show
_CAPTIONED_A_ROW = 10
_PAGE_INCHES = 7.2  # width that captioned images may take
_SMALL = drawing.FONT_SIZE - 1  # of the texts above and below images


@dataclasses.dataclass(frozen=True)
class Restoration:
    """One block of `restorations`: the same images corrupted, restored and as they were."""

    title: str
    corrupted: np.ndarray  # (k, height, width, channels), float32 in [0, 1]
    restored: np.ndarray  # the same shape
    originals: np.ndarray  # the same shape
    gains_db: np.ndarray  # (k,), PSNR of the restored less that of the corrupted, in dB
    holes: np.ndarray | None = None  # (k, height, width, 1), 0 in the hole; outlined


@dataclasses.dataclass(frozen=True)
class SampleRow:
    """One row of `sampled_images`: images made in one way, and the numbers of that way."""

    name: str
    images: np.ndarray  # (k, height, width, channels), float32 in [0, 1]
    numbers: Mapping[str, float]  # column header -> value; NaN or a missing one shows a dash


@drawing.styled
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
        snapshots: (s, k, height, width, channels), float32 in [0, 1]; a row each. Of more than 25,
            25 evenly spaced ones are shown, the first and the last among them.
        epochs: (s,), the epoch of each snapshot.
        column_labels: (k,), printed above the columns.

    Raises:
        ValueError: if the shapes do not fit together.
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
    most = _MOST_ROWS - 1
    shown = np.unique(np.linspace(0, len(epochs) - 1, min(most, len(epochs))).round().astype(int))
    names = ["original"] + [f"epoch {epochs[index]}" for index in shown]
    sheet = _Sheet(left=names)
    sheet.add(originals[None], names[:1], columns=column_labels)
    sheet.add(snapshots[shown], names[1:])
    return sheet.draw()


@drawing.styled
def restorations(blocks: Sequence[Restoration]) -> Figure:
    """Corrupted, restored and original images, with the gain of each in dB.

    Args:
        blocks: one a kind of corruption; each is three rows under its title.

    Raises:
        ValueError: if there is no block, or the shapes of one do not fit together.
    """
    if not blocks:
        raise ValueError("restorations needs at least one block, received none")
    names = ["input", "restored", "original"]
    sheet = _Sheet(left=[*names, "gain"])
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
        sheet.add(
            np.stack(rows), names, title=block.title, footer=gains, footer_name="gain",
            holes=block.holes,
        )  # fmt: skip
    return sheet.draw()


@drawing.styled
def sampled_images(rows: Sequence[SampleRow]) -> Figure:
    """Images made in several ways, a row each, with the numbers that each way is judged by.

    Args:
        rows: top to bottom. A row with fewer images than another leaves its right end empty.

    Raises:
        ValueError: if there is no row, or the image sizes differ.
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
    sheet = _Sheet(left=[row.name for row in rows], table=table)
    sheet.add(stack, [row.name for row in rows])
    return sheet.draw()


@drawing.styled
def captioned_images(pictures: np.ndarray, above: Sequence[str], below: Sequence[str]) -> Figure:
    """Images with a text above and below each, ten a row, fewer where the texts are long.

    Args:
        pictures: (k, height, width, channels), float32 in [0, 1].
        above: (k,), such as "4 as 9".
        below: (k,), such as "99.8 %".

    Raises:
        ValueError: if there is no image, or not one text above and below each.
    """
    pictures = np.asarray(pictures)
    if not len(pictures) or not len(pictures) == len(above) == len(below):
        raise ValueError(
            f"captioned images need a text above and below each image, received {len(above)} and "
            f"{len(below)} for {len(pictures)} images"
        )
    widest = max(drawing.text_inches(text, _SMALL) for text in [*above, *below])
    most = int(_PAGE_INCHES / (max(_CELL_INCHES, widest + 0.08) + 0.04))
    columns = min(max(1, most), _CAPTIONED_A_ROW, len(pictures))
    # The outer texts may be wider than their images.
    side_inches = 0.1 + max(0.0, (widest - _CELL_INCHES) / 2)
    sheet = _Sheet(left=[""], left_inches=side_inches, right_inches=side_inches)
    for start in range(0, len(pictures), columns):
        chosen = slice(start, start + columns)
        row = np.ones((columns, *pictures.shape[1:]), np.float32)
        row[: len(pictures[chosen])] = pictures[chosen]
        blank = [""] * (columns - len(pictures[chosen]))
        sheet.add(
            row[np.newaxis], [""], columns=[*above[chosen], *blank],
            footer=[*below[chosen], *blank],
        )  # fmt: skip
    return sheet.draw()


class _Sheet:
    """Rows of images with names at their left, laid out in whole pixels at `drawing.DPI`."""

    def __init__(
        self,
        left: Sequence[str],
        *,
        left_inches: float = 0.2,
        right_inches: float = 0.1,
        table: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._left = max(map(drawing.text_inches, left)) + left_inches
        self._table = dict(table or {})
        self._widths = [
            max(map(drawing.text_inches, [name, *values])) + 0.18
            for name, values in self._table.items()
        ]
        self._right = right_inches + sum(self._widths)
        self._blocks: list[dict[str, Any]] = []

    def add(
        self,
        rows: np.ndarray,
        names: Sequence[str],
        *,
        title: str = "",
        columns: Sequence[str] | None = None,
        footer: Sequence[str] | None = None,
        footer_name: str = "",
        holes: np.ndarray | None = None,
    ) -> None:
        """Adds a block of rows, (rows, columns, height, width, channels) in [0, 1]."""
        if rows.ndim != 5 or rows.shape[-1] not in (1, 3) or not rows.size:
            raise ValueError(
                "images must be (k, height, width, channels) with 1 or 3 channels, received "
                f"{rows.shape[1:]}"
            )
        self._blocks.append(
            {
                "rows": rows, "names": names, "title": title, "columns": columns or [],
                "footer": footer or [], "footer_name": footer_name, "holes": holes,
            }
        )  # fmt: skip

    def draw(self) -> Figure:
        """The figure with all blocks, one below the other."""
        texts = [text for block in self._blocks for text in (*block["columns"], *block["footer"])]
        needed = max((drawing.text_inches(text, _SMALL) + 0.08 for text in texts), default=0.0)
        places = []
        top, widest = 0.08, 0.0
        for block in self._blocks:
            height, width = block["rows"].shape[2:4]
            scale = max(1, round(_CELL_INCHES * drawing.DPI / max(height, width)))
            gap = max(1, math.ceil(4 / scale))  # about four pixels, in image pixels
            # Columns move apart where a text needs more room than its image.
            steps = (
                height + gap,
                width + max(gap, math.ceil(needed * drawing.DPI / scale) - width),
            )
            montage = _montage(block["rows"], *steps)
            size = np.array(montage.shape[:2]) * scale / drawing.DPI  # inches
            top += 0.27 if block["title"] else 0.0
            top += 0.2 if block["columns"] or self._table else 0.0
            places.append((montage, steps, size, top))
            top += size[0] + (0.22 if block["footer"] else 0.0) + 0.1
            widest = max(widest, size[1])
        titles = [drawing.text_inches(block["title"], weight="bold") for block in self._blocks]
        width = self._left + max(widest + self._right, max(titles) + 0.1)
        width, height = (math.ceil(side * drawing.DPI) / drawing.DPI for side in (width, top))
        figure = Figure(figsize=(width, height))
        for block, (montage, steps, size, start) in zip(self._blocks, places, strict=True):
            box = (
                round(self._left * drawing.DPI) / (width * drawing.DPI),
                1.0 - round((start + size[0]) * drawing.DPI) / (height * drawing.DPI),
                size[1] / width,
                size[0] / height,
            )
            self._draw_block(figure.add_axes(box), block, montage, steps)
        return figure

    def _draw_block(
        self, axes: Any, block: Mapping[str, Any], montage: np.ndarray, steps: tuple[int, int]
    ) -> None:
        def write(text: str, x: float, y: float, shift: tuple[float, float], **look: Any) -> None:
            """At image pixel (x, y), moved by points."""
            axes.annotate(
                text, (x, y), shift, textcoords="offset points", annotation_clip=False, **look
            )

        axes.imshow(montage, interpolation="nearest", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_axis_off()
        num_rows, num_columns, height, width = block["rows"].shape[:4]
        lefts = [column * steps[1] for column in range(num_columns)]
        middles = [row * steps[0] + (height - 1) / 2 for row in range(num_rows)]
        bottom, right = (side - 0.5 for side in montage.shape[:2])
        small = {"ha": "center", "fontsize": _SMALL}
        for name, middle in zip(block["names"], middles, strict=True):
            write(name, -0.5, middle, (-6, 0), ha="right", va="center")
        write(block["title"], -0.5, -0.5, (0, 5), ha="left", va="bottom", weight="bold")
        for text, left in zip(block["columns"], lefts, strict=False):
            write(text, left + (width - 1) / 2, -0.5, (0, 3), va="bottom", **small)
        for text, left in zip(block["footer"], lefts, strict=False):
            write(text, left + (width - 1) / 2, bottom, (0, -3), va="top", **small)
        write(block["footer_name"], -0.5, bottom, (-6, -3), ha="right", va="top")
        offset = 0.0
        for (name, values), inches in zip(self._table.items(), self._widths, strict=True):
            offset += inches * 72
            write(name, right, -0.5, (offset, 3), ha="right", va="bottom")
            for text, middle in zip(values, middles, strict=True):
                write(text, right, middle, (offset, 0), ha="right", va="center")
        if block["holes"] is not None:
            for mask, left in zip(np.asarray(block["holes"]), lefts, strict=True):
                _outline(axes, mask[..., 0] == 0, left)


def _outline(axes: Any, hole: np.ndarray, left: int) -> None:
    """A thin frame around the hole, (height, width) bool, of the image at (left, 0)."""
    if hole.any():
        (y, x), (bottom, right) = np.argwhere(hole).min(axis=0), np.argwhere(hole).max(axis=0) + 1
        place, width, height = (left + x - 0.5, y - 0.5), right - x, bottom - y
        # An orange that is seen on black, on white, and in grey.
        frame = patches.Rectangle(
            place, width, height, fill=False, edgecolor=drawing.COLORS[5], linewidth=0.9
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
