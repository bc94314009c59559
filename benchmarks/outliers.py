"""Which score finds outliers: one class of MNIST against the rest, all ten classes.

    python benchmarks/outliers.py --output docs/outliers.json

For each class an autoencoder is trained on the training images of that class alone, by the
command line; all test images are scored, and those of the other classes should come first. Skips
runs that are finished in `--logs`. Prints the area under the ROC curve in %, with the residual of
32 principal components beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn import metrics

from kerasunsup import config, data, latent, outliers, trained


def log_standardized(clean: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Logarithms in units of the clean images'."""
    logs = np.log(clean + 1e-12)
    return (np.log(values + 1e-12) - logs.mean()) / logs.std()


def rarity(clean: np.ndarray, codes: np.ndarray, components: int) -> np.ndarray:
    """Negative log-likelihood in a mixture, in units of the clean images'."""
    mixture = latent.fit_mixture(clean, components, 0)
    known = -mixture.log_likelihoods(clean)
    return (-mixture.log_likelihoods(codes) - known.mean()) / known.std()


def mahalanobis(clean: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Squared distance from the clean rows' mean, by their covariance."""
    mean = clean.mean(axis=0)
    inverse = np.linalg.pinv(np.cov(clean.T))
    return np.einsum("ij,jk,ik->i", values - mean, inverse, values - mean)


def scores_of(model: trained.Trained, clean: np.ndarray, tests: np.ndarray) -> dict:
    """Every way of scoring, name -> score of each test image."""
    encode, reconstruct = model.function("encode"), model.function("reconstruct")
    (codes, made), (test_codes, test_made) = (
        (encode(images), reconstruct(images)) for images in (clean, tests)
    )
    error, test_error = (
        np.square(outputs - images).mean(axis=(1, 2, 3))
        for outputs, images in ((made, clean), (test_made, tests))
    )
    # What the encoder sees change when an image becomes its reconstruction.
    change, test_change = codes - encode(made), test_codes - encode(test_made)
    error_z = log_standardized(error, test_error)
    change_z = log_standardized(mahalanobis(change, change), mahalanobis(change, test_change))
    ten = rarity(codes, test_codes, 10)
    flat, test_flat = clean.reshape(len(clean), -1), tests.reshape(len(tests), -1)
    pca = latent.principal_components(flat, 32, 0)
    residual = np.square(pca.inverse_transform(pca.transform(test_flat)) - test_flat).mean(axis=1)
    nearest = latent.nearest(codes, test_codes, 5)[0].mean(axis=1)
    return {
        "residual of 32 principal components": residual,
        "reconstruction error": error_z,
        "error in the code space": change_z,
        "distance to the 5 nearest codes": nearest,
        "code density, mixture of 10": ten,
        "code density, mixture of 50": rarity(codes, test_codes, 50),
        "error and density (apply outliers)": outliers.fit(error, codes, 0).scores(
            test_error, test_codes
        ),
        "error, error in the code space and density": error_z + change_z + ten,
    }


def main() -> None:
    """Trains what is missing, scores, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--logs", type=Path, default=Path("logs") / "outliers")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    began = time.perf_counter()
    splits = data.load(config.AutoencoderConfig())
    tests = splits.test.array()
    table: dict[str, list[float]] = {}
    for label in range(10):
        clean = splits.train.subset(np.flatnonzero(splits.labels.train == label)).array()
        run = arguments.logs / "ae" / f"class-{label}"
        if not (run / "metrics.json").exists():
            arguments.logs.mkdir(parents=True, exist_ok=True)
            images = arguments.logs / f"class-{label}.npz"
            np.savez(images, images=np.rint(clean * 255).astype(np.uint8))
            command = [sys.executable, "-m", "kerasunsup.ae", "--data", str(images)]
            command += ["--epochs", str(arguments.epochs), "--schedule", "cosine"]
            command += ["--logs", str(arguments.logs), "--name", run.name]
            subprocess.run(command, check=True)
        found = scores_of(trained.open_model(run), clean, tests)
        for name, values in found.items():
            area = 100.0 * metrics.roc_auc_score(splits.labels.test != label, values)
            table.setdefault(name, []).append(area)
    for name, areas in table.items():
        print(f"{name:44} {np.mean(areas):6.2f}  " + " ".join(f"{area:5.1f}" for area in areas))
    if arguments.output:
        result = {
            "command": "python benchmarks/outliers.py " + " ".join(sys.argv[1:]),
            "processor": platform.processor() or platform.machine(),
            "seconds": round(time.perf_counter() - began),
            "auroc": {
                name: {"mean": round(float(np.mean(areas)), 2)}
                | {str(label): round(area, 2) for label, area in enumerate(areas)}
                for name, areas in table.items()
            },
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
