"""The comparison of classifiers: what is an encoder worth that never saw a label?"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasunsup
from kerasunsup.ae import experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.models import export
from kerasunsup.progress import Progress
from kerasunsup.settings import Command, path_of, to_json
from kerasunsup.supervised import methods, results
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training import feature_network, files, loop, run_folder
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

# The usual encoder differs from the study's own as what a search finds best does: schedule and
# width, which were not searched, were compared by their errors on test images (see `ae`).
_ENCODER: dict[str, Any] = {"schedule": "cosine", "hidden_units": 256, "patience": 0}

_SHARED = (  # with the comparison
    "data", "image_size", "limit", "test_limit", "seed", "precision", "strategy", "deterministic",
)  # fmt: skip
_WHICH_ENCODER = "encoder.json"  # in a run's checkpoints

# Work of one step of each arm, in steps of the same network trained plainly; only for time left.
_STEP_WORK = {"frozen": 0.1, "convolutional": 2.0, "pseudo_labels": 4.0, "graph_labels": 1.5}
_PROBE_WORK = {"linear_probe": 50.0, "neighbors": 50.0, "mixture": 200.0, "graph": 300.0}


def run(command: Command) -> dict[str, float]:
    """Trains every arm, compares, and exports the best, or goes on with it.

    Args:
        command: the parsed command line.

    Returns:
        What `metrics.json` holds.

    Raises:
        InputError: for everything that a user can mend.
        Interrupted: on Ctrl-C.
    """
    settings: SupervisedSettings = command.config
    splits = data_splits.load(settings)
    check(splits)
    sizes = sizes_of(settings, splits)
    cells = plan(settings, sizes)
    named = None if settings.encoder is None else named_encoder(command, splits)
    with run_folder.opened(command, splits.fingerprint) as run:
        try:
            path = usual_encoder(command, splits, run) if named is None else named
            keep_to(run, path)
            encoder = _loaded(path, str(path), f"remove {path.parent}, and it is trained anew")
            with (
                loop.machine(settings),
                training_tensorboard.TensorBoardWriter(run.folder) as tensorboard,
            ):
                classes = feature_network.classes_of(splits)
                workshop = methods.Workshop(splits, classes, encoder, settings)
                exported = results.trained_size(cells, sizes)
                tensorboard.trials(
                    {
                        "arm": list(dict.fromkeys(cell.arm for cell in cells)),
                        "seed": [str(settings.seed + i) for i in range(settings.repetitions)],
                    },
                    [_test_tag(size) for size in sizes],
                )
                outcomes = train(workshop, cells, exported, settings, splits, run)
                bench = results.Bench(splits, classes, settings, sizes, run, tensorboard)
                return finish(bench, workshop, outcomes)
        except KeyboardInterrupt:
            done = sum(_file(run, cell).exists() for cell in cells)
            raise Interrupted(loop.how_to_resume(run, done, "trainings")) from None


def check(splits: Splits) -> None:
    """Refuses data that no classifier can be trained on, and names classes of test images alone.

    Raises:
        InputError: if there are no labels, or of one class only.
    """
    if splits.labels is None or not feature_network.has_classes(splits):
        raise InputError(
            f"--data {splits.name} has no labels of two classes or more: sort the images into one "
            "sub-folder a class, or give a .npz with labels"
        )
    tests = splits.labels.test
    unknown = tests[~np.isin(tests, splits.labels.train)]
    if len(unknown):
        named = splits.class_names
        names = ", ".join(named[label] if named else str(label) for label in np.unique(unknown))
        print(
            f"{splits.name} has no training image of {names}: {len(unknown)} of its {len(tests)} "
            "test images count as mistakes",
            flush=True,
        )


def sizes_of(settings: SupervisedSettings, splits: Splits) -> list[int]:
    """The numbers of labels that this data allows, ascending, 0 (all) last.

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
        print(
            f"{', '.join(left_out)} labels are left out: {splits.name} has {most:,} training "
            f"images of {least} classes{instead}",
            flush=True,
        )
    return fitting


def named_encoder(command: Command, splits: Splits) -> Path:
    """The model with the encoder that `--encoder` names, a run or a file.

    Raises:
        InputError: if there is no such run, it is not finished, or is for other images.
    """
    name = command.config.encoder
    path = path_of("--encoder", name, is_written=False)
    in_logs = command.logs / "ae" / name
    if not path.exists() and in_logs.exists():
        path = in_logs
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise InputError(
            f"--encoder {name}: there is no finished autoencoder run in {Path(name)} or {in_logs}; "
            "train one with python -m kerasunsup.ae"
        )
    encoder = _loaded(path, f"--encoder {path}", "give an autoencoder run or its model.keras")
    if tuple(encoder.input_shape[1:]) != tuple(splits.image_shape):
        theirs, ours = (
            " x ".join(map(str, shape)) for shape in (encoder.input_shape[1:], splits.image_shape)
        )
        raise InputError(
            f"--encoder {path}: it was trained on images of {theirs}, --data {splits.name} has "
            f"{ours}: choose another or give --image-size"
        )
    return path


