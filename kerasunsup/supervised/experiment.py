"""The comparison of classifiers: what is an encoder worth that never saw a label?"""

from __future__ import annotations

import logging

import numpy as np

from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.models import export
from kerasunsup.progress import Progress
from kerasunsup.settings import Command, to_json
from kerasunsup.supervised import cells as comparison_cells
from kerasunsup.supervised import encoder as encoders
from kerasunsup.supervised import results
from kerasunsup.supervised.cells import Cell, CellResult
from kerasunsup.supervised.contrastive import EncoderTrainers
from kerasunsup.supervised.settings import METHOD_NAMES, SupervisedSettings
from kerasunsup.training import (
    feature_network,
    files,
    loop,
    model_card,
    run_folder,
    several_workers,
)
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

# The numbers that runs are compared by.
_HEADLINE = ("test/accuracy", "labels_100/finetuned_accuracy", "labels_100/scratch_accuracy")


def run(command: Command) -> dict[str, float]:
    """Trains every cell of the comparison, or what is missing of it, and exports the best.

    Returns:
        What `metrics.json` holds.

    Raises:
        InputError: for everything that a user can mend.
        Interrupted: on Ctrl-C.
    """
    settings: SupervisedSettings = command.config
    if settings.encoder is not None and settings.strategy == "multiworker":
        raise InputError(
            "--strategy multiworker trains the usual encoder on several machines, and --encoder "
            f"{settings.encoder} is trained already: leave one of them out"
        )
    with several_workers.joined(command) as command:
        splits = data_splits.load(command.config)
        check(splits)
        several_workers.check_same_images(splits.fingerprint)
        if several_workers.is_follower():
            encoders.train_along(command)
            return {}
        return compare(command, splits)


def compare(command: Command, splits: Splits) -> dict[str, float]:
    """Trains what the comparison needs, as `run`."""
    settings: SupervisedSettings = command.config
    label_counts = comparison_cells.label_counts(settings, splits)
    cells = comparison_cells.planned_cells(settings, label_counts)
    named = None if settings.encoder is None else encoders.named_encoder(command, splits)
    with run_folder.opened(command, splits.fingerprint) as run:
        try:
            path = encoders.usual_encoder(command, splits, run) if named is None else named
            encoders.record_encoder(run, path)
            advice = f"remove {path.parent}, and it is trained anew"
            encoder = encoders.load_encoder(path, str(path), advice)
            with (
                loop.machine(settings),
                training_tensorboard.TensorBoardWriter(run.folder) as tensorboard,
            ):
                classes = feature_network.classes_of(splits)
                trainer = EncoderTrainers(run, path, encoder, splits, classes, settings)
                comparison = results.Comparison(
                    splits, classes, settings, label_counts, run, tensorboard
                )
                tensorboard.trials(
                    {
                        "arm": list(dict.fromkeys(cell.method for cell in cells)),
                        "seed": [str(settings.seed + i) for i in range(settings.repetitions)],
                    },
                    [_test_tag(num_labels) for num_labels in label_counts],
                )
                cell_results = train_cells(trainer, cells, comparison)
                return export_and_report(trainer, comparison, cell_results)
        except KeyboardInterrupt:
            done = sum(comparison_cells.result_path(run, cell).exists() for cell in cells)
            raise Interrupted(loop.how_to_resume(run, done, "trainings")) from None


def check(splits: Splits) -> None:
    """Refuses data that no classifier can be trained on.

    Classes that only test images have are logged.

    Raises:
        InputError: if there are no labels, or all are of one class.
    """
    if splits.labels is None or not feature_network.has_classes(splits):
        raise InputError(
            f"--data {splits.name} has no labels of two classes or more: sort the images into one "
            "sub-folder a class, or give a .npz with labels"
        )
    tests = splits.labels.test
    untrained = tests[~np.isin(tests, splits.labels.train)]
    if len(untrained):
        titles = splits.class_names
        names = ", ".join(titles[label] if titles else str(label) for label in np.unique(untrained))
        logger.info(
            f"{splits.name} has no training image of {names}: {len(untrained)} of its {len(tests)} "
            "test images count as mistakes"
        )


