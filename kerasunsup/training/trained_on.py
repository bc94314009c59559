"""Finds the images that a run was trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings, read_config
from kerasunsup.training import files


def splits(run: Path, settings_type: type[TrainingSettings]) -> Splits:
    """The splits of a run, where the images are still in place.

    Args:
        run: its folder.
        settings_type: of its experiment.

    Raises:
        InputError: if they are gone, or others have taken their place; the text is the reason.
    """
    settings = settings_type(**read_config(settings_type, run / "config.json"))
    path = run / "environment.json"
    environment = files.read_json(path) if path.is_file() else {}
    if environment.get("data") is None:
        raise InputError("its run has no fingerprint of them")
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
