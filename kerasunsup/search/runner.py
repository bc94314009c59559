"""A search for settings: says what it will do, tries, keeps every result, goes on after a kill.

Trials are compared by their validation error as a share of a reference of the same code size: in
plain error a small code can never beat a large one, and successive halving would throw all small
codes away after their first epochs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.data import batches
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.progress import clock
from kerasunsup.search import oracles, record, trials
from kerasunsup.settings import Command, to_json
from kerasunsup.training import files, run_folder, tensorboard

_MAX_EPOCHS = {"hyperband": 20, "random": 20, "grid": 5}
_FOLDS = 5
_METRICS = ("validation/mse", "score")

# What a single trial may fail of; every other exception is a mistake and stops the search.
_TRIAL_ERRORS = (InputError, tf.errors.OpError, ArithmeticError, MemoryError)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is searched for.

    Attributes:
        settings: everything that is not chosen.
        splits: the data; nothing looks at its test part.
        build: settings -> compiled model; the loss is the objective.
        space: (KerasTuner's hyperparameters, settings) -> settings.
        rate: (settings, epochs of a whole training, epoch) -> learning rate.
        prepare: as for `batches.training_batches`.
        by: the setting whose values are not compared with each other by their plain error.
        reference: value of `by` -> the validation error that its trials' are divided by.
        irrelevant: settings that no trial depends on.
        completes: whether Hyperband takes the best settings of each value of `by` to the last
            epoch, those that halving dropped early too.
    """

    settings: Any
    splits: Splits
    build: Callable[[Any], keras.Model]
    space: Callable[[Any, Any], Any]
    rate: Callable[[Any, int, int], float]
    prepare: batches.Prepare | None
    by: str
    reference: Callable[[Any], float]
    irrelevant: tuple[str, ...] = ()
    completes: bool = True


