"""The numbers and figures of a comparison of classifiers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.figures import classifiers, confusion, image_grids
from kerasunsup.supervised.cells import Cell, CellResult
from kerasunsup.supervised.methods import MOST_VALIDATION
from kerasunsup.supervised.settings import FROM_SCRATCH, METHOD_NAMES, TRAINED, SupervisedSettings
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

_MISTAKES = 30  # wrong predictions that the figure shows

# (name in metrics.json, first, second): is the first method better than the second, over the same
# seeds?
_DIFFERENCES = (
    ("finetuned_minus_scratch", "finetuned", "scratch"),
    ("frozen_minus_scratch", "frozen", "scratch"),
    ("pseudo_labels_minus_finetuned", "pseudo_labels", "finetuned"),
    ("graph_labels_minus_finetuned", "graph_labels", "finetuned"),
    ("graph_labels_minus_graph", "graph_labels", "graph"),
    ("pseudo_labels_minus_their_scratch", "pseudo_labels", "pseudo_labels_scratch"),
    ("contrastive_minus_linear_probe", "contrastive", "linear_probe"),
    ("contrastive_graph_minus_graph", "contrastive_graph", "graph"),
    ("contrastive_finetuned_minus_finetuned", "contrastive_finetuned", "finetuned"),
)

_MEASURED = ("images", "seconds", "accuracy", "loss")  # at each point of a learning curve
_SCRATCH = [METHOD_NAMES[method] for method in FROM_SCRATCH]

CellResults = Mapping[Cell, CellResult]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The data and settings of a comparison, and where its numbers and figures go."""

    splits: Splits
    classes: np.ndarray  # the label that each class, counted from 0, stands for
    settings: SupervisedSettings
    label_counts: Sequence[int]  # numbers of labelled images, 0 for all
    run: Run
    tensorboard: training_tensorboard.TensorBoardWriter

    @property
    def class_names(self) -> Sequence[str]:
        """The name of each class, counted from 0."""
        return self.splits.class_names or [str(label) for label in self.classes]

    @property
    def test_labels(self) -> np.ndarray:
        """The classes of the test images, int64, counted from 0."""
        labels = self.splits.labels
        if labels is None:
            raise ValueError("there are no labels")
        return np.searchsorted(self.classes, labels.test)


def labels_name(num_labels: int) -> str:
    """Returns the name of a number of labels in `metrics.json`: `labels_100`, `labels_all`."""
    return f"labels_{num_labels or 'all'}"


def results_of(cell_results: CellResults, method: str, num_labels: int) -> list[CellResult]:
    """Returns the results of a method at a number of labels, by repetition; empty without any."""
    cells = [
        cell for cell in cell_results if cell.method == method and cell.num_labels == num_labels
    ]
    return [cell_results[cell] for cell in sorted(cells, key=lambda cell: cell.repetition)]


def exported_label_count(cells: Iterable[Cell], label_counts: Sequence[int]) -> int | None:
    """Returns the most labels that a network was trained with; None where there are only probes."""
    trained = {cell.num_labels for cell in cells if cell.method in TRAINED}
    return next(
        (num_labels for num_labels in reversed(label_counts) if num_labels in trained), None
    )


def best_cell(cell_results: CellResults, num_labels: int) -> Cell:
    """Returns the cell of the best network at a number of labels.

    The method has the highest mean validation accuracy. Of its repetitions the first is taken:
    which one is best is luck.
    """
    accuracy = {
        method: np.mean([result.validation_accuracy for result in repetitions])
        for method in TRAINED
        if (repetitions := results_of(cell_results, method, num_labels))
    }
    return Cell(max(accuracy, key=accuracy.__getitem__), num_labels, 0)


def measure_and_draw(comparison: Comparison, cell_results: CellResults) -> dict[str, float]:
    """Writes the figures of a comparison and returns its numbers.

    Returns:
        A flat dict as in `metrics.json`, whose names are paths.
    """
    numbers = accuracies(comparison, cell_results) | differences(comparison, cell_results)
    draw_label_efficiency(comparison, numbers)
    num_labels = exported_label_count(cell_results, comparison.label_counts)
    if num_labels is not None:
        draw_learning_speed(comparison, cell_results, num_labels)
        numbers |= confusion_and_mistakes(
            comparison, cell_results, best_cell(cell_results, num_labels)
        )
        numbers |= calibration(comparison, cell_results, num_labels)
    numbers["validation/images"] = min(MOST_VALIDATION, len(comparison.splits.validation))
    numbers["training_seconds"] = sum(result.seconds for result in cell_results.values())
    return numbers


