"""What each setting of the GAN does to its samples: one change at a time, over seeds.

    python benchmarks/gan_settings.py --seeds 0 1 2 --output benchmarks/gan_settings.json

Trains a run for every variation and seed by the command line, skips those that are finished in
`--logs`, and goes on with those that were stopped. Prints mean and standard deviation over the
seeds; differences smaller than that are noise. Extra arguments go to every run: `-- --base-filters
16` makes a cheaper table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

# Name -> what is changed.
VARIATIONS: dict[str, list[str]] = {
    "as it is": [],
    "no categories": ["--categories", "0"],
    "no hidden layers": ["--hidden-units", "0"],
    "1024 hidden units": ["--hidden-units", "1024"],
    "constant learning rate": ["--schedule", "constant"],
    "noise of 64 values": ["--noise-dim", "64"],
    "noise of 16 values": ["--noise-dim", "16"],
    "label smoothing 0.1": ["--label-smoothing", "0.1"],
    "gradient penalty 0.1": ["--gradient-penalty", "0.1"],
    "noise 0.2": ["--discriminator-noise", "0.2"],
    "dropout 0.3": ["--dropout", "0.3"],
    "64 base filters": ["--base-filters", "64"],
    "beta_1 0.9": ["--beta-1", "0.9"],
    "study": ["--preset", "study"],
    "bfloat16": ["--precision", "mixed_bfloat16"],
}
SHOWN = ("fid", "precision", "recall", "classifier_score", "smallest_class_share")


def run(logs: Path, name: str, arguments: list[str]) -> dict[str, float]:
    """The numbers of one run, which is trained where it is not finished."""
    folder = logs / "gan" / name
    if not (folder / "metrics.json").exists():
        command = [sys.executable, "-m", "kerasunsup.gan", "--logs", str(logs), "--name", name]
        command += ["--resume"] if folder.exists() else arguments
        with (logs / f"{name}.txt").open("a") as output:
            subprocess.run(command, stdout=output, stderr=output, check=True)
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(VARIATIONS), default=list(VARIATIONS))
    parser.add_argument("--logs", type=Path, default=Path("logs") / "gan_settings")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("extra", nargs="*", help="arguments of every run, behind --")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    for seed in options.seeds:  # a whole table of one seed first
        for name in options.only:
            arguments = ["--epochs", str(options.epochs), "--seed", str(seed), *options.extra]
            label = "".join(c if c.isalnum() or c == "." else "-" for c in name)
            numbers = run(options.logs, f"{label}-seed-{seed}", [*arguments, *VARIATIONS[name]])
            rows[name].append({key: numbers[key] for key in (*SHOWN, "training_seconds")})
            print(f"seed {seed}: {name} {rows[name][-1]}", flush=True)
    print("\n| changed | distance | precision | recall | score | smallest class | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, results in rows.items():
        cells = []
        for key in (*SHOWN, "training_seconds"):
            values = [result[key] for result in results]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.4g}{spread}")
        print(f"| {name} | {' | '.join(cells)} |")
    if options.output:
        result = {
            "epochs": options.epochs,
            "seeds": options.seeds,
            "extra": options.extra,
            "machine": {"platform": platform.platform(), "processors": os.cpu_count()},
            "rows": rows,
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
