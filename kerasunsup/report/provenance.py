"""The page's end: where every number comes from, how long it took, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasunsup.report import steps
from kerasunsup.report.page import (
    MISSING,
    Block,
    Cell,
    Details,
    Points,
    Section,
    Table,
    paragraph,
)  # fmt: skip
from kerasunsup.report.sources import Sources, duration


def runs_and_machine(sources: Sources) -> Section:
    """Every run with its command, settings, seed, versions and machine."""
    rows: list[list[str | Cell]] = []
    titles_by_machine: dict[str, list[str]] = {}
    seconds = whole = 0.0
    times = steps.times(sources.places)
    settings: list[Block] = []
    for state in sources.states.values():
        run, title = state.finished, state.step.title
        if run is None:
            if state.step not in steps.OPTIONAL:
                rows.append([title, MISSING, "", "", "", ""])
            continue
        spent = run.number("seconds" if state.step.is_search else "training_seconds") or 0.0
        seconds += spent
        address, logs = sources.address(run.folder), f"{sources.address(sources.places.logs)}/"
        command = steps.command_of(state.step, sources.places)
        whole += times.get(command, 0.0)
        commit = str(run.environment.get("git_commit") or "unknown")[:10]
        rows.append(
            [
                title,
                Cell(address, f"{address}/"),
                str(run.environment.get("seed", "")),
                Cell(commit, style="code"),
                Cell(duration(spent), f"{address}/"),
                Cell(duration(times[command]), logs) if command in times else "",
            ]
        )
        titles_by_machine.setdefault(_machine(run.environment), []).append(title)
        listed = [[name, str(value)] for name, value in run.settings.items()]
        table = Table(["setting", "value"], listed, words=2)
        settings.append(Details(f"Settings: {title}", [table]))
    caption = (
        "Training alone, and the whole step, measuring and drawing included, where a report ran it."
    )
    end = ", in the small sizes of --quick." if sources.places.quick else "."
    several = len(titles_by_machine) > 1
    blocks: list[Block] = [
        Table(["", "run", "seed", "commit", "training", "whole step"], rows, caption, words=4),
        paragraph(
            f"Training and searching took {duration(seconds)} in all{end}",
            f"The steps that reports ran took {duration(whole)}, added up." if whole else "",
        ),
        *(
            paragraph(f"{machine} ({', '.join(titles)})." if several else f"{machine}.")
            for machine, titles in titles_by_machine.items()
        ),
        *settings,
    ]
    return Section("runs", "Runs", "Runs, settings and machine", blocks)


def _machine(environment: Mapping[str, Any]) -> str:
    versions = environment.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    all_of_them = environment.get("processors", "?")
    usable = environment.get("usable_processors", all_of_them)
    number = all_of_them if usable == all_of_them else f"{usable} of {all_of_them}"
    return (
        f"{number} processor cores"
        f" ({environment.get('processor', 'unknown')}), Python {environment.get('python', '?')},"
        f" {environment.get('platform', '')}; {listed}"
    )


def problems(sources: Sources) -> list[Section]:
    """Everything that is missing or damaged; called last, when all other sections are built."""
    lines = [text for state in sources.states.values() for text in state.problems]
    others = steps.other_images(sources.states)
    if others:
        titles = ", ".join(map(sources.title, others))
        lines.append(f"made from other images than the rest: {titles}")
    lines += [
        f"the {state.step.title} has not been run"
        for state in sources.states.values()
        if state.finished is None and state.step not in steps.OPTIONAL
    ]
    lines += [*sources.gaps, *sources.absent]
    if not lines:
        return []
    points = Points(list(dict.fromkeys(lines)))
    return [Section("missing", "Missing", "What is missing or damaged", [points])]
