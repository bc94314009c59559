"""Pictures of classifiers, from arrays, as `matplotlib.figure.Figure`.

A method is one way of making a classifier, such as a pretrained encoder or one from scratch. The
colours of methods are the same in every picture that is given them in the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from kerasunsup.figures import style

_COLORS = (*style.COLORS, "#332288", "#882255", "#999933")
_GREYS = ("0.0", "0.4", "0.55", "0.25", "0.5")  # methods from scratch
_DASHES = ((0, (4, 2)), (0, (1, 1.4)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1)), (0, (8, 2)))
_ERROR_LABEL = "test error / %\nmean and standard deviation over seeds"
_MOST_BARS = 3  # methods whose intervals can be told apart in one panel


@style.styled
def label_efficiency(
    labels: Sequence[int],
    methods: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    scratch: Collection[str] = (),
    last_is_all: bool = True,
) -> Figure:
    """Test error over the number of labels, a line a method, both axes logarithmic.

    Methods stand a little beside each other at each number, so that their bars can be told apart.
    The legend lists them as the lines end, from the highest last error to the lowest.

    Args:
        labels: (n,), increasing.
        methods: name -> (mean, standard deviation) over seeds of the share of wrong predictions, in
            [0, 1], each (n,). NaN in the mean: not run at that number; NaN in the deviation: no
            bar. A method that was never run is left out; an error of 0 stands at the lower edge.
        scratch: names of methods that began with random weights, those not drawn too: grey, dashed
            and hollow. All others are coloured, solid and filled.
        last_is_all: whether the last number is written as "all".

    Raises:
        ValueError: if the numbers do not increase, a length differs, an error is not a share, or
            nothing is left to draw.

    Example:
        >>> figure = label_efficiency([10, 100], {"frozen": ([0.5, 0.2], [0.1, 0.02])})
        >>> figure.axes[0].get_xscale()
        'log'
    """
    sizes = np.asarray(labels, float)
    curves = _errors_by_labels(sizes, methods)
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="labels", ylabel=_ERROR_LABEL)
    lowest = _lower_edge(np.stack([mean for mean, _ in curves.values()]))
    gaps = np.diff(np.log10(sizes))
    step = min(0.08 * gaps.sum(), 0.6 * gaps.min()) / len(curves) if len(gaps) else 0.04
    looks, ends = _looks(methods, scratch), {}
    for index, (name, (mean, deviation)) in enumerate(curves.items()):
        run = np.isfinite(mean)
        places = sizes[run] * 10.0 ** (step * (index - (len(curves) - 1) / 2))
        line = axes.errorbar(
            places, np.maximum(mean[run], lowest), yerr=deviation[run], capsize=1.8,
            elinewidth=0.8, label=style.shortened(name), **looks[name],
        )  # fmt: skip
        ends[line] = mean[run][-1]
    axes.set_ylim(0.92 * lowest, min(axes.get_ylim()[1], 115.0))
    style.log_axis(axes, "x")
    style.log_axis(axes, "y")
    texts = [f"{size:,.0f}" for size in sizes]
    texts[-1:] = ["all\n" * last_is_all + texts[-1]]
    has_room = np.append(gaps > 0.13 * gaps.sum(), True)  # before the next
    axes.set_xticks(sizes, np.where(has_room, texts, ""))
    axes.grid(True)
    handles = sorted(ends, key=lambda line: -ends[line])
    legend = figure.legend(handles=handles, loc="outside right center")
    if 0 < len(set(scratch) & set(curves)) < len(curves):
        legend.set_title("hollow, dashed: from scratch")
    return figure


@style.styled
def learning_speed(
    methods: Mapping[str, Mapping[str, np.ndarray]], *, scratch: Collection[str] = ()
) -> Figure:
    """Validation error and loss, against the images seen and against the time.

    Lines are means over seeds, bands reach from the lowest to the highest seed. All axes are
    logarithmic; where something was measured at 0 images or seconds, the axis is linear from 0 to
    the power of ten below the first other point. An error of 0 stands at the lower edge.

    Args:
        methods: name -> "images" (points,), seen until then, and (seeds, points) each of "seconds"
            until then (drawn at their mean over seeds), "accuracy" in [0, 1] and "loss" (nats,
            mean over images). A NaN is left out of mean and band.
        scratch: names of the methods that began with random weights, as in `label_efficiency`.

    Raises:
        ValueError: if there is no method, a key is missing, or shapes or ranges do not fit.

    Example:
        >>> seeds = np.array([[0.1, 0.9]])
        >>> curves = {"images": seeds[0], "seconds": seeds, "accuracy": seeds, "loss": seeds}
        >>> len(learning_speed({"frozen": curves}).axes)
        4
    """
    curves = {name: _speed(name, method) for name, method in methods.items()}
    if not curves:
        raise ValueError("learning_speed needs at least one method, received none")
    looks = _looks(methods, scratch)
    lowest = _lower_edge(np.concatenate([curve["error"].ravel() for curve in curves.values()]))
    losses = np.concatenate([curve["loss"].ravel() for curve in curves.values()])
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for (row, column), axes in np.ndenumerate(grid):
        key, over = ("error", "loss")[row], ("images", "seconds")[column]
        for index, (name, curve) in enumerate(curves.items()):
            low, mean, high = np.maximum(curve[key], lowest) if key == "error" else curve[key]
            # Shares of the panel's diagonal, so that markers do not crowd where points do.
            every = (0.03 + 0.04 * (index % 4), 0.16) if len(mean) > 8 else 1
            look = looks[name]
            axes.fill_between(curve[over], low, high, color=look["color"], alpha=0.16, linewidth=0)
            label = style.shortened(name)
            axes.plot(curve[over], mean, markevery=every, label=label, **look)
        axes.grid(True)
        if row == 0:
            drawn = np.concatenate([curve[over] for curve in curves.values()])
            style.log_axis_from_zero(axes, drawn)
        if column == 0 and (key == "error" or np.nanmin(losses, initial=1.0) > 0.0):
            style.log_axis(axes, "y")
        axes.label_outer()
    grid[0, 0].set_ylabel("validation error / %")
    grid[1, 0].set(xlabel="images seen", ylabel="validation loss / nats")
    grid[1, 1].set_xlabel("training time / s")
    figure.align_ylabels(grid[:, 0])
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=style.num_columns(names, 7.0))
    return figure


@style.styled
def reliability_curve(
    methods: Mapping[str, Any], *, fewest: int = 10, scratch: Collection[str] = ()
) -> Figure:
    """Accuracy of classifiers over their confidence (reliability diagram); below, the images.

    Bins of few images are faint and stand outside the lines. Up to three methods have bars, which
    are 95 % intervals of the accuracy (Wilson); more bars could not be told apart.

    Args:
        methods: name -> what has the attributes `confidence` (mean of the highest probability) and
            `accuracy`, both in [0, 1] and NaN in an empty bin, `count` (images), each (bins,) over
            bins of equal width in [0, 1], and `expected_calibration_error`, a share in [0, 1].
        fewest: images that a bin needs to be drawn in full.
        scratch: names of the methods that began with random weights, as in `label_efficiency`.

    Raises:
        ValueError: if there is no method or the lengths within one differ.

    Example:
        >>> import types
        >>> bins = {name: np.array([0.4, 0.9]) for name in ("confidence", "accuracy")}
        >>> curve = types.SimpleNamespace(
        ...     **bins, count=np.array([20, 80]), expected_calibration_error=0.02
        ... )
        >>> figure = reliability_curve({"frozen": curve})
        >>> figure.legends[0].get_texts()[0].get_text()
        'frozen: ECE 2.00 %'
    """
    if not methods:
        raise ValueError("reliability_curve needs at least one method, received none")
    figure = Figure(figsize=(4.8, 4.2 + 0.19 * len(methods)), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.1])
    handles = []
    for index, (name, look) in enumerate(_looks(methods, scratch).items()):
        if look["linestyle"] == "-":
            look["linestyle"] = style.LINES[index % len(style.LINES)]
        handles.append(_draw_bins(upper, name, methods[name], look, fewest, len(methods)))
        lower.stairs(
            methods[name].count, np.linspace(0.0, 1.0, len(methods[name].count) + 1),
            baseline=None, color=look["color"], linestyle=look["linestyle"], linewidth=1.2,
        )  # fmt: skip
    thin = {"color": "0.6", "linewidth": 0.9, "zorder": 1}
    handles += upper.plot([0, 1], [0, 1], label="perfectly calibrated", **thin)
    if any(((method.count > 0) & (method.count < fewest)).any() for method in methods.values()):
        handles += upper.plot(
            [], [], "o", color="0.3", markerfacecolor="none", alpha=0.6,
            label=f"faint: bins of fewer than {fewest} images",
        )  # fmt: skip
    _set_reliability_axes(upper, lower, list(methods.values()))
    figure.legend(handles=handles, loc="outside upper left")
    return figure


def _draw_bins(
    axes: Any, name: str, method: Any, look: dict[str, Any], fewest: int, num_methods: int
) -> Any:
    """The accuracy of one classifier in each bin; returns its line."""
    if not len(method.confidence) == len(method.accuracy) == len(method.count):
        raise ValueError(
            f"{name!r} must have one confidence, accuracy and count a bin, received "
            f"{len(method.confidence)}, {len(method.accuracy)} and {len(method.count)}"
        )
    full, faint = method.count >= fewest, (method.count > 0) & (method.count < fewest)
    accuracy, count = method.accuracy[full], method.count[full]
    axes.plot(
        method.confidence[faint], method.accuracy[faint], look["marker"], color=look["color"],
        markerfacecolor="none", alpha=0.45,
    )  # fmt: skip
    return axes.errorbar(
        method.confidence[full], accuracy, elinewidth=0.7, **look,
        yerr=_interval(accuracy, count) if num_methods <= _MOST_BARS else None,
        label=f"{style.shortened(name)}: ECE {100.0 * method.expected_calibration_error:.2f} %",
    )  # fmt: skip


def _set_reliability_axes(upper: Any, lower: Any, methods: Sequence[Any]) -> None:
    """Limits, labels and ticks of the two panels."""
    first = min(float(np.argmax(method.count > 0)) / len(method.count) for method in methods)
    upper.set(xlim=(min(first, 0.5) - 0.015, 1.015), ylim=(-0.03, 1.03), ylabel="accuracy")
    most = max(2.0, *(float(np.max(method.count)) for method in methods))
    lower.set(yscale="log", ylim=(0.7, most * 1.8), ylabel="images")
    lower.set_xlabel("confidence: mean highest probability in the bin")
    lower.yaxis.set_major_locator(ticker.LogLocator(numticks=4))
    lower.yaxis.set_major_formatter(style.NUMBERS)
    lower.minorticks_off()
    upper.grid(True)
    lower.grid(True)
    upper.figure.align_ylabels([upper, lower])


def _looks(names: Collection[str], scratch: Collection[str]) -> dict[str, dict[str, Any]]:
    """How the line of each method looks, as keyword arguments of a matplotlib line."""
    filled = zip(*map(itertools.cycle, (_COLORS, ("-",), style.MARKERS)), strict=True)
    hollow = zip(*map(itertools.cycle, (_GREYS, _DASHES, style.MARKERS)), strict=True)
    looks: dict[str, dict[str, Any]] = {}
    for name in names:
        look: dict[str, Any] = {"markerfacecolor": "white", "markersize": 5.0}
        if name not in scratch:  # a white edge sets a marker apart from another's line below it
            look = {"markeredgecolor": "white", "markeredgewidth": 0.5, "markersize": 6.0}
        color, line, marker = next(hollow if name in scratch else filled)
        looks[name] = look | {"color": color, "linestyle": line, "marker": marker}
    return looks


def _lower_edge(errors: np.ndarray) -> float:
    """Where a logarithmic axis of errors in % ends, and an error of 0 stands."""
    positive = errors[errors > 0.0]
    return float(positive.min()) / 1.35 if len(positive) else 0.01


def _errors_by_labels(
    sizes: np.ndarray, methods: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> dict[str, np.ndarray]:
    """Mean and standard deviation of the errors in %, (2, n), of each method that was run."""
    if not len(sizes) or sizes[0] <= 0 or (np.diff(sizes) <= 0).any():
        raise ValueError(f"labels must be increasing numbers above 0, received {sizes.tolist()}")
    curves = {}
    for name, parts in methods.items():
        shapes = [np.shape(part) for part in parts]
        if shapes != [sizes.shape, sizes.shape]:
            raise ValueError(
                f"{name!r} needs {len(sizes)} means and deviations, received the shapes {shapes}"
            )
        errors = 100.0 * np.array(parts, float)
        if ((errors[0] < 0.0) | (errors[0] > 100.0)).any():
            raise ValueError(f"errors of {name!r} must be shares in [0, 1], received {parts[0]}")
        if np.isfinite(errors[0]).any():
            curves[name] = errors
    if not curves:
        raise ValueError("label_efficiency needs a method with an error, received none")
    return curves


def _speed(name: str, method: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The curves of one method: x as (points,), y as (3, points): lowest, mean, highest seed."""
    missing = {"images", "seconds", "accuracy", "loss"} - set(method)
    if missing:
        raise ValueError(f"{name!r} lacks {sorted(missing)}")
    parts = [np.asarray(method[key], float) for key in ("images", "seconds", "accuracy", "loss")]
    images, seconds, accuracy, loss = parts
    shape, shapes = accuracy.shape, [part.shape for part in parts]
    if len(shape) != 2 or not all(shape) or shapes != [shape[1:], shape, shape, shape]:
        raise ValueError(
            f"{name!r} needs images (points,) and seconds, accuracy and loss (seeds, points), "
            f"received {shapes}"
        )
    if min(images.min(), seconds.min()) < 0.0 or ((accuracy < 0.0) | (accuracy > 1.0)).any():
        raise ValueError(f"{name!r}: images and seconds must be 0 or more, accuracies in [0, 1]")
    return {
        "images": images, "seconds": _over_seeds(seconds)[1],
        "error": _over_seeds(100.0 * (1.0 - accuracy)), "loss": _over_seeds(loss),
    }  # fmt: skip


def _over_seeds(values: np.ndarray) -> np.ndarray:
    """(seeds, points) -> (3, points): lowest, mean and highest of those that are finite."""
    masked = np.ma.masked_invalid(values)
    parts = [masked.min(axis=0), masked.mean(axis=0), masked.max(axis=0)]
    return np.ma.stack(parts).filled(np.nan)


def _interval(accuracy: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(2, bins): from accuracies of so many images down and up to their 95 % intervals."""
    from scipy import stats  # loads slowly

    tests = [stats.binomtest(round(a * n), int(n)) for a, n in zip(accuracy, count, strict=True)]
    bounds = [test.proportion_ci(method="wilson") for test in tests]
    low, high = np.reshape(bounds, (-1, 2)).T
    return np.maximum([accuracy - low, high - accuracy], 0.0)
