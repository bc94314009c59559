"""Pictures of classifiers, from arrays, as `matplotlib.figure.Figure`.

An arm is one way of making a classifier, such as a pretrained encoder or one from scratch; the
colours of arms are the same in every picture that is given them in the same order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib import colors, lines, ticker
from matplotlib.figure import Figure

from kerasunsup import drawing

_COLORS = (*drawing.COLORS, "#332288", "#882255", "#999933")
_GREYS = ("0.0", "0.4", "0.55", "0.25", "0.5")  # arms from scratch
_DASHES = ((0, (4, 2)), (0, (1, 1.4)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1)), (0, (8, 2)))
_MARKERS = "osD^vPX<>"
_BAR = [(-1, -2), (1, -2), (0, -2), (0, 2), (-1, 2), (1, 2), (0, 2), (0, -2)]  # as a marker
_MOST_BARS = 3  # arms whose intervals can be told apart in one panel
_SMALL = drawing.FONT_SIZE - 1
_LINE_INCHES = 0.165  # of a line of small text


class Reliability(Protocol):
    """What `reliability_curve` reads: one value a bin, the bins of equal width over [0, 1].

    Attributes:
        confidence: (bins,), mean of the highest probability in the bin, NaN where it is empty.
        accuracy: (bins,), share of right predictions in [0, 1], NaN where the bin is empty.
        count: (bins,), images.
        expected_calibration_error: a share, in [0, 1].
    """

    @property
    def confidence(self) -> np.ndarray: ...  # noqa: D102
    @property
    def accuracy(self) -> np.ndarray: ...  # noqa: D102
    @property
    def count(self) -> np.ndarray: ...  # noqa: D102
    @property
    def expected_calibration_error(self) -> float: ...  # noqa: D102


@drawing.styled
def label_efficiency(
    labels: Sequence[int],
    arms: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    scratch: Collection[str] = (),
    last_is_all: bool = True,
) -> Figure:
    """Test error over the number of labels, a line an arm, both axes logarithmic.

    Arms stand a little beside each other at each number, so that their bars can be told apart.

    Args:
        labels: (n,), increasing.
        arms: name -> (mean, standard deviation) over seeds of the share of wrong predictions, in
            [0, 1], each (n,). NaN in the mean: not run at that number; NaN in the deviation: no
            bar. An arm that was never run is left out; an error of 0 stands at the lower edge.
        scratch: names of arms that began with random weights, those not drawn too: grey, dashed
            and hollow. All others are coloured, solid and filled.
        last_is_all: whether the last number is written as "all".

    Raises:
        ValueError: if the numbers do not increase, a length differs, an error is not a share, or
            nothing is left to draw.
    """
    sizes = np.asarray(labels, float)
    if not len(sizes) or sizes[0] <= 0 or (np.diff(sizes) <= 0).any():
        raise ValueError(f"labels must be increasing numbers above 0, received {list(labels)}")
    looks = _looks(arms, scratch)
    curves = {}
    for name, parts in arms.items():
        mean, deviation = (100.0 * np.asarray(part, float) for part in parts)
        if mean.shape != sizes.shape or deviation.shape != sizes.shape:
            raise ValueError(
                f"{name!r} needs {len(sizes)} means and deviations, received the shapes "
                f"{mean.shape} and {deviation.shape}"
            )
        run = np.isfinite(mean)
        if ((mean[run] < 0.0) | (mean[run] > 100.0)).any():
            raise ValueError(f"errors of {name!r} must be shares in [0, 1], received {parts[0]}")
        if run.any():
            curves[name] = (sizes[run], mean[run], deviation[run])
    if not curves:
        raise ValueError("label_efficiency needs an arm with an error, received none")
    has_both = 0 < len(set(scratch) & set(curves)) < len(curves)
    plot = _LogPlot(sizes, curves, num_keys=3 if has_both else 1, last_is_all=last_is_all)
    axes = plot.axes
    for index, (name, (x, mean, deviation)) in enumerate(curves.items()):
        places, shown, look = plot.beside(x, index), plot.shown(mean), looks[name]
        axes.errorbar(
            places, shown, yerr=deviation, fmt="none", ecolor=look.color, capsize=1.8,
            elinewidth=0.8, capthick=0.8, zorder=2,
        )  # fmt: skip
        axes.plot(places, shown, label=name, zorder=2.5, clip_on=False, **look.options())
    plot.name_lines({name: looks[name].text_color for name in curves})
    handles = [
        lines.Line2D(
            [], [], linestyle="", marker=_BAR, color="0.3", markersize=9, markeredgewidth=0.8,
            label="standard deviation over seeds",
        )
    ]  # fmt: skip
    if has_both:
        kinds = ((_Look("0.3", "-", "o", True), "unsupervised start"),
                 (_Look("0.3", _DASHES[0], "o", False), "from scratch"))  # fmt: skip
        handles[:0] = [lines.Line2D([], [], label=text, **look.options()) for look, text in kinds]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=plot.key_columns,
        borderaxespad=0.2, handlelength=2.4, columnspacing=1.4,
    )  # fmt: skip
    return plot.figure


@drawing.styled
def learning_speed(
    arms: Mapping[str, Mapping[str, np.ndarray]], *, scratch: Collection[str] = ()
) -> Figure:
    """Validation accuracy and loss, against the images seen and against the time.

    Lines are means over seeds, bands reach from the lowest to the highest seed. The axis of the
    accuracy is that of the error, logarithmic, so that 99 % and 99.5 % lie as far apart as 90 %
    and 95 %. What was measured at 0 images or seconds stands left of a break in the axis.

    Args:
        arms: name -> "images" (points,), seen until then, and (seeds, points) each of "seconds"
            until then (drawn at their mean over seeds), "accuracy" in [0, 1] and "loss" (nats,
            mean over images). A NaN is left out of mean and band.
        scratch: names of the arms that began with random weights, as in `label_efficiency`.

    Raises:
        ValueError: if there is no arm, a key is missing, or shapes or ranges do not fit.
    """
    curves = {name: _speed(name, arm) for name, arm in arms.items()}
    if not curves:
        raise ValueError("learning_speed needs at least one arm, received none")
    looks = _looks(arms, scratch)
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    rows = (("accuracy", "validation accuracy / %"), ("loss", "loss / nats"))
    columns = (("images", "images seen"), ("seconds", "training time / s"))
    for column, (over, x_label) in enumerate(columns):
        zero = _zero_place([curve[over] for curve in curves.values()])
        for row, (key, y_label) in enumerate(rows):
            axes = grid[row, column]
            for index, (name, curve) in enumerate(curves.items()):
                x = np.where(curve[over] > 0.0, curve[over], zero)
                low, mean, high = curve[key]
                # Shares of the panel's diagonal, so that markers do not crowd where points do.
                every = (0.03 + 0.04 * (index % 4), 0.16) if len(x) > 8 else 1
                look = looks[name]
                axes.fill_between(x, low, high, color=look.color, alpha=0.16, linewidth=0)
                axes.plot(x, mean, label=name, markevery=every, **look.options())
            axes.grid(True, which="major")
            axes.label_outer()
            if column == 0:
                axes.set_ylabel(y_label)
        _speed_axis(grid[:, column], [curve[over] for curve in curves.values()], zero)
        grid[1, column].set_xlabel(x_label)
    _accuracy_axis(grid[0, 0], [curve["accuracy"] for curve in curves.values()])
    losses = np.concatenate([curve["loss"].ravel() for curve in curves.values()])
    if (losses[np.isfinite(losses)] > 0.0).all():
        _loss_axis(grid[1, 0])
    figure.align_ylabels(grid[:, 0])
    widest = max(drawing.text_inches(name, _SMALL + 0.5) for name in curves) + 0.65
    legend = figure.legend(
        *grid[0, 0].get_legend_handles_labels(), loc="outside upper center", handlelength=2.8,
        ncols=int(np.clip(6.9 / widest, 1, 4)),
    )  # fmt: skip
    drawing.without_math(legend.get_texts())
    return figure


@drawing.styled
def reliability_curve(
    arms: Mapping[str, Reliability], *, fewest: int = 10, scratch: Collection[str] = ()
) -> Figure:
    """How often classifiers are right over how sure they say they are; below, the images.

    Bins of few images are faint and stand outside the lines. The bars of up to three arms are 95 %
    intervals of the accuracy (Wilson); more could not be told apart.

    Args:
        arms: name -> reliability over the bins; as many bins each as it has.
        fewest: images that a bin needs to be drawn in full.
        scratch: names of the arms that began with random weights, as in `label_efficiency`.

    Raises:
        ValueError: if there is no arm or the lengths within one differ.
    """
    if not arms:
        raise ValueError("reliability_curve needs at least one arm, received none")
    for name, arm in arms.items():
        if not len(arm.confidence) == len(arm.accuracy) == len(arm.count):
            raise ValueError(
                f"{name!r} must have one confidence, accuracy and count a bin, received "
                f"{len(arm.confidence)}, {len(arm.accuracy)} and {len(arm.count)}"
            )
    figure = Figure(figsize=(4.8, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.1])
    handles: list[Any] = []
    looks = _looks(arms, scratch)
    lowest, any_faint = 1.0, False
    for index, (name, arm) in enumerate(arms.items()):
        look = looks[name]
        confidence, accuracy, count = (
            np.asarray(part, float) for part in (arm.confidence, arm.accuracy, arm.count)
        )
        full = count >= fewest
        faint = (count > 0) & ~full
        any_faint = any_faint or bool(faint.any())
        options = look.options()
        if look.is_filled:
            options["linestyle"] = drawing.LINES[index % len(drawing.LINES)]
        if len(arms) <= _MOST_BARS:
            low, high = _wilson(accuracy[full], count[full])
            reach = np.maximum([accuracy[full] - low, high - accuracy[full]], 0.0)
            upper.errorbar(
                confidence[full], accuracy[full], yerr=reach, fmt="none", ecolor=look.color,
                elinewidth=0.7,
            )  # fmt: skip
        handles += upper.plot(
            confidence[full], accuracy[full], **options, zorder=2.5,
            label=f"{name}: ECE {100.0 * arm.expected_calibration_error:.2f} %",
        )  # fmt: skip
        upper.plot(
            confidence[faint], accuracy[faint], look.marker, color=look.color,
            markerfacecolor="none", alpha=0.45,
        )  # fmt: skip
        edges = np.linspace(0.0, 1.0, len(count) + 1)
        lower.stairs(
            count, edges, baseline=None, color=look.color, linestyle=options["linestyle"],
            linewidth=1.2,
        )  # fmt: skip
        lowest = min(lowest, edges[int(np.argmax(count > 0))])
    handles += upper.plot(
        [0, 1], [0, 1], color="0.6", linewidth=0.9, zorder=1, label="calibrated: as right as sure"
    )
    if any_faint:
        handles += upper.plot(
            [], [], "o", color="0.3", markerfacecolor="none", alpha=0.6,
            label=f"faint: bins of fewer than {fewest} images",
        )  # fmt: skip
    upper.set_xlim(min(lowest, 0.5) - 0.015, 1.015)
    upper.set_ylim(-0.03, 1.03)
    upper.set_ylabel("accuracy")
    lower.set_yscale("log")
    most = max(float(np.max(arm.count)) for arm in arms.values())
    lower.set_ylim(0.7, max(2.0, most) * 1.8)
    lower.yaxis.set_major_locator(ticker.LogLocator(numticks=4))
    lower.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    lower.yaxis.set_minor_locator(ticker.NullLocator())
    lower.set_ylabel("images")
    lower.set_xlabel("confidence: mean highest probability in the bin")
    for axes in (upper, lower):
        axes.grid(True)
    figure.align_ylabels([upper, lower])
    legend = figure.legend(handles=handles, loc="outside upper left", ncols=1, handlelength=2.8)
    drawing.without_math(legend.get_texts())
    return figure


@dataclasses.dataclass(frozen=True)
class _Look:
    """How the line of an arm looks."""

    color: str
    line: Any
    marker: str
    is_filled: bool

    def options(self) -> dict[str, Any]:
        """Keyword arguments of a matplotlib line."""
        return {
            "color": self.color, "linestyle": self.line, "marker": self.marker,
            "markerfacecolor": self.color if self.is_filled else "white",
            # A white edge sets a marker apart from another's line below it.
            "markeredgecolor": "white" if self.is_filled else self.color,
            "markeredgewidth": 0.5 if self.is_filled else 1.0,
            "markersize": (6.0 if self.marker in "PX^v<>" else 5.2) - (not self.is_filled),
        }  # fmt: skip

    @property
    def text_color(self) -> tuple[float, ...]:
        """The colour, dark enough to be read as text on white."""
        return tuple(0.72 * part for part in colors.to_rgb(self.color))


def _looks(names: Collection[str], scratch: Collection[str]) -> dict[str, _Look]:
    looks, num_hollow = {}, 0
    for index, name in enumerate(names):
        marker = _MARKERS[index % len(_MARKERS)]
        if name in scratch:
            place = num_hollow % len(_GREYS)
            looks[name] = _Look(_GREYS[place], _DASHES[place], marker, False)
            num_hollow += 1
        else:
            looks[name] = _Look(_COLORS[(index - num_hollow) % len(_COLORS)], "-", marker, True)
    return looks


class _LogPlot:
    """Axes of a fixed place in inches for errors over numbers of labels, names at line ends."""

    def __init__(
        self,
        sizes: np.ndarray,
        curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
        *,
        num_keys: int,
        last_is_all: bool,
    ) -> None:
        self._curves = curves
        self._names_inches = max(drawing.text_inches(name, _SMALL) for name in curves)
        means = np.concatenate([mean for _, mean, _ in curves.values()])
        tops = np.concatenate([mean + np.nan_to_num(bar) for _, mean, bar in curves.values()])
        positive = means[means > 0.0]
        self._least = float(positive.min()) / 1.35 if len(positive) else 0.01
        highest = max(float(np.minimum(tops, 100.0).max()), self._least * 2.0) * 1.15
        self._log_y = np.log10([self._least, highest])

        log_sizes = np.log10(sizes)
        gaps = np.diff(log_sizes)
        span = float(log_sizes[-1] - log_sizes[0]) or 1.0
        shortest = float(gaps.min()) if len(gaps) else span
        self._size = np.array(
            [np.clip(0.42 * span / shortest, 4.0, 5.6), max(3.3, 0.2 + _LINE_INCHES * len(curves))]
        )
        margin = 0.22  # inches at both ends
        self._per_inch = span / (self._size[0] - 2 * margin)
        self._log_x = np.array(
            [log_sizes[0] - margin * self._per_inch, log_sizes[-1] + margin * self._per_inch]
        )
        if len(sizes) == 1:
            self._size[0] = 1.8
            self._per_inch = 1.0 / self._size[0]
            self._log_x = log_sizes[0] + np.array([-0.5, 0.5])
        # Arms beside each other: 0.03 inches apart, less where the numbers are close.
        self._step = min(
            0.03 * self._per_inch,
            0.55 * shortest / max(1, len(curves)),
            0.3 * self._per_inch / max(1, len(curves)),
        )

        left, bottom = 0.62, 0.62 if last_is_all else 0.48
        width = left + self._size[0] + self._names_inches + 0.3
        self.key_columns = num_keys if width >= 5.9 else 1  # the keys above the axes
        width = max(width, 3.2)
        top = 0.14 + 0.19 * num_keys / self.key_columns
        height = bottom + self._size[1] + top
        self.figure = Figure(figsize=(width, height))
        self.axes = self.figure.add_axes(
            (left / width, bottom / height, self._size[0] / width, self._size[1] / height)
        )
        self.axes.set_xscale("log")
        self.axes.set_yscale("log")
        self.axes.set_xlim(*10.0**self._log_x)
        self.axes.set_ylim(*10.0**self._log_y)
        drawing.plain_log_ticks(self.axes.yaxis, tuple(10.0**self._log_y))
        texts = [f"{size:,.0f}" for size in sizes]
        texts[-1] = f"all\n{texts[-1]}" if last_is_all else texts[-1]
        self.axes.set_xticks(sizes, self._thinned(log_sizes, texts))
        self.axes.xaxis.set_minor_locator(ticker.NullLocator())
        self.axes.set_xlabel("labels")
        self.axes.xaxis.set_label_coords(0.5, -(0.41 if last_is_all else 0.27) / self._size[1])
        self.axes.set_ylabel("test error / %")
        self.axes.grid(True)

    def _thinned(self, log_sizes: np.ndarray, texts: Sequence[str]) -> list[str]:
        """The texts below the ticks, those left empty that would touch one at their right."""
        kept, edge = [], math.inf
        for place, text in zip(log_sizes[::-1], texts[::-1], strict=True):
            half = max(drawing.text_inches(line, _SMALL) for line in text.split("\n")) / 2
            middle = place / self._per_inch
            fits = middle + half + 0.04 <= edge
            kept.append(text if fits else "")
            edge = middle - half if fits else edge
        return kept[::-1]

    def beside(self, sizes: np.ndarray, index: int) -> np.ndarray:
        """Where the arm of this index stands at these numbers of labels."""
        return sizes * 10.0 ** (self._step * (index - (len(self._curves) - 1) / 2))

    def shown(self, errors: np.ndarray) -> np.ndarray:
        """The errors, 0 at the lower edge."""
        return np.maximum(errors, self._least)

    def _inches(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(n, 2), from the lower left corner of the axes."""
        logs = np.stack([np.log10(x), np.log10(np.maximum(y, 1e-12))], axis=-1)
        low = np.array([self._log_x[0], self._log_y[0]])
        span = np.array([np.ptp(self._log_x), np.ptp(self._log_y)])
        return (logs - low) / span * self._size

    def name_lines(self, text_colors: Mapping[str, tuple[float, ...]]) -> None:
        """Writes each name: right of the axes where a line reaches them, else beside its end."""
        last = max(x[-1] for x, _, _ in self._curves.values())
        ends, markers, inside, drawn = {}, {}, [], []
        for index, (name, (x, mean, bar)) in enumerate(self._curves.items()):
            points = self._inches(self.beside(x, index), self.shown(mean))
            for sign in (-1.0, 1.0):
                edge = self.shown(np.minimum(mean + sign * np.nan_to_num(bar), 100.0))
                drawn.append(_dense(points, self._inches(self.beside(x, index), edge)))
            drawn.append(_dense(points[:-1], points[1:]))
            ends[name], markers[name] = points[-1], points
            if x[-1] < last:
                inside.append(name)
        outside = [name for name in ends if name not in inside]
        heights = _spread([float(ends[name][1]) for name in outside], self._size[1])
        right = self._size[0] + 0.12
        for name, height in zip(outside, heights, strict=True):
            self._write(name, ends[name], (right, height), text_colors[name])
            drawn.append(_dense(ends[name][None], np.array([[right, height]])))
        obstacles = np.concatenate(drawn)
        names = np.zeros((0, 2))  # points all over the names that stand already
        for name in inside:
            box = np.array([drawing.text_inches(name, _SMALL) + 0.04, _LINE_INCHES - 0.02])
            others = [points for other, points in markers.items() if other != name]
            keep_off = np.concatenate([names, *others])
            place = _free_place(ends[name], box, obstacles, keep_off, self._size)
            self._write(name, ends[name], tuple(place), text_colors[name], center=True)
            grid = np.meshgrid(*(np.linspace(-side / 2, side / 2, 60) for side in box))
            names = np.concatenate([names, place + np.stack(grid, axis=-1).reshape(-1, 2)])
            leader = _dense(ends[name][None], place[None])
            obstacles = np.concatenate([obstacles, names, leader])

    def _write(
        self,
        name: str,
        end: np.ndarray,
        place: tuple[float, float],
        color: Any,
        *,
        center: bool = False,
    ) -> None:
        # Names are placed in fractions of the axes, whose size in inches is fixed.
        self.axes.annotate(
            name, tuple(end / self._size), tuple(np.array(place) / self._size),
            xycoords="axes fraction", textcoords="axes fraction", color=color, fontsize=_SMALL,
            ha="center" if center else "left", va="center", parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.7,
                "shrinkA": 1.0, "shrinkB": 3.0, **({} if center else {"relpos": (0.0, 0.5)}),
            },
        )  # fmt: skip


