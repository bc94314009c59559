"""The runs behind the page: every number and figure with the folder that it comes from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from kerasunsup.report import page, steps


class Sources:
    """The runs that a page shows, and which of their numbers it has used.

    Args:
        states: of the steps, by key.
        places: where the runs are.
        folder: where the page goes; links are relative to it.

    Attributes:
        used: run folder (relative to the page) -> number's name -> number.
        gaps: what the page lacks, a line each.
    """

    def __init__(
        self, states: Mapping[str, steps.State], places: steps.Places, folder: Path
    ) -> None:
        self.states, self.places, self._folder = states, places, folder
        self.used: dict[str, dict[str, float]] = {}
        self.gaps: list[str] = []
        self._absent: dict[str, dict[str, None]] = {}  # run folder -> names that it lacks

    @property
    def absent(self) -> list[str]:
        """A line for each run whose numbers are not all there."""
        return [
            f"{address}/metrics.json has no {', '.join(names)}"
            for address, names in self._absent.items()
        ]

    def run(self, key: str) -> steps.FinishedRun | None:
        """The finished run of a step; None where there is none."""
        return self.states[key].finished

    def title(self, key: str) -> str:
        """What a step is called."""
        return self.states[key].step.title

    def address(self, path: Path) -> str:
        """A path as a link on the page."""
        return Path(os.path.relpath(path.resolve(), self._folder.resolve())).as_posix()

    def value(self, key: str, name: str) -> float | None:
        """A number of a step's run; None where it is missing or out of its range."""
        run = self.run(key)
        if run is None or name not in run.metrics:
            return None
        address, value = self.address(run.folder), run.number(name)
        if value is None:
            self.gaps.append(
                f"{address}/metrics.json: {name} is {run.metrics[name]!r:.40}, which cannot be"
            )
        else:
            self.used.setdefault(address, {})[name] = value
        return value

    def values(self, key: str, *names: str) -> list[float] | None:
        """Several numbers; None where one of them is missing."""
        numbers = [self.value(key, name) for name in names]
        return [value for value in numbers if value is not None] if None not in numbers else None

    def column(self, key: str, name: str) -> list[float]:
        """A column of a step's history as numbers; empty where it cannot be used."""
        run = self.run(key)
        values = [] if run is None else run.column(name)
        if run is not None and not values:
            self.gaps.append(
                f"{self.address(run.folder)}/history.csv: there are no numbers of {name}"
            )
        return values

    def setting(self, key: str, name: str, form: str = "g") -> str | page.Cell:
        """A setting of a step's run; says so where the run is missing."""
        run = self.run(key)
        if run is None:
            return page.MISSING
        value = run.settings.get(name)
        return f"{value:{form}}" if isinstance(value, int | float) else str(value)

    def cell(self, key: str, name: str, form: str = ".5f", *, scale: float = 1.0) -> page.Cell:
        """A number as a link to its run's folder; says so where it is missing."""
        run, value = self.run(key), self.value(key, name)
        if run is None:
            return page.MISSING
        address = self.address(run.folder)
        if value is None:
            if name not in run.metrics:
                self._absent.setdefault(address, {})[name] = None
            return page.MISSING
        return page.Cell(f"{scale * value:{form}}", f"{address}/", f"{name} of {address}")

    def cells(
        self, key: str, forms: Mapping[str, str], prefix: str = "", *, scale: float = 1.0
    ) -> list[page.Cell]:
        """The cells of several numbers, whose names may begin alike: name -> its format."""
        return [self.cell(key, prefix + name, form, scale=scale) for name, form in forms.items()]

    def cell_with_deviation(self, key: str, name: str, form: str, *, scale: float) -> page.Cell:
        """A mean and its standard deviation as links; empty where there is no mean."""
        if self.value(key, name) is None:
            return page.Cell("")  # not every method is tried with every number of labels
        mean = self.cell(key, name, form, scale=scale)
        if self.value(key, f"{name}_std") is None:
            return mean
        deviation = self.cell(key, f"{name}_std", form, scale=scale)
        return dataclasses.replace(mean, deviation=deviation)

    def figure(self, key: str, name: str, caption: str) -> page.Figure | page.Notice:
        """A picture that a run left, with its run named; a line where it is missing."""
        run = self.run(key)
        png = None if run is None else run.figure(name)
        if run is None or png is None:
            place = f"the {self.title(key)} has not been run" if run is None else str(run.folder)
            return self.missing(f"the picture “{caption}” ({place})")
        address = self.address(run.folder)
        try:
            return page.Figure(png, caption, address)
        except ValueError:
            return self.missing(f"{address}/figures/{name}.png, which is damaged")

    def missing(self, what: str) -> page.Notice:
        """A line in the place of what is missing; the end of the page lists them all."""
        self.gaps.append(what)
        return page.Notice(f"Missing here: {what}.")

    def commands(self, *keys: str) -> page.Commands:
        """The commands that made the runs of these steps."""
        return page.Commands([steps.command_of(self.states[key].step, self.places) for key in keys])


def percent(value: float, digits: int = 1) -> str:
    """0.9876 -> 98.8 %."""
    return f"{100.0 * value:.{digits}f} %"


def duration(seconds: float) -> str:
    """A time in units that a person reads easily: 40 s, 6.3 min, 1 h 52 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
