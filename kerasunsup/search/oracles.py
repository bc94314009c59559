"""Chooses what a search tries next: KerasTuner's oracles, mended where a stop costs results.

Of KerasTuner only the choice of what to try is used, and in `distributed` its messages between
machines. Its tuners build, trace and save a model for each trial, swallow errors and reset the
precision: `trials` trains instead.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import itertools
import json
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as trial_module
from keras_tuner.src.engine import metrics_tracking

from kerasunsup.training import files

# KerasTuner 1.4.8 names the current thread by methods that Python 3.10 renamed, in each call.
warnings.filterwarnings("ignore", r"(currentThread|getName)\(\) is deprecated", DeprecationWarning)

FACTOR = 3  # of the trials of a rung one in three goes on to the next
COMPLETION = -1  # stands for a bracket's number
MOST_FAILURES = 3  # trials in a row that may fail before a search stops

RUNNING, IDLE, STOPPED = "RUNNING", "IDLE", "STOPPED"
COMPLETED, FAILED = "COMPLETED", "FAILED"


@dataclasses.dataclass(frozen=True)
class Rung:
    """Trials of one length: all of a grid, or one round of a Hyperband's bracket."""

    bracket: int
    round: int
    trials: int
    first_epoch: int
    last_epoch: int
    folds: int = 1

    @property
    def epochs(self) -> int:
        """The number of epochs that all its trials train together."""
        return self.trials * self.folds * (self.last_epoch - self.first_epoch)


