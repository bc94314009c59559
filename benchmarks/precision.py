"""What bfloat16 costs and gives: quality over seeds, and speed in turns, beside float32.

    python benchmarks/precision.py --output docs/precision.json

Trains the autoencoder, classifiers and the GAN on the packaged MNIST in both with the same seeds,
and measures on validation images: the error of reconstructions, how many labels a nearest neighbour
among 10,000 codes has right, the accuracy of classifiers with 1,000 labels (its encoder fine-tuned,
and three convolutions from scratch), the Frechet distance of 10,000 samples to training images.
Times of trainings are given, but their ratio is that of `training.precision`, measured in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import turns

import kerasunsup as ku
from kerasunsup.ae import experiment as autoencoder
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import batches, splits
from kerasunsup.evaluation import neighbors
from kerasunsup.gan import experiment as gan
from kerasunsup.gan.settings import GANSettings
from kerasunsup.settings import Command
from kerasunsup.training import feature_network, precision, run_folder

ARITHMETICS = (precision.FLOAT32, precision.BFLOAT16)


_LABELS = 1000


def autoencoder_quality(arithmetic: str, seed: int, epochs: int, data: Any) -> dict[str, float]:
    """Numbers of one training of the autoencoder."""
    began = time.perf_counter()
    fitted = ku.Autoencoder(
        epochs=epochs, schedule="cosine", hidden_units=256, precision=arithmetic, seed=seed,
        verbose=0,
    ).fit(data.train, validation=data.validation)  # fmt: skip
    seconds = time.perf_counter() - began
    known, asked = fitted.transform(data.train)[:10_000], fitted.transform(data.validation)
    _, nearest = neighbors.nearest(known, asked, 1)
    right = data.train.labels[nearest[:, 0]] == data.validation.labels
    return {
        "validation_mse": -fitted.score(data.validation),
        "neighbor_accuracy": float(right.mean()),
        **classifier_quality(arithmetic, seed, fitted, data),
        "seconds": seconds,
    }


def classifier_quality(
    arithmetic: str, seed: int, encoder: ku.Autoencoder, data: Any
) -> dict[str, float]:
    """Accuracy of classifiers that are trained with 1,000 labels."""
    images, labels = data.train.images[:_LABELS], data.train.labels[:_LABELS]
    numbers = {}
    for method in ("finetuned", "convolutional"):
        fitted = ku.Classifier(
            encoder=encoder, method=method, precision=arithmetic, seed=seed, verbose=0
        ).fit(images, labels)
        numbers[f"{method}_accuracy"] = fitted.score(data.validation, data.validation.labels)
    return numbers


def gan_quality(arithmetic: str, seed: int, epochs: int, data: Any) -> dict[str, float]:
    """Numbers of one training of the GAN."""
    began = time.perf_counter()
    fitted = ku.GAN(epochs=epochs, precision=arithmetic, seed=seed, verbose=0).fit(data.train)
    seconds = time.perf_counter() - began
    network = feature_network.of_data(splits.load(GANSettings()), Path("logs") / "judge")
    reference = network.describe(data.train.images[:10_000])[0]
    measured = network.compare(fitted.sample(10_000, seed=1), reference)
    return {name: measured[name] for name in ("fid", "classifier_score")} | {"seconds": seconds}


def speed(settings: Any, build: Any, prepare: Any) -> dict[str, float]:
    """Seconds of a training step in both arithmetics, measured in turns."""
    data = splits.load(settings)
    element = next(iter(batches.training_batches(data.train, 128, seed=0, prepare=prepare)))
    return precision.seconds_a_step(lambda: build(settings, data.image_shape), element)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--autoencoder-epochs", type=int, default=10)
    parser.add_argument("--gan-epochs", type=int, default=5)
    parser.add_argument("--limit", type=int, help="use so many training images")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    data = ku.load_images("mnist", limit=arguments.limit)
    rows: dict[str, Any] = {}
    for name, measure, epochs in (
        ("autoencoder", autoencoder_quality, arguments.autoencoder_epochs),
        ("gan", gan_quality, arguments.gan_epochs),
    ):
        if not epochs:
            continue
        for seed in arguments.seeds:
            for arithmetic in ARITHMETICS:
                numbers = measure(arithmetic, seed, epochs, data)
                print(name, arithmetic, seed, numbers, flush=True)
                rows.setdefault(name, {}).setdefault(arithmetic, []).append(numbers)
    command = Command("benchmark", GANSettings(), Path("logs"), None, False, ())
    written = {
        "environment": run_folder.environment(command),
        "machine": turns.machine(),
        "epochs": {"autoencoder": arguments.autoencoder_epochs, "gan": arguments.gan_epochs},
        "seeds": arguments.seeds,
        "training_images": len(data.train),
        "quality": rows,
        "seconds_a_step": {
            "autoencoder": speed(AutoencoderSettings(), autoencoder.build, None),
            "gan": speed(GANSettings(), gan.build, gan.images_only),
        },
    }
    arguments.output.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    for name, both in rows.items():
        for quantity in both[ARITHMETICS[0]][0]:
            means = {
                one: statistics.mean(numbers[quantity] for numbers in both[one])
                for one in ARITHMETICS
            }
            spread = np.std([numbers[quantity] for numbers in both[ARITHMETICS[0]]])
            print(f"{name} {quantity}: {means}, spread of float32 over seeds {spread:.2g}")


if __name__ == "__main__":
    main()
