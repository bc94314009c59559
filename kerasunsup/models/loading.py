"""A trained model to be used: opened from a run's folder, its SavedModel or a `.keras` file.

A SavedModel is a program: its graph may read and write any file, and nothing in its folder can
vouch for it. A `.keras` file holds layers and weights, and Keras's safe mode lets no code in. So
where both stand, as in every run of this package, the `.keras` file is opened.

TensorFlow is loaded when a model's functions are first asked for, not when the model is found.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasunsup import tensorflow_startup
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.models import foreign

if TYPE_CHECKING:
    import keras

# What a model can do: name -> (input name, output name), as in the SavedModels of this package.
_SIGNATURES = {
    "reconstruct": ("images", "images"),
    "encode": ("images", "codes"),
    "decode": ("codes", "images"),
    "generate": ("noise", "images"),
    "discriminate": ("images", "logits"),
    "classify": ("images", "probabilities"),
}
_KERAS_FILES = ("model.keras", "generator.keras")  # in a run's folder, what its export/ holds too
SAMPLER_FILE = "sampler.npz"  # in the folder of an autoencoder's run: what draws new codes
_WORKS_WITH = {
    "reconstruct": "an autoencoder (kerasunsup ae)",
    "encode": "an autoencoder with a code (kerasunsup ae, without --skip)",
    "decode": "an autoencoder with a code (kerasunsup ae, without --skip)",
    "generate": "a GAN (kerasunsup gan) or an autoencoder",
}

Function = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Content:
    """What a model's files hold.

    Attributes:
        functions: name -> (the function, what it takes without the batch).
        keras_model: as the `.keras` file holds it; None for a SavedModel.
        is_foreign: whether it is an encoder that this package did not make.
    """

    functions: Mapping[str, tuple[Function, tuple[int, ...]]]
    keras_model: keras.Model | None = None
    is_foreign: bool = False


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model's functions, each from an array to an array, float32, any number of rows.

    The model's files are loaded, and TensorFlow with them, when a function is first asked for:
    then `InputError` is raised if they cannot be used.

    Attributes:
        path: as the user gave it.
        run: the folder of the run that it belongs to; None for a model that stands alone.
        fingerprint: hex digest of the model's files.
    """

    path: Path
    run: Path | None
    fingerprint: str
    _load: Callable[[], Content]

    @functools.cached_property
    def _content(self) -> Content:
        tensorflow_startup.import_tensorflow()
        try:
            return self._load()
        except InputError:
            raise
        except Exception as error:  # zipfile, json, h5py, Keras, TensorFlow each raise their own
            raise _damaged(self.path, error) from error

    @property
    def keras_model(self) -> keras.Model | None:
        """The model as the `.keras` file holds it; None for a SavedModel."""
        return self._content.keras_model

    @property
    def sampler_file(self) -> Path | None:
        """The file of what draws new codes, where one is kept with the run."""
        path = None if self.run is None else self.run / SAMPLER_FILE
        return path if path is not None and path.is_file() else None

    @property
    def is_foreign(self) -> bool:
        """Whether it is an encoder that this package did not make, of vectors of any meaning."""
        return self._content.is_foreign

    def offers(self, name: str) -> bool:
        """Whether the model has a function: `reconstruct`, `encode`, `decode`, `generate`..."""
        return name in self._content.functions

    def function(self, name: str) -> Function:
        """One of the model's functions.

        Raises:
            InputError: if the model has no such function.
        """
        return self._get(name)[0]

    def input_shape(self, name: str) -> tuple[int, ...]:
        """What a function takes, without the batch: (height, width, channels), or (dim,).

        Raises:
            InputError: if the model has no such function.
        """
        return self._get(name)[1]

    def _get(self, name: str) -> tuple[Function, tuple[int, ...]]:
        functions = self._content.functions
        if name not in functions:
            raise InputError(
                f"MODEL {self.path} can {' and '.join(sorted(functions))}, not {name}: give "
                f"{_WORKS_WITH[name]}"
            )
        return functions[name]


