"""Images with noise or holes, restored by an autoencoder: same names, same sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kerasunsup.apply import image_stream, output_folder, tiles
from kerasunsup.apply.settings import ApplySettings
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.models import loading
from kerasunsup.progress import Progress
from kerasunsup.settings import path_of

_SHOWN = 10  # images on the sheet


def restore(
    model: loading.Trained,
    stream: image_stream.Stream,
    masks: Masks,
    output: output_folder.Output,
    settings: ApplySettings,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Writes every image as the model restores it; those that are there already are left alone.

    Images larger than the model's are restored in overlapping tiles. With `--mask` only what is
    white in the mask is replaced. The model sees it black first, as it was trained on holes, and
    in every further pass of `--passes` as it came out of the pass before.

    Returns:
        (numbers, (name, reason) of unreadable images).

    Raises:
        InputError: if an image or a mask does not fit.
    """
    shape = model.input_shape("reconstruct")
    apply = model.function("reconstruct")
    missing = [
        position for position, name in enumerate(stream.names) if not output.path(name).exists()
    ]
    unreadable: list[tuple[str, str]] = []
    done = 0
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
                prepared.append(_prepared(name, picture, masks.of(name, picture), shape, settings))
            restored = _restored(prepared, apply, shape, settings)
            for name, result in zip(names, restored, strict=True):
                output.picture(name, images.to_uint8(result))
                done += 1
            progress.advance(len(group))
    return {"restored": done, "there_already": len(stream) - len(missing)}, unreadable


def shown(
    model: loading.Trained, stream: image_stream.Stream, output: output_folder.Output
) -> tuple[np.ndarray, np.ndarray]:
    """The first images before and after, as they lie in their folders, at the model's size.

    Returns:
        Two arrays float32 (num_shown, height, width, channels) in [0, 1]; none of the images may
        have been readable.
    """
    shape = model.input_shape("reconstruct")
    there = (at for at, name in enumerate(stream.names) if output.path(name).exists())
    positions = [position for position, _ in zip(there, range(_SHOWN), strict=False)]
    pairs = np.zeros((2, len(positions), *shape), np.float32)
    for row, (position, before) in enumerate(zip(positions, stream.read(positions), strict=True)):
        after = images.decode(output.path(stream.names[position]))
        for side, picture in enumerate((before, after)):
            if not isinstance(picture, str):
                fitted = loading.to_shape(picture, shape, resize=True, grey=True)
                pairs[side, row] = images.to_unit(fitted)
    return pairs[0], pairs[1]


def _groups(
    pictures: Iterator[tuple[int, np.ndarray | str]], batch_size: int
) -> Iterator[list[tuple[int, np.ndarray | str]]]:
    """Pictures together up to a batch, or up to 16 million pixels where they are large."""
    group: list[tuple[int, np.ndarray | str]] = []
    pixels = 0
    for item in pictures:
        group.append(item)
        pixels += 0 if isinstance(item[1], str) else item[1].size
        if len(group) == batch_size or pixels > 16_000_000:
            yield group
            group, pixels = [], 0
    if group:
        yield group


class Masks:
    """Where holes are: one mask for all images, one an image, or none.

    Args:
        place: of a picture or a folder, as the user gave it; None for no mask.
        stream: the images.

    Attributes:
        fingerprint: hex digest of the content of all masks; None without any.

    Raises:
        InputError: if a mask is missing or cannot be read.
    """

    def __init__(self, place: str | None, stream: image_stream.Stream) -> None:
        self._folder: Path | None = None
        self._mask: np.ndarray | None = None
        self.fingerprint: str | None = None
        if place is None:
            return
        path = path_of("--mask", place, is_written=False)
        files = [path]
        if path.is_dir():
            missing = [name for name in stream.names if not (path / name).is_file()]
            if missing:
                raise InputError(
                    f"--mask {place} lacks masks of {len(missing)} images, such as {missing[0]}: "
                    "add them under the images' own names, or give one mask for all"
                )
            self._folder = path
            files = [path / name for name in stream.names]
        else:
            self._mask = _read_mask(path)
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        self.fingerprint = digest.hexdigest()[:16]

    def of(self, name: str, picture: np.ndarray) -> np.ndarray | None:
        """Bool (height, width, 1), True in the hole; None where there are no masks."""
        mask = self._mask if self._folder is None else _read_mask(self._folder / name)
        if mask is not None and mask.shape[:2] != picture.shape[:2]:
            raise InputError(
                f"{name} is {picture.shape[0]} x {picture.shape[1]} pixels and its mask "
                f"{mask.shape[0]} x {mask.shape[1]}: give a mask of the image's size"
            )
        return mask


