"""What each setting of the GAN does to its samples: one change at a time, over seeds.

    python benchmarks/gan_settings.py --seeds 0 1 2 --jobs 2 --output docs/gan_settings.json \
        -- --base-filters 16

Trains a run for every variation and seed by the command line, skips those that are finished in
`--logs`, and goes on with those that were stopped. Prints mean and standard deviation over the
seeds, and the change of the score against the default with the same seed; differences smaller
than their spread are noise. What stands behind `--` goes to every run: here a cheaper network.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import queue
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import turns

DEFAULT = "as it is"
# Name -> what is changed.
VARIATIONS: dict[str, list[str]] = {
    DEFAULT: [],
    "no categories": ["--categories", "0"],
    "no hidden layers": ["--hidden-units", "0"],
    "1024 hidden units": ["--hidden-units", "1024"],
    "constant learning rate": ["--schedule", "constant"],
    "noise of 64 values": ["--noise-dim", "64"],
    "noise of 16 values": ["--noise-dim", "16"],
    "label smoothing 0.1": ["--label-smoothing", "0.1"],
    "gradient penalty 0.01": ["--gradient-penalty", "0.01"],
    "gradient penalty 0.1": ["--gradient-penalty", "0.1"],
    "relativistic": ["--loss", "relativistic"],
    "relativistic, penalty 0.02": ["--loss", "relativistic", "--gradient-penalty", "0.02"],
    "20 categories": ["--categories", "20"],
    "50 categories": ["--categories", "50"],
    "discriminator's noise 0.2": ["--discriminator-noise", "0.2"],
    "dropout 0.3": ["--dropout", "0.3"],
    "16 filters": ["--base-filters", "16"],
    "24 filters": ["--base-filters", "24"],
    "32 filters": ["--base-filters", "32"],
    "128 hidden units": ["--hidden-units", "128"],
    "beta_1 0.9": ["--beta-1", "0.9"],
    "the study's game": ["--preset", "study"],
    "bfloat16": ["--precision", "mixed_bfloat16"],
    "float32": ["--precision", "float32"],
}
# Read from the default's own runs: row -> where its numbers stand.
TWINS = {
    "last weights, not averaged": "last_weights/",
    "and their statistics as trained": "running_statistics/",
}
# Number -> digits behind the point.
SHOWN = {"fid": 1, "precision": 2, "recall": 2, "classifier_score": 2, "smallest_class_share": 3}


def arguments_of(name: str, seed: int, epochs: int, extra: Sequence[str]) -> list[str]:
    """The flags of one run; those of the variation come last, so that they hold."""
    common = ["--epochs", str(epochs), "--measure-every", str(epochs), "--seed", str(seed)]
    return [*common, *extra, *VARIATIONS[name]]


def run(
    logs: Path, name: str, arguments: Sequence[str], processors: set[int] | None
) -> dict[str, float]:
    """The numbers of one run, which is trained where it is not finished.

    Args:
        logs: where runs go.
        name: the run's.
        arguments: its flags.
        processors: that it may use; None for all.
    """
    folder = logs / "gan" / name
    if not (folder / "metrics.json").exists():
        command = [sys.executable, "-m", "kerasunsup.gan", "--logs", str(logs), "--name", name]
        command += ["--resume"] if folder.exists() else arguments
        with (logs / f"{name}.txt").open("a") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
            if processors is not None:  # before its TensorFlow counts them
                os.sched_setaffinity(process.pid, processors)
            if process.wait():
                raise SystemExit(f"{name} ended with status {process.returncode}: see {logs}")
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def run_all(
    options: argparse.Namespace, cells: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, float]]:
    """The numbers of every (variation, seed), as many at once as there are jobs."""
    places: queue.Queue[set[int] | None] = queue.Queue()
    if options.jobs == 1:
        places.put(None)
    else:
        usable = sorted(os.sched_getaffinity(0))
        for job in range(options.jobs):
            places.put(set(usable[job :: options.jobs]))

    def one(cell: tuple[str, int]) -> dict[str, float]:
        name, seed = cell
        label = "".join(c if c.isalnum() or c == "." else "-" for c in name)
        arguments = arguments_of(name, seed, options.epochs, options.extra)
        place = places.get()
        try:
            numbers = run(options.logs, f"{label}-seed-{seed}", arguments, place)
        finally:
            places.put(place)
        shown = {key: round(numbers[key], 3) for key in SHOWN}
        print(f"seed {seed}: {name} {shown}", flush=True)
        return numbers

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return dict(zip(cells, pool.map(one, cells), strict=True))


def rows_of(
    found: dict[tuple[str, int], dict[str, float]], names: Sequence[str], seeds: Sequence[int]
) -> dict[str, list[dict[str, float]]]:
    """Row -> the shown numbers of each seed; the default's twins behind it."""
    rows = {}
    for name in names:
        prefixes = {name: "", **(TWINS if name == DEFAULT else {})}
        for row, prefix in prefixes.items():
            rows[row] = [{key: found[name, seed][prefix + key] for key in SHOWN} for seed in seeds]
    return rows


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Mean and standard deviation over the seeds, in Markdown."""
    lines = [
        "| changed | distance | precision | recall | score | smallest class | change of score |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, results in rows.items():
        cells = [
            mean_and_spread([result[key] for result in results], digits)
            for key, digits in SHOWN.items()
        ]
        if name != DEFAULT and DEFAULT in rows:
            pairs = zip(results, rows[DEFAULT], strict=True)
            changes = [own["classifier_score"] - base["classifier_score"] for own, base in pairs]
            cells.append(mean_and_spread(changes, 2))
        else:
            cells.append("")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_and_spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation, the latter where there are two values at least."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(VARIATIONS), default=list(VARIATIONS))
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, which share processors")
    parser.add_argument("--logs", type=Path, default=Path("logs") / "gan_settings")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("extra", nargs="*", help="arguments of every run, behind --")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    # A whole table of one seed first.
    cells = [(name, seed) for seed in options.seeds for name in options.only]
    rows = rows_of(run_all(options, cells), options.only, options.seeds)
    print(f"\n{table(rows)}")
    if options.output:
        result = {
            "command": "python benchmarks/gan_settings.py " + " ".join(sys.argv[1:]),
            "epochs": options.epochs,
            "seeds": options.seeds,
            "machine": turns.machine(),
            "rows": {
                name: [{key: round(value, 4) for key, value in one.items()} for one in results]
                for name, results in rows.items()
            },
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
