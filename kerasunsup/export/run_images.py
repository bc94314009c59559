"""The images of a model's run, to compare files on and to calibrate integers by."""

from __future__ import annotations

import contextlib

import numpy as np

from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.export.parts import Part, Parts
from kerasunsup.training import trained_on

COMPARED = 64  # rows of the larger batch that files are compared on
_SEED = 0


def splits_of_run(parts: Parts) -> Splits:
    """The images that a model's run was trained on.

    Raises:
        InputError: if it stands alone, its images are gone, or others have taken their place.
    """
    if parts.run is None:
        raise InputError(f"MODEL {parts.path} belongs to no run that could tell its images")
    try:
        return trained_on.splits(parts.run)
    except InputError as error:
        raise InputError(
            f"the images that MODEL {parts.path} was trained on cannot be found ({error}): put "
            "them back"
        ) from error


def splits_at_hand(parts: Parts) -> Splits | None:
    """The images of a model's run; None where they cannot be had or are no images for it."""
    with contextlib.suppress(InputError):
        splits = splits_of_run(parts)
        shapes = [part.input_shape for part in parts.parts if part.input == "images"]
        if all(shape == splits.image_shape for shape in shapes):
            return splits
    return None


def inputs_for(
    part: Part, images: np.ndarray | None, encoder: Part | None, number: int
) -> np.ndarray:
    """What a part takes: images, their codes, or noise.

    Args:
        part: that the inputs are for.
        images: (n, height, width, channels) in [0, 1]; repeated where they are fewer than `number`;
            None takes random ones.
        encoder: of the same model, for codes of the images; None takes random codes.
        number: of rows.

    Returns:
        float32 (number, ...).
    """
    random = np.random.default_rng(_SEED)
    if part.input == "images":
        if images is None:
            return random.random((number, *part.input_shape), np.float32)
        return images[np.arange(number) % len(images)]
    if part.input == "codes" and encoder is not None:
        return in_blocks(encoder, inputs_for(encoder, images, None, number))
    return random.standard_normal((number, *part.input_shape), np.float32)


def in_blocks(part: Part, values: np.ndarray) -> np.ndarray:
    """The output of a part's own model, a block of rows at a time."""
    blocks = range(0, len(values), 256)
    return np.concatenate([part.reference(values[start : start + 256]) for start in blocks])
