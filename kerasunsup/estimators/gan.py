"""The GAN as an estimator: fit and sample."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from kerasunsup.estimators import callers_state
from kerasunsup.estimators.image_arrays import as_splits
from kerasunsup.estimators.image_estimator import (
    ImageEstimator,
    check_number,
    predicted,
)
from kerasunsup.estimators.messages import python_words
from kerasunsup.gan import experiment
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import export
from kerasunsup.training import loop


class GAN(ImageEstimator):
    """The study's adversarial game with batch normalization, trained without labels.

    Images are those that `Autoencoder` takes, of 16 to 64 pixels a side. Keywords are the settings
    of `python -m kerasunsup.gan`, checked when it is fitted.

    Attributes:
        history_: a list a quantity, a number an epoch: `generator_loss`, `discriminator_loss`
            (nats, mean over images), `real_accuracy`, `generated_accuracy`.
        generator_: noise (batch, noise_dim) -> images, a `keras.Model` with averaged weights.
        discriminator_: images -> logits (batch, 1), above 0 for real.
        image_shape_: (height, width, channels).
        run_folder_: where the run was written; None without `log_dir`.

    Example:
        >>> images = np.random.default_rng(0).random((60, 16, 16), np.float32)
        >>> gan = GAN(epochs=1, base_filters=4, hidden_units=8, batch_size=16, verbose=0)
        >>> gan.fit(images).sample(3, seed=1).shape
        (3, 16, 16, 1)
    """

    settings_type = GANSettings
    left_out = ("patience",)  # counts measurements, which only the command makes
    experiment = "gan"

    @python_words
    @callers_state.kept()
    def fit(self, images: Any, y: Any = None) -> Self:
        """Trains on images; Ctrl-C (a notebook's stop button) ends with the weights so far.

        Nothing is held out, and no samples are measured meanwhile.

        Args:
            images: to learn from; an array, or a part of `load_images`.
            y: ignored.

        Raises:
            ValueError: if a setting is wrong, or they are no images.
        """
        settings, _ = self._checked()
        splits = as_splits(images, None, settings.seed, holds_out=False)
        experiment.check(settings, splits)
        prepare = experiment.images_only
        settings = self._decided(settings, splits, experiment.build, prepare)
        with self._training(settings, splits) as run:
            gan = experiment.build(settings, splits.image_shape)
            fitted = loop.fit(
                gan,
                splits,
                settings,
                run,
                prepare=prepare,
                rate=functools.partial(loop.learning_rate, settings, settings.epochs),
                optimizers=[gan.optimizer, gan.generator_optimizer],
                validates=False,
                may_stop=True,
                shown=experiment.SHOWN_NUMBERS,
            )
            gan.refresh_averaged_generator()
        plain = experiment.build(settings, splits.image_shape, is_shipped=True)
        plain.set_weights(gan.get_weights())
        self._take(plain.averaged_generator, plain.discriminator)
        self._remember(fitted, run)
        if run is not None:
            self._write(run.folder)
        return self

    def _take(self, generator: keras.Model, discriminator: keras.Model | None) -> None:
        """Becomes an estimator of trained networks."""
        self.generator_, self.discriminator_ = generator, discriminator
        self.image_shape_ = tuple(generator.output_shape[1:])

    def _network(self) -> keras.Model:
        return self.generator_

    def _write(self, folder: Path, **more: Any) -> None:
        export.write_keras(folder / "generator.keras", self.generator_)
        if self.discriminator_ is not None:
            export.write_keras(folder / "discriminator.keras", self.discriminator_)
        super()._write(folder)

    @python_words
    def sample(self, n: int = 1, seed: int = 0) -> np.ndarray:
        """New images, float32 (n, height, width, channels) in [0, 1].

        Args:
            n: how many.
            seed: the noise follows from it; a larger `n` begins with the same images.

        Raises:
            ValueError: if `n` is no whole number of at least 1.
        """
        self._require_fitted()
        check_number("n", n)
        check_number("seed", seed, least=0)
        random = np.random.default_rng(seed)
        noise = random.standard_normal((n, self.generator_.input_shape[-1]), np.float32)
        return predicted(self.generator_, iter([noise]))
