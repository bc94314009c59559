"""The model card of a run: a `README.md` that tells a stranger what is in the folder.

Its front matter is what the Hugging Face Hub reads, so that a run's folder can be published as it
is. All of it comes from the run's own files; no number stands in it that `metrics.json` does not
hold.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasunsup import tensorflow_startup
from kerasunsup.errors import InputError
from kerasunsup.models.loading import SAMPLER_FILE
from kerasunsup.training import files
from kerasunsup.training.run_folder import Run

_NAME = "README.md"


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What differs between the experiments.

    Attributes:
        title: what the model is.
        text: what it does, and what its numbers are.
        task: the Hub's name for it, `pipeline_tag`.
        tags: that it is found by.
        metrics: name in metrics.json -> the Hub's name of the metric. Distances between sets of
            images are left out: they are measured in the features of a network of this package,
            and the Hub's `fid` means another.
        file: that holds the model.
        load: how it is used from Keras.
        signature: of the SavedModel that is shown: its name, input and output.
        others: names of the SavedModel's other signatures.
        verb: of `kerasunsup apply`, with its arguments; None where there is none.
    """

    title: str
    text: str
    task: str
    tags: tuple[str, ...]
    metrics: Mapping[str, str]
    file: str
    load: str
    signature: tuple[str, str, str]
    others: tuple[str, ...]
    verb: str | None


_KINDS = {
    "ae": _Kind(
        title="An autoencoder",
        text="It turns an image into a code of {latent_dim} numbers and the code back into an"
        " image. It was trained without labels.",
        task="image-feature-extraction",
        tags=("autoencoder", "unsupervised-learning", "representation-learning"),
        metrics={"test/mse": "mse", "test/psnr_db": "psnr", "test/ssim": "ssim"},
        file="model.keras",
        load='codes = model.get_layer("encoder").predict(images)\n'
        'reconstructions = model.get_layer("decoder").predict(codes)',
        signature=("encode", "images", "codes"),
        others=("decode", "reconstruct"),
        verb="encode . IMAGES --output ../codes",
    ),
    "gan": _Kind(
        title="A GAN",
        text="Its generator makes images from {noise_dim} normally distributed numbers. It was"
        " trained without labels. Distances between sets of images (`fid`, `kid`) are measured in"
        " the features of a network of this package, and are comparable only among its runs on"
        " the same data.",
        task="unconditional-image-generation",
        tags=("gan", "unsupervised-learning"),
        metrics={},
        file="generator.keras",
        load="noise = keras.random.normal((16, {noise_dim}))\nimages = model.predict(noise)",
        signature=("generate", "noise", "images"),
        others=("discriminate",),
        verb="generate . --count 100 --output ../images",
    ),
    "supervised": _Kind(
        title="A classifier",
        text="It is the best of a comparison: how well classifiers do with few labels, with and"
        " without an encoder that was trained without any.",
        task="image-classification",
        tags=("image-classification", "semi-supervised-learning"),
        metrics={"test/accuracy": "accuracy"},
        file="model.keras",
        load="probabilities = model.predict(images)",
        signature=("classify", "images", "probabilities"),
        others=(),
        verb=None,
    ),
}
_VARIATIONAL = dataclasses.replace(
    _KINDS["ae"],
    title="A variational autoencoder",
    text="It turns an image into a code of {latent_dim} numbers and the code back into an"
    " image. Codes were held near the standard normal distribution, so that it also makes images"
    " from {latent_dim} normally distributed numbers. It was trained without labels.",
    tags=("variational-autoencoder", *_KINDS["ae"].tags),
    load=_KINDS["ae"].load + "\nnoise = keras.random.normal((16, {latent_dim}))\n"
    'samples = model.get_layer("decoder").predict(noise)',
    others=(*_KINDS["ae"].others, "sample"),
)
_DENOISER = _Kind(
    title="A denoiser",
    text="It takes noise out of images, and fills holes where it was trained on such (`crop`), by"
    " a network with skips: it has no code. It was trained without labels.",
    task="image-to-image",
    tags=("denoising", "image-restoration", "unsupervised-learning"),
    metrics={"noise_0.4/psnr_db": "psnr", "noise_0.4/ssim": "ssim"},
    file="model.keras",
    load="restored = model.predict(images)",
    signature=("reconstruct", "images", "images"),
    others=(),
    verb="restore . IMAGES --output ../restored",
)


def write(run: Run, numbers: Mapping[str, float | None]) -> Path:
    """Writes the `README.md` of a run, in place of one from before it was resumed.

    It comes before `metrics.json`, by which a run is told to be finished.

    Args:
        run: with `config.json`, `environment.json` and its model files.
        numbers: what `metrics.json` will hold.

    Returns:
        The file.

    Raises:
        InputError: if one of the run's files is damaged.
        ValueError: if the experiment is none that leaves a model.
        OSError: if it cannot be written.
    """
    if run.experiment not in _KINDS:
        raise ValueError(f"{run.experiment} leaves no model: one of {', '.join(_KINDS)} does")
    known = {name: value for name, value in numbers.items() if value is not None}
    finite = {name: value for name, value in known.items() if math.isfinite(value)}
    settings = _read(run.folder / "config.json")
    made = _read(run.folder / "environment.json")
    sections = (
        _front_matter(run, settings, finite),
        _introduction(run, settings, made),
        _data(settings, made),
        "## Settings\n\nAll are in `config.json`, which `kerasunsup --config` takes.\n\n"
        + _table(settings, ("setting", "value")),
        "## Numbers\n\nMeasured by this run, on the test images where the name does not say"
        " otherwise; from `metrics.json`.\n\n"
        + _table({name: finite.get(name) for name in numbers}, ("number", "value")),
        _loading(run, settings),
        _licence(settings),
        _origin(run, made),
    )
    path = run.folder / _NAME
    text = tensorflow_startup.printable("\n\n".join(sections) + "\n")
    files.write_bytes(path, text.encode())
    return path


