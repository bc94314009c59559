"""What a contrastive encoder is worth beside the usual one, from runs, and what its steps cost.

    python benchmarks/contrastive.py logs/supervised/RUN ... --output docs/contrastive.json

The runs are finished ones of `python -m kerasunsup.supervised --arms contrastive ...` on MNIST.
Groups of one set of images jump from one set to the next, so those of `--blocks` times 10,000
training images are made too. A step is 128 images: it draws them again, or tells two views of each
apart; forty of each are timed by turns a round. `--blocks 0` and `--rounds 0` leave these out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import turns

from kerasunsup import tensorflow_startup

tensorflow_startup.import_tensorflow()

import keras  # noqa: E402

from kerasunsup.ae import experiment  # noqa: E402
from kerasunsup.ae.settings import AutoencoderSettings  # noqa: E402
from kerasunsup.data import batches  # noqa: E402
from kerasunsup.data import splits as data_splits  # noqa: E402
from kerasunsup.evaluation import clustering  # noqa: E402
from kerasunsup.supervised import encoder as encoders  # noqa: E402
from kerasunsup.training import contrastive, files, self_labelling  # noqa: E402

_STEPS = 40
_BLOCK = 10_000  # images, as many as are tested on
_LEFT_OUT = ("_calibration_error", "_loss")


def numbers_of(run: Path) -> dict[str, Any]:
    """The command of a run and its numbers, without those of single figures."""
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    shown = {
        name: value
        for name, value in metrics.items()
        if name.startswith(("labels_", "contrastive/", "encoder/")) and not name.endswith(_LEFT_OUT)
    }
    # Where the encoder lay is of no use to others.
    words = [Path(word).name if "/" in word else word for word in environment["command"]]
    return {"command": " ".join(words), "seed": environment["seed"], "numbers": shown}


def groups_of_blocks(run: Path, number: int) -> dict[str, list[float]]:
    """The share of images in the right one of ten groups, by either encoder, a number a block."""
    splits = data_splits.load(AutoencoderSettings())
    record = json.loads((run / "checkpoints" / "encoder.json").read_text(encoding="utf-8"))
    usual = encoders.load_encoder(Path(record["encoder"]), "the encoder", "train it")
    other = keras.models.clone_model(usual)
    kept = files.read_arrays(run / "checkpoints" / "contrastive_encoder.npz")
    other.set_weights([kept[name] for name in sorted(kept) if name.startswith("weights/")])
    shares: dict[str, list[float]] = {"encoder": [], "contrastive": []}
    for block in range(number):
        shown = np.arange(_BLOCK * block, _BLOCK * (block + 1))
        for name, encoder in (("encoder", usual), ("contrastive", other)):
            codes = encoder.predict(splits.train.array(shown), batch_size=500, verbose=0)
            found = clustering.agreement(
                clustering.groups(codes, 10, 0), splits.labels.train[shown]
            )
            shares[name].append(found["accuracy"])
            print(name, block, found["accuracy"], flush=True)
    return shares


def steps_in_turns(rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of either training, one number a round."""
    settings = AutoencoderSettings(**encoders.ENCODER_SETTINGS)
    images = data_splits.load(settings).train.subset(np.arange(settings.batch_size * _STEPS))
    model = experiment.build(settings, images.shape)
    drawn = batches.training_batches(images, settings.batch_size, seed=0)
    views = contrastive.ContrastiveSettings(limits=self_labelling.DIGITS)
    encoder = model.get_layer("encoder")

    def draw() -> float:
        began = time.perf_counter()
        model.fit(drawn, shuffle=False, verbose=0)
        return (time.perf_counter() - began) / _STEPS

    def compare() -> float:
        trained = contrastive.train(encoder, images, num_steps=_STEPS + 1, settings=views)
        return trained.seconds / _STEPS

    contenders: dict[str, Callable[[], float]] = {"encoder": draw, "contrastive": compare}
    draw()  # is compiled; the other leaves its first step out
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name].append(round(1000 * contender(), 2))
    return seconds


def main() -> None:
    """Prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("runs", type=Path, nargs="+", help="finished runs of supervised")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    result: dict[str, Any] = {"runs": [numbers_of(run) for run in options.runs]}
    if options.blocks:
        result["groups_of_blocks"] = groups_of_blocks(options.runs[0], options.blocks)
    if options.rounds:
        steps = steps_in_turns(options.rounds)
        pairs = zip(steps["contrastive"], steps["encoder"], strict=True)
        ratio = statistics.median(ours / usual for ours, usual in pairs)
        result |= {"milliseconds_a_step": steps, "ratio_of_steps": round(ratio, 3)}
    result["machine"] = turns.machine()
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
