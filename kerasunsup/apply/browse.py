"""`apply browse`: a page that shows a whole folder, and the same as a table for other programs.

The page is one file that opens from disk. Groups are those of `apply cluster`, scores those of
`apply outliers` and flags those of `apply check`; each image is encoded once.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import numpy as np

from kerasunsup.apply import browse_page, browse_thumbnails, check, outliers
from kerasunsup.apply.browse_page import Shown
from kerasunsup.apply.encoded_images import EncodedImages
from kerasunsup.apply.job import Job
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.evaluation import clustering, code_map, neighbors

logger = logging.getLogger(__name__)

_NEIGHBORS = 12  # of each image on the page
_OUTLIER = "outlier"  # the flag that is no issue of `check`
FLAGS = (_OUTLIER, *check.ISSUES)


def browse_images(job: Job) -> dict[str, Any]:
    """Writes index.html, browse.csv and, where pyarrow is installed, images.parquet."""
    encoded = job.encode(errors=outliers.has_errors(job))
    names = encoded.names
    groups = _groups(job, encoded)
    scores, is_outlier, compared_with = _scores(job, encoded)
    rows = _drawn(len(names), job.settings.seed)
    positions = encoded.positions[rows]
    flags = {row: {_OUTLIER: ""} for row in np.flatnonzero(is_outlier[rows]).tolist()}
    thumbnails, sizes = None, np.zeros((len(rows), 2), np.uint32)
    if job.has_pictures:
        seen = browse_thumbnails.look_at(job.stream, positions, job.output.part("seen"))
        thumbnails = seen.thumbnails
        sizes = _sizes(seen.measured, positions)
        _add_issues(flags, job, seen.measured, positions)
    codes = encoded.codes[rows]
    distances, nearest = _nearest(codes)
    shown = Shown(
        names=[names[row] for row in rows],
        codes=codes,
        places=code_map.plane(codes, job.settings.seed),
        groups=groups[rows],
        scores=scores[rows],
        flags=flags,
        sizes=sizes,
        neighbors=nearest,
        distances=distances,
        thumbnails=thumbnails,
    )
    _write_table(job, shown)
    page = browse_page.page(
        shown,
        FLAGS,
        what=job.stream.what,
        number=len(names),
        unreadable=encoded.unreadable,
        compared_with=compared_with,
        root=job.stream.root if job.has_pictures else None,
        folder=job.output.folder,
    )
    job.files.write("index.html", page)
    numbers: dict[str, Any] = {"images": len(names), "groups": int(groups.max()) + 1}
    if len(rows) < len(names):
        numbers["shown"] = len(rows)
    if encoded.unreadable:
        numbers["unreadable"] = len(encoded.unreadable)
    return numbers | {
        "outliers": int(is_outlier.sum()), "page_megabytes": round(len(page) / 1e6, 1),
    }  # fmt: skip


def _groups(job: Job, encoded: EncodedImages) -> np.ndarray:
    """The group of each image as `apply cluster` finds it; one where there are too few images."""
    number, one = job.settings.clusters, np.zeros(len(encoded.names), np.int64)
    if encoded.are_alike():
        return one
    if len(one) < clustering.LEAST_CODES and number is None:
        logger.info(f"fewer than {clustering.LEAST_CODES} images: all are one group")
        return one
    try:
        return clustering.groups(encoded.codes, number, job.settings.seed)
    except ValueError as error:
        raise InputError(f"{error}: give more images or fewer --clusters") from error


def _scores(job: Job, encoded: EncodedImages) -> tuple[np.ndarray, np.ndarray, str]:
    """The score of each image, which are outliers, and what they are compared with, in words.

    A page is of use without the training images too: where they are gone, images are compared with
    each other.
    """
    try:
        reference, called, _ = outliers.reference_of(job, encoded)
    except InputError as error:
        if job.settings.reference is not None:
            raise
        reference, called = encoded, outliers.ITSELF
        logger.info(f"{error}; until then scores come from a comparison with each other")
    logger.info(f"compared with {len(reference.codes):,} images: {called}")
    if len(reference.codes) < outliers.LEAST_IMAGES:
        logger.info(f"fewer than {outliers.LEAST_IMAGES} images to compare with: there is no score")
        nothing = np.zeros(len(encoded.names))
        return nothing, nothing.astype(bool), "nothing: there are too few images"
    scores, _, is_outlier, _ = outliers.scored(encoded, reference, job.settings)
    return scores, is_outlier, called


def _drawn(number: int, seed: int) -> np.ndarray:
    """The rows of the images on the page: all, or as many as are drawn; ascending."""
    most = browse_thumbnails.MOST_SHOWN
    if number <= most:
        return np.arange(number)
    logger.info(f"the page shows {most:,} of {number:,} images, drawn at random by --seed")
    return np.sort(np.random.default_rng(seed).choice(number, most, replace=False))


def _nearest(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distances and rows of the up to twelve images nearest to each, nearest first."""
    number = min(_NEIGHBORS, len(codes) - 1)
    if not number:
        return np.empty((1, 0)), np.empty((1, 0), np.int64)
    return neighbors.nearest(codes, None, number)


def _sizes(measured: dict[str, np.ndarray], positions: np.ndarray) -> np.ndarray:
    """Width and height of each image in pixels, uint32 (n, 2); 0 where it could not be read."""
    sizes = np.zeros((len(positions), 2), np.uint32)
    readable = measured["positions"]
    known = np.isin(positions, readable)
    at = np.searchsorted(readable, positions[known])
    sizes[known] = measured["measures"][at][:, :2]  # width and height are the first
    return sizes


def _add_issues(
    flags: dict[int, dict[str, str]],
    job: Job,
    measured: dict[str, np.ndarray],
    positions: np.ndarray,
) -> None:
    """Adds what `apply check` finds of the images at these positions, with its value as text."""
    row_of = {position: row for row, position in enumerate(positions.tolist())}
    for issue, position, value, _ in check.findings(measured, job.stream):
        if position in row_of:
            text = f"{value:.3g}" if isinstance(value, float) else images.shown(str(value))
            flags.setdefault(row_of[position], {})[issue] = text


def _write_table(job: Job, shown: Shown) -> None:
    table = zip(
        shown.names, *shown.places.T, shown.groups, shown.scores, shown.flags_as_text(), strict=True
    )
    job.files.write_table("browse.csv", ("file", "x", "y", "group", "score", "flags"), table)
    if importlib.util.find_spec("pyarrow") is None:
        logger.info(
            "images.parquet is left out: it needs pyarrow, pip install 'kerasunsup[parquet]'"
        )
        return
    from kerasunsup.apply import browse_parquet

    job.files.write("images.parquet", browse_parquet.content(shown))
