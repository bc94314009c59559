"""Optimizers, and what keeps a network from learning its images by heart, off and on.

    python benchmarks/optimizers.py --output docs/optimizers.json --figure docs/optimizers.png

Trains the autoencoder of the study's shape with a constant learning rate, over seeds:

- by SGD with momentum, RMSprop, Adam and AdamW on all training images;
- by Adam with dropout, weight decay, noise on its input, deformed images or early stopping, one at
  a time, on all training images and on a few, where there is something to learn by heart.

Each optimizer has the learning rate, and each of the others the strength, that was best of a small
grid on validation images with the first seed; a choice at the end of its grid is marked. What is
reported are the last weights, but for early stopping, which keeps the best ones. Errors are mean
squared errors on clean images. Of the few images' validation the first 1,000 images count.

A training that is finished in `--logs` is not done again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import turns

from kerasunsup import tensorflow_startup

tensorflow_startup.import_tensorflow()

import keras  # noqa: E402

from kerasunsup.ae import experiment  # noqa: E402
from kerasunsup.ae.settings import AutoencoderSettings  # noqa: E402
from kerasunsup.data import batches  # noqa: E402
from kerasunsup.data import splits as data_splits  # noqa: E402
from kerasunsup.data.splits import Splits  # noqa: E402
from kerasunsup.errors import InputError  # noqa: E402
from kerasunsup.figures import curves, style  # noqa: E402
from kerasunsup.models import networks, optimizers  # noqa: E402
from kerasunsup.report import benchmarks as page_benchmarks  # noqa: E402
from kerasunsup.training import files, loop  # noqa: E402

_MOST_MEASURED = 10_000  # training images, for the error on what was learned
_FEW_VALIDATION = 1_000  # images; an epoch of few images would else be spent on validation
_POINTS = 40  # of a curve in the file


@dataclasses.dataclass(frozen=True)
class Training:
    """One training: how, and with which seed."""

    optimizer: str  # a key of `OPTIMIZERS`
    rate: float
    seed: int
    is_few: bool = False
    dropout: float = 0.0  # share of the hidden units that a step leaves out
    decay: float = 0.0  # decoupled, as `optimizers.adam` has it
    noise: float = 0.0  # standard deviation, on the input only; pixels are in [0, 1]
    deformation: float = 0.0  # strength, of training images; as `augmentation.deform` has it
    patience: int = 0  # epochs; 0 trains to the end and keeps the last weights

    @property
    def name(self) -> str:
        """Of its file."""
        parts = [f"{field.name}_{getattr(self, field.name)}" for field in dataclasses.fields(self)]
        return "-".join(parts)


# The loss is a mean over 784 pixels, so gradients are small and plain SGD needs large steps.
_ADAPTIVE = (0.0003, 0.001, 0.003, 0.01)
OPTIMIZERS: dict[str, tuple[Callable[[float, float], keras.Optimizer], tuple[float, ...]]] = {
    "sgd": (lambda rate, _: keras.optimizers.SGD(rate, momentum=0.9), (0.5, 1.0, 2.0, 4.0)),
    "rmsprop": (lambda rate, _: keras.optimizers.RMSprop(rate), _ADAPTIVE),
    "adam": (lambda rate, decay: optimizers.adam(rate, weight_decay=decay), _ADAPTIVE),
}
# Row -> optimizer and decay.
COMPARED = {
    "SGD, momentum 0.9": ("sgd", 0.0),
    "RMSprop": ("rmsprop", 0.0),
    "Adam": ("adam", 0.0),
    "AdamW, decay 0.01": ("adam", 0.01),
}
# Row -> the field of a training that it turns on, and its strengths.
REGULARIZERS: dict[str, tuple[str, tuple[float, ...]]] = {
    "dropout": ("dropout", (0.05, 0.2)),
    "weight decay": ("decay", (0.01, 0.1)),
    "noise": ("noise", (0.1, 0.3)),
    "deformation": ("deformation", (0.3, 1.0)),
    "early stopping": ("patience", (5,)),
}
NONE = "nothing"


class LastWeights(keras.callbacks.Callback):
    """The weights after the last epoch; `loop.fit` ends with the best."""

    weights: list[np.ndarray]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keeps them."""
        self.weights = self.model.get_weights()


