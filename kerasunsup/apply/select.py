"""`apply select`: the images that are worth labelling first."""

from __future__ import annotations

import logging
from typing import Any

from kerasunsup.apply.job import Job, short
from kerasunsup.evaluation import selection
from kerasunsup.figures import image_grids

logger = logging.getLogger(__name__)

_SHOWN = 100  # images on the contact sheet


def select_images(job: Job) -> dict[str, Any]:
    """Writes selected.csv and a contact sheet, the image that is worth most first."""
    encoded = job.encode()
    names, count = encoded.names, job.settings.count
    if count > len(names):
        logger.info(f"--count {count:,} is more than the {len(names):,} images: all are ranked")
    ranked = selection.worth_labelling(encoded.codes, count, job.settings.seed)
    rows = ((rank, names[index]) for rank, index in enumerate(ranked, start=1))
    job.files.write_table("selected.csv", ("rank", "file"), rows)
    numbers = {"images": len(names), "selected": len(ranked)}
    if not job.has_pictures:
        return numbers
    shown = ranked[:_SHOWN]
    pictures = job.thumbnails(encoded.positions[shown])
    above = [short(names[index]) for index in shown]
    ranks = [str(rank) for rank in range(1, len(shown) + 1)]
    job.write_sheet("selected", image_grids.captioned_images(pictures, above, ranks))
    return numbers
