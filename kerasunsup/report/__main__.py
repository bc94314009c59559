"""The whole study on one page: `python -m kerasunsup.report`.

Runs what is missing, uses the runs that are there, and writes `report.html`, with its numbers
beside it in `report.json`; those of the reference are in `docs/report.json`. The plan that is
printed first says how long it will take. With `--also` the study is made on further data too.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import os
import queue
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NoReturn

from kerasunsup import cli
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.report import (
    benchmarks,
    extras,
    page,
    process,
    provenance,
    side_by_side,
    steps,
    study,
    summary,
)  # fmt: skip
from kerasunsup.report.settings import ReportSettings
from kerasunsup.report.sources import Sources, duration
from kerasunsup.training import files

logger = logging.getLogger("kerasunsup.report")  # this file's own name may be "__main__"

_DESCRIPTION = """\
Runs every part of the study that has no finished run under LOGS and TUNING yet, then writes one
page: the study's tables and figures beside ours, and further results. A stopped report goes on by
the same command. The page needs no script and no other file. --also makes the whole study on other
data too, settings unchanged, and shows both side by side.
"""

_HOW_TO_GO_ON = "choose other --logs, --tuning and --output, then give the same command again"

_TITLE = "Learning from images without labels: the study beside ours"
_OPENING = (
    "A convolutional autoencoder and a GAN, trained without labels, and what their codes are"
    " worth when labels come. The tables and figures follow the study; beside each stands ours."
    " Every number leads to the folder of the run that it comes from."
)
_QUICK = (
    "A quick page: few images and few epochs. It shows that everything runs; its numbers are not"
    " results."
)
_SECTIONS = (
    study.autoencoder, study.supervised, study.gan, study.encoded_space, extras.variational,
    extras.search, extras.corruption_sweeps, extras.labels, extras.outliers, extras.clusters,
    extras.gan_numbers, benchmarks.measured_apart, provenance.runs_and_machine,
)  # fmt: skip


def parse(argv: Sequence[str] | None = None) -> ReportSettings:
    """The command line of `report`.

    Raises:
        InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    return cli.parse_settings("report", ReportSettings, description=_DESCRIPTION, argv=argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 (wrong use) or 130 (stopped).

    1 where the page was written but a step of the plan has failed.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def stop(*_: Any) -> NoReturn:
        command = shlex.join(["python", "-m", "kerasunsup.report", *arguments])
        raise Interrupted(f"stopped; what is finished is kept, the same command goes on: {command}")

    with cli.exit_status("report", _HOW_TO_GO_ON) as status, process.handling_stop_signals(stop):
        command = parse(arguments)
        all_places = places_of(command)
        output = Path(command.output)
        if output.is_dir() or not output.resolve().parent.is_dir():
            raise InputError(
                f"--output {output} cannot be written: name a file in a folder that is there"
            )
        studies = [
            Study(places, {step.key: steps.state_of(step, places) for step in steps.STEPS})
            for places in all_places
        ]
        for one in studies:
            logger.info(describe_plan(one, command.at_once))
        if command.plan:
            return status.code
        began = time.perf_counter()
        try:
            ran = [] if command.page_only else run_missing_steps(studies, command.at_once)
        except Interrupted:
            stop()
        numbers = write(studies, output)
        if ran:
            spent = duration(time.perf_counter() - began)
            logger.info(
                f"\nran {len(ran)} of {sum(len(s.states) for s in studies)} steps in {spent}"
            )
        file = output.with_suffix(".json")
        logger.info(f"{output} is written; its {numbers} numbers are in {file}")
        failed = [state.step.title for state in ran if state.finished is None]
        if failed:
            logger.info(f"without: {', '.join(failed)}")
            return 1
    return status.code


def places_of(command: ReportSettings) -> list[steps.Places]:
    """Where the runs of each data set are.

    Raises:
        InputError: if two have the same name, by which pages, runs and searches are told apart.
    """
    found: list[steps.Places] = []
    for data in command.all_data:
        places = steps.Places(
            Path(command.logs), Path(command.tuning), command.quick, data, Path(command.benchmarks)
        )
        for other in found:
            if other.title.lower() == places.title.lower() or other.slug == places.slug:
                raise InputError(
                    f"--also {data} has the same name as {other.data} ({places.title}), and pages,"
                    " runs and searches are told apart by it: rename it, or link to it by another"
                    " name"
                )
        found.append(places)
    return found


@dataclasses.dataclass(frozen=True)
class Study:
    """All steps on one data set."""

    places: steps.Places
    states: dict[str, steps.State]


def describe_plan(one: Study, at_once: int = 1) -> str:
    """The runs that are there, the steps to come, and how long these take."""
    places, states = one.places, one.states
    lines = [
        f"the study on {places.data}, {'small, marked as such' if places.quick else 'full'} size;"
        f" runs in {places.logs}"
    ]
    width = max(len(state.step.title) for state in states.values())
    for key, state in states.items():
        step, run = state.step, state.finished
        if run is not None:
            lines.append(f"  {step.title:<{width}}  stands: {run.folder}")
            continue
        goes_on = f", goes on with {state.unfinished}" if state.unfinished else ""
        about = duration(60 * _minutes(one, [key]))
        lines.append(
            f"  {step.title:<{width}}  to run, about {about}{goes_on}: "
            f"{steps.command_of(step, places)}"
        )
        lines += [f"    left out: {problem}" for problem in state.problems]
    if total := _minutes(one, states):
        side_by_side = min(at_once, os.cpu_count() or 1)
        longest = max(_minutes(*chain) for chain in _chains([one], at_once))
        minutes = max(longest, total / side_by_side)
        several = f", {at_once} steps at a time" if at_once > 1 else ""
        lines.append(
            f"about {duration(60 * minutes)} to come{several}, on two processor cores like those"
            " it was measured on"
        )
    return "\n".join(lines)


def run_missing_steps(studies: Sequence[Study], at_once: int) -> list[steps.State]:
    """Runs the steps that have no finished run; the page names those that fail.

    One at a time they run in the plan's order. Of several at a time the longest begin first, or
    one of them would be left alone at the end; each has its share of the processors.

    Returns:
        The steps that were run, as they stand now; `studies` have them too.

    Raises:
        Interrupted: on Ctrl-C, TERM and HUP; what is finished is kept.
    """
    ran: list[steps.State] = []
    numbers = itertools.count(1)
    free: queue.SimpleQueue[frozenset[int]] = queue.SimpleQueue()
    for share in process.shares(at_once) if at_once > 1 else [frozenset()]:
        free.put(share)

    def run_chain(one: Study, keys: Sequence[str]) -> None:
        processors = free.get()
        try:
            for key in keys:
                # A search may have left new settings since the plan was made.
                current = steps.state_of(one.states[key].step, one.places)
                if current.finished is None:
                    if received:
                        raise Interrupted("stopped before it began")
                    output = _output_of(current.step, one.places) if at_once > 1 else None
                    _announce(current.step, one.places, next(numbers), output)
                    current = _run(
                        current,
                        one.places,
                        functools.partial(
                            process.run, received=received, output=output, processors=processors
                        ),
                    )
                    ran.append(current)
                one.states[key] = current
        except Interrupted:
            if not received:  # else the others save already, and are not to be disturbed
                received.append(signal.SIGTERM)  # a step that was stopped stops the others
            raise
        finally:
            free.put(processors)

    with process.noting_stop_signals() as received, futures.ThreadPoolExecutor(at_once) as pool:
        for ended in [pool.submit(run_chain, *chain) for chain in _chains(studies, at_once)]:
            ended.result()
    return ran


def _chains(studies: Sequence[Study], at_once: int) -> list[tuple[Study, tuple[str, ...]]]:
    """The steps in their order; a search and what trains its answer belong to each other."""
    chains: list[tuple[Study, tuple[str, ...]]] = [
        (one, ("search", "tuned") if key == "search" else (key,))
        for one in studies
        for key in one.states
        if key != "tuned"
    ]
    return chains if at_once == 1 else sorted(chains, key=lambda chain: -_minutes(*chain))


def _minutes(one: Study, keys: Iterable[str]) -> float:
    """How long those of these steps take, about, that have no run."""
    missing = [one.states[key].step for key in keys if one.states[key].finished is None]
    return sum(step.quick_minutes if one.places.quick else step.minutes for step in missing)


def _announce(step: steps.Step, places: steps.Places, number: int, output: Path | None) -> None:
    goes_to = f" > {output}" if output else ""
    logger.info(f"\n=== {step.title} ({number}): {steps.command_of(step, places)}{goes_to}")


def _output_of(step: steps.Step, places: steps.Places) -> Path:
    """Where what it prints is written, where several print at a time."""
    places.logs.mkdir(parents=True, exist_ok=True)
    return places.logs / f"{steps.name_of(step, places)}.log"


def _run(state: steps.State, places: steps.Places, run: Callable[[list[str]], int]) -> steps.State:
    """The step as it stands after it was run."""
    steps.run_step(state, places, run)
    now = steps.state_of(state.step, places)
    if now.finished is None:
        now.problems = list(dict.fromkeys([*state.problems, *now.problems]))
    return now


def write(studies: Sequence[Study], output: Path) -> int:
    """Writes the page and the numbers on it; returns how many these are."""
    numbers: dict[str, dict[str, float]] = {}
    runs: dict[str, dict[str, Any]] = {}
    pages: dict[str, page.Page] = {}
    for one in studies:
        optional = {step.key: steps.state_of(step, one.places) for step in steps.OPTIONAL}
        sources = Sources(one.states | optional, one.places, output.resolve().parent)
        pages[one.places.title] = build_page(sources)
        for address, values in sorted(sources.used.items()):
            rounded = {name: float(f"{value:.6g}") for name, value in sorted(values.items())}
            numbers.setdefault(address, {}).update(rounded)
        times = steps.times(one.places)
        runs |= {
            sources.address(run.folder): origin(
                run, steps.command_of(state.step, one.places), times
            )
            for state in sources.states.values()
            if (run := state.finished) is not None
        }
    files.write_json(
        output.with_suffix(".json"),
        {"quick": studies[0].places.quick, "numbers": numbers, "runs": runs},
    )
    files.write_bytes(output, page.render(side_by_side.joined(pages)).encode())
    return sum(map(len, numbers.values()))


def build_page(sources: Sources) -> page.Page:
    """The whole page of one data set."""
    opening: list[page.Block] = [page.paragraph(_OPENING)]
    if sources.places.quick:
        opening.append(page.Notice(_QUICK))
    opening += [*summary.ten_numbers(sources), *study.at_a_glance(sources)]
    sections = [section for make in _SECTIONS if (section := make(sources)) is not None]
    return page.Page(_TITLE, opening, [*sections, *provenance.problems(sources)])


def origin(run: steps.FinishedRun, command: str, times: Mapping[str, float]) -> dict[str, Any]:
    """What a reader needs to make a run again, and how long it takes; `times`: command -> s."""
    names = (
        "started", "seed", "git_commit", "processor", "processors", "usable_processors", "python",
        "versions",
    )  # fmt: skip
    kept = {name: run.environment.get(name) for name in names}
    seconds = run.number("training_seconds") or run.number("seconds")
    whole = times.get(command)  # measuring and drawing included, where a report ran it
    return {"command": command, "seconds": seconds, "whole_seconds": whole, **kept}


if __name__ == "__main__":
    sys.exit(main())
