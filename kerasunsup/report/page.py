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
from typing import ClassVar, Literal

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END = b"IEND\xaeB`\x82"
_PIXELS_PER_INCH = 96 / 150  # CSS pixels a pixel of our figures, which are drawn at 150 dpi


@dataclasses.dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: what is shown.
        address: where it leads, the folder of a run; empty where it leads nowhere.
        title: what stands there, shown while the pointer rests on it.
        style: how it looks.
        deviation: the standard deviation that is shown behind a mean.
    """

    text: str
    address: str = ""
    title: str = ""
    style: Literal["plain", "code", "missing"] = "plain"
    deviation: Cell | None = None


MISSING = Cell("missing", style="missing")


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Sentences; an empty paragraph is left out."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclasses.dataclass(frozen=True)
class Notice:
    """A paragraph that nobody may overlook."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclasses.dataclass(frozen=True)
class Commands:
    """The commands that made what a section shows."""

    kind: ClassVar[str] = "commands"
    commands: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Heading:
    """A title inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclasses.dataclass(frozen=True)
class Points:
    """A list of sentences."""

    kind: ClassVar[str] = "points"
    texts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that scrolls by itself where the window is narrow.

    Attributes:
        header: one text a column.
        rows: one cell a column; the first of a row names it.
        caption: above the table.
        words: columns from the left that hold words; numbers in the others are aligned right.

    Raises:
        ValueError: if a row has another length than the header.
    """

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    words: int = 1

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

    Attributes:
        png: the file's content.
        caption: below it, and in its place for those who cannot see it.
        source: the folder of the run that it comes from.
        is_drawn_here: whether it is drawn from the run's numbers and not one of its files.

    Raises:
        ValueError: if it is no PNG file, or half of one.
    """

    kind: ClassVar[str] = "figure"
    png: bytes
    caption: str
    source: str
    is_drawn_here: bool = False

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
        return [round(side * _PIXELS_PER_INCH) for side in struct.unpack(">II", self.png[16:24])]


@dataclasses.dataclass(frozen=True)
class Details:
    """A table that is shown when its title is chosen."""

    kind: ClassVar[str] = "details"
    title: str
    table: Table


Block = Paragraph | Notice | Commands | Heading | Points | Table | Figure | Details


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page that the list of contents leads to.

    Attributes:
        anchor: the end of its address.
        name: what the list of contents calls it.
        title: above it.
        blocks: what stands in it, in order.
    """

    anchor: str
    name: str
    title: str
    blocks: Sequence[Block]


@dataclasses.dataclass(frozen=True)
class Page:
    """The whole page.

    Attributes:
        title: of the window, and at the top.
        opening: what stands before the first section.
        sections: in order.
    """

    title: str
    opening: Sequence[Block]
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
    return environment.get_template("page.html.j2").render(page=page)
