"""The same page of several data sets as one page: numbers of the others beside those of the first.

Pages of one study have the same sections, and these the same tables; so a section is joined block
by block. Figures of the other data stand at the end of their section, to be opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from kerasunsup.report.page import (
    Block,
    Cell,
    Commands,
    Details,
    Figure,
    Notice,
    Page,
    Paragraph,
    Points,
    Section,
    Table,
)

_MOST_COLUMNS = 8  # of numbers in one table; a page's width holds no more


def joined(pages: Mapping[str, Page]) -> Page:
    """One page of several: data set -> its page, the first before the others.

    Returns:
        The first page alone where there is one, as it is.
    """
    (_, first), *others = pages.items()
    if not others:
        return first
    names = list(pages)
    sections = [
        dataclasses.replace(
            section,
            blocks=_joined_blocks(names, [_blocks_of(page, section) for page in pages.values()]),
        )
        for section in _sections(pages)
    ]
    opening = _joined_blocks(names, [page.opening for page in pages.values()])
    return Page(first.title, opening, sections)


def _sections(pages: Mapping[str, Page]) -> list[Section]:
    """The first page's sections, then those that only others have."""
    sections: dict[str, Section] = {}
    for page in pages.values():
        for section in page.sections:
            sections.setdefault(section.anchor, section)
    return list(sections.values())


def _blocks_of(page: Page, wanted: Section) -> Sequence[Block]:
    found = [section.blocks for section in page.sections if section.anchor == wanted.anchor]
    return found[0] if found else []


def _joined_blocks(names: Sequence[str], parts: Sequence[Sequence[Block]]) -> list[Block]:
    """Blocks of one section of each page, those of other pages beside or behind the first's."""
    blocks: list[Block] = []
    left = [list(part) for part in parts[1:]]
    for block in parts[0]:
        matching = [_taken(block, others) for others in left]
        blocks += _beside(block, matching, names)
    for name, others in zip(names[1:], left, strict=True):
        figures = [block for block in others if isinstance(block, Figure)]
        blocks += [_named(name, block) for block in others if not isinstance(block, Figure)]
        if figures:
            blocks.append(Details(f"Figures: {name}", figures))
    return blocks


def _taken(block: Block, others: list[Block]) -> Block | None:
    """The block of another page that belongs to this one, taken out of that page; None without.

    Tables belong together by their captions; of paragraphs, lists and the like the next one.
    Figures stay.
    """
    if isinstance(block, Figure | Details):
        return None
    for place, other in enumerate(others):
        if type(other) is not type(block):
            continue
        if isinstance(block, Table) and isinstance(other, Table) and block.caption != other.caption:
            continue
        return others.pop(place)
    return None


def _beside(block: Block, others: Sequence[Block | None], names: Sequence[str]) -> list[Block]:
    """A block with those of other data that belong to it."""
    if isinstance(block, Commands):
        commands = [*block.commands]
        for other in others:
            commands += other.commands if isinstance(other, Commands) else []
        return [Commands(list(dict.fromkeys(commands)))]
    if isinstance(block, Table):
        tables = [block, *(other if isinstance(other, Table) else None for other in others)]
        return _tables(tables, names)
    if isinstance(block, Paragraph | Points | Notice):
        return [
            block,
            *(
                _named(name, other)
                for name, other in zip(names[1:], others, strict=True)
                if other is not None and other != block
            ),
        ]
    return [block]


def _named(name: str, block: Block) -> Block:
    """A block that says which data it is about."""
    if isinstance(block, Paragraph):
        return Paragraph(f"{name}: {block.text}") if block.text else block
    if isinstance(block, Notice):
        return Notice(f"{name}: {block.text}")
    if isinstance(block, Points):
        return Points([f"{name}: {text}" for text in block.texts])
    if isinstance(block, Table):
        return dataclasses.replace(block, caption=f"{name}: {block.caption}")
    if isinstance(block, Details):
        return dataclasses.replace(block, title=f"{name}: {block.title}")
    return block


def _tables(tables: Sequence[Table | None], names: Sequence[str]) -> list[Block]:
    """Tables of several data sets as one, a column of each beside the other, or one by one."""
    there = {name: table for name, table in zip(names, tables, strict=True) if table is not None}
    first = next(iter(there.values()))
    columns = len(first.header) - first.names
    is_alike = all(table.header == first.header for table in there.values())
    if len(there) < 2 or not is_alike or columns * len(there) > _MOST_COLUMNS:
        return [table if name == names[0] else _named(name, table) for name, table in there.items()]
    keys = list(dict.fromkeys(key for table in there.values() for key in _rows(table)))
    rows_of = [_rows(table) for table in there.values()]
    rows: list[list[str | Cell]] = []
    for key in keys:
        row: list[str | Cell] = list(next(rows[key] for rows in rows_of if key in rows))
        row = row[: first.names]
        for place in range(first.names, len(first.header)):
            row += [rows[key][place] if key in rows else "" for rows in rows_of]
        rows.append(row)
    header = [
        *first.header[: first.names],
        *(f"{title}, {name}" for title in first.header[first.names :] for name in there),
    ]
    words = first.names + (first.words - first.names) * len(there)
    return [dataclasses.replace(first, header=header, rows=rows, words=words)]


def _rows(table: Table) -> dict[tuple[str, ...], Sequence[str | Cell]]:
    """Rows by what names them."""
    return {
        tuple(cell.text if isinstance(cell, Cell) else cell for cell in row[: table.names]): row
        for row in table.rows
    }
