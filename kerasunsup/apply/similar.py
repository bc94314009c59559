"""`apply similar`: the images nearest to each query, or the near-duplicates among all images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from kerasunsup.apply import near_duplicates
from kerasunsup.apply.encoded_images import EncodedImages
from kerasunsup.apply.job import Job, short
from kerasunsup.errors import InputError
from kerasunsup.evaluation import neighbor_index
from kerasunsup.figures import image_grids

_SHOWN_PAIRS = 20  # near-duplicates on the contact sheet
_SHOWN_QUERIES = 12  # rows of the contact sheet, and images in each
_HEADER = ("query", "rank", "file", "distance")


def find_similar(job: Job) -> dict[str, Any]:
    """Writes similar.csv and a contact sheet, nearest first."""
    if job.settings.query is None:
        return _near_duplicates(job)
    encoded, queries = job.encode(), _queries(job)
    number = min(job.settings.neighbors, len(encoded.names))
    distances, nearest = neighbor_index.nearest(
        encoded.codes, queries.codes, number, job.settings.seed
    )
    table = (
        (query, rank + 1, encoded.names[nearest[row, rank]], distances[row, rank])
        for row, query in enumerate(queries.names)
        for rank in range(number)
    )
    job.files.write_table("similar.csv", _HEADER, table)
    rows = []
    for row, name in enumerate(queries.names[:_SHOWN_QUERIES] if job.has_pictures else []):
        pictures = job.thumbnails(encoded.positions[nearest[row, :_SHOWN_QUERIES]])
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
