"""The trials of a search as points of the space that was searched."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasunsup.search import record

# Combinations of settings, with fewer of which no forest is grown: a tree that splits them by three
# or four settings has none left to be tested on.
LEAST = 20


@dataclasses.dataclass(frozen=True)
class TrialPoints:
    """Trials that ended with a score.

    Attributes:
        names: of the settings, in the order of the columns.
        points: (num_trials, num_settings + 1), float64. A choice is the number of its value,
            counted from 0; a range is [0, 1], along the logarithm where it was searched along it.
            The last column is the number of epochs.
        values: of each column, those that are equally likely; None for a range. Epochs are held at
            the search's longest.
        groups: (num_trials,), int; the same for trials with the same settings.
        scores: (num_trials,), what trials were compared by: the validation error as a share of the
            reference. One above 1, as of a training that diverged, counts as 1: by how much it
            failed would else outweigh all that the others differ by.
        errors: (num_trials,), validation error, at most the reference likewise.
    """

    names: tuple[str, ...]
    points: np.ndarray
    values: list[np.ndarray | None]
    groups: np.ndarray
    scores: np.ndarray
    errors: np.ndarray


def num_combinations(search_record: Mapping[str, Any]) -> int:
    """How many combinations of settings were trained, however often and long."""
    return len({_key(result) for result in record.finished(search_record["trials"])})


def of_record(search_record: Mapping[str, Any]) -> TrialPoints:
    """The points of a record's trials, best score first."""
    space = [hp for hp in search_record["fingerprint"]["space"] if "/" not in hp["name"]]
    ended = record.finished(search_record["trials"])
    keys = sorted({_key(result) for result in ended})
    columns = [
        [_coordinate(hp, result["settings"][hp["name"]]) for result in ended] for hp in space
    ]
    columns.append([float(result["last_epoch"]) for result in ended])
    choices = [
        np.arange(len(hp["values"]), dtype=float) if "values" in hp else None for hp in space
    ]
    scores, errors = (
        np.array([result[name] for result in ended], float) for name in ("score", "validation_mse")
    )
    return TrialPoints(
        names=tuple(hp["name"] for hp in space),
        points=np.array(columns, float).T,
        values=[*choices, np.array([float(search_record["fingerprint"]["max_epochs"])])],
        groups=np.array([keys.index(_key(result)) for result in ended]),
        scores=np.minimum(scores, 1.0),
        errors=np.minimum(errors, errors / scores),
    )


def _key(result: Mapping[str, Any]) -> str:
    return json.dumps(result["settings"], sort_keys=True)


def _coordinate(hp: Mapping[str, Any], value: Any) -> float:
    """Where a setting's value lies in its domain, as KerasTuner describes it."""
    if "values" in hp:
        # A choice is a plain value, a setting may be several: "32 64" and [32, 64].
        plain = " ".join(map(str, value)) if isinstance(value, list) else value
        return float(hp["values"].index(plain))
    low, high = hp["min_value"], hp["max_value"]
    if hp.get("sampling") in ("log", "reverse_log"):
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
