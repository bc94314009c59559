"""What labels of chosen images are worth beside labels of random ones, on MNIST.

    python benchmarks/selection.py logs/ae/RUN --output select.json

The training images are encoded by a finished run on MNIST. Some are chosen by
`selection.worth_labelling` (`apply select`), as many are drawn at random, and drawn with as many of
each class, which needs all labels. Reported: how many of the ten classes are among them; the share
of the 5,000 validation images that the labels, spread along the graph of the training codes, get
right; and the share of training images in groups that the labels name (`sure_groups.named`). Once
for all 55,000 training images, and once for draws of 20,000 of them, a draw a seed, each as if
there were no others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import turns

from kerasunsup import tensorflow_startup

tensorflow_startup.import_tensorflow()

from kerasunsup.ae.settings import AutoencoderSettings  # noqa: E402
from kerasunsup.data import splits as data_splits  # noqa: E402
from kerasunsup.evaluation import label_spreading, selection, sure_groups  # noqa: E402
from kerasunsup.models import loading  # noqa: E402
from kerasunsup.supervised.cells import balanced_subset  # noqa: E402

_CLASSES = 10
_COUNTS = (10, 100, 1000)
_OF_DRAW = 20_000


class Setting:
    """Training codes with labels that only check, and what labels of some of them are worth."""

    def __init__(self, codes: np.ndarray, labels: np.ndarray, validation: Any, seed: int) -> None:
        self.codes, self._labels, self._validation = codes, labels, validation
        self._graph = label_spreading.GraphOfCodes(codes, seed)
        self._groups, _ = sure_groups.with_confidence(codes, _CLASSES, seed)

    def worth(self, labelled: np.ndarray) -> dict[str, float]:
        """Of labels at these positions."""
        labels, (queries, answers) = self._labels[labelled], self._validation
        spread = self._graph.spread(labelled, labels, queries, _CLASSES).argmax(axis=1)
        named = sure_groups.named(self._groups, labelled, labels, _CLASSES)
        return {
            "classes": len(np.unique(labels)),
            "spread": float(np.mean(spread == answers)),
            "named": float(np.mean(named == self._labels)),
        }

    def rows(self, seed: int) -> list[dict[str, Any]]:
        """A row for each way and count."""
        began = time.process_time()
        ranked = selection.worth_labelling(self.codes, max(_COUNTS), seed)
        print(f"  chosen in {time.process_time() - began:.0f} s of processor time", flush=True)
        order = np.random.default_rng([seed, 3]).permutation(len(self.codes))
        rows = []
        for count in _COUNTS:
            for way, labelled in (
                ("chosen", ranked[:count]),
                ("random", order[:count]),
                ("random, balanced", balanced_subset(self._labels, count, seed)),
            ):
                rows.append({"count": count, "way": way, "seed": seed, **self.worth(labelled)})
                print(f"  {rows[-1]}", flush=True)
        return rows


def summary(rows: list[dict[str, Any]]) -> None:
    """Prints a line for each way and count: the mean and the least over the seeds."""
    for count in _COUNTS:
        for way in dict.fromkeys(row["way"] for row in rows):
            these = [row for row in rows if (row["count"], row["way"]) == (count, way)]
            told = [
                f"{name} {statistics.mean(row[name] for row in these):.4f} "
                f"({min(row[name] for row in these):.4f} at least)"
                for name in ("classes", "spread", "named")
            ]
            print(f"{count} {way}: {', '.join(told)}")


def main() -> None:
    """Chooses, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a finished autoencoder run on MNIST")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    data = data_splits.load(AutoencoderSettings())
    encode = loading.open_model(options.model).function("encode")
    codes, queries = (
        np.concatenate([encode(block) for block in images.blocks()])
        for images in (data.train, data.validation)
    )
    labels, validation = data.labels.train, (queries, data.labels.validation)
    result: dict[str, Any] = {
        "command": "python benchmarks/selection.py " + " ".join(sys.argv[1:]),
        "machine": {},
    }
    drawn_rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        print(f"20,000 images, seed {seed}", flush=True)
        drawn = np.sort(np.random.default_rng(seed).choice(len(codes), _OF_DRAW, replace=False))
        drawn_rows += Setting(codes[drawn], labels[drawn], validation, seed).rows(seed)
    everything, rows = Setting(codes, labels, validation, 0), []
    for seed in options.seeds:
        print(f"all images, seed {seed}", flush=True)
        rows += everything.rows(seed)
    for name, of_name in ((f"{_OF_DRAW} images", drawn_rows), (f"{len(codes)} images", rows)):
        print(f"\n{name}")
        summary(of_name)
        result[name] = of_name
    result["machine"] = turns.machine()
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
