"""What a trained GAN's samples are worth: its numbers and figures."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasunsup.data import images
from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import generative_metrics, image_metrics, neighbors
from kerasunsup.figures import curves, image_grids, style
from kerasunsup.gan.measurements import (
    SHEET,
    fixed_noise,
    generate,
    generate_blocks,
    shown_epochs,
)
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import gan as models_gan
from kerasunsup.training import callbacks, feature_network, files, loop
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

SHOWN = 12  # samples a row in the pictures, always of the same noise
_WALK_STEPS = 12
_WALKS = 6  # in the picture
_MEASURED_WALKS = 50
_MOST_CATEGORIES = 16  # in a picture
_NEAREST = 2000
_LEAST_NEAREST = 20  # samples and test images; fewer distances say nothing of their median
_SEARCHED = 60_000  # training images


@dataclasses.dataclass(frozen=True)
class TrainedGAN:
    """A trained GAN with its data, and where its pictures go."""

    gan: models_gan.GAN
    splits: Splits
    settings: GANSettings
    run: Run
    network: feature_network.FeatureNetwork
    tensorboard: training_tensorboard.TensorBoardWriter


def write_results(
    trained: TrainedGAN, fitted: loop.Fitted, samples: callbacks.Snapshots
) -> dict[str, float]:
    """All numbers of a trained GAN, as `metrics.json` holds them; writes its figures too."""
    numbers: dict[str, float] = {
        "epochs": len(fitted.history["epoch"]),
        "training_seconds": fitted.seconds,
    }
    write_training_figures(trained, fitted, samples)
    logger.info("measuring samples beside real images")
    numbers |= comparisons(trained)
    logger.info("searching the nearest training images")
    noise = fixed_noise(trained.settings, trained.settings.num_samples)[:_NEAREST]
    pictures = generate(trained.gan.averaged_generator, noise)
    numbers |= copies(trained, pictures)
    numbers |= noise_walks(trained)
    sheet = images.grid(pictures[:SHEET], columns=10)
    trained.run.write_figure("samples", images.encode_png(sheet))
    step = len(fitted.history["epoch"])
    trained.tensorboard.figure("samples", sheet, step=step, text="At the end.")
    return image_metrics.finite(numbers)


def write_training_figures(
    trained: TrainedGAN, fitted: loop.Fitted, samples: callbacks.Snapshots
) -> None:
    """Samples of one fixed noise over the epochs (the study's figures 6 and 7), and the curves."""
    pairs = zip(samples.epochs, samples.outputs, strict=True)
    every = {epoch: image_grids.SampleRow(f"epoch {epoch}", made, {}) for epoch, made in pairs}
    # Of what was trained: patience may have ended it early, where other epochs were kept.
    wanted = shown_epochs(len(fitted.history["epoch"]))
    kept = np.array(list(every))
    chosen = {int(kept[np.abs(kept - epoch).argmin()]) for epoch in wanted}
    rows = [every[epoch] for epoch in sorted(chosen)]
    for name, shown in (("samples_first_epochs", rows[:4]), ("samples_last_epochs", rows[-4:])):
        figure = image_grids.sampled_images(shown)
        trained.tensorboard.show(name, figure, "Samples of the same noise after some epochs.")
    frames = [style.to_pixels(image_grids.sampled_images([row])) for row in every.values()]
    trained.tensorboard.show_moving("gan_progress", list(every), frames)
    trained.tensorboard.show(
        "adversarial_curves",
        curves.adversarial_curves(fitted.history),
        "Losses, shares that the discriminator gets right, distance to training images.",
    )


def comparisons(trained: TrainedGAN) -> dict[str, float]:
    """Samples beside the test images, and what the averages and the settled statistics give.

    `real/` is the same comparison of validation images, which the feature network was not trained
    on. `last_weights/` are samples of the weights of the last step with settled statistics,
    `running_statistics/` those of the last step with the statistics that training left.
    `diversity/CLASS` is how far samples of a class lie from each other, divided by the same of
    test images: well below 1 they are too much alike. `unsure_share` is the share of which the
    classifier gives no class 0.9 or more.
    """
    number, tests, network = trained.settings.num_samples, trained.splits.test, trained.network
    features, probabilities = network.describe(tests.blocks(number))
    real = network.compare(network.real_images(trained.splits, number), features)
    inputs = fixed_noise(trained.settings, number)
    averaged, last = trained.gan.averaged_generator, trained.gan.generator
    numbers = network.compare(generate_blocks(averaged, inputs), features)
    rows = {
        "real images": (tests.array(np.arange(min(SHOWN, len(tests)))), real),
        "samples": (generate(averaged, inputs[:SHOWN]), dict(numbers)),
    }
    for name in ("running_statistics", "last_weights"):
        if name == "last_weights":
            models_gan.settle_statistics(last)
        measured = network.compare(generate_blocks(last, inputs), features)
        rows[name.replace("_", " ")] = (generate(last, inputs[:SHOWN]), measured)
        numbers |= {f"{name}/{key}": value for key, value in measured.items()}
    feature_network.log_left_out(network, [measured for _, measured in rows.values()])
    numbers |= {f"real/{key}": value for key, value in real.items()}
    if "smallest_class_share" in numbers:
        usual = generative_metrics.class_spreads(features, np.asarray(probabilities))
        numbers |= _classes(trained, inputs, usual)
    if network.test_accuracy is not None:
        numbers["judge/accuracy"] = network.test_accuracy
    files.write_json(trained.run.folder / feature_network.IDENTITY, network.identity())
    shown_rows = [
        image_grids.SampleRow(name, shown, feature_network.columns(measured))
        for name, (shown, measured) in rows.items()
    ]
    trained.tensorboard.show(
        "comparison",
        image_grids.sampled_images(shown_rows),
        "Samples by the averaged and by the last weights; distance, score, precision, recall.",
    )
    return numbers


def _classes(trained: TrainedGAN, inputs: np.ndarray, usual: np.ndarray) -> dict[str, float]:
    """The share of each class among samples, and how diverse these are beside test images."""
    blocks = generate_blocks(trained.gan.averaged_generator, inputs)
    features, probabilities = trained.network.describe(blocks)
    shares = generative_metrics.class_shares(np.asarray(probabilities))
    spreads = generative_metrics.class_spreads(features, np.asarray(probabilities))
    names = trained.splits.class_names or tuple(
        map(str, feature_network.classes_of(trained.splits))
    )
    numbers = {f"class_share/{name}": float(v) for name, v in zip(names, shares, strict=True)}
    diversity = {
        f"diversity/{name}": float(own / real)
        for name, own, real in zip(names, spreads, usual, strict=True)
        if real > 0.0
    }
    if diversity:
        numbers |= diversity | {"least_diversity": min(diversity.values())}
    return numbers


def copies(trained: TrainedGAN, pictures: np.ndarray) -> dict[str, float]:
    """Whether samples are training images over again, by distance in pixel values.

    `nearest/distance_ratio` is the median distance of samples to their nearest training images,
    divided by that of test images to theirs: well below 1 it copies. `nearest/closer_share` is the
    share of samples closer to a training image than 99 % of the test images are; 0.01 is chance.
    """
    train = trained.splits.train
    tests = trained.splits.test.array(np.arange(min(len(trained.splits.test), _NEAREST)))
    samples = pictures[:_NEAREST]
    both = np.concatenate([samples, tests]).reshape(len(samples) + len(tests), -1)
    flat = (part.reshape(len(part), -1) for part in train.blocks(_SEARCHED))
    positions, distances = neighbors.nearest_in_blocks(both, flat)
    distances, usual = distances[: len(samples)], distances[len(samples) :]
    first, closest = np.arange(len(samples))[:SHOWN], np.argsort(distances)[:SHOWN]
    rows = []
    for name, shown in (("samples", first), ("closest samples", closest)):
        nearest = train.array(positions[shown])
        rows += [
            image_grids.SampleRow(name, samples[shown], {}),
            image_grids.SampleRow("nearest in training", nearest, {}),
        ]
    trained.tensorboard.show(
        "nearest_training_images",
        image_grids.sampled_images(rows),
        "Samples and the training images nearest to them in pixels; then the closest pairs.",
    )
    why = "" if np.median(usual) else "half of the test images or more are training images too"
    if len(tests) < _LEAST_NEAREST:
        why = f"{len(tests)} test images are too few, {_LEAST_NEAREST} are needed"
    if why:
        logger.info(f"no distances to training images: {why}")
        return {}
    return {
        "nearest/distance_ratio": float(np.median(distances) / np.median(usual)),
        "nearest/closer_share": float(np.mean(distances < np.quantile(usual, 0.01))),
    }


def noise_walks(trained: TrainedGAN) -> dict[str, float]:
    """Samples on the way from one noise to another of the same category, and of all categories.

    `walks/noise_confidence` is the least that the classifier of the feature network is sure of a
    class along the way, mean over the walks; without classes there is none.
    """
    categories = trained.settings.categories_used
    drawn = fixed_noise(trained.settings, 2 * _MEASURED_WALKS)
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    paths = [walk(*ends_of_one_category(*pair, categories), _WALK_STEPS) for pair in pairs]
    samples = generate(trained.gan.averaged_generator, np.concatenate(paths))
    samples = samples.reshape(len(paths), _WALK_STEPS, *samples.shape[1:])
    rows = [
        image_grids.SampleRow(f"walk {number}", made, {})
        for number, made in enumerate(samples[:_WALKS], start=1)
    ]
    trained.tensorboard.show(
        "noise_walks", image_grids.sampled_images(rows), "From one noise to another."
    )
    if categories > 1:
        _write_categories(trained, categories)
    if trained.network.classifier is None:
        return {}
    sure = trained.network.confidence_along(samples)
    trained.tensorboard.show(
        "walk_confidence",
        curves.walk_confidence({"between two noises": sure}),
        "How sure the classifier of the feature network is along the walks.",
    )
    return {"walks/noise_confidence": float(sure.min())}


def _write_categories(trained: TrainedGAN, categories: int) -> None:
    """A column a category: the largest of the first values moves from place to place."""
    start = fixed_noise(trained.settings, _WALKS)
    rows = []
    for number, values in enumerate(start, start=1):
        moved = np.repeat(values[np.newaxis], min(categories, _MOST_CATEGORIES), axis=0)
        largest = int(values[:categories].argmax())
        for place, row in enumerate(moved):
            row[[place, largest]] = row[[largest, place]]
        samples = generate(trained.gan.averaged_generator, moved)
        rows.append(image_grids.SampleRow(f"noise {number}", samples, {}))
    trained.tensorboard.show(
        "categories", image_grids.sampled_images(rows), "A column a category, a row a noise."
    )


def ends_of_one_category(
    first: np.ndarray, second: np.ndarray, categories: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two noises, (noise_dim,) each, the second with the category of the first.

    From one category to another there is no way. The second takes over the values that choose; or,
    where all of them do and nothing would be left of it, its largest moves to where the first's is.
    """
    second = second.copy()
    if categories < len(second):
        second[:categories] = first[:categories]
    else:
        place, largest = int(first.argmax()), int(second.argmax())
        second[[place, largest]] = second[[largest, place]]
    return first, second


def walk(first: np.ndarray, second: np.ndarray, steps: int) -> np.ndarray:
    """Noise on the way from one to another along the sphere, float32 (steps, noise_dim).

    On the straight line noise in between would be shorter than any that the generator was trained
    on. Both ends are among it; neither, (noise_dim,), is zero.

    Source:
        Shoemake, 1985, doi:10.1145/325165.325242.
    """
    shares = np.linspace(0.0, 1.0, steps)[:, np.newaxis]
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    sine = np.sin(angle)
    if sine < 1e-3:  # (nearly) one direction or opposite ones: no single way along a sphere
        return ((1.0 - shares) * first + shares * second).astype(np.float32)
    weights = np.sin((1.0 - shares) * angle) / sine, np.sin(shares * angle) / sine
    return (weights[0] * first + weights[1] * second).astype(np.float32)


def summary(numbers: Mapping[str, Any]) -> str:
    """The numbers that the end of a run prints, one a line, each beside the real images'."""
    lines = ["", f"  {'':<38}{'samples':>10}  {'real':>10}"]
    for name, text in _SUMMARY.items():
        if name in numbers:
            real = numbers.get(f"real/{name}", math.nan)
            shown = "" if math.isnan(real) else f"{real:>10.4g}"
            lines.append(f"  {text:<38}{numbers[name]:>10.4g}  {shown}".rstrip())
    return "\n".join(lines)


_SUMMARY = {
    "fid": "Frechet distance to test images",
    "kid": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "classifier_score": "classifier score",
    "smallest_class_share": "smallest share of a class",
    "least_diversity": "least diversity of a class, of test images'",
    "unsure_share": "share that the classifier is unsure of",
    "nearest/closer_share": "share nearer to training images",
    "walks/noise_confidence": "least certainty on walks between noises",
    "running_statistics/fid": "distance: last weights as trained",
    "last_weights/fid": "distance: their statistics settled",
    "epochs": "epochs trained",
    "training_seconds": "training time, s",
}
