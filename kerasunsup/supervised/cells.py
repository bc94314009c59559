"""The cells of the comparison: which there are, their labelled images, their results and files."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.supervised.settings import (
    CONTRASTIVE,
    PSEUDO_LABELLED,
    SEMI_SUPERVISED,
    SupervisedSettings,
)
from kerasunsup.training import feature_network, files
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

# The cost of one step of a method, in steps of the same network trained plainly. They only serve to
# tell the time that is left.
_STEP_COST = {
    "frozen": 0.1, "convolutional": 2.0, "graph_labels": 1.5, "pseudo_labels": 4.0,
    "pseudo_labels_scratch": 4.0, "student": 6.0,
}  # fmt: skip
_PROBE_COST = {"linear_probe": 50.0, "neighbors": 50.0, "mixture": 200.0, "graph": 300.0}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training of the comparison: a method, a number of labels and a repetition."""

    method: str  # a key of `METHOD_NAMES`
    num_labels: int  # labelled images; 0 stands for all
    repetition: int  # counted from 0

    @property
    def name(self) -> str:
        """The name of its file in the run folder, without the ending."""
        return f"{self.method}-{self.num_labels or 'all'}-{self.repetition}"


# The fields of a result that are one array or one number each.
_PLAIN = ("predictions", "confidence", "accuracy", "loss", "validation_accuracy", "seconds")


@dataclasses.dataclass(frozen=True)
class CellResult:
    """What a trained method predicts for the test images, and how fast it learned."""

    predictions: np.ndarray  # int64 (num_test,), classes counted from 0
    confidence: np.ndarray  # float32 (num_test,), the probability of each predicted class
    accuracy: float  # the share of test images that are predicted right, in [0, 1]
    loss: float  # the cross entropy in nats, mean over the test images
    validation_accuracy: float  # the share of validation images that are predicted right
    # `images` (seen so far), `seconds` (of training alone), `accuracy` and `loss` (both on
    # validation images) at each measured point; empty for methods that are not trained in steps.
    curve: dict[str, np.ndarray]
    seconds: float  # the time that the whole cell took, measuring included
    weights: tuple[np.ndarray, ...] = ()  # of the trained network, where they were to be kept

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns the result as named arrays, for a file."""
        plain = {name: np.asarray(getattr(self, name)) for name in _PLAIN}
        curve = {f"curve/{name}": values for name, values in self.curve.items()}
        return plain | curve | {f"weights/{i:04}": array for i, array in enumerate(self.weights)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> CellResult:
        """Returns the result that `to_arrays` turned into these arrays.

        Raises:
            KeyError: if something is missing.
        """
        plain: dict[str, Any] = {name: arrays[name] for name in _PLAIN}
        plain |= {name: float(array) for name, array in plain.items() if array.ndim == 0}
        curve = {key[6:]: values for key, values in arrays.items() if key.startswith("curve/")}
        weights = tuple(arrays[key] for key in sorted(arrays) if key.startswith("weights/"))
        return cls(**plain, curve=curve, weights=weights)


def label_counts(settings: SupervisedSettings, splits: Splits) -> list[int]:
    """Returns the numbers of labels that this data allows, ascending, with 0 (all) last.

    Raises:
        InputError: if none is left.
    """
    labels = splits.labels
    least, most = 0 if labels is None else len(np.unique(labels.train)), len(splits.train)
    asked = sorted({size for size in settings.labels if size}) + [0] * (0 in settings.labels)
    fitting = [size for size in asked if size == 0 or least <= size < most]
    if not fitting and asked and asked[-1] >= most:
        fitting = [0]  # so many labels are all that there are
    if not fitting:
        raise InputError(
            f"--labels {' '.join(map(str, settings.labels))}: {splits.name} has {most:,} training "
            f"images of {least} classes; give numbers from {least} to {most - 1}, or 0 for all"
        )
    left_out = [f"{size:,}" for size in asked if size not in fitting]
    if left_out:
        instead = "" if set(fitting) <= set(asked) else ", all of them are used"
        logger.info(
            f"{', '.join(left_out)} labels are left out: {splits.name} has {most:,} training "
            f"images of {least} classes{instead}"
        )
    return fitting


def planned_cells(settings: SupervisedSettings, label_counts: list[int]) -> list[Cell]:
    """Returns all cells in the order of their training: one repetition of the table after another.

    Methods that use unlabelled images are left out where all images are labelled.

    Raises:
        InputError: if no training is left.
    """
    cells = [
        Cell(method, num_labels, repetition)
        for repetition in range(settings.repetitions)
        for num_labels in label_counts
        for method in settings.arms
        if num_labels or method not in SEMI_SUPERVISED
    ]
    if not cells:
        raise InputError(
            f"--arms {' '.join(settings.arms)} need images without labels, and --labels 0 leaves "
            "none: give fewer labels"
        )
    return cells


def balanced_subset(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Returns the positions of a subset of images that holds the classes as evenly as can be.

    Args:
        labels: int64 (num_images,).
        number: the size of the subset; 0 stands for all images. A smaller subset of the same seed
            lies in every larger one.
        seed: the choice follows from it.

    Returns:
        int64 (number,), ascending.

    Raises:
        ValueError: if there are fewer images, or fewer labels than classes.
    """
    if number == 0:
        return np.arange(len(labels))
    classes = np.unique(labels)
    if not len(classes) <= number <= len(labels):
        raise ValueError(
            f"{number} labels cannot be drawn from {len(labels)} images of {len(classes)} classes"
        )
    order = np.random.default_rng([seed, 7]).permutation(len(labels))
    # The rank of each image within its class, along the random order.
    ranks = np.empty(len(labels), np.int64)
    for one in classes:
        members = np.flatnonzero(labels[order] == one)
        ranks[members] = np.arange(len(members))
    return np.sort(order[np.argsort(ranks, kind="stable")[:number]])


