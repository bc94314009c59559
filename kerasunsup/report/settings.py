"""The settings of `report`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kerasunsup.errors import InputError
from kerasunsup.settings import CheckedSettings, setting


@dataclasses.dataclass(frozen=True)
class ReportSettings(CheckedSettings):
    """Where the runs are, where the page goes, and how much is run.

    Raises:
        InputError: if a value is of the wrong type, or two flags do not go together.
    """

    data: str = setting(
        "mnist",
        "what the study is made on, as for the other commands; labels are needed",
        metavar="NAME_OR_PATH",
    )
    also: tuple[str, ...] | None = setting(
        None,
        "make the whole study on these too, and show their numbers beside the first ones",
        metavar="NAME_OR_PATH",
    )
    logs: str = setting("logs", "the folder of runs, old and new", metavar="DIR", is_path=True)
    tuning: str = setting(
        "tuning", "the folder of searches, old and new", metavar="DIR", is_path=True
    )
    benchmarks: str = setting(
        "docs",
        "the folder of results of benchmarks/, which the page shows where they are there",
        metavar="DIR",
        is_path=True,
    )
    output: str = setting(
        "report.html",
        "the page; its numbers are written beside it, as .json",
        metavar="FILE.html",
        is_path=True,
    )
    quick: bool = setting(
        False,
        "make the whole page from small runs, within minutes; it is marked as such",
        switch=True,
    )
    at_once: int = setting(
        1,
        "run N steps side by side, each on its share of the processors; their output goes to files"
        " in LOGS. Leave it where a GPU does the work",
        least=1,
        most=64,
    )
    plan: bool = setting(
        False, "show which runs are there and which are to come, and stop", switch=True
    )
    page_only: bool = setting(
        False,
        "train nothing: write the page from the runs that are there, and name what is missing",
        switch=True,
    )

    def __post_init__(self) -> None:
        """Checks each value, then what goes together."""
        super().__post_init__()
        if len(set(self.all_data)) < len(self.all_data):
            raise InputError(
                f"--also names data a second time, received {' '.join(self.all_data[1:])} beside "
                f"{self.data}: give each once"
            )
        if self.plan and self.page_only:
            raise InputError("--plan writes nothing and --page-only writes the page: give one")
        if Path(self.output).suffix not in (".html", ".htm"):
            raise InputError(f"--output must end in .html, received {self.output}")

    @property
    def all_data(self) -> tuple[str, ...]:
        """What the study is made on, the first set before the others."""
        return self.data, *(self.also or ())
