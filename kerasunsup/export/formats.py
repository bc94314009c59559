"""Each format: how a part becomes a file, and how that file runs in its own runtime."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.errors import InputError
from kerasunsup.export.parts import Part
from kerasunsup.models import export
from kerasunsup.models.loading import Function

# Format -> the ending of its file; SavedModel is a folder.
ENDINGS = {"onnx": ".onnx", "litert": ".tflite", "openvino": ".xml", "savedmodel": ""}
# In the SavedModels of this package an autoencoder gives `images` for `images`.
_SIGNATURE_OUTPUTS = {"reconstructions": "images"}


def write(part: Part, file_format: str, folder: Path, example: np.ndarray) -> Path:
    """Converts a part.

    Args:
        part: to convert.
        file_format: one of `ENDINGS`.
        folder: where the file goes.
        example: a few rows of its input.

    Returns:
        The file that a runtime is given; OpenVINO's weights lie beside it.

    Raises:
        InputError: if it cannot be converted.
        OSError: if it cannot be written.
    """
    path = folder / f"{part.name}{ENDINGS[file_format]}"
    with _own_lines_only(), _one_line(part, file_format):
        if file_format == "savedmodel":
            _write_saved_model(path, part, example)
        else:
            more = {} if file_format != "litert" else {"target_spec": _only_builtin(int8=False)}
            part.model.export(
                str(path),
                format=file_format,
                verbose=False,
                input_signature=[part.specification],
                **more,
            )
    return path


def write_int8(part: Part, folder: Path, calibration: np.ndarray) -> Path:
    """Converts a part to LiteRT in 8-bit integers, input and output too.

    Args:
        part: to convert.
        folder: where the file goes.
        calibration: rows of its input; the range of every layer is taken from them.

    Raises:
        InputError: if it cannot be converted.
        OSError: if it cannot be written.
    """
    path = folder / f"{part.name}{ENDINGS['litert']}"
    with _own_lines_only(), _one_line(part, "litert"):
        part.model.export(
            str(path),
            format="litert",
            verbose=False,
            input_signature=[part.specification],
            optimizations=[tf.lite.Optimize.DEFAULT],
            representative_dataset=lambda: ([row[None]] for row in calibration),
            target_spec=_only_builtin(int8=True),
            inference_input_type=tf.int8,
            inference_output_type=tf.int8,
        )
    return path


def load(part: Part, file_format: str, path: Path) -> Function:
    """A written file in its own runtime, as a function of any number of rows.

    Raises:
        InputError: if the runtime does not take it.
    """
    with _own_lines_only(), _one_line(part, file_format):
        function = _LOADERS[file_format](part, path)

    def quiet(values: np.ndarray) -> np.ndarray:
        with _own_lines_only(), _one_line(part, file_format):
            return function(values)

    return quiet


def _write_saved_model(path: Path, part: Part, example: np.ndarray) -> None:
    """A SavedModel with the signatures of this package's own, of one part alone."""
    output = _SIGNATURE_OUTPUTS.get(part.output, part.output)
    model = keras.Model(part.model.inputs[0], part.model.outputs[0], name=part.name)
    export.write_saved_model(
        path, {part.function: (model, part.input, output)}, {part.function: example}
    )


def _only_builtin(*, int8: bool) -> dict[str, Any]:
    """What LiteRT itself can do: an app need not link TensorFlow's kernels."""
    sets = tf.lite.OpsSet
    return {"supported_ops": [sets.TFLITE_BUILTINS_INT8 if int8 else sets.TFLITE_BUILTINS]}


def _load_onnx(part: Part, path: Path) -> Function:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda values: session.run([part.output], {part.input: values})[0]


def _load_openvino(part: Part, path: Path) -> Function:
    import openvino

    # On some processors it would calculate in bfloat16 by itself.
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", precision)
    return lambda values: np.array(model({part.input: values})[model.output(0)])


def _load_saved_model(part: Part, path: Path) -> Function:
    loaded = tf.saved_model.load(str(path))
    output = _SIGNATURE_OUTPUTS.get(part.output, part.output)

    def function(values: np.ndarray, owner: Any = loaded) -> np.ndarray:
        # The loaded object owns the variables, and the function owns it.
        signature = owner.signatures[part.function]
        return signature(**{part.input: tf.constant(values)})[output].numpy()

    return function


def _load_litert(part: Part, path: Path) -> Function:
    interpreter = _interpreter()(str(path))
    # Read once: each of these runs through the whole model's description.
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    runner = interpreter.get_signature_runner()

    def function(values: np.ndarray) -> np.ndarray:
        if taken["dtype"] == np.int8:
            values = to_integers(values, *taken["quantization"])
        result = runner(**{part.input: values})[part.output]
        if given["dtype"] == np.int8:
            result = from_integers(result, *given["quantization"])
        return result

    return function


def _interpreter() -> type:
    """LiteRT's interpreter, of TensorFlow as long as it has one."""
    if hasattr(tf.lite, "Interpreter"):
        return tf.lite.Interpreter
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter


def quantization_of(path: Path) -> dict[str, tuple[float, int]]:
    """`input` and `output` of an integer file -> (scale, zero point)."""
    with _own_lines_only():
        interpreter = _interpreter()(str(path))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    return {"input": taken["quantization"], "output": given["quantization"]}


def to_integers(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """The int8 values that stand for floats; what is out of their range becomes the nearest."""
    return np.clip(np.round(values / scale) + zero_point, -128, 127).astype(np.int8)


def from_integers(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """The float32 values that int8 values stand for."""
    return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)


_LOADERS: dict[str, Callable[[Part, Path], Function]] = {
    "onnx": _load_onnx,
    "litert": _load_litert,
    "openvino": _load_openvino,
    "savedmodel": _load_saved_model,
}


@contextlib.contextmanager
def _one_line(part: Part, file_format: str) -> Iterator[None]:
    """Turns what a converter or a runtime raises into one line."""
    try:
        yield
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # each library raises its own
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the {part.name} cannot be had as {file_format} ({type(error).__name__}: {reason}): "
            "choose another --format"
        ) from error


@contextlib.contextmanager
def _own_lines_only() -> Iterator[None]:
    """Keeps the notes of converters and runtimes from the terminal; an error is raised anyway.

    They come from C++ and through loggers, on both streams.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    originals = {number: os.dup(number) for number in (1, 2)}
    levels = {name: logging.getLogger(name).level for name in ("tf2onnx", "openvino")}
    with tempfile.TemporaryFile() as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        for number in originals:
            os.dup2(caught.fileno(), number)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, original in originals.items():
                os.dup2(original, number)
                os.close(original)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
