"""The comparison of outlier scores: one class of labelled data against all others, class by class.

The labels only make the task and judge the answer: each autoencoder sees images of one class.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from kerasunsup.ae import experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import images
from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import LEAST_TRAINING, Labels, Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.evaluation import classifier_metrics, latent_space, outlier_detector
from kerasunsup.figures import curves, image_grids
from kerasunsup.novelty.settings import OUTLIER_SCORES, NoveltySettings
from kerasunsup.settings import Command, to_json
from kerasunsup.training import feature_network, files, loop, run_folder
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

_MOST_IMAGES = 20_000  # of a class
# Of a class: its autoencoder keeps one to validate and one to test by.
_LEAST_IMAGES = LEAST_TRAINING + 2
_NEIGHBORS = 5
_BATCH = 500
_SHOWN = 30

SCORES = OUTLIER_SCORES


def run(command: Command) -> dict[str, float]:
    """Trains an autoencoder a class, scores all test images, or goes on with it.

    Args:
        command: the parsed command line.

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
    chosen = classes_of(settings, splits)
    experiment.check(_settings_of_class(settings, settings.data), splits)
    with run_folder.opened(command, fingerprint) as run:
        done = 0
        try:
            scores: dict[int, dict[str, np.ndarray]] = {}
            seconds = 0.0
            for label in chosen:
                print(f"class {class_name(splits, label)}: {done + 1} of {len(chosen)}", flush=True)
                run.check_folder()
                encoder_run = trained(settings, splits, label, run)
                seconds += encoder_run.read_metrics().get("training_seconds", np.nan)
                scores[label] = scores_of(encoder_run, settings, splits, label)
                done += 1
            with training_tensorboard.Board(run.folder) as tensorboard:
                return finish(run, tensorboard, settings, splits, scores, seconds)
        except KeyboardInterrupt:
            raise Interrupted(loop.how_to_resume(run, done, "classes")) from None


def with_others(splits: Splits) -> Splits:
    """Splits whose test part holds images of two classes.

    Where rare classes left none to the test part, all their other images join it: no autoencoder
    of the one class that is there sees them.
    """
    labels = splits.labels
    if labels is None or len(np.unique(labels.test)) > 1:
        return splits
    test, known = splits.test, labels.test
    for part, own in ((splits.train, labels.train), (splits.validation, labels.validation)):
        others = np.flatnonzero(own != labels.test[0])
        test, known = test.followed_by(part.subset(others)), np.append(known, own[others])
    print(
        f"the test images are all of one class: {len(known) - len(labels.test)} images of the "
        "others, which its autoencoder does not see, join them",
        flush=True,
    )
    return dataclasses.replace(
        splits, test=test, labels=Labels(labels.train, labels.validation, known)
    )


def classes_of(settings: NoveltySettings, splits: Splits) -> list[int]:
    """The labels of the classes that are taken for clean, one after the other.

    Those that are too small are named on standard output.

    Raises:
        InputError: if there are no labels of two classes, no class is large enough, or one
            asked for is not there.
    """
    if not feature_network.has_classes(splits) or splits.labels is None:
        raise InputError(
            f"--data {splits.name} has no labels of two classes or more: sort the images into one "
            "sub-folder a class, or give a .npz with labels"
        )
    labels = splits.labels
    found = np.unique(np.concatenate([labels.train, labels.validation, labels.test]))
    counts = np.array([np.sum(labels.train == label) for label in found])
    is_known = (counts >= _LEAST_IMAGES) & np.isin(found, labels.test)
    known, rule = found[is_known].tolist(), f"{_LEAST_IMAGES} training images and one test image"
    if not known:
        raise InputError(f"--data {splits.name}: no class has {rule}: add images")
    asked = known if settings.classes is None else list(dict.fromkeys(settings.classes))
    for label in asked:
        if label not in known:
            raise InputError(
                f"--classes {label}: {splits.name} has {rule} or more of the classes "
                f"{', '.join(map(str, known))}"
            )
    if settings.classes is None and not is_known.all():
        small = [
            f"{class_name(splits, label)} ({count} training images)"
            for label, count in zip(found[~is_known], counts[~is_known], strict=True)
        ]
        print(f"not measured, as a class needs {rule}: {', '.join(small)}", flush=True)
    return asked


def class_name(splits: Splits, label: int) -> str:
    """What a class is called."""
    return str(label) if splits.class_names is None else splits.class_names[label]


def clean_images(splits: Splits, label: int) -> np.ndarray:
    """The training images of a class, float32 (num_images, height, width, channels)."""
    if splits.labels is None:
        raise ValueError("there are no labels")
    chosen = np.flatnonzero(splits.labels.train == label)[:_MOST_IMAGES]
    return splits.train.subset(chosen).array()


def trained(
    settings: NoveltySettings,
    splits: Splits,
    label: int,
    run: Run,
) -> Run:
    """The autoencoder run of one class, trained where it is not; it belongs to this run."""
    logs, name = run.folder / "classes", f"class-{label}"
    folder = logs / "ae" / name
    path = run.folder / "checkpoints" / f"{name}.npz"
    if (folder / "metrics.json").exists():
        path.unlink(missing_ok=True)  # a kill may have come between the two
        return Run(folder)
    files.write_arrays(path, {"images": images.to_uint8(clean_images(splits, label))})
    experiment.run(
        Command(
            "ae",
            _settings_of_class(settings, str(path)),
            logs,
            name,
            (folder / "config.json").exists(),
            (),
        ),
        brief=True,
    )
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