def build(training: Training, settings: AutoencoderSettings, splits: Splits) -> keras.Model:
    """The package's own network with this optimizer; dropout and noise are layers put between."""
    model = experiment.build(settings, splits.image_shape, mean=loop.mean_pixel(splits))
    if training.dropout or training.noise:
        encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
        model = networks.autoencoder(
            disturbed(encoder, training.dropout, training.noise, training.seed),
            disturbed(decoder, training.dropout, 0.0, training.seed + 1),
        )
    make, _ = OPTIMIZERS[training.optimizer]
    model.compile(
        optimizer=make(training.rate, training.decay),
        loss="mean_squared_error",
        **loop.compile_options(),
    )
    return model


def disturbed(network: keras.Model, dropout: float, noise: float, seed: int) -> keras.Model:
    """The same layers, with noise on the input and dropout behind the hidden layer.

    Both are at work in training only, so that validation is on clean images.
    """
    inputs = keras.Input(network.input_shape[1:], name=network.inputs[0].name)
    x = keras.layers.GaussianNoise(noise, seed=seed)(inputs) if noise else inputs
    for layer in network.layers[1:]:  # a chain
        x = layer(x)
        if layer.name == "hidden" and dropout:
            x = keras.layers.Dropout(dropout, seed=seed)(x)
    return keras.Model(inputs, x, name=network.name)


def train(training: Training, options: argparse.Namespace, splits: Splits) -> dict[str, Any]:
    """One training and its errors; `failed` says why where there are none."""
    settings = AutoencoderSettings(
        epochs=options.few_epochs if training.is_few else options.epochs,
        learning_rate=training.rate,
        weight_decay=training.decay,
        patience=training.patience,
        seed=training.seed,
        precision="float32",
    )
    last = LastWeights()
    keras.backend.clear_session()
    with loop.machine(settings):
        model = build(training, settings, splits)
        try:
            fitted = loop.fit(
                model,
                splits,
                settings,
                None,
                deformation=training.deformation,
                recorders={"last": last},
            )
        except InputError as error:  # the loss is no number any more
            return {"failed": str(error)}
    if not training.patience:
        model.set_weights(last.weights)

    def error_on(images: Any) -> float:
        return float(model.evaluate(batches.evaluation_batches(images, 500), verbose=0))

    shown = splits.train.subset(np.arange(min(len(splits.train), _MOST_MEASURED)))
    return {
        "training_error": error_on(shown),
        "validation_error": error_on(splits.validation),
        "test_error": error_on(splits.test),
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history["val_loss"]),
        "seconds": round(fitted.seconds, 1),
        "curve": [float(value) for value in fitted.history["val_loss"]],
    }


