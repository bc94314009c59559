"""What the comparison of classifiers found: its numbers and figures, each from arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.figures import classifiers, confusion, image_grids
from kerasunsup.supervised import methods
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

_MISTAKES = 30

# (name in metrics.json, first, second): is first better than second, over the same seeds?
_QUESTIONS = (
    ("finetuned_minus_scratch", "finetuned", "scratch"),
    ("frozen_minus_scratch", "frozen", "scratch"),
    ("pseudo_labels_minus_finetuned", "pseudo_labels", "finetuned"),
    ("graph_labels_minus_finetuned", "graph_labels", "finetuned"),
    ("graph_labels_minus_graph", "graph_labels", "graph"),
    ("pseudo_labels_minus_their_scratch", "pseudo_labels", "pseudo_labels_scratch"),
)

_SCRATCH = [methods.NAMES[arm] for arm in methods.FROM_SCRATCH]

Outcomes = Mapping[methods.Cell, methods.Outcome]


@dataclasses.dataclass(frozen=True)
class Bench:
    """A finished comparison with its data, and where its pictures go."""

    splits: Splits
    classes: np.ndarray  # the label that each class from 0 stands for
    settings: SupervisedSettings
    sizes: Sequence[int]  # numbers of labels, 0 for all
    run: Run
    tensorboard: training_tensorboard.TensorBoardWriter

    @property
    def class_names(self) -> list[str]:
        """One a class from 0."""
        names = self.splits.class_names
        return [str(label) if names is None else names[label] for label in self.classes]

    @property
    def test_labels(self) -> np.ndarray:
        """Classes from 0 of the test images, int64."""
        labels = self.splits.labels
        if labels is None:
            raise ValueError("there are no labels")
        return np.searchsorted(self.classes, labels.test)


def size_name(num_labels: int) -> str:
    """As in `metrics.json`: `labels_100`, `labels_all`."""
    return f"labels_{num_labels or 'all'}"


def of(outcomes: Outcomes, arm: str, num_labels: int) -> list[methods.Outcome]:
    """Of one arm at one number of labels, by repetition; empty where it was not trained."""
    found = [
        cell for cell in outcomes if cell.arm == arm and cell.num_labels == num_labels
    ]  # fmt: skip
    return [outcomes[cell] for cell in sorted(found, key=lambda cell: cell.repetition)]


def trained_size(cells: Iterable[methods.Cell], sizes: Sequence[int]) -> int | None:
    """The most labels that an arm is trained with in steps; None where there are only probes."""
    trained = {cell.num_labels for cell in cells if cell.arm in methods.TRAINED}
    return next((size for size in reversed(sizes) if size in trained), None)


def best_cell(outcomes: Outcomes, size: int) -> methods.Cell:
    """The trained arm with the highest mean validation accuracy at this number of labels.

    Of its repetitions the first: which one is best is luck.
    """
    accuracy = {
        arm: np.mean([outcome.validation_accuracy for outcome in found])
        for arm in methods.TRAINED
        if (found := of(outcomes, arm, size))
    }
    return methods.Cell(max(accuracy, key=accuracy.__getitem__), size, 0)


def report(bench: Bench, outcomes: Outcomes) -> dict[str, float]:
    """All numbers of a comparison; draws and writes its figures on the way.

    Returns:
        Flat, names are paths, as `metrics.json` holds them.
    """
    numbers = accuracies(bench, outcomes) | differences(bench, outcomes)
    draw_label_efficiency(bench, outcomes)
    size = trained_size(outcomes, bench.sizes)
    if size is not None:
        draw_learning_speed(bench, outcomes, size)
        numbers |= one_classifier(bench, outcomes, best_cell(outcomes, size))
        numbers |= calibration(bench, outcomes, size)
    numbers["validation/images"] = min(methods.MOST_VALIDATION, len(bench.splits.validation))
    numbers["training_seconds"] = sum(outcome.seconds for outcome in outcomes.values())
    return numbers


def accuracies(bench: Bench, outcomes: Outcomes) -> dict[str, float]:
    """Of every arm and size over repetitions: mean and standard deviation of the test accuracy.

    And the mean accuracy on validation images, by which an arm may be chosen.
    """
    numbers: dict[str, float] = {}
    for size in bench.sizes:
        for arm in bench.settings.arms:
            found = of(outcomes, arm, size)
            if found:
                values = [outcome.accuracy for outcome in found]
                name = f"{size_name(size)}/{arm}_accuracy"
                numbers[name] = float(np.mean(values))
                numbers[f"{name}_std"] = float(np.std(values, ddof=1)) if values[1:] else math.nan
                numbers[f"{size_name(size)}/{arm}_validation_accuracy"] = float(
                    np.mean([outcome.validation_accuracy for outcome in found])
                )
    return numbers


def differences(bench: Bench, outcomes: Outcomes) -> dict[str, float]:
    """Paired over repetitions: mean difference of accuracy, its 95 % interval and p-value.

    The interval (`_low`, `_high`) is that of one comparison by itself; the p-value (`_p_holm`) is
    corrected for all that are made here.
    """
    numbers: dict[str, float] = {}
    p_values: dict[str, float] = {}
    for size in bench.sizes:
        for name, first, second in _QUESTIONS:
            pair = [[o.accuracy for o in of(outcomes, arm, size)] for arm in (first, second)]
            if min(map(len, pair)) < 2:
                continue
            found = classifier_metrics.paired_difference(*map(np.array, pair))
            numbers[f"{size_name(size)}/{name}"] = found.mean
            numbers[f"{size_name(size)}/{name}_low"] = found.low
            numbers[f"{size_name(size)}/{name}_high"] = found.high
            p_values[f"{size_name(size)}/{name}_p_holm"] = found.p_value
    corrected = classifier_metrics.holm(list(p_values.values()))
    return numbers | dict(zip(p_values, corrected, strict=True))


def draw_label_efficiency(bench: Bench, outcomes: Outcomes) -> None:
    """Test error over the number of labels, every arm."""
    errors: dict[str, tuple[list[float], list[float]]] = {}
    for arm in bench.settings.arms:
        means, deviations = [], []
        for size in bench.sizes:
            values = [1.0 - outcome.accuracy for outcome in of(outcomes, arm, size)]
            means.append(float(np.mean(values)) if values else math.nan)
            deviations.append(float(np.std(values, ddof=1)) if values[1:] else math.nan)
        errors[methods.NAMES[arm]] = (means, deviations)
    counts = [size or len(bench.splits.train) for size in bench.sizes]
    figure = classifiers.label_efficiency(
        counts, errors, scratch=_SCRATCH, last_is_all=bench.sizes[-1] == 0
    )
    bench.tensorboard.show("label_efficiency", figure, "Test error over the number of labels.")


def draw_learning_speed(bench: Bench, outcomes: Outcomes, size: int) -> None:
    """Validation error and loss from the first batches on, at one number of labels."""
    curves = {}
    for arm in bench.settings.arms:
        found = [o.curve for o in of(outcomes, arm, size) if o.curve]
        if found:
            points = min(len(curve["images"]) for curve in found)  # patience may end one early
            stacked = {
                key: np.stack([curve[key][:points] for curve in found])
                for key in ("seconds", "accuracy", "loss")
            }
            curves[methods.NAMES[arm]] = {"images": found[0]["images"][:points], **stacked}
    figure = classifiers.learning_speed(curves, scratch=_SCRATCH)
    bench.tensorboard.show("learning_speed", figure, "Validation error and loss while training.")


def one_classifier(bench: Bench, outcomes: Outcomes, cell: methods.Cell) -> dict[str, float]:
    """The best arm's confusion matrix (the study's figure 5), accuracy per class and mistakes."""
    outcome, labels = outcomes[cell], bench.test_labels
    counts = classifier_metrics.confusion(labels, outcome.predictions, len(bench.classes))
    names = bench.class_names
    bench.tensorboard.show(
        "confusion",
        confusion.confusion_heatmap(counts, names),
        f"{methods.NAMES[cell.arm]}: labels in rows, predictions in columns.",
    )
    wrong = np.flatnonzero(outcome.predictions != labels)
    surest = wrong[np.argsort(-outcome.confidence[wrong], kind="stable")][:_MISTAKES]
    if len(surest):
        figure = image_grids.captioned_images(
            bench.splits.test.array(surest),
            [f"{names[labels[i]]} as {names[outcome.predictions[i]]}" for i in surest],
            [f"{100 * outcome.confidence[i]:.1f} %" for i in surest],
        )
        bench.tensorboard.show(
            "mistakes", figure, "The surest mistakes on test images: label as prediction."
        )
    numbers = {"test/accuracy": outcome.accuracy, "test/loss": outcome.loss}
    for name, row, hits in zip(names, counts, np.diag(counts), strict=True):
        if row.sum():
            numbers[f"test/accuracy_{name}"] = float(hits / row.sum())
    return numbers


def calibration(bench: Bench, outcomes: Outcomes, size: int) -> dict[str, float]:
    """Whether trained arms are as right as they are sure, all repetitions together."""
    numbers, curves = {}, {}
    for arm in bench.settings.arms:
        found = of(outcomes, arm, size) if arm in methods.TRAINED else []
        if not found:
            continue
        reliability = classifier_metrics.reliability(
            np.concatenate([outcome.confidence for outcome in found]),
            np.concatenate([outcome.predictions == bench.test_labels for outcome in found]),
        )
        curves[methods.NAMES[arm]] = reliability
        name = f"{size_name(size)}/{arm}_calibration_error"
        numbers[name] = reliability.expected_calibration_error
    figure = classifiers.reliability_curve(curves, scratch=_SCRATCH)
    bench.tensorboard.show(
        "reliability", figure, "How often classifiers are right over how sure they are."
    )
    return numbers


def summary(bench: Bench, numbers: Mapping[str, Any]) -> str:
    """The table that the end of a comparison prints: accuracy in %, mean and deviation."""
    width = max(len(methods.NAMES[arm]) for arm in bench.settings.arms)
    header = "".join(f"{f'{size:,}' if size else 'all':>14}" for size in bench.sizes)
    lines = ["", f"  {'test accuracy, %, by labels':<{width}}{header}"]
    for arm in bench.settings.arms:
        cells = []
        for size in bench.sizes:
            name = f"{size_name(size)}/{arm}_accuracy"
            mean, deviation = numbers.get(name), numbers.get(f"{name}_std", math.nan)
            cells.append("-" if mean is None else f"{100 * mean:.2f} ± {100 * deviation:.2f}")
        lines.append(f"  {methods.NAMES[arm]:<{width}}" + "".join(f"{cell:>14}" for cell in cells))
    for size in bench.sizes:
        for name, first, second in _QUESTIONS:
            key = f"{size_name(size)}/{name}"
            if key in numbers:
                low, high = numbers[f"{key}_low"], numbers[f"{key}_high"]
                p_value = numbers[f"{key}_p_holm"]
                verdict = "more than luck" if p_value < 0.05 else "may be luck"
                lines.append(
                    f"  {f'{size:,}' if size else 'all'} labels: {methods.NAMES[first]} less "
                    f"{methods.NAMES[second]}: {100 * numbers[key]:+.2f} points "
                    f"[{100 * low:+.2f}, {100 * high:+.2f}], {verdict} (p {p_value:.3f}, Holm)"
                )
    return "\n".join(lines)
