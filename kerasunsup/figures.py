"""Pictures from arrays: every function returns a `matplotlib.figure.Figure`.

The only module that uses matplotlib, and only its object-oriented interface: no pyplot, no window,
no settings left behind. Images are float32 (..., height, width, channels) in [0, 1] with one or
three channels; values outside are clipped. All figures can be read in grey.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib import colormaps, font_manager, patches, patheffects, textpath, ticker
from matplotlib.backends import backend_agg
from matplotlib.figure import Figure

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FONT_SIZE = 9.0  # points
_DPI = 150  # pixels of image cells are whole multiples of the images' at this resolution
_CELL_INCHES = 0.56  # side of one image, about
_MOST_ROWS = 26  # of reconstructions; more make a picture taller than a page can show
_HIDDEN_PSNR_DB = 99.0  # an uncorrupted input's PSNR would flatten every other curve

_STYLE = {
    "font.size": _FONT_SIZE,
    "axes.titlesize": _FONT_SIZE,
    "axes.labelsize": _FONT_SIZE,
    "legend.fontsize": _FONT_SIZE - 0.5,
    "xtick.labelsize": _FONT_SIZE - 1,
    "ytick.labelsize": _FONT_SIZE - 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}

# Okabe and Ito's colours, which colour-blind readers can tell apart, darkest first; with a line
# style and a marker each, so that grey print keeps them apart too.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))


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


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Our settings and nobody else's, for the while."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # A class name in a script that the font lacks shows boxes; no reason to stop or to warn.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        yield


def _styled(function: Callable[_P, _T]) -> Callable[_P, _T]:
    @functools.wraps(function)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with _style():
            return function(*args, **kwargs)

    return styled


@_styled
def to_png(figure: Figure, dpi: float = _DPI) -> bytes:
    """The figure as a PNG file of `dpi` pixels an inch; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


@_styled
def to_pixels(figure: Figure, dpi: float = 100) -> np.ndarray:
    """The figure as uint8 (height, width, 3), at `dpi` pixels an inch."""
    original = figure.dpi
    figure.set_dpi(dpi)
    try:
        canvas = backend_agg.FigureCanvasAgg(figure)
        canvas.draw()
        return np.array(canvas.buffer_rgba())[:, :, :3]
    finally:
        figure.set_dpi(original)


