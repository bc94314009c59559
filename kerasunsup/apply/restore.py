"""`apply restore`: noise taken out of images and holes filled; names and sizes stay."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerasunsup.apply import tiles
from kerasunsup.apply.job import Job
from kerasunsup.apply.settings import ApplySettings
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.figures import image_grids
from kerasunsup.models import loading
from kerasunsup.progress import Progress

_SHOWN = 10  # images on the contact sheet
_MOST_VALUES = 16_000_000  # of the pictures that are restored together

# A picture as a float32 image in [0, 1], its mask if any, and the channels that are written.
Prepared = tuple[np.ndarray, np.ndarray | None, int]


def restore_images(job: Job) -> dict[str, Any]:
    """Writes every image as the model restores it, and a contact sheet; what is there stays.

    An image that does not fit the model or its mask is listed beside the unreadable ones.
    Images larger than the model's are restored in overlapping tiles. With `--mask` only the white
    pixels of the mask are replaced. The model sees them black first, as it was trained on holes,
    and in every further pass of `--passes` as the pass before left them.

    Raises:
        InputError: if no image can be restored.
    """
    stream = job.stream
    if job.parts is None:
        missing = [at for at, name in enumerate(stream.names) if not job.files.path(name).exists()]
        with Progress(len(missing), "image") as progress:
            failed = _restored_at(job, missing, progress)
    else:
        missing = list(range(len(stream)))
        failed = [
            (int(position), str(reason))
            for part in job.parts.arrays("unreadable", "reasons")
            for position, reason in zip(part["unreadable"], part["reasons"], strict=True)
        ]
    unreadable = [(stream.names[position], reason) for position, reason in failed]
    job.list_unreadable(unreadable, stream, cannot="be restored")
    before, after = _before_and_after(job)
    if len(before):
        rows = [
            image_grids.SampleRow(name, pictures, {})
            for name, pictures in (("input", before), ("restored", after))
        ]
        job.write_sheet("restore", image_grids.sampled_images(rows))
    return {
        "restored": len(missing) - len(unreadable),
        "there_already": len(stream) - len(missing),
        "unreadable": len(unreadable),
    }


def make_part(job: Job, positions: range, progress: Progress) -> dict[str, np.ndarray]:
    """Restores the images at some positions, those that are there too.

    Returns:
        What could not be restored: `unreadable`, int64 positions, and `reasons`, text.
    """
    failed = _restored_at(job, positions, progress)
    return {
        "unreadable": np.array([position for position, _ in failed], np.int64),
        "reasons": np.array([reason for _, reason in failed], np.str_),
    }


def _restored_at(job: Job, positions: Sequence[int], progress: Progress) -> list[tuple[int, str]]:
    """Writes the images at some positions; returns (position, reason) of those it cannot."""
    stream, settings = job.stream, job.settings
    failed: list[tuple[int, str]] = []
    pictures = zip(positions, stream.read(positions), strict=True)
    for group in _groups(pictures, settings.batch_size):
        names, prepared = [], []
        for position, picture in group:
            name = stream.names[position]
            made = picture if isinstance(picture, str) else _prepared(job, name, picture)
            if isinstance(made, str):
                failed.append((position, made))
                continue
            names.append(name)
            prepared.append(made)
        for name, restored in zip(names, _restored(job.model, prepared, settings), strict=True):
            job.files.write_picture(name, images.to_uint8(restored))
        progress.advance(len(group))
    return failed


def _before_and_after(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The first images as they were and as they were written, at the model's size.

    Both are float32 (num_shown, height, width, channels), empty where no image was readable.
    """
    shape = job.model.input_shape("reconstruct")
    names = job.stream.names
    written = (at for at, name in enumerate(names) if job.files.path(name).exists())
    positions = list(itertools.islice(written, _SHOWN))
    pairs = np.zeros((2, len(positions), *shape), np.float32)
    for row, (position, before) in enumerate(
        zip(positions, job.stream.read(positions), strict=True)
    ):
        after = images.decode(job.files.path(names[position]))
        for side, picture in enumerate((before, after)):
            if not isinstance(picture, str):
                fitted = loading.to_shape(picture, shape, resize=True, grey=True)
                pairs[side, row] = images.to_unit(fitted)
    return pairs[0], pairs[1]


def _groups(
    pictures: Iterator[tuple[int, np.ndarray | str]], batch_size: int
) -> Iterator[list[tuple[int, np.ndarray | str]]]:
    """Groups of pictures: a batch each, or fewer where they are large."""
    group: list[tuple[int, np.ndarray | str]] = []
    num_values = 0
    for item in pictures:
        group.append(item)
        num_values += 0 if isinstance(item[1], str) else item[1].size
        if len(group) == batch_size or num_values > _MOST_VALUES:
            yield group
            group, num_values = [], 0
    if group:
        yield group


def _prepared(job: Job, name: str, picture: np.ndarray) -> Prepared | str:
    """A picture as the model takes it, in its own size; or why the model cannot take it."""
    shape = job.model.input_shape("reconstruct")
    try:
        mask = job.masks.of(name, picture)
        fitted = loading.to_channels(picture, shape[-1], grey=job.settings.grey)
    except InputError as error:
        return str(error)
    if fitted.shape[0] < shape[0] or fitted.shape[1] < shape[1]:
        return (
            f"is {fitted.shape[0]} x {fitted.shape[1]} pixels, smaller than the model's "
            f"{shape[0]} x {shape[1]}: use a model that was trained on such images"
        )
    return images.to_unit(fitted), mask, min(picture.shape[-1], fitted.shape[-1])


def _restored(
    model: loading.LoadedModel, prepared: list[Prepared], settings: ApplySettings
) -> Iterator[np.ndarray]:
    """Each image as it is restored; the tiles of all images go through in full batches."""
    if not prepared:
        return
    seen = [
        image if mask is None else np.where(mask, np.float32(0.0), image)
        for image, mask, _ in prepared
    ]
    # Without holes one pass is made, as more would only blur an image.
    for _ in range(settings.passes or 1):
        outputs = _passed(seen, model, settings.batch_size)
        seen = [
            output if mask is None else np.where(mask, output, image)
            for output, (image, mask, _) in zip(outputs, prepared, strict=True)
        ]
    for (_, _, channels), restored in zip(prepared, seen, strict=True):
        # A grey image stays grey.
        is_grey = channels < restored.shape[-1]
        yield restored.mean(axis=-1, keepdims=True) if is_grey else restored


def _passed(
    pictures: list[np.ndarray], model: loading.LoadedModel, batch_size: int
) -> list[np.ndarray]:
    """Each picture after one pass through the model."""
    height, width, _ = model.input_shape("reconstruct")
    reconstruct = model.function("reconstruct")
    tiled = [tiles.TiledPicture(picture, height, width) for picture in pictures]
    places = [(picture, corner) for picture in tiled for corner in picture.corners]
    # A batch holds tiles of several small pictures, or some of the tiles of a large one.
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        outputs = reconstruct(np.stack([picture.tile(corner) for picture, corner in batch]))
        for (picture, corner), output in zip(batch, outputs, strict=True):
            picture.add(corner, output)
    return [picture.joined() for picture in tiled]