def train_cells(
    trainer: EncoderTrainers, cells: list[Cell], comparison: results.Comparison
) -> dict[Cell, CellResult]:
    """Returns the result of every cell; those that the run holds already are read.

    The cells that may leave as a model keep their weights.
    """
    settings, splits, run = comparison.settings, comparison.splits, comparison.run
    exported = results.exported_label_count(cells, comparison.label_counts)
    cell_results = {
        cell: comparison_cells.read_result(run, cell, splits)
        for cell in cells
        if comparison_cells.result_path(run, cell).exists()
    }
    for cell, result in cell_results.items():  # a kill may have come between the file and this
        _show_in_tensorboard(run, cell, result, settings)
    missing = [cell for cell in cells if cell not in cell_results]
    logger.info(
        f"{splits.name}: {len(splits.train):,} training, {len(splits.validation):,} validation and "
        f"{len(splits.test):,} test images; {len(cells)} trainings, {len(missing)} to come; run "
        f"{run.folder}"
    )
    costs = {
        cell: comparison_cells.relative_cost(cell, settings, len(splits.train)) for cell in missing
    }
    with Progress(sum(costs.values()), stays=True) as progress:
        for number, cell in enumerate(missing, start=1):
            labels = f"{cell.num_labels:,}" if cell.num_labels else "all"
            name = f"{METHOD_NAMES[cell.method]}, {labels} labels"
            progress.name(name)
            keeps_weights = cell.repetition == 0 and cell.num_labels == exported
            result = trainer.train(cell, keeps_weights=keeps_weights)
            run.check_folder()
            files.write_arrays(comparison_cells.result_path(run, cell), result.to_arrays())
            cell_results[cell] = result
            _show_in_tensorboard(run, cell, result, settings)
            progress.advance(costs[cell])
            progress.say(
                f"{number}/{len(missing)} {name}: {result.accuracy:.2%}, about {progress.left} left"
            )
    return {cell: cell_results[cell] for cell in cells}


def _show_in_tensorboard(
    run: Run, cell: Cell, result: CellResult, settings: SupervisedSettings
) -> None:
    """Shows a cell's curves over the images seen, and its place in the HParams tab.

    A method and seed share one run and one line of the table, which has a column for each number
    of labels: so the tags say the number. Folder and column keep their earlier name, arm.
    """
    seed, labels = settings.seed + cell.repetition, results.labels_name(cell.num_labels)
    images = [round(seen) for seen in result.curve.get("images", ())]
    curves = {
        f"{labels}/validation_{name}": (images, result.curve[name].tolist())
        for name in ("accuracy", "loss")
        if result.curve
    }
    training_tensorboard.write_part(
        run.folder / "arms" / f"{cell.method}-{seed}",
        labels,
        {"arm": cell.method, "seed": str(seed)},  # the tab would show a number as 0.0000
        curves | {_test_tag(cell.num_labels): (images[-1:] or [0], [result.accuracy])},
    )


def _test_tag(num_labels: int) -> str:
    return f"{results.labels_name(num_labels)}/test_accuracy"


def export_and_report(
    trainer: EncoderTrainers, comparison: results.Comparison, cell_results: dict[Cell, CellResult]
) -> dict[str, float]:
    """Exports the best classifier, then writes the numbers and the figures of the comparison."""
    run, splits, tensorboard = comparison.run, comparison.splits, comparison.tensorboard
    exported = results.exported_label_count(cell_results, comparison.label_counts)
    if exported is not None:
        best = results.best_cell(cell_results, exported)
        logger.info(f"exporting: {METHOD_NAMES[best.method]}")
        model = trainer.classifier(best.method, cell_results[best].weights)
        export.write_keras(run.folder / "model.keras", model)
        export.write_saved_model(
            run.folder / "export",
            {"classify": (model, "images", "probabilities")},
            {"classify": splits.test.array(np.arange(min(4, len(splits.test))))},
        )
    numbers = results.measure_and_draw(comparison, cell_results) | trainer.numbers()
    model_card.write(run, numbers)
    run.write_metrics(numbers)
    run.write_history(results.history_columns(cell_results))
    table = training_tensorboard.markdown_table
    # No entry in the HParams tab: it would hide the lines of the cells there.
    tensorboard.scalars({name: numbers[name] for name in _HEADLINE if name in numbers})
    tensorboard.text("settings", table(to_json(comparison.settings), ("setting", "value")))
    tensorboard.text("numbers", table(numbers, ("number", "value")))
    logger.info(results.summary(comparison, numbers))
    logger.info(f"\nfigures, model.keras and export/ are in {run.folder}")
    return numbers
