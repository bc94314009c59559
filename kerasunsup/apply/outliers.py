"""`apply outliers`: how unusual each image is, beside clean images or beside all the others."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from kerasunsup.apply import training_images
from kerasunsup.apply.encoded_images import EncodedImages
from kerasunsup.apply.job import Job, short
from kerasunsup.apply.settings import ApplySettings
from kerasunsup.errors import InputError
from kerasunsup.evaluation import outlier_detector
from kerasunsup.figures import image_grids

logger = logging.getLogger(__name__)

_SHOWN = 40  # images on the contact sheet


def find_outliers(job: Job) -> dict[str, Any]:
    """Writes outliers.csv and a contact sheet, the most unusual image first.

    Images are compared with `--reference`, else with those that the model was trained on, else
    with each other.
    """
    encoded = job.encode(errors=True)
    names = encoded.names
    clean, called = training_images.clean_images(job.model, job.reference)
    if clean is None:
        reference, called = encoded, "the images themselves"
    else:
        reference = job.encode(clean, name="reference", errors=True)
    logger.info(f"compared with {len(reference.codes):,} images: {called}")
    if encoded.are_alike(None if job.reference is None else reference):
        scores, limit = np.zeros(len(names)), 0.0
        is_outlier = np.zeros(len(names), bool)
    else:
        scores, limit, is_outlier = _scores(encoded, reference, job.settings)
    order = np.argsort(-scores, kind="stable")
    job.files.write_table(
        "outliers.csv",
        ("file", "score", "outlier"),
        ((names[index], scores[index], int(is_outlier[index])) for index in order),
    )
    worst = order[:_SHOWN]
    pictures = job.thumbnails(encoded.positions[worst])
    above = [short(names[index]) for index in worst]
    below = [f"{scores[index]:.3g}" for index in worst]
    job.write_sheet("outliers", image_grids.captioned_images(pictures, above, below))
    return {
        "images": len(names), "outliers": int(is_outlier.sum()), "threshold": round(limit, 4),
    }  # fmt: skip


def _scores(
    encoded: EncodedImages, reference: EncodedImages, settings: ApplySettings
) -> tuple[np.ndarray, float, np.ndarray]:
    """(the score of each image, the score at which outliers begin, which images are outliers)."""
    if len(reference.codes) < 4:
        raise InputError(
            f"outliers need four images to compare with, received {len(reference.codes)}: give "
            "more, or clean ones by --reference"
        )
    detector = outlier_detector.fit(reference.errors, reference.codes, settings.seed)
    scores = detector.scores(encoded.errors, encoded.codes)
    if settings.reference is not None:
        limit = outlier_detector.threshold(
            reference.errors, reference.codes, settings.share, settings.seed
        )
        return scores, limit, scores > limit
    limit = outlier_detector.limit(scores, settings.share)
    return scores, limit, scores >= limit
