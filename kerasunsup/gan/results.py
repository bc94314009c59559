"""What a GAN's samples are worth: measured while it trains and at its end, and its figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kerasunsup.data import image_set, images
from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import generative_metrics, image_metrics, neighbors
from kerasunsup.figures import curves, image_grids
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import gan as models_gan
from kerasunsup.training import callbacks, feature_network, files, loop
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

SHOWN = 12  # samples a row in the pictures, always of the same noise
_SHEET = 100
_WALK_STEPS = 12
_WALKS = 6
_MOST_CATEGORIES = 16  # in a picture
_NEAREST = 2000
_LEAST_NEAREST = 20  # samples and test images; fewer distances say nothing of their median
_SEARCHED = 60_000  # training images
_COMPARED = 500  # samples whose distances to each other show a collapse
_WON = 0.99  # share of both kinds that a discriminator tells apart when it has won
_COLLAPSED = 0.5  # of the real images' spread


def noise(settings: GANSettings, number: int) -> np.ndarray:
    """The same noise at every call, float32 (number, noise_dim); a longer one begins alike."""
    generator = np.random.default_rng([settings.seed, 1])
    return generator.standard_normal((number, settings.noise_dim), np.float32)


def shown_epochs(epochs: int) -> set[int]:
    """The study's 1, 5, 10, 15 and the last four tenths: of 100 epochs 70, 80, 90, 100."""
    late = {math.ceil(epochs * share / 10) for share in (7, 8, 9, 10)}
    return {epoch for epoch in (1, 5, 10, 15) if epoch <= epochs} | late


