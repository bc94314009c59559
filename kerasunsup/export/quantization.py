"""What 8-bit integers lose: the numbers of a run's test images, before and after."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.export import run_images
from kerasunsup.export.parts import Part, Parts
from kerasunsup.models.loading import Function
from kerasunsup.training import feature_network

_NUM_NOISE = 1000  # rows of noise that a generator is compared on


def calibration_of(part: Part, parts: Parts, splits: Splits, number: int) -> np.ndarray:
    """What the ranges of a part's layers are taken from: training images, their codes, or noise.

    Args:
        part: that is to be calibrated.
        parts: of the model.
        splits: the images of its run.
        number: of images.

    Returns:
        float32 (at most `number`, ...).
    """
    number = min(number, len(splits.train))
    images = splits.train.array(np.arange(number))
    return run_images.inputs_for(part, images, parts.get("encoder"), number)


def loss_of(part: Part, quantized: Function, parts: Parts, splits: Splits) -> dict[str, float]:
    """The part's numbers on the run's test images, by float32 and by integers.

    Args:
        part: that was quantized.
        quantized: the integer file, as a function of floats.
        parts: of the model.
        splits: the images of its run.

    Returns:
        `float32/<number>` and `int8/<number>`: `test/mse` of images that an autoencoder gives back
        (an encoder works with the float decoder, a decoder with the float encoder), in [0, 1];
        `test/accuracy` of a classifier. Where there is no such number, `int8/difference_mse` and
        `int8/difference_largest` to what float32 gives, and for a discriminator
        `int8/same_answer`, the share of test images that it calls real or generated alike.
    """
    if part.name == "classifier" and splits.labels is not None:
        return _accuracies(part, quantized, splits)
    encoder, decoder = parts.get("encoder"), parts.get("decoder")
    if part.name == "autoencoder":
        return _errors(splits, part.reference, quantized)
    if part.name == "encoder" and decoder is not None:
        return _errors(
            splits,
            lambda images: decoder.reference(part.reference(images)),
            lambda images: decoder.reference(quantized(images)),
        )
    if part.name == "decoder" and encoder is not None:
        return _errors(
            splits,
            lambda images: part.reference(encoder.reference(images)),
            lambda images: quantized(encoder.reference(images)),
        )
    return _differences(part, quantized, splits)


def _errors(splits: Splits, by_float: Function, by_integers: Function) -> dict[str, float]:
    sums = {"float32/test/mse": 0.0, "int8/test/mse": 0.0}
    for images in _batches(splits):
        for name, function in zip(sums, (by_float, by_integers), strict=True):
            sums[name] += float(np.sum(np.square(function(images) - images), dtype=np.float64))
    count = len(splits.test) * int(np.prod(splits.image_shape))
    return {name: total / count for name, total in sums.items()}


def _accuracies(part: Part, quantized: Function, splits: Splits) -> dict[str, float]:
    if splits.labels is None:
        raise ValueError("an accuracy needs labels")
    classes = feature_network.classes_of(splits)
    accuracies = {}
    for name, function in (("float32", part.reference), ("int8", quantized)):
        probabilities = np.concatenate([function(images) for images in _batches(splits)])
        predictions = classes[probabilities.argmax(axis=1)]
        accuracies[f"{name}/test/accuracy"] = classifier_metrics.accuracy(
            splits.labels.test, predictions
        )
    return accuracies


def _differences(part: Part, quantized: Function, splits: Splits) -> dict[str, float]:
    if part.input == "images":
        batches = _batches(splits)
    else:
        noise = run_images.inputs_for(part, None, None, _NUM_NOISE)
        batches = iter(np.split(noise, 10))
    by_float, by_integers = (
        np.concatenate(outputs)
        for outputs in zip(
            *((part.reference(batch), quantized(batch)) for batch in batches), strict=True
        )
    )
    difference = by_integers - by_float
    numbers = {
        "int8/difference_mse": float(np.mean(np.square(difference), dtype=np.float64)),
        "int8/difference_largest": float(np.max(np.abs(difference))),
    }
    if part.name == "discriminator":
        numbers["int8/same_answer"] = float(np.mean((by_float > 0) == (by_integers > 0)))
    return numbers


def _batches(splits: Splits) -> Iterator[np.ndarray]:
    size = 250
    for start in range(0, len(splits.test), size):
        yield splits.test.array(np.arange(start, min(start + size, len(splits.test))))
