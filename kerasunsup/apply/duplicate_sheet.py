"""The sheet of `apply duplicates`: each image that is kept, and beside it those that are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasunsup.apply.duplicate_plan import Group, Member, Plan
from kerasunsup.apply.job import Job, short
from kerasunsup.data import images

_GROUPS = 20  # that are shown
_MEMBERS = 5  # of each, beside the one that is kept
_SHOWN_FIRST = ("copy", "scene", "exact")
_CELL = 112  # side of an image, pixels


def write(job: Job, plan: Plan, groups: Sequence[Group]) -> None:
    """Writes duplicates_sheet.png: a row for each of the groups that one should look at most."""
    from kerasunsup.figures import image_grids  # loads slowly

    rows = []
    for number, group in sorted(enumerate(groups, start=1), key=_least_sure)[:_GROUPS]:
        shown = group.members[:_MEMBERS]
        pictures = [_cell(plan, at) for at in (group.kept, *(member.position for member in shown))]
        names = [short(plan.name(group.kept)), *(short(plan.name(m.position)) for m in shown)]
        below = [f"keep {_size(plan, group.kept)}", *(_told(plan, member) for member in shown)]
        more = len(group.members) - len(shown)
        title = f"{number}" + (f" (+{more})" if more else "")
        rows.append(image_grids.CaptionedRow(title, np.stack(pictures), names, below))
    job.write_sheet("duplicates", image_grids.captioned_rows(rows))


def _least_sure(numbered: tuple[int, Group]) -> tuple[int, float, int]:
    """Copies first, those that differ most before others; then scenes; exact ones are certain."""
    number, group = numbered
    largest = max(member.distance for member in group.members)
    return _SHOWN_FIRST.index(group.kind), -largest, number


def _told(plan: Plan, member: Member) -> str:
    distance = "" if member.kind == "exact" else f" {member.distance:.2g}"
    return f"{member.kind}{distance} {_size(plan, member.position)}"


def _size(plan: Plan, position: int) -> str:
    height, width = plan.shapes[position].tolist()
    return f"{width}\N{MULTIPLICATION SIGN}{height}"


def _cell(plan: Plan, position: int) -> np.ndarray:
    """The picture inside a white square, float32 (112, 112, 3) in [0, 1]."""
    stream, at = plan.places[position]
    picture = next(stream.read([at]))
    cell = np.full((_CELL, _CELL, 3), 255, np.uint8)
    if not isinstance(picture, str):  # it may have gone since
        height, width = picture.shape[:2]
        scale = _CELL / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (_CELL - size[0]) // 2, (_CELL - size[1]) // 2
        small = images.with_channels(images.resize(picture, *size), 3)
        cell[top : top + size[0], left : left + size[1]] = small
    return images.to_unit(cell)
