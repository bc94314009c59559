"""The confusion matrix as a picture, from an array, as `matplotlib.figure.Figure`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.figure import Figure

from kerasunsup import drawing

_SMALL = drawing.FONT_SIZE - 1


@drawing.styled
def confusion_heatmap(counts: np.ndarray, class_names: Sequence[str] | None = None) -> Figure:
    """The confusion matrix: colour and small numbers say the share of the label's images.

    The colour scale is a power law: a confusion of 0.2 % can be seen beside 100 %. At the right
    are the images of each label and the share of them that is told right, in bold of all. Where
    there are many classes first the shares, then the counts, at last some names are left out.

    Args:
        counts: (classes, classes), integers >= 0; rows are labels, columns predictions.
        class_names: (classes,); None prints the numbers.

    Raises:
        ValueError: if the counts are no such matrix, count nothing, or a name is missing.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.dtype.kind not in "iu":
        raise ValueError(
            "counts must be integers (classes, classes), received "
            f"{counts.dtype} of shape {counts.shape}"
        )
    if not counts.size or counts.min() < 0 or not counts.sum():
        raise ValueError("counts must be 0 or more and count at least one image")
    names = [str(label) for label in range(len(counts))] if class_names is None else class_names
    if len(names) != len(counts):
        raise ValueError(f"received {len(names)} class_names for {len(counts)} classes")
    return _Heatmap(counts, [_shortened(name) for name in names]).figure