def generate(generator: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Images of some noise, float32 (number, height, width, channels)."""
    return generator.predict(inputs, batch_size=500, verbose=0)


def generated(generator: keras.Model, inputs: np.ndarray) -> Iterator[np.ndarray]:
    """Images of much noise, a block at a time."""
    size = image_set.block_size(generator.output_shape[1:])
    for start in range(0, len(inputs), size):
        yield generate(generator, inputs[start : start + size])


class Measurements(keras.callbacks.Callback):
    """Compares samples with real images every few epochs, and says when the game has gone wrong.

    Compared is with training images: what is chosen by these numbers has not seen the test set.

    Args:
        gan: that trains.
        splits: the data.
        settings: how often, how many samples, how much patience.
        comparison: in whose features sets are compared.
        tensorboard: where numbers and pictures go.
    """

    def __init__(
        self,
        gan: models_gan.GAN,
        splits: Splits,
        settings: GANSettings,
        comparison: feature_network.Judge,
        tensorboard: training_tensorboard.Board,
    ) -> None:
        super().__init__()
        self._gan, self._settings = gan, settings
        self._judge, self._board = comparison, tensorboard
        self._reference = comparison.describe(splits.train.blocks(settings.num_samples))[0]
        self._real_spread = spread(splits.train.array(np.arange(min(_COMPARED, len(splits.train)))))
        self._network = comparison.identity()["sha256"]
        self._said: set[str] = set()
        self._best, self._waited = math.inf, 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures where it is time to; the last epoch always is one."""
        logs = {} if logs is None else logs
        if min(logs["real_accuracy"], logs["generated_accuracy"]) > _WON:
            self._say(
                "won",
                f"epoch {epoch + 1}: the discriminator tells real and generated images apart in "
                f"{logs['real_accuracy']:.1%} and {logs['generated_accuracy']:.1%} of all cases, "
                "and the generator learns little from it: try --label-smoothing 0.1, "
                "--gradient-penalty 0.1 or a smaller --learning-rate",
            )
        if (epoch + 1) % self._settings.measure_every and epoch + 1 != self._settings.epochs:
            return
        generator = self._gan.refresh_averaged_generator()
        inputs = noise(self._settings, self._settings.num_samples)
        found = self._judge.compare(generated(generator, inputs), self._reference)
        pictures = generate(generator, inputs[:_COMPARED])
        if self._real_spread:  # real images that are all alike have none
            found["spread"] = spread(pictures) / self._real_spread
        logs.update(found)
        self._board.scalars({f"samples/{name}": value for name, value in found.items()}, step=epoch)
        self._board.figure("samples", images.grid(pictures[:_SHEET], columns=10), step=epoch)
        self._watch(epoch, found)
        self._wait(found)

    def _watch(self, epoch: int, found: Mapping[str, float]) -> None:
        what = ""
        if found.get("spread", 1.0) < _COLLAPSED:
            what = f"two samples differ by {found['spread']:.2f} of what two real images do"
        elif found.get("smallest_class_share", 1.0) == 0.0 and epoch + 1 >= 5:
            what = "a class is never generated"
        if what:
            self._say(
                "collapsed",
                f"epoch {epoch + 1}: the generator has lost variety ({what}): try "
                "--gradient-penalty 0.1, a smaller --learning-rate or a larger --batch-size",
            )

    def _wait(self, found: Mapping[str, float]) -> None:
        distance = found.get("fid", found.get("kid"))
        if distance is None:
            return  # there are too few images
        self._waited = 0 if distance < self._best else self._waited + 1
        self._best = min(self._best, distance)
        if self.is_over:
            self._gan.stop_training = True

    @property
    def is_over(self) -> bool:
        """Whether patience is."""
        return 0 < self._settings.patience <= self._waited

    def _say(self, key: str, text: str) -> None:
        """Prints it once a run, and keeps it in TensorBoard."""
        if key not in self._said:
            self._said.add(key)
            print(text, flush=True)
            self._board.text(f"warning/{key}", text)

    def state(self) -> dict[str, np.ndarray]:
        """What was said, and how long the distance has not gone down."""
        return {
            "said": np.array(sorted(self._said), np.str_),
            "best": np.array(self._best),
            "waited": np.array(self._waited),
            "network": np.array(self._network),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` gave."""
        self._said = {str(key) for key in state["said"]}
        # A distance in another feature network says nothing of one in this.
        if str(state.get("network", "")) == self._network:
            self._best, self._waited = float(state["best"]), int(state["waited"])


def spread(pictures: np.ndarray) -> float:
    """Mean Euclidean distance between two of the first images, in pixel values; 0 if all alike."""
    rows = pictures[:_COMPARED].reshape(min(_COMPARED, len(pictures)), -1).astype(np.float64)
    if not np.ptp(rows, axis=0).any():  # the sums of squares below would leave their rounding
        return 0.0
    squares = np.sum(rows**2, axis=1)
    distances = np.sqrt(np.maximum(0.0, squares[:, None] + squares - 2.0 * rows @ rows.T))
    return float(distances.sum() / max(1, len(rows) * (len(rows) - 1)))


@dataclasses.dataclass(frozen=True)
class Bench:
    """A trained GAN with its data, and where its pictures go."""

    gan: models_gan.GAN
    splits: Splits
    settings: GANSettings
    run: Run
    judge: feature_network.Judge
    tensorboard: training_tensorboard.Board


def report(
    gan: models_gan.GAN,
    splits: Splits,
    settings: GANSettings,
    run: Run,
    comparison: feature_network.Judge,
    tensorboard: training_tensorboard.Board,
    fitted: loop.Fitted,
    samples: callbacks.Snapshots,
) -> dict[str, float]:
    """All numbers of a trained GAN; draws and writes its figures on the way.

    Returns:
        Flat, names are paths, as `metrics.json` holds them.
    """
    bench = Bench(gan, splits, settings, run, comparison, tensorboard)
    numbers: dict[str, float] = {
        "epochs": len(fitted.history["epoch"]),
        "training_seconds": fitted.seconds,
    }
    draw_history(bench, fitted, samples)
    print("measuring samples beside real images", flush=True)
    numbers |= comparisons(bench)
    print("searching the nearest training images", flush=True)
    pictures = generate(gan.averaged_generator, noise(settings, settings.num_samples)[:_NEAREST])
    numbers |= copies(bench, pictures)
    draw_walks(bench)
    sheet = images.grid(pictures[:_SHEET], columns=10)
    run.write_figure("samples", images.encode_png(sheet))
    tensorboard.figure("samples", sheet, step=len(fitted.history["epoch"]), text="At the end.")
    return image_metrics.finite(numbers)


def draw_history(bench: Bench, fitted: loop.Fitted, samples: callbacks.Snapshots) -> None:
    """Samples of one fixed noise over the epochs (the study's figures 6 and 7), and the curves."""
    pairs = zip(samples.epochs, samples.outputs, strict=True)
    rows = [image_grids.SampleRow(f"epoch {epoch}", output, {}) for epoch, output in pairs]
    for name, shown in (("samples_first_epochs", rows[:4]), ("samples_last_epochs", rows[-4:])):
        figure = image_grids.sampled_images(shown)
        bench.tensorboard.show(name, figure, "Samples of the same noise after some epochs.")
    bench.tensorboard.show(
        "adversarial_curves",
        curves.adversarial_curves(fitted.history),
        "Losses, shares that the discriminator gets right, distance to training images.",
    )


def comparisons(bench: Bench) -> dict[str, float]:
    """Samples beside the test images, and what the averages and the settled statistics give.

    `real/` is the same comparison of validation images, which the feature network was not trained
    on. `last_weights/` are samples of the weights of the last step with settled statistics,
    `running_statistics/` those of the last step with the statistics that training left.
    """
    number, tests, network = bench.settings.num_samples, bench.splits.test, bench.judge
    features = network.describe(tests.blocks(number))[0]
    real = network.compare(network.real_images(bench.splits, number), features)
    inputs = noise(bench.settings, number)
    averaged, last = bench.gan.averaged_generator, bench.gan.generator
    numbers = network.compare(generated(averaged, inputs), features)
    rows = {
        "real images": (tests.array(np.arange(min(SHOWN, len(tests)))), real),
        "samples": (generate(averaged, inputs[:SHOWN]), dict(numbers)),
    }
    for name in ("running_statistics", "last_weights"):
        if name == "last_weights":
            models_gan.settle_statistics(last)
        found = network.compare(generated(last, inputs), features)
        rows[name.replace("_", " ")] = (generate(last, inputs[:SHOWN]), found)
        numbers |= {f"{name}/{key}": value for key, value in found.items()}
    feature_network.say_left_out(network, [found for _, found in rows.values()])
    numbers |= {f"real/{key}": value for key, value in real.items()}
    if "smallest_class_share" in numbers:
        numbers |= _class_shares(bench, inputs)
    if network.test_accuracy is not None:
        numbers["judge/accuracy"] = network.test_accuracy
    files.write_json(bench.run.folder / feature_network.IDENTITY, network.identity())
    bench.tensorboard.show(
        "comparison",
        image_grids.sampled_images(
            [
                image_grids.SampleRow(name, shown, feature_network.columns(f))
                for name, (shown, f) in rows.items()
            ]
        ),
        "Samples by the averaged and by the last weights; distance, score, precision, recall.",
    )
    return numbers


def _class_shares(bench: Bench, inputs: np.ndarray) -> dict[str, float]:
    described = bench.judge.describe(generated(bench.gan.averaged_generator, inputs))
    shares = generative_metrics.class_shares(np.asarray(described[1]))
    names = bench.splits.class_names or [str(index) for index in range(len(shares))]
    return {f"class_share/{name}": float(v) for name, v in zip(names, shares, strict=True)}


def copies(bench: Bench, pictures: np.ndarray) -> dict[str, float]:
    """Whether samples are training images over again, by distance in pixel values.

    `nearest/distance_ratio` is the median distance of samples to their nearest training images,
    divided by that of test images to theirs: well below 1 it copies. `nearest/closer_share` is the
    share of samples closer to a training image than 99 % of the test images are; 0.01 is chance.
    """
    train = bench.splits.train
    tests = bench.splits.test.array(np.arange(min(len(bench.splits.test), _NEAREST)))
    samples = pictures[:_NEAREST]
    both = np.concatenate([samples, tests]).reshape(len(samples) + len(tests), -1)
    flat = (part.reshape(len(part), -1) for part in train.blocks(_SEARCHED))
    positions, distances = neighbors.nearest_in_blocks(both, flat)
    distances, usual = distances[: len(samples)], distances[len(samples) :]
    first, closest = np.arange(len(samples))[:SHOWN], np.argsort(distances)[:SHOWN]
    bench.tensorboard.show(
        "nearest_training_images",
        image_grids.sampled_images(
            [
                image_grids.SampleRow("samples", samples[first], {}),
                image_grids.SampleRow("nearest in training", train.array(positions[first]), {}),
                image_grids.SampleRow("closest samples", samples[closest], {}),
                image_grids.SampleRow("nearest in training", train.array(positions[closest]), {}),
            ]
        ),
        "Samples and the training images nearest to them in pixels; then the closest pairs.",
    )
    why = "" if np.median(usual) else "half of the test images or more are training images too"
    if len(tests) < _LEAST_NEAREST:
        why = f"{len(tests)} test images are too few, {_LEAST_NEAREST} are needed"
    if why:
        print(f"no distances to training images: {why}", flush=True)
        return {}
    return {
        "nearest/distance_ratio": float(np.median(distances) / np.median(usual)),
        "nearest/closer_share": float(np.mean(distances < np.quantile(usual, 0.01))),
    }


def draw_walks(bench: Bench) -> None:
    """Samples on the way from one noise to another of the same category, and of all categories."""
    categories = bench.settings.categories_used
    ends = noise(bench.settings, 2 * _WALKS)
    ends[1::2, :categories] = ends[::2, :categories]  # from one to another there is no way
    rows = []
    for number, pair in enumerate(zip(ends[::2], ends[1::2], strict=True), start=1):
        samples = generate(bench.gan.averaged_generator, walk(*pair, _WALK_STEPS))
        rows.append(image_grids.SampleRow(f"walk {number}", samples, {}))
    bench.tensorboard.show(
        "noise_walks", image_grids.sampled_images(rows), "From one noise to another."
    )
    if categories < 2:
        return
    # A column a category: the largest of the first values moves from place to place.
    start = noise(bench.settings, _WALKS)
    rows = []
    for number, values in enumerate(start, start=1):
        moved = np.repeat(values[np.newaxis], min(categories, _MOST_CATEGORIES), axis=0)
        largest = int(values[:categories].argmax())
        for place, row in enumerate(moved):
            row[[place, largest]] = row[[largest, place]]
        samples = generate(bench.gan.averaged_generator, moved)
        rows.append(image_grids.SampleRow(f"noise {number}", samples, {}))
    bench.tensorboard.show(
        "categories", image_grids.sampled_images(rows), "A column a category, a row a noise."
    )


def walk(first: np.ndarray, second: np.ndarray, steps: int) -> np.ndarray:
    """Noise on the way from one to another, both ends among it.

    Along the sphere (Shoemake 1985, doi:10.1145/325165.325242): on the straight line noise in
    between would be shorter than any that the generator was trained on.

    Args:
        first: (noise_dim,), not zero.
        second: (noise_dim,), not zero.
        steps: how many.

    Returns:
        float32 (steps, noise_dim).
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
    "nearest/closer_share": "share nearer to training images",
    "running_statistics/fid": "distance: last weights as trained",
    "last_weights/fid": "distance: their statistics settled",
    "epochs": "epochs trained",
    "training_seconds": "training time, s",
}