def _dense(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Points along straight lines, (n, 2)."""
    steps = np.linspace(0.0, 1.0, 40)[:, None, None]
    return (starts + steps * (ends - starts)).reshape(-1, 2)


def _spread(heights: Sequence[float], top: float) -> list[float]:
    """Heights of lines of text, moved apart within [0, top] as little as it takes, in order."""
    if not heights:
        return []
    order = np.argsort(heights, kind="stable")
    # Groups of touching lines, each around the mean height that its members would like.
    groups: list[list[int]] = []
    half = _LINE_INCHES / 2

    def bottom(group: list[int]) -> float:
        height = len(group) * _LINE_INCHES
        middle = float(np.mean([heights[index] for index in group]))
        return float(np.clip(middle - height / 2, 0.0, max(0.0, top - height)))

    for index in order:
        groups.append([int(index)])
        while len(groups) > 1 and (
            bottom(groups[-2]) + len(groups[-2]) * _LINE_INCHES > bottom(groups[-1]) + 1e-9
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    places = [0.0] * len(heights)
    for group in groups:
        for number, index in enumerate(group):
            places[index] = bottom(group) + half + number * _LINE_INCHES
    return places


def _free_place(
    anchor: np.ndarray,
    box: np.ndarray,
    obstacles: np.ndarray,
    keep_off: np.ndarray,
    panel: np.ndarray,
) -> np.ndarray:
    """The middle of a box in the panel, near the anchor and on as few obstacles as possible.

    The straight line from the anchor to it keeps off the points of `keep_off`, (n, 2) inches.
    """
    axes = [
        np.arange(side / 2 + 0.06, max(side / 2 + 0.07, limit - side / 2), 0.04)
        for side, limit in zip(box, panel, strict=True)
    ]
    places = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    covered = _number_around(places, box / 2 + 0.03, obstacles, panel)
    near = keep_off[np.hypot(*(keep_off - anchor).T) > 0.06]
    for share in np.linspace(0.0, 1.0, 25):
        covered += _number_around(anchor + share * (places - anchor), 0.03, near, panel) > 0
    away = np.maximum(np.abs(places - anchor) - box / 2, 0.0)
    distance = np.hypot(*away.T) + 0.02 * np.abs(places - anchor)[:, 1]
    return places[int(np.argmin(covered * 10.0 + distance))]


def _number_around(
    places: np.ndarray, reach: Any, points: np.ndarray, panel: np.ndarray
) -> np.ndarray:
    """How many points lie within reach of each place, (n,), in cells of 0.02 inches."""
    cell = 0.02
    shape = np.ceil(panel / cell).astype(int)
    limits = np.stack([np.zeros(2), shape * cell], axis=-1)
    cells, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=shape.tolist(), range=limits)
    below = np.pad(cells.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    left, bottom = np.clip(np.floor((places - reach) / cell).astype(int), 0, shape).T
    right, top = np.clip(np.ceil((places + reach) / cell).astype(int), 0, shape).T
    return below[right, top] - below[left, top] - below[right, bottom] + below[left, bottom]


def _speed(name: str, arm: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The curves of one arm: x as (points,), y as (3, points): lowest, mean, highest seed."""
    missing = {"images", "seconds", "accuracy", "loss"} - set(arm)
    if missing:
        raise ValueError(f"{name!r} lacks {sorted(missing)}")
    values = {key: np.asarray(arm[key], float) for key in ("images", "seconds", "accuracy", "loss")}
    shape = values["accuracy"].shape
    shapes = {key: value.shape for key, value in values.items()}
    if (
        len(shape) != 2
        or not all(shape)
        or shapes != {key: shape[1:] if key == "images" else shape for key in values}
    ):
        raise ValueError(
            f"{name!r} needs images (points,) and all else (seeds, points), received {shapes}"
        )
    if (values["images"] < 0.0).any() or (values["seconds"] < 0.0).any():
        raise ValueError(f"{name!r}: images and seconds must be 0 or more")
    known = values["accuracy"][np.isfinite(values["accuracy"])]
    if ((known < 0.0) | (known > 1.0)).any():
        raise ValueError(f"{name!r}: accuracies must be shares in [0, 1], received {known.max()}")
    return {
        "images": values["images"],
        "seconds": _over_seeds(values["seconds"])[1],
        "accuracy": _over_seeds(values["accuracy"]),
        "loss": _over_seeds(values["loss"]),
    }


def _over_seeds(values: np.ndarray) -> np.ndarray:
    """(seeds, points) -> (3, points): lowest, mean and highest of those that are finite."""
    masked = np.ma.masked_invalid(values)
    parts = (masked.min(axis=0), masked.mean(axis=0), masked.max(axis=0))
    return np.stack([np.ma.filled(part.astype(float), np.nan) for part in parts])


def _zero_place(curves: Sequence[np.ndarray]) -> float:
    """Where 0 stands on a logarithmic axis of these values."""
    values = np.concatenate(curves)
    positive = values[values > 0.0]
    if not len(positive):
        return 0.1
    return float(positive.min() * min(0.5, (positive.min() / positive.max()) ** 0.09))


def _speed_axis(column: Sequence[Any], curves: Sequence[np.ndarray], zero: float) -> None:
    """Logarithmic, with 0 at its left end behind a break where it occurs."""
    values = np.concatenate(curves)
    positive = values[values > 0.0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1.0, 1.0)
    has_zero = bool((values == 0.0).any())
    decades = 10.0 ** np.arange(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps: tuple[float, ...] = (1.0,) if high / low > 50.0 else (1.0, 2.0, 5.0)
    steps = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0) if high / low < 5.0 else steps
    ticks = [tick for tick in np.outer(decades, steps).ravel() if low * 0.99 <= tick <= high * 1.01]
    ticks = ticks or [low]
    minor = [tick for tick in np.outer(decades, np.arange(2, 10)).ravel() if low <= tick <= high]
    margin = max(1.05, (high / low) ** 0.03)
    first = zero if has_zero else low
    for axes in column:
        axes.set_xscale("log")
        axes.set_xlim(first / margin, high * margin)
        axes.xaxis.set_major_locator(ticker.FixedLocator(([zero] if has_zero else []) + ticks))
        axes.xaxis.set_minor_locator(ticker.FixedLocator(minor))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.xaxis.set_major_formatter(
            ticker.FuncFormatter(
                lambda value, _: "0" if has_zero and value < low * 0.98 else _number(value)
            )
        )
        if has_zero:
            place = zero**0.5 * low**0.5
            options = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
            axes.plot([place], [0], "s", color="white", markersize=3.5, **options)
            for shift in (0.985, 1.015):
                edge = 10.0 ** ((shift - 1.0) * math.log10(high / zero)) * place
                axes.plot(
                    [edge], [0], marker=[(-1, -2), (1, 2)], color="black", markersize=6, **options
                )


def _loss_axis(axes: Any) -> None:
    """Logarithmic, of half a factor of two at least, with more than two numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    middle = math.sqrt(low * high)
    limits = (min(low, middle / 1.4), max(high, middle * 1.4))
    axes.set_ylim(*limits)
    drawing.plain_log_ticks(axes.yaxis, limits)
    if 2.5 < math.log10(limits[1] / limits[0]) < 4.0:
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0)))


def _number(value: float) -> str:
    """A round number, short: 0.5, 200, 10k, 1M."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= unit * 0.999:
            return f"{value / (1e3 if letter == 'k' else unit):.3g}{letter}"
    return f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}"


