"""The maps of `apply outliers`: where each outlier is odd, beside the images that are known."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Sequence

import numpy as np

from kerasunsup.apply import image_stream
from kerasunsup.apply.encoded_images import EncodedImages, change_to
from kerasunsup.apply.job import Job
from kerasunsup.data import images
from kerasunsup.evaluation import oddity_maps
from kerasunsup.progress import Progress

logger = logging.getLogger(__name__)

NO_BOX = ("", "", "", "")
_KNOWN = 1000  # images that are learned from
_BLOCK = 64  # outliers at a time
_BLACK, _SCALED = 0.01, 100  # this share of the places of so many known ones is black
_FOLDER = "maps"
_LONGEST_NAME = 250  # bytes, of 255 that file systems take
_RED, _MOST_RED = np.array([1.0, 0.1, 0.0], np.float32), 0.65


@dataclasses.dataclass(frozen=True)
class Maps:
    """The maps of the outliers, on one scale.

    Attributes:
        maps: float32 (rows, columns) of each outlier, by its row in the encoded images: log-odds.
        boxes: (x, y, width, height) of each hottest region, in pixels of the image's file.
        black: the log-odds that are black in the pictures.
        white: those that are white: the largest of all outliers.
    """

    maps: dict[int, np.ndarray]
    boxes: dict[int, tuple[int, int, int, int]]
    black: float
    white: float

    @classmethod
    def none(cls) -> Maps:
        """No maps."""
        return cls({}, {}, 0.0, 0.0)

    def heat(self, row: int, height: int, width: int) -> np.ndarray:
        """The map of an outlier at some size: float32 (height, width), from 0 black to 1 white."""
        enlarged = oddity_maps.enlarged(self.maps[row], height, width)
        return np.clip((enlarged - self.black) / max(self.white - self.black, 1e-6), 0.0, 1.0)


def write_maps(
    job: Job,
    encoded: EncodedImages,
    outliers: np.ndarray,
    known: image_stream.Stream | None,
    known_positions: np.ndarray,
) -> Maps:
    """Writes a picture of each outlier's map, as large as the image, and finds its hottest region.

    Args:
        job: the command.
        encoded: the images.
        outliers: their rows in `encoded`.
        known: the images that they are compared with; None for the images themselves.
        known_positions: int64, of those of `known` that can be read.

    Returns:
        The maps; an outlier that cannot be read any more has none.
    """
    shape = _shape_of(encoded)
    random = np.random.default_rng(job.settings.seed)
    drawn = np.sort(random.permutation(known_positions)[:_KNOWN])
    change = change_to(shape, job.settings, resize=True)
    usual = [
        pixels for _, pixels, _ in (known or job.stream).batches(drawn.tolist(), _BLOCK, change)
    ]
    readable = [pixels for pixels in usual if len(pixels)]  # some may be gone since
    clean = np.concatenate(readable) if readable else np.empty((0, *shape), np.float32)
    if len(clean) < 2 or min(shape[:2]) < oddity_maps.LEAST_SIDE:
        logger.info("no maps: they need two known images of 8 x 8 pixels or more")
        return Maps.none()
    logger.info(f"learning from {len(clean):,} images where the outliers are odd")
    mapper = oddity_maps.fit(clean, job.settings.seed)
    black = float(np.quantile(mapper.maps(oddity_maps.some_of(clean, _SCALED)), _BLACK))
    maps: dict[int, np.ndarray] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for start in range(0, len(outliers), _BLOCK):
        pixels = []
        rows = outliers[start : start + _BLOCK].tolist()
        for row, picture in zip(rows, job.stream.read(encoded.positions[rows]), strict=True):
            if not isinstance(picture, str):
                sizes[row] = picture.shape[:2]
                pixels.append(change(picture))
        if pixels:
            found = mapper.maps(images.to_unit(np.stack(pixels)))
            maps |= zip([row for row in rows if row in sizes], found, strict=True)
    white = max((float(values.max()) for values in maps.values()), default=0.0)
    return _written(job, encoded, Maps(maps, {}, round(black, 4), round(white, 4)), sizes)


def _shape_of(encoded: EncodedImages) -> tuple[int, ...]:
    """The shape at which images are judged: the model's, made smaller where it is large."""
    height, width, channels = encoded.lowest.shape
    factor = min(1.0, oddity_maps.SIDE / min(height, width))
    return round(height * factor), round(width * factor), channels


def _written(
    job: Job, encoded: EncodedImages, maps: Maps, sizes: dict[int, tuple[int, int]]
) -> Maps:
    boxes = {}
    name_of = dict(
        zip(sizes, names_of_maps([encoded.names[row] for row in sizes], list(sizes)), strict=True)
    )
    with Progress(len(maps.maps), "map") as progress:
        for row, (height, width) in sizes.items():
            heat = maps.heat(row, height, width)
            boxes[row] = oddity_maps.hottest_box(heat)
            name = f"{_FOLDER}/{name_of[row]}"
            job.files.write_picture(name, images.to_uint8(heat[..., None]))
            progress.advance(1)
    return dataclasses.replace(maps, boxes=boxes)


def names_of_maps(names: Sequence[str], rows: Sequence[int]) -> list[str]:
    """A name for the map of each image, all different: its own, with .png where it has another end.

    Args:
        names: of the images, all different.
        rows: their numbers, by which those are called whose names are too long.
    """
    found = [name if name.lower().endswith(".png") and _is_short(name) else "" for name in names]
    taken = {*found, *(name[:at] for name in names for at, c in enumerate(name) if c == "/")}
    for at, (name, row) in enumerate(zip(names, rows, strict=True)):
        if found[at]:
            continue
        stem = name if _is_short(f"{name}.png") else f"{row:06d}"
        numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        found[at] = next(f"{stem}{n}.png" for n in numbers if f"{stem}{n}.png" not in taken)
        taken.add(found[at])
    return found


def _is_short(name: str) -> bool:
    return len(os.fsencode(os.path.basename(name))) <= _LONGEST_NAME


def overlaid(pictures: np.ndarray, rows: np.ndarray, maps: Maps) -> np.ndarray:
    """Pictures of a contact sheet, red where the outliers among them are odd.

    Args:
        pictures: float32 (num_pictures, height, width, 1|3) in [0, 1].
        rows: of the pictures in the encoded images.
        maps: of the outliers.

    Returns:
        As many in colour; as they are if there are no maps.
    """
    if not maps.maps:
        return pictures
    coloured = np.repeat(pictures, 3, axis=-1) if pictures.shape[-1] == 1 else pictures.copy()
    for at, row in enumerate(rows.tolist()):
        if row in maps.maps:
            heat = maps.heat(row, *pictures.shape[1:3])[..., None]
            # The lower half of the scale is what known images have too.
            share = _MOST_RED * np.clip(2.0 * heat - 1.0, 0.0, 1.0)
            coloured[at] = (1.0 - share) * coloured[at] + share * _RED
    return coloured
