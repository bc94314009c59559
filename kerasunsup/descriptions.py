"""What an autoencoder says of many images: their codes and how well it renders them.

Images are read and forgotten batch by batch; what is kept of each is its code. Blocks that are
done are kept on disk, so that a stopped work goes on where it was.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from kerasunsup import config, outputs, runs, streams, trained

_BLOCK = 8192  # images


@dataclasses.dataclass(frozen=True)
class Descriptions:
    """Of the readable images of a stream.

    Attributes:
        positions: int64 (num_readable,), in the stream.
        codes: float32 (num_readable, latent_dim).
        errors: float32 (num_readable,), mean squared error of each reconstruction; empty where it
            was not asked for.
        unreadable: (name, reason) of the others.
    """

    positions: np.ndarray
    codes: np.ndarray
    errors: np.ndarray
    unreadable: list[tuple[str, str]]


def change(model: trained.Trained, settings: config.ApplyConfig) -> streams.Change:
    """What brings a picture into the model's shape."""
    return functools.partial(
        trained.to_shape,
        shape=model.input_shape("encode"),
        resize=settings.resize,
        grey=settings.grey,
    )


def describe(
    model: trained.Trained,
    stream: streams.Stream,
    folder: Path,
    settings: config.ApplyConfig,
    *,
    errors: bool,
) -> Descriptions:
    """Codes, and errors where they are wanted, of every readable image.

    Args:
        model: that encodes, and reconstructs where errors are wanted.
        stream: the images.
        folder: where finished blocks are kept.
        settings: whose `batch_size`, `resize` and `grey` are used.
        errors: whether reconstruction errors are wanted.

    Raises:
        config.InputError: if an image does not fit the model.
    """
    (latent_dim,) = model.function("encode")(
        np.zeros((1, *model.input_shape("encode")), np.float32)
    ).shape[1:]
    blocks = []
    with outputs.Progress(len(stream), "image") as progress:
        for start in range(0, len(stream), _BLOCK):
            positions = range(start, min(start + _BLOCK, len(stream)))
            path = folder / f"{start:09d}.npz"
            if path.exists():
                block = runs.read_arrays(path)
                progress.advance(len(positions))
            else:
                block = _block(model, stream, positions, settings, errors, latent_dim, progress)
                runs.write_arrays(path, block)
            blocks.append(block)
    merged = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    unreadable = [
        (stream.names[position], str(reason))
        for position, reason in zip(merged["unreadable"], merged["reasons"], strict=True)
    ]
    return Descriptions(merged["positions"], merged["codes"], merged["errors"], unreadable)


def _block(
    model: trained.Trained,
    stream: streams.Stream,
    positions: range,
    settings: config.ApplyConfig,
    errors: bool,
    latent_dim: int,
    progress: outputs.Progress,
) -> dict[str, np.ndarray]:
    kept: list[int] = []
    codes = [np.empty((0, latent_dim), np.float32)]
    squared = [np.empty(0, np.float32)]
    unreadable: list[tuple[int, str]] = []
    encode = model.function("encode")
    shape_change = change(model, settings)
    for found, pixels, failed in stream.batches(positions, settings.batch_size, shape_change):
        unreadable += failed
        progress.advance(len(found) + len(failed))
        if not found:
            continue
        kept += found
        codes.append(encode(pixels))
        if errors:
            rendered = model.function("reconstruct")(pixels)
            squared.append(np.square(rendered - pixels).mean(axis=(1, 2, 3)))
    return {
        "positions": np.array(kept, np.int64),
        "codes": np.concatenate(codes),
        "errors": np.concatenate(squared),
        "unreadable": np.array([position for position, _ in unreadable], np.int64),
        "reasons": np.array([reason for _, reason in unreadable], np.str_),
    }
