"""Finds the images that a run was trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings
from kerasunsup.training import files


def splits(run: Path) -> Splits:
    """The splits of a run, where the images are still in place.

    Args:
        run: its folder.

    Raises:
        InputError: if they are gone, or others have taken their place; the text is the reason.
    """
    environment, stored = (_read(run / name) for name in ("environment.json", "config.json"))
    if environment.get("data") is None:
        raise InputError("its run has no fingerprint of them")
    # Every experiment has these settings and more; they say which images a run took.
    names = {field.name for field in dataclasses.fields(TrainingSettings)}
    settings = TrainingSettings(**{name: stored[name] for name in names & set(stored)})
    places = list(dict.fromkeys([environment.get("data_path") or settings.data, settings.data]))
    reason = f"{' and '.join(places)} holds other images"
    for place in places:
        try:
            found = data_splits.load(dataclasses.replace(settings, data=place))
        except InputError as error:
            reason = str(error).replace("--data ", "")
            continue
        if found.fingerprint == environment["data"]:
            return found
    raise InputError(reason)


def _read(path: Path) -> dict[str, Any]:
    values = files.read_json(path) if path.is_file() else {}
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged (no JSON object): remove it")
    return values
