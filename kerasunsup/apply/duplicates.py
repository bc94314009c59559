"""`apply duplicates`: images that are stored more than once, and which of them to keep."""

from __future__ import annotations

import collections
import logging
import os
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]

from kerasunsup.apply import duplicate_sheet, kept_index, picture_looks, scenes
from kerasunsup.apply.duplicate_plan import Group, Member, Plan, places_of
from kerasunsup.apply.image_stream import Stream
from kerasunsup.apply.job import Job
from kerasunsup.data import images, perceptual_hashes
from kerasunsup.errors import InputError
from kerasunsup.evaluation import copy_candidates
from kerasunsup.progress import Progress

logger = logging.getLogger(__name__)


def find_duplicates(job: Job) -> dict[str, Any]:
    """Writes duplicates.csv, group by group, and a sheet that shows the groups side by side."""
    scenes.check_codes(job)
    collection = _Collection.of(job)
    groups = _copies(collection)
    has_codes = job.has_model or job.vectors is not None
    scene_groups = scenes.found(job, collection.plan, groups) if has_codes else []
    groups = sorted([*groups, *scene_groups], key=lambda group: group.order)
    job.files.write_table("duplicates.csv", Plan.HEADER, collection.plan.rows(groups))
    if groups:
        duplicate_sheet.write(job, collection.plan, groups)
    counts = collections.Counter(member.kind for group in groups for member in group.members)
    return {
        "images": len(job.stream), "groups": len(groups),
        **{kind: counts[kind] for kind in ("exact", "copy", "scene")},
        "not_kept": sum(counts.values()),
    }  # fmt: skip


class _Collection(NamedTuple):
    """All pictures that are compared, with those of `--against` before the others."""

    plan: Plan
    hashes: np.ndarray  # uint8 (n, 16)
    sketches: np.ndarray  # uint8 (n, 32, 32)

    @classmethod
    def of(cls, job: Job) -> _Collection:
        _check_apart(job.stream, job.against)
        streams = [job.stream] if job.against is None else [job.against, job.stream]
        # From before they are read: a file that changes meanwhile is not the one of the plan.
        stamps = [kept_index.stamps_of(stream) for stream in streams]
        looks = []
        for stream in streams:
            name = "images" if stream is job.stream else "against"
            looks.append(picture_looks.look_at(stream, job.output.part(f"looks_{name}")))
            table = "unreadable.csv" if stream is job.stream else "unreadable_against.csv"
            # Encoding tells of them as well, but only where there is something to encode.
            if stream is not job.stream or not job.has_model or not len(looks[-1].positions):
                job.list_unreadable(looks[-1].unreadable, stream, table)
        places = [
            (stream, int(position))
            for stream, look in zip(streams, looks, strict=True)
            for position in look.positions
        ]
        shapes = np.concatenate([look.shapes for look in looks])
        read = [stamp[look.positions] for stamp, look in zip(stamps, looks, strict=True)]
        settings = job.settings
        return cls(
            Plan(
                places,
                shapes,
                np.concatenate(read),
                settings.keep,
                settings.safe,
                job.against,
                np.concatenate([look.are_still for look in looks]),
            ),
            np.concatenate([look.hashes for look in looks]),
            np.concatenate([look.sketches for look in looks]),
        )


def _check_apart(stream: Stream, other: Stream | None) -> None:
    """Refuses two folders that share files: each of them would be found as a copy of itself."""
    if other is None or stream.root is None or other.root is None:
        return
    roots = [os.path.realpath(root) for root in (stream.root, other.root)]
    if os.path.commonpath(roots) in roots:
        raise InputError(
            f"--against {other.what} and {stream.what} must be two folders of which none lies in "
            "the other"
        )
    name_at = dict(zip(map(os.path.realpath, places_of(other)), other.names, strict=True))
    for place, name in zip(map(os.path.realpath, places_of(stream)), stream.names, strict=True):
        if place in name_at:
            raise InputError(
                images.shown(
                    f"{name} of {stream.what} and {name_at[place]} of --against {other.what} are "
                    "one file, through a link to it or to its folder: remove the link"
                )
            )


def _copies(collection: _Collection) -> list[Group]:
    """The groups of exact and other copies."""
    plan = collection.plan
    _, inverse = np.unique(collection.hashes, axis=0, return_inverse=True)
    equal = collections.defaultdict(list)  # hash -> positions, the one to keep first
    for position in plan.order:
        equal[int(inverse.reshape(-1)[position])].append(position)
    first = {members[0]: members[1:] for members in equal.values()}
    distinct = np.array(list(first), np.int64)  # in the order of the plan
    distinct = distinct[plan.are_still[distinct]]
    members: dict[int, list[Member]] = {
        leader: [Member(other, "exact", 0.0) for other in others if not plan.is_safe[other]]
        for leader, others in first.items()
        if plan.may_lead[leader]
    }
    for leader, copies in _starred(collection, distinct):
        for copy, distance in copies:
            of_copy = [copy, *(other for other in first[copy] if not plan.is_safe[other])]
            members[leader] += [Member(other, "copy", distance) for other in of_copy]
            members.pop(copy, None)
    return [Group(leader, rows) for leader, rows in members.items() if rows]


def _starred(
    collection: _Collection, distinct: np.ndarray
) -> list[tuple[int, list[tuple[int, float]]]]:
    """The groups of copies among pictures of which no two are equal."""
    plan = collection.plan
    candidates = copy_candidates.CopyCandidates(
        collection.sketches[distinct], plan.shapes[distinct], perceptual_hashes.perceptual_hashes
    )
    pictures = picture_looks.Pictures(
        [plan.places[position] for position in distinct], plan.shapes[distinct]
    )
    # Products of small matrices: more threads mostly wait for each other.
    one_thread = threadpoolctl.threadpool_limits(1, user_api="blas")
    with one_thread, Progress(len(distinct), "image") as progress:
        groups = copy_candidates.star_groups(
            range(len(distinct)),
            candidates,
            pictures.distances,
            ~plan.is_safe[distinct],
            plan.may_lead[distinct],
            progress.advance,
        )
    return [
        (int(distinct[leader]), [(int(distinct[member]), d) for member, d in members])
        for leader, members in groups
    ]
