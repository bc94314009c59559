"""Runs as the commands leave them, for a page of the whole study, and what the page shows."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np

from kerasunsup.data import images
from kerasunsup.report import steps

ROOT = Path(__file__).parents[1]
PNG = images.encode_png(np.zeros((30, 60, 1), np.uint8))
FIGURES = {
    "ae": (
        "learning_curve", "reconstructions", "restorations", "corruption_sweep", "encoded_space",
        "samples", "drawn_codes", "variational", "samples_normal",
        "samples", "drawn_codes", "code_plane", "walks", "walk_confidence",
    ),
    "supervised": ("learning_speed", "confusion", "mistakes", "label_efficiency", "reliability"),
    "novelty": ("auroc", "overlooked"),
    "gan": (
        "samples_first_epochs", "samples_last_epochs", "adversarial_curves",
        "nearest_training_images", "categories", "noise_walks",
    ),
}  # fmt: skip


REFERENCE = json.loads((ROOT / "docs" / "report.json").read_text(encoding="utf-8"))["numbers"]


def metrics_of(step: steps.Step) -> dict[str, float]:
    """Numbers like those of a full run."""
    if step.experiment == "ae":
        groups = {
            f"{name}_{measure}": 0.5 + 0.1 * place
            for place, name in enumerate(("pixels/kmeans", "latent/kmeans", "latent/graph"))
            for measure in ("accuracy", "nmi", "ari")
        }
        fixed = {"best_epoch": 50, "integers/fid": 261.1, "mixture_100/fid": 12.2}
        if step.key == "variational":
            fixed |= {
                "normal/fid": 13.5, "normal/classifier_score": 8.75, "normal/precision": 0.875,
                "normal/recall": 0.75, "variational/kl": 12.25, "variational/kl_per_unit": 0.3828,
                "variational/active_units": 11,
            }  # fmt: skip
        return REFERENCE["logs/ae/report-clean"] | groups | fixed
    if step.experiment == "supervised":
        return REFERENCE["logs/supervised/report-supervised"]
    if step.experiment == "gan":
        return REFERENCE["logs/gan/report-gan"]
    return {
        f"{score}/auroc_{label}": 0.98 if score == "outliers" else 0.9
        for score in ("outliers", "error", "density", "neighbors", "code_error", "pca")
        for label in (*range(10), "mean")
    }


def history_of(step: steps.Step) -> str:
    if step.experiment == "supervised":
        rows = ["arm,labels,repetition,images,seconds,accuracy,loss"]
        for arm, start in (("finetuned", 0.6), ("scratch", 0.4)):
            for point in range(3):
                rows += [
                    f"{arm},all,{seed},{1280 * point},1.0,{start + 0.1 * point + 0.02 * seed},1.0"
                    for seed in range(2)
                ]
        return "\n".join(rows) + "\n"
    losses = [1.0 / epoch for epoch in range(1, 51)]
    rows = [f"{epoch},{loss},{loss}" for epoch, loss in enumerate(losses, start=1)]
    return "\n".join(["epoch,loss,val_loss", *rows]) + "\n"


def write_run(step: steps.Step, places: steps.Places, name: str = "any-name") -> Path:
    folder = places.logs / step.experiment / name
    (folder / "figures").mkdir(parents=True)
    environment = {
        "started": "2026-01-01T00:00:00+00:00", "seed": 0, "git_commit": "abc",
        "data": "aed86165739481fa",
        "python": "3.11", "processors": 2, "processor": "P", "platform": "L",
        "versions": {"keras": "3"},
    }  # fmt: skip
    for file, values in (
        ("config", steps.settings_of(step, places)),
        ("metrics", metrics_of(step)),
        ("environment", environment),
    ):
        (folder / f"{file}.json").write_text(json.dumps(values))
    (folder / "history.csv").write_text(history_of(step))
    for figure in FIGURES[step.experiment]:
        (folder / "figures" / f"{figure}.png").write_bytes(PNG)
    return folder


def written() -> tuple[str, dict]:
    return Path("report.html").read_text(), json.loads(Path("report.json").read_text())


def text_of(html: str) -> str:
    """What a reader sees."""
    shown = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(shown).split())


def step(key: str) -> steps.Step:
    (found,) = [one for one in (*steps.STEPS, *steps.OPTIONAL) if one.key == key]
    return found


def changed(folder: Path, **values) -> None:
    """Writes other numbers into a run's metrics.json; `mse` stands for all names that end so."""
    path = folder / "metrics.json"
    numbers = json.loads(path.read_text())
    for ending, value in values.items():
        numbers |= {name: value for name in numbers if re.search(rf"(^|[/_]){ending}$", name)}
    path.write_text(json.dumps(numbers))