@_styled
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
    axes.plot(epochs, loss, "--" + few, color=_COLORS[1], label="training")
    axes.plot(epochs, validation_loss, "-" + few, color=_COLORS[0], label="validation")
    best = float(validation_loss[list(epochs).index(best_epoch)])
    axes.plot(
        [best_epoch], [best], "o", color="black", markersize=6, markerfacecolor="white",
        label=f"best, epoch {best_epoch:g}: {best:.4f}",
    )  # fmt: skip
    if pca_mse is not None:
        name = "PCA" if pca_dim is None else f"PCA, {_count(pca_dim, 'component')}"
        axes.axhline(pca_mse, color="0.35", linestyle=":", label=f"{name}: {pca_mse:.4f}")
    axes.set_yscale("log")
    _plain_log_ticks(axes.yaxis, axes.get_ylim())
    axes.xaxis.set_major_locator(
        ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error per pixel")
    axes.grid(True, which="major")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@_styled
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
    rows = np.concatenate([originals[None], snapshots[shown]])
    names = ["original"] + [f"epoch {epochs[index]}" for index in shown]
    sheet = _Sheet(left=names, right_inches=0.1)
    sheet.add(rows, names, columns=column_labels, gap_below_first=True)
    return sheet.draw()


@_styled
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
    sheet = _Sheet(left=names, right_inches=0.1)
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


@_styled
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
                (key, "autoencoder's output", "o-", _COLORS[0]),
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


@_styled
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
        color, line = _COLORS[index % len(_COLORS)], _LINES[index % len(_LINES)]
        axes.step(epochs, errors, where="post", color=color, linestyle=line)
        axes.plot(epochs[:1], errors[:1], "o", color=color, markersize=3)
        label = f"{name}: {errors[-1]:.4f} after {epochs[-1]:,.0f} epochs"
        axes.plot(
            epochs[-1:], errors[-1:], "osD^v*"[index % 6], color=color, linestyle=line, label=label
        )
    axes.set_xlim(0, farthest * 1.05)
    axes.set_yscale("log")
    _plain_log_ticks(axes.yaxis, axes.get_ylim())
    axes.set_xlabel("epochs trained, all trials")
    axes.set_ylabel("best validation error so far (MSE)" + (f",\n{of}" if of else ""))
    axes.grid(True)
    figure.legend(loc="outside upper center", ncols=1)
    return figure


@_styled
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
    axes.plot(sizes, best, "o-", color=_COLORS[0], label="autoencoder, best trial")
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
    _plain_log_ticks(axes.yaxis, axes.get_ylim())
    axes.set_xlabel("code size")
    axes.set_ylabel("validation error (MSE)")
    axes.grid(True)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@_styled
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


@_styled
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


@_styled
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
                epochs, history[name], color=_COLORS[index], linestyle=_LINES[index], label=called,
                marker="o" if len(epochs) == 1 else None,
            )  # fmt: skip
        axes.set_ylabel(label)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    panels[1].set_ylim(0.0, 1.02)
    if len(measured):
        panels[2].plot(epochs[measured], distances[measured], "o-", color=_COLORS[0], markersize=3)
        panels[2].set_yscale("log")
        _plain_log_ticks(panels[2].yaxis, panels[2].get_ylim())
        panels[2].set_ylabel("distance to real images")
        last = measured[-1]
        panels[2].annotate(
            f"{distances[last]:.3g}", (epochs[last], distances[last]), (0, 6),
            textcoords="offset points", ha="right",
        )  # fmt: skip
    panels[-1].set_xlabel("epoch")
    for axes in panels:
        axes.grid(True)
    return figure


@_styled
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
    if not 1 <= len(samples) <= len(_COLORS):
        raise ValueError(f"samples must be 1 to {len(_COLORS)} sets, received {len(samples)}")
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
        axes.scatter(*points.T, s=2, color=_COLORS[index], linewidths=0)
        axes.set_title(_plain(name))
    for index in range(len(samples), grid.size):
        grid.flat[index].set_visible(False)
        grid.flat[index - columns].tick_params(labelbottom=True)  # it is the lowest now
    upper.supxlabel("principal component 1 of the training codes / code units", fontsize=_FONT_SIZE)
    upper.supylabel("component 2 / code units", fontsize=_FONT_SIZE)
    upper.suptitle("training codes (grey) and drawn codes (colour)", fontsize=_FONT_SIZE + 1)

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
            values, bins, weights=np.full(len(values), 100.0 / len(values)), histtype="step",
            color=_COLORS[index], linestyle=_LINES[index], linewidth=1.3, label=_plain(name),
        )  # fmt: skip
    axes.set_xlim(0.0, most or 1.0)
    axes.set_xlabel("distance to the nearest training code / code units")
    axes.set_ylabel("codes / % in each bin")
    lower.legend(loc="outside upper center", ncols=2 if len(samples) <= 3 else 3)
    return figure


