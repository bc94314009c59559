"""`apply similar`: the images nearest to each query, or the near-duplicates among all images."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.apply import near_duplicates
from kerasunsup.apply.encoded_images import EncodedImages
from kerasunsup.apply.job import Job, short
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.evaluation import neighbor_index
from kerasunsup.figures import image_grids

logger = logging.getLogger(__name__)

_SHOWN_PAIRS = 20  # near-duplicates on the contact sheet
_SHOWN_QUERIES = 12  # rows of the contact sheet, and images in each
_HEADER = ("query", "rank", "file", "distance")


def find_similar(job: Job) -> dict[str, Any]:
    """Writes similar.csv and a contact sheet, nearest first."""
    if job.settings.query is None:
        return _near_duplicates(job)
    encoded, queries = job.encode(), _queries(job)
    itself = _rows_of_themselves(job, encoded, queries)
    _tell_of(itself, queries.names)
    neighbors = job.settings.neighbors
    number = min(neighbors + bool((itself >= 0).any()), len(encoded.names))
    distances, nearest = neighbor_index.nearest(
        encoded.codes, queries.codes, number, job.settings.seed
    )
    shown = [
        np.flatnonzero(rows != row)[:neighbors] for rows, row in zip(nearest, itself, strict=True)
    ]
    table = (
        (query, rank + 1, encoded.names[nearest[row, at]], distances[row, at])
        for row, query in enumerate(queries.names)
        for rank, at in enumerate(shown[row])
    )
    job.files.write_table("similar.csv", _HEADER, table)
    rows = []
    for row, name in enumerate(queries.names[:_SHOWN_QUERIES] if job.has_pictures else []):
        found = nearest[row, shown[row][:_SHOWN_QUERIES]]
        if not len(found):  # it is the only image
            continue
        pictures = job.thumbnails(encoded.positions[found])
        if queries.positions[row] >= 0:
            query = job.thumbnails([queries.positions[row]], job.query)
            pictures = np.concatenate([query, pictures])
        rows.append(image_grids.SampleRow(short(name), pictures, {}))
    if rows:
        job.write_sheet("similar", image_grids.sampled_images(rows))
    return {"queries": len(queries.names), "images": len(encoded.names)}


def _queries(job: Job) -> EncodedImages:
    """The queries, encoded; the position of one that cannot be shown is -1."""
    found = None if job.vectors is None else job.vectors.query
    if found is None:
        return job.encode(job.query, name="queries")
    queries = found.encoded()
    if found.stream is job.stream:
        return queries
    return dataclasses.replace(queries, positions=np.full(len(queries.codes), -1))


def _rows_of_themselves(job: Job, encoded: EncodedImages, queries: EncodedImages) -> np.ndarray:
    """The row among the images of each query that is one of their files; -1 of the others.

    A person wants its neighbours. A copy of it under another name is one.
    """
    row_of = {name: row for row, name in enumerate(encoded.names)}
    if job.query is None:
        of_position = dict(zip(encoded.positions.tolist(), range(len(encoded.names)), strict=True))
        rows = [of_position.get(position, -1) for position in queries.positions.tolist()]
    elif job.query.root is None or job.stream.root is None:
        rows = [-1] * len(queries.names)
    else:
        root = os.path.realpath(job.stream.root)
        rows = [row_of.get(_name_in(root, job.query.root, name), -1) for name in queries.names]
    return np.array(rows, np.int64)


def _name_in(root: str, folder: Path, name: str) -> str:
    """What a file of another folder would be called as an image of a root."""
    path, file = os.path.split(os.path.join(folder, name))
    # Links to folders are followed; a link to a file has a name of its own.
    return os.path.relpath(os.path.join(os.path.realpath(path), file), root).replace(os.sep, "/")


def _tell_of(itself: np.ndarray, names: Sequence[str]) -> None:
    found = np.flatnonzero(itself >= 0)
    if len(found) == 1:
        name = images.shown(names[found[0]])
        logger.info(f"{name} is one of the images itself, and is left out of its neighbours")
    elif len(found):
        what = "all" if len(found) == len(names) else f"{len(found):,} of"
        logger.info(
            f"{what} {len(names):,} queries are images themselves, and each is left out of its own"
            " neighbours"
        )


def _near_duplicates(job: Job) -> dict[str, Any]:
    if not job.has_pictures:
        raise InputError("near-duplicates are told by their pixels: give IMAGES too, or --query")
    encoded = job.encode(look=near_duplicates.look)
    names = encoded.names
    if len(names) < 2:
        raise InputError("near-duplicates need two images: give more, or --query")

    def read(rows: Iterable[int]) -> Iterator[np.ndarray | str]:
        return job.stream.read(encoded.positions[list(rows)])

    pairs = near_duplicates.pairs(encoded.codes, encoded.looks, read, job.settings.neighbors)
    table = ((names[one], 1, names[other], distance) for one, other, distance in pairs)
    job.files.write_table("similar.csv", _HEADER, table)
    shown = [row for one, other, _ in pairs[:_SHOWN_PAIRS] for row in (one, other)]
    if shown:
        texts = [short(names[row]) for row in shown]
        below = [f"{distance:.3g}" for *_, distance in pairs[:_SHOWN_PAIRS] for _ in range(2)]
        pictures = job.thumbnails(encoded.positions[shown])
        job.write_sheet("similar", image_grids.captioned_images(pictures, texts, below))
    return {"images": len(names), "near_duplicates": len(pairs)}
