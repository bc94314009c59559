"""What stands of the study, as parts of a page: every number with its run behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerasunsup.report import page, steps
from kerasunsup.supervised.settings import METHOD_NAMES

_SIZES = ("10", "100", "1000", "10000", "all")
NOTHING = page.Html('<span class="soft">missing</span>')


class Evidence:
    """The runs that a page speaks of, and which of their numbers it has used.

    Args:
        states: of the steps, by key.
        folder: where the page goes; links are relative to it.

    Attributes:
        used: run folder (relative to the page) -> number's name -> number.
        gaps: what the page lacks, a line each.
    """

    def __init__(self, states: Mapping[str, steps.State], folder: Path) -> None:
        self.states, self._folder = states, folder
        self.used: dict[str, dict[str, float]] = {}
        self.gaps: list[str] = []
        self._absent: dict[str, dict[str, None]] = {}  # run folder -> names that it lacks

    @property
    def absent(self) -> list[str]:
        """A line a run whose numbers are not all there."""
        return [
            f"{address}/metrics.json has no {', '.join(names)}"
            for address, names in self._absent.items()
        ]

    def run(self, key: str) -> steps.Standing | None:
        """The finished run of a step; None where there is none."""
        return self.states[key].standing

    def address(self, path: Path) -> str:
        """A path as a link on the page."""
        return Path(os.path.relpath(path.resolve(), self._folder.resolve())).as_posix()

    def value(self, key: str, name: str) -> float | None:
        """A number of a step's run; None where it is missing, or cannot be one."""
        found = self.run(key)
        if found is None or name not in found.metrics:
            return None
        address, value = self.address(found.folder), found.number(name)
        if value is None:
            self.gaps.append(
                f"{address}/metrics.json: {name} is {found.metrics[name]!r:.40}, which cannot be"
            )
        else:
            self.used.setdefault(address, {})[name] = value
        return value

    def column(self, key: str, name: str) -> list[float]:
        """A column of a step's history as numbers; empty where it cannot be used."""
        found = self.run(key)
        values = [] if found is None else found.column(name)
        if found is not None and not values:
            self.gaps.append(
                f"{self.address(found.folder)}/history.csv: there are no numbers of {name}"
            )
        return values

    def values(self, key: str, *names: str) -> list[float] | None:
        """Several numbers; None where one of them is missing."""
        found = [self.value(key, name) for name in names]
        return [value for value in found if value is not None] if None not in found else None

    def cell(self, key: str, name: str, form: str = ".5f", *, scale: float = 1.0) -> page.Html:
        """A number as a link to its run's folder; says so where it is missing."""
        found, value = self.run(key), self.value(key, name)
        if found is None:
            return NOTHING
        address = self.address(found.folder)
        if value is None:
            if name not in found.metrics:
                self._absent.setdefault(address, {})[name] = None
            return NOTHING
        return page.link(f"{scale * value:{form}}", f"{address}/", f"{name} of {address}")

    def spread_cell(self, key: str, name: str, form: str, *, scale: float = 1.0) -> page.Html:
        """A mean and its standard deviation, as a link."""
        if self.value(key, name) is None:
            return page.Html("")  # not every way is tried at every size
        parts = [self.cell(key, name, form, scale=scale)]
        if self.value(key, f"{name}_std") is not None:
            parts += [page.Html(" ± "), self.cell(key, f"{name}_std", form, scale=scale)]
        return page.joined(parts)

    def figure(self, key: str, name: str, description: str, caption: page.Text = "") -> page.Html:
        """A picture that a run left, with its run named; a line where it is missing."""
        step, found = self.states[key].step, self.run(key)
        png = None if found is None else found.figure(name)
        if found is None or png is None:
            place = f"the {step.title} has not been run" if found is None else str(found.folder)
            return self.missing(f"the picture “{description}” ({place})")
        address = self.address(found.folder)
        source = page.joined([" From ", page.link(address, f"{address}/"), "."])
        try:
            return page.figure(png, description, page.joined([caption or description, source]))
        except ValueError:
            return self.missing(f"{address}/figures/{name}.png, which is damaged")

    def missing(self, what: str) -> page.Html:
        """A line in the place of what is missing; the end of the page lists them all."""
        self.gaps.append(what)
        return page.banner(f"Missing here: {what}.")

    def made_by(self, keys: Sequence[str], places: steps.Places) -> page.Html:
        """The commands that made what a section shows."""
        commands = [steps.command_of(self.states[key].step, places) for key in keys]
        return page.paragraph(
            "Made by", page.joined([page.code(text) for text in commands], ", "), soft=True
        )


def sizes(known: Evidence) -> list[str]:
    """The numbers of labels that were tried."""
    return [
        size
        for size in _SIZES
        if known.value("supervised", f"labels_{size}/scratch_accuracy") is not None
    ]


def _best_arm(known: Evidence, size: str) -> tuple[str, bool]:
    """The way that is best with so many labels, in words, and whether test images had no say.

    It is chosen by its accuracy on validation images; runs of older versions kept none.
    """
    for kind, is_fair in (("validation_accuracy", True), ("accuracy", False)):
        found = {
            arm: value
            for arm in METHOD_NAMES
            if (value := known.value("supervised", f"labels_{size}/{arm}_{kind}")) is not None
        }
        if len(found) < 2:
            continue
        best = max(found, key=found.__getitem__)
        accuracy = known.value("supervised", f"labels_{size}/{best}_accuracy")
        if accuracy is not None:
            labels = "all labels" if size == "all" else f"{int(size):,} labels"
            return (
                f"with {labels} “{METHOD_NAMES[best]}”, right in {percent(accuracy)}"
                " of the test images",
                is_fair,
            )
    return "", False


def chosen_arms(known: Evidence, only: Sequence[str] | None = None) -> list[str]:
    """Sentences on the best way of making a classifier, at each number of labels or at some."""
    found = [_best_arm(known, size) for size in only or sizes(known)]
    texts = [text for text, _ in found if text]
    if not texts:
        return []
    if not all(is_fair for text, is_fair in found if text):
        return [
            f"The best of all ways: {'; '.join(texts)}. It was chosen on these same test images,"
            " since the run kept no accuracy on validation images: that favours it."
        ]
    images = known.value("supervised", "validation/images")
    number = "the" if images is None else f"{images:,.0f}"
    sentence = f"The best of all ways, chosen by {number} validation images: {'; '.join(texts)}."
    if only:
        return [sentence]
    return [
        sentence,
        "Their labels come on top of those that a column counts, and the settings of the ways were"
        " chosen by the labels of MNIST's 5,000 validation images, as settings of published results"
        " with few labels were.",
    ]


def percent(value: float, digits: int = 1) -> str:
    """0.9876 -> 98.8 %."""
    return f"{100.0 * value:.{digits}f} %"


def minutes(seconds: float) -> str:
    """A time that a person can grasp: 40 s, 6.3 min, 1 h 52 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
