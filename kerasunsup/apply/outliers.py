"""`apply outliers`: how unusual each image is, beside clean images or beside all the others."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from kerasunsup.apply import image_stream, outlier_maps, parts, training_images
from kerasunsup.apply.encoded_images import EncodedImages
from kerasunsup.apply.job import Job, short
from kerasunsup.apply.settings import ApplySettings
from kerasunsup.errors import InputError
from kerasunsup.evaluation import outlier_detector
from kerasunsup.figures import image_grids

logger = logging.getLogger(__name__)

_SHOWN = 40  # images on the contact sheet
ITSELF = "the images themselves"
LEAST_IMAGES = 4  # to compare with
_FOLDS = 5  # of images that are compared with each other
_HEADER = ("file", "score", "outlier", "share_less_odd", "x", "y", "width", "height")


def find_outliers(job: Job) -> dict[str, Any]:
    """Writes outliers.csv, a map of each outlier and a contact sheet, the most unusual image first.

    Images are compared with `--reference`, else with those that the model was trained on, else
    with each other.
    """
    if job.vectors is None:  # they may be gone: that is told before all images are encoded
        training_images.clean_images(job.model, job.reference)
    encoded = job.encode(errors=has_errors(job))
    names = encoded.names
    reference, called, known = reference_of(job, encoded)
    logger.info(f"compared with {len(reference.codes):,} images: {called}")
    scores, limit, is_outlier, share_less_odd = scored(encoded, reference, job.settings)
    order = np.argsort(-scores, kind="stable")
    flagged = order[is_outlier[order]]
    maps = outlier_maps.Maps.none()
    if len(flagged) and job.vectors is None:
        maps = outlier_maps.write_maps(job, encoded, flagged, known, reference.positions)
    job.files.write_table(
        "outliers.csv",
        _HEADER,
        (
            (
                names[row],
                scores[row],
                int(is_outlier[row]),
                share_less_odd[row],
                *maps.boxes.get(row, outlier_maps.NO_BOX),
            )
            for row in order
        ),
    )
    if job.has_pictures:
        worst = order[:_SHOWN]
        pictures = outlier_maps.overlaid(job.thumbnails(encoded.positions[worst]), worst, maps)
        above = [short(names[row]) for row in worst]
        below = [f"{scores[row]:.3g}" for row in worst]
        job.write_sheet("outliers", image_grids.captioned_images(pictures, above, below))
    numbers = {
        "images": len(names), "outliers": int(is_outlier.sum()), "threshold": round(limit, 4),
    }  # fmt: skip
    return numbers | (
        {"black_in_maps": maps.black, "white_in_maps": maps.white} if maps.maps else {}
    )


def has_errors(job: Job) -> bool:
    """Whether errors of reconstructions can be measured: vectors alone have none."""
    if job.vectors is not None:
        return False
    if job.parts is not None:
        return parts.have_errors(job.parts)
    return job.model.offers("reconstruct")


def reference_of(
    job: Job, encoded: EncodedImages
) -> tuple[EncodedImages, str, image_stream.Stream | None]:
    """The images that the others are compared with, and what to call them.

    Returns:
        (the images, what to call them, their pictures; None where they are the images themselves,
        or vectors).

    Raises:
        InputError: if the model was trained on images that cannot be found any more.
    """
    if job.vectors is not None:
        found = job.vectors.reference
        if found is None:
            return encoded, ITSELF, None
        return found.encoded(), found.stream.what, None
    clean, called = training_images.clean_images(job.model, job.reference)
    if clean is None:
        return encoded, ITSELF, None
    return job.encode(clean, name="reference", errors=has_errors(job)), called, clean


def scored(
    encoded: EncodedImages, reference: EncodedImages, settings: ApplySettings
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """What is known of each image; nothing is odd where all images are alike.

    Args:
        encoded: the images.
        reference: those that they are compared with, by `reference_of`.
        settings: `seed`, `share` and `reference` are used.

    Returns:
        (the score of each image, the score at which outliers begin, which images are outliers, the
        share of the reference that is less odd than each).

    Raises:
        InputError: if there are fewer than four images to compare with.
    """
    if encoded.are_alike(reference if settings.reference is not None else None):
        nothing = np.zeros(len(encoded.names))
        return nothing, 0.0, nothing.astype(bool), nothing
    if len(reference.codes) < LEAST_IMAGES:
        raise InputError(
            f"outliers need four images to compare with, received {len(reference.codes)}: give "
            "more, or clean ones by --reference"
        )
    # Vectors alone have no errors of reconstruction.
    errors = reference.errors if len(reference.errors) else None
    if reference is encoded and errors is None:
        # A mixture that is fitted to an outlier too takes it for a group of its own.
        known = scores = outlier_detector.known_scores(
            None, encoded.codes, settings.seed, num_folds=min(_FOLDS, len(encoded.codes) // 2)
        )
    else:
        detector = outlier_detector.fit(errors, reference.codes, settings.seed)
        known = scores = detector.scores(encoded.errors, encoded.codes)
    if reference is not encoded:
        known = outlier_detector.known_scores(errors, reference.codes, settings.seed)
    share_less_odd = np.searchsorted(np.sort(known), scores) / len(known)
    if settings.reference is not None:
        limit = outlier_detector.known_limit(known, settings.share)
        return scores, limit, scores > limit, share_less_odd
    limit = outlier_detector.limit(scores, settings.share)
    return scores, limit, scores >= limit, share_less_odd
