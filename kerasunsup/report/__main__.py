"""The whole study on one page: `python -m kerasunsup.report`.

Runs what is missing, uses what stands, and writes `report.html` with its numbers beside it in
`report.json`. The plan that it prints first says how long that takes; see `--quick` for minutes.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from kerasunsup import cli
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.report import extras, page, sources, steps, study
from kerasunsup.report.settings import ReportSettings
from kerasunsup.training import files

_DESCRIPTION = """\
Runs every part of the study that does not stand under LOGS and TUNING yet, then writes one page
with the study's tables and figures beside ours, and what goes beyond it. A stopped report goes on
by the same command. The page needs no script and no other file.
"""

_HOW_TO_GO_ON = "choose other --logs, --tuning and --output, then give the same command again"

_TITLE = "Learning from images without labels: the study beside ours"
_CONTENTS = (
    ("autoencoder", "Autoencoder"),
    ("supervised", "Supervised"),
    ("gan", "GAN"),
    ("space", "Encoded space"),
    ("search", "Search"),
    ("sweeps", "Noise and holes"),
    ("labels", "Labels"),
    ("outliers", "Outliers"),
    ("clusters", "Groups"),
    ("gan-numbers", "GAN in numbers"),
    ("runs", "Runs"),
)


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

    with cli.exit_status("report", _HOW_TO_GO_ON) as status, steps.heeding(stop):
        command = parse(arguments)
        places = steps.Places(Path(command.logs), Path(command.tuning), command.quick)
        output = Path(command.output)
        if output.is_dir() or not output.resolve().parent.is_dir():
            raise InputError(
                f"--output {output} cannot be written: name a file in a folder that is there"
            )
        states = {step.key: steps.state_of(step, places) for step in steps.STEPS}
        print(introduction(states, places), flush=True)
        if command.plan:
            return status.code
        began = time.perf_counter()
        try:
            ran = [] if command.page_only else perform(states, places)
        except Interrupted:
            stop()
        numbers = write(states, places, output)
        if ran:
            print(f"\nran {len(ran)} of {len(states)} steps in {_since(began)}", flush=True)
        print(f"{output} is written; its {numbers} numbers are in {_json_of(output)}", flush=True)
        failed = [key for key in ran if states[key].standing is None]
        if failed:
            print(f"without: {', '.join(states[key].step.title for key in failed)}", flush=True)
            return 1
    return status.code


def introduction(states: Mapping[str, steps.State], places: steps.Places) -> str:
    """What stands, what is to come, and how long that takes."""
    size = "small, marked as such" if places.quick else "full"
    lines = [f"the study on mnist, {size} size; runs in {places.logs}"]
    width = max(len(state.step.title) for state in states.values())
    total = 0.0
    for state in states.values():
        step, found = state.step, state.standing
        if found is not None:
            lines.append(f"  {step.title:<{width}}  stands: {found.folder}")
            continue
        minutes = step.quick_minutes if places.quick else step.minutes
        total += minutes
        goes_on = f", goes on with {state.unfinished}" if state.unfinished else ""
        about = sources.minutes(60 * minutes)
        lines.append(
            f"  {step.title:<{width}}  to run, about {about}{goes_on}: "
            f"{steps.command_of(step, places)}"
        )
        lines += [f"    left out: {problem}" for problem in state.problems]
    if total:
        lines.append(
            f"about {sources.minutes(60 * total)} to come, on two processor cores like those it"
            " was measured on"
        )
    return "\n".join(lines)


def perform(states: dict[str, steps.State], places: steps.Places) -> list[str]:
    """Runs the steps that do not stand, in their order; what has failed is named on the page.

    Returns:
        The keys of the steps that were run.
    """
    ran: list[str] = []
    for key, state in states.items():
        # A search may have left new settings since the plan was made.
        current = steps.state_of(state.step, places)
        if current.standing is None:
            title, number = state.step.title, len(ran) + 1
            print(f"\n=== {title} ({number}): {steps.command_of(state.step, places)}", flush=True)
            steps.perform(current, places)
            ran.append(key)
            problems = current.problems
            current = steps.state_of(state.step, places)
            if current.standing is None:
                current.problems = list(dict.fromkeys([*problems, *current.problems]))
        states[key] = current
    return ran


def write(states: Mapping[str, steps.State], places: steps.Places, output: Path) -> int:
    """Writes the page and the numbers on it; returns how many these are."""
    known = sources.Evidence(states, output.resolve().parent)
    parts = [
        *opening(places),
        *study.at_a_glance(known),
        *study.autoencoder(known, places),
        *study.supervised(known, places),
        *study.gan(known, places),
        *study.space(known, places),
        *extras.search(known, places),
        *extras.sweeps(known),
        *extras.labels(known),
        *extras.outliers(known, places),
        *extras.clusters(known, places),
        *extras.gan_numbers(known),
        *extras.runs_and_machine(known, places),
    ]
    missing = extras.problems(known)
    contents = [*_CONTENTS, *([("missing", "Missing")] if missing else [])]
    text = page.document(_TITLE, contents, [*parts, *missing])
    numbers = {
        address: {name: float(f"{value:.6g}") for name, value in sorted(found.items())}
        for address, found in sorted(known.used.items())
    }
    runs = {
        known.address(state.standing.folder): source(state.standing, steps.command_of(step, places))
        for state in states.values()
        if state.standing is not None and (step := state.step)
    }
    files.write_json(_json_of(output), {"quick": places.quick, "numbers": numbers, "runs": runs})
    files.write_bytes(output, text.encode())
    return sum(map(len, numbers.values()))


def source(standing: steps.Standing, command: str) -> dict[str, Any]:
    """What a reader needs to make a run again."""
    kept = ("started", "seed", "git_commit", "processor", "processors", "python", "versions")
    found = {name: standing.environment.get(name) for name in kept}
    seconds = standing.number("training_seconds") or standing.number("seconds")
    return {"command": command, "seconds": seconds, **found}


def opening(places: steps.Places) -> list[page.Html]:
    """What the page is."""
    parts = [
        page.paragraph(
            "A convolutional autoencoder and a GAN on MNIST, trained without labels, and what their"
            " codes are worth when labels come. The tables and figures follow the study; beside"
            " each stands ours. Every number leads to the folder of the run that it comes from."
        )
    ]
    if places.quick:
        parts.append(
            page.banner(
                "A quick page: few images and few epochs. It shows that everything runs; its"
                " numbers are not results."
            )
        )
    return parts


def _json_of(output: Path) -> Path:
    return output.with_suffix(".json")


def _since(began: float) -> str:
    return sources.minutes(time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
