"""What an autoencoder says of many images: their codes and how well it renders them.

Images are read and forgotten batch by batch; what is kept of each is its code. Blocks that are
done are kept on disk, so that a stopped work goes on where it was.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kerasunsup.apply import image_stream
from kerasunsup.apply.settings import ApplySettings
from kerasunsup.errors import InputError
from kerasunsup.models import loading
from kerasunsup.progress import Progress
from kerasunsup.training import files

_BLOCK = 8192  # images
_ALIKE = 8 / 255  # what blank scans differ by, and pictures that were rounded differently


@dataclasses.dataclass(frozen=True)
class Descriptions:
    """Of the readable images of a stream.

    Attributes:
        positions: int64 (num_readable,), in the stream.
        codes: float32 (num_readable, latent_dim).
        errors: float32 (num_readable,), mean squared error of each reconstruction; empty where it
            was not asked for.
        lowest: float32 (height, width, channels), the least value that each pixel has in any image.
        highest: the largest one.
        looks: uint8 (num_readable, bytes), what `look` says of each; empty without it.
        unreadable: (name, reason) of the others.
    """

    positions: np.ndarray
    codes: np.ndarray
    errors: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    looks: np.ndarray
    unreadable: list[tuple[str, str]]

    def are_alike(self, other: Descriptions | None = None) -> bool:
        """Whether all images, and those of the other if any, are the same but for rounding."""
        both = [self] if other is None else [self, other]
        highest = np.maximum.reduce([part.highest for part in both])
        lowest = np.minimum.reduce([part.lowest for part in both])
        return len(self.codes) > 1 and float((highest - lowest).max()) <= _ALIKE


def change(model: loading.Trained, settings: ApplySettings) -> image_stream.Change:
    """What brings a picture into the model's shape."""
    return functools.partial(
        loading.to_shape,
        shape=model.input_shape("encode"),
        resize=settings.resize,
        grey=settings.grey,
    )


def describe(
    model: loading.Trained,
    stream: image_stream.Stream,
    folder: Path,
    settings: ApplySettings,
    *,
    errors: bool,
    look: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Descriptions:
    """Codes, and errors where they are wanted, of every readable image.

    Args:
        model: that encodes, and reconstructs where errors are wanted.
        stream: the images.
        folder: where finished blocks are kept.
        settings: whose `batch_size`, `resize` and `grey` are used.
        errors: whether reconstruction errors are wanted.
        look: uint8 (height, width, 1|3) as it was read -> uint8 (bytes,) to be kept of it.

    Raises:
        InputError: if an image does not fit the model.
    """
    shape = model.input_shape("encode")
    (latent_dim,) = model.function("encode")(np.zeros((1, *shape), np.float32)).shape[1:]
    blocks = []
    with Progress(len(stream), "image") as progress:
        for start in range(0, len(stream), _BLOCK):
            positions = range(start, min(start + _BLOCK, len(stream)))
            path = folder / f"{start:09d}.npz"
            block = _kept(path)
            if block is None:
                block = _block(
                    model, stream, positions, settings, errors, look, latent_dim, progress
                )
                files.write_arrays(path, block)
            else:
                progress.advance(len(positions))
            blocks.append(block)
    merged = {name: np.concatenate([block[name] for block in blocks]) for name in _OF_EACH_IMAGE}
    unreadable = [
        (stream.names[position], str(reason))
        for block in blocks
        for position, reason in zip(block["unreadable"], block["reasons"], strict=True)
    ]
    lowest = np.minimum.reduce([block["lowest"] for block in blocks])
    highest = np.maximum.reduce([block["highest"] for block in blocks])
    return Descriptions(**merged, lowest=lowest, highest=highest, unreadable=unreadable)


_OF_EACH_IMAGE = ("positions", "codes", "errors", "looks")


def _kept(path: Path) -> dict[str, np.ndarray] | None:
    """A block that was finished before; None where there is none, or none that can be used."""
    if not path.exists():
        return None
    try:
        block = files.read_arrays(path)
    except InputError:  # damaged: its images are read once more
        return None
    return block if {*_OF_EACH_IMAGE, "lowest", "highest", "unreadable"} <= set(block) else None


def _block(
    model: loading.Trained,
    stream: image_stream.Stream,
    positions: range,
    settings: ApplySettings,
    errors: bool,
    look: Callable[[np.ndarray], np.ndarray] | None,
    latent_dim: int,
    progress: Progress,
) -> dict[str, np.ndarray]:
    kept: list[int] = []
    codes = [np.empty((0, latent_dim), np.float32)]
    squared = [np.empty(0, np.float32)]
    looks: list[np.ndarray] = []
    look_bytes = 0 if look is None else len(look(np.zeros((1, 1, 1), np.uint8)))
    unreadable: list[tuple[int, str]] = []
    encode, shape = model.function("encode"), model.input_shape("encode")
    lowest, highest = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
    to_shape = change(model, settings)

    def looked_at(picture: np.ndarray) -> np.ndarray:
        changed = to_shape(picture)
        if look is not None:
            looks.append(look(picture))
        return changed

    for found, pixels, failed in stream.batches(positions, settings.batch_size, looked_at):
        unreadable += failed
        progress.advance(len(found) + len(failed))
        if not found:
            continue
        kept += found
        codes.append(encode(pixels))
        lowest = np.minimum(lowest, pixels.min(axis=0))
        highest = np.maximum(highest, pixels.max(axis=0))
        if errors:
            rendered = model.function("reconstruct")(pixels)
            squared.append(np.square(rendered - pixels).mean(axis=(1, 2, 3)))
    return {
        "positions": np.array(kept, np.int64),
        "codes": np.concatenate(codes),
        "errors": np.concatenate(squared),
        "looks": np.array(looks, np.uint8).reshape(len(kept), look_bytes),
        "lowest": lowest,
        "highest": highest,
        "unreadable": np.array([position for position, _ in unreadable], np.int64),
        "reasons": np.array([reason for _, reason in unreadable], np.str_),
    }