def _kind(run: Run, settings: Mapping[str, Any]) -> _Kind:
    if settings.get("skip"):
        return _DENOISER
    return _VARIATIONAL if settings.get("variational") else _KINDS[run.experiment]


def _read(path: Path) -> dict[str, Any]:
    values = files.read_json(path) if path.is_file() else {}
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged (no JSON object): remove it")
    return values


def _data_name(settings: Mapping[str, Any]) -> str:
    """What the images are called, without the folders of the machine that they lie on."""
    data = str(settings.get("data", "mnist"))
    return Path(data).name or data


def _front_matter(run: Run, settings: Mapping[str, Any], numbers: Mapping[str, Any]) -> str:
    """YAML; each value is written as JSON, which YAML includes."""
    kind, data = _kind(run, settings), _data_name(settings)
    fields: dict[str, Any] = {
        # Of images that are the user's own only the user can say it.
        "license": "mit" if settings.get("data") == "mnist" else "unknown",
        "library_name": "keras",
        "pipeline_tag": kind.task,
        "tags": ["keras", "kerasunsup", *kind.tags],
    }
    measured = {
        name: numbers[name]
        for name in kind.metrics
        if isinstance(numbers.get(name), int | float)  # null is what was not finite
    }
    if measured:
        fields["metrics"] = [kind.metrics[name] for name in measured]
        results = {
            "task": {"type": kind.task},
            "dataset": {"name": data, "type": data, "split": "test"},
            "metrics": [
                {"type": kind.metrics[name], "value": value, "name": name}
                for name, value in measured.items()
            ],
        }
        fields["model-index"] = [{"name": f"{run.experiment}/{run.name}", "results": [results]}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _introduction(run: Run, settings: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    kind = _kind(run, settings)
    text = f"# {kind.title} of {_shown(_data_name(settings))}\n\n{_filled(kind.text, settings)}"
    if "--quick" in made.get("command", ()):
        text += (
            "\n\nThis was a smoke run (`--quick`) on few images: its numbers say nothing about what"
            " such a model can do."
        )
    return text


def _data(settings: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    rows = {
        "name": _data_name(settings),
        "fingerprint": made.get("data"),
        "training images": settings.get("limit") or "all",
        "validation and test images": settings.get("test_limit") or "all",
        "resized to": settings.get("image_size") or "not resized",
    }
    return (
        "## Data\n\n"
        + _table(rows, ("data", "value"))
        + "\n\nThe fingerprint is a digest of every pixel, of the order and of the labels of the"
        " training, validation and test images: `--resume` takes no others."
    )


def _loading(run: Run, settings: Mapping[str, Any]) -> str:
    kind = _kind(run, settings)
    if not (run.folder / kind.file).is_file():
        return "## Use\n\nThis run left no model: none of its methods trains a network."
    images = "`images` are float32 (n, height, width, channels) in [0, 1]."
    name, given, output = kind.signature
    drawn = ("generate",) if (run.folder / SAMPLER_FILE).is_file() else ()
    others = f"  # others: {', '.join(kind.others + drawn)}" if kind.others else ""
    text = f"""\
## Use

In the run's folder. {images}

```python
import keras

model = keras.models.load_model("{kind.file}", compile=False)
{_filled(kind.load, settings)}
```

`export/` is a SavedModel, which needs TensorFlow alone:

```python
import tensorflow as tf

model = tf.saved_model.load("export")
{name} = model.signatures["{name}"]{others}
{output} = {name}({given}=tf.constant({given}))["{output}"]
```

With kerasunsup installed:

```
kerasunsup export . --format onnx
"""
    if kind.verb:
        text += f"kerasunsup apply {kind.verb}\n"
    text += "```"
    if drawn and settings.get("sampler") == "neighbors":
        text += (
            f"\n\n`{SAMPLER_FILE}` and `export/` hold codes of training images, which decode to"
            " about these images: whoever may not share them must not share these files."
        )
    return text


def _licence(settings: Mapping[str, Any]) -> str:
    text = "## Licence\n\nThe program, kerasunsup, is under the MIT licence."
    if settings.get("data") == "mnist":
        return (
            f"{text} MNIST is by Yann LeCun, Corinna Cortes and Christopher J.C. Burges, under "
            "Creative Commons Attribution-ShareAlike 3.0."
        )
    return (
        f"{text} Whether the weights may be passed on follows from the images: put their licence "
        "here and in place of `unknown` in the first lines of this file."
    )


def _origin(run: Run, made: Mapping[str, Any]) -> str:
    versions = made.get("versions")
    rows = {
        "run": f"{run.experiment}/{run.name}",
        "started": made.get("started"),
        "command": shlex.join(map(str, made.get("command", ()))),
        "seed": made.get("seed"),
        "commit": made.get("git_commit"),
        "python": made.get("python"),
        **(versions if isinstance(versions, dict) else {}),
    }
    known = {name: value for name, value in rows.items() if value is not None}
    return "## How it was made\n\n" + _table(known, ("what", "value"))


def _filled(text: str, settings: Mapping[str, Any]) -> str:
    for name in ("latent_dim", "noise_dim"):
        text = text.replace(f"{{{name}}}", str(settings.get(name)))
    return text


def _table(rows: Mapping[str, Any], head: tuple[str, str]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    lines += [f"| {_shown(name)} | {_shown(value)} |" for name, value in rows.items()]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    """A value in one cell of a table."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    text = " ".join(str(value).split())
    return "".join(f"\\{sign}" if sign in "|<*`[]\\" else sign for sign in text)
