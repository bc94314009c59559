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
        stamps: int64 (num_images, 2), size and time of each file from before it was read, as
            `kept_index.stamps_of` returns them.
        keep: `largest`, `oldest` or `first`.
        safe: the folder of `--safe`, as the user gave it.
        against: the images of `--against`; None without it.
        are_still: bool (num_images,), whether the file of each holds no further frames or pages.
            Those that do can be equal, and nothing less: only the first one is compared.

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
        stamps: np.ndarray,
        keep: str,
        safe: str | None,
        against: Stream | None,
        are_still: np.ndarray,
    ) -> None:
        self.places, self.shapes, self.are_still = places, shapes, are_still
        self._against = against
        is_file = (stamps >= 0)[:, 0].tolist()
        self._bytes, self._modified = (
            [value if known else None for value, known in zip(column, is_file, strict=True)]
            for column in stamps.T.tolist()
        )
        is_other = np.array([stream is against for stream, _ in places], bool)
        self.is_safe = is_other | self._lie_in(safe)
        self.may_lead = is_other if against is not None else np.ones(len(places), bool)
        self.order = sorted(range(len(places)), key=self._rank_by(keep))

    def _lie_in(self, safe: str | None) -> np.ndarray:
        if safe is None:
            return np.zeros(len(self.places), bool)
        folder = os.path.realpath(path_of("--safe", safe, is_written=False))
        inside = os.path.join(folder, "")
        # A link in the folder is safe, and so is a file that a link leads to, out of it or into it.
        linked = {
            os.path.realpath(os.path.join(at, name))
            for at, _, names in os.walk(folder)
            for name in names
            if os.path.islink(os.path.join(at, name))
        }
        in_folder = {
            id(stream): [
                place.startswith(inside) or real.startswith(inside) or real in linked
                for place, real in ((place, os.path.realpath(place)) for place in places_of(stream))
            ]
            for stream in {id(stream): stream for stream, _ in self.places}.values()
        }
        lie_in = np.array([in_folder[id(stream)][at] for stream, at in self.places], bool)
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
        """What duplicates.csv calls an image: its name in IMAGES, or its whole path in OTHER."""
        stream, at = self.places[position]
        name = stream.names[at]
        if stream is self._against:
            if stream.root is None:
                return os.path.join(stream.what, name)
            return os.path.join(os.path.abspath(stream.root), name)
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


def places_of(stream: Stream) -> list[str]:
    """Where each file of a stream lies, with links to folders followed; "" where it is no file.

    A link to a file is a file of its own.
    """
    if stream.root is None:
        return [""] * len(stream)
    paths = [os.path.split(os.path.join(stream.root, name)) for name in stream.names]
    real = {folder: os.path.realpath(folder) for folder in {folder for folder, _ in paths}}
    return [os.path.join(real[folder], name) for folder, name in paths]


def date(nanoseconds: int) -> str:
    """A file's time in UTC, to the microsecond; seconds since 1970 where no calendar has it.

    Example:
        >>> date(0)
        '1970-01-01T00:00:00.000000Z'
    """
    seconds, microseconds = nanoseconds // 10**9, nanoseconds % 10**9 // 1000
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):  # a damaged disk gives any number
        return f"{seconds}.{microseconds:06d}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds:06d}Z"
