"""One search in this process: what is searched, where it is kept and how a trial is trained.

Trials are compared by their validation error as a share of a reference of the same code size: in
plain error a small code can never beat a large one, and successive halving would throw all small
codes away after their first epochs.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kerasunsup.data import batches
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.search import oracles, record, trials
from kerasunsup.settings import Command, to_json
from kerasunsup.training import files, tensorboard

_MAX_EPOCHS = {"hyperband": 20, "random": 20, "grid": 5}
_FOLDS = 5

# These let one trial fail; every other exception is a mistake in the code and stops the search.
_TRIAL_ERRORS = (InputError, tf.errors.OpError, ArithmeticError, MemoryError)


@dataclasses.dataclass(frozen=True)
class Problem:
    """The model, the data and the space of settings that are searched.

    Attributes:
        settings: the settings that no trial changes.
        splits: the data; nothing looks at its test part.
        build: settings -> compiled model; its validation loss is the objective.
        space: (KerasTuner's hyperparameters, settings) -> settings.
        rate: (settings, epochs of a whole training, epoch) -> learning rate.
        prepare: as for `batches.training_batches`.
        deformation: as for `batches.training_batches`.
        group_by: the setting whose values are not compared with each other by their plain error,
            such as the code size.
        reference: value of `group_by` -> the validation error that the errors of its trials are
            divided by.
        irrelevant: settings that no trial depends on.
        objective: what the texts call the validation loss, with its unit.
        completes: whether Hyperband trains the best settings of each value of `group_by` to the
            last epoch, even those that halving dropped early.
    """

    settings: Any
    splits: Splits
    build: Callable[[Any], keras.Model]
    space: Callable[[Any, Any], Any]
    rate: Callable[[Any, int, int], float]
    prepare: batches.Prepare | None
    group_by: str
    reference: Callable[[Any], float]
    irrelevant: tuple[str, ...] = ()
    objective: str = "MSE"
    deformation: float = 0.0
    completes: bool = True


class Search:
    """One search: its folder, its oracle, and how a trial is trained."""

    def __init__(self, command: Command, problem: Problem) -> None:
        options = command.search
        self.command, self.problem, self.kind = command, problem, options.kind
        self.max_epochs = options.max_epochs or _MAX_EPOCHS[self.kind]
        self.num_folds = (options.folds or _FOLDS) if self.kind == "grid" else 1
        self.folder = record.SearchFolder(Path(options.tuning) / command.experiment / self.kind)
        self.events = command.logs / f"{command.experiment}_search" / self.kind
        self.oracle = oracles.make(
            self.kind,
            lambda hp: problem.space(hp, problem.settings),
            self.folder.path,
            seed=problem.settings.seed,
            max_epochs=self.max_epochs,
            folds=self.num_folds,
            complete=problem.group_by if problem.completes else None,
        )
        self.names = list(oracles.domains(self.oracle))
        self.references: dict[str, float] = {}

    def fingerprint(self) -> dict[str, Any]:
        """Returns everything that the result depends on, as plain JSON."""
        settings = to_json(self.problem.settings)
        for name in (*self.names, *self.problem.irrelevant, "epochs", "data", "strategy"):
            settings.pop(name, None)
        return {
            "kind": self.kind,
            "max_epochs": self.max_epochs,
            "folds": self.num_folds,
            "space": oracles.space_of(self.oracle),
            "settings": settings,
            "data": self.problem.splits.fingerprint,  # follows from the settings too: named last
            # By number, then from grey images on, in versions before.
            "trial_seeds": "by settings, from the mean image on",
        }

    @functools.cached_property
    def trial_runner(self) -> trials.TrialRunner:
        """Trains the trials of this process."""
        splits = self.problem.splits
        parts = [(splits.train, splits.validation)]
        if self.num_folds > 1:
            parts = trials.folds(splits.train, self.num_folds)
        return trials.TrialRunner(
            parts,
            self.problem.settings,
            build=self.problem.build,
            rate=self.problem.rate,
            max_epochs=self.max_epochs,
            prepare=self.problem.prepare,
            deformation=self.problem.deformation,
        )

    def open_folder(self, *, overwrite: bool) -> None:
        """Locks the folder and reads what an earlier session of the same search left in it.

        Raises:
            InputError: if another search lies there.
        """
        self.folder.lock()
        is_there = self.folder.claim(self.fingerprint(), overwrite=overwrite)
        if is_there and (self.folder.path / "oracle.json").exists():  # a trial was handed out
            self.oracle.reload()
        path = self.folder.path / "reference.json"
        if not path.exists():
            values = oracles.domains(self.oracle).get(
                self.problem.group_by,
                [getattr(self.problem.settings, self.problem.group_by)],
            )
            files.write_json(path, {str(value): self.problem.reference(value) for value in values})
        self.references = files.read_json(path)

    def settings_of(self, trial: Any) -> Any:
        """Returns the settings that a trial of the oracle stands for."""
        return self.problem.space(trial.hyperparameters.copy(), self.problem.settings)

    def run_trial(self, trial: Any, worker: str, clock: float) -> dict[str, Any]:
        """Trains a trial of the oracle, writes its result and returns it; a failure is one too.

        `clock` is what `time.perf_counter()` was when the search began, had it never stopped.
        """
        values = trial.hyperparameters.values
        settings = self.settings_of(trial)
        first = values.get("tuner/initial_epoch", 0)
        last = values.get("tuner/epochs", self.max_epochs)
        parent = values.get("tuner/trial_id")
        plain = to_json(settings)
        result: dict[str, Any] = {
            "trial": trial.trial_id,
            "settings": {name: plain[name] for name in self.names},
            "parent": parent,
            "first_epoch": first,
            "last_epoch": last,
            "trained_epochs": 0,
            "worker": worker,
        }
        began = time.perf_counter()
        try:
            folds = [
                self.trial_runner.train(
                    trials.Task(
                        settings,
                        trials.trial_seed(settings.seed, result["settings"], fold),
                        first,
                        last,
                        None if parent is None else self.folder.state(parent),
                        fold,
                    )
                )
                for fold in range(self.num_folds)
            ]
        except _TRIAL_ERRORS as error:
            message = " ".join(str(error).split())[:500]
            result |= {"score": None, "error": f"{type(error).__name__}: {message}"}
        else:
            reference = self.references[str(plain[self.problem.group_by])]
            result |= trials.summary_of_folds(folds, reference)
            self._keep_state(trial.trial_id, result["score"], last, folds[0])
            result["states_on_disk"] = self.folder.state_bytes()
        result["seconds"] = time.perf_counter() - began
        result["clock"] = time.perf_counter() - clock
        self.folder.write_result(trial.trial_id, result)
        if result["score"] is not None:
            _write_to_tensorboard(self.events / result["trial"], result)
        return result

    def _keep_state(
        self, trial_id: str, score: float, last: int, training: trials.FoldResult
    ) -> None:
        """Writes the state of a trial that a later one may go on from."""
        if self.kind != "hyperband" or last >= self.max_epochs:
            return
        # The client that a worker has in place of the oracle cannot tell.
        needed = getattr(self.oracle, "needed_states", None)
        if needed is None or trial_id in needed(trial_id, score):
            files.write_arrays(self.folder.state(trial_id), training.state())

    def ended_results(self) -> list[dict[str, Any]]:
        """Returns the results of all trials that ended, in the order in which they ended."""
        return self.folder.results(self.oracle.end_order)


def _write_to_tensorboard(folder: Path, result: Mapping[str, Any]) -> None:
    shown = {
        name: " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in result["settings"].items()
    }
    metrics = {"validation/mse": result["validation_mse"], "score": result["score"]}
    tensorboard.write_trial(folder, shown, metrics, result["history"])
