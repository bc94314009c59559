"""What a trained autoencoder is worth: its numbers and figures, each from arrays."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from kerasunsup.ae import code_space, denoiser, variational
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.ae.trained import (
    FITTED_CODES,
    SHOWN,
    TrainedAutoencoder,
    class_labels,
    errors_on_tests,
    example_indices,
)
from kerasunsup.data import corruption, images
from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import clustering, image_metrics, latent_space, sure_groups
from kerasunsup.figures import curves, image_grids, scatter_plots, style
from kerasunsup.progress import Progress
from kerasunsup.training import callbacks, feature_network, files, loop, self_labelling
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.code_sampler import CodeSampler, Way
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

_SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_HOLES = (4, 6, 8, 10, 12, 14)  # pixels
_SHEET = 100
_FRAMES = 20  # of a moving picture, about
_SWEPT = 10_000  # test images that are corrupted in every strength, at most
_GROUPED = 10_000  # test images that are sorted into groups, at most


def write_results(
    model: keras.Model,
    splits: Splits,
    settings: AutoencoderSettings,
    run: Run,
    tensorboard: training_tensorboard.TensorBoardWriter,
    fitted: loop.Fitted,
    snapshots: callbacks.Snapshots,
    *,
    brief: bool = False,
    sampler: CodeSampler | None = None,
) -> dict[str, float]:
    """All numbers of a trained autoencoder, as `metrics.json` holds them; writes its figures too.

    Where it is to be `brief`, only those of training and of the test error, without the minutes
    that restored images, the encoded space and new samples take.
    """
    trained = TrainedAutoencoder(model, splits, settings, run, tensorboard, sampler)
    numbers: dict[str, float] = {
        "epochs": len(fitted.history["epoch"]),
        "best_epoch": fitted.best_epoch,
        "training_seconds": fitted.seconds,
    }
    for part, errors in zip(("training", "validation"), errors_of(fitted.history), strict=True):
        numbers[f"{part}/mse"] = errors[fitted.best_epoch - 1]
    logger.info("measuring the test error")
    numbers |= (denoiser.reconstruction if settings.skip else reconstruction)(trained, fitted)
    write_reconstructions(trained, snapshots)
    if settings.variational:
        numbers |= variational.measure(trained, fitted)
    if brief:
        return image_metrics.finite(numbers)
    logger.info("restoring images with noise and holes")
    numbers |= restoration(trained)
    if settings.skip:  # the rest is about codes
        return image_metrics.finite(numbers)
    logger.info("drawing the encoded space")
    numbers |= code_space.encoded_space(trained)
    numbers |= code_space.walks(trained)
    logger.info("comparing groups of images with their classes")
    numbers |= groups(trained)
    logger.info("drawing new samples")
    numbers |= sampling(trained)
    return image_metrics.finite(numbers)


def reconstruction(trained: TrainedAutoencoder, fitted: loop.Fitted) -> dict[str, float]:
    """Test error beside PCA's of the same size, and the learning curve (the study's figure 1).

    PCA is fitted on all of MNIST's training images, on fewer where they are large.
    """
    size = trained.settings.latent_dim
    fitted_on = trained.splits.train.array(
        np.arange(min(len(trained.splits.train), trained.most_held))
    )
    flat = fitted_on.reshape(len(fitted_on), -1)
    components = latent_space.principal_components(flat, size, trained.settings.seed)
    del fitted_on, flat  # not needed in what follows
    parts = []
    for pictures in trained.splits.test.blocks():
        errors = errors_on_tests(trained.apply(pictures), pictures)
        errors["pca/mse"] = latent_space.projection_mse(components, pictures)
        away = pictures.reshape(len(pictures), -1) - components.mean_
        errors["mean_image/mse"] = float(np.square(away).mean())
        parts.append((len(pictures), errors))
    numbers = image_metrics.mean_of_blocks(parts)
    # The curve of a model that restores is of corrupted images, PCA's error of clean ones.
    is_of_clean_images = trained.settings.noise == 0 and trained.settings.crop == 0
    figure = curves.learning_curve(
        fitted.history["epoch"],
        *errors_of(fitted.history),
        best_epoch=fitted.best_epoch,
        pca_mse=numbers["pca/mse"] if is_of_clean_images else None,
        pca_dim=components.n_components_,
    )
    of_pca = "; PCA of the same size." if is_of_clean_images else ", of images as they are given."
    trained.tensorboard.show("learning_curve", figure, f"Mean squared error an epoch{of_pca}")
    return numbers


def errors_of(history: Mapping[str, list[float]]) -> tuple[list[float], list[float]]:
    """Mean squared errors an epoch, of training and of validation.

    They are the loss itself, where it holds nothing else.
    """
    name = "mse" if "mse" in history else "loss"
    return history[name], history[f"val_{name}"]


def write_reconstructions(trained: TrainedAutoencoder, snapshots: callbacks.Snapshots) -> None:
    """The reconstruction of one image of each class while training (the study's figure 2)."""
    indices = example_indices(trained.splits)
    figure = image_grids.reconstructions_over_epochs(
        trained.examples,
        np.stack(snapshots.outputs),
        snapshots.epochs,
        column_labels=class_labels(trained.splits, indices),
    )
    trained.tensorboard.show(
        "reconstructions", figure, "Test images and what the model made of them."
    )
    # Evenly, back from the last: a moving picture stays small.
    last, frames = len(snapshots.epochs) - 1, []
    shown = list(range(last, -1, -max(1, math.ceil(last / _FRAMES))))[::-1]
    epochs = [snapshots.epochs[index] for index in shown]
    for epoch, output in zip(epochs, (snapshots.outputs[index] for index in shown), strict=True):
        rows = [
            image_grids.SampleRow("original", trained.examples, {}),
            image_grids.SampleRow(f"epoch {epoch}", output, {}),
        ]
        frames.append(style.to_pixels(image_grids.sampled_images(rows)))
    trained.tensorboard.show_moving("reconstructions", epochs, frames)


def restoration(trained: TrainedAutoencoder) -> dict[str, float]:
    """Noise and holes over their strengths, and examples (the study's figure 3)."""
    side = min(trained.splits.image_shape[:2])
    numbers: dict[str, float] = {}
    holes = [hole for hole in _HOLES if hole < side]
    swept: dict[str, list[dict[str, float]]] = {"noise": [], "crop": []}
    corruptions = [("noise", sigma) for sigma in _SIGMAS] + [("crop", hole) for hole in holes]
    with Progress(len(corruptions), "corruption") as progress:
        for kind, strength in corruptions:
            measured = _restored(trained, kind, strength)
            swept[kind].append(measured)
            numbers |= {f"{kind}_{strength:g}/{name}": value for name, value in measured.items()}
            progress.advance()
    columns = {
        kind: {name: [measured.get(name, math.nan) for measured in rows] for name in _RESTORED}
        for kind, rows in swept.items()
    }
    if not all(swept["crop"]):
        logger.info("a black hole changes no test image: its numbers are left out")
    trained.tensorboard.show(
        "corruption_sweep",
        curves.corruption_sweep(_SIGMAS, columns["noise"], holes, columns["crop"]),
        "PSNR and SSIM of the corrupted input and of the output, mean over test images.",
    )
    sigma = trained.settings.noise or 0.4
    hole = trained.settings.crop or min(8, side - 1)
    shown = [_block(trained, "noise", sigma), _block(trained, "crop", hole)]
    trained.tensorboard.show(
        "restorations",
        image_grids.restorations(shown),
        "Corrupted test images, the model's answer, the original; gain of PSNR in dB.",
    )
    return numbers


_RESTORED = ("mse", "input_psnr_db", "psnr_db", "gain_db", "input_ssim", "ssim", "share_better")


def _restored(trained: TrainedAutoencoder, kind: str, strength: float) -> dict[str, float]:
    """PSNR and SSIM before and after, mean over the test images that the corruption changes.

    A hole over an empty background changes nothing: its input is perfect, and a few such images
    would rule the mean. Empty where no image is changed.
    """
    parts = []
    for block, originals in enumerate(trained.splits.test.blocks(_SWEPT)):
        corrupted = corruption.of_kind(kind, originals, strength, trained.settings.seed, block)
        changed = np.any(corrupted != originals, axis=(1, 2, 3))
        if not changed.any():
            continue
        originals, corrupted = originals[changed], corrupted[changed]
        outputs = trained.apply(corrupted)
        pairs = [(made, originals) for made in (corrupted, outputs)]
        input_psnr, psnr = (image_metrics.psnr_db_per_image(*pair) for pair in pairs)
        levels = (float(each.mean()) for each in (input_psnr, psnr, psnr - input_psnr))
        ssim = (image_metrics.ssim(*pair) for pair in pairs)
        share = float(np.mean(psnr >= input_psnr))
        values = (image_metrics.mse(outputs, originals), *levels, *ssim, share)
        parts.append((len(originals), dict(zip(_RESTORED, values, strict=True))))
    return image_metrics.mean_of_blocks(parts)


def _block(trained: TrainedAutoencoder, kind: str, strength: float) -> image_grids.Restoration:
    originals = trained.examples
    corrupted = corruption.of_kind(kind, originals, strength, trained.settings.seed)
    restored = trained.apply(corrupted)
    gains = image_metrics.psnr_db_per_image(restored, originals) - image_metrics.psnr_db_per_image(
        corrupted, originals
    )
    if kind == "noise":
        title = f"Gaussian noise, standard deviation {strength:g}"
        return image_grids.Restoration(title, corrupted, restored, originals, gains)
    seed = corruption.seed_of(strength, trained.settings.seed)
    mask = corruption.hole_mask(originals, int(strength), seed).numpy()
    title = f"hole of {strength:g} x {strength:g} pixels (outlined)"
    return image_grids.Restoration(title, corrupted, restored, originals, gains, mask)


def groups(trained: TrainedAutoencoder) -> dict[str, float]:
    """How well as many groups as classes, made without labels, agree with the classes.

    By k-means on pixels and on codes, by the graph of codes that `apply cluster` uses, and where it
    is asked for by a student that learned from training images, of the first 10,000 test images,
    fewer where they are large. Empty without labels or with too few.
    """
    if trained.splits.labels is None:
        return {}
    labels = trained.splits.labels.test[: min(_GROUPED, trained.most_held)]
    number, seed = len(np.unique(labels)), trained.settings.seed
    least = max(clustering.LEAST_CODES, 10 * number)
    if number < 2 or len(labels) < least:
        logger.info(f"no groups: {len(labels)} test images are too few, {least} are needed")
        return {}
    pictures = trained.splits.test.array(np.arange(len(labels)))
    codes = trained.part("encoder", pictures)
    if latent_space.is_alike(codes):
        logger.info("no groups: all codes are alike")
        return {}
    groupings = {
        "pixels/kmeans": clustering.k_means(pictures.reshape(len(pictures), -1), number, seed),
        "latent/kmeans": clustering.k_means(codes, number, seed),
        "latent/graph": clustering.groups(codes, number, seed),
    }
    if trained.settings.student and loop.is_distributed():
        logger.info("no groups by a student: it learns on one device, without --strategy")
    elif trained.settings.student:
        logger.info("teaching groups of training codes to a student")
        try:
            groupings["latent/student"] = _students_groups(trained, pictures, number)
        except ValueError as error:
            logger.info(f"no groups by a student: {error}")
    return {
        f"{name}_{key}": value
        for name, members in groupings.items()
        for key, value in clustering.agreement(members, labels).items()
    }


def _students_groups(trained: TrainedAutoencoder, pictures: np.ndarray, number: int) -> np.ndarray:
    """Groups of test images, int64, by a student that begins from groups of training codes."""
    train, seed = trained.splits.train, trained.settings.seed
    groups, confidence = np.full(len(train), -1), np.zeros(len(train))
    codes = trained.codes(train, min(len(train), FITTED_CODES))
    first = slice(0, len(codes))
    groups[first], confidence[first] = sure_groups.with_confidence(codes, number, seed)
    settings = self_labelling.StudentSettings(rounds=trained.settings.student_rounds)
    with loop.precision(trained.settings.precision):
        student = self_labelling.train(train, groups, confidence, settings=settings, seed=seed)
    return student.network.predict(pictures, batch_size=500, verbose=0).argmax(axis=1)


def sampling(trained: TrainedAutoencoder) -> dict[str, float]:
    """New images from drawn codes (the study's figure 9): its attempt, and what cures it.

    Each way is compared with real test images in the feature network of the data; `real/` is the
    same comparison of validation images, which neither the model nor that network was trained on.
    """
    number, splits = trained.settings.num_samples, trained.splits
    codes = trained.codes(splits.train, FITTED_CODES)
    network = trained.feature_network
    reference_features = network.describe(splits.test.blocks(number))[0]
    examples = splits.test.array(np.arange(min(SHOWN, len(splits.test))))
    # Name in metrics.json, name in the picture, what is compared, what is shown.
    sets: list[tuple[str, str, Iterable[np.ndarray], np.ndarray]] = [
        ("real", "real images", network.real_images(splits, number), examples),
    ]
    made = map(trained.apply, splits.test.blocks(number))
    sets.append(("reconstructed", "reconstructions", made, trained.apply(examples)))
    drawn: dict[str, np.ndarray] = {}
    normal = latent_space.NORMAL_SAMPLER if trained.settings.variational else {}
    for name, (shown_name, sampler) in (normal | _named(trained.samplers, codes)).items():
        drawn[shown_name] = sampler(codes, number, trained.settings.seed)
        shown = trained.part("decoder", drawn[shown_name][:_SHEET])
        sets.append((name, shown_name, trained.decoded(drawn[shown_name]), shown))

    numbers: dict[str, float] = {}
    rows: list[image_grids.SampleRow] = []
    compared = []
    with Progress(len(sets), "set") as progress:
        for name, shown_name, pictures, shown in sets:
            measured = network.compare(pictures, reference_features)
            compared.append(measured)
            numbers |= {f"{name}/{key}": value for key, value in measured.items()}
            columns = feature_network.columns(measured)
            if all(row.name != shown_name for row in rows):  # of two equal mixtures one
                rows.append(image_grids.SampleRow(shown_name, shown[:SHOWN], columns))
            progress.advance()
    feature_network.log_left_out(network, compared)
    if network.test_accuracy is not None:
        numbers["judge/accuracy"] = network.test_accuracy
    files.write_json(trained.run.folder / feature_network.IDENTITY, network.identity())
    trained.tensorboard.show(
        "samples",
        image_grids.sampled_images(rows),
        "Images decoded from drawn codes; distance to real images, score, precision, recall.",
    )
    trained.tensorboard.show(
        "drawn_codes",
        scatter_plots.code_marginals(codes, drawn),
        "Where drawn codes lie, beside the codes of training images.",
    )
    sheets = {name: shown for name, _, _, shown in sets}
    for name, text in (
        ("mixture_100", f"From a mixture of {_gaussians(codes, 100)}."),
        ("normal", "From standard normal codes."),
        ("flow", "From a flow on the mixture."),
        ("neighbors", "From Gaussians around the neighbors of training codes."),
    ):
        if name in sheets:
            _write_sheet(trained, name, sheets, text)
    return numbers


def _gaussians(codes: np.ndarray, wanted: int) -> int:
    """The components of a mixture that is fitted to codes: fewer where codes are few or large."""
    fitted_to = min(len(codes), latent_space.MIXTURE_ROWS)
    return latent_space.num_gaussians(fitted_to, codes.shape[1], wanted)


def _named(ways: Mapping[str, tuple[str, Way]], codes: np.ndarray) -> dict[str, tuple[str, Way]]:
    """Ways of drawing codes; mixtures under the number of components that they have."""
    named = dict(ways)
    for wanted in (10, 100):
        name = f"mixture_{wanted}"
        named[name] = (f"mixture of {_gaussians(codes, wanted)}", ways[name][1])
    return named


def _write_sheet(
    trained: TrainedAutoencoder, name: str, shown: Mapping[str, np.ndarray], text: str
) -> None:
    sheet = images.grid(shown[name], columns=10)
    trained.run.write_figure(f"samples_{name}", images.encode_png(sheet))
    trained.tensorboard.figure(f"samples_{name}", sheet, text=text)