def open_model(path: Path, *, is_trusted: bool = False) -> LoadedModel:
    """A trained model, found and checked as far as that needs no TensorFlow.

    Args:
        path: a run's folder, a SavedModel's folder such as its `export/`, or a `.keras` file.
        is_trusted: whether a SavedModel without a `.keras` file beside it may be opened.

    Raises:
        InputError: if there is no model, or it may not be opened or read.
    """
    path = Path(os.path.expanduser(path))  # Path's own fails for an unknown user
    if path.suffix == ".keras" and path.is_file():
        return _found(path, path)
    exported = next(
        (at for at in (path / "export", path) if (at / "saved_model.pb").is_file()), None
    )
    run = path if exported != path else path.resolve().parent
    if exported != path or (run / "config.json").is_file():
        for file in (run / name for name in _KERAS_FILES):
            if file.is_file():
                return _found(path, file)
    if exported is not None:
        if not is_trusted:
            raise InputError(
                f"MODEL {path} is a SavedModel without the .keras file of its run beside it. It is "
                "a program that can do anything on this machine: give the run's folder or a .keras "
                "file, or add --trust-model if you know who made it"
            )
        return _found(path, exported)
    if (path / "config.json").is_file():
        raise InputError(
            f"MODEL {path} is a run without export/: it has not come to its end, go on with it by "
            "--resume"
        )
    received = "a folder without a model" if path.is_dir() else "no model"
    if not path.exists():
        received = "not there"
    raise InputError(
        f"MODEL {path} is {received}: give a run's folder such as logs/ae/RUN, its export/, or a "
        ".keras file"
    )


def _run_of(model: Path) -> Path | None:
    """The run that a SavedModel's folder or a `.keras` file lies in."""
    parent = model.resolve().parent
    return parent if (parent / "config.json").exists() else None


def _found(path: Path, place: Path) -> LoadedModel:
    """A model that lies in a `.keras` file or in a SavedModel's folder, not loaded yet."""
    is_keras = place.is_file()
    files = [place] if is_keras else sorted(file for file in place.rglob("*") if file.is_file())
    try:
        fingerprint = digest(files)
    except OSError as error:
        raise _damaged(path, error) from error
    load = functools.partial(_load_keras if is_keras else _load_saved_model, path, place)
    return LoadedModel(path, _run_of(place), fingerprint, load)


def _load_saved_model(path: Path, folder: Path) -> Content:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    functions = {}
    for name, (_, output) in _SIGNATURES.items():
        if name in loaded.signatures:
            signature = loaded.signatures[name]
            (argument,) = signature.structured_input_signature[1]
            shape = signature.structured_input_signature[1][argument].shape
            functions[name] = (
                _from_signature(loaded, signature, argument, output),
                tuple(shape[1:]),
            )
    if not functions:
        found = foreign.signature_of(path, loaded)
        if found is None:
            raise InputError(
                f"MODEL {path} has none of the signatures {', '.join(_SIGNATURES)}, and none that "
                "turns float32 images into vectors: give a model that this package exported, or "
                "one with such a serving_default"
            )
        signature, argument, output, shape = found
        encode = foreign.pooled(_from_signature(loaded, signature, argument, output))
        return Content({"encode": (encode, shape)}, is_foreign=True)
    return Content(functions)


def _from_signature(loaded: Any, signature: Any, argument: str, output: str) -> Function:
    import tensorflow as tf

    def function(values: np.ndarray, owner: Any = loaded) -> np.ndarray:
        # The loaded object owns the variables, and the function owns it.
        return signature(**{argument: tf.constant(values, tf.float32)})[output].numpy()

    return function


def _load_keras(path: Path, file: Path) -> Content:
    import keras

    model = keras.models.load_model(file, compile=False, safe_mode=True)
    found = parts(model)
    if set(found) <= {"classify"} and foreign.is_encoder(model):
        shape = foreign.checked_shape(path, model.input_shape)
        encode = foreign.pooled(from_model(model))
        return Content({"encode": (encode, shape)}, model, is_foreign=True)
    functions = {
        # What takes images must say their size; what takes vectors, how many numbers.
        name: (from_model(part), foreign.checked_shape(path, part.input_shape))
        if len(part.input_shape) == 4
        else (from_model(part), tuple(part.input_shape[1:]))
        for name, part in found.items()
    }
    if not functions:
        shapes = f"{model.input_shape} -> {model.output_shape}"
        raise InputError(
            f"MODEL {path} maps {shapes}: neither an autoencoder, a generator of images, nor an "
            "encoder, whose vectors are (batch, numbers) or (batch, height, width, channels)"
        )
    return Content(functions, model)


