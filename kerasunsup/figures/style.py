"""How every picture looks: style, colours, and figures as PNG or pixels.

matplotlib only by its object-oriented interface: no pyplot, no window, no settings left behind.
All figures can be read in grey.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, textpath, ticker
from matplotlib.backends import backend_agg
from matplotlib.figure import Figure

FONT_SIZE = 9.0  # points
DPI = 150  # pixels of image cells are whole multiples of the images' at this resolution

_STYLE = {
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "legend.fontsize": FONT_SIZE - 0.5,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign in a name starts no formula
}

# Okabe and Ito's colours, which colour-blind readers can tell apart, darkest first; with a line
# style and a marker each, so that grey print keeps them apart too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
MARKERS = "osD^vPX<>*h"

NUMBERS = ticker.StrMethodFormatter("{x:,.9g}")  # of ticks: 0.005, 1,000


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Within this context, matplotlib has our settings and nobody else's."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # A class name in a script that the font lacks shows boxes; no reason to stop or to warn.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        yield


styled = _style()  # decorates functions: whatever a caller's own settings are, ours hold in them


@styled
def to_png(figure: Figure, dpi: float = DPI) -> bytes:
    """The figure as a PNG file of `dpi` pixels an inch; the same figure gives the same bytes.

    Example:
        >>> figure, _ = panel(1.0, 1.0)
        >>> to_png(figure, dpi=50)[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


@styled
def to_pixels(figure: Figure, dpi: float = 100) -> np.ndarray:
    """The figure as uint8 (height, width, 3), at `dpi` pixels an inch.

    Example:
        >>> figure, _ = panel(width=2.0, height=1.0)
        >>> to_pixels(figure, dpi=50).shape
        (50, 100, 3)
    """
    original = figure.dpi
    figure.set_dpi(dpi)
    try:
        canvas = backend_agg.FigureCanvasAgg(figure)
        canvas.draw()
        return np.array(canvas.buffer_rgba())[:, :, :3]
    finally:
        figure.set_dpi(original)


def text_inches(text: str, size: float = FONT_SIZE) -> float:
    """Width in inches of a line of text whose size is in points.

    Example:
        >>> round(text_inches("width", size=36.0) / text_inches("width", size=9.0))
        4
    """
    font = font_manager.FontProperties(size=size)
    return textpath.text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def panel(width: float = 5.2, height: float = 3.5) -> tuple[Figure, Any]:
    """A figure of one plot with a grid, and its axes; width and height are in inches.

    Example:
        >>> figure, axes = panel(2.0, 1.0)
        >>> figure.get_size_inches()
        array([2., 1.])
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True)
    return figure, axes


def look(index: int) -> dict[str, Any]:
    """How the line of this index looks, as keyword arguments of a matplotlib line.

    Where the colours begin again, lines and markers are others, and markers are hollow.

    Example:
        >>> look(0)["color"], look(1)["marker"]
        ('#0072B2', 's')
    """
    again, place = divmod(index, len(COLORS))
    filled = {} if again == 0 else {"markerfacecolor": "white"}
    return {
        "color": COLORS[place],
        "linestyle": LINES[(place + again) % len(LINES)],
        "marker": MARKERS[(place + again) % len(MARKERS)],
    } | filled


def log_axis(axes: Any, name: str) -> None:
    """Makes the axis "x" or "y" logarithmic, with ticks such as 0.005 that are not too many.

    The axis spans a factor of 2.25 at least, so that values that hardly differ show as level. An
    axis with nothing above 0 stays as it is.

    Example:
        >>> _, axes = panel()
        >>> _ = axes.plot([0.01, 0.1])
        >>> log_axis(axes, "y")
        >>> axes.get_yscale()
        'log'
    """
    if math.isinf(axes.dataLim.minpos["xy".index(name)]):
        return
    getattr(axes, f"set_{name}scale")("log")
    low, high = getattr(axes, f"get_{name}lim")()
    middle = math.sqrt(low * high)
    low, high = min(low, middle / 1.5), max(high, middle * 1.5)
    getattr(axes, f"set_{name}lim")(low, high)
    decades = math.log10(high / low)
    steps: tuple[float, ...] = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0)
    steps = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0) if decades < 0.7 else steps
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(ticker.LogLocator(subs=steps))
    axis.set_major_formatter(NUMBERS)
    axis.set_minor_locator(ticker.NullLocator())


def log_axis_from_zero(axes: Any, values: np.ndarray) -> None:
    """Makes the x axis logarithmic; if 0 is among the values, linear around it.

    Args:
        axes: of matplotlib.
        values: what is drawn along the axis, >= 0.

    Example:
        >>> _, axes = panel()
        >>> log_axis_from_zero(axes, np.array([0.0, 64.0, 6400.0]))
        >>> axes.get_xscale()
        'symlog'
    """
    if (values > 0.0).all():
        log_axis(axes, "x")
        return
    most = values.max() or 1.0
    least = np.min(values[values > 0.0], initial=most)
    steps = (1.0,) if most > 50.0 * least else (1.0, 2.0, 5.0)
    least = 10.0 ** np.floor(np.log10(least))
    axes.set_xscale("symlog", linthresh=least, linscale=0.8, subs=range(2, 10))
    axes.set_xlim(right=1.1 * most)
    locator = ticker.SymmetricalLogLocator(base=10.0, linthresh=least, subs=steps)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(NUMBERS)


def shortened(name: str, most: int = 40) -> str:
    """The name in at most so many characters, its end cut off where it is longer.

    Example:
        >>> shortened("a long name of a class", 8)
        'a long…'
    """
    return name if len(name) <= most else name[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def num_columns(names: Iterable[str], width: float) -> int:
    """How many columns of a legend of these names, four at most, fit into a width in inches.

    Example:
        >>> num_columns(["a", "b", "c"], width=7.0)
        4
    """
    return max(1, min(4, int(width / (max(map(text_inches, names)) + 0.5))))
