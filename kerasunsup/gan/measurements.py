"""Samples measured beside real images while a GAN trains."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping

import keras
import numpy as np
from scipy.spatial import distance

from kerasunsup.data import image_set, images
from kerasunsup.data.splits import Splits
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import gan as models_gan
from kerasunsup.training import feature_network
from kerasunsup.training import tensorboard as training_tensorboard

logger = logging.getLogger(__name__)

SHEET = 100  # samples in the picture of many
_COMPARED = 500  # samples whose distances to each other show a collapse
_WON = 0.99  # share of both kinds that a discriminator tells apart when it has won
_COLLAPSED = 0.5  # of the real images' spread


def fixed_noise(settings: GANSettings, number: int) -> np.ndarray:
    """The same noise at every call, float32 (number, noise_dim); a longer one begins alike."""
    generator = np.random.default_rng([settings.seed, 1])
    return generator.standard_normal((number, settings.noise_dim), np.float32)


def shown_epochs(epochs: int) -> set[int]:
    """The study's 1, 5, 10, 15 and the last four tenths: of 100 epochs 70, 80, 90, 100."""
    late = {math.ceil(epochs * share / 10) for share in (7, 8, 9, 10)}
    return {epoch for epoch in (1, 5, 10, 15) if epoch <= epochs} | late


def is_recorded(epoch: int, epochs: int) -> bool:
    """Whether samples are kept after an epoch, from 1: some 30 in all, the shown ones too."""
    return epoch in shown_epochs(epochs) or epoch <= 10 or epoch % math.ceil(epochs / 20) == 0


def generate(generator: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Images of some noise, float32 (number, height, width, channels)."""
    return generator.predict(inputs, batch_size=500, verbose=0)


def generate_blocks(generator: keras.Model, inputs: np.ndarray) -> Iterator[np.ndarray]:
    """Images of much noise, a block at a time."""
    size = image_set.block_size(generator.output_shape[1:])
    for start in range(0, len(inputs), size):
        yield generate(generator, inputs[start : start + size])


class Measurements(keras.callbacks.Callback):
    """Compares samples with real images every few epochs, and says when the game has gone wrong.

    Compared is with training images: what is chosen by these numbers has not seen the test set.
    """

    def __init__(
        self,
        gan: models_gan.GAN,
        splits: Splits,
        settings: GANSettings,
        network: feature_network.FeatureNetwork,
        tensorboard: training_tensorboard.TensorBoardWriter,
    ) -> None:
        super().__init__()
        self._gan, self._settings = gan, settings
        self._network, self._tensorboard = network, tensorboard
        self._reference = network.describe(splits.train.blocks(settings.num_samples))[0]
        self._real_spread = spread(splits.train.array(np.arange(min(_COMPARED, len(splits.train)))))
        self._identity = network.identity()["sha256"]
        self._said: set[str] = set()
        self._best, self._waited = math.inf, 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures where it is time to; the last epoch always is one."""
        logs = {} if logs is None else logs
        if min(logs["real_accuracy"], logs["generated_accuracy"]) > _WON:
            self._warn_once(
                "won",
                f"epoch {epoch + 1}: the discriminator tells real and generated images apart in "
                f"{logs['real_accuracy']:.1%} and {logs['generated_accuracy']:.1%} of all cases, "
                "and the generator learns little from it: try a --gradient-penalty of 0.1 or a "
                "smaller --learning-rate",
            )
        if (epoch + 1) % self._settings.measure_every and epoch + 1 != self._settings.epochs:
            return
        generator = self._gan.refresh_averaged_generator()
        inputs = fixed_noise(self._settings, self._settings.num_samples)
        measured = self._network.compare(generate_blocks(generator, inputs), self._reference)
        pictures = generate(generator, inputs[:_COMPARED])
        if self._real_spread:  # real images that are all alike have none
            measured["spread"] = spread(pictures) / self._real_spread
        logs.update(measured)
        self._tensorboard.scalars(
            {f"samples/{name}": value for name, value in measured.items()}, step=epoch
        )
        self._tensorboard.figure("samples", images.grid(pictures[:SHEET], columns=10), step=epoch)
        self._check_variety(epoch, measured)
        self._update_patience(measured)

    def _check_variety(self, epoch: int, measured: Mapping[str, float]) -> None:
        problem = ""
        if measured.get("spread", 1.0) < _COLLAPSED:
            problem = f"two samples differ by {measured['spread']:.2f} of what two real images do"
        elif measured.get("smallest_class_share", 1.0) == 0.0 and epoch + 1 >= 5:
            problem = "a class is never generated"
        if problem:
            self._warn_once(
                "collapsed",
                f"epoch {epoch + 1}: the generator has lost variety ({problem}): try "
                "--gradient-penalty 0.1, a smaller --learning-rate or a larger --batch-size",
            )

    def _update_patience(self, measured: Mapping[str, float]) -> None:
        away = measured.get("fid", measured.get("kid"))
        if away is None:
            return  # there are too few images
        self._waited = 0 if away < self._best else self._waited + 1
        self._best = min(self._best, away)
        if self.is_over:
            self._gan.stop_training = True

    @property
    def is_over(self) -> bool:
        """Whether patience is."""
        return 0 < self._settings.patience <= self._waited

    def _warn_once(self, key: str, text: str) -> None:
        """Prints it once a run, and keeps it in TensorBoard."""
        if key not in self._said:
            self._said.add(key)
            logger.info(text)
            self._tensorboard.text(f"warning/{key}", text)

    def state(self) -> dict[str, np.ndarray]:
        """What was said, and how long the distance has not gone down."""
        return {
            "said": np.array(sorted(self._said), np.str_),
            "best": np.array(self._best),
            "waited": np.array(self._waited),
            "network": np.array(self._identity),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` gave."""
        self._said = {str(key) for key in state["said"]}
        # A distance in another feature network says nothing of one in this.
        if str(state.get("network", "")) == self._identity:
            self._best, self._waited = float(state["best"]), int(state["waited"])


def spread(pictures: np.ndarray) -> float:
    """Mean Euclidean distance between two of the first images, in pixel values; 0 if all alike."""
    shown = pictures[:_COMPARED]
    distances = distance.pdist(shown.reshape(len(shown), -1))
    return float(distances.mean()) if len(distances) else 0.0
