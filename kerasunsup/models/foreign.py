"""Models that other people made and that turn images into vectors, to serve as encoders.

`keras.applications` without its top is one: it gives vectors (batch, dim), or feature maps (batch,
height, width, channels), whose mean over all places is the vector.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasunsup.errors import InputError

if TYPE_CHECKING:
    import keras

_OWN_CLASSIFIER = "classifier"  # the name of the classifiers of this package


def is_encoder(model: keras.Model) -> bool:
    """Whether a Keras model maps one batch of images to vectors or maps, not to probabilities."""
    image, output = model.input_shape, model.output_shape
    if not (isinstance(image, tuple) and isinstance(output, tuple) and len(image) == 4):
        return False
    if len(output) == 4:
        return image != output
    return len(output) == 2 and model.name != _OWN_CLASSIFIER and not _ends_in_classes(model)


def _ends_in_classes(model: keras.Model) -> bool:
    """Whether the last layer gives probabilities of classes."""
    import keras

    last = model.layers[-1]
    while isinstance(last, keras.Model):
        last = last.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return True
    return getattr(last, "activation", None) in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    )


def checked_shape(path: Path, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """The (height, width, channels) of the images that a model takes.

    Args:
        path: of the model, for messages.
        shape: with the batch.

    Raises:
        InputError: if they are not fixed, the batch is, or there are not one or three channels.
    """
    size = tuple(number for number in shape[1:] if number is not None)
    if shape[0] is not None or len(size) < 3 or size[-1] not in (1, 3):
        raise InputError(
            f"MODEL {path} takes images of shape {tuple(shape)}: it must be (None, height, width, "
            "1 or 3), with a fixed height and width such as input_shape=(96, 96, 3)"
        )
    return size


def pooled(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A function whose results are vectors (batch, dim): the mean of maps over all places."""

    def vectors(values: np.ndarray) -> np.ndarray:
        found = function(values)
        return found.mean(axis=(1, 2)) if found.ndim == 4 else found

    return vectors


def signature_of(path: Path, loaded: Any) -> tuple[Any, str, str, tuple[int, ...]] | None:
    """The signature of a SavedModel that turns images into vectors or maps.

    Returns:
        (the signature, the name of its input, that of its output, (height, width, channels)); None
        if there is no such signature.

    Raises:
        InputError: if its images have no fixed size.
    """
    for name in ("serving_default", "serve"):
        signature = loaded.signatures.get(name)
        if signature is None:
            continue
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            continue
        ((argument, image),) = inputs.items()
        ((output, result),) = outputs.items()
        is_float = image.dtype.name == "float32"
        if is_float and image.shape.rank == 4 and result.shape.rank in (2, 4):
            return signature, argument, output, checked_shape(path, tuple(image.shape))
    return None