def accuracies(comparison: Comparison, cell_results: CellResults) -> dict[str, float]:
    """Returns the accuracies in [0, 1] of every method at every number of labels.

    They are the mean and the standard deviation of the test accuracy over the repetitions, and the
    mean accuracy on validation images, by which a method may be chosen.
    """
    numbers: dict[str, float] = {}
    for num_labels in comparison.label_counts:
        for method in comparison.settings.arms:
            repetitions = results_of(cell_results, method, num_labels)
            if repetitions:
                values = [result.accuracy for result in repetitions]
                seen = [result.validation_accuracy for result in repetitions]
                name = f"{labels_name(num_labels)}/{method}"
                numbers[f"{name}_accuracy"] = float(np.mean(values))
                numbers[f"{name}_accuracy_std"] = float(np.std(values, ddof=1))
                numbers[f"{name}_validation_accuracy"] = float(np.mean(seen))
    return numbers


def differences(comparison: Comparison, cell_results: CellResults) -> dict[str, float]:
    """Returns the mean difference of accuracy of two methods, its 95 % interval and its p-value.

    The differences are paired over the repetitions. The interval (`_low`, `_high`) is that of one
    difference by itself; the p-value (`_p_holm`) is corrected for all differences of the run.
    """
    numbers: dict[str, float] = {}
    p_values: dict[str, float] = {}
    for num_labels in comparison.label_counts:
        for name, first, second in _DIFFERENCES:
            pair = [
                [result.accuracy for result in results_of(cell_results, method, num_labels)]
                for method in (first, second)
            ]
            if not all(pair):
                continue
            difference = classifier_metrics.paired_difference(*map(np.array, pair))
            key = f"{labels_name(num_labels)}/{name}"
            numbers |= {
                key: difference.mean, f"{key}_low": difference.low, f"{key}_high": difference.high,
            }  # fmt: skip
            p_values[f"{key}_p_holm"] = difference.p_value
    corrected = classifier_metrics.holm(list(p_values.values()))
    return numbers | dict(zip(p_values, corrected, strict=True))


def draw_label_efficiency(comparison: Comparison, numbers: Mapping[str, float]) -> None:
    """Draws the test error of every method over the number of labels."""
    errors = {}
    for method in comparison.settings.arms:
        names = [f"{labels_name(count)}/{method}_accuracy" for count in comparison.label_counts]
        errors[METHOD_NAMES[method]] = (
            [1.0 - numbers.get(name, math.nan) for name in names],
            [numbers.get(f"{name}_std", math.nan) for name in names],
        )
    counts = [num_labels or len(comparison.splits.train) for num_labels in comparison.label_counts]
    figure = classifiers.label_efficiency(
        counts, errors, scratch=_SCRATCH, last_is_all=comparison.label_counts[-1] == 0
    )
    comparison.tensorboard.show("label_efficiency", figure, "Test error over the number of labels.")


def draw_learning_speed(comparison: Comparison, cell_results: CellResults, num_labels: int) -> None:
    """Draws validation error and loss from the first steps on, at one number of labels."""
    curves = {}
    for method in comparison.settings.arms:
        measured = [result.curve for result in results_of(cell_results, method, num_labels)]
        if method in TRAINED and measured:
            points = min(len(curve["images"]) for curve in measured)  # patience may end one early
            stacked = {
                name: np.stack([curve[name][:points] for curve in measured]) for name in _MEASURED
            }
            curves[METHOD_NAMES[method]] = stacked | {"images": stacked["images"][0]}
    figure = classifiers.learning_speed(curves, scratch=_SCRATCH)
    comparison.tensorboard.show(
        "learning_speed", figure, "Validation error and loss while training."
    )


