"""What is kept of every picture to find its copies, and the pixels of those that may be copies."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from kerasunsup.apply import image_stream
from kerasunsup.apply.image_stream import Stream
from kerasunsup.data import images
from kerasunsup.data.pillow_pixels import StoredPicture
from kerasunsup.evaluation import copied_pictures
from kerasunsup.evaluation.compared_picture import Picture
from kerasunsup.progress import Progress

_SKETCH = 32  # side of the small picture that is kept of each image
_BLOCK = 8192  # images in a file of looks
# Of a block.
_ARRAYS = ("positions", "shapes", "hashes", "sketches", "are_still", "unreadable", "reasons")
_HASH_BYTES = 16
_FAINT = 0.25  # contrast over white in parts of that over black, below which black tells more
_SIDE = 128  # larger pictures are compared at this size
_CACHED = 256 << 20  # bytes of pictures in memory; where all fit, all are read at once
_READY = 128 << 20  # bytes of those that are ready to be compared
_READ_AT_A_TIME = 64
_TOLD_AT_ONCE = 4  # pictures from which it is worth while to tell at once which may be moved
_CROPPED = 0.12  # sides that differ by less may be those of a cropped picture


class Looks(NamedTuple):
    """What is kept of the readable images of a stream."""

    positions: np.ndarray  # int64 (n,), in the stream
    shapes: np.ndarray  # int64 (n, 2), height and width, pixels
    hashes: np.ndarray  # uint8 (n, 16), equal where the pixels are
    sketches: np.ndarray  # uint8 (n, 32, 32), luma
    are_still: np.ndarray  # bool (n,), whether what is read of each file is all of its pictures
    unreadable: list[tuple[str, str]]  # name and reason of each of the others


def look_at(stream: Stream, folder: Path) -> Looks:
    """Reads every image once; finished blocks are found again after a stop.

    Args:
        stream: the images.
        folder: where the blocks are kept.
    """
    merged = image_stream.in_blocks(stream, folder, _block, _ARRAYS, _BLOCK)
    unreadable = zip(merged.pop("unreadable"), merged.pop("reasons"), strict=True)
    return Looks(
        **merged, unreadable=[(stream.names[at], str(reason)) for at, reason in unreadable]
    )


def _block(stream: Stream, positions: range, progress: Progress) -> dict[str, np.ndarray]:
    readable: list[int] = []
    looks: list[tuple[tuple[int, int], bytes, np.ndarray, bool]] = []
    unreadable: list[tuple[int, str]] = []
    for position, outcome in zip(positions, stream.measured(positions, _look), strict=True):
        if isinstance(outcome, str):
            unreadable.append((position, outcome))
        else:
            readable.append(position)
            looks.append(outcome)
        progress.advance()
    hashes = b"".join(look[1] for look in looks)
    sketches = [look[2] for look in looks]
    return {
        "positions": np.array(readable, np.int64),
        "shapes": np.array([look[0] for look in looks], np.int64).reshape(-1, 2),
        "hashes": np.frombuffer(hashes, np.uint8).reshape(-1, _HASH_BYTES),
        "sketches": np.array(sketches, np.uint8).reshape(-1, _SKETCH, _SKETCH),
        "are_still": np.array([look[3] for look in looks], bool),
        "unreadable": np.array([position for position, _ in unreadable], np.int64),
        "reasons": np.array([reason for _, reason in unreadable], np.str_),
    }


def _look(stored: StoredPicture, path: str) -> tuple[tuple[int, int], bytes, np.ndarray, bool]:
    """Height and width, the hash and the sketch of one picture, and whether it is the only one."""
    sketches = [
        images.with_channels(images.resize(pixels, _SKETCH, _SKETCH), 1)[..., 0]
        for pixels in _laid(stored)
    ]
    # White shapes on a transparent ground are all one over white.
    sketch = sketches[-1] if sketches[0].std() < _FAINT * sketches[-1].std() else sketches[0]
    height, width = stored.pixels.shape[:2]
    return (height, width), _hash(stored, path), sketch, not stored.is_first_of_many


def _hash(stored: StoredPicture, path: str) -> bytes:
    """16 bytes that follow from size, pixels and opacity; grey is grey in three channels too.

    From the file's bytes where it holds more: the pixels here are rounded, or the first of many.
    """
    if (stored.is_deep or stored.is_first_of_many) and path:
        with open(path, "rb") as file:
            whole = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_HASH_BYTES))
        return whole.digest()
    pixels = stored.pixels
    if pixels.shape[-1] == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    content = hashlib.blake2b(str(pixels.shape).encode(), digest_size=_HASH_BYTES)
    content.update(np.ascontiguousarray(pixels).data)
    if stored.opacity is not None:
        content.update(np.ascontiguousarray(stored.opacity).data)
    return content.digest()


def _laid(stored: StoredPicture) -> list[np.ndarray]:
    """The picture over white, and over black where it is not opaque: uint8 (h, w, 1|3) each."""
    if stored.opacity is None:
        return [stored.pixels]
    white = 255 - stored.opacity[..., np.newaxis].astype(np.int16)
    return [stored.pixels, np.maximum(stored.pixels - white, 0).astype(np.uint8)]


class _Way(NamedTuple):
    """How a picture is made as large as another one."""

    middle: tuple[int, int] | None  # height and width of what is left of it; None for all
    size: tuple[int, int]  # to which it is resized then


class Pictures:
    """The pictures of one or two streams, read when they are compared, small and not all at once.

    Args:
        places: the stream and the position in it of each picture.
        shapes: int64 (num_pictures, 2), height and width of each, pixels.
    """

    def __init__(self, places: Sequence[tuple[Stream, int]], shapes: np.ndarray) -> None:
        self._places = places
        # Each over white, and over black where it is not opaque; None where it cannot be read.
        self._cached: collections.OrderedDict[int, list[np.ndarray] | None] = (
            collections.OrderedDict()
        )
        # To read a few at a time takes longer than what else is done for small ones.
        self._all_fit = 6 * int(np.minimum(shapes, 2 * _SIDE).prod(axis=1).sum()) <= _CACHED
        self._bytes = 0
        self._ready: collections.OrderedDict[tuple[int, _Way, int], Picture] = (
            collections.OrderedDict()
        )
        self._ready_bytes = 0

    def distances(self, one: int, others: Sequence[int]) -> Iterator[float | None]:
        """How far each of the others is from a picture that it is a copy of; None: it is none."""
        for start in range(0, len(others), _READ_AT_A_TIME):
            some = others[start : start + _READ_AT_A_TIME]
            self._read([one, *some])
            for other, may_move in zip(some, self._may_move(one, some), strict=True):
                yield self._distance(one, other, may_move=may_move)

    def _may_move(self, one: int, others: Sequence[int]) -> list[bool]:
        """Which of the others may be a picture moved, told of all of its shape at once."""
        may_move = [True] * len(others)
        shape = _shape(self._cached[one])
        alike = [at for at, other in enumerate(others) if _shape(self._cached[other]) == shape]
        if shape is not None and len(alike) >= _TOLD_AT_ONCE:
            way = next(_ways(shape, shape))
            picture, *rest = (
                self._made_ready(number, way) for number in [one, *(others[at] for at in alike)]
            )
            for at, may in zip(alike, copied_pictures.may_be_moved(picture, rest), strict=True):
                may_move[at] = bool(may)
        return may_move

    def _distance(self, one: int, other: int, *, may_move: bool) -> float | None:
        """The distance of two copies, the smallest of the ways in which they may lie."""
        shapes = _shape(self._cached[one]), _shape(self._cached[other])
        if shapes[0] is None or shapes[1] is None:  # readable before, and not any more
            return None
        for way in _ways(shapes[0], shapes[1]):
            distances = self._distances_of_way(one, other, way, may_move=may_move)
            if None not in distances:
                return max(cast(list[float], distances))
        return None

    def _distances_of_way(
        self, one: int, other: int, way: _Way, *, may_move: bool
    ) -> list[float | None]:
        """Over white, and, if they are a copy there and neither is opaque, over black as well."""
        grounds = min(len(self._cached[number] or ()) for number in (one, other))
        distances: list[float | None] = []
        for ground in range(grounds):
            pictures = [self._made_ready(number, way, ground) for number in (one, other)]
            distance = copied_pictures.distance_of_copies(*pictures, may_move=may_move)
            distances.append(distance)
            if distance is None:
                break
        return distances

    def _made_ready(self, number: int, way: _Way, ground: int = 0) -> Picture:
        """A picture as it is compared; the last ones are kept."""
        key = number, way, ground
        if key in self._ready:
            self._ready.move_to_end(key)
            return self._ready[key]
        pixels = cast(list[np.ndarray], self._cached[number])[ground]
        part = pixels if way.middle is None else _middle(pixels, *way.middle)
        resized = images.with_channels(images.resize(part, *way.size), 3)
        made = self._ready[key] = Picture(images.to_unit(resized))
        self._ready_bytes += made.nbytes
        while self._ready_bytes > _READY and len(self._ready) > 2:
            _, dropped = self._ready.popitem(last=False)
            self._ready_bytes -= dropped.nbytes
        return made

    def _read(self, wanted: Sequence[int]) -> None:
        """Takes what is missing into the cache, and drops what was not used for long."""
        for number in wanted:
            if number in self._cached:
                self._cached.move_to_end(number)
        missing = [number for number in dict.fromkeys(wanted) if number not in self._cached]
        if missing and self._all_fit:
            missing = list(range(len(self._places)))
        for stream in {id(s): s for s, _ in (self._places[number] for number in missing)}.values():
            here = [number for number in missing if self._places[number][0] is stream]
            pictures = stream.measured([self._places[number][1] for number in here], _reduced)
            for number, picture in zip(here, pictures, strict=True):
                self._cached[number] = None if isinstance(picture, str) else picture
                self._bytes += _size(self._cached[number])
        while self._bytes > _CACHED and len(self._cached) > len(wanted):
            _, dropped = self._cached.popitem(last=False)
            self._bytes -= _size(dropped)


def _reduced(stored: StoredPicture, _: str) -> list[np.ndarray]:
    """The picture with no side above 256 pixels, at which a crop of a few can be seen."""
    height, width = stored.pixels.shape[:2]
    scale = min(1.0, 2 * _SIDE / max(height, width))
    size = [max(1, round(side * scale)) for side in (height, width)]
    return [images.resize(pixels, *size) for pixels in _laid(stored)]


def _size(pictures: list[np.ndarray] | None) -> int:
    return sum(picture.nbytes for picture in pictures or ())


def _shape(pictures: list[np.ndarray] | None) -> tuple[int, int] | None:
    return None if pictures is None else (pictures[0].shape[0], pictures[0].shape[1])


def _ways(one: tuple[int, int], other: tuple[int, int]) -> Iterator[_Way]:
    """Both at the smaller size; if the sizes are near, also with the larger one's edge cut off."""
    height, width = np.minimum(one, other).tolist()
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    yield _Way(None, size)
    if one == other:
        return
    apart = np.abs(np.subtract(one, other))
    if (apart <= _CROPPED * np.array([height, width])).all():
        yield _Way((height, width), size)


def _middle(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]
