"""What each step of `apply cluster` gains: ten groups of MNIST's test images beside their labels.

python benchmarks/clustering.py logs/ae/RUN --output docs/clustering.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import turns
from sklearn import mixture, preprocessing

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import splits as data_splits
from kerasunsup.evaluation import clustering, latent_space
from kerasunsup.models import loading

_NUMBER = 10


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a finished autoencoder run on MNIST")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    splits = data_splits.load(AutoencoderSettings())
    images, labels = splits.test.array(), splits.labels.test
    pixels = images.reshape(len(images), -1)
    codes = loading.open_model(arguments.model).function("encode")(images)
    standard = preprocessing.StandardScaler().fit_transform(codes)
    components = latent_space.principal_components(pixels, codes.shape[1], 0).transform(pixels)
    gaussians = mixture.GaussianMixture(_NUMBER, n_init=3, reg_covar=1e-3, random_state=0)
    steps: dict[str, Callable[[], np.ndarray]] = {
        "k-means on pixels": lambda: clustering.k_means(pixels, _NUMBER, 0),
        f"k-means on {codes.shape[1]} principal components": lambda: clustering.k_means(
            components, _NUMBER, 0
        ),
        "k-means on codes": lambda: clustering.k_means(codes, _NUMBER, 0),
        "k-means on standardized codes": lambda: clustering.k_means(standard, _NUMBER, 0),
        "mixture of Gaussians on codes": lambda: gaussians.fit_predict(standard),
        "graph of codes, ten groups (apply cluster)": lambda: clustering.groups(codes, _NUMBER, 0),
        "the same, number by the largest gap": lambda: clustering.groups(
            codes, None, 0, least_stability=None
        ),
        "the same, number stable in random draws": lambda: clustering.groups(codes, None, 0),
    }
    rows = {}
    for name, method in steps.items():
        began = time.perf_counter()
        found = method()
        numbers = clustering.agreement(found, labels)
        numbers |= {"groups": int(found.max()) + 1, "seconds": time.perf_counter() - began}
        rows[name] = {key: round(value, 4) for key, value in numbers.items()}
        print(f"{name:44} " + "  ".join(f"{key} {value}" for key, value in rows[name].items()))
    if arguments.output:
        result = {
            "command": "python benchmarks/clustering.py " + " ".join(sys.argv[1:]),
            "machine": turns.machine(),
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
