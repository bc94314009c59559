"""Speed of two workers with one core each beside one process with one core, over loopback.

    python benchmarks/several_workers.py --output several_workers.json

Both train the packaged MNIST by the real commands: the autoencoder and the GAN, each with its
default settings, so that two workers divide the same batches of 128 images. What counts is the
median of the epochs' `images_per_second` but the first, which holds the tracing. The two take
turns, a whole training each, so that a machine whose speed drifts slows both alike; the load that
other work leaves on the machine is written down.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import turns

_EPOCHS = 4
_LIMITS = {"ae": 12_800, "gan": 2_560}  # training images


def command(experiment: str, logs: Path, name: str) -> list[str]:
    """The command of one process; what is measured beside the training is left out."""
    arguments = [
        "--limit", str(_LIMITS[experiment]), "--test-limit", "500", "--num-samples", "500",
        "--epochs", str(_EPOCHS), "--logs", str(logs), "--name", name,
    ]  # fmt: skip
    if experiment == "gan":
        arguments += ["--measure-every", "1000"]
    return [sys.executable, "-m", f"kerasunsup.{experiment}", *arguments]


def speed(experiment: str, num_workers: int, folder: Path) -> float:
    """Images a second of a training by so many workers, each on a core of its own."""
    name = f"{num_workers}-{time.time_ns()}"
    with contextlib.ExitStack() as probes:  # all of them open at once: no port is given twice
        opened = [probes.enter_context(socket.socket()) for _ in range(num_workers)]
        for probe in opened:
            probe.bind(("localhost", 0))
        ports = [probe.getsockname()[1] for probe in opened]
    workers = []
    for index in range(num_workers):
        arguments = command(experiment, folder, name)
        if num_workers > 1:
            addresses = ",".join(f"localhost:{port}" for port in ports)
            arguments += ["--strategy", "multiworker", "--workers", addresses]
            arguments += ["--worker-index", str(index)]
        on_one_core = functools.partial(os.sched_setaffinity, 0, {index})
        workers.append(
            subprocess.Popen(arguments, stdout=subprocess.DEVNULL, preexec_fn=on_one_core)
        )
    history = folder / experiment / name / "history.csv"
    rows: list[dict[str, str]] = []
    while len(rows) < _EPOCHS and workers[0].poll() is None:  # what comes after is not measured
        time.sleep(0.5)
        if history.exists():
            with history.open(encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
    for worker in workers:
        worker.kill()
        worker.wait()
    return statistics.median(float(row["images_per_second"]) for row in rows[1:])


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(_LIMITS), help="this experiment (both)")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = {}
    for experiment in [options.only] if options.only else list(_LIMITS):
        found: dict[int, list[float]] = {1: [], 2: []}
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(options.rounds):
                for number in found:
                    found[number].append(speed(experiment, number, Path(folder)))
                print(experiment, {n: round(each[-1]) for n, each in found.items()}, flush=True)
        ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
        rows[experiment] = {
            "one": statistics.median(found[1]),
            "two": statistics.median(found[2]),
            "ratio": statistics.median(ratios),
            "least_ratio": min(ratios),
            "most_ratio": max(ratios),
        }
    print("\n| command | one worker, images/s | two, images/s | ratio | of the rounds |")
    print("| --- | --- | --- | --- | --- |")
    for experiment, row in rows.items():
        spread = f"{row['least_ratio']:.2f} to {row['most_ratio']:.2f}"
        cells = f"{row['one']:,.0f} | {row['two']:,.0f} | {row['ratio']:.2f}"
        print(f"| {experiment} | {cells} | {spread} |")
    if options.output:
        about = {**turns.machine(), "load_at_the_start": load}
        result = {"rounds": options.rounds, "machine": about, "rows": rows}
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
