"""Small searches of the autoencoder: what is searched, and trials that train nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from kerasunsup.ae import experiment as ae_experiment
from kerasunsup.ae import search
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.search import oracles, session, trials
from kerasunsup.search.settings import SearchSettings
from kerasunsup.settings import Command
from kerasunsup.training import files, loop

SETTINGS = AutoencoderSettings(
    batch_size=16, latent_dim=4, filters=(4,), hidden_units=8, schedule="cosine"
)


def pixels() -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), np.uint8)
    values[:, :, 4:] //= 4
    return values


def splits() -> Splits:
    pool = ImageSet(pixel_storage.MemoryStore(pixels()))
    return Splits(
        pool.subset(range(80)), pool.subset(range(80, 100)), pool.subset(range(100, 120)),
        "noise", None, None,
    )  # fmt: skip


def space(hp, settings):
    """One shape, so that a search compiles once."""
    return dataclasses.replace(
        settings,
        latent_dim=hp.Choice("latent_dim", [4, 8]),
        learning_rate=hp.Float("learning_rate", 1e-3, 1e-2, sampling="log"),
        weight_decay=hp.Choice("weight_decay", [0.0, 1e-3, 1e-2]),
    )


def command(folder: Path, *, settings=SETTINGS, kind="tune", **options) -> Command:
    options = {kind: True, "max_epochs": 9, "tuning": str(folder / "tuning"), **options}
    return Command("ae", settings, folder / "logs", None, False, (), SearchSettings(**options))


def problem(given: Command, **changes) -> session.Problem:
    made = search.problem(given, splits())
    if not given.search.grid:
        made = dataclasses.replace(made, space=space)
    return dataclasses.replace(made, **changes)


def trial_runner(settings=SETTINGS, max_epochs=9, **changes) -> trials.TrialRunner:
    parts = splits()
    return trials.TrialRunner(
        [(parts.train, parts.validation)],
        settings,
        build=lambda chosen: ae_experiment.build(chosen, parts.image_shape),
        rate=loop.learning_rate,
        max_epochs=max_epochs,
        **changes,
    )


def make(folder, kind="hyperband", **options):
    return oracles.make(
        kind, lambda hp: space(hp, SETTINGS), folder, **{"seed": 0, "max_epochs": 9, **options}
    )


class FakeTrialRunner:
    """Trains nothing: an error that follows from settings, seed and epochs, and a state."""

    def __init__(self):
        self.fails: set[int] = set()
        self.ran = 0

    def warm_up(self, settings):
        return 0.01

    def train(self, task: trials.Task) -> trials.FoldResult:
        self.ran += 1
        if self.ran in self.fails:
            raise InputError("loss became nan")
        seed = task.seed
        if task.parent is not None:
            stored = files.read_arrays(task.parent)
            assert int(stored["epochs"]) == task.first_epoch
            seed = int(stored["seed"])
        luck = np.random.default_rng(seed).random()
        error = (task.settings.learning_rate + luck * 0.01) / task.last_epoch
        losses = [error] * task.last_epoch
        return trials.FoldResult(
            error, {"loss": losses, "val_loss": losses, "learning_rate": losses},
            task.last_epoch - task.first_epoch, 0.01,
            lambda: {"epochs": np.array(task.last_epoch), "seed": np.array(seed)}, 1000,
        )  # fmt: skip


def outcome(found: dict) -> list:
    """What must not depend on stops."""
    keys = ("trial", "settings", "score", "validation_mse", "parent", "history", "last_epoch")
    return sorted(
        ([result.get(key) for key in keys] for result in found["trials"]), key=lambda row: row[0]
    )


def by_settings(found: dict) -> list[str]:
    """What a search found, whatever its trials' numbers."""
    keys = ("settings", "first_epoch", "last_epoch", "score", "history")
    return sorted(json.dumps([result.get(key) for key in keys]) for result in found["trials"])
