"""How many groups are found where nobody says it, and how right groups of more codes are.

    python benchmarks/group_numbers.py logs/ae/RUN --output docs/group_numbers.json

The number that comes back in random draws (`clustering.groups` without a number) stands beside the
largest gap of the graph of codes, and the gap statistic of k-means (Tibshirani, Walther & Hastie,
2001): codes of MNIST's training images by the encoder of a finished run, all digits or some of
them, and clouds. Where there are images, also the number that is left when groups are joined that
mildly deformed images move between (`sure_groups.number_when_deformed`). Then ten groups of all
training codes, by graphs of 20,000 codes to all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import turns
from sklearn import cluster

from kerasunsup import tensorflow_startup

tensorflow_startup.import_tensorflow()

from kerasunsup.ae.settings import AutoencoderSettings  # noqa: E402
from kerasunsup.data import augmentation  # noqa: E402
from kerasunsup.data import splits as data_splits  # noqa: E402
from kerasunsup.evaluation import clustering, latent_space, sure_groups  # noqa: E402
from kerasunsup.models import loading  # noqa: E402
from kerasunsup.training import self_labelling  # noqa: E402

_MOST = 20
_GRAPH_CODES = 20_000
_STRENGTH = 0.5  # of the deformations that are right for digits
_BOXES = 10  # uniform sets that the gap statistic compares with
_COUNTED = 3_000  # vectors that it is computed of


def gap_statistic(vectors: np.ndarray, seed: int) -> int:
    """The smallest number of k-means groups whose gap the next one does not surpass clearly."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(vectors), min(_COUNTED, len(vectors)), replace=False)
    vectors = vectors[chosen].astype(np.float64)
    rotated = (vectors - vectors.mean(axis=0)) @ np.linalg.svd(
        vectors - vectors.mean(axis=0), full_matrices=False
    )[2].T
    boxes = [
        generator.uniform(rotated.min(axis=0), rotated.max(axis=0), rotated.shape)
        for _ in range(_BOXES)
    ]
    within = np.array([_log_within(one, seed) for one in (rotated, *boxes)])
    gaps = within[1:].mean(axis=0) - within[0]
    errors = within[1:].std(axis=0) * np.sqrt(1.0 + 1.0 / _BOXES)
    enough = gaps[:-1] >= gaps[1:] - errors[1:]
    return 1 + int(enough.argmax()) if enough.any() else _MOST


def _log_within(vectors: np.ndarray, seed: int) -> list[float]:
    methods = (
        cluster.KMeans(number, n_init=2, random_state=seed) for number in range(1, _MOST + 1)
    )
    return [float(np.log(method.fit(vectors).inertia_)) for method in methods]


def clouds(sizes: list[int], dim: int, distance: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Round clouds of variance 1 whose centres are about so far apart."""
    generator = np.random.default_rng(seed)
    centers = distance * generator.standard_normal((len(sizes), dim)) / np.sqrt(2.0 * dim)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return centers[labels] + generator.standard_normal((len(labels), dim)), labels


def sets(
    codes: np.ndarray, labels: np.ndarray, images: Any, encode: Any, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Name, codes, classes, and where there are images, the codes of these once deformed."""
    drawn = np.random.default_rng(100 + seed).choice(len(codes), _GRAPH_CODES, replace=False)
    digits, pictures = labels[drawn], images.array(drawn)
    changed = [
        encode(augmentation.deform(block, _STRENGTH, [seed, at], self_labelling.DIGITS).numpy())
        for at, block in enumerate(np.array_split(pictures, 40))
    ]
    after = np.concatenate(changed)
    for number in (_GRAPH_CODES, 10_000, 5_000):
        yield (
            f"all digits, {number:,} codes",
            codes[drawn[:number]],
            digits[:number],
            after[:number],
        )
    some = np.random.default_rng(seed).permutation(10)
    kept = {"0 to 4": np.arange(5), "5 to 9": np.arange(5, 10)}
    kept |= {"seven at random": some[:7], "five at random": some[5:]}
    for name, which in kept.items():
        members = np.isin(digits, which)
        yield f"digits {name}", codes[drawn[members]], digits[members], after[members]
    pixels = pictures.reshape(len(pictures), -1)
    components = latent_space.principal_components(pixels, codes.shape[1], seed)
    name = f"all digits, {codes.shape[1]} principal components of pixels"
    yield name, components.transform(pixels), digits, None
    yield "one cloud", *clouds([2000], 5, 0.0, seed), None
    yield "2 clouds", *clouds([700, 700], 8, 5.0, seed), None
    yield "3 clouds, unequal", *clouds([1500, 800, 200], 8, 6.0, seed), None
    yield "5 clouds", *clouds([400] * 5, 8, 6.0, seed), None
    yield "12 clouds", *clouds([200] * 12, 8, 8.0, seed), None
    unequal = [600, 500, 400, 300, 250, 200, 150, 150, 100, 100, 80, 60]
    yield "12 clouds, unequal", *clouds(unequal, 16, 9.0, seed), None


def found_numbers(
    codes: np.ndarray, labels: np.ndarray, deformed: np.ndarray | None, seed: int
) -> dict[str, Any]:
    """What each rule finds, and how well its groups agree with the classes."""
    row: dict[str, Any] = {"classes": len(np.unique(labels))}
    for name, least in (("stable", clustering.STABLE), ("largest gap", None)):
        began = time.perf_counter()
        groups = clustering.groups(codes, None, seed, least_stability=least)
        seconds = time.perf_counter() - began
        ari = clustering.agreement(groups, labels)["ari"]
        row[name] = {
            "groups": int(groups.max()) + 1, "ari": round(ari, 3), "seconds": round(seconds, 1)
        }  # fmt: skip
    if deformed is not None:
        row["deformed"] = {
            "groups": sure_groups.number_when_deformed(
                codes, np.arange(len(codes)), deformed, _STRENGTH, seed
            )
        }
    row["gap statistic"] = {"groups": gap_statistic(codes, seed)}
    return row


def sizes(codes: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Shares in the right one of ten groups, of draws of so many codes."""
    shares: dict[str, list[float]] = {}
    for size in (20_000, 30_000, 40_000, len(codes)):
        for seed in range(4):
            drawn = np.random.default_rng(seed).choice(len(codes), size, replace=False)
            groups = clustering.groups(codes[drawn], 10, seed)
            right = clustering.agreement(groups, labels[drawn])["accuracy"]
            shares.setdefault(str(size), []).append(round(right, 4))
    return shares


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a finished autoencoder run on MNIST")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    data = data_splits.load(AutoencoderSettings())
    encode = loading.open_model(options.model).function("encode")
    codes = np.concatenate([encode(block) for block in data.train.blocks()])
    labels = data.labels.train
    rows: dict[str, list[Any]] = {}
    for seed in options.seeds:
        for name, *given in sets(codes, labels, data.train, encode, seed):
            rows.setdefault(name, []).append(found_numbers(*given, seed))
            print(f"{name:48} seed {seed} {rows[name][-1]}", flush=True)
    result = {
        "command": "python benchmarks/group_numbers.py " + " ".join(sys.argv[1:]),
        "machine": turns.machine(),
        "numbers": rows,
        "sizes": sizes(codes, labels),
    }
    print(result["sizes"])
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
