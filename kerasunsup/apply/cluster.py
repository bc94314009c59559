"""`apply cluster`: images in groups that follow from their codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasunsup.apply.job import Job
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.evaluation import clustering

_SHOWN_A_GROUP = 60  # images on the contact sheet of each group


def cluster_images(job: Job) -> dict[str, Any]:
    """Writes clusters.csv and a contact sheet for each group.

    Returns:
        The numbers of images and groups; how well groups agree with labels where there are any.
    """
    encoded = job.encode()
    names = encoded.names
    groups = np.zeros(len(names), np.int64)
    if not encoded.are_alike():
        try:
            groups = clustering.groups(encoded.codes, job.settings.clusters, job.settings.seed)
        except ValueError as error:
            advice = " or fewer --clusters" if job.settings.clusters else ""
            raise InputError(f"{error}: give more images{advice}") from error
    rows = zip(names, groups.tolist(), strict=True)
    job.files.write_table("clusters.csv", ("file", "cluster"), rows)
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        shown = np.random.default_rng(job.settings.seed).permutation(members)[:_SHOWN_A_GROUP]
        pictures = job.thumbnails(encoded.positions[np.sort(shown)])
        sheet = images.grid(pictures, columns=min(10, len(pictures)))
        job.files.write_picture(f"cluster_{group:03d}_sheet.png", sheet)
    numbers: dict[str, Any] = {"images": len(names), "clusters": int(groups.max()) + 1}
    labels = job.stream.labels
    if labels is not None:
        agreement = clustering.agreement(groups, labels[encoded.positions])
        numbers |= {f"{name}_by_labels": round(value, 4) for name, value in agreement.items()}
    return numbers