def _read_mask(path: Path) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"--mask {path} is not there: give a picture or a folder of them")
    try:
        return images.with_channels(images.decode(path), 1) > 127
    except ValueError as error:
        raise InputError(f"--mask {path} cannot be read ({error})") from error


def _prepared(
    name: str,
    picture: np.ndarray,
    mask: np.ndarray | None,
    shape: tuple[int, ...],
    settings: ApplySettings,
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """(image float32, mask, channels to be written)."""
    try:
        fitted = loading.to_channels(picture, shape[-1], grey=settings.grey)
    except InputError as error:
        raise InputError(f"{name} {error}") from None
    if fitted.shape[0] < shape[0] or fitted.shape[1] < shape[1]:
        raise InputError(
            f"{name} is {fitted.shape[0]} x {fitted.shape[1]} pixels, smaller than the model's "
            f"{shape[0]} x {shape[1]}: use a model that was trained on such images"
        )
    return images.to_unit(fitted), mask, min(picture.shape[-1], fitted.shape[-1])


def _restored(
    prepared: list[tuple[np.ndarray, np.ndarray | None, int]],
    apply: loading.Function,
    shape: tuple[int, ...],
    settings: ApplySettings,
) -> Iterator[np.ndarray]:
    """Each image restored, all tiles of all images in full batches."""
    if not prepared:
        return
    layouts = [
        tiles.plan(image.shape[0], image.shape[1], shape[0], shape[1]) for image, _, _ in prepared
    ]
    seen = [
        image if mask is None else np.where(mask, np.float32(0.0), image)
        for image, mask, _ in prepared
    ]
    for _ in range(settings.passes_used):
        made = _passed(seen, layouts, apply, settings.batch_size)
        seen = [
            result if mask is None else np.where(mask, result, image)
            for result, (image, mask, _) in zip(made, prepared, strict=True)
        ]
    for (_, _, channels), result in zip(prepared, seen, strict=True):
        # A grey image stays grey.
        yield result.mean(axis=-1, keepdims=True) if channels < result.shape[-1] else result


def _passed(
    pictures: list[np.ndarray],
    layouts: list[tiles.Plan],
    apply: loading.Function,
    batch_size: int,
) -> list[np.ndarray]:
    """What the model makes of each picture, once."""
    mosaics = [
        tiles.Mosaic(layout, picture.shape[-1])
        for picture, layout in zip(pictures, layouts, strict=True)
    ]
    # (picture, some of its tiles): a batch holds tiles of several small pictures or of a large one.
    waiting: list[tuple[int, slice]] = []
    room = batch_size

    def flush() -> None:
        cut = [tiles.cut(pictures[index], layouts[index], chosen) for index, chosen in waiting]
        made = apply(np.concatenate(cut))
        for (index, chosen), part in zip(
            waiting, np.split(made, np.cumsum([len(part) for part in cut])[:-1]), strict=True
        ):
            mosaics[index].add(part, chosen)
        waiting.clear()

    for index, layout in enumerate(layouts):
        start = 0
        while start < len(layout.corners):
            chosen = slice(start, min(start + room, len(layout.corners)))
            waiting.append((index, chosen))
            room -= chosen.stop - start
            start = chosen.stop
            if room == 0:
                flush()
                room = batch_size
    if waiting:
        flush()
    return [mosaic.picture() for mosaic in mosaics]
