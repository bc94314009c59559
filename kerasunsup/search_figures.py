"""Pictures of finished searches, from their records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasunsup import drawing, figures, record

TITLES = {"hyperband": "Hyperband", "grid": "grid, cross-validated", "random": "random"}


def progress(records: Mapping[str, Mapping[str, Any]], size: int) -> drawing.Figure | None:
    """The best error at a code size over the epochs spent, a line a search.

    Args:
        records: kind -> record of searches on the same data and settings.
        size: the code size.

    Returns:
        None where no trial of this size has ended.
    """
    curves = {}
    for kind, found in records.items():
        epochs, _, errors = record.best_so_far(found["trials"], latent_dim=size)
        curves[TITLES[kind]] = (epochs, errors)
    if not any(epochs for epochs, _ in curves.values()):
        return None
    return figures.search_progress(curves, of=f"code size {size}")


def code_size(found: Mapping[str, Any]) -> drawing.Figure | None:
    """The error of every trial over the code size, with PCA's; None where no trial has ended."""
    ended = record.finished(found["trials"])
    if not ended:
        return None
    errors_of: dict[float, list[float]] = {}
    for result in ended:
        errors_of.setdefault(result["settings"]["latent_dim"], []).append(result["validation_mse"])
    best = record.front(ended, "latent_dim")
    return figures.error_over_code_size(
        errors_of,
        {float(value): error for value, error in found["reference"].items()},
        bars={
            value: (result["validation_mse"], result["standard_error"])
            for value, result in best.items()
            if "standard_error" in result
        },
    )
