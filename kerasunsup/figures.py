"""Curves and scatter plots from arrays, as `matplotlib.figure.Figure`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, patheffects, ticker
from matplotlib.figure import Figure

from kerasunsup import drawing

_HIDDEN_PSNR_DB = 99.0  # an uncorrupted input's PSNR would flatten every other curve


@drawing.styled
def learning_curve(
    epochs: Sequence[float],
    loss: Sequence[float],
    validation_loss: Sequence[float],
    *,
    best_epoch: float,
    pca_mse: float | None = None,
    pca_dim: int | None = None,
) -> Figure:
    """Mean squared error over the epochs, on a logarithmic axis.

    Args:
        epochs: (n,), increasing.
        loss: (n,), on the training images: mean over pixels and images, [0, 1] scale.
        validation_loss: (n,), on the validation images; the same unit.
        best_epoch: one of the epochs; marked with its validation loss.
        pca_mse: error of the linear code of the same size; None draws no line.
        pca_dim: its number of components.

    Raises:
        ValueError: if the lengths differ, there are no epochs, or the best is not among them.
    """
    if not len(epochs) or not len(epochs) == len(loss) == len(validation_loss):
        raise ValueError(
            "epochs, loss and validation_loss must have one length above 0, received "
            f"{len(epochs)}, {len(loss)} and {len(validation_loss)}"
        )
    if best_epoch not in epochs:
        raise ValueError(f"best_epoch must be one of the epochs, received {best_epoch}")
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    few = "o" if len(epochs) < 3 else ""  # a line of one point is invisible
    axes.plot(epochs, loss, "--" + few, color=drawing.COLORS[1], label="training")
    axes.plot(epochs, validation_loss, "-" + few, color=drawing.COLORS[0], label="validation")
    best = float(validation_loss[list(epochs).index(best_epoch)])
    axes.plot(
        [best_epoch], [best], "o", color="black", markersize=6, markerfacecolor="white",
        label=f"best, epoch {best_epoch:g}: {best:.4f}",
    )  # fmt: skip
    if pca_mse is not None:
        name = "PCA" if pca_dim is None else f"PCA, {_count(pca_dim, 'component')}"
        axes.axhline(pca_mse, color="0.35", linestyle=":", label=f"{name}: {pca_mse:.4f}")
    axes.set_yscale("log")
    drawing.plain_log_ticks(axes.yaxis, axes.get_ylim())
    _whole_epochs(axes.xaxis)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error per pixel")
    axes.grid(True, which="major")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@drawing.styled
def corruption_sweep(
    sigmas: Sequence[float],
    noise: Mapping[str, Sequence[float]],
    holes: Sequence[float],
    crop: Mapping[str, Sequence[float]],
) -> Figure:
    """PSNR and SSIM of corrupted input and of output, over the strength of the corruption.

    Args:
        sigmas: (n,), standard deviations of the noise, [0, 1] scale.
        noise: "input_psnr_db", "psnr_db", "input_ssim", "ssim", each (n,): means over the images.
            Where PSNR is 99 dB or more, as of an input that is not corrupted, it is left out.
        holes: (m,), sides of the hole in pixels.
        crop: as noise, each (m,).

    Raises:
        ValueError: if a key is missing or a length differs.
    """
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    sides = (
        ("noise", sigmas, noise, "standard deviation of the noise"),
        ("crop", holes, crop, "side of the hole / pixels"),
    )
    for column, (side, strengths, curves, x_label) in enumerate(sides):
        for row, (key, y_label) in enumerate((("psnr_db", "PSNR / dB"), ("ssim", "SSIM"))):
            axes = grid[row, column]
            for name, label, line, color in (
                (f"input_{key}", "corrupted input", "s--", "0.45"),
                (key, "autoencoder's output", "o-", drawing.COLORS[0]),
            ):
                if len(curves.get(name, ())) != len(strengths):
                    raise ValueError(
                        f"{side} needs {name!r} with {len(strengths)} values, received "
                        f"{len(curves.get(name, ()))}"
                    )
                values = np.array(curves[name], float)
                if key == "psnr_db":
                    values[values >= _HIDDEN_PSNR_DB] = np.nan
                axes.plot(strengths, values, line, color=color, label=label)
            axes.grid(True)
            axes.label_outer()
            if column == 0:
                axes.set_ylabel(y_label)
            if row == 1:
                axes.set_xlabel(x_label)
    grid[0, 0].set_title("Gaussian noise")
    grid[0, 1].set_title("cropped-out hole")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.align_ylabels(grid[:, 0])
    return figure


@drawing.styled
def search_progress(
    searches: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, of: str = ""
) -> Figure:
    """The best error so far over what a search has spent, one step line a search.

    Args:
        searches: name -> (epochs trained so far, lowest validation MSE so far), each (n,), the
            epochs increasing; a search without any is left out.
        of: what the error is of, such as "code size 32".

    Raises:
        ValueError: if two lengths differ or nothing is left to draw.
    """
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    drawn = {name: curve for name, curve in searches.items() if len(curve[0])}
    if not drawn:
        raise ValueError("search_progress needs one search with a result, received none")
    farthest = max(curve[0][-1] for curve in drawn.values())
    for index, (name, (epochs, errors)) in enumerate(drawn.items()):
        if len(epochs) != len(errors):
            raise ValueError(
                f"{name!r} has {len(epochs)} epochs and {len(errors)} errors: give as many of each"
            )
        color, line = (
            drawing.COLORS[index % len(drawing.COLORS)],
            drawing.LINES[index % len(drawing.LINES)],
        )
        axes.step(epochs, errors, where="post", color=color, linestyle=line)
        axes.plot(epochs[:1], errors[:1], "o", color=color, markersize=3)
        label = f"{name}: {errors[-1]:.4f} after {epochs[-1]:,.0f} epochs"
        axes.plot(
            epochs[-1:], errors[-1:], "osD^v*"[index % 6], color=color, linestyle=line, label=label
        )
    axes.set_xlim(0, farthest * 1.05)
    axes.set_yscale("log")
    drawing.plain_log_ticks(axes.yaxis, axes.get_ylim())
    axes.set_xlabel("epochs trained, all trials")
    axes.set_ylabel("best validation error so far (MSE)" + (f",\n{of}" if of else ""))
    axes.grid(True)
    figure.legend(loc="outside upper center", ncols=1)
    return figure


@drawing.styled
def error_over_code_size(
    trials: Mapping[float, Sequence[float]],
    pca: Mapping[float, float],
    *,
    bars: Mapping[float, tuple[float, float]] | None = None,
) -> Figure:
    """Validation error over the code size: every trial, the best of each size, PCA's line.

    Args:
        trials: code size -> validation MSE of each trial of that size.
        pca: code size -> validation MSE of as many principal components.
        bars: code size -> (mean, standard error) over the folds of the best trial.

    Raises:
        ValueError: if there are no trials.
    """
    sizes = sorted(size for size, errors in trials.items() if len(errors))
    if not sizes:
        raise ValueError("error_over_code_size needs at least one trial, received none")
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for size in sizes:
        axes.plot([size] * len(trials[size]), trials[size], ".", color="0.6", zorder=1)
    best = [min(trials[size]) for size in sizes]
    axes.plot(sizes, best, "o-", color=drawing.COLORS[0], label="autoencoder, best trial")
    axes.plot(sorted(pca), [pca[size] for size in sorted(pca)], "s:", color="0.35", label="PCA")
    if bars:
        means = [bars[size][0] for size in sorted(bars)]
        errors = [bars[size][1] for size in sorted(bars)]
        axes.errorbar(
            sorted(bars), means, yerr=errors, fmt="none", color="black", capsize=3,
            label="standard error over folds", zorder=3,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.set_yscale("log")
    drawing.plain_log_ticks(axes.yaxis, axes.get_ylim())
    axes.set_xlabel("code size")
    axes.set_ylabel("validation error (MSE)")
    axes.grid(True)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@drawing.styled
def areas_under_curves(classes: Sequence[str], areas: Mapping[str, Sequence[float]]) -> Figure:
    """Area under the ROC curve by class, a line a score, their means beside.

    Args:
        classes: names, one a column.
        areas: name of a score -> one value in [0, 1] a class; the first is drawn in front.

    Raises:
        ValueError: if there are no classes or scores, or the lengths differ.
    """
    if not classes or not areas or any(len(values) != len(classes) for values in areas.values()):
        raise ValueError(
            f"areas needs one value for each of {len(classes)} classes, received "
            f"{ {name: len(values) for name, values in areas.items()} }"
        )
    figure = Figure(figsize=(max(5.2, 2.0 + 0.38 * len(classes)), 3.8), layout="constrained")
    axes = figure.add_subplot()
    places, mean_place = np.arange(len(classes)), len(classes) + 0.3
    markers = "osD^vP"
    for index, (name, values) in enumerate(areas.items()):
        look: dict[str, Any] = {
            "color": drawing.COLORS[index % len(drawing.COLORS)],
            "marker": markers[index % len(markers)],
            "zorder": len(areas) + 2 - index,
        }
        mean = float(np.mean(values))
        percent = 100.0 * np.asarray(values)
        axes.plot(
            places, percent, linestyle=drawing.LINES[index % len(drawing.LINES)],
            linewidth=1.0, label=f"{_plain(name)}: {100.0 * mean:.1f} %", **look,
        )  # fmt: skip
        axes.plot([mean_place], [100.0 * mean], linestyle="none", **look)
    axes.axvline(len(classes) - 0.35, color="0.8", linewidth=0.8)
    axes.set_xticks([*places, mean_place], [*(_plain(name) for name in classes), "mean"])
    if max(map(len, classes)) > 3:
        axes.tick_params(axis="x", labelrotation=45.0)
    axes.set_xlabel("class that is taken for clean")
    axes.set_ylabel("area under the ROC curve, %")
    axes.grid(True, axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@drawing.styled
def encoded_space(
    principal: np.ndarray,
    explained: Sequence[float],
    tsne: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """The codes in two dimensions: principal components on the left, t-SNE on the right.

    Args:
        principal: (n, 2), or (n, 1) for codes of one dimension.
        explained: (2,), or (1,): shares of the codes' variance, in [0, 1].
        tsne: (n, 2).
        labels: (n,), integers >= 0; only colours and names follow from them. None: one colour.
        class_names: of the classes 0, 1, ...; None prints the numbers.

    Raises:
        ValueError: if the lengths differ or a label has no name.
    """
    principal, tsne = np.asarray(principal, float), np.asarray(tsne, float)
    explained = [float(share) for share in explained]
    if principal.ndim == 2 and principal.shape[1] == 1:
        principal, explained = np.pad(principal, ((0, 0), (0, 1))), [*explained[:1], 0.0]
    if principal.shape != tsne.shape or principal.shape[1:] != (2,) or len(explained) < 2:
        raise ValueError(
            "principal and tsne must be (n, 2) with two explained shares, received "
            f"{principal.shape}, {tsne.shape} and {len(explained)}"
        )
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (len(principal),):
            raise ValueError(f"received labels {labels.shape} for {len(principal)} codes")
        if class_names is not None and int(labels.max(initial=0)) >= len(class_names):
            raise ValueError(
                f"label {labels.max()} has no name: received {len(class_names)} class_names"
            )
    figure = Figure(figsize=(7.4, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _scatter(left, principal, labels, class_names)
    _scatter(right, tsne, labels, class_names)
    for axis, number, share in ((left.xaxis, 1, explained[0]), (left.yaxis, 2, explained[1])):
        axis.set_label_text(f"principal component {number} ({share:.0%} of the variance)")
    right.set_xlabel("t-SNE 1 (no unit)")
    right.set_ylabel("t-SNE 2 (no unit)")
    left.set_title("linear: principal components")
    right.set_title("neighbours kept: t-SNE")
    return figure


@drawing.styled
def adversarial_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """How the two networks of a GAN fared over the epochs.

    Args:
        history: columns of one length: `epoch`, `generator_loss`, `discriminator_loss` (nats, mean
            over images), `real_accuracy`, `generated_accuracy` (shares in [0, 1]), and where it
            was measured `fid`, NaN in epochs without a measurement.

    Raises:
        ValueError: if there is no epoch.
    """
    epochs = np.asarray(history["epoch"], float)
    if not len(epochs):
        raise ValueError("adversarial_curves needs at least one epoch, received none")
    distances = np.asarray(history.get("fid", []), float)
    measured = np.flatnonzero(np.isfinite(distances))
    figure = Figure(figsize=(5.2, 5.6 if len(measured) else 3.8), layout="constrained")
    panels = figure.subplots(3 if len(measured) else 2, 1, sharex=True)
    drawn = (
        (panels[0], "loss (nats)", {"generator_loss": "generator",
                                    "discriminator_loss": "discriminator"}),
        (panels[1], "share told right", {"real_accuracy": "real images",
                                         "generated_accuracy": "generated images"}),
    )  # fmt: skip
    for axes, label, columns in drawn:
        for index, (name, called) in enumerate(columns.items()):
            axes.plot(
                epochs,
                history[name],
                color=drawing.COLORS[index],
                linestyle=drawing.LINES[index],
                marker="o" if len(epochs) == 1 else None,
                label=called,
            )
        axes.set_ylabel(label)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    panels[1].set_ylim(0.0, 1.02)
    if len(measured):
        panels[2].plot(
            epochs[measured], distances[measured], "o-", color=drawing.COLORS[0], markersize=3
        )
        panels[2].set_yscale("log")
        low, high = panels[2].get_ylim()
        middle = math.sqrt(low * high)  # a distance that hardly moves shows as a level line
        panels[2].set_ylim(min(low, middle / 1.5), max(high, middle * 1.5))
        drawing.plain_log_ticks(panels[2].yaxis, panels[2].get_ylim())
        panels[2].set_ylabel("distance to real images")
        last = measured[-1]
        panels[2].annotate(  # beside the point: above or below, the line may run through it
            f"{distances[last]:.3g}", (epochs[last], distances[last]), (6, 0),
            textcoords="offset points", ha="left", va="center",
        )  # fmt: skip
    panels[-1].set_xlabel("epoch")
    _whole_epochs(panels[-1].xaxis)
    for axes in panels:
        axes.grid(True)
    return figure


@drawing.styled
def code_marginals(codes: np.ndarray, samples: Mapping[str, np.ndarray]) -> Figure:
    """Where codes drawn in several ways lie, beside the codes of the training images.

    Above, the plane of the training codes' first two principal components. Below, the distances
    from drawn codes to the nearest training code, in the whole encoded space; for comparison the
    distances from training codes to the nearest other one. At most 2,000 codes of each are used.

    Args:
        codes: (n, dim), of the training images, n >= 3.
        samples: name of the way of drawing -> (m, dim), m >= 1; at most six.

    Raises:
        ValueError: if there are no samples or too many, or the shapes do not fit together.
    """
    codes = _thin(np.asarray(codes, float))
    if not 1 <= len(samples) <= len(drawing.COLORS):
        raise ValueError(
            f"samples must be 1 to {len(drawing.COLORS)} sets, received {len(samples)}"
        )
    drawn = {name: _thin(np.asarray(values, float)) for name, values in samples.items()}
    for name, values in drawn.items():
        if codes.ndim != 2 or len(codes) < 3 or values.ndim != 2 or not len(values):
            raise ValueError(
                f"codes and {name!r} must be (n, dim) with 3 and 1 rows or more, received "
                f"{codes.shape} and {values.shape}"
            )
        if values.shape[1] != codes.shape[1]:
            raise ValueError(
                f"{name!r} has codes of {values.shape[1]} dimensions, the training images of "
                f"{codes.shape[1]}"
            )
    mean = codes.mean(axis=0)
    _, _, components = np.linalg.svd(codes - mean, full_matrices=False)
    plane = np.zeros((codes.shape[1], 2))
    plane[:, : min(2, len(components))] = components[:2].T

    columns = len(samples) if len(samples) <= 4 else 3
    num_rows = -(-len(samples) // columns)
    figure = Figure(
        figsize=(max(4.2, 2.35 * columns + 0.5), 2.3 * num_rows + 2.5), layout="constrained"
    )
    upper, lower = np.asarray(
        figure.subfigures(2, 1, height_ratios=[2.3 * num_rows, 2.5]), dtype=object
    )
    grid = upper.subplots(num_rows, columns, sharex=True, sharey=True, squeeze=False)
    training = (codes - mean) @ plane
    for index, (name, values) in enumerate(drawn.items()):
        axes = grid.flat[index]
        points = (values - mean) @ plane
        axes.scatter(*training.T, s=3, color="0.72", linewidths=0)
        axes.scatter(*points.T, s=2, color=drawing.COLORS[index], linewidths=0)
        axes.set_title(_plain(name))
    for index in range(len(samples), grid.size):
        grid.flat[index].set_visible(False)
        grid.flat[index - columns].tick_params(labelbottom=True)  # it is the lowest now
    upper.supxlabel(
        "principal component 1 of the training codes / code units", fontsize=drawing.FONT_SIZE
    )
    upper.supylabel("component 2 / code units", fontsize=drawing.FONT_SIZE)
    upper.suptitle("training codes (grey) and drawn codes (colour)", fontsize=drawing.FONT_SIZE + 1)

    distances = {name: _nearest(values, codes) for name, values in drawn.items()}
    own = _nearest(codes, codes, skip_self=True)
    axes = lower.add_subplot()
    most = max(float(own.max()), *(float(values.max()) for values in distances.values()))
    bins = np.linspace(0.0, most or 1.0, 61)
    axes.hist(
        own, bins, weights=np.full(len(own), 100.0 / len(own)), color="0.8",
        label="training codes, to another one",
    )  # fmt: skip
    for index, (name, values) in enumerate(distances.items()):
        axes.hist(
            values,
            bins,
            weights=np.full(len(values), 100.0 / len(values)),
            histtype="step",
            color=drawing.COLORS[index],
            linestyle=drawing.LINES[index],
            linewidth=1.3,
            label=_plain(name),
        )
    axes.set_xlim(0.0, most or 1.0)
    axes.set_xlabel("distance to the nearest training code / code units")
    axes.set_ylabel("codes / % in each bin")
    lower.legend(loc="outside upper center", ncols=2 if len(samples) <= 3 else 3)
    return figure


def _whole_epochs(axis: Any) -> None:
    """Ticks at whole numbers only."""
    axis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def _plain(text: str) -> str:
    """A text in which a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _scatter(
    axes: Any,
    points: np.ndarray,
    labels: np.ndarray | None,
    class_names: Sequence[str] | None,
) -> None:
    size = float(np.clip(9000.0 / max(1, len(points)), 2.0, 16.0))
    axes.set_xticks([])
    axes.set_yticks([])
    if labels is None:
        axes.scatter(*points.T, s=size, color=drawing.COLORS[0], alpha=0.6, linewidths=0)
        return
    classes = np.unique(labels)
    many = max(len(classes), int(classes.max()) + 1)
    palette = colormaps["tab10"] if many <= 10 else colormaps["tab20"] if many <= 20 else None
    colors = [
        palette(int(label)) if palette is not None else colormaps["turbo"](index / len(classes))
        for index, label in enumerate(classes)
    ]
    order = np.searchsorted(classes, labels)
    axes.scatter(*points.T, s=size, color=np.array(colors)[order], alpha=0.7, linewidths=0)
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    medians = np.array([np.median(points[labels == label], axis=0) for label in classes])
    names = [str(label) if class_names is None else class_names[label] for label in classes]
    font = drawing.FONT_SIZE + (1.0 if len(classes) <= 10 else -1.0 if len(classes) <= 30 else -3.0)
    places = _apart((medians - low) / span, names, font)
    for name, place, color in zip(names, places, colors, strict=True):
        axes.text(
            *(low + place * span), name, color=tuple(0.6 * np.array(color[:3])), fontsize=font,
            weight="bold", ha="center", va="center", parse_math=False,
            path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _apart(places: np.ndarray, names: Sequence[str], font: float) -> np.ndarray:
    """Moves names that would cover each other apart, (n, 2) in [0, 1], as little as it takes."""
    places = places.copy()
    panel = np.array([3.3, 3.0])  # inches, about
    half = (
        np.array(
            [[drawing.text_inches(name, font, "bold") + 0.06, font / 72 + 0.02] for name in names]
        )
        / 2
    )
    half = half / panel
    for _ in range(100):
        moved = False
        for first in range(len(places)):
            for second in range(first):
                needed = half[first] + half[second]
                difference = places[first] - places[second]
                overlap = needed - np.abs(difference)
                if (overlap > 1e-9).all():
                    axis = int(np.argmin(overlap))
                    step = np.zeros(2)
                    step[axis] = overlap[axis] / 2 * (1.0 if difference[axis] >= 0.0 else -1.0)
                    places[first] += step
                    places[second] -= step
                    moved = True
        # Names stay in the panel; where it is full they may still touch.
        places = np.clip(places, np.minimum(half, 0.5), np.maximum(1.0 - half, 0.5))
        if not moved:
            break
    return places


def _thin(values: np.ndarray, most: int = 2000) -> np.ndarray:
    """At most so many rows, evenly spaced."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(int)]


def _nearest(values: np.ndarray, codes: np.ndarray, *, skip_self: bool = False) -> np.ndarray:
    """Euclidean distance from each row to the nearest of the codes."""
    squares = np.square(values).sum(axis=1)[:, None] + np.square(codes).sum(axis=1)
    squares -= 2.0 * values @ codes.T
    if skip_self:
        np.fill_diagonal(squares, np.inf)
    return np.sqrt(np.maximum(squares.min(axis=1), 0.0))