class Search:
    """One search: its folder, what to try, and how a trial is run.

    Args:
        command: the parsed command line; its `search` says which kind.
        problem: what is searched for.
    """

    def __init__(self, command: Command, problem: Problem) -> None:
        options = command.search
        if options.kind is None:
            raise ValueError("the command line asks for no search")
        self.command, self.problem, self.kind = command, problem, options.kind
        self.max_epochs = options.max_epochs or _MAX_EPOCHS[self.kind]
        self.num_folds = (options.folds or _FOLDS) if self.kind == "grid" else 1
        self.folder = record.Folder(Path(options.tuning) / command.experiment / self.kind)
        self.events = command.logs / f"{command.experiment}_search" / self.kind
        self.oracle = oracles.make(
            self.kind,
            lambda hp: problem.space(hp, problem.settings),
            self.folder.path,
            seed=problem.settings.seed,
            max_epochs=self.max_epochs,
            folds=self.num_folds,
            complete=problem.by if problem.completes else None,
        )
        self.names = list(oracles.domains(self.oracle))
        self.references: dict[str, float] = {}
        self.on_epoch: Callable[[], None] | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Everything that the result depends on."""
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
            "trial_seeds": "by settings",  # by number in versions before
        }

    @functools.cached_property
    def workshop(self) -> trials.Workshop:
        """Where the trials of this process are trained."""
        splits = self.problem.splits
        parts = (
            trials.folds(splits.train, self.num_folds)
            if self.num_folds > 1
            else [(splits.train, splits.validation)]
        )
        return trials.Workshop(
            parts,
            self.problem.settings,
            build=self.problem.build,
            rate=self.problem.rate,
            max_epochs=self.max_epochs,
            prepare=self.problem.prepare,
            on_epoch=lambda: self.on_epoch() if self.on_epoch is not None else None,
        )

    def prepare(self, *, overwrite: bool) -> None:
        """Takes the folder, begins or goes on.

        Raises:
            InputError: if another search lies there.
        """
        self.folder.lock()
        is_there = self.folder.claim(self.fingerprint(), overwrite=overwrite)
        if is_there and oracles.is_begun(self.folder.path):
            self.oracle.reload()
        path = self.folder.path / "reference.json"
        if not path.exists():
            values = oracles.domains(self.oracle).get(
                self.problem.by, [getattr(self.problem.settings, self.problem.by)]
            )
            files.write_json(path, {str(value): self.problem.reference(value) for value in values})
        self.references = files.read_json(path)

    def settings_of(self, trial: Any) -> Any:
        """The settings that a trial of the oracle stands for."""
        return self.problem.space(trial.hyperparameters.copy(), self.problem.settings)

    def run_trial(self, trial: Any, worker: str, clock: float) -> dict[str, Any]:
        """Trains one trial and writes its result; a failure is a result too.

        Args:
            trial: as the oracle handed it out.
            worker: who trains it.
            clock: `time.perf_counter()` when this search would have begun in one go.
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
            outcomes = [
                self.workshop.run(
                    trials.Task(
                        settings,
                        trial_seed(settings.seed, result["settings"], fold),
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
            errors = [outcome.error for outcome in outcomes]
            mean = statistics.fmean(errors)
            deviation = statistics.stdev(errors) if len(errors) > 1 else 0.0
            result |= {
                "score": mean / self.references[str(plain[self.problem.by])],
                "validation_mse": mean,
                "trained_epochs": sum(outcome.trained for outcome in outcomes),
                "state_bytes": outcomes[0].state_bytes,
                "history": outcomes[0].history,
            }
            if len(errors) > 1:
                result |= {
                    "fold_mse": errors,
                    "standard_deviation": deviation,
                    "standard_error": deviation / len(errors) ** 0.5,
                    "history": {
                        name: np.mean([o.history[name] for o in outcomes], axis=0).tolist()
                        for name in outcomes[0].history
                        if len({len(o.history[name]) for o in outcomes}) == 1
                    },
                }
            self._keep_state(trial.trial_id, result["score"], last, outcomes[0])
            result["states_on_disk"] = self.folder.state_bytes()
        result["seconds"] = time.perf_counter() - began
        result["clock"] = time.perf_counter() - clock
        self.folder.write_result(trial.trial_id, result)
        self._show_in_tensorboard(result)
        return result

    def _keep_state(self, trial_id: str, score: float, last: int, outcome: trials.Outcome) -> None:
        """Writes the state where a promotion may need it."""
        if self.kind != "hyperband" or last >= self.max_epochs:
            return
        known = getattr(self.oracle, "needed_states", None)  # a worker's oracle cannot tell
        if known is None or trial_id in known(trial_id, score):
            files.write_arrays(self.folder.state(trial_id), outcome.state())

    def _show_in_tensorboard(self, result: Mapping[str, Any]) -> None:
        if result["score"] is None:
            return
        shown = {
            name: " ".join(map(str, value)) if isinstance(value, list) else value
            for name, value in result["settings"].items()
        }
        metrics = {"validation/mse": result["validation_mse"], "score": result["score"]}
        tensorboard.write_trial(self.events / result["trial"], shown, metrics, result["history"])

    def ended(self) -> list[dict[str, Any]]:
        """The results of all trials that ended, in that order."""
        return self.folder.results(self.oracle.end_order)


def trial_seed(seed: int, chosen: Mapping[str, Any], fold: int = 0) -> int:
    """The seed of a trial's initial weights: by what was chosen, never by when or where it runs.

    Its number will not do: workers that end in another order begin the next ones in another order.

    Args:
        seed: of the search.
        chosen: setting -> value, as plain JSON.
        fold: of the cross-validation.

    Returns:
        0 to 2**31 - 1.
    """
    text = json.dumps([seed, fold, chosen], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


class Report:
    """What a search prints: the plan, a line a trial, a table.

    Args:
        search: that it speaks of.
        seconds_per_epoch: as measured before the first trial.
    """

    def __init__(self, search: Search, seconds_per_epoch: float) -> None:
        self._search = search
        self._epoch = seconds_per_epoch
        self.workers = 1

    def plan(self) -> str:
        """Brackets, trials, epochs in all, time."""
        search = self._search
        lines = [f"{search.kind} search in {search.folder.path}, epochs of a trial:"]
        planned = search.oracle.plan()
        for bracket in sorted({rung.bracket for rung in planned}, reverse=True):
            rungs = [rung for rung in planned if rung.bracket == bracket]
            if bracket == oracles.COMPLETION:
                lines.append(
                    f"  then the best of each {search.problem.by} that stopped before epoch "
                    f"{search.max_epochs}, from the beginning"
                )
                continue
            steps = ", then the best ".join(
                f"{rung.trials} trials to epoch {rung.last_epoch}" for rung in rungs
            )
            lines.append(f"  bracket {bracket}: {steps}")
        if search.num_folds > 1:
            lines.append(f"  each {search.num_folds} times, on other parts of the training images")
        total = sum(rung.epochs for rung in planned)
        done = search.ended()
        at_most = "at most " if planned[-1].bracket == oracles.COMPLETION else ""
        lines.append(
            f"  {at_most}{sum(rung.trials for rung in planned)} trials, {total} epochs in all, "
            f"about {clock(total * self._epoch)} ({self._epoch:.2g} s an epoch)"
        )
        if done:
            lines.append(f"  going on: {len(done)} trials are done already")
        return "\n".join(lines)

    def line(self, trial_id: str) -> str:
        """One trial: what was chosen, its score, the best so far, the time left."""
        search = self._search
        results = search.ended()
        result = search.folder.result(trial_id)
        count = f"{len(search.oracle.end_order)}/{sum(r.trials for r in search.oracle.plan())}"
        shown = ", ".join(f"{name} {_short(v)}" for name, v in result["settings"].items())
        text = f"trial {count}: {shown}, epochs {result['first_epoch']}-{result['last_epoch']}: "
        if result["score"] is None:
            return text + f"FAILED: {result['error']}"
        best = record.finished(results)[0]
        text += f"MSE {result['validation_mse']:.5f}"
        if "standard_error" in result:
            text += f" +- {result['standard_error']:.5f}"
        text += f", score {result['score']:.4f}, best {best['score']:.4f} (trial {best['trial']})"
        return text + f", about {clock(self.seconds_left(results))} left"

    def seconds_left(self, results: list[dict[str, Any]]) -> float:
        """By the time that an epoch took so far, all in."""
        trained = sum(result["trained_epochs"] for result in results)
        spent = sum(result["seconds"] for result in results)
        epoch = spent / trained if trained else self._epoch
        planned = sum(
            (result["last_epoch"] - result["first_epoch"]) * self._search.num_folds
            for result in results
        )
        left = sum(rung.epochs for rung in self._search.oracle.plan()) - planned
        return max(0, left) * epoch / max(1, self.workers)

    def table(self, results: list[dict[str, Any]]) -> str:
        """The best trial at each code size."""
        search = self._search
        others = [name for name in search.names if name != search.problem.by]
        header = [search.problem.by, "validation MSE", "score", *others, "epochs", "trial"]
        rows = [
            [
                str(value),
                f"{best['validation_mse']:.5f}",
                f"{best['score']:.4f}",
                *(_short(best["settings"][name]) for name in others),
                str(best["last_epoch"]),
                best["trial"],
            ]
            for value, best in record.front(results, search.problem.by).items()
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        return "\n".join(
            "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in [header, *rows]
        )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def run(command: Command, problem: Problem) -> dict[str, Any]:
    """Searches, or goes on, in this process; returns the record.

    Raises:
        InputError: if another search lies in the folder, or every trial fails.
        Interrupted: on Ctrl-C; the same command goes on.
    """
    search = Search(command, problem)
    try:
        search.prepare(overwrite=command.search.overwrite)
        report = begin(search)
        clock = time.perf_counter() - clock_so_far(search)
        while True:
            trial = search.oracle.create_trial("local")
            if trial.status == oracles.STOPPED:
                break
            enter(search.oracle, trial, search.run_trial(trial, "local", clock))
        return finish(search, report)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped, {len(search.oracle.end_order)} trials are saved in {search.folder.path}; "
            "the same command goes on"
        ) from None
    finally:
        search.folder.close()


def begin(search: Search) -> Report:
    """Shows mistakes, measures, prints the plan, and prints each trial from now on."""
    if search.oracle.start_order:  # measured already, by its trials
        done = search.ended()
        trained = sum(result["trained_epochs"] for result in done)
        seconds = sum(result["seconds"] for result in done) / trained if trained else 0.0
    else:
        seconds = search.workshop.warm_up(search.problem.settings)
        tensorboard.write_domains(search.events, oracles.domains(search.oracle), _METRICS)
    report = Report(search, seconds)
    print(report.plan(), flush=True)

    def when_ended(trial_id: str) -> None:
        search.folder.prune(search.oracle.needed_states())
        print(report.line(trial_id), flush=True)

    search.oracle.when_ended = when_ended
    return report


def clock_so_far(search: Search) -> float:
    """Seconds that earlier sessions of this search took."""
    return max((result["clock"] for result in search.ended()), default=0.0)


def enter(oracle: Any, trial: Any, result: Mapping[str, Any]) -> None:
    """Tells the oracle how a trial went."""
    if result["score"] is None:
        trial.status, trial.message = oracles.FAILED, result["error"]
    else:
        oracle.update_trial(trial.trial_id, {"score": result["score"]}, step=result["last_epoch"])
        trial.status = oracles.COMPLETED
    oracle.end_trial(trial)


def finish(search: Search, report: Report) -> dict[str, Any]:
    """Writes the record and the configurations; prints the table."""
    results = search.ended()
    ranked = record.finished(results)
    if search.oracle.stop_reason is not None or not ranked:
        error = next((r["error"] for r in reversed(results) if r["score"] is None), "no trial")
        reason = search.oracle.stop_reason or "no trial ended with a score"
        raise InputError(f"the search stops: {reason}, the last of: {error}")
    search.folder.prune(search.oracle.needed_states())
    found = record.front(results, search.problem.by)
    written = {
        "kind": search.kind,
        "finished": record.now(),
        "seconds": clock_so_far(search),
        "epochs": sum(result["trained_epochs"] for result in results),
        "fingerprint": search.folder.fingerprint(),
        "environment": run_folder.environment(search.command),
        "score": "validation MSE as a share of the reference of the same " + search.problem.by,
        "reference": search.references,
        "plan": [dataclasses.asdict(rung) for rung in search.oracle.plan()],
        "best": ranked[0]["trial"],
        "front": {str(value): best["trial"] for value, best in found.items()},
        "disk": {
            "state_bytes_if_all_were_kept": sum(r.get("state_bytes", 0) for r in ranked),
            "state_bytes_at_most": max(r.get("states_on_disk", 0) for r in ranked),
            "state_bytes_left": search.folder.state_bytes(),
        },
        "trials": [
            {key: value for key, value in result.items() if key != "states_on_disk"}
            for result in results
        ],
    }
    print(f"\n{report.table(results)}\n", flush=True)
    return written
