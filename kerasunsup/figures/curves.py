"""Curves and scatter plots from arrays, as `matplotlib.figure.Figure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, patheffects, ticker
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kerasunsup.figures import style

_HIDDEN_PSNR_DB = 99.0  # an uncorrupted input's PSNR would flatten every other curve
_WHOLE = {"integer": True, "steps": [1, 2, 5, 10], "min_n_ticks": 1}  # numbers of epochs
_MOST_CODES = 2000  # of a set, in a picture of drawn codes


@style.styled
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
    figure, axes = style.panel()
    few = "o" if len(epochs) < 3 else ""  # a line of one point is invisible
    axes.plot(epochs, loss, "--" + few, color=style.COLORS[1], label="training")
    axes.plot(epochs, validation_loss, "-" + few, color=style.COLORS[0], label="validation")
    best = float(validation_loss[list(epochs).index(best_epoch)])
    axes.plot(
        [best_epoch], [best], "o", color="black", markersize=6, markerfacecolor="white",
        label=f"best, epoch {best_epoch:g}: {best:.4f}",
    )  # fmt: skip
    if pca_mse is not None:
        plural = "" if pca_dim == 1 else "s"
        name = "PCA" if pca_dim is None else f"PCA, {pca_dim} component{plural}"
        axes.axhline(pca_mse, color="0.35", linestyle=":", label=f"{name}: {pca_mse:.4f}")
    style.log_axis(axes, "y")
    axes.xaxis.set_major_locator(ticker.MaxNLocator("auto", **_WHOLE))
    axes.set(xlabel="epoch", ylabel="mean squared error per pixel")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@style.styled
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
    sides = (("noise", sigmas, noise), ("crop", holes, crop))
    lines = (
        ("input_", {"label": "corrupted input", "color": "0.45", "linestyle": "--", "marker": "s"}),
        ("", {"label": "autoencoder's output", **style.look(0)}),
    )
    for (row, column), axes in np.ndenumerate(grid):
        side, strengths, curves = sides[column]
        for prefix, look in lines:
            name = prefix + ("psnr_db", "ssim")[row]
            if len(curves.get(name, ())) != len(strengths):
                raise ValueError(
                    f"{side} needs {name!r} with {len(strengths)} values, received "
                    f"{len(curves.get(name, ()))}"
                )
            values = np.array(curves[name], float)
            if row == 0:
                values[values >= _HIDDEN_PSNR_DB] = np.nan
            axes.plot(strengths, values, **look)
        axes.grid(True)
        axes.label_outer()
    grid[0, 0].set_ylabel("PSNR / dB")
    grid[1, 0].set(xlabel="standard deviation of the noise", ylabel="SSIM")
    grid[1, 1].set_xlabel("side of the hole / pixels")
    grid[0, 0].set_title("Gaussian noise")
    grid[0, 1].set_title("cropped-out hole")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.align_ylabels(grid[:, 0])
    return figure


@style.styled
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
    names = [style.shortened(name, 26) for name in classes]
    figure, axes = style.panel(float(np.clip(2.0 + 0.38 * len(names), 5.2, 20.0)), 3.8)
    places, mean_place = np.arange(len(names)), len(names) + 0.3
    for index, (name, values) in enumerate(areas.items()):
        percent = 100.0 * np.asarray(values)
        look = style.look(index) | {"zorder": len(areas) + 2 - index}
        axes.plot(places, percent, linewidth=1.0, label=f"{name}: {percent.mean():.1f} %", **look)
        axes.plot([mean_place], [percent.mean()], **look)
    axes.axvline(len(names) - 0.35, color="0.8", linewidth=0.8)
    is_turned = max(map(len, names)) > 3 or len(names) > 50
    axes.set_xticks([*places, mean_place], [*names, "mean"], rotation=90 if is_turned else 0)
    axes.set(xlabel="class that is taken for clean", ylabel="area under the ROC curve, %")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@style.styled
def encoded_space(
    principal: np.ndarray,
    explained: Sequence[float],
    tsne: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """The codes in two dimensions: principal components on the left, t-SNE on the right.

    A class is written at the median of its codes: its name if that is short, else its number,
    which a legend explains.

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
    order, keys, colors, handles = _classes(labels, class_names, len(principal))
    columns = style.num_columns([str(handle.get_label()) for handle in handles] or [""], 7.0)
    rows = -(-len(handles) // columns)
    figure = Figure(figsize=(7.4, 3.8 + 0.18 * rows), layout="constrained")
    left, right = figure.subplots(1, 2)
    _scatter(left, principal, order, keys, colors)
    _scatter(right, tsne, order, keys, colors)
    for axis, number, share in ((left.xaxis, 1, explained[0]), (left.yaxis, 2, explained[1])):
        axis.set_label_text(f"principal component {number} ({share:.0%} of the variance)")
    left.set_title("linear: principal components")
    right.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    right.set_title("neighbours kept: t-SNE")
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


def _classes(
    labels: np.ndarray | None, names: Sequence[str] | None, number: int
) -> tuple[np.ndarray, list[str], np.ndarray, list[Line2D]]:
    """The class of each code from 0, (number,); a text and a colour a class; a legend's entries."""
    if labels is None:
        return np.zeros(number, int), [], np.array([to_rgba(style.COLORS[0])]), []
    if np.shape(labels) != (number,):
        raise ValueError(f"received labels {np.shape(labels)} for {number} codes")
    classes, order = np.unique(labels, return_inverse=True)
    if names is not None and classes[-1] >= len(names):
        raise ValueError(f"label {classes[-1]} has no name: received {len(names)} class_names")
    most = max(len(classes), int(classes[-1]) + 1)
    if most > 20:
        colors = colormaps["turbo"](np.arange(len(classes)) / len(classes))
    else:
        colors = colormaps["tab10" if most <= 10 else "tab20"](classes)
    keys = [str(label) for label in classes]
    texts = keys if names is None else [style.shortened(names[label]) for label in classes]
    if max(map(len, texts)) <= 2:
        return order, texts, colors, []
    handles = [
        Line2D([], [], linestyle="", marker="o", color=color, label=f"{key}: {text}")
        for key, text, color in zip(keys, texts, colors, strict=True)
    ]
    return order, keys, colors, handles


@style.styled
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
        ("loss (nats)", {"generator_loss": "generator", "discriminator_loss": "discriminator"}),
        ("share told right", {"real_accuracy": "real images",
                              "generated_accuracy": "generated images"}),
    )  # fmt: skip
    for axes, (label, columns) in zip(panels, drawn, strict=False):
        for index, (name, called) in enumerate(columns.items()):
            look = style.look(index) | {"marker": "o" if len(epochs) == 1 else ""}
            axes.plot(epochs, history[name], label=called, **look)
        axes.set_ylabel(label)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2)
    panels[1].set_ylim(0.0, 1.02)
    if len(measured):
        last = measured[-1]
        panels[2].plot(epochs[measured], distances[measured], **style.look(0), markersize=3)
        style.log_axis(panels[2], "y")
        panels[2].set_ylabel("distance to real images")
        panels[2].annotate(  # beside the point: above or below, the line may run through it
            f"{distances[last]:.3g}", (epochs[last], distances[last]), (6, 0),
            textcoords="offset points", ha="left", va="center",
        )  # fmt: skip
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(ticker.MaxNLocator("auto", **_WHOLE))
    for axes in panels:
        axes.grid(True)
    return figure