class DurableOracle(keras_tuner.Oracle, abc.ABC):
    """An oracle that survives a kill at any moment, and knows which states are still needed.

    KerasTuner 1.4.8 writes `oracle.json` and `trial.json` in place, so that a kill leaves half a
    file; counts a trial that was begun but not entered yet; keeps the metrics of one that will
    start over; and hands unfinished trials out again in reverse order.
    """

    stop_reason: str | None = None  # set: nothing more is handed out
    _said_stop = False
    when_ended: Callable[[str], None] = staticmethod(lambda trial_id: None)

    def save(self) -> None:
        """Writes `oracle.json`, whole or not at all."""
        files.write_bytes(Path(self._get_oracle_fname()), json.dumps(self.get_state()).encode())

    def _save_trial(self, trial: trial_module.Trial) -> None:
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        files.write_bytes(path, json.dumps(trial.get_state()).encode())

    def reload(self) -> None:
        """Reads what `save` wrote; unfinished trials are handed out first, in their order."""
        state = files.read_json(Path(self._get_oracle_fname()))
        for folder in Path(self._project_dir).glob("trial_*"):
            trial_id = folder.name.removeprefix("trial_")
            if trial_id not in state["start_order"]:  # killed before it was entered
                shutil.rmtree(folder)
                continue
            trial = trial_module.Trial.from_state(files.read_json(folder / "trial.json"))
            self.trials[trial_id] = trial
        self.set_state(state)
        unfinished = [trial_id for trial_id in self.start_order if trial_id not in self.end_order]
        for trial_id in unfinished:
            self.trials[trial_id].metrics = metrics_tracking.MetricsTracker()
        self.ongoing_trials: dict[str, trial_module.Trial] = {}
        self._retry_queue = unfinished[::-1]  # taken from the end

    def create_trial(self, tuner_id: str) -> trial_module.Trial:
        """Returns the next trial: `RUNNING`, or `IDLE` (ask again), or `STOPPED` (no more)."""
        if self.stop_reason is not None:
            self.tuner_ids.discard(tuner_id)
            return trial_module.Trial(self.get_space(), status=STOPPED)
        trial = super().create_trial(tuner_id)
        if trial.status == STOPPED:
            self._said_stop = True
        return trial

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Any:
        """Stores a trial's numbers; a second report of the same trial changes nothing."""
        if trial_id in self.end_order:
            return self.trials[trial_id]
        return super().update_trial(trial_id, metrics, step=step)

    def end_trial(self, trial: trial_module.Trial) -> None:
        """Stores that a trial has ended; the first report counts."""
        if trial.trial_id in self.end_order:
            return
        super().end_trial(trial)
        last = [self.trials[trial_id].status for trial_id in self.end_order[-MOST_FAILURES:]]
        if last == [FAILED] * MOST_FAILURES:
            self.stop_reason = f"{MOST_FAILURES} trials in a row failed"
        self.when_ended(trial.trial_id)

    @keras_tuner.synchronized
    def release(self, tuner_id: str) -> str | None:
        """Takes back the trial of a dead worker, to hand it out again; returns the trial's id."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is None:
            return None
        self._retry_queue.append(trial.trial_id)
        self.save()
        return trial.trial_id

    @keras_tuner.synchronized
    def is_exhausted(self) -> bool:
        """Returns whether nothing more will be handed out, as far as the oracle can tell."""
        return self.stop_reason is not None or (self._said_stop and not self._retry_queue)

    @abc.abstractmethod
    def planned_rungs(self) -> list[Rung]:
        """Returns all rungs that will be trained, in order."""

    def needed_states(self, trial_id: str = "", score: float = math.inf) -> set[str]:
        """Returns the trials whose last state a later trial may go on from.

        The trial `trial_id` counts as ended with `score`, before the oracle is told so.
        """
        return set()


class Hyperband(DurableOracle, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, of which the best go on (Li et al. 2018, arXiv:1603.06560).

    In KerasTuner 1.4.8 a trial that fails costs its bracket a promotion: of three trials of which
    one fails, none goes on. Here it counts as the worst of its round.

    Where `complete` names a hyperparameter, the best settings of each of its values are trained to
    the last epoch at the end, anew, unless they were: halving may drop a value early that the
    result must show.
    """

    complete: str | None = None

    def planned_rungs(self) -> list[Rung]:
        """Returns a rung for each round, brackets in KerasTuner's order: the most halvings first.

        The rung that completes values comes last; its number of trials is an upper bound.
        """
        rungs = []
        for bracket in reversed(range(self._get_num_brackets())):
            last = 0
            for number in range(bracket + 1):
                first, last = last, self._get_epochs(bracket, number)
                rungs.append(Rung(bracket, number, self._get_size(bracket, number), first, last))
        if self.complete is not None:
            begun = sum(map(self._completes, self.trials.values()))
            left = self._incomplete()
            if len(self.trials) - begun == sum(rung.trials for rung in rungs):
                left = {value: best for value, best in left.items() if best is not None}
            rungs.append(Rung(COMPLETION, 0, begun + len(left), 0, self.max_epochs))
        return rungs

    def _completes(self, trial: trial_module.Trial) -> bool:
        return trial.hyperparameters.values.get("tuner/bracket") == COMPLETION

    def _incomplete(self) -> dict[Any, trial_module.Trial | None]:
        """Returns each value that is still to be completed -> its best trial, or None without one.

        Its best trial stopped before the last epoch, and none completes it now.
        """
        incomplete: dict[Any, trial_module.Trial | None] = {}
        for value in domains(self)[str(self.complete)]:
            trials = [
                trial
                for trial in self.trials.values()
                if trial.hyperparameters.values[self.complete] == value
            ]
            ended = [trial for trial in trials if trial.status == COMPLETED]
            best = min(ended, key=lambda trial: trial.score) if ended else None
            is_whole = best and best.hyperparameters.values["tuner/epochs"] >= self.max_epochs
            if not is_whole and not any(map(self._completes, trials)):
                incomplete[value] = best
        return incomplete

    def needed_states(self, trial_id: str = "", score: float = math.inf) -> set[str]:
        """Returns unfinished trials, their parents and the best trials that may be promoted.

        A round of which `left` may still be promoted needs no more than its `left` best, since the
        best go first and later trials only join.
        """
        scores = {
            name: trial.score for name, trial in self.trials.items() if trial.status == COMPLETED
        }
        if trial_id:
            scores[trial_id] = score
        unfinished = set(self.trials) - set(self.end_order) - {trial_id}
        needed = {
            self.trials[name].hyperparameters.values.get("tuner/trial_id") for name in unfinished
        } - {None}
        needed |= unfinished  # a worker writes its state before it says that it is done
        for bracket in self._brackets:
            for past, following, _, going_on in self._rounds(bracket):
                promoted = {entry["past_id"] for entry in following}
                open_to = [e["id"] for e in past if e["id"] in scores and e["id"] not in promoted]
                left = going_on - len(promoted)
                needed |= set(sorted(open_to, key=scores.__getitem__)[:left])
        return needed

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next trial as KerasTuner does, after promotions that it leaves out."""
        for bracket in self._brackets:
            for number, (past, following, left, going_on) in enumerate(self._rounds(bracket), 1):
                promoted = {entry["past_id"] for entry in following}
                ended = [self.trials[e["id"]] for e in past if e["id"] not in promoted]
                ended = [trial for trial in ended if trial.status == COMPLETED]
                if len(ended) > left - going_on:
                    best = min(ended, key=lambda trial: trial.score)
                    following.append({"past_id": best.trial_id, "id": trial_id})
                    bracket_num = bracket["bracket_num"]
                    first, last = (self._get_epochs(bracket_num, n) for n in (number - 1, number))
                    running = _running(best, bracket_num, number, first, last)
                    running["values"]["tuner/trial_id"] = best.trial_id
                    return running
        response = super().populate_space(trial_id)
        if self.complete is None or response["status"] == RUNNING:
            return response
        if not all(map(self._completes, self.ongoing_trials.values())):
            return response  # what is still trained may complete a value
        for best in self._incomplete().values():
            if best is not None:
                return _running(best, COMPLETION, 0, 0, self.max_epochs)
        return response

    def _rounds(self, bracket: dict[str, Any]) -> Iterator[tuple[list, list, int, int]]:
        """(a round, the next, trials of it that did not fail, how many of them go on) in order."""
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        expected = self._get_size(number, 0)
        for index, (past, following) in enumerate(itertools.pairwise(rounds), start=1):
            left = expected - sum(self.trials[e["id"]].status == FAILED for e in past)
            expected = min(left, self._get_size(number, index))
            yield past, following, left, expected


def _running(
    best: trial_module.Trial, bracket: int, number: int, first_epoch: int, last_epoch: int
) -> dict[str, Any]:
    """The answer that trains the settings of a trial on, without the trial to go on from."""
    values = {
        **best.hyperparameters.values,
        "tuner/epochs": last_epoch,
        "tuner/initial_epoch": first_epoch,
        "tuner/bracket": bracket,
        "tuner/round": number,
    }
    values.pop("tuner/trial_id", None)
    return {"status": RUNNING, "values": values}


class Random(DurableOracle, keras_tuner.oracles.RandomSearchOracle):
    """Draws every trial at random and trains it to the end."""

    max_epochs = 1

    def planned_rungs(self) -> list[Rung]:
        """Returns the only rung."""
        return [Rung(0, 0, self.max_trials, 0, self.max_epochs)]


class Grid(DurableOracle, keras_tuner.oracles.GridSearchOracle):
    """Tries every combination, each cross-validated.

    KerasTuner 1.4.8 stores nothing of where its grid stands, so that a search that goes on ends
    at once or fails.
    """

    max_epochs = 1
    folds = 1

    def set_state(self, state: dict[str, Any]) -> None:
        """Finds the place in the grid from the trials that were begun."""
        super().set_state(state)
        # Trials are begun in the grid's own order, each the next of the one before.
        for before, trial_id in zip([None, *self.start_order], self.start_order, strict=False):
            self._ordered_ids.insert(trial_id, before)
        self._populate_next = list(self.start_order)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next combination, without waiting for the one before it to end."""
        response = super().populate_space(trial_id)
        if response["status"] == RUNNING:
            self._populate_next.append(trial_id)
        return response

    def planned_rungs(self) -> list[Rung]:
        """Returns the only rung."""
        combinations = math.prod(len(list(hp.values)) for hp in self.get_space().space)
        return [Rung(0, 0, combinations, 0, self.max_epochs, self.folds)]


