"""Our search beside a plain `keras_tuner.Hyperband` as its guide writes it, in one run.

    python benchmarks/search_cost.py --rounds 2 --output benchmarks/search_cost.json

Both get the same images, network, space, budget and drawn configurations, minimise the plain
validation error with a constant learning rate, and run one after the other, each in a process of
its own with all processors, in turn for every round (the order changes each round). Reported: the
time from loaded data to the end of the search, the most bytes on the disk at any time and at the
end (TensorBoard's events left out), and the lowest validation error. `--limit 10000
--max-epochs 9` takes about 5 minutes a round on two processors.

With `--tracing` our search runs a third time without its shared models: what building and
tracing a model for each trial costs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import turns

BATCH_SIZE = 128
SIZES = (16, 32, 64)
RATES = (3e-4, 1e-2)
DECAYS = (1e-5, 1e-4, 1e-3)


def settings_of(options: argparse.Namespace) -> Any:
    """The settings that no trial changes."""
    from kerasunsup.ae.settings import AutoencoderSettings

    return AutoencoderSettings(
        limit=options.limit, test_limit=options.validation, batch_size=BATCH_SIZE, seed=options.seed
    )


def choose(hp: Any) -> dict[str, Any]:
    """The space, asked for in the same order by both."""
    return {
        "latent_dim": hp.Choice("latent_dim", list(SIZES)),
        "learning_rate": hp.Float("learning_rate", *RATES, sampling="log"),
        "weight_decay": hp.Choice("weight_decay", list(DECAYS)),
    }


def ours(options: argparse.Namespace, folder: Path) -> float:
    """Searches with `kerasunsup.search`; returns the lowest validation MSE."""
    from kerasunsup.ae import experiment
    from kerasunsup.search import runner, session, trials
    from kerasunsup.search.settings import SearchSettings
    from kerasunsup.settings import Command
    from kerasunsup.training import loop

    settings = settings_of(options)
    splits = load(settings)
    if options.worker == "kerasunsup, a model a trial":
        shared = trials.TrialRunner.model

        def rebuilt(self: Any, settings: Any, seed: int) -> Any:
            self._models.clear()
            return shared(self, settings, seed)

        trials.TrialRunner.model = rebuilt  # type: ignore[method-assign]
    command = Command(
        "ae", settings, folder / "logs", None, False, (),
        SearchSettings(tune=True, max_epochs=options.max_epochs, tuning=str(folder / "disk")),
    )  # fmt: skip
    problem = session.Problem(
        settings=settings,
        splits=splits,
        build=lambda chosen: experiment.build(
            chosen, splits.image_shape, mean=loop.mean_pixel(splits)
        ),
        space=lambda hp, fixed: dataclasses.replace(fixed, **choose(hp)),
        rate=loop.learning_rate,
        prepare=None,
        group_by="latent_dim",
        reference=lambda size: 1.0,
        completes=False,  # the same budget for both
    )
    started()
    with loop.machine(settings):
        found = runner.run_search(command, problem)
    return min(result["validation_mse"] for result in found["trials"] if result["score"])


def plain(options: argparse.Namespace, folder: Path) -> float:
    """Searches as KerasTuner's guide does; returns the lowest validation MSE."""
    import keras
    import keras_tuner

    from kerasunsup.models import networks
    from kerasunsup.search import oracles

    settings = settings_of(options)
    splits = load(settings)
    train, validation = splits.train.array(), splits.validation.array()
    # The seed of our oracle, so that the same configurations are drawn.
    seed = oracles.make(
        "hyperband", choose, folder / "unused", seed=options.seed, max_epochs=options.max_epochs
    ).seed

    def build(hp: Any) -> keras.Model:
        chosen = choose(hp)
        shape = {"latent_dim": chosen["latent_dim"]}
        model = networks.autoencoder(
            networks.encoder(splits.image_shape, **shape),
            networks.decoder(splits.image_shape, **shape),
        )
        model.compile(
            optimizer=keras.optimizers.Adam(
                chosen["learning_rate"], weight_decay=chosen["weight_decay"]
            ),
            loss="mean_squared_error",
        )
        return model

    started()
    tuner = keras_tuner.Hyperband(
        build,
        objective="val_loss",
        max_epochs=options.max_epochs,
        factor=oracles.FACTOR,
        seed=seed,
        directory=folder / "disk",
        project_name="search",
    )
    tuner.search(
        train,
        train,
        validation_data=(validation, validation),
        batch_size=BATCH_SIZE,
        callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=settings.patience)],
        verbose=0,
    )
    return float(tuner.oracle.get_best_trials(1)[0].score)


