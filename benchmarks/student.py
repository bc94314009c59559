"""How right a self-labelling student is after each of its epochs, and what each setting does.

    python benchmarks/student.py logs/ae/RUN --output student.json -- "" "share=0.6" "hole=0.25"

Groups of the training images' codes, made by the encoder of a finished run, are taught to a
student. Its answers on the validation images, from which it does not learn, are compared with
their labels: the best matching of groups and classes. Each argument behind `--` is a variation,
settings of `training.self_labelling.StudentSettings` with commas between them; an empty one is the
default. With `--labels N` so many labelled images name the groups and take part. `--test` adds the
test images at the end: for what is no choice any more.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
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
from kerasunsup.evaluation import clustering, label_spreading, sure_groups  # noqa: E402
from kerasunsup.models import loading  # noqa: E402
from kerasunsup.supervised.cells import balanced_subset  # noqa: E402
from kerasunsup.training import files, loop, self_labelling  # noqa: E402

_NUMBER = 10


def settings_of(text: str) -> self_labelling.StudentSettings:
    """The settings that a variation names; `deformation` scales those for digits."""
    given = {k: json.loads(v) for k, v in (part.split("=") for part in text.split(",") if part)}
    limits = self_labelling.DIGITS.scaled(given.pop("deformation", 0.7))
    plain = self_labelling.StudentSettings(limits=limits, changed=0.0)
    return dataclasses.replace(plain, **given)


def student_of(
    data: Any,
    groups: tuple[np.ndarray, np.ndarray],
    graph: label_spreading.GraphOfCodes | None,
    settings: self_labelling.StudentSettings,
    seed: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One student: a row an epoch, and how right it is at the end."""
    rows: list[dict[str, float]] = []
    num_labels = options.labels

    def share_right(network: Any, part: str) -> float:
        images, labels = getattr(data, part).array(), getattr(data.labels, part)
        answers = network.predict(images, batch_size=500, verbose=0).argmax(axis=1)
        if num_labels:
            return float(np.mean(answers == labels))
        return clustering.agreement(answers, labels)["accuracy"]

    def watch(network: Any, epoch: self_labelling.Epoch) -> None:
        right = share_right(network, "validation")
        rows.append({"accuracy": right, **dataclasses.asdict(epoch)})
        print(f"  {right:.4f} after {epoch.seconds:.0f} s", flush=True)

    given = {}
    if graph is not None:
        labelled = balanced_subset(data.labels.train, num_labels, seed)
        given = {"labelled": labelled, "labels": data.labels.train[labelled]}
        spread = graph.classes(labelled, given["labels"], _NUMBER)
        groups = (sure_groups.agreed(groups[0], spread, **given), groups[1])
    student = self_labelling.train(
        data.train, *groups, settings=settings, seed=seed, watch=watch, num_classes=_NUMBER, **given
    )
    of_test = {"test_accuracy": share_right(student.network, "test")} if options.test else {}
    return {"epochs": rows, **of_test}


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a finished autoencoder run")
    parser.add_argument("--data", default="mnist", help="what it was trained on; of ten classes")
    parser.add_argument("--test", action="store_true", help="also measure test images, at the end")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--labels", type=int, default=0, help="labelled images; 0 for none")
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("variations", nargs="*", default=[""])
    options = parser.parse_intermixed_args()
    data = data_splits.load(AutoencoderSettings(data=options.data))
    encode = loading.open_model(options.model).function("encode")
    codes = np.concatenate([encode(block) for block in data.train.blocks()])
    # Labels spread along this one; it is the same for all seeds.
    graph = label_spreading.GraphOfCodes(codes, 0) if options.labels else None
    rows: dict[str, Any] = {}
    for seed in options.seeds:
        began = time.perf_counter()
        groups = sure_groups.with_confidence(codes, _NUMBER, seed)
        seconds = time.perf_counter() - began
        right = clustering.agreement(groups[0], data.labels.train)["accuracy"]
        print(f"seed {seed}: groups of training images {right:.4f}", flush=True)
        for variation in options.variations:
            print(f" {variation or 'as it is'}", flush=True)
            with loop.precision(options.precision):
                row = student_of(data, groups, graph, settings_of(variation), seed, options)
            rows.setdefault(variation, []).append(
                {"seed": seed, "groups": right, "groups_seconds": seconds, **row}
            )
    if options.output:
        command = "python benchmarks/student.py " + " ".join(sys.argv[1:])
        result = {"command": command, "machine": turns.machine(), "rows": rows}
        files.write_json(options.output, result)


if __name__ == "__main__":
    main()
