"""Which arithmetic trains a network fastest on this machine: `--precision auto`.

On an AMD EPYC with AVX-512 BF16 a step of the adversarial game takes 0.77 of its time in float32
(commit f33b7d4), on one without such instructions twelve times as long (commit 9c0688b), and an
Intel Xeon that has instructions for it was slower with it, too (see docs/gan.md). So the answer is
measured, once for each machine, network and version, and kept beside the logs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import keras
import tensorflow as tf

import kerasunsup
from kerasunsup.data import batches
from kerasunsup.data.splits import Splits
from kerasunsup.settings import Command, TrainingSettings, read_config, to_json
from kerasunsup.training import files, loop, run_folder

logger = logging.getLogger(__name__)

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
_FILE = "precision.json"
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
_LEAST_STEPS = 3000  # of a training: with fewer, what is gained does not pay for the timing
_ROUNDS, _STEPS = 5, 16
_LEAST_GAIN = 1.05  # in speed: less is the noise of a busy machine
# Settings on which the speed of a step does not depend.
_OF_NO_EFFECT = (
    "data", "limit", "test_limit", "epochs", "learning_rate", "schedule", "patience", "seed",
    "weight_decay", "snapshot_every", "num_codes", "num_samples", "student", "student_rounds",
    "sampler", "measure_every", "beta", "warm_up", "noise", "crop", "deformation",
)  # fmt: skip

_Settings = TypeVar("_Settings", bound=TrainingSettings)


def of_command(
    command: Command,
    splits: Splits,
    build: Callable[[Any, tuple[int, int, int]], keras.Model],
    prepare: batches.Prepare | None,
) -> Command:
    """A command whose settings name an arithmetic: `decided`'s, or that its run began with."""
    settings = command.config
    if command.resume and command.name and settings.precision == "auto":
        begun = command.logs / command.experiment / command.name / "config.json"
        if begun.is_file():
            kept = str(read_config(type(settings), begun)["precision"])
            settings = dataclasses.replace(settings, precision=kept)
    settings = decided(settings, splits, build, prepare, command.logs)
    return dataclasses.replace(command, config=settings)


def decided(
    settings: _Settings,
    splits: Splits,
    build: Callable[[_Settings, tuple[int, int, int]], keras.Model],
    prepare: batches.Prepare | None,
    logs: Path | None,
) -> _Settings:
    """The settings with an arithmetic in the place of `auto`.

    Short trainings, deterministic ones, several devices and processors without bfloat16
    instructions keep float32; others are timed.

    Args:
        settings: of the experiment.
        splits: its images.
        build: (settings, image shape) -> compiled model, under the present policy.
        prepare: (images, seed) -> what the model gets in a step, as for `loop.fit`.
        logs: the folder that keeps what was measured; None keeps nothing.
    """
    if settings.precision != "auto":
        return settings
    num_steps = settings.epochs * batches.steps_per_epoch(splits.train, settings.batch_size)
    is_free = settings.strategy == "none" and not settings.deterministic
    chosen = FLOAT32
    if is_free and _is_worth_timing(num_steps):
        training = batches.training_batches(
            splits.train, settings.batch_size, seed=settings.seed, prepare=prepare
        )
        chosen = _measured_once(
            settings, lambda: build(settings, splits.image_shape), next(iter(training)), logs
        )
    return dataclasses.replace(settings, precision=chosen)


def fastest(build: Callable[[], keras.Model], element: Any, num_steps: int) -> str:
    """The faster arithmetic for a training of so many steps that leaves no run behind.

    Args:
        build: () -> compiled model, under the present policy.
        element: what the model gets in one step.
        num_steps: with few of them nothing is timed, and float32 is the answer.

    Example:
        >>> fastest(build, (images, classes), num_steps=8000)  # doctest: +SKIP
        'mixed_bfloat16'
    """
    if not _is_worth_timing(num_steps):
        return FLOAT32
    logger.info("timing float32 and bfloat16")
    chosen, gain = _faster(seconds_a_step(build, element))
    logger.info(f"arithmetic: {chosen} (bfloat16 is {gain:.2f} times as fast as float32 here)")
    return chosen


def _is_worth_timing(num_steps: int) -> bool:
    return num_steps >= _LEAST_STEPS and has_bfloat16()


def _faster(seconds: Mapping[str, float]) -> tuple[str, float]:
    """The faster arithmetic by seconds a step of both, and how much faster bfloat16 is."""
    gain = seconds[FLOAT32] / seconds[BFLOAT16]
    return (BFLOAT16 if gain >= _LEAST_GAIN else FLOAT32), gain


def has_bfloat16() -> bool:
    """Whether this machine computes in bfloat16: a processor that says so, or a GPU."""
    if tf.config.list_physical_devices("GPU"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # not Linux
        return False
    return not set(_INSTRUCTIONS).isdisjoint(flags)


def _measured_once(
    settings: TrainingSettings,
    build: Callable[[], keras.Model],
    element: Any,
    logs: Path | None,
) -> str:
    """The faster arithmetic, from the file of this machine if it was measured before."""
    key = _key(settings, element)
    path = None if logs is None else logs / _FILE
    known = files.read_json(path) if path is not None and path.is_file() else {}
    if key not in known:
        logger.info("timing float32 and bfloat16 (once; --precision float32 leaves it out)")
        known[key] = {
            "seconds": seconds_a_step(build, element),
            "processor": run_folder.processor(),
        }
        if path is not None:
            files.write_json(path, known)
    chosen, gain = _faster(known[key]["seconds"])
    logger.info(f"arithmetic: {chosen} (bfloat16 is {gain:.2f} times as fast as float32 here)")
    return chosen


def _key(settings: TrainingSettings, element: Any) -> str:
    """What the speed depends on: machine, network, batch and versions."""
    shapes = [tuple(part.shape) for part in tf.nest.flatten(element)]
    network = {k: v for k, v in to_json(settings).items() if k not in _OF_NO_EFFECT}
    versions = [kerasunsup.__version__, keras.__version__, tf.__version__]
    parts = [run_folder.processor(), type(settings).__name__, network, shapes, versions]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def seconds_a_step(build: Callable[[], keras.Model], element: Any) -> dict[str, float]:
    """The median seconds of a training step in both arithmetics, measured in turns.

    Args:
        build: () -> compiled model, under the present policy.
        element: what the model gets in one step.
    """
    # Where tf.data tunes itself, the end of a pass may wait for its thread, up to half of the time.
    options = tf.data.Options()
    options.autotune.enabled = False
    batches = tf.data.Dataset.from_tensors(element).repeat(_STEPS).with_options(options)
    models = {}
    for name in (FLOAT32, BFLOAT16):
        with loop.precision(name):
            models[name] = build()
            models[name].fit(batches, shuffle=False, verbose=0)  # traced and warm
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_ROUNDS):
        for name, model in models.items():
            began = time.perf_counter()
            model.fit(batches, shuffle=False, verbose=0)
            seconds[name].append((time.perf_counter() - began) / _STEPS)
    return {name: statistics.median(times) for name, times in seconds.items()}
