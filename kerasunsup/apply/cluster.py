"""`apply cluster`: images in groups that follow from their codes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasunsup import tensorflow_startup
from kerasunsup.apply import encoded_images
from kerasunsup.apply.job import Job
from kerasunsup.data import image_set, images, pixel_storage
from kerasunsup.errors import InputError
from kerasunsup.evaluation import clustering

if TYPE_CHECKING:
    from kerasunsup.training import self_labelling

logger = logging.getLogger(__name__)

_SHOWN_A_GROUP = 60  # images on the contact sheet of each group
_COUNTED = 20_000  # images by which a student's groups are counted, at most
_MILD = 0.5


def cluster_images(job: Job) -> dict[str, Any]:
    """Writes clusters.csv and a contact sheet for each group.

    Returns:
        The numbers of images and groups; how well groups agree with labels where there are any.
    """
    encoded = job.encode()
    names = encoded.names
    groups = np.zeros(len(names), np.int64)
    columns: dict[str, list[Any]] = {}
    if not encoded.are_alike():
        settings = job.settings
        try:
            if settings.student:
                groups, probability = _students_groups(job, encoded)
                columns["probability"] = [f"{value:.6g}" for value in probability]
            else:
                groups = clustering.groups(encoded.codes, settings.clusters, settings.seed)
        except ValueError as error:
            advice = " or fewer --clusters" if settings.clusters else ""
            raise InputError(f"{error}: give more images{advice}") from error
    elif job.settings.student:
        columns["probability"] = ["1"] * len(names)
    rows = zip(names, groups.tolist(), *columns.values(), strict=True)
    job.files.write_table("clusters.csv", ("file", "cluster", *columns), rows)
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        shown = np.random.default_rng(job.settings.seed).permutation(members)[:_SHOWN_A_GROUP]
        if not job.has_pictures:
            continue
        pictures = job.thumbnails(encoded.positions[np.sort(shown)])
        sheet = images.grid(pictures, columns=min(10, len(pictures)))
        job.files.write_picture(f"cluster_{group:03d}_sheet.png", sheet)
    numbers: dict[str, Any] = {"images": len(names), "clusters": int(groups.max()) + 1}
    labels = job.stream.labels
    if labels is not None:
        agreement = clustering.agreement(groups, labels[encoded.positions])
        numbers |= {f"{name}_by_labels": round(value, 4) for name, value in agreement.items()}
    return numbers


def _students_groups(
    job: Job, encoded: encoded_images.EncodedImages
) -> tuple[np.ndarray, np.ndarray]:
    """The group that a student gives each image, the largest first, and how probable it is.

    Raises:
        InputError: if the codes are of one group, or an image cannot be read any more.
        ValueError: if there are too few images.
    """
    tensorflow_startup.import_tensorflow()
    from kerasunsup.evaluation import sure_groups
    from kerasunsup.training import loop, self_labelling

    settings = job.settings
    limits = self_labelling.DIGITS.scaled(settings.deformation)
    logger.info(
        "the student assumes that an image still shows the same when it is turned by "
        f"{np.degrees(limits.rotation):.0f} degrees, scaled and sheared by {limits.scale:.0%} and "
        f"shifted by {limits.shift:.0%} of a side (--deformation {settings.deformation:g})"
    )
    pictures, number = _image_set(job, encoded.positions), settings.clusters
    if number is None and settings.deformation:
        number = _number_when_deformed(job, encoded.codes, pictures)
    groups, confidence = sure_groups.with_confidence(encoded.codes, number, settings.seed)
    if not groups.any():
        raise InputError(
            "--student has nothing to tell apart, all images are one group: give --clusters N"
        )
    student_settings = self_labelling.StudentSettings(limits=limits)
    with loop.precision(_arithmetic(pictures, int(groups.max()) + 1, student_settings)):
        student = self_labelling.train(
            pictures, groups, confidence, settings=student_settings, seed=settings.seed
        )
    order = np.argsort(-np.bincount(student.classes), kind="stable")
    return np.argsort(order)[student.classes], student.probability


def _arithmetic(
    pictures: image_set.ImageSet, num_groups: int, settings: self_labelling.StudentSettings
) -> str:
    """The faster one for a student's network on this machine; float32 where images are few."""
    import keras

    from kerasunsup.models import faster_layers, optimizers
    from kerasunsup.training import precision, self_labelling

    def build() -> keras.Model:
        layer_types = faster_layers.for_training()
        network = self_labelling.build_network(
            pictures.shape, num_groups, settings, layer_types=layer_types
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(optimizers.adam(settings.learning_rate), loss, jit_compile=False)
        return network

    size = min(settings.batch_size, len(pictures))
    step = pictures.array(np.arange(size)), np.zeros(size, np.int64)
    num_steps = settings.rounds * settings.epochs * (len(pictures) // size)
    return precision.fastest(build, step, num_steps)


def _number_when_deformed(job: Job, codes: np.ndarray, pictures: image_set.ImageSet) -> int | None:
    """How many groups a student is taught where nobody says it; None lets the codes decide."""
    import tensorflow as tf

    from kerasunsup.data import augmentation
    from kerasunsup.evaluation import sure_groups
    from kerasunsup.training import self_labelling

    settings, encode = job.settings, job.model.function("encode")
    # Strong ones change digits into each other too.
    strength = min(_MILD, settings.deformation)
    drawn = np.sort(np.random.default_rng(settings.seed).permutation(len(codes))[:_COUNTED])
    deformed = []
    for start in range(0, len(drawn), settings.batch_size):
        block = pictures.array(drawn[start : start + settings.batch_size])
        seed = tf.constant([settings.seed, start])
        changed = augmentation.deform(block, strength, seed, self_labelling.DIGITS)
        deformed.append(encode(changed.numpy()))
    number = sure_groups.number_when_deformed(
        codes[drawn], np.arange(len(drawn)), np.concatenate(deformed), strength, settings.seed
    )
    logger.info(f"{number} groups whose images do not change into each other when deformed")
    return number if number > 1 else None


def _image_set(job: Job, positions: np.ndarray) -> image_set.ImageSet:
    """The images at these positions of the stream, read once more; on disk where they are many."""
    shape, is_foreign = job.model.input_shape("encode"), job.model.is_foreign
    change = encoded_images.change_to(shape, job.settings, resize=is_foreign)
    writer = pixel_storage.Writer(len(positions), pixel_storage.MEMORY_LIMIT)
    for _, pixels, failed in job.stream.batches(positions, job.settings.batch_size, change):
        for position, reason in failed:
            raise InputError(
                f"{images.shown(job.stream.names[position])} was read before and cannot be read any"
                f" more ({reason})"
            )
        writer.append(images.to_uint8(pixels))
    return image_set.ImageSet(writer.finish())