class _Heatmap:
    """A confusion matrix with cells of a fixed size in inches."""

    def __init__(self, counts: np.ndarray, names: Sequence[str]) -> None:
        self._counts, self._names = counts, names
        self._totals = counts.sum(axis=1)
        self._rates = counts / np.maximum(self._totals, 1)[:, None]
        number = len(counts)
        self._cell = float(np.clip(8.0 / number, 0.13, 0.5)) if number <= 60 else 6.5 / number
        self._every = math.ceil(0.1 / self._cell)  # classes from one name to the next
        self._font = min(_SMALL, self._every * self._cell * 72 * 0.75)  # of names and margins
        widest = max(drawing.text_inches(name, self._font) for name in names)
        self._rotated = widest > self._cell * self._every - 0.05
        totals = [f"{total:,}" for total in (*self._totals, self._totals.sum())]
        self._columns = (("images", totals), ("accuracy", self._accuracies()))
        self._widths = [
            max(drawing.text_inches(text, self._font, "bold") for text in (header, *texts)) + 0.14
            for header, texts in self._columns
        ]
        if self._every > 1:
            self._widths = [0.0, 0.0]  # a row is too low for its numbers
        side = number * self._cell
        below = widest if self._rotated else 0.15
        left, right, bottom, top = widest + 0.42, sum(self._widths) + 0.95, below + 0.42, 0.3
        bar_height = float(np.clip(side, 1.75, 3.0))
        bottom = max(bottom, bar_height - side + 0.1)
        width, height = left + side + right, bottom + side + top
        self.figure = Figure(figsize=(width, height))
        self._axes = self.figure.add_axes(
            (left / width, bottom / height, side / width, side / height)
        )
        self._left, self._below = widest + 0.12, below + 0.1  # inches to the axis titles
        self._draw()
        bar_left = left + side + sum(self._widths) + 0.25
        self._draw_scale(
            self.figure.add_axes(
                (bar_left / width, (bottom + side - bar_height) / height, 0.13 / width,
                 bar_height / height)
            )
        )  # fmt: skip

    def _accuracies(self) -> list[str]:
        right = [*np.diagonal(self._counts), np.trace(self._counts)]
        totals = [*self._totals, self._totals.sum()]
        return [
            _percent(part / whole, 2 if whole >= 5000 else 1) if whole else "\N{EN DASH}"
            for part, whole in zip(right, totals, strict=True)
        ]

    def _draw(self) -> None:
        axes, number = self._axes, len(self._counts)
        norm = colors.PowerNorm(0.3, 0.0, 1.0)
        self._image = axes.imshow(
            self._rates, cmap=_white_to_blue(), norm=norm, interpolation="nearest", aspect="auto"
        )
        for spine in axes.spines.values():
            spine.set_visible(True)
        shown = list(range(0, number, self._every))
        names = [self._names[index] for index in shown]
        axes.set_xticks(shown, names, rotation=90 if self._rotated else 0)
        axes.set_yticks(shown, names)
        drawing.without_math([*axes.get_xticklabels(), *axes.get_yticklabels()])
        axes.tick_params(length=0, labelsize=self._font)
        side = number * self._cell
        axes.set_xlabel("prediction")
        axes.xaxis.set_label_coords(0.5, -self._below / side)
        axes.set_ylabel("label")
        axes.yaxis.set_label_coords(-self._left / side, 0.5)
        axes.set_xticks(np.arange(number - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(number - 1) + 0.5, minor=True)
        axes.grid(True, which="minor", color="0.9", linewidth=0.4)
        axes.tick_params(which="minor", length=0)
        self._write_cells()
        self._write_margin()

    def _write_cells(self) -> None:
        widest = max(
            drawing.text_inches("0" * len(f"{count:,}"), 10.0) for count in (self._counts.max(), 0)
        )
        # As large as the cell lets it be; below 5 points nobody reads it.
        size = min(_SMALL, 10.0 * (self._cell - 0.06) / widest, self._cell * 72 * 0.6)
        if size < 5.0:
            return
        with_rates = self._cell >= 0.4
        for row, column in np.argwhere(self._counts > 0):
            rate = self._rates[row, column]
            color = "white" if rate**0.3 > 0.62 else "black"
            options: dict[str, Any] = {"ha": "center", "color": color}
            axes = self._axes
            axes.text(
                column, row - (0.03 if with_rates else 0.0), f"{self._counts[row, column]:,}",
                va="bottom" if with_rates else "center_baseline", fontsize=size, **options,
            )  # fmt: skip
            if with_rates:
                axes.text(
                    column, row + 0.1, _percent(rate), va="top", fontsize=min(6.0, size), **options
                )

    def _write_margin(self) -> None:
        if not sum(self._widths):
            return
        number = len(self._counts)
        edge = 0.0
        for (header, texts), width in zip(self._columns, self._widths, strict=True):
            edge += width * 72
            for row, text in [(-1, header), *enumerate(texts)]:
                place, shift, align = {
                    -1: (-0.5, 3, "bottom"),
                    number: (number - 0.5, -5, "top"),
                }.get(row, (row, 0, "center"))
                self._axes.annotate(
                    text, (number - 0.5, place), (edge, shift), textcoords="offset points",
                    annotation_clip=False, ha="right", va=align, fontsize=self._font,
                    weight="bold" if row == number else "normal",
                )  # fmt: skip

    def _draw_scale(self, axes: Any) -> None:
        bar = self.figure.colorbar(self._image, cax=axes)
        ticks = [0.0, 0.001, 0.01, 0.1, 0.3, 1.0]
        bar.set_ticks(ticks, labels=[f"{100.0 * tick:g}" for tick in ticks])
        bar.ax.minorticks_off()
        bar.outline.set_linewidth(0.6)
        bar.set_label("share of the label's images / %", fontsize=_SMALL)


def _white_to_blue() -> colors.Colormap:
    return colors.LinearSegmentedColormap.from_list(
        "white_to_blue", ["#ffffff", "#c6dbef", "#6baed6", "#2171b5", "#08306b"]
    )


def _percent(share: float, decimals: int = 1) -> str:
    """A share as %; 100 and 0 are written only where it is no more and no less."""
    if share in (0.0, 1.0):
        return f"{100.0 * share:.0f} %"
    while decimals < 4 and round(100.0 * share, decimals) in (0.0, 100.0):
        decimals += 1
    return f"{100.0 * share:.{decimals}f} %"


def _shortened(name: str, most: int = 26) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
