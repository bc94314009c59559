"""What `apply` costs: images a second of each verb at batch sizes 1 and 256, memory, start-up.

    python benchmarks/apply.py logs/ae/RUN --output docs/apply.json

Writes MNIST's test images as PNG files, starts the commands as a user would, each in a process of
its own, and reads its time and its largest memory from the operating system. The rate is that of
the images after the first ones: time of all less time of a few, so that start-up does not count;
each time is the median of some starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import images, splits

_FEW = 300  # images; `cluster` needs some


def command(verb: str, model: Path, folder: Path, number: int, batch_size: int) -> list[str]:
    """The arguments of one command, without its output."""
    if verb == "generate":
        return [verb, str(model), "--count", str(number), "--batch-size", str(batch_size)]
    arguments = [verb, str(model), str(folder), "--limit", str(number)]
    more = {
        "similar": ["--query", str(folder / "00000.png")],
        "outliers": ["--reference", str(folder)],
        "cluster": ["--clusters", "10"],
    }
    return [*arguments, "--batch-size", str(batch_size), *more.get(verb, [])]


def cost(arguments: list[str]) -> tuple[float, float]:
    """(seconds, largest memory in MB) of one command in a process of its own."""
    with tempfile.TemporaryDirectory() as output:
        whole = [sys.executable, "-m", "kerasunsup.apply", *arguments, "--output", output + "/out"]
        began = time.perf_counter()
        process = subprocess.Popen(whole, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(whole)} ended with status {status}")
    return seconds, usage.ru_maxrss / 1024.0


def median_cost(arguments: list[str], repeats: int) -> tuple[float, float]:
    """(median of the seconds, largest memory in MB) of a command that is started so many times."""
    costs = [cost(arguments) for _ in range(repeats)]
    return statistics.median(seconds for seconds, _ in costs), max(memory for _, memory in costs)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a finished autoencoder run on MNIST")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3, help="starts of each; the median counts")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tests = splits.load(AutoencoderSettings()).test
        for number, picture in enumerate(images.to_uint8(tests.array(range(arguments.images)))):
            (folder / f"{number:05d}.png").write_bytes(images.encode_png(picture))
        for verb in ("restore", "encode", "similar", "outliers", "cluster", "generate"):
            row = {}
            for batch_size in (1, 256):
                few, all_ = (
                    median_cost(
                        command(verb, arguments.model, folder, number, batch_size),
                        arguments.repeats,
                    )
                    for number in (_FEW, arguments.images)
                )
                rate = (arguments.images - _FEW) / (all_[0] - few[0])
                row[f"images_per_second_{batch_size}"] = round(rate)
                row[f"megabytes_{batch_size}"] = round(all_[1])
                row[f"seconds_for_{_FEW}_{batch_size}"] = round(few[0], 1)
            rows[verb] = row
            print(f"{verb:10} " + "  ".join(f"{key} {value}" for key, value in row.items()))
    if arguments.output:
        result = {
            "command": "python benchmarks/apply.py " + " ".join(sys.argv[1:]),
            "processor": platform.processor() or platform.machine(),
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
