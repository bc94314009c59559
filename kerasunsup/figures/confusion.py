"""The confusion matrix as a picture, from an array, as `matplotlib.figure.Figure`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.figure import Figure

from kerasunsup.figures import style

_SMALL = style.FONT_SIZE - 1
_TICKS = (0.0, 0.001, 0.01, 0.1, 0.3, 1.0)  # of the colour scale


@style.styled
def confusion_heatmap(counts: np.ndarray, class_names: Sequence[str] | None = None) -> Figure:
    """The confusion matrix: colours and small numbers show the share of the label's images.

    The colour scale is a power law, so that a confusion of 0.2 % can be seen beside 100 %. The
    right margin gives the share of each label's images that is predicted right and their number,
    and the title gives the same for all images. Where there are many classes, first the shares are
    left out, then the counts, and at last some names.

    Args:
        counts: (classes, classes), integers >= 0; rows are labels, columns predictions.
        class_names: (classes,); None prints the numbers.

    Raises:
        ValueError: if the counts are no such matrix, count nothing, or a name is missing.

    Example:
        >>> figure = confusion_heatmap(np.array([[9, 1], [0, 10]]))
        >>> figure.axes[0].get_title()
        'right predictions: 95.00 % of 20 images'
    """
    counts = _checked(np.asarray(counts))
    number = len(counts)
    names = [style.shortened(str(name), 26) for name in class_names or range(number)]
    if len(names) != number:
        raise ValueError(f"received {len(names)} class_names for {number} classes")
    side = float(np.clip(0.5 * number, 2.0, 8.0))  # inches
    every = math.ceil(0.1 * number / side)  # classes from one name to the next
    font = min(_SMALL, every * side / number * 72 * 0.75)
    name_inches = max(style.text_inches(name, font) for name in names)
    is_turned = name_inches + 0.05 > every * side / number
    figure = Figure(
        figsize=(side + name_inches + 2.8, side + (name_inches if is_turned else 0.15) + 0.7),
        layout="compressed",
    )
    axes = figure.add_subplot(title=f"right predictions: {_right(counts, decimals=2)} images")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # scikit-learn's ConfusionMatrixDisplay has no such scale, and loads pyplot.
    scale = colors.PowerNorm(0.3, 0.0, 1.0)
    image = axes.imshow(np.ma.masked_equal(shares, 0.0), cmap="Blues", norm=scale)
    shown = range(0, number, every)
    axes.set_xticks(shown, names[::every], rotation=90 if is_turned else 0, fontsize=font)
    axes.set_yticks(shown, names[::every], fontsize=font)
    axes.set(xlabel="prediction", ylabel="label")
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    if every == 1:
        edges = np.arange(number - 1) + 0.5
        right = axes.secondary_yaxis("right")
        right.set_yticks(shown, [_right(counts, label) for label in shown], fontsize=font)
        right.tick_params(length=0)
        for draw in (axes.hlines, axes.vlines):
            draw(edges, -0.5, number - 0.5, color="0.9", linewidth=0.4)
    _write_cells(axes, counts, shares, side / number)
    bar = figure.colorbar(image, ax=axes, label="share of the label's images / %", ticks=_TICKS)
    bar.ax.set_yticklabels([f"{100.0 * tick:g}" for tick in _TICKS])
    return figure


def _checked(counts: np.ndarray) -> np.ndarray:
    """The counts, if they are those of a confusion matrix."""
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.dtype.kind not in "iu":
        raise ValueError(
            "counts must be integers (classes, classes), received "
            f"{counts.dtype} of shape {counts.shape}"
        )
    if not counts.size or counts.min() < 0 or not counts.sum():
        raise ValueError("counts must be 0 or more and count at least one image")
    return counts


def _write_cells(axes: Any, counts: np.ndarray, shares: np.ndarray, cell: float) -> None:
    """Counts, and shares where there is room, in cells of a side in inches."""
    num_lines = 2 if cell > 0.4 else 1
    texts = {
        place: [f"{counts[place]:,}", _percent(shares[place])][:num_lines]
        for place in zip(*np.nonzero(counts), strict=True)
    }
    longest = max(len(line) for lines in texts.values() for line in lines)
    size = min(_SMALL, 0.95 * cell * 72 / (0.62 * longest))
    for (row, column), lines in texts.items() if size >= 5.0 else ():  # else nobody could read it
        color = "white" if shares[row, column] ** 0.3 > 0.62 else "black"
        place = {"ha": "center", "va": "center", "fontsize": size, "color": color}
        axes.text(column, row, "\n".join(lines), **place)


def _right(counts: np.ndarray, label: int | None = None, decimals: int = 1) -> str:
    """The share of a label's images, or of all, that is predicted right, and their number."""
    right = np.trace(counts) if label is None else counts[label, label]
    total = counts.sum() if label is None else counts[label].sum()
    return f"{_percent(right / total, decimals)} of {total:,}" if total else "none"


def _percent(share: float, decimals: int = 1) -> str:
    """A share as %; 100 and 0 are written only where it is no more and no less."""
    if share in (0.0, 1.0):
        return f"{100.0 * share:.0f} %"
    while decimals < 4 and round(100.0 * share, decimals) in (0.0, 100.0):
        decimals += 1
    return f"{100.0 * share:.{decimals}f} %"