def training_steps(method: str, settings: SupervisedSettings, num_labelled: int) -> int:
    """Returns how many steps a network is trained for with so many labelled images."""
    if method in PSEUDO_LABELLED:
        return settings.pseudo_label_steps
    if method == "graph_labels":
        return settings.graph_steps
    batch_size = min(settings.batch_size, num_labelled)
    return max(settings.steps, settings.epochs * num_labelled // batch_size)


def relative_cost(cell: Cell, settings: SupervisedSettings, num_images: int) -> float:
    """Returns about how long a cell takes, in steps of the same network trained plainly."""
    method = CONTRASTIVE.get(cell.method, cell.method)
    if method in _PROBE_COST:
        return _PROBE_COST[method]
    if cell.method == "student":
        epoch = num_images / settings.batch_size
        # Three rounds; all but the first are taught in three times as many steps.
        return _STEP_COST["student"] * (7 * settings.steps + 3 * settings.student_epochs * epoch)
    steps = training_steps(cell.method, settings, cell.num_labels or num_images)
    return steps * _STEP_COST.get(cell.method, 1.0)


def result_path(run: Run, cell: Cell) -> Path:
    """Returns where a run keeps the result of a cell."""
    return run.folder / "checkpoints" / f"{cell.name}.npz"


def read_result(run: Run, cell: Cell, splits: Splits) -> CellResult:
    """Returns the result of a cell that an earlier session of the run trained.

    Raises:
        InputError: if the file is damaged.
    """
    path = result_path(run, cell)
    try:
        result = CellResult.from_arrays(files.read_arrays(path))
        is_sound = (
            result.predictions.shape == result.confidence.shape == (len(splits.test),)
            and np.isin(result.predictions, range(len(feature_network.classes_of(splits)))).all()
            and np.isfinite([*result.confidence, result.loss, result.seconds]).all()
            and min(result.accuracy, result.validation_accuracy) >= 0.0
            and max(result.accuracy, result.validation_accuracy) <= 1.0
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it, then --resume") from error
    if not is_sound:
        raise InputError(
            f"{path} is damaged (it is no answer to the test images): remove it, then --resume"
        )
    return result