class _Sheet:
    """Rows of images with names at their left, laid out in whole pixels at `_DPI`."""

    def __init__(
        self,
        left: Sequence[str],
        *,
        right_inches: float = 0.1,
        table: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._left = max(_text_inches(text) for text in [*left, "gain"]) + 0.2
        self._table = dict(table or {})
        self._widths = [
            max(_text_inches(text) for text in [name, *values]) + 0.18
            for name, values in self._table.items()
        ]
        self._right = right_inches + sum(self._widths)
        self._blocks: list[dict[str, Any]] = []

    def add(
        self,
        rows: np.ndarray,
        names: Sequence[str],
        *,
        title: str | None = None,
        columns: Sequence[str] | None = None,
        footer: Sequence[str] | None = None,
        footer_name: str = "",
        holes: np.ndarray | None = None,
        gap_below_first: bool = False,
    ) -> None:
        """Adds a block of rows, (rows, columns, height, width, channels) in [0, 1]."""
        if rows.ndim != 5 or rows.shape[-1] not in (1, 3) or not rows.size:
            raise ValueError(
                "images must be (k, height, width, channels) with 1 or 3 channels, received "
                f"{rows.shape[1:]}"
            )
        height, width = rows.shape[2:4]
        scale = max(1, round(_CELL_INCHES * _DPI / max(height, width)))
        texts = [*(columns or []), *(footer or [])]
        widest = max((_text_inches(text, _FONT_SIZE - 1) for text in texts), default=0.0)
        needed = math.ceil((widest + 0.08) * _DPI / scale)  # image pixels, of the widest text
        self._blocks.append(
            {
                "rows": rows, "names": names, "title": title, "columns": columns,
                "footer": footer, "footer_name": footer_name, "holes": holes,
                "scale": scale,
                "gap": max(1, math.ceil(4 / scale)),  # about four pixels, in image pixels
                # Columns move apart where a text needs more room than its image.
                "gap_x": max(math.ceil(4 / scale), needed - width),
                "gap_first": math.ceil(12 / scale) if gap_below_first else 0,
            }
        )  # fmt: skip

    def draw(self) -> Figure:
        """The figure with all blocks, one below the other."""
        places = []
        top, widest = 0.08, 0.0
        for block in self._blocks:
            montage = _montage(block["rows"], block["gap"], block["gap_x"], block["gap_first"])
            size = np.array(montage.shape[:2]) * block["scale"] / _DPI  # inches
            top += 0.27 if block["title"] is not None else 0.0
            top += 0.2 if block["columns"] is not None or self._table else 0.0
            places.append((montage, size, top))
            top += size[0] + (0.22 if block["footer"] is not None else 0.0) + 0.1
            widest = max(widest, size[1])
        titles = [_text_inches(block["title"] or "", weight="bold") for block in self._blocks]
        width = self._left + max(widest + self._right, max(titles) + 0.1)
        width, height = (math.ceil(side * _DPI) / _DPI for side in (width, top))
        figure = Figure(figsize=(width, height))
        for block, (montage, size, start) in zip(self._blocks, places, strict=True):
            box = (
                round(self._left * _DPI) / (width * _DPI),
                1.0 - round((start + size[0]) * _DPI) / (height * _DPI),
                size[1] / width,
                size[0] / height,
            )
            self._draw_block(figure.add_axes(box), block, montage)
        return figure

    def _draw_block(self, axes: Any, block: Mapping[str, Any], montage: np.ndarray) -> None:
        axes.imshow(montage, interpolation="nearest", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_axis_off()
        num_rows, num_columns, height, width = block["rows"].shape[:4]
        tops = [_offset(row, height, block["gap"], block["gap_first"]) for row in range(num_rows)]
        lefts = [_offset(column, width, block["gap_x"]) for column in range(num_columns)]
        middles = [left + (width - 1) / 2 for left in lefts]
        points: dict[str, Any] = {
            "textcoords": "offset points", "annotation_clip": False, "parse_math": False,
        }  # fmt: skip
        for name, row_top in zip(block["names"], tops, strict=True):
            axes.annotate(
                name, (-0.5, row_top + (height - 1) / 2), (-6, 0), ha="right", va="center", **points
            )
        if block["title"] is not None:
            axes.annotate(
                block["title"], (-0.5, -0.5), (0, 5), ha="left", va="bottom", weight="bold",
                **points,
            )  # fmt: skip
        small = _FONT_SIZE - 1
        for text, middle in zip(block["columns"] or [], middles, strict=False):
            axes.annotate(
                text, (middle, -0.5), (0, 3), ha="center", va="bottom", fontsize=small, **points
            )
        bottom = len(montage) - 0.5
        if block["footer"] is not None:
            axes.annotate(
                block["footer_name"], (-0.5, bottom), (-6, -3), ha="right", va="top", **points
            )
        for text, middle in zip(block["footer"] or [], middles, strict=False):
            axes.annotate(
                text, (middle, bottom), (0, -3), ha="center", va="top", fontsize=small, **points
            )
        right = montage.shape[1] - 0.5
        offset = 0.0
        for (name, values), inches in zip(self._table.items(), self._widths, strict=True):
            offset += inches * 72
            axes.annotate(name, (right, -0.5), (offset, 3), ha="right", va="bottom", **points)
            for text, row_top in zip(values, tops, strict=True):
                axes.annotate(
                    text, (right, row_top + (height - 1) / 2), (offset, 0), ha="right",
                    va="center", **points,
                )  # fmt: skip
        if block["holes"] is not None:
            for mask, left in zip(np.asarray(block["holes"]), lefts, strict=True):
                _outline(axes, mask[..., 0] == 0, left, tops[0])


def _outline(axes: Any, hole: np.ndarray, left: int, top: int) -> None:
    """A thin frame around the hole, (height, width) bool, of the image at (left, top)."""
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    if len(rows):
        axes.add_patch(
            patches.Rectangle(
                (left + columns[0] - 0.5, top + rows[0] - 0.5),
                columns[-1] - columns[0] + 1,
                rows[-1] - rows[0] + 1,
                fill=False,
                edgecolor="#E69F00",  # seen on black, on white, and in grey
                linewidth=0.9,
            )
        )


def _offset(index: int, side: int, gap: int, gap_first: int = 0) -> int:
    """Where the image of this index begins, in image pixels."""
    return index * (side + gap) + (gap_first if index else 0)


def _montage(rows: np.ndarray, gap: int, gap_x: int, gap_first: int) -> np.ndarray:
    """One picture, float (height, width, 3), of images set apart by white gaps."""
    num_rows, num_columns, height, width = rows.shape[:4]
    picture = np.ones(
        (
            _offset(num_rows - 1, height, gap, gap_first) + height,
            _offset(num_columns - 1, width, gap_x) + width,
            3,
        )
    )
    for row in range(num_rows):
        for column in range(num_columns):
            top = _offset(row, height, gap, gap_first)
            left = _offset(column, width, gap_x)
            picture[top : top + height, left : left + width] = rows[row, column]
    return np.clip(picture, 0.0, 1.0)


def _text_inches(text: str, size: float = _FONT_SIZE, weight: str = "normal") -> float:
    """Width of a line of text."""
    if not text.strip():
        return 0.0
    font = font_manager.FontProperties(weight=weight)
    path = textpath.TextPath((0, 0), text.replace("$", "S"), size=size, prop=font)
    return path.get_extents().width / 72


def _plain(text: str) -> str:
    """A text in which a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _aligned(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals as their column needs; a dash for NaN."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    decimals = 1 if max(finite, default=0.0) >= 100.0 else 2
    return ["\N{EN DASH}" if math.isnan(value) else f"{value:.{decimals}f}" for value in values]


def _plain_log_ticks(axis: Any, limits: tuple[float, float]) -> None:
    """Ticks such as 0.005 that are neither too many nor too few for the limits."""
    decades = math.log10(limits[1] / limits[0])
    steps = (1.0, 2.0, 5.0) if decades > 0.7 else tuple(1.0 + 0.5 * step for step in range(18))
    steps = (1.0,) if decades > 2.5 else steps
    axis.set_major_locator(ticker.LogLocator(subs=steps))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(ticker.NullLocator())


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
        axes.scatter(*points.T, s=size, color=_COLORS[0], alpha=0.6, linewidths=0)
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
    font = _FONT_SIZE + (1.0 if len(classes) <= 10 else -1.0 if len(classes) <= 30 else -3.0)
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
        np.array([[_text_inches(name, font, "bold") + 0.06, font / 72 + 0.02] for name in names])
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
