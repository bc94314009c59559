"""Which image of a group of copies is kept, and the rows of duplicates.csv."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerasunsup.apply.image_stream import Stream
from kerasunsup.errors import InputError
from kerasunsup.settings import path_of

KINDS = ("exact", "copy", "scene")


class Member(NamedTuple):
    """An image that need not be kept."""

    position: int  # in the plan
    kind: str  # one of KINDS
    distance: float


class Group(NamedTuple):
    """An image that is kept, and others that show the same."""

    kept: int  # position in the plan
    members: list[Member]

    @property
    def kind(self) -> str:
        """The nearest kind among the members."""
        return min((member.kind for member in self.members), key=KINDS.index)

    @property
    def order(self) -> tuple[int, float, int]:
        """What groups are sorted by: exact copies first, then by the nearest member."""
        return KINDS.index(self.kind), min(row.distance for row in self.members), self.kept


class Plan:
    """All images that are compared, in the order in which they are kept.

    Args:
        places: the stream and the position in it of each image; those of `--against` first.
        shapes: int64 (num_images, 2), height and width of each, pixels.
        keep: `largest`, `oldest` or `first`.
        safe: the folder of `--safe`, as the user gave it.
        against: the images of `--against`; None without it.

    Attributes:
        is_safe: bool (num_images,), which images are never proposed for removal.
        may_lead: bool (num_images,), which may be the one that is kept of a group.
        order: positions of all images, that which is kept rather than others first.

    Raises:
        InputError: if no image lies in the folder of `--safe`.
    """

    HEADER = (
        "group", "file", "keep", "kind", "distance", "width", "height", "bytes", "modified",
    )  # fmt: skip

    def __init__(
        self,
        places: Sequence[tuple[Stream, int]],
        shapes: np.ndarray,
        keep: str,
        safe: str | None,
        against: Stream | None,
    ) -> None:
        self.places, self.shapes = places, shapes
        self._against = against
        states = [_state(stream, position) for stream, position in places]
        self._bytes = [None if state is None else state.st_size for state in states]
        self._modified = [None if state is None else state.st_mtime_ns for state in states]
        is_other = np.array([stream is against for stream, _ in places], bool)
        self.is_safe = is_other | self._lie_in(safe)
        self.may_lead = is_other if against is not None else np.ones(len(places), bool)
        self.order = sorted(range(len(places)), key=self._rank_by(keep))

    def _lie_in(self, safe: str | None) -> np.ndarray:
        if safe is None:
            return np.zeros(len(self.places), bool)
        folder = os.path.realpath(path_of("--safe", safe, is_written=False))
        lie_in = np.array(
            [
                stream.root is not None
                and os.path.realpath(os.path.join(stream.root, stream.names[at])).startswith(
                    os.path.join(folder, "")
                )
                for stream, at in self.places
            ],
            bool,
        )
        if not lie_in.any():
            raise InputError(
                f"--safe {safe}: no image of IMAGES lies in this folder: give one inside IMAGES"
            )
        return lie_in

    def _rank_by(self, keep: str) -> Any:
        def rank(position: int) -> tuple[Any, ...]:
            rule: tuple[int, ...] = ()
            if keep == "largest":
                size = int(np.prod(self.shapes[position]))
                rule = (-size, -(self._bytes[position] or 0))
            elif keep == "oldest":
                rule = (self._modified[position] or 0,)
            return (not self.is_safe[position], *rule, position)

        return rank

    def name(self, position: int) -> str:
        """What duplicates.csv calls an image: its name in IMAGES, or its path in OTHER."""
        stream, at = self.places[position]
        name = stream.names[at]
        if stream is self._against:
            return os.path.join(stream.what if stream.root is None else str(stream.root), name)
        return name

    def rows(self, groups: Sequence[Group]) -> Iterator[tuple[Any, ...]]:
        """The rows of duplicates.csv, the image that is kept first in its group."""
        for number, group in enumerate(groups, start=1):
            yield self._row(number, Member(group.kept, group.kind, 0.0), is_kept=True)
            for member in group.members:
                yield self._row(number, member, is_kept=False)

    def _row(self, number: int, member: Member, *, is_kept: bool) -> tuple[Any, ...]:
        position = member.position
        height, width = self.shapes[position].tolist()
        size, modified = self._bytes[position], self._modified[position]
        return (
            number, self.name(position), int(is_kept), member.kind, member.distance, width, height,
            "" if size is None else size, "" if modified is None else date(modified),
        )  # fmt: skip


def date(nanoseconds: int) -> str:
    """A file's time in UTC, to the microsecond.

    Example:
        >>> date(0)
        '1970-01-01T00:00:00.000000Z'
    """
    moment = datetime.datetime.fromtimestamp(nanoseconds // 10**9, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9 // 1000:06d}Z"


def _state(stream: Stream, position: int) -> os.stat_result | None:
    if stream.root is None:
        return None
    try:
        return os.stat(os.path.join(stream.root, stream.names[position]))
    except OSError:  # it is gone since it was read
        return None