def _loaded(path: Path, name: str, advice: str) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False).get_layer("encoder")
    except Exception as error:  # zipfile, h5py, json and Keras each raise their own
        raise InputError(f"{name} cannot be used ({type(error).__name__}): {advice}") from error


def keep_to(run: Run, path: Path) -> None:
    """Writes down which encoder a run uses; what goes on may use no other.

    Raises:
        InputError: if the finished trainings of the run had another one.
    """
    place = run.folder / "checkpoints" / _WHICH_ENCODER
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if place.exists() and files.read_json(place).get("sha256") != digest:
        raise InputError(
            f"--resume: {path} is another encoder than the one that {run.folder} began with: put "
            "that one back, or start a new run"
        )
    files.write_json(place, {"encoder": str(path), "sha256": digest})
    print(f"encoder: {path}", flush=True)


def encoder_name(settings: AutoencoderSettings, fingerprint: str) -> str:
    """The run of the usual encoder, told apart by everything that changes it.

    Args:
        settings: that it is trained by.
        fingerprint: of the images and their splits.
    """
    told = to_json(settings) | {"version": kerasunsup.__version__}
    del told["data"]  # the images count, not their place
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return f"encoder-{fingerprint}-{settings.epochs}-{digest[:8]}"


def usual_encoder(command: Command, splits: Splits, run: Run) -> Path:
    """The model which all comparisons on the same data share, trained where it is not.

    A run that goes on keeps to the encoder that it began with.
    """
    settings: SupervisedSettings = command.config
    shared: dict[str, Any] = {field: getattr(settings, field) for field in _SHARED}
    chosen = AutoencoderSettings(epochs=settings.encoder_epochs, **shared, **_ENCODER)
    name = encoder_name(chosen, splits.fingerprint)
    if command.resume:
        place = run.folder / "checkpoints" / _WHICH_ENCODER
        before = f"encoder-{splits.fingerprint}-{settings.encoder_epochs}"  # of earlier versions
        if place.exists():
            before = Path(files.read_json(place)["encoder"]).parent.name
        name = before if (command.logs / "ae" / before / "metrics.json").exists() else name
    folder = command.logs / "ae" / name
    if not (folder / "metrics.json").exists():
        print(
            f"training the usual encoder of {splits.name}, without labels (once, kept in {folder})",
            flush=True,
        )
        goes_on = (folder / "config.json").exists()
        experiment.run(
            Command("ae", chosen, command.logs, name, goes_on, command.arguments),
            brief=True,
        )
    return folder / "model.keras"


def plan(settings: SupervisedSettings, sizes: list[int]) -> list[methods.Cell]:
    """Every training, in the order that they are made: one whole table after another.

    Arms that use the unlabelled rest are left out where there is none.

    Raises:
        InputError: if no training is left.
    """
    cells = [
        methods.Cell(arm, size, repetition)
        for repetition in range(settings.repetitions)
        for size in sizes
        for arm in settings.arms
        if size or arm not in methods.SEMI_SUPERVISED
    ]
    if not cells:
        raise InputError(
            f"--arms {' '.join(settings.arms)} need images without labels, and --labels 0 leaves "
            "none: give fewer labels"
        )
    return cells


