"""Runs a search in this process: it prints its budget, keeps every result, goes on after a kill."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Mapping
from typing import Any

from kerasunsup.errors import InputError, Interrupted
from kerasunsup.search import messages, oracles, record
from kerasunsup.search.session import Problem, Search
from kerasunsup.settings import Command
from kerasunsup.training import run_folder, tensorboard

logger = logging.getLogger(__name__)

_METRICS = ("validation/mse", "score")  # the columns of TensorBoard's table of trials


def run_search(command: Command, problem: Problem) -> dict[str, Any]:
    """Runs a search in this process, or goes on with it, and returns its record.

    Raises:
        InputError: if another search lies in the folder, or every trial fails.
        Interrupted: on Ctrl-C; the same command goes on.
    """
    search = Search(command, problem)
    try:
        search.open_folder(overwrite=command.search.overwrite)
        texts = start(search)
        clock = time.perf_counter() - clock_so_far(search)
        while True:
            trial = search.oracle.create_trial("local")
            if trial.status == oracles.STOPPED:
                break
            tell_oracle(search.oracle, trial, search.run_trial(trial, "local", clock))
        return make_record(search, texts)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped, {len(search.oracle.end_order)} trials are saved in {search.folder.path}; "
            "the same command goes on"
        ) from None
    finally:
        search.folder.close()


def start(search: Search) -> messages.Messages:
    """Trains a few steps, prints the budget of the search, and has each trial printed as it ends.

    The steps show mistakes in the model before the first trial, and how long an epoch takes.
    """
    if search.oracle.start_order:  # measured already, by its trials
        done = search.ended_results()
        trained = sum(result["trained_epochs"] for result in done)
        seconds = sum(result["seconds"] for result in done) / trained if trained else 0.0
    else:
        seconds = search.trial_runner.warm_up(search.problem.settings)
        tensorboard.write_domains(search.events, oracles.domains(search.oracle), _METRICS)
    texts = messages.Messages(search, seconds)
    logger.info(texts.budget())

    def when_ended(trial_id: str) -> None:
        search.folder.prune(search.oracle.needed_states())
        logger.info(texts.trial_line(trial_id))

    search.oracle.when_ended = when_ended
    return texts


def clock_so_far(search: Search) -> float:
    """Returns the seconds that earlier sessions of this search took."""
    return max((result["clock"] for result in search.ended_results()), default=0.0)


def tell_oracle(oracle: Any, trial: Any, result: Mapping[str, Any]) -> None:
    """Tells the oracle the score of a trial, or that it failed."""
    if result["score"] is None:
        trial.status, trial.message = oracles.FAILED, result["error"]
    else:
        oracle.update_trial(trial.trial_id, {"score": result["score"]}, step=result["last_epoch"])
        trial.status = oracles.COMPLETED
    oracle.end_trial(trial)


def make_record(search: Search, texts: messages.Messages) -> dict[str, Any]:
    """Prints the table of the best trials and returns the record of the whole search.

    Raises:
        InputError: if the oracle stopped after failures, or no trial has a score.
    """
    results = search.ended_results()
    ranked = record.finished(results)
    if search.oracle.stop_reason is not None or not ranked:
        error = next((r["error"] for r in reversed(results) if r["score"] is None), "no trial")
        reason = search.oracle.stop_reason or "no trial ended with a score"
        raise InputError(f"the search stops: {reason}, the last of: {error}")
    search.folder.prune(search.oracle.needed_states())
    problem = search.problem
    logger.info(f"\n{texts.table(results)}\n")
    return {
        "kind": search.kind,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": clock_so_far(search),
        "epochs": sum(result["trained_epochs"] for result in results),
        "fingerprint": search.folder.fingerprint(),
        "environment": run_folder.environment(search.command),
        "score": f"validation {problem.objective} as a share of the reference of the same "
        f"{problem.group_by}",
        "objective": problem.objective,  # of `validation_mse`, which is so called for all
        "reference": search.references,
        "plan": [dataclasses.asdict(rung) for rung in search.oracle.planned_rungs()],
        "best": ranked[0]["trial"],
        "front": {
            str(value): best["trial"]
            for value, best in record.best_of_each(results, problem.group_by).items()
        },
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