CONTENDERS: dict[str, Callable[[argparse.Namespace, Path], float]] = {
    "kerasunsup": ours,
    "keras_tuner.Hyperband": plain,
    "kerasunsup, a model a trial": ours,
}


def load(settings: Any) -> Any:
    """The images, read before the clock starts."""
    from kerasunsup.data import splits as data_splits

    return data_splits.load(settings)


def started() -> None:
    """Tells the parent that the search begins."""
    print("STARTED", flush=True)


def work(options: argparse.Namespace) -> None:
    """What the process of one contender does."""
    from kerasunsup import tensorflow_startup

    tensorflow_startup.import_tensorflow()
    error = CONTENDERS[options.worker](options, options.folder)
    print(f"ENDED {error}", flush=True)


def bytes_below(folder: Path) -> int:
    """Bytes of all files; those that vanish meanwhile are left out."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Runs one contender in a process of its own and watches its folder."""
    with tempfile.TemporaryDirectory() as temporary:
        disk = Path(temporary) / "disk"
        over, most = threading.Event(), [0]

        def watch() -> None:
            while not over.wait(0.2):
                most[0] = max(most[0], bytes_below(disk))

        arguments = [
            "--worker", name, "--folder", temporary, "--limit", str(options.limit),
            "--validation", str(options.validation), "--max-epochs", str(options.max_epochs),
            "--seed", str(options.seed),
        ]  # fmt: skip
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        began = ended = time.perf_counter()
        error = None
        with subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE if options.quiet else None, text=True,
        ) as process:  # fmt: skip
            if process.stdout is None:
                raise RuntimeError("the process has no pipe")
            for line in process.stdout:
                if line.startswith("STARTED"):
                    began = time.perf_counter()
                elif line.startswith("ENDED"):
                    ended, error = time.perf_counter(), float(line.split()[1])
        over.set()
        watcher.join()
        if error is None:
            raise RuntimeError(f"{name} ended with status {process.returncode}")
        left = bytes_below(disk)
        return {
            "seconds": ended - began,
            "most_bytes": max(most[0], left),
            "bytes_left": left,
            "best_mse": error,
        }


def main() -> None:
    """Runs the comparison and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--limit", type=int, default=10_000, help="training images")
    parser.add_argument("--validation", type=int, default=1000, help="validation images")
    parser.add_argument("--max-epochs", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=1, help="each with another seed")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--tracing", action="store_true", help="also ours without shared models")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("--quiet", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    names = list(CONTENDERS)[: 3 if options.tracing else 2]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else reversed(names):
            rows[name].append(measure(name, options))
            print(f"round {number + 1} of {options.rounds}: {name} {rows[name][-1]}", flush=True)
        options.seed += 1
    print("\n| search | seconds | most MB on disk | MB left | best validation MSE |")
    print("| --- | --- | --- | --- | --- |")
    for name, results in rows.items():
        mean = {key: statistics.fmean(row[key] for row in results) for key in results[0]}
        print(
            f"| {name} | {mean['seconds']:.0f} | {mean['most_bytes'] / 1e6:.1f} "
            f"| {mean['bytes_left'] / 1e6:.1f} | {mean['best_mse']:.5f} |"
        )
    if options.output:
        result = {
            "limit": options.limit,
            "validation": options.validation,
            "max_epochs": options.max_epochs,
            "machine": turns.machine(),
            "rows": rows,
        }
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
