"""Other pictures of the same scene: bursts, found by the codes of a model or by given vectors."""

from __future__ import annotations

import logging

import numpy as np

from kerasunsup.apply import image_stream, training_images
from kerasunsup.apply.duplicate_plan import Group, Member, Plan
from kerasunsup.apply.job import Job
from kerasunsup.errors import InputError
from kerasunsup.evaluation import neighbor_index, neighbors

logger = logging.getLogger(__name__)

# Codes as near as one in a thousand of the training images has another one. It follows from the
# training images alone, so that many bursts in a folder do not hide each other.
_SHARE = 0.001
_MOST_COMPARED = 20_000  # training images; of fewer the nearest are further away
_NEAREST = 50  # images that one is compared with


def check_codes(job: Job) -> None:
    """Refuses codes by which no scenes can be found, before any image is read.

    Raises:
        InputError: if they are those of a folder, or come without images or without what tells how
            near the codes of different scenes are.
    """
    if job.parts is not None:
        raise InputError(
            f"duplicates takes --codes of a file of vectors, received the folder "
            f"{job.settings.codes}: give such a file, or MODEL alone"
        )
    if job.vectors is None:
        if job.has_model:
            _clean_images(job)
        return
    if not job.has_pictures:
        raise InputError("copies are told by their pixels: give IMAGES too")
    if job.settings.against is not None:
        raise InputError("--codes FILE has no vectors of the images of --against: leave one out")
    if job.vectors.reference is None:
        raise InputError(
            "--codes FILE does not tell how near the codes of different scenes are: give vectors "
            "of other images by --reference FILE"
        )


def found(job: Job, plan: Plan, groups: list[Group]) -> list[Group]:
    """Groups of pictures of one scene; groups of copies that belong to one are taken in.

    Args:
        job: with a model that encodes, or with vectors.
        plan: all images.
        groups: of copies; those that are taken in are removed.

    Returns:
        Groups around images that are kept, none of which was in a group before.

    Raises:
        InputError: if nothing tells how near the codes of different scenes are.
    """
    codes = _codes(job, plan)
    limit = _limit(job)
    logger.info(f"images whose codes are nearer than {limit:.3g} are one scene")
    copies = {group.kept: group.members for group in groups}
    not_kept = {member.position for group in groups for member in group.members}
    usable = plan.are_still & np.isfinite(codes).all(axis=1)
    left = [at for at in plan.order if at not in not_kept and usable[at]]
    if len(left) < 2:
        return []
    rows = np.array(left)
    distances, nearest = neighbor_index.nearest(codes[rows], None, min(_NEAREST, len(rows) - 1))
    is_taken = np.zeros(len(rows), bool)
    scenes = []
    for row, leader in enumerate(left):
        if is_taken[row] or not plan.may_lead[leader]:
            continue
        members: list[Member] = []
        for distance, other in zip(distances[row], nearest[row].tolist(), strict=True):
            # Only what comes later in the plan: the first one is kept.
            if distance > limit or other < row or is_taken[other] or plan.is_safe[left[other]]:
                continue
            others = [left[other], *(member.position for member in copies.get(left[other], []))]
            apart = np.linalg.norm(codes[others] - codes[leader], axis=1)
            if (apart <= limit).all():  # copies of a copy are taken in together, or not at all
                is_taken[other] = True
                copies.pop(left[other], None)
                members += map(Member, others, ["scene"] * len(others), apart.tolist())
        if members:
            is_taken[row] = True
            scenes.append(Group(leader, [*copies.pop(leader, []), *members]))
    groups[:] = [group for group in groups if group.kept in copies]
    return scenes


def _codes(job: Job, plan: Plan) -> np.ndarray:
    """The code of each image of the plan, float32 (num_images, latent_dim); NaN where none is."""
    code_of = {}
    for stream in (job.stream, job.against):
        if stream is not None:
            encoded = job.encode() if stream is job.stream else job.encode(stream, name="against")
            for position, code in zip(encoded.positions.tolist(), encoded.codes, strict=True):
                code_of[id(stream), position] = code
    none = np.full_like(next(iter(code_of.values())), np.nan)
    return np.stack([code_of.get((id(stream), at), none) for stream, at in plan.places])


def _limit(job: Job) -> float:
    """The distance of codes that one in a thousand of the training images has to another one."""
    if job.vectors is not None and job.vectors.reference is not None:
        reference, called = job.vectors.reference.encoded(), f"--reference {job.settings.reference}"
    else:
        clean, called = _clean_images(job)
        reference = job.encode(clean, name="reference")
    chosen = reference.codes[:_MOST_COMPARED]
    if len(chosen) < 2:
        raise InputError(f"{called}: one image tells no distance: give more by --reference")
    distances, _ = neighbors.nearest(chosen, None, 1)
    return float(np.quantile(distances[distances > 0.0], _SHARE)) if distances.any() else 0.0


def _clean_images(job: Job) -> tuple[image_stream.Stream, str]:
    """The images that tell how near the codes of different scenes are, and what to call them."""
    clean, called = training_images.clean_images(job.model, job.reference)
    if clean is None:
        raise InputError(
            f"MODEL {job.model.path} has no training images, which tell how near the codes of "
            "different scenes are: give some by --reference, or leave MODEL out"
        )
    return clean, called
