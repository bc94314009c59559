"""Figures of finished searches, from their records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasunsup.figures import style
from kerasunsup.search import record

_SHOWN = {"latent_dim": "code size"}  # how a setting is called in pictures
TITLES = {"hyperband": "Hyperband", "grid": "grid, cross-validated", "random": "random"}


@style.styled
def progress(records: Mapping[str, Mapping[str, Any]], size: int) -> style.Figure | None:
    """Draws the best error at a code size over the epochs spent, a step line for each search.

    Args:
        records: kind -> record, of searches on the same data and settings.
        size: the code size.

    Returns:
        None where no trial of this size has ended.
    """
    figure, axes = style.panel()
    for kind, whole in records.items():
        epochs, _, errors = record.best_so_far(whole["trials"], latent_dim=size)
        if epochs:
            axes.step(
                epochs, errors, where="post", markevery=[0, -1], **style.look(len(axes.lines)),
                label=f"{TITLES[kind]}: {errors[-1]:.4f} after {epochs[-1]:,.0f} epochs",
            )  # fmt: skip
    if not axes.lines:
        return None
    style.log_axis(axes, "y")
    axes.set_xlim(left=0)
    axes.set_xlabel("epochs trained, all trials")
    objective = _objective(whole)  # of all of them: their settings are the same
    axes.set_ylabel(f"best validation error so far ({objective}),\ncode size {size}")
    figure.legend(loc="outside upper center", ncols=1)
    return figure


@style.styled
def code_size(search_record: Mapping[str, Any]) -> style.Figure | None:
    """Draws the error of every trial over the code size beside a linear model's.

    None without a trial.
    """
    ended = record.finished(search_record["trials"])
    if not ended:
        return None
    figure, axes = style.panel()
    objective = _objective(search_record)
    sizes = [result["settings"]["latent_dim"] for result in ended]
    errors = [result["validation_mse"] for result in ended]
    axes.plot(sizes, errors, ".", color="0.6", zorder=1, label="all trials")
    best = record.best_of_each(ended, "latent_dim")
    lowest = [best[size]["validation_mse"] for size in sorted(best)]
    axes.plot(sorted(best), lowest, label="autoencoder, best trial", **style.look(0))
    linear = {float(size): error for size, error in search_record["reference"].items()}
    axes.plot(
        sorted(linear), [linear[size] for size in sorted(linear)], "s:", color="0.35",
        label="PCA" if objective == "MSE" else "linear variational autoencoder",
    )  # fmt: skip
    folds = {size: result for size, result in best.items() if "standard_error" in result}
    if folds:
        axes.errorbar(
            list(folds), [result["validation_mse"] for result in folds.values()],
            yerr=[result["standard_error"] for result in folds.values()], fmt="none",
            color="black", capsize=3, label="standard error over folds", zorder=3,
        )  # fmt: skip
    style.log_axis(axes, "y")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(best), [f"{size:g}" for size in sorted(best)])
    axes.minorticks_off()
    axes.set(xlabel="code size", ylabel=f"validation error ({objective})")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@style.styled
def importance(search_record: Mapping[str, Any]) -> style.Figure | None:
    """Draws what each setting explains of the error, and of the score, alone and together.

    A bar is the mean over the trees of the forest, its line reaches from the first tenth to the
    last. "Explained" is the share of the variance of trials that a tree did not see. None for a
    record without these numbers (see `ae.search.importance`).
    """
    found = search_record.get("importance")
    if not found:
        return None
    objective = _objective(search_record)
    linear = "PCA's" if objective == "MSE" else "a linear model's"
    titles = {
        "error": f"validation error ({objective})",
        "score": f"the same as a share of {linear} at that code size",
    }
    looks = ({"color": style.COLORS[4]}, {"color": "0.85", "hatch": "////", "edgecolor": "0.55"})
    names = sorted(found["error"]["settings"], key=lambda name: found["error"]["settings"][name][0])
    figure, axes = style.panel(5.2, 1.5 + 0.45 * len(names))
    places = np.arange(1, len(names) + 1)
    for index, (part, title) in enumerate(titles.items()):
        shares = np.array([found[part]["settings"][name] for name in names])  # mean, low, high
        means = 100.0 * np.array([found[part]["together"], *shares[:, 0]])
        heights = np.arange(len(means)) + 0.18 - 0.36 * index
        explained = max(0.0, found[part]["explained"])
        axes.barh(
            heights, means, 0.34, linewidth=0.0, **looks[index],
            label=f"{title}, {100.0 * explained:.0f} % explained",
        )  # fmt: skip
        axes.hlines(places + 0.18 - 0.36 * index, *(100.0 * shares[:, 1:].T), color="black", lw=1.0)
    shown = [_SHOWN.get(name, name.replace("_", " ")) for name in names]
    axes.set_yticks([0, *places], ["several together", *shown])
    axes.grid(False, axis="y")
    axes.set_xlim(0.0, 100.0)
    axes.set_xlabel(f"share of the variance over the space, %, after {found['epochs']} epochs")
    figure.legend(loc="outside upper center", ncols=1)
    return figure


def _objective(search_record: Mapping[str, Any]) -> str:
    """What a search compares trials by; records of older versions do not say it."""
    return search_record.get("objective", "MSE")
