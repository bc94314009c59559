"""`apply restore`: noise taken out of images and holes filled; names and sizes stay."""

from __future__ import annotations

from collections.abc import Iterator
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

    Images larger than the model's are restored in overlapping tiles. With `--mask` only the white
    pixels of the mask are replaced. The model sees them black first, as it was trained on holes,
    and in every further pass of `--passes` as the pass before left them.

    Raises:
        InputError: if an image or a mask does not fit.
    """
    stream, settings = job.stream, job.settings
    missing = [
        position for position, name in enumerate(stream.names) if not job.files.path(name).exists()
    ]
    unreadable: list[tuple[str, str]] = []
    num_restored = 0
    pictures = zip(missing, stream.read(missing), strict=True)
    with Progress(len(missing), "image") as progress:
        for group in _groups(pictures, settings.batch_size):
            names, prepared = [], []
            for position, picture in group:
                name = stream.names[position]
                if isinstance(picture, str):
                    unreadable.append((name, picture))
                    continue
                names.append(name)
                prepared.append(_prepared(job, name, picture))
            for name, restored in zip(names, _restored(job.model, prepared, settings), strict=True):
                job.files.write_picture(name, images.to_uint8(restored))
                num_restored += 1
            progress.advance(len(group))
    job.list_unreadable(unreadable, stream)
    before, after = _before_and_after(job)
    if len(before):
        rows = [
            image_grids.SampleRow("input", before, {}),
            image_grids.SampleRow("restored", after, {}),
        ]
        job.write_sheet("restore", image_grids.sampled_images(rows))
    return {
        "restored": num_restored,
        "there_already": len(stream) - len(missing),
        "unreadable": len(unreadable),
    }


def _before_and_after(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The first images as they were and as they were written, at the model's size.

    Returns:
        Two arrays float32 (num_shown, height, width, channels) in [0, 1]; empty where no image was
        readable.
    """
    shape = job.model.input_shape("reconstruct")
    names = job.stream.names
    written = (at for at, name in enumerate(names) if job.files.path(name).exists())
    positions = [position for position, _ in zip(written, range(_SHOWN), strict=False)]
    pairs = np.zeros((2, len(positions), *shape), np.float32)
    pictures = zip(positions, job.stream.read(positions), strict=True)
    for row, (position, before) in enumerate(pictures):
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


def _prepared(job: Job, name: str, picture: np.ndarray) -> Prepared:
    """A picture as the model takes it, in its own size."""
    shape = job.model.input_shape("reconstruct")
    mask = job.masks.of(name, picture)
    try:
        fitted = loading.to_channels(picture, shape[-1], grey=job.settings.grey)
    except InputError as error:
        raise InputError(f"{name} {error}") from None
    if fitted.shape[0] < shape[0] or fitted.shape[1] < shape[1]:
        raise InputError(
            f"{name} is {fitted.shape[0]} x {fitted.shape[1]} pixels, smaller than the model's "
            f"{shape[0]} x {shape[1]}: use a model that was trained on such images"
        )
    return images.to_unit(fitted), mask, min(picture.shape[-1], fitted.shape[-1])


def _restored(
    model: loading.LoadedModel, prepared: list[Prepared], settings: ApplySettings
) -> Iterator[np.ndarray]:
    """Each image as it is restored; the tiles of all images go through in full batches."""
    if not prepared:
        return
    height, width, _ = model.input_shape("reconstruct")
    reconstruct = model.function("reconstruct")
    layouts = [
        tiles.tile_layout(image.shape[0], image.shape[1], height, width) for image, _, _ in prepared
    ]
    seen = [
        image if mask is None else np.where(mask, np.float32(0.0), image)
        for image, mask, _ in prepared
    ]
    for _ in range(settings.passes_used):
        outputs = _passed(seen, layouts, reconstruct, settings.batch_size)
        seen = [
            output if mask is None else np.where(mask, output, image)
            for output, (image, mask, _) in zip(outputs, prepared, strict=True)
        ]
    for (_, _, channels), restored in zip(prepared, seen, strict=True):
        # A grey image stays grey.
        is_grey = channels < restored.shape[-1]
        yield restored.mean(axis=-1, keepdims=True) if is_grey else restored


def _passed(
    pictures: list[np.ndarray],
    layouts: list[tiles.TileLayout],
    reconstruct: loading.Function,
    batch_size: int,
) -> list[np.ndarray]:
    """Each picture after one pass through the model."""
    mosaics = [
        tiles.Mosaic(layout, picture.shape[-1])
        for picture, layout in zip(pictures, layouts, strict=True)
    ]
    # (index of a picture, which of its tiles). A batch holds tiles of several small pictures, or
    # some of the tiles of a large one.
    waiting: list[tuple[int, slice]] = []
    room = batch_size

    def flush() -> None:
        cut = [tiles.cut(pictures[index], layouts[index], selected) for index, selected in waiting]
        ends = np.cumsum([len(part) for part in cut])
        outputs = np.split(reconstruct(np.concatenate(cut)), ends[:-1])
        for (index, selected), part in zip(waiting, outputs, strict=True):
            mosaics[index].add(part, selected)
        waiting.clear()

    for index, layout in enumerate(layouts):
        start = 0
        while start < len(layout.corners):
            selected = slice(start, min(start + room, len(layout.corners)))
            waiting.append((index, selected))
            room -= selected.stop - start
            start = selected.stop
            if room == 0:
                flush()
                room = batch_size
    if waiting:
        flush()
    return [mosaic.picture() for mosaic in mosaics]