def confusion_and_mistakes(
    comparison: Comparison, cell_results: CellResults, cell: Cell
) -> dict[str, float]:
    """Draws one classifier's confusion matrix (the study's figure 5) and its mistakes.

    Returns:
        Its accuracy, its loss, and its accuracy on each class.
    """
    result, labels = cell_results[cell], comparison.test_labels
    counts = classifier_metrics.confusion(labels, result.predictions, len(comparison.class_names))
    names = comparison.class_names
    comparison.tensorboard.show(
        "confusion",
        confusion.confusion_heatmap(counts, names),
        f"{METHOD_NAMES[cell.method]}: labels in rows, predictions in columns.",
    )
    wrong = np.flatnonzero(result.predictions != labels)
    shown = wrong[np.argsort(-result.confidence[wrong], kind="stable")][:_MISTAKES]
    if len(shown):
        figure = image_grids.captioned_images(
            comparison.splits.test.array(shown),
            [f"{names[labels[i]]} as {names[result.predictions[i]]}" for i in shown],
            [f"{100 * result.confidence[i]:.1f} %" for i in shown],
        )
        comparison.tensorboard.show(
            "mistakes", figure, "The most confident mistakes on test images: label as prediction."
        )
    numbers = {"test/accuracy": result.accuracy, "test/loss": result.loss}
    for name, row, hits in zip(names, counts, np.diag(counts), strict=True):
        if row.sum():
            numbers[f"test/accuracy_{name}"] = float(hits / row.sum())
    return numbers


def calibration(
    comparison: Comparison, cell_results: CellResults, num_labels: int
) -> dict[str, float]:
    """Draws the accuracy of trained methods over their confidence, all repetitions together.

    Returns:
        The expected calibration error of each method, in [0, 1].
    """
    numbers, curves = {}, {}
    for method in comparison.settings.arms:
        repetitions = results_of(cell_results, method, num_labels) if method in TRAINED else []
        if not repetitions:
            continue
        reliability = classifier_metrics.reliability(
            np.concatenate([result.confidence for result in repetitions]),
            np.concatenate(
                [result.predictions == comparison.test_labels for result in repetitions]
            ),
        )
        curves[METHOD_NAMES[method]] = reliability
        name = f"{labels_name(num_labels)}/{method}_calibration_error"
        numbers[name] = reliability.expected_calibration_error
    figure = classifiers.reliability_curve(curves, scratch=_SCRATCH)
    comparison.tensorboard.show(
        "reliability", figure, "Accuracy of classifiers over their confidence."
    )
    return numbers


def summary(comparison: Comparison, numbers: Mapping[str, Any]) -> str:
    """Returns the table that a comparison prints at its end: accuracy in %, mean and deviation."""
    titles = {method: METHOD_NAMES[method] for method in comparison.settings.arms}
    counts = {count: f"{count:,}" if count else "all" for count in comparison.label_counts}
    width = max(map(len, titles.values()))
    header = "".join(f"{count:>14}" for count in counts.values())
    lines = ["", f"  {'test accuracy, %, by labels':<{width}}{header}"]
    for method, title in titles.items():
        cells = []
        for num_labels in counts:
            name = f"{labels_name(num_labels)}/{method}_accuracy"
            mean, deviation = numbers.get(name), numbers.get(f"{name}_std", math.nan)
            cells.append("-" if mean is None else f"{100 * mean:.2f} ± {100 * deviation:.2f}")
        lines.append(f"  {title:<{width}}" + "".join(f"{cell:>14}" for cell in cells))
    for num_labels, count in counts.items():
        for name, first, second in _DIFFERENCES:
            key = f"{labels_name(num_labels)}/{name}"
            if key in numbers:
                low, high = numbers[f"{key}_low"], numbers[f"{key}_high"]
                p_value = numbers[f"{key}_p_holm"]
                verdict = "significant" if p_value < 0.05 else "not significant"
                lines.append(
                    f"  {count} labels: {titles[first]} less {titles[second]}: "
                    f"{100 * numbers[key]:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}], "
                    f"{verdict} (p {p_value:.3f}, Holm)"
                )
    return "\n".join(lines)


def history_columns(cell_results: CellResults) -> dict[str, list[Any]]:
    """Returns `history.csv`: a row for each measured point of a training."""
    rows = [
        (cell.method, cell.num_labels or "all", cell.repetition, *point)
        for cell, result in cell_results.items()
        for point in zip(*(result.curve.get(name, ()) for name in _MEASURED), strict=True)
    ]
    names = ("arm", "labels", "repetition", *_MEASURED)
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
