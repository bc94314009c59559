"""The parts of a trained model that become files: encoder, decoder, generator and so on."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.errors import InputError
from kerasunsup.models import loading

# What a model can do (see `models.loading`) -> the file's name, its input and its output. Files of
# one graph need two names where the SavedModels of this package say `images` twice.
_PARTS = {
    "encode": ("encoder", "images", "codes"),
    "decode": ("decoder", "codes", "images"),
    "reconstruct": ("autoencoder", "images", "reconstructions"),
    "generate": ("generator", "noise", "images"),
    "discriminate": ("discriminator", "images", "logits"),
    "classify": ("classifier", "images", "probabilities"),
}
_WHOLE = ("model.keras",)
_GAN = ("generator.keras", "discriminator.keras")


@dataclasses.dataclass(frozen=True)
class Part:
    """One model that becomes one file.

    Attributes:
        name: of the file, without its ending: `encoder`.
        function: what it does, as `models.loading` calls it: `encode`.
        model: float32, one input, one output named `output`; made of operations that every
            runtime knows. It shares its weights with the model that was opened.
        input: name of the input.
        output: name of the output.
        reference: the opened model's own function in float32, that files are compared with.
    """

    name: str
    function: str
    model: keras.Model
    input: str
    output: str
    reference: loading.Function

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What it takes, without the batch: (height, width, channels), or (dim,)."""
        return tuple(self.model.input_shape[1:])

    @property
    def specification(self) -> keras.InputSpec:
        """The input, with a free batch."""
        return keras.InputSpec(shape=(None, *self.input_shape), dtype="float32", name=self.input)


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of one model.

    Attributes:
        path: as the user gave it.
        run: the folder of the run that the model belongs to; None where it stands alone.
        folder: where files go by themselves, but for the format's name.
        fingerprint: hex digest of the model's files, joined by `-`.
        parts: in the order that they are written in.
    """

    path: Path
    run: Path | None
    fingerprint: str
    parts: tuple[Part, ...]

    def default_output(self, name: str) -> Path:
        """RUN/<name> for a run; beside a `.keras` file, with the file's name before it."""
        if self.path.suffix == ".keras" and self.path.is_file():
            return self.path.with_name(f"{self.path.stem}_{name}")
        if _is_saved_model(self.path):
            return self.path.resolve().parent / name
        return self.path / name

    def get(self, name: str) -> Part | None:
        """The part of a name; None where the model has none."""
        return next((part for part in self.parts if part.name == name), None)


def open_parts(path: Path) -> Parts:
    """Opens a model and takes it apart.

    Args:
        path: a run's folder, its `export/`, or a `.keras` file.

    Raises:
        InputError: if there is no model, or it cannot be used.
    """
    opened = [_open(file) for file in _keras_files(path)]
    parts = [part for _, found in opened for part in found]
    order = [name for name, _, _ in _PARTS.values()]
    return Parts(
        path=path,
        run=opened[0][0].run,
        fingerprint="-".join(trained.fingerprint for trained, _ in opened),
        parts=tuple(sorted(parts, key=lambda part: order.index(part.name))),
    )


def _is_saved_model(path: Path) -> bool:
    return (path / "saved_model.pb").is_file()


def _keras_files(path: Path) -> list[Path]:
    """The `.keras` files of a model; a SavedModel can be converted only by what stands there."""
    if path.suffix == ".keras" and path.is_file():
        return [path]
    folder = path.resolve().parent if _is_saved_model(path) else path
    for names in (_WHOLE, _GAN):
        files = [folder / name for name in names if (folder / name).is_file()]
        if files:
            return files
    if _is_saved_model(path) or _is_saved_model(path / "export"):
        raise InputError(
            f"MODEL {path} is a SavedModel without the .keras file of its run beside it, from which"
            " all formats are made: give the run's folder or a .keras file"
        )
    loading.open_model(path)  # says what is wrong
    raise InputError(f"MODEL {path} holds no .keras file: give a run's folder or a .keras file")


def _open(file: Path) -> tuple[loading.LoadedModel, list[Part]]:
    trained = loading.open_model(file)
    offered = [function for function in _PARTS if trained.offers(function)]  # or says what is wrong
    whole = keras.models.load_model(file, compile=False, safe_mode=True)
    if any(layer.compute_dtype != "float32" for layer in _layers(whole)):
        whole = _in_float32(whole)
    parts = []
    for function in offered:
        name, input_name, output_name = _PARTS[function]
        is_inside = function in ("encode", "decode") and "reconstruct" in offered
        model = whole.get_layer(name) if is_inside else whole
        parts.append(
            Part(
                name=name,
                function=function,
                model=_plain(model, name, output_name),
                input=input_name,
                output=output_name,
                reference=functools.partial(_apply, model),
            )
        )
    return trained, parts


def _apply(model: keras.Model, values: np.ndarray) -> np.ndarray:
    return np.asarray(model(values, training=False), np.float32)


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers, those inside of other models too."""
    return [
        layer
        for outer in model.layers
        for layer in (_layers(outer) if isinstance(outer, keras.Model) else [outer])
    ]


def _in_float32(model: keras.Model) -> keras.Model:
    """The same weights in layers that calculate in float32: no converter knows bfloat16."""
    description = json.dumps(keras.saving.serialize_keras_object(model))
    for precision in ("mixed_bfloat16", "mixed_float16"):
        description = description.replace(f'"{precision}"', '"float32"')
    plain = keras.saving.deserialize_keras_object(json.loads(description), safe_mode=True)
    plain.set_weights(model.get_weights())
    return plain


class _Largest(keras.layers.Layer):
    """The position of the largest value of each row, by TensorFlow's own operation.

    Keras's argmax compares bits to tell 0 from -0, which no other runtime knows; the result is the
    same but for these two.
    """

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """(batch, n) -> int32 (batch,)."""
        return tf.argmax(values, axis=-1, output_type=tf.int32)


class _OneHot(keras.layers.Layer):
    """1 at a position, 0 elsewhere, read from a table.

    LiteRT's own operation in 8-bit integers (TensorFlow 2.21) gives the same value everywhere.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self._num_classes = num_classes

    def call(self, positions: tf.Tensor) -> tf.Tensor:
        """int32 (batch,) -> float32 (batch, num_classes)."""
        return tf.gather(np.eye(self._num_classes, dtype=np.float32), positions)


def _plain(model: keras.Model, name: str, output_name: str) -> keras.Model:
    """The same layers as a model with a named output, of operations that every runtime knows."""

    def call(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        if type(layer).__name__ == "Argmax" and layer.axis == -1 and not layer.keepdims:
            return _Largest()(arguments[0])
        if (
            type(layer).__name__ == "OneHot"
            and layer.axis == -1
            and layer.dtype in (None, "float32")
        ):
            return _OneHot(layer.num_classes)(arguments[0])
        return layer(*arguments, **keywords)

    if any(type(operation).__name__ == "Argmax" for operation in getattr(model, "operations", ())):
        model = keras.models.clone_model(
            model, clone_function=lambda layer: layer, call_function=call
        )
    return keras.Model(model.inputs[0], {output_name: model.outputs[0]}, name=name)