def parts(model: keras.Model) -> dict[str, keras.Model]:
    """What a Keras model can do, told by its layers and its shapes."""
    import keras

    layers = {layer.name: layer for layer in model.layers if isinstance(layer, keras.Model)}
    image_in, image_out = (
        isinstance(shape, tuple) and len(shape) == 4
        for shape in (model.input_shape, model.output_shape)
    )
    if image_in and image_out and model.input_shape == model.output_shape:
        named = {"encode": layers.get("encoder"), "decode": layers.get("decoder")}
        present = {name: part for name, part in named.items() if part is not None}
        # Codes of several parts, or maps, are no vectors.
        have_vectors = all(
            isinstance(shape, tuple) and len(shape) == 2
            for shape in (
                part.output_shape if name == "encode" else part.input_shape
                for name, part in present.items()
            )
        )
        return {"reconstruct": model, **(present if have_vectors else {})}
    is_vector_in = isinstance(model.input_shape, tuple) and len(model.input_shape) == 2
    if image_out and is_vector_in:
        return {"decode" if model.name == "decoder" else "generate": model}
    is_vector_out = isinstance(model.output_shape, tuple) and len(model.output_shape) == 2
    if image_in and is_vector_out:
        names = {"encoder": "encode", "discriminator": "discriminate"}
        return {names.get(model.name, "classify"): model}
    return {}


def from_model(model: keras.Model) -> Function:
    """A Keras model as a function from an array to an array, float32, any number of rows."""
    import tensorflow as tf

    specification = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    traced = tf.function(
        lambda values: tf.cast(model(values, training=False), tf.float32),
        input_signature=[specification],
        autograph=False,
    )
    return lambda values: traced(tf.constant(values, tf.float32)).numpy()


def digest(files: list[Path]) -> str:
    """The first 16 hex digits of a digest of the content of files."""
    joined = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            joined.update(hashlib.file_digest(content, "sha256").digest())
    return joined.hexdigest()[:16]


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(
        f"MODEL {path} cannot be loaded ({type(error).__name__}: {reason}): it is damaged or made "
        "by other software; export it anew"
    )


def to_shape(
    picture: np.ndarray, shape: tuple[int, ...], *, resize: bool, grey: bool
) -> np.ndarray:
    """A picture in the shape that a model takes.

    A grey picture becomes colour for a model of colour images, and one whose three channels agree
    becomes grey; nothing is lost by either.

    Args:
        picture: uint8 (height, width, 1|3).
        shape: (height, width, channels) of the model.
        resize: whether another size may be resized.
        grey: whether colour may be turned to grey.

    Returns:
        uint8 of that shape.

    Raises:
        InputError: if the picture does not fit and may not be changed; the text needs the
            image's name before it.
    """
    picture = to_channels(picture, shape[-1], grey=grey)
    if picture.shape[:2] != tuple(shape[:2]):
        if not resize:
            (height, width), (other_height, other_width) = picture.shape[:2], shape[:2]
            raise InputError(
                f"is {height} x {width} pixels, the model takes {other_height} x {other_width}: "
                "add --resize, or use a model that was trained on such images"
            )
        picture = images.resize(picture, shape[0], shape[1])
    return picture


def to_channels(picture: np.ndarray, channels: int, *, grey: bool) -> np.ndarray:
    """A picture, uint8 (height, width, 1|3), with the channels that a model takes.

    Raises:
        InputError: if it is in colour, the model is not, and `grey` does not allow the change.
    """
    if picture.shape[-1] == 1 or channels == 3:
        return images.with_channels(picture, channels)
    if (picture == picture[..., :1]).all():
        return picture[..., :1]
    if not grey:
        raise InputError(
            "is in colour, the model takes grey images: add --grey, or use a model that was "
            "trained on colour"
        )
    return images.with_channels(picture, 1)
