"""What `apply` costs: images a second of each verb at batch sizes 1 and 256, memory, start-up.

    python benchmarks/apply.py logs/ae/RUN --output docs/apply.json

Writes MNIST's test images as PNG files, starts the commands as a user would, each in a process of
its own, and reads its time and its largest memory from the operating system. The rate is that of
the images after the first ones: time of all less time of a few, so that start-up does not count;
each time is the median of some starts.

    python benchmarks/apply.py logs/ae/RUN --decoding --output docs/apply_decoding.json

measures, in turns, how fast small PNG files are decoded alone, by Pillow, by this package and by
TensorFlow, beside all of `encode`, and how long a command on codes that exist takes. Rates are of
the clock and of one processor (images a second of processor time), which other work disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from kerasunsup import tensorflow_startup
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import from_folder, images, splits
from kerasunsup.training import run_folder

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


def cost(arguments: list[str]) -> tuple[float, float, float]:
    """(seconds, largest memory in MB, processor seconds) of one command in its own process."""
    with tempfile.TemporaryDirectory() as output:
        whole = [sys.executable, "-m", "kerasunsup.apply", *arguments, "--output", output + "/out"]
        began = time.perf_counter()
        process = subprocess.Popen(whole, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(whole)} ended with status {status}")
    return seconds, usage.ru_maxrss / 1024.0, usage.ru_utime + usage.ru_stime


def median_cost(arguments: list[str], repeats: int) -> tuple[float, float]:
    """(median of the seconds, largest memory in MB) of a command that is started so many times."""
    costs = [cost(arguments) for _ in range(repeats)]
    return statistics.median(cost[0] for cost in costs), max(cost[1] for cost in costs)


def by_pillow(paths: list[str]) -> None:
    """Decodes files by Pillow alone, one after the other."""
    for path in paths:
        with Image.open(path) as picture:
            np.asarray(picture)


def by_tensorflow(paths: list[str]) -> Callable[[], object]:
    """What decodes files by `tf.io` in a `tf.data` pipeline on all processors, 256 at a time."""
    import tensorflow as tf

    files = tf.data.Dataset.from_tensor_slices(paths)
    pictures = files.map(lambda path: tf.io.decode_png(tf.io.read_file(path)), tf.data.AUTOTUNE)
    batches = pictures.batch(256)
    return lambda: sum(1 for _ in batches)


def decoding(model: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Rates of decoding alone and of `encode`, in turns; and what a command on codes takes."""
    tensorflow_startup.import_tensorflow()
    paths = [str(path) for path in sorted(folder.glob("*.png"))]
    ways: dict[str, Callable[[], object]] = {
        "Pillow": lambda: by_pillow(paths),
        "this package": lambda: list(from_folder.decoded(paths)),
        "tf.io": by_tensorflow(paths),
    }
    clock: dict[str, list[float]] = {name: [] for name in (*ways, "encode")}
    processor: dict[str, list[float]] = {name: [] for name in clock}
    for number in range(rounds + 1):  # the first round warms up
        for name, decode in ways.items():
            began, began_processor = time.perf_counter(), time.process_time()
            decode()
            clock[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - began_processor)
        few, all_ = (
            cost(command("encode", model, folder, number, 256)) for number in (_FEW, len(paths))
        )
        share = len(paths) / (len(paths) - _FEW)
        clock["encode"].append((all_[0] - few[0]) * share)
        processor["encode"].append((all_[2] - few[2]) * share)
        print(f"round {number} of {rounds}", flush=True)
    rows = {}
    for name, seconds in clock.items():
        ratios = [one / own for one, own in zip(processor["Pillow"], processor[name], strict=True)]
        rows[name] = {
            "images_per_second": round(len(paths) / statistics.median(seconds[1:])),
            "per_processor": round(len(paths) / statistics.median(processor[name][1:])),
            "ratio_per_processor": round(statistics.median(ratios[1:]), 2),
            "least_ratio": round(min(ratios[1:]), 2),
            "most_ratio": round(max(ratios[1:]), 2),
        }
    return rows | starts(model, folder, rounds)


def starts(model: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """The seconds of whole commands on the codes of 200 images, which need no TensorFlow."""
    rows = {}
    with tempfile.TemporaryDirectory() as codes:
        few = [str(model), str(folder), "--limit", "200"]
        encode = [sys.executable, "-m", "kerasunsup.apply", "encode", *few]
        subprocess.run([*encode, "--output", codes, "--shard", "1/1"], check=True)
        for verb in ("cluster", "similar"):
            costs = [cost([verb, *few, "--codes", codes]) for _ in range(rounds)]
            rows[f"{verb} --codes"] = {
                "seconds": round(statistics.median(seconds for seconds, _, _ in costs), 2),
                "processor_seconds": round(statistics.median(own for _, _, own in costs), 2),
            }
    return rows


def all_verbs(model: Path, folder: Path, number_of_images: int, repeats: int) -> dict[str, dict]:
    """Rates, memory and start-up of each verb."""
    rows = {}
    for verb in ("restore", "encode", "similar", "outliers", "cluster", "generate"):
        row = {}
        for batch_size in (1, 256):
            few, all_ = (
                median_cost(command(verb, model, folder, number, batch_size), repeats)
                for number in (_FEW, number_of_images)
            )
            rate = (number_of_images - _FEW) / (all_[0] - few[0])
            row[f"images_per_second_{batch_size}"] = round(rate)
            row[f"megabytes_{batch_size}"] = round(all_[1])
            row[f"seconds_for_{_FEW}_{batch_size}"] = round(few[0], 1)
        rows[verb] = row
    return rows


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a finished autoencoder run on MNIST")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3, help="starts, or rounds (median)")
    parser.add_argument("--decoding", action="store_true", help="decoding alone, and encode")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tests = splits.load(AutoencoderSettings()).test
        for number, picture in enumerate(images.to_uint8(tests.array(range(arguments.images)))):
            (folder / f"{number:05d}.png").write_bytes(images.encode_png(picture))
        if arguments.decoding:
            rows = decoding(arguments.model, folder, arguments.repeats)
        else:
            rows = all_verbs(arguments.model, folder, arguments.images, arguments.repeats)
    for name, row in rows.items():
        print(f"{name:16} " + "  ".join(f"{key} {value}" for key, value in row.items()))
    if arguments.output:
        result = {
            "command": "python benchmarks/apply.py " + " ".join(sys.argv[1:]),
            "processor": run_folder.processor(),
            "avx512_bf16": "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8"),
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