class Trainings:
    """Trains what is not there yet, and keeps it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._known: dict[Training, dict[str, Any]] = {}
        everything = data_splits.load(AutoencoderSettings(limit=options.limit))
        few = data_splits.load(AutoencoderSettings(limit=options.few))
        part = few.validation.subset(np.arange(min(_FEW_VALIDATION, len(few.validation))))
        self._splits = {False: everything, True: dataclasses.replace(few, validation=part)}

    def num_images(self, is_few: bool) -> int:
        """Of the training set."""
        return len(self._splits[is_few].train)

    def numbers(self, training: Training) -> dict[str, Any]:
        """What `train` measures."""
        if training in self._known:
            return self._known[training]
        epochs = self.options.few_epochs if training.is_few else self.options.epochs
        images = self.num_images(training.is_few)
        path = self.options.logs / f"{images}_images_{epochs}_epochs" / f"{training.name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, train(training, self.options, self._splits[training.is_few]))
        numbers = self._known[training] = files.read_json(path)
        result = numbers.get("failed") or f"validation error {numbers['validation_error']:.5f}"
        print(f"{images:,} images, {training.name}: {result}", flush=True)
        return numbers

    def best(self, candidates: Sequence[Training]) -> Training:
        """The one with the lowest validation error.

        Raises:
            SystemExit: if all failed.
        """
        errors = {one: self.numbers(one).get("validation_error") for one in candidates}
        ended = {one: error for one, error in errors.items() if error is not None}
        if not ended:
            raise SystemExit(f"every training failed, among them {candidates[0].name}")
        return min(ended, key=lambda one: ended[one])

    def row(self, chosen: Training, **about: Any) -> dict[str, Any]:
        """Its numbers over all seeds; curves of at most `_POINTS` points."""
        every = [self.numbers(dataclasses.replace(chosen, seed=s)) for s in self.options.seeds]
        ended = [numbers for numbers in every if "failed" not in numbers]
        if not ended:
            raise SystemExit(f"every seed failed, among them {chosen.name}")
        longest = max(len(numbers["curve"]) for numbers in ended)
        shown = np.unique(np.linspace(0, longest - 1, min(longest, _POINTS)).round().astype(int))
        return {
            **about,
            "learning_rate": chosen.rate,
            "failed": len(every) - len(ended),
            **{
                name: [round(numbers[name], 6) for numbers in ended]
                for name in ended[0]
                if name != "curve"
            },
            "curve_epochs": (shown + 1).tolist(),
            # Of a training that was over before there is nothing.
            "curves": [
                [round(curve[i], 6) if i < len(curve) else None for i in shown]
                for curve in (numbers["curve"] for numbers in ended)
            ],
        }


def compare_optimizers(trainings: Trainings, seed: int) -> dict[str, Any]:
    """Row -> numbers, each optimizer with its own learning rate."""
    rows = {}
    for name, (optimizer, decay) in COMPARED.items():
        grid = OPTIMIZERS[optimizer][1]
        best = trainings.best([Training(optimizer, rate, seed, decay=decay) for rate in grid])
        rows[name] = trainings.row(
            best, tried=list(grid), is_at_an_end=best.rate in (grid[0], grid[-1])
        )
    return rows


def compare_regularizers(trainings: Trainings, seed: int, is_few: bool) -> dict[str, Any]:
    """Row -> numbers of Adam, with the learning rate that is best with nothing turned on."""
    grid = OPTIMIZERS["adam"][1]
    plain = trainings.best([Training("adam", rate, seed, is_few) for rate in grid])
    at_an_end = plain.rate in (grid[0], grid[-1])
    rows = {NONE: trainings.row(plain, tried=list(grid), is_at_an_end=at_an_end)}
    for name, (field, strengths) in REGULARIZERS.items():
        best = trainings.best([dataclasses.replace(plain, **{field: s}) for s in strengths])
        strength = getattr(best, field)
        rows[name] = trainings.row(best, tried=list(strengths), strength=strength)
    return rows


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Mean and standard deviation over the seeds, in Markdown."""
    lines = [
        "| | learning rate | strength | training error | validation error | test error "
        "| best epoch | epochs | failed | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    mean = functools.partial(map, "{:.0f}".format)
    for name, row in rows.items():
        cells = [f"{row['learning_rate']:g}{' (end)' if row.get('is_at_an_end') else ''}"]
        cells.append(f"{row['strength']:g}" if "strength" in row else "")
        for part in ("training", "validation", "test"):
            errors = row[f"{part}_error"]
            spread = f" ± {statistics.stdev(errors):.5f}" if len(errors) > 1 else ""
            cells.append(f"{statistics.fmean(errors):.5f}{spread}")
        cells += mean(statistics.fmean(row[key]) for key in ("best_epoch", "epochs"))
        cells += [str(row["failed"]), *mean([statistics.fmean(row["seconds"])])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, prints the tables, writes file and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20, help="with all images")
    parser.add_argument("--limit", type=int, help="use so many training images for all")
    parser.add_argument("--few", type=int, default=1000, help="how many images are a few")
    parser.add_argument("--few-epochs", type=int, default=300, help="with the few images")
    parser.add_argument("--logs", type=Path, default=Path("logs") / "optimizers")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("--figure", type=Path, help="draw the validation errors, a PNG file")
    options = parser.parse_args()
    trainings, first = Trainings(options), options.seeds[0]
    most, few = (trainings.num_images(is_few) for is_few in (False, True))
    if few >= most:
        parser.error(f"--few {options.few} is to be less than all {most:,} training images")
    rows = {
        f"optimizers, {most:,} images": compare_optimizers(trainings, first),
        f"regularization, {most:,} images": compare_regularizers(trainings, first, is_few=False),
        f"regularization, {few:,} images": compare_regularizers(trainings, first, is_few=True),
    }
    for title, part in rows.items():
        print(f"\n{title}\n\n{table(part)}")
    if options.output:
        result = {
            "command": "python benchmarks/optimizers.py " + " ".join(sys.argv[1:]),
            "machine": turns.machine(),
            "seeds": options.seeds,
            "rows": rows,
        }
        files.write_json(options.output, result)
    if options.figure:
        figure = curves.compared_errors(page_benchmarks.panels_of(rows))
        files.write_bytes(options.figure, style.to_png(figure))


if __name__ == "__main__":
    main()