def _accuracy_axis(axes: Any, curves: Sequence[np.ndarray]) -> None:
    """The axis of an accuracy in [0, 1]: logarithmic in the error, written in %."""
    values = np.concatenate([curve.ravel() for curve in curves])
    values = values[np.isfinite(values)]
    errors = 1.0 - values
    positive = errors[errors > 1e-9]
    least = float(positive.min()) / 2 if len(positive) else 1e-3  # where 100 % stands

    def height(accuracy: Any) -> Any:
        error = 1.0 - np.asarray(accuracy, float)
        return -np.log10(np.where(error < least / 10.0, least, error))

    def accuracy_at(height: Any) -> Any:
        return 1.0 - 10.0 ** -np.asarray(height, float)

    axes.set_yscale("function", functions=(height, accuracy_at))
    if not len(values):
        return
    low = float(height(values.min()))
    high = -math.log10(max(float(errors.min()), least))
    margin = max(0.04 * (high - low), 0.05)  # accuracies that hardly differ lie close
    limits = (float(accuracy_at(low - margin)), float(accuracy_at(high + margin)))
    axes.set_ylim(*limits)
    if high - low < 0.4:
        ticks = list(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(*limits))
    else:
        steps: tuple[float, ...] = (1.0, 0.5, 0.2) if high - low < 3.0 else (1.0,)
        steps = (1.0, 0.7, 0.5, 0.4, 0.3, 0.2) if high - low < 1.0 else steps
        ticks = list(1.0 - np.outer(10.0 ** -np.arange(0.0, 7.0), steps).ravel())
    top = 1.0 - least if errors.min() < least else math.inf  # 100 %, which has no logarithm
    inside = [tick for tick in ticks if limits[0] <= tick <= min(limits[1], 1.0 - 1.5 * least)]
    axes.yaxis.set_major_locator(ticker.FixedLocator([*inside, *([top] if top < 1.0 else [])]))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(
        ticker.FuncFormatter(lambda value, _: "100" if value >= top else f"{100.0 * value:.6g}")
    )


def _wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of a share of so many; Wilson, 1927, JASA 22(158)."""
    square = 1.959964**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = np.sqrt(square * (share * (1 - share) / count + square / (4 * count**2)))
    reach /= 1 + square / count
    return middle - reach, middle + reach
