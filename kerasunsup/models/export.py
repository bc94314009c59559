"""SavedModels with named signatures, reloaded and compared before they are called done."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.training import files

# A reloaded signature runs as another graph; fused kernels may round differently.
TOLERANCE = 1e-5


def write_saved_model(
    folder: Path,
    signatures: Mapping[str, tuple[keras.Model, str, str]],
    examples: Mapping[str, np.ndarray],
) -> None:
    """Writes a SavedModel, reloads it and compares every signature with its model.

    It is written under a temporary name and takes the place of an older one only when it agrees.

    Args:
        folder: where it ends up.
        signatures: name -> (functional model, input name, output name). The first is also
            `serving_default`. The batch size is free, all tensors are float32.
        examples: signature name -> input of a few rows to compare on.

    Raises:
        RuntimeError: if a reloaded signature differs from its model by more than `TOLERANCE`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(files.part_name(folder.name))
    temporary.mkdir()  # not mkdtemp: its 0700 would keep a shared logs folder from others
    try:
        archive = keras.export.ExportArchive()
        for name, (model, input_name, output_name) in signatures.items():
            archive.track(model)
            archive.add_endpoint(
                name,
                _endpoint(model, input_name, output_name),
                input_signature=[
                    keras.InputSpec(
                        shape=(None, *model.input_shape[1:]), dtype="float32", name=input_name
                    )
                ],
            )
        # It prints the endpoints, and TensorFlow warns of the Keras variables' old name scopes.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            archive.write_out(str(temporary), verbose=False)
        reloaded = tf.saved_model.load(str(temporary))
        for name, (model, input_name, output_name) in signatures.items():
            difference = _difference(reloaded, name, model, input_name, output_name, examples[name])
            if not difference <= TOLERANCE:
                raise RuntimeError(
                    f"the exported signature {name} differs from its model by {difference:.2g}, "
                    f"at most {TOLERANCE:g} is allowed: {folder} was not written"
                )
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_keras(path: Path, model: keras.Model) -> None:
    """Writes a `.keras` file, atomically; the model is saved without its training state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{files.part_name(path.stem)}.keras")  # Keras insists on the suffix
    try:
        # A fresh model around the same layers: its file names no optimizer of this package.
        keras.Model(model.input, model.output, name=model.name).save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _endpoint(
    model: keras.Model, input_name: str, output_name: str
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function whose one argument has the signature's input name."""

    def function(value: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output_name: tf.cast(model(value, training=False), tf.float32)}

    # TensorFlow names the signature's keyword after the argument.
    parameter = inspect.Parameter(input_name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    function.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
    return function


def _difference(
    reloaded: object, name: str, model: keras.Model, input_name: str, output_name: str,
    example: np.ndarray,
) -> float:  # fmt: skip
    signature = reloaded.signatures[name]  # type: ignore[attr-defined]
    result = signature(**{input_name: tf.constant(example)})[output_name].numpy()
    return largest_difference(result, np.asarray(model(example, training=False), np.float32))


def largest_difference(result: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference; as a share of the largest value where that is above 1.

    Images and probabilities are compared as they are. Codes and logits may be of any size, and
    float32 rounds in proportion to it.

    Args:
        result: of any shape.
        expected: of the same shape.

    Returns:
        The difference, at least 0; NaN if either holds one.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> float(largest_difference(np.array([0.5, 0.25]), np.array([0.5, 0.5])))
        0.25
        >>> float(largest_difference(np.array([10.0, 5.0]), np.array([10.0, 6.0])))
        0.1
    """
    if result.shape != expected.shape:
        raise ValueError(f"shapes differ: received {result.shape}, expected {expected.shape}")
    largest = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    return float(np.max(np.abs(result - expected), initial=0.0)) / largest


def _replace(temporary: Path, folder: Path) -> None:
    """Puts a new folder in an old one's place; a rename cannot overwrite a full folder."""
    if folder.exists():
        old = folder.with_name(files.part_name(f"{folder.name}.old"))
        os.replace(folder, old)
        os.replace(temporary, folder)
        shutil.rmtree(old)
    else:
        os.replace(temporary, folder)
