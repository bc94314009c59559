"""The comparison of outlier scores: one class of labelled data against all others, class by class.

Labels choose the images of each class and check the answer; each autoencoder sees one class alone.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import keras
import numpy as np

from kerasunsup.ae import experiment as autoencoder
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import images
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import LEAST_TRAINING, Labels, Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.novelty import results, views
from kerasunsup.novelty.settings import NoveltySettings
from kerasunsup.settings import Command, to_json
from kerasunsup.training import files, loop, run_folder
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

_MOST_IMAGES = 20_000  # training images of a class that are used
# Its autoencoder needs one image of the class to validate and one to test by.
_LEAST_IMAGES = LEAST_TRAINING + 2


def run(command: Command) -> dict[str, float]:
    """Trains an autoencoder for each class and scores all test images by it, or goes on with that.

    Returns:
        What `metrics.json` holds.

    Raises:
        InputError: for everything that a user can mend.
        Interrupted: on Ctrl-C.
    """
    settings: NoveltySettings = command.config
    splits = data_splits.load(settings)
    fingerprint = splits.fingerprint
    splits = with_others(splits)
    labels = classes_of(settings, splits)
    autoencoder.check(_settings_of_class(settings, settings.data), splits)
    with run_folder.opened(command, fingerprint) as run:
        scores: dict[int, dict[str, np.ndarray]] = {}
        seconds = 0.0
        try:
            for label in labels:
                name = results.class_name(splits, label)
                logger.info(f"class {name}: {len(scores) + 1} of {len(labels)}")
                run.check_folder()
                encoder_run = autoencoder_of_class(settings, splits, label, run)
                seconds += encoder_run.read_metrics().get("training_seconds", np.nan)
                view_scores = view_scores_of_class(settings, splits, label, run)
                seconds += view_scores.seconds
                scores[label] = scores_of(encoder_run, view_scores, settings, splits, label)
            with training_tensorboard.TensorBoardWriter(run.folder) as tensorboard:
                return write_results(run, tensorboard, settings, splits, scores, seconds)
        except KeyboardInterrupt:
            raise Interrupted(loop.how_to_resume(run, len(scores), "classes")) from None


def with_others(splits: Splits) -> Splits:
    """Returns splits whose test part holds images of two classes or more.

    Where all test images are of one class, the images of all other classes join them: the
    autoencoder of that one class does not see them.

    Raises:
        InputError: if there are no labels of two classes.
    """
    labels = results.labels_of(splits)
    if len(np.unique(labels.test)) > 1:
        return splits
    test, test_labels = splits.test, labels.test
    for part, own in ((splits.train, labels.train), (splits.validation, labels.validation)):
        others = np.flatnonzero(own != labels.test[0])
        test = test.followed_by(part.subset(others))
        test_labels = np.append(test_labels, own[others])
    logger.info(
        f"the test images are all of one class: {len(test_labels) - len(labels.test)} images of "
        "the others, which its autoencoder does not see, join them"
    )
    return dataclasses.replace(
        splits, test=test, labels=Labels(labels.train, labels.validation, test_labels)
    )


def classes_of(settings: NoveltySettings, splits: Splits) -> list[int]:
    """Returns the labels of the classes that are taken for clean in turn.

    Classes that are too small are logged.

    Raises:
        InputError: if no class is large enough, or one asked for is not there.
    """
    labels = results.labels_of(splits)
    classes = np.unique(np.concatenate([labels.train, labels.validation, labels.test]))
    counts = np.array([np.sum(labels.train == label) for label in classes])
    is_usable = (counts >= _LEAST_IMAGES) & np.isin(classes, labels.test)
    usable = classes[is_usable].tolist()
    rule = f"{_LEAST_IMAGES} training images and one test image"
    if not usable:
        raise InputError(f"--data {splits.name}: no class has {rule}: add images")
    asked = usable if settings.classes is None else list(dict.fromkeys(settings.classes))
    for label in asked:
        if label not in usable:
            raise InputError(
                f"--classes {label}: {splits.name} has {rule} or more of the classes "
                f"{', '.join(map(str, usable))}"
            )
    if settings.classes is None and not is_usable.all():
        small = [
            f"{results.class_name(splits, label)} ({count} training images)"
            for label, count in zip(classes[~is_usable], counts[~is_usable], strict=True)
        ]
        logger.info(f"not measured, as a class needs {rule}: {', '.join(small)}")
    return asked[: settings.most_classes]


def clean_images(splits: Splits, label: int) -> np.ndarray:
    """Returns the training images of a class, float32 (num_images, height, width, channels)."""
    return _of_class(splits, label).array()


def _of_class(splits: Splits, label: int) -> ImageSet:
    positions = np.flatnonzero(results.labels_of(splits).train == label)[:_MOST_IMAGES]
    return splits.train.subset(positions)


def autoencoder_of_class(settings: NoveltySettings, splits: Splits, label: int, run: Run) -> Run:
    """Returns the autoencoder run of one class, inside the folder of this run.

    It is trained first where it is not finished yet.
    """
    logs, name = run.folder / "classes", f"class-{label}"
    folder = logs / "ae" / name
    path = run.folder / "checkpoints" / f"{name}.npz"
    if (folder / "metrics.json").exists():
        path.unlink(missing_ok=True)  # a kill may have come between the two
        return Run(folder)
    files.write_arrays(path, {"images": images.to_uint8(clean_images(splits, label))})
    class_settings = _settings_of_class(settings, str(path))
    goes_on = (folder / "config.json").exists()
    autoencoder.run(Command("ae", class_settings, logs, name, goes_on, ()), brief=True)
    path.unlink()
    return Run(folder)


def _settings_of_class(settings: NoveltySettings, data: str) -> AutoencoderSettings:
    shared: dict[str, Any] = {
        field: getattr(settings, field)
        for field in (
            "epochs", "batch_size", "learning_rate", "schedule", "patience", "seed", "precision",
            "strategy", "deterministic", "latent_dim", "hidden_units",
        )
    }  # fmt: skip
    return AutoencoderSettings(data=data, **shared)


def view_scores_of_class(
    settings: NoveltySettings, splits: Splits, label: int, run: Run
) -> views.ViewScores:
    """Returns how odd the views of all test images are for one class.

    The network is trained first where no earlier start of this run has.
    """
    return views.of_class(
        run.folder / "classes" / "views" / f"class-{label}.npz",
        _of_class(splits, label),
        splits.test.array(),
        num_steps=settings.view_steps,
        seed=settings.seed,
    )


def scores_of(
    encoder_run: Run,
    view_scores: views.ViewScores,
    settings: NoveltySettings,
    splits: Splits,
    label: int,
) -> dict[str, np.ndarray]:
    """Returns the outlier scores of all test images for one class, a key of `OUTLIER_SCORES` each.

    Raises:
        InputError: if the run's model is damaged.
    """
    try:
        model = keras.models.load_model(encoder_run.folder / "model.keras", compile=False)
    except Exception as error:  # zipfile, h5py, json and Keras each raise their own
        raise InputError(
            f"{encoder_run.folder} is damaged ({type(error).__name__}): remove it, then --resume"
        ) from error
    clean, tests = clean_images(splits, label), splits.test.array()
    scores = results.outlier_scores(
        model, clean, tests,
        latent_dim=settings.latent_dim, seed=settings.seed, flow=settings.flow,
    )  # fmt: skip
    scores |= {"views": view_scores.distances, "answers": view_scores.surprise}
    return scores | {"ranks": results.rank_average(scores)}


def write_results(
    run: Run,
    tensorboard: training_tensorboard.TensorBoardWriter,
    settings: NoveltySettings,
    splits: Splits,
    scores: results.ScoresByClass,
    seconds: float,
) -> dict[str, float]:
    """Writes the numbers and figures of all classes; returns what `metrics.json` holds."""
    names = [results.class_name(splits, label) for label in scores]
    areas = results.areas_under_curves(splits, scores)
    results.draw_areas(tensorboard, names, areas)
    results.draw_overlooked(tensorboard, splits, scores)
    numbers = {"training_seconds": seconds} | results.metrics(names, areas)
    run.write_metrics(numbers)
    table = training_tensorboard.markdown_table
    tensorboard.text("settings", table(to_json(settings), ("setting", "value")))
    tensorboard.text("numbers", table(numbers, ("number", "value")))
    tensorboard.scalars({name: v for name, v in numbers.items() if name.endswith("/auroc_mean")})
    logger.info(results.summary(numbers))
    logger.info(f"\nfigures and an autoencoder a class are in {run.folder}")
    return numbers