@dataclasses.dataclass(frozen=True)
class _Described:
    """What an autoencoder says of images.

    Attributes:
        codes: (num_images, latent_dim).
        errors: (num_images,), mean squared error of each reconstruction.
        changes: (num_images, latent_dim), the code less the code of the reconstruction.
    """

    codes: np.ndarray
    errors: np.ndarray
    changes: np.ndarray


def _describe(model: keras.Model, pictures: np.ndarray) -> _Described:
    encoder = model.get_layer("encoder")
    codes = encoder.predict(pictures, batch_size=_BATCH, verbose=0)
    made = model.predict(pictures, batch_size=_BATCH, verbose=0)
    again = encoder.predict(made, batch_size=_BATCH, verbose=0)
    return _Described(codes, np.square(made - pictures).mean(axis=(1, 2, 3)), codes - again)


def scores_of(
    encoder_run: Run,
    settings: NoveltySettings,
    splits: Splits,
    label: int,
) -> dict[str, np.ndarray]:
    """How odd each test image is to a class, by every score: more is odder.

    Returns:
        A key of `SCORES` -> float64 (num_test,).

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
    known, found = _describe(model, clean), _describe(model, tests)
    seed = settings.seed
    flat, test_flat = clean.reshape(len(clean), -1), tests.reshape(len(tests), -1)
    components = latent_space.principal_components(flat, settings.latent_dim, seed)
    projected = components.inverse_transform(components.transform(test_flat))
    neighbors = min(_NEIGHBORS, len(known.codes) - 1)
    detector = outlier_detector.fit(known.errors, known.codes, seed)
    return {
        "outliers": detector.scores(found.errors, found.codes),
        "error": found.errors.astype(np.float64),
        "density": -detector.mixture.log_likelihoods(found.codes),
        "neighbors": latent_space.nearest(known.codes, found.codes, neighbors)[0].mean(axis=1),
        "code_error": _mahalanobis(known.changes, found.changes),
        "pca": np.square(projected - test_flat).mean(axis=1),
    }


def _mahalanobis(clean: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Squared distance from the clean rows' mean, by their covariance."""
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(clean.T)))
    away = values - clean.mean(axis=0)
    return np.einsum("ij,jk,ik->i", away, inverse, away)


def finish(
    run: Run,
    tensorboard: training_tensorboard.Board,
    settings: NoveltySettings,
    splits: Splits,
    scores: dict[int, dict[str, np.ndarray]],
    seconds: float,
) -> dict[str, float]:
    """Numbers and figures of all classes.

    Returns:
        `outliers/auroc_<class>`, `outliers/auroc_mean`, and the same of the other scores: the
        probability that an image of another class is odder than one of the class.
    """
    if splits.labels is None:
        raise ValueError("there are no labels")
    labels = splits.labels.test
    numbers: dict[str, float] = {"training_seconds": seconds}
    areas: dict[str, list[float]] = {}
    for name in SCORES:
        areas[name] = [
            classifier_metrics.auroc(labels != label, found[name])
            for label, found in scores.items()
        ]
        for label, area in zip(scores, areas[name], strict=True):
            numbers[f"{name}/auroc_{class_name(splits, label)}"] = area
        numbers[f"{name}/auroc_mean"] = float(np.mean(areas[name]))
    names = [class_name(splits, label) for label in scores]
    tensorboard.show(
        "auroc",
        curves.areas_under_curves(names, {SCORES[key]: areas[key] for key in SCORES}),
        "How surely an image of another class is the odder one, by class and score.",
    )
    draw_overlooked(tensorboard, splits, scores)
    run.write_metrics(numbers)
    table = training_tensorboard.markdown_table
    tensorboard.text("settings", table(to_json(settings), ("setting", "value")))
    tensorboard.text("numbers", table(numbers, ("number", "value")))
    tensorboard.scalars({name: v for name, v in numbers.items() if name.endswith("/auroc_mean")})
    print(summary(numbers), flush=True)
    print(f"\nfigures and an autoencoder a class are in {run.folder}", flush=True)
    return numbers


def draw_overlooked(
    tensorboard: training_tensorboard.Board,
    splits: Splits,
    scores: dict[int, dict[str, np.ndarray]],
) -> None:
    """Images of other classes that look most like the class."""
    if splits.labels is None:
        raise ValueError("there are no labels")
    labels = splits.labels.test
    each = max(1, _SHOWN // len(scores))
    shown: list[tuple[int, int, float]] = []
    for label, found in scores.items():
        others = np.flatnonzero(labels != label)
        odd = found["outliers"]
        for index in others[np.argsort(odd[others], kind="stable")][:each]:
            within = float(np.mean(odd[labels == label] >= odd[index]))
            shown.append((int(index), label, within))
    shown = shown[:_SHOWN]
    tensorboard.show(
        "overlooked",
        image_grids.captioned_images(
            splits.test.array(np.array([index for index, _, _ in shown])),
            [
                f"{class_name(splits, labels[index])} as {class_name(splits, label)}"
                for index, label, _ in shown
            ],
            [f"{100 * within:.0f} % odder" for _, _, within in shown],
        ),
        "The least odd images of other classes; below, the share of the class that is odder still.",
    )


def summary(numbers: dict[str, float]) -> str:
    """What the end of a run prints."""
    width = max(map(len, SCORES.values()))
    lines = ["", f"  {'area under the ROC curve, mean over classes':<{width}}"]
    for name, text in SCORES.items():
        lines.append(f"  {text:<{width}}  {100 * numbers[f'{name}/auroc_mean']:.2f} %")
    return "\n".join(lines)
