"""Outlier scores on validation images, by the autoencoders of a run of `novelty`.

    python benchmarks/outlier_scores.py logs/novelty/RUN --output docs/outlier_scores.json

Scores are chosen by these numbers; test images are not looked at. `--views` trains the networks
that tell views apart, too (a minute a class); without it a class takes about five seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from kerasunsup import tensorflow_startup

tensorflow_startup.import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

from kerasunsup.data import splits as data_splits  # noqa: E402
from kerasunsup.evaluation import classifier_metrics  # noqa: E402
from kerasunsup.novelty import experiment, results, views  # noqa: E402
from kerasunsup.novelty.settings import NoveltySettings  # noqa: E402
from kerasunsup.settings import read_config  # noqa: E402
from kerasunsup.training import files  # noqa: E402


def main() -> None:
    """Writes the area under the ROC curve by class and score, and the seconds that each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--classes", type=int, nargs="*", default=range(10))
    parser.add_argument("--images", type=int, default=2000, help="validation images")
    parser.add_argument("--views", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    settings = NoveltySettings(**read_config(NoveltySettings, arguments.run / "config.json"))
    splits = data_splits.load(settings)
    judged = np.arange(min(arguments.images, len(splits.validation)))
    pictures = splits.validation.array(judged)
    labels = results.labels_of(splits).validation[judged]
    rows = {}
    for label in arguments.classes:
        began = time.perf_counter()
        folder = arguments.run / "classes" / "ae" / f"class-{label}"
        model = keras.models.load_model(folder / "model.keras", compile=False)
        clean = experiment.clean_images(splits, label)
        scores = results.outlier_scores(
            model, clean, pictures, latent_dim=settings.latent_dim, seed=settings.seed
        )
        scores["outliers, patches"] = sum(
            stats.rankdata(scores[name]) for name in ("outliers", "patches")
        )
        if arguments.views:
            known = splits.train.subset(np.flatnonzero(results.labels_of(splits).train == label))
            found = views.measured(
                known, pictures, num_steps=settings.view_steps, seed=settings.seed
            )
            scores |= {"views": found.distances, "answers": found.surprise}
            scores["ranks"] = results.rank_average(scores)
        rows[str(label)] = {
            name: round(classifier_metrics.auroc(labels != label, values), 6)
            for name, values in scores.items()
        } | {"seconds": round(time.perf_counter() - began, 1)}
        print(label, rows[str(label)], flush=True)
        files.write_json(arguments.output, {"images": len(judged), "rows": rows})


if __name__ == "__main__":
    main()
