"""Contenders that take turns, an epoch each, so that a machine whose speed drifts slows all alike.

Each lives in a process of its own with all processors. The first epoch of each (tracing,
compiling) is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

# Trains one epoch and returns a number that shows what it has learned.
Epoch = Callable[[], float]
# Makes it for training images, float32 (num_images, height, width, channels) in [0, 1].
Contender = Callable[[np.ndarray], Epoch]


class _Worker:
    """A contender's process; it trains an epoch for every line that it is sent."""

    def __init__(self, script: str, name: str, num_images: int) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, script, "--worker", name, "--images", str(num_images)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def epoch(self) -> tuple[float, float]:
        """(seconds, loss) of one epoch."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write("epoch\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: run with --worker to see why")
        seconds, loss = line.split()
        return float(seconds), float(loss)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def _work(contender: Contender, num_images: int) -> None:
    """What a worker does: build once, then an epoch a line."""
    from kerasunsup import tensorflow_startup

    tensorflow_startup.import_tensorflow()  # first, so that it starts as in the commands
    from kerasunsup.data import splits
    from kerasunsup.settings import TrainingSettings

    epoch = contender(splits.load(TrainingSettings()).train.array(np.arange(num_images)))
    for _ in sys.stdin:
        began = time.perf_counter()
        loss = epoch()
        print(time.perf_counter() - began, loss, flush=True)


def matmul_rate(size: int = 2048) -> float:
    """The machine's own rate in float32 matrix products, in GFLOP/s; the limit of all."""
    left = np.ones((size, size), np.float32)
    left @ left
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        left @ left
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def machine() -> dict[str, object]:
    """The processor, whether it has instructions for bfloat16, and what else it had to do."""
    from kerasunsup.training import precision, run_folder

    return {
        "processor": run_folder.processor(),
        "processors": os.cpu_count(),
        "has_bfloat16": precision.has_bfloat16(),
        "gflops_in_float32": round(matmul_rate(), 1),
        "load_at_the_end": os.getloadavg()[0],
    }


def main(
    script: str,
    description: str,
    contenders: Mapping[str, Contender],
    variants: Mapping[str, Contender],
    *,
    images: int,
    rounds: int,
) -> None:
    """The command line of a benchmark: runs the comparison, prints a table, writes JSON.

    Reported: images a second, median over the rounds, and the ratio to the best PyTorch mode,
    median of the rounds' own ratios.

    Args:
        script: the benchmark's own file, which is started anew for each contender.
        description: what `--help` says.
        contenders: name -> contender; the first is ours.
        variants: our own choices undone one by one, for `--variants`.
        images: of an epoch.
        rounds: epochs that count.
    """
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--images", type=int, default=images, help="images an epoch")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--variants", action="store_true", help="our own choices undone one by one")
    parser.add_argument(
        "--only", nargs="+", choices=[*contenders, *variants], help="these contenders (all)"
    )
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work({**contenders, **variants}[options.worker], options.images)
        return
    ours = next(iter(contenders))
    names = options.only or ([ours, *variants] if options.variants else list(contenders))
    seconds, losses = _take_turns(script, names, options.images, options.rounds)
    rivals = [name for name in names if name.startswith("PyTorch")] or [ours]
    best = min(rivals, key=lambda name: statistics.median(seconds[name]))
    rows = {}
    for name in names:
        ratios = [other / own for other, own in zip(seconds[best], seconds[name], strict=True)]
        rows[name] = {
            "images_per_second": options.images / statistics.median(seconds[name]),
            "ratio": statistics.median(ratios),
            "least_ratio": min(ratios),
            "most_ratio": max(ratios),
            "last_loss": losses[name],
        }
    about = machine()
    print(f"\n| contender | images/s | times {best} | of the rounds | loss, last epoch |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        print(
            f"| {name} | {row['images_per_second']:,.0f} | {row['ratio']:.2f} "
            f"| {row['least_ratio']:.2f} to {row['most_ratio']:.2f} | {row['last_loss']:.5f} |"
        )
    print(f"\n{about}")
    if options.output:
        result = {"reference": best, "rounds": options.rounds, "machine": about, "rows": rows}
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _take_turns(
    script: str, names: Sequence[str], num_images: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """(seconds of each round, last loss) of each contender."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    losses: dict[str, float] = {}
    workers = [_Worker(script, name, num_images) for name in names]
    try:
        for worker in workers:
            worker.epoch()
        for number in range(rounds):
            for worker in workers:
                spent, losses[worker.name] = worker.epoch()
                seconds[worker.name].append(spent)
            print(f"round {number + 1} of {rounds}", flush=True)
    finally:
        for worker in workers:
            worker.close()
    return seconds, losses