@style.styled
def code_marginals(codes: np.ndarray, samples: Mapping[str, np.ndarray]) -> Figure:
    """Where codes drawn in several ways lie, beside the codes of the training images.

    Above, the plane of the training codes' first two principal components. Below, the distances
    from drawn codes to the nearest training code, in the whole encoded space; for comparison the
    distances from training codes to the nearest other one. At most 2,000 codes of each are used.

    Args:
        codes: (n, dim), of the training images, n >= 3.
        samples: name of the way of drawing -> (m, dim), m >= 1.

    Raises:
        ValueError: if there are no samples or the shapes do not fit together.
    """
    codes, *sets = (
        np.asarray(values, float)[:: 1 + (len(values) - 1) // _MOST_CODES]
        for values in (codes, *samples.values())
    )
    drawn = dict(zip(samples, sets, strict=True))
    if not drawn:
        raise ValueError("code_marginals needs at least one set of samples, received none")
    for name, values in drawn.items():
        if values.ndim != 2 or not len(values) or len(codes) < 3:
            raise ValueError(f"codes and {name!r} must be (n, dim) with 3 and 1 rows or more")
        if codes.shape[1:] != values.shape[1:]:
            raise ValueError(
                f"{name!r} and the training codes must have as many dimensions, received "
                f"{values.shape} and {codes.shape}"
            )
    mean = codes.mean(axis=0)
    _, _, components = np.linalg.svd(codes - mean, full_matrices=False)
    plane = np.zeros((codes.shape[1], 2))
    plane[:, : min(2, len(components))] = components[:2].T

    columns = len(drawn) if len(drawn) <= 4 else 3
    num_rows = -(-len(drawn) // columns)
    figure = Figure(
        figsize=(max(4.2, 2.35 * columns + 0.5), 2.3 * num_rows + 2.5), layout="constrained"
    )
    parts = figure.subfigures(2, 1, height_ratios=[2.3 * num_rows, 2.5])
    upper, lower = np.asarray(parts, dtype=object)
    grid = upper.subplots(num_rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, (name, values) in enumerate(drawn.items()):
        axes = grid.flat[index]
        axes.scatter(*((codes - mean) @ plane).T, s=3, color="0.72", linewidths=0)
        color = style.look(index)["color"]
        axes.scatter(*((values - mean) @ plane).T, s=2, color=color, linewidths=0)
        axes.set_title(name)
    for index in range(len(drawn), grid.size):
        grid.flat[index].set_visible(False)
        grid.flat[index - columns].tick_params(labelbottom=True)  # it is the lowest now
    size = style.FONT_SIZE
    upper.supxlabel("principal component 1 of the training codes / code units", fontsize=size)
    upper.supylabel("component 2 / code units", fontsize=size)
    upper.suptitle("training codes (grey) and drawn codes (colour)", fontsize=size + 1)
    _draw_distances(lower, codes, drawn)
    return figure


def _draw_distances(figure: Any, codes: np.ndarray, drawn: Mapping[str, np.ndarray]) -> None:
    """Histograms of the distances from codes to the nearest of the training codes."""
    from scipy.spatial import KDTree  # loads slowly

    tree = KDTree(codes)
    own = tree.query(codes, k=2)[0][:, 1]  # the nearest is the code itself
    distances = {name: tree.query(values)[0] for name, values in drawn.items()}
    most = max(float(values.max()) for values in (own, *distances.values())) or 1.0
    options: dict[str, Any] = {"bins": np.linspace(0.0, most, 61)}
    axes = figure.add_subplot(xlim=(0.0, most), ylabel="codes / % in each bin")
    axes.set_xlabel("distance to the nearest training code / code units")
    weights = np.full(len(own), 100.0 / len(own))
    axes.hist(own, weights=weights, color="0.8", label="training codes, to another one", **options)
    for index, (name, values) in enumerate(distances.items()):
        look = style.look(index)
        axes.hist(
            values, weights=np.full(len(values), 100.0 / len(values)), histtype="step",
            color=look["color"], linestyle=look["linestyle"], label=name, **options,
        )  # fmt: skip
    figure.legend(loc="outside upper center", ncols=2 if len(drawn) <= 3 else 3)


def _scatter(
    axes: Any, points: np.ndarray, order: np.ndarray, keys: Sequence[str], colors: np.ndarray
) -> None:
    """Points in the colours of their classes, whose keys stand at the medians."""
    size = float(np.clip(9000.0 / max(1, len(points)), 2.0, 16.0))
    axes.scatter(*points.T, s=size, color=colors[order], alpha=0.7, linewidths=0)
    axes.set(xticks=[], yticks=[])
    if not keys:
        return
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    medians = np.array([np.median(points[order == index], axis=0) for index in range(len(keys))])
    places = low + (high - low) * _apart((medians - low) / (high - low))
    for key, place, color in zip(keys, places, colors, strict=True):
        axes.text(
            *place, key, color=0.6 * color[:3], fontsize=10 if len(keys) <= 20 else 7,
            weight="bold", ha="center", va="center",
            path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _apart(places: np.ndarray) -> np.ndarray:
    """Places of short texts in a panel, (n, 2) in [0, 1], moved apart as little as it takes."""
    room = np.array([0.075, 0.06]) if len(places) <= 20 else np.array([0.055, 0.04])
    angles = np.arange(len(places))
    places = places / room + 0.01 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for _ in range(300):
        gaps = places[:, None] - places
        distances = np.linalg.norm(gaps, axis=-1) + np.eye(len(places))
        overlaps = np.maximum(1.0 - distances, 0.0)
        if not overlaps.any():
            break
        places += 0.5 * ((overlaps / distances)[..., None] * gaps).sum(axis=1)
        places = np.clip(places, 0.5, 1.0 / room - 0.5)
    return places * room
