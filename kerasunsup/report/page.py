"""The report's page as plain data, and `render`, which hands it to `page.html.j2`.

A page has sections, and a section has blocks: paragraphs, tables, figures. All texts are plain;
the template alone knows HTML, and escapes them.
"""

from __future__ import annotations

import base64
import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END = b"IEND\xaeB`\x82"
_CSS_PIXELS = 96 / 150  # a pixel of our figures, which are drawn at 150 dpi


@dataclasses.dataclass(frozen=True)
class Cell:
    """What stands in one place of a table."""

    text: str
    address: str = ""  # where it leads, the folder of a run; empty where it leads nowhere
    title: str = ""  # what stands there, shown while the pointer rests on it
    style: Literal["plain", "code", "missing"] = "plain"
    deviation: Cell | None = None  # the standard deviation that is shown behind a mean


MISSING = Cell("missing", style="missing")


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Sentences; an empty paragraph is left out."""

    text: str


@dataclasses.dataclass(frozen=True)
class Notice:
    """A paragraph that nobody may overlook."""

    text: str


@dataclasses.dataclass(frozen=True)
class Commands:
    """The commands that made what a section shows."""

    commands: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Heading:
    """A title inside a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Points:
    """A list of sentences."""

    texts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that scrolls by itself where the window is narrow.

    Raises:
        ValueError: if a row has another length than the header.
    """

    header: Sequence[str]  # one text a column
    rows: Sequence[Sequence[str | Cell]]  # one cell a column; the first of a row names it
    caption: str = ""
    words: int = 1  # columns from the left that hold words; numbers are aligned right
    names: int = 1  # columns from the left that name a row, and are alike for all data

    def __post_init__(self) -> None:
        """Checks the length of every row."""
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(
                    f"a row of {len(self.header)} cells is needed, received {len(row)}"
                )


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture inside the page.

    Raises:
        ValueError: if it is no PNG file, or half of one.
    """

    png: bytes  # the file's content
    caption: str  # below it, and in its place for those who cannot see it
    source: str  # the folder of the run that it comes from
    is_drawn_here: bool = False  # from the run's numbers; else it is one of the run's files

    def __post_init__(self) -> None:
        """Checks that the picture is whole."""
        if not self.png.startswith(_PNG) or not self.png.endswith(_PNG_END):
            raise ValueError("no whole PNG file")

    @property
    def base64(self) -> str:
        """The file's content as a `data:` address holds it."""
        return base64.b64encode(self.png).decode("ascii")

    @property
    def size(self) -> list[int]:
        """Width and height in CSS pixels."""
        return [round(side * _CSS_PIXELS) for side in struct.unpack(">II", self.png[16:24])]


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks that are shown when their title is chosen."""

    title: str
    blocks: Sequence[Table | Figure]


Block = Paragraph | Notice | Commands | Heading | Points | Table | Figure | Details


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page that the list of contents leads to."""

    anchor: str  # the end of its address
    name: str  # in the list of contents
    title: str
    blocks: Sequence[Block]


@dataclasses.dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str  # of the window, and at the top
    opening: Sequence[Block]  # before the first section
    sections: Sequence[Section]


def paragraph(*sentences: str) -> Paragraph:
    """A paragraph of the sentences that are not empty."""
    return Paragraph(" ".join(filter(None, sentences)))


def render(page: Page) -> str:
    """The page as one HTML file that needs no script and no other file."""
    import jinja2  # only who writes a page waits for it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["kind"] = lambda block: type(block).__name__.lower()
    return environment.get_template("page.html.j2").render(page=page)
