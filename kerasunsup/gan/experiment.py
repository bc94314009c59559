"""The GAN experiment: two networks trained against each other, measured, exported."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers

from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.gan import results
from kerasunsup.gan.measurements import Measurements, fixed_noise, is_recorded
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import export, faster_layers, networks, optimizers
from kerasunsup.models import gan as models_gan
from kerasunsup.settings import Command, to_json
from kerasunsup.training import (
    callbacks,
    feature_network,
    loop,
    model_card,
    precision,
    run_folder,
    several_workers,
)
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

SHOWN_NUMBERS = {
    "generator_loss": "generator",
    "discriminator_loss": "discriminator",
    "fid": "distance",
}


def build(
    settings: GANSettings,
    image_shape: tuple[int, int, int],
    *,
    is_shipped: bool = False,
) -> models_gan.GAN:
    """The compiled GAN.

    Args:
        settings: of the networks, the loss and the optimizers.
        image_shape: (height, width, channels), sides of 16 to 64 pixels, else a ValueError.
        is_shipped: of Keras's own layers, which load anywhere, not of those that train faster.
    """
    is_distributed = loop.is_distributed()
    shape: dict[str, Any] = {
        "base_filters": settings.base_filters,
        "hidden_units": settings.hidden_units,
        "synchronized": is_distributed,
    }
    # A gradient penalty is paid for the discriminator, and inside `tf.cond`.
    penalized = {"is_penalized": bool(settings.gradient_penalty)}
    gan = models_gan.GAN(
        networks.generator(
            image_shape,
            noise_dim=settings.noise_dim,
            categories=settings.categories_used,
            layer_types=layers if is_shipped else faster_layers.for_training(),
            **shape,
        ),
        networks.discriminator(
            image_shape,
            noise=settings.discriminator_noise,
            dropout=settings.dropout,
            layer_types=layers if is_shipped else faster_layers.for_training(**penalized),
            **shape,
        ),
        adversarial_loss=models_gan.LOSSES[settings.loss],
        label_smoothing=settings.label_smoothing,
        gradient_penalty=settings.gradient_penalty,
        seed=settings.seed,
        name="gan",
    )
    adam = functools.partial(
        optimizers.adam,
        settings.learning_rate,
        beta_1=settings.beta_1,
        fused=not is_distributed,
    )
    gan.compile(adam(averaging=settings.averaging), adam(), **loop.compile_options())
    return gan


def images_only(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """What a GAN is fed with: no target."""
    return images


def run(command: Command) -> dict[str, float]:
    """Trains, measures and exports one run, or goes on with it; returns `metrics.json`.

    Raises:
        InputError: for everything that a user can mend.
        Interrupted: on Ctrl-C.
    """
    with several_workers.joined(command) as command:
        settings: GANSettings = command.config
        splits = data_splits.load(settings)
        check(settings, splits)
        command = precision.of_command(command, splits, build, images_only)
        settings = command.config
        several_workers.check_same_images(splits.fingerprint)
        if several_workers.is_follower():
            several_workers.announce()
            train(untrained(settings, splits), splits, settings, None, {})
            several_workers.leave()
            return {}
        with run_folder.opened(command, splits.fingerprint) as run:
            several_workers.announce(run.name)
            network = feature_network.of_data(splits, command.logs / "judge")
            gan = untrained(settings, splits)
            logger.info(introduction(splits, gan, run))
            noise = fixed_noise(settings, results.SHOWN)
            samples = callbacks.Snapshots(
                lambda: gan.refresh_averaged_generator()(noise, training=False),
                lambda epoch: is_recorded(epoch, settings.epochs),
                run.folder / "checkpoints" / "snapshots",
            )
            with training_tensorboard.TensorBoardWriter(run.folder) as tensorboard:
                measurements = Measurements(gan, splits, settings, network, tensorboard)
                recorders = {"samples": samples, "measurements": measurements}
                fitted = train(gan, splits, settings, run, recorders)
            several_workers.leave()
            # What is measured and shipped is plain: float32, on one device.
            plain = build(settings, splits.image_shape, is_shipped=True)
            plain.set_weights(gan.get_weights())
            averages = gan.refresh_averaged_generator().get_weights()
            plain.averaged_generator.set_weights(averages)
            try:
                return finish(plain, splits, settings, run, network, fitted, samples)
            except KeyboardInterrupt:
                done = len(fitted.history["epoch"])
                raise Interrupted(loop.how_to_resume(run, done)) from None


def untrained(settings: GANSettings, splits: Splits) -> models_gan.GAN:
    """The compiled GAN on the devices that the settings name."""
    with loop.machine(settings):
        gan = build(settings, splits.image_shape)
    if settings.strategy != "none":
        gan.keep_averages_here()
    return gan


def train(
    gan: models_gan.GAN,
    splits: Splits,
    settings: GANSettings,
    run: Run | None,
    recorders: Mapping[str, Any],
) -> loop.Fitted:
    """Trains it; `run` is None where another worker writes it."""
    return loop.fit(
        gan,
        splits,
        settings,
        run,
        prepare=images_only,
        rate=functools.partial(loop.learning_rate, settings, settings.epochs),
        optimizers=[gan.optimizer, gan.generator_optimizer],
        validates=False,
        recorders=recorders,
        shown=SHOWN_NUMBERS,
    )


def check(settings: GANSettings, splits: Splits) -> None:
    """Refuses images that the networks cannot be built for, before anything is written.

    Raises:
        InputError: if a side is not 16 to 64 pixels, or the networks exceed the memory.
    """
    shape, hidden = splits.image_shape, settings.hidden_units
    try:
        filters = networks.adversarial_filters(shape, settings.base_filters)
    except ValueError as error:
        raise InputError(
            f"--data {splits.name}: {error}; choose one with --image-size N"
        ) from error
    loop.check_shares(settings, len(splits.train))
    loop.check_memory(
        networks.num_weights(shape, filters, hidden, 4),
        f"--base-filters {settings.base_filters} and --hidden-units {hidden}",
    )


def finish(
    gan: models_gan.GAN,
    splits: Splits,
    settings: GANSettings,
    run: Run,
    network: feature_network.FeatureNetwork,
    fitted: loop.Fitted,
    samples: callbacks.Snapshots,
) -> dict[str, float]:
    """What a trained GAN leaves behind: model files first, then numbers and figures."""
    generator, discriminator = gan.averaged_generator, gan.discriminator
    noise = fixed_noise(settings, 4)
    export.write_keras(run.folder / "generator.keras", generator)
    export.write_keras(run.folder / "discriminator.keras", discriminator)
    export.write_saved_model(
        run.folder / "export",
        {
            "generate": (generator, "noise", "images"),
            "discriminate": (discriminator, "images", "logits"),
        },
        {"generate": noise, "discriminate": splits.test.array(np.arange(min(4, len(splits.test))))},
    )
    with training_tensorboard.TensorBoardWriter(run.folder) as tensorboard:
        trained = results.TrainedGAN(gan, splits, settings, run, network, tensorboard)
        numbers = results.write_results(trained, fitted, samples)
        model_card.write(run, numbers)
        run.write_metrics(numbers)
        tensorboard.hyperparameters(to_json(settings), headline(numbers))
        tensorboard.graph(generator)
        tensorboard.tables(to_json(settings), numbers)
    logger.info(results.summary(numbers))
    logger.info(f"\nfigures, generator.keras and export/ are in {run.folder}")
    return numbers


def headline(numbers: dict[str, float]) -> dict[str, float]:
    """The few numbers that runs are compared by."""
    names = ("fid", "kid", "precision", "recall", "classifier_score", "smallest_class_share")
    return {name: numbers[name] for name in names if name in numbers}


def introduction(splits: Splits, gan: models_gan.GAN, run: Run) -> str:
    """What a run says before it trains."""
    height, width, channels = splits.image_shape
    return (
        f"{splits.name}: {len(splits.train):,} training and {len(splits.test):,} test images of "
        f"{height} x {width} x {channels}; generator {gan.generator.count_params():,} and "
        f"discriminator {gan.discriminator.count_params():,} weights; run {run.folder}"
    )