def make(
    kind: str,
    register: Callable[[Any], Any],
    folder: Path,
    *,
    seed: int,
    max_epochs: int,
    folds: int = 1,
    complete: str | None = None,
) -> DurableOracle:
    """Returns the oracle of a search in `folder`, which has not read the files there yet.

    Args:
        kind: `hyperband`, `grid` or `random`; the last trains as many epochs as Hyperband would.
        register: called with KerasTuner's `HyperParameters`, asks it for every value.
        folder: the folder of the search.
        seed: what is tried follows from it.
        max_epochs: the epochs of the longest trial.
        folds: the parts of the grid's cross-validation.
        complete: the hyperparameter whose values Hyperband all trains to the last epoch.
    """
    space = keras_tuner.HyperParameters()
    register(space)
    # KerasTuner takes 0 as no seed, and counts up from it: seeds must lie far apart.
    digest = hashlib.sha256(f"search {seed}".encode()).digest()
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective("score", "min"),
        "hyperparameters": space,
        "allow_new_entries": False,
        "seed": 1 + int.from_bytes(digest[:4], "big") % (2**31 - 2),
        "max_consecutive_failed_trials": 10**9,  # counted here, without an exception in a lock
    }
    oracle: DurableOracle
    if kind == "grid":
        oracle = Grid(**options)
        oracle.max_epochs, oracle.folds = max_epochs, folds
    else:
        hyperband = oracle = Hyperband(max_epochs=max_epochs, factor=FACTOR, **options)
        if kind == "random":
            cost = sum(rung.epochs for rung in oracle.planned_rungs())
            oracle = Random(max_trials=max(1, round(cost / max_epochs)), **options)
            oracle.max_epochs = max_epochs
        elif complete in domains(oracle):
            hyperband.complete = complete
    oracle.verbose = 0
    oracle._set_project_dir(str(folder.parent), folder.name)
    return oracle


def space_of(oracle: DurableOracle) -> list[dict[str, Any]]:
    """Returns the name, the kind and the values of each hyperparameter, as plain JSON."""
    return [
        {"kind": type(hp).__name__, **hp.get_config()}
        for hp in sorted(oracle.get_space().space, key=lambda hp: str(hp.name))
    ]


def domains(oracle: DurableOracle) -> dict[str, list[Any] | tuple[float, float]]:
    """Returns hyperparameter -> its values, or (least, most)."""
    values: dict[str, list[Any] | tuple[float, float]] = {}
    for hp in oracle.get_space().space:
        if isinstance(hp, keras_tuner.engine.hyperparameters.Float):
            values[hp.name] = (hp.min_value, hp.max_value)
        else:
            values[hp.name] = list(hp.values)
    return values
