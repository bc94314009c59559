"""Curves from arrays, as `matplotlib.figure.Figure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from kerasunsup.figures import style

_HIDDEN_PSNR_DB = 99.0  # an uncorrupted input's PSNR would flatten every other curve
_WHOLE = {"integer": True, "steps": [1, 2, 5, 10], "min_n_ticks": 1}  # numbers of epochs


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

    Example:
        >>> figure = learning_curve([1, 2], [0.05, 0.02], [0.06, 0.03], best_epoch=2)
        >>> figure.axes[0].get_ylabel()
        'mean squared error per pixel'
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
def variational_parts(
    epochs: Sequence[float],
    parts: Mapping[str, Sequence[float]],
    kl: np.ndarray,
    is_active: np.ndarray,
    *,
    best_epoch: float,
) -> Figure:
    """Parts of a variational autoencoder's loss over the epochs, and what each unit carries.

    Args:
        epochs: (n,), increasing.
        parts: name -> (n,), nats, means over the validation images.
        kl: (latent_dim,), divergence of each unit in nats; drawn in falling order.
        is_active: (latent_dim,), bool, which units depend on the image.
        best_epoch: marked by a line.

    Raises:
        ValueError: if there are no epochs or the lengths differ.

    Example:
        >>> parts = {"loss": [90.0, 70.0], "kl": [10.0, 20.0]}
        >>> kl, is_active = np.array([2.0, 0.0]), np.array([True, False])
        >>> figure = variational_parts([1, 2], parts, kl, is_active, best_epoch=2)
        >>> figure.axes[1].get_title()
        'units: 1 of 2 active'
    """
    if not len(epochs) or any(len(values) != len(epochs) for values in parts.values()):
        raise ValueError(
            f"parts need a value for each of {len(epochs)} epochs, received "
            f"{ {name: len(values) for name, values in parts.items()} }"
        )
    if np.shape(kl) != np.shape(is_active):
        raise ValueError(f"received {np.shape(kl)} divergences for {np.shape(is_active)} units")
    figure = Figure(figsize=(7.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, (name, values) in enumerate(parts.items()):
        look = style.look(index) | {"marker": "o" if len(epochs) < 3 else ""}
        left.plot(epochs, values, label=name, **look)
    left.axvline(best_epoch, color="0.6", linewidth=0.8, label=f"best epoch, {best_epoch:g}")
    left.xaxis.set_major_locator(ticker.MaxNLocator("auto", **_WHOLE))
    left.set(xlabel="epoch", ylabel="validation images / nats an image")
    order = np.argsort(-np.asarray(kl))
    colors = [style.COLORS[0] if active else "0.7" for active in np.asarray(is_active)[order]]
    right.bar(np.arange(1, len(order) + 1), np.asarray(kl)[order], color=colors)
    right.xaxis.set_major_locator(ticker.MaxNLocator("auto", **_WHOLE))
    right.set(xlabel="unit of the code, in falling order", ylabel="divergence / nats")
    right.set_title(f"units: {int(np.sum(is_active))} of {len(order)} active")
    for axes in (left, right):
        axes.grid(True)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
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

    Example:
        >>> names = ("input_psnr_db", "psnr_db", "input_ssim", "ssim")
        >>> curves = dict.fromkeys(names, [0.9, 0.5])
        >>> len(corruption_sweep([0.0, 0.5], curves, [0, 8], curves).axes)
        4
    """
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    sides = (("noise", sigmas, noise), ("crop", holes, crop))
    lines = (
        ("input_", {"label": "corrupted input", "color": "0.45", "linestyle": "--", "marker": "s"}),
        ("", {"label": "model's output", **style.look(0)}),
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

    Example:
        >>> figure = areas_under_curves(["0", "1"], {"error": [0.99, 0.95]})
        >>> figure.legends[0].get_texts()[0].get_text()
        'error: 97.0 %'
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
def adversarial_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Losses and accuracies of the two networks of a GAN over the epochs, and the distance.

    Args:
        history: columns of one length: `epoch`, `generator_loss`, `discriminator_loss` (nats, mean
            over images), `real_accuracy`, `generated_accuracy` (shares in [0, 1]), and where it
            was measured `fid`, NaN in epochs without a measurement.

    Raises:
        ValueError: if there is no epoch.

    Example:
        >>> names = ("generator_loss", "discriminator_loss", "real_accuracy", "generated_accuracy")
        >>> figure = adversarial_curves({"epoch": [1, 2], **dict.fromkeys(names, [0.5, 0.6])})
        >>> len(figure.axes)
        2
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
        ("discriminator accuracy", {"real_accuracy": "real images",
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
def walk_confidence(confidences: Mapping[str, np.ndarray]) -> Figure:
    """How sure a classifier is along walks between two images, a line a kind of walk.

    Args:
        confidences: name -> (num_steps,), in [0, 1]; the first and the last step are the ends.

    Raises:
        ValueError: if there is no walk, or one has less than two steps.

    Example:
        >>> figure = walk_confidence({"straight": np.array([1.0, 0.6, 1.0])})
        >>> figure.legends[0].get_texts()[0].get_text()
        'straight: 60.0 % at the least'
    """
    if not confidences or any(len(values) < 2 for values in confidences.values()):
        raise ValueError(
            "a walk has 2 steps or more, received "
            f"{ {name: len(values) for name, values in confidences.items()} }"
        )
    figure, axes = style.panel(5.2, 3.2)
    for index, (name, values) in enumerate(confidences.items()):
        percent = 100.0 * np.asarray(values)
        axes.plot(
            np.linspace(0.0, 100.0, len(percent)), percent,
            label=f"{name}: {percent.min():.1f} % at the least", **style.look(index),
        )  # fmt: skip
    axes.set(xlabel="way from one image to the other, %", ylabel="mean certainty of a class, %")
    figure.legend(loc="outside upper center", ncols=1)
    return figure


@style.styled
def compared_errors(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
) -> Figure:
    """Validation errors of several trainings over the epochs, a panel a comparison.

    Lines are means over seeds, bands reach from the lowest to the highest seed.

    Args:
        panels: title -> name -> epochs (n,) and errors (num_seeds, n), mean squared, above 0. A
            NaN, as of a training that was over before, is left out; some seed has a number in each
            column.

    Raises:
        ValueError: if there is no panel, a panel is empty or the lengths differ.

    Example:
        >>> adam = np.array([1, 2]), np.array([[0.02, 0.01], [0.03, 0.01]])
        >>> figure = compared_errors({"optimizers": {"Adam": adam}})
        >>> figure.axes[0].get_legend().get_texts()[0].get_text()
        'Adam'
    """
    if not panels or not all(panels.values()):
        raise ValueError("compared_errors needs panels with at least one training each")
    figure = Figure(figsize=(3.6 * len(panels), 3.8), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        for index, (name, (epochs, errors)) in enumerate(rows.items()):
            if errors.shape[1:] != epochs.shape or not len(epochs):
                raise ValueError(
                    f"{title}: {name} has {errors.shape} errors for {len(epochs)} epochs"
                )
            mean = np.nanmean(errors, axis=0)
            look = style.look(index)
            low, high = np.nanmin(errors, axis=0), np.nanmax(errors, axis=0)
            axes.fill_between(epochs, low, high, color=look["color"], alpha=0.16, linewidth=0)
            every = max(1, len(epochs) // 6)
            marks = (index % every, every)
            axes.plot(epochs, mean, label=style.shortened(name, 26), markevery=marks, **look)
        style.log_axis(axes, "y")
        axes.xaxis.set_major_locator(ticker.MaxNLocator("auto", **_WHOLE))
        axes.set(title=title, xlabel="epoch", ylabel="validation error (MSE)")
        axes.grid(True)
        axes.legend(loc="upper right")
    return figure
