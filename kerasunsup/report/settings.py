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

    logs: str = setting("logs", "where runs are, and go", metavar="DIR", is_path=True)
    tuning: str = setting("tuning", "where searches are, and go", metavar="DIR", is_path=True)
    output: str = setting(
        "report.html",
        "the page; its numbers go beside it, as .json",
        metavar="FILE.html",
        is_path=True,
    )
    quick: bool = setting(
        False, "the whole page from small runs, within minutes, marked as such", switch=True
    )
    plan: bool = setting(False, "show what stands and what is to come, and stop", switch=True)
    page_only: bool = setting(
        False, "train nothing: the page from what stands, what is missing named", switch=True
    )

    def __post_init__(self) -> None:
        """Checks each value, then what goes together."""
        super().__post_init__()
        if self.plan and self.page_only:
            raise InputError("--plan writes nothing and --page-only writes the page: give one")
        if Path(self.output).suffix not in (".html", ".htm"):
            raise InputError(f"--output must end in .html, received {self.output}")
