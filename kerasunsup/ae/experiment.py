"""The autoencoder experiment: trained without labels, looked at from every side, exported."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.ae import results, summary
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.ae.trained import FITTED_CODES, example_indices
from kerasunsup.data import batches, corruption
from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.models import (
    export,
    faster_layers,
    networks,
    optimizers,
    replicated,
    skip,
    variational,
)
from kerasunsup.settings import Command, to_json
from kerasunsup.training import (
    callbacks,
    code_sampler,
    loop,
    model_card,
    precision,
    run_folder,
    several_workers,
)
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

_KERNEL_SIZE = 5  # pixels; see `networks.encoder`


def build(
    settings: AutoencoderSettings,
    image_shape: tuple[int, int, int],
    *,
    mean: np.ndarray | None = None,
    is_shipped: bool = False,
) -> keras.Model:
    """The compiled autoencoder; its layers `encoder` and `decoder` are models themselves.

    A denoiser with skips has neither. The loss is the squared error, mean over pixels and images;
    of the variational autoencoder that of `models.variational`.

    Args:
        settings: of the networks and the optimizer.
        image_shape: (height, width, channels).
        mean: of the pixels, as `loop.mean_pixel` gives it; training begins with images like it.
        is_shipped: of Keras's own layers, which load anywhere, not of those that train faster.

    Raises:
        ValueError: if the image is too small for so many stages of filters.
    """
    layer_types = keras.layers if is_shipped else faster_layers.for_training()
    if settings.skip:
        model = skip.denoiser(
            image_shape,
            filters=settings.filters,
            kernel_size=_KERNEL_SIZE,
            layer_types=layer_types,
        )
    else:
        model = _with_code(settings, image_shape, mean, layer_types)
    if loop.is_distributed() and not settings.variational:
        model = replicated.replicated(model)
    model.compile(
        optimizer=optimizers.adam(
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=not loop.is_distributed(),
        ),
        loss=None if settings.variational else "mean_squared_error",
        **loop.compile_options(),
    )
    return model


def _with_code(
    settings: AutoencoderSettings,
    image_shape: tuple[int, int, int],
    mean: np.ndarray | None,
    layer_types: Any,
) -> keras.Model:
    shape: dict[str, Any] = {
        "latent_dim": settings.latent_dim,
        "filters": settings.filters,
        "hidden_units": settings.hidden_units,
        "kernel_size": _KERNEL_SIZE,
    }
    encoder = networks.encoder(image_shape, **shape)
    decoder = networks.decoder(image_shape, **shape, layer_types=layer_types)
    if mean is not None:
        loop.begin_at(decoder, mean)
    if not settings.variational:
        return networks.autoencoder(encoder, decoder)
    return variational.VariationalAutoencoder(
        encoder,
        decoder,
        beta=settings.beta,
        warm_up=settings.warm_up,
        seed=settings.seed,
    )


def space(hp: Any, settings: AutoencoderSettings, *, wide: bool) -> AutoencoderSettings:
    """What Hyperband and random search draw: the study's three settings; `wide` draws two more.

    `hp` is KerasTuner's `HyperParameters`, which draws and remembers the values.
    """
    drawn: dict[str, Any] = {
        "latent_dim": hp.Choice("latent_dim", _code_sizes(settings)),
        "learning_rate": hp.Float("learning_rate", 3e-4, 1e-2, sampling="log"),
        # Decoupled, a decay below 1e-3 does next to nothing in the epochs of a search.
        "weight_decay": hp.Choice("weight_decay", [0.0, 1e-5, 1e-4, 1e-3, 1e-2]),
    }
    if wide:
        drawn["hidden_units"] = hp.Choice("hidden_units", [128, 256, 512])
        filters = hp.Choice("filters", ["32", "64", "32 64"])
        drawn["filters"] = tuple(int(number) for number in filters.split())
    return dataclasses.replace(settings, **drawn)


def grid_space(hp: Any, settings: AutoencoderSettings, *, wide: bool) -> AutoencoderSettings:
    """The grid: 3 code sizes x 3 learning rates x 2 decays; `wide` doubles it by hidden units."""
    sizes = _code_sizes(settings, (16, 32, 64))
    drawn: dict[str, Any] = {
        "latent_dim": hp.Choice("latent_dim", sizes),
        "learning_rate": hp.Choice("learning_rate", [0.001, 0.003, 0.01]),
        "weight_decay": hp.Choice("weight_decay", [1e-5, 1e-3]),
    }
    if wide:
        drawn["hidden_units"] = hp.Choice("hidden_units", [128, 512])
    return dataclasses.replace(settings, **drawn)


def _code_sizes(
    settings: AutoencoderSettings, usual: tuple[int, ...] = (8, 16, 32, 64)
) -> list[int]:
    """The usual sizes, and the one that was asked for."""
    return sorted({*usual, settings.latent_dim})


def corruption_of(settings: AutoencoderSettings) -> batches.Prepare | None:
    """(images, seed) -> (corrupted images, clean images); None where training is on clean ones."""
    if settings.noise == 0 and settings.crop == 0:
        return None

    def prepare(images: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        corrupted = images
        if settings.skip:
            return corruption.of_drawn_strength(images, settings.noise, settings.crop, seed), images
        if settings.noise:
            corrupted = corruption.gaussian_noise(corrupted, settings.noise, seed)
        if settings.crop:
            corrupted = corruption.cut_holes(corrupted, settings.crop, seed + 1)
        return corrupted, images

    return prepare


def run(command: Command, *, brief: bool = False) -> dict[str, float]:
    """Trains, reports and exports one run, or goes on with it.

    Args:
        command: the parsed command line.
        brief: leave out restored images, the encoded space and new samples.

    Returns:
        What `metrics.json` holds.

    Raises:
        InputError: for everything that a user can mend.
        Interrupted: on Ctrl-C.
    """
    with several_workers.joined(command) as command:
        settings: AutoencoderSettings = command.config
        splits = data_splits.load(settings)
        check(settings, splits)
        command = precision.of_command(command, splits, build, corruption_of(settings))
        settings = command.config
        several_workers.check_same_images(splits.fingerprint)
        if several_workers.is_follower():
            several_workers.announce()
            train(untrained(settings, splits), splits, settings, None, {})
            several_workers.leave()
            return {}
        with run_folder.opened(command, splits.fingerprint) as run:
            several_workers.announce(run.name)
            model = untrained(settings, splits)
            logger.info(introduction(splits, model, run))
            examples = splits.test.array(example_indices(splits))
            snapshots = callbacks.Snapshots(
                lambda: model(examples, training=False),
                lambda epoch: epoch == 1 or epoch % settings.snapshot_every == 0,
                run.folder / "checkpoints" / "snapshots",
            )
            fitted = train(model, splits, settings, run, {"snapshots": snapshots})
            several_workers.leave()
            # What is measured and shipped is the plain network, in float32 and on one device: in
            # bfloat16 a graph and its reloaded copy differ by the rounding, about 0.001 of a pixel.
            plain = build(settings, splits.image_shape, is_shipped=True)
            plain.set_weights(model.get_weights())
            try:
                return finish(plain, splits, settings, run, fitted, snapshots, brief=brief)
            except KeyboardInterrupt:
                done = len(fitted.history["epoch"])
                raise Interrupted(loop.how_to_resume(run, done)) from None


def untrained(settings: AutoencoderSettings, splits: Splits) -> keras.Model:
    """The compiled autoencoder on the devices that the settings name."""
    with loop.machine(settings):
        return build(settings, splits.image_shape, mean=loop.mean_pixel(splits))


def train(
    model: keras.Model,
    splits: Splits,
    settings: AutoencoderSettings,
    run: Run | None,
    recorders: Mapping[str, Any],
) -> loop.Fitted:
    """Trains it; `run` is None where another worker writes it."""
    return loop.fit(
        model,
        splits,
        settings,
        run,
        prepare=corruption_of(settings),
        deformation=settings.deformation,
        rate=functools.partial(loop.learning_rate, settings, settings.epochs),
        recorders=recorders,
    )


def check(settings: AutoencoderSettings, splits: Splits) -> None:
    """Refuses settings that do not fit the data, before anything is written.

    Raises:
        InputError: if there are too many stages of filters, the network is larger than the
            memory, or the hole is too large.
    """
    filters, hidden = settings.filters, settings.hidden_units
    sizes = f"--filters {' '.join(map(str, filters))}"
    try:
        if settings.skip:
            num_weights = skip.num_weights(splits.image_shape, filters, _KERNEL_SIZE)
        else:
            num_weights = networks.num_weights(splits.image_shape, filters, hidden, _KERNEL_SIZE)
            sizes += f" and --hidden-units {hidden}"
    except ValueError as error:
        raise InputError(f"--filters: {error}") from error
    code_sampler.check(settings.sampler, settings.latent_dim)
    loop.check_shares(settings, len(splits.train))
    loop.check_memory(num_weights, sizes)
    side = min(splits.image_shape[:2])
    if settings.crop >= side:
        raise InputError(
            f"--crop {settings.crop} cuts the whole image out: the images of {splits.name} are "
            f"{splits.image_shape[0]} x {splits.image_shape[1]} pixels, choose less than {side}"
        )


def finish(
    model: keras.Model,
    splits: Splits,
    settings: AutoencoderSettings,
    run: Run,
    fitted: loop.Fitted,
    snapshots: callbacks.Snapshots,
    *,
    brief: bool,
) -> dict[str, float]:
    """What a trained model leaves behind: model files first, then numbers and figures."""
    images = splits.test.array(np.arange(min(4, len(splits.test))))
    export.write_keras(run.folder / "model.keras", model)
    signatures, examples = {"reconstruct": (model, "images", "images")}, {"reconstruct": images}
    if not settings.skip:
        encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
        codes = np.asarray(encoder(images))
        signatures["encode"] = (encoder, "images", "codes")
        signatures["decode"] = (decoder, "codes", "images")
        examples |= {"encode": images, "decode": codes}
    if settings.variational:
        signatures["sample"] = (decoder, "noise", "images")
        examples["sample"] = codes
        # The means alone are in `model.keras`, as all that reads it expects.
        export.write_keras(run.folder / "posterior.keras", model.posterior)
    sampler = None if brief or settings.skip else sampler_of(model, splits, settings, run)
    if sampler is not None:
        signatures["generate"] = (sampler.generator(decoder), "noise", "images")
        examples["generate"] = code_sampler.noise(4, settings.latent_dim, settings.seed)
    export.write_saved_model(run.folder / "export", signatures, examples)
    with training_tensorboard.TensorBoardWriter(run.folder) as tensorboard:
        numbers = results.write_results(
            model, splits, settings, run, tensorboard, fitted, snapshots,
            brief=brief, sampler=sampler,
        )  # fmt: skip
        model_card.write(run, numbers)
        run.write_metrics(numbers)
        tensorboard.hyperparameters(to_json(settings), headline(numbers))
        tensorboard.graph(model)
        tensorboard.tables(to_json(settings), numbers)
    logger.info(summary.summary(numbers, advice=not brief))  # another command has other flags
    logger.info(f"\nfigures, model.keras and export/ are in {run.folder}")
    return numbers


def sampler_of(
    model: keras.Model, splits: Splits, settings: AutoencoderSettings, run: Run
) -> code_sampler.CodeSampler | None:
    """What draws new codes of a trained model, from the run's folder where it was fitted before."""
    encoder = model.get_layer("encoder")

    def codes() -> np.ndarray:
        parts = splits.train.blocks(FITTED_CODES)
        return np.concatenate([encoder.predict(part, batch_size=500, verbose=0) for part in parts])

    return code_sampler.of_run(run.folder, encoder, codes, settings.sampler, settings.seed)


def headline(numbers: dict[str, float]) -> dict[str, float]:
    """The few numbers that runs are compared by."""
    names = (
        "test/mse", "test/psnr_db", "test/ssim", "validation/mse", "mixture_100/fid", "normal/fid",
        "flow/fid", "neighbors/fid", "noise_0.4/gain_db",
    )  # fmt: skip
    return {name: numbers[name] for name in names if name in numbers}


def introduction(splits: Splits, model: keras.Model, run: Run) -> str:
    """What a run says before it trains."""
    height, width, channels = splits.image_shape
    return (
        f"{splits.name}: {len(splits.train):,} training, {len(splits.validation):,} validation and "
        f"{len(splits.test):,} test images of {height} x {width} x {channels}; "
        f"{model.count_params():,} weights; run {run.folder}"
    )
