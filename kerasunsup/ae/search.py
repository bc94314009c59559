"""The search for the autoencoder's settings, and the training of what it found."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.ae import experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import batches as data_batches
from kerasunsup.data import splits as data_splits
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.evaluation import latent_space, setting_importance, variational_bound
from kerasunsup.figures import style
from kerasunsup.models import variational
from kerasunsup.search import distributed, figures, runner, trial_points
from kerasunsup.search.session import Problem
from kerasunsup.search.settings import SearchSettings
from kerasunsup.settings import Command, to_json
from kerasunsup.training import files, loop, precision
from kerasunsup.training import tensorboard as training_tensorboard

logger = logging.getLogger(__name__)

_PCA_IMAGES = 20_000  # that its components are fitted to
_IRRELEVANT = (
    "snapshot_every", "num_codes", "num_samples", "student", "student_rounds", "skip", "sampler",
)  # fmt: skip
_OF_VARIATIONAL = ("variational", "beta", "warm_up")


def run(command: Command) -> dict[str, Any] | None:
    """Searches, writes the best configurations, and trains the one that was asked for.

    Returns:
        The search's record; None in a worker of a search that several machines share.

    Raises:
        InputError: for everything that a user can mend.
        Interrupted: on Ctrl-C.
    """
    settings: AutoencoderSettings = command.config
    options = command.search
    if settings.skip:
        raise InputError(
            "--skip has no code, and a search compares trials by the size of theirs: leave --skip "
            "or the search out"
        )
    if command.name is not None and not options.search_only:
        folder = command.logs / command.experiment / command.name
        if folder.exists():  # known before the search, not after it
            raise InputError(
                f"--name {command.name}: {folder} exists already and is never overwritten; choose "
                "another name, or add --search-only"
            )
    splits = data_splits.load(settings)
    experiment.check(settings, splits)
    settings = _with_one_arithmetic(command, splits)
    with loop.machine(settings):
        is_alone = options.distributed is None
        run = runner.run_search if is_alone else distributed.run_shared_search
        begun = dataclasses.replace(command, config=settings)
        record = run(begun, problem(begun, splits))
    if record is None:
        return None
    record["importance"] = importance(record, settings.seed)
    best = write_best(command, record)
    for path in write_figures(command, record):
        logger.info(f"figure: {path}")
    if not options.search_only:
        experiment.run(dataclasses.replace(command, config=best, search=SearchSettings()))
    return record


def _with_one_arithmetic(command: Command, splits: Splits) -> AutoencoderSettings:
    """The settings with one arithmetic in the place of `auto`, since trials are compared.

    It is that which the search was begun with, else the faster one; of several machines one may
    be slow in bfloat16.
    """
    settings: AutoencoderSettings = command.config
    options = command.search
    if settings.precision != "auto":
        return settings
    if options.distributed is not None:
        return dataclasses.replace(settings, precision=precision.FLOAT32)
    begun = Path(options.tuning) / command.experiment / options.kind / "fingerprint.json"
    if begun.is_file() and not options.overwrite:
        with contextlib.suppress(OSError, InputError, LookupError, TypeError):
            kept = files.read_json(begun)["settings"]["precision"]
            if kept in (precision.FLOAT32, precision.BFLOAT16):
                return dataclasses.replace(settings, precision=kept)
    return precision.decided(
        settings, splits, experiment.build, experiment.corruption_of(settings), command.logs
    )


def problem(command: Command, splits: Splits) -> Problem:
    """What is searched for on this data."""
    settings: AutoencoderSettings = command.config
    options = command.search
    space = experiment.grid_space if options.grid else experiment.space
    mean = loop.mean_pixel(splits)
    return Problem(
        settings=settings,
        splits=splits,
        build=lambda drawn: experiment.build(drawn, splits.image_shape, mean=mean),
        space=functools.partial(space, wide=options.wide),
        rate=loop.learning_rate,
        prepare=experiment.corruption_of(settings),
        deformation=settings.deformation,
        group_by="latent_dim",
        reference=lambda size: _linear_error(splits, size, settings),
        # A plain search is the same one that it was before these settings were there.
        irrelevant=(
            *_IRRELEVANT,
            *(() if settings.variational else _OF_VARIATIONAL),
            *(() if settings.deformation else ("deformation",)),
        ),
        objective="loss in nats" if settings.variational else "MSE",
    )


def _linear_error(splits: Splits, size: int, settings: AutoencoderSettings) -> float:
    """Validation error of PCA with a code of this size, given what the trials are given.

    On clean images PCA's error falls with the size where the error of a trial that restores
    corrupted ones does not, and small codes would win. A variational trial's loss has that of a
    linear variational autoencoder beside it.
    """
    fitted = splits.train.array(np.arange(min(len(splits.train), _PCA_IMAGES)))
    flat = fitted.reshape(len(fitted), -1)
    components = latent_space.principal_components(flat, size, settings.seed)
    clean, inputs = splits.validation.array(), None
    prepare = experiment.corruption_of(settings)
    if prepare is not None:  # the very batches that a trial is measured on
        batches = data_batches.evaluation_batches(
            splits.validation, settings.batch_size, prepare=prepare
        )
        inputs = np.concatenate([given.numpy() for given, _ in batches])
    # More components than images or values leave no error: no number to divide by.
    error = max(1e-6, latent_space.projection_mse(components, clean, inputs))
    if not settings.variational:
        return error
    return variational_bound.linear_bound(
        error * flat.shape[1],
        components.explained_variance_,
        beta=settings.beta,
        pixel_variance=variational.PIXEL_VARIANCE,
    )


def importance(record: dict[str, Any], seed: int) -> dict[str, Any] | None:
    """How much of the trials' errors follows from each setting, as plain JSON.

    The main effects of a forest (see `evaluation.setting_importance`) on the logarithm of the
    validation error, and on that of the score, over the whole space that was searched and at the
    end of the longest training. The number of epochs is one more input of the forest.

    Returns:
        `error` and `score`, each with `settings` (name -> mean, first and last tenth over the
        trees, shares of the variance), `together` (what no setting explains alone) and
        `explained` (share of the variance of trials that a tree did not see). None, and a line,
        with too few trials.
    """
    number = trial_points.num_combinations(record)
    if number < trial_points.LEAST:
        logger.info(
            f"importance of settings: not estimated, {number} combinations were trained and "
            f"{trial_points.LEAST} are needed"
        )
        return None
    trials = trial_points.of_record(record)
    found: dict[str, Any] = {"combinations": number, "epochs": record["fingerprint"]["max_epochs"]}
    for part, targets in (("error", trials.errors), ("score", trials.scores)):
        effects = setting_importance.main_effects(
            trials.points, np.log(targets), trials.groups, trials.values, seed=seed
        )
        if not len(effects.shares):
            logger.info("importance of settings: not estimated, no trial is better than another")
            return None
        low, high = np.quantile(effects.shares, [0.1, 0.9], axis=0)
        columns = np.stack([effects.shares.mean(axis=0), low, high], axis=1).round(4).tolist()
        found[part] = {
            "settings": dict(zip(trials.names, columns, strict=False)),  # epochs have no effect
            "together": round(float(1.0 - effects.shares.sum(axis=1).mean()), 4),
            "explained": round(effects.explained, 4),
        }
    return found


def write_best(command: Command, record: dict[str, Any]) -> AutoencoderSettings:
    """Writes the configurations and the record; returns the one to train.

    `best_<size>.json` is the best at each code size, `best.json` the one at the size that was
    asked for: the others are no answer to that question. All are valid for `--config`.
    They lie in the search's own folder; Hyperband's lie one level up too, as the search's answer.
    """
    settings: AutoencoderSettings = command.config
    results = {result["trial"]: result for result in record["trials"]}
    folder = Path(command.search.tuning) / command.experiment
    places = [folder / record["kind"], *([folder] if record["kind"] == "hyperband" else [])]
    configs: dict[int, AutoencoderSettings] = {}
    for code_size, trial in record["front"].items():
        trial_settings: dict[str, Any] = results[trial]["settings"]
        configs[int(code_size)] = dataclasses.replace(settings, **trial_settings)
    size = settings.latent_dim
    if size not in configs:  # no trial of this size ended: what was best overall, at this size
        overall = configs[results[record["best"]]["settings"]["latent_dim"]]
        configs[size] = dataclasses.replace(overall, latent_dim=size)
        logger.info(
            f"no trial of code size {size} ended: best.json has the other settings of the best"
        )
    for place in places:
        for code_size, best in configs.items():
            files.write_json(place / f"best_{code_size}.json", to_json(best))
        files.write_json(place / "best.json", to_json(configs[size]))
        files.write_json(place / "record.json", record)
    logger.info(
        f"best at code size {size}: {places[-1] / 'best.json'}; train it with: "
        f"python -m kerasunsup.ae --config {places[-1] / 'best.json'}"
    )
    return configs[size]


def comparable(command: Command, record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Kind -> record, of this search and of those beside it on the same data and settings."""
    folder = Path(command.search.tuning) / command.experiment
    records = {record["kind"]: record}
    for kind in figures.TITLES:
        path = folder / kind / "record.json"
        if kind == "hyperband" and not path.exists():
            path = folder / "record.json"  # its copy, which may have come with the package's source
        if kind not in records and path.exists():
            other = files.read_json(path)
            if _compared_by(other) == _compared_by(record):
                records[kind] = other
    return {kind: records[kind] for kind in figures.TITLES if kind in records}


def _compared_by(record: dict[str, Any]) -> dict[str, Any]:
    """What two searches must share: data, and all settings but the arithmetic, a machine's own."""
    found = record["fingerprint"]
    return {"data": found["data"], "settings": found["settings"] | {"precision": None}}


def write_figures(command: Command, record: dict[str, Any]) -> list[Path]:
    """Writes the figures of a search, and of all searches that are finished so far.

    Returns:
        `search_progress.png`, all searches on the same data beside `best.json`, and this one's
        `code_size.png` and `importance.png`.
    """
    folder = Path(command.search.tuning) / command.experiment
    size = command.config.latent_dim
    pictures = {
        folder / "search_progress.png": figures.progress(comparable(command, record), size),
        folder / record["kind"] / "code_size.png": figures.code_size(record),
        folder / record["kind"] / "importance.png": figures.importance(record),
    }
    drawn = {path: figure for path, figure in pictures.items() if figure is not None}
    events = command.logs / f"{command.experiment}_search" / record["kind"]
    with training_tensorboard.TensorBoardWriter(events) as tensorboard:
        for path, figure in drawn.items():
            files.write_bytes(path, style.to_png(figure))
            tensorboard.figure(path.stem, style.to_pixels(figure))
    return list(drawn)