def work(cell: methods.Cell, settings: SupervisedSettings, num_images: int) -> float:
    """About how long a training is, in plain steps."""
    if cell.arm in _PROBE_WORK:
        return _PROBE_WORK[cell.arm]
    if cell.arm in methods.PSEUDO_LABELLED:
        return settings.pseudo_label_steps * _STEP_WORK["pseudo_labels"]
    if cell.arm == "graph_labels":
        return settings.graph_steps * _STEP_WORK["graph_labels"]
    labels = cell.num_labels or num_images
    steps = max(settings.steps, settings.epochs * labels // min(settings.batch_size, labels))
    return steps * _STEP_WORK.get(cell.arm, 1.0)


def train(
    workshop: methods.Workshop,
    cells: list[methods.Cell],
    exported: int | None,
    settings: SupervisedSettings,
    splits: Splits,
    run: Run,
) -> dict[methods.Cell, methods.Outcome]:
    """Every cell's outcome; those that the run holds already are read.

    One of those at `exported` labels may leave as a model: they keep their weights.
    """
    outcomes = {cell: _read(run, cell, splits) for cell in cells if _file(run, cell).exists()}
    for cell, outcome in outcomes.items():  # a kill may have come between the file and this
        _enter(run, cell, outcome, settings)
    missing = [cell for cell in cells if cell not in outcomes]
    print(
        f"{splits.name}: {len(splits.train):,} training, {len(splits.validation):,} validation and "
        f"{len(splits.test):,} test images; {len(cells)} trainings, {len(missing)} to come; run "
        f"{run.folder}",
        flush=True,
    )
    work_of = {cell: work(cell, settings, len(splits.train)) for cell in missing}
    with Progress(sum(work_of.values()), stays=True) as progress:
        for number, cell in enumerate(missing, start=1):
            labels = f"{cell.num_labels:,}" if cell.num_labels else "all"
            name = f"{methods.NAMES[cell.arm]}, {labels} labels"
            progress.name(name)
            keeps = cell.repetition == 0 and cell.num_labels == exported
            outcomes[cell] = workshop.run(cell, keeps_weights=keeps)
            run.check_folder()
            files.write_arrays(_file(run, cell), outcomes[cell].to_arrays())
            _enter(run, cell, outcomes[cell], settings)
            progress.advance(work_of[cell])
            progress.say(
                f"{number}/{len(missing)} {name}: {outcomes[cell].accuracy:.2%}, about "
                f"{progress.left} left"
            )
    return {cell: outcomes[cell] for cell in cells}


def _file(run: Run, cell: methods.Cell) -> Path:
    return run.folder / "checkpoints" / f"{cell.name}.npz"


def _read(run: Run, cell: methods.Cell, splits: Splits) -> methods.Outcome:
    path = _file(run, cell)
    try:
        outcome = methods.Outcome.from_arrays(files.read_arrays(path))
        is_sound = (
            outcome.predictions.shape == outcome.confidence.shape == (len(splits.test),)
            and np.isin(
                outcome.predictions, np.arange(len(feature_network.classes_of(splits)))
            ).all()
            and np.isfinite([*outcome.confidence, outcome.loss, outcome.seconds]).all()
            and min(outcome.accuracy, outcome.validation_accuracy) >= 0.0
            and max(outcome.accuracy, outcome.validation_accuracy) <= 1.0
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it, then --resume") from error
    if not is_sound:
        raise InputError(
            f"{path} is damaged (it is no answer to the test images): remove it, then --resume"
        )
    return outcome


def _enter(
    run: Run,
    cell: methods.Cell,
    outcome: methods.Outcome,
    settings: SupervisedSettings,
) -> None:
    """Shows a cell in TensorBoard: its curves over the images seen, and a place in the HParams tab.

    An arm and seed share one run and one line of the table, a column a number of labels: so the
    tags say the number.
    """
    seed, size = settings.seed + cell.repetition, results.size_name(cell.num_labels)
    images = [round(seen) for seen in outcome.curve.get("images", ())]
    curves = {
        f"{size}/validation_{name}": (images, outcome.curve[name].tolist())
        for name in ("accuracy", "loss")
        if outcome.curve
    }
    training_tensorboard.write_part(
        run.folder / "arms" / f"{cell.arm}-{seed}",
        size,
        {"arm": cell.arm, "seed": str(seed)},  # the tab would show a number as 0.0000
        curves | {_test_tag(cell.num_labels): (images[-1:] or [0], [outcome.accuracy])},
    )


def _test_tag(num_labels: int) -> str:
    return f"{results.size_name(num_labels)}/test_accuracy"


def finish(
    bench: results.Bench,
    workshop: methods.Workshop,
    outcomes: dict[methods.Cell, methods.Outcome],
) -> dict[str, float]:
    """What a comparison leaves behind: the best classifier first, then numbers and figures."""
    run, splits = bench.run, bench.splits
    exported = results.trained_size(outcomes, bench.sizes)
    if exported is not None:
        best = results.best_cell(outcomes, exported)
        print(f"exporting: {methods.NAMES[best.arm]}", flush=True)
        model = workshop.classifier(best.arm, outcomes[best])
        export.write_keras(run.folder / "model.keras", model)
        export.write_saved_model(
            run.folder / "export",
            {"classify": (model, "images", "probabilities")},
            {"classify": splits.test.array(np.arange(min(4, len(splits.test))))},
        )
    numbers = results.report(bench, outcomes)
    run.write_metrics(numbers)
    _write_history(run, outcomes)
    tensorboard, table = bench.tensorboard, training_tensorboard.markdown_table
    # Its settings are no trial's: beside the cells' arm and seed they would hide these.
    tensorboard.scalars(headline(numbers))
    tensorboard.text("settings", table(to_json(bench.settings), ("setting", "value")))
    tensorboard.text("numbers", table(numbers, ("number", "value")))
    print(results.summary(bench, numbers), flush=True)
    print(f"\nfigures, model.keras and export/ are in {run.folder}", flush=True)
    return numbers


def _write_history(run: Run, outcomes: dict[methods.Cell, methods.Outcome]) -> None:
    """`history.csv`: a row a measured point of a training."""
    columns: dict[str, list] = {
        name: []
        for name in ("arm", "labels", "repetition", "images", "seconds", "accuracy", "loss")
    }
    for cell, outcome in outcomes.items():
        for point in range(len(outcome.curve.get("images", ()))):
            columns["arm"].append(cell.arm)
            columns["labels"].append(cell.num_labels or "all")
            columns["repetition"].append(cell.repetition)
            for name in ("images", "seconds", "accuracy", "loss"):
                columns[name].append(outcome.curve[name][point])
    run.write_history(columns)


def headline(numbers: dict[str, float]) -> dict[str, float]:
    """The few numbers that runs are compared by."""
    names = ("test/accuracy", "labels_100/finetuned_accuracy", "labels_100/scratch_accuracy")
    return {name: numbers[name] for name in names if name in numbers}
