"""The settings of the comparison of outlier scores, and their names. Start here."""

from __future__ import annotations

import dataclasses

from kerasunsup.settings import TrainingSettings, setting

# Score -> what it is called in figures and tables; the first is what `apply outliers` sorts by.
OUTLIER_SCORES = {
    "outliers": "error and density",
    "error": "reconstruction error",
    "density": "density of codes",
    "neighbors": "distance to nearest codes",
    "code_error": "error in the code space",
    "pca": "residual of PCA",
    "patches": "distance of the oddest patch",
    "views": "features of views",
    "answers": "which view is told wrong",
    "ranks": "rank average",
    "flow": "density of codes by a flow",
}
# Whose ranks are averaged: a score of each kind, chosen on validation images of four
# classes (docs/outliers.md).
JOINED_SCORES = ("outliers", "patches", "views", "answers")


@dataclasses.dataclass(frozen=True)
class NoveltySettings(TrainingSettings):
    """The settings of the comparison of outlier scores, one class against the rest."""

    # With ten classes thirty epochs take about six minutes on two cores.
    epochs: int = setting(30, "train the autoencoder of each class for at most N epochs", least=1)
    # A falling rate ends at a lower error than a constant one (see `ae.__main__`).
    schedule: str = setting(
        "cosine",
        "course of the learning rate over --epochs; cosine: falls to 1 % of it along half a cosine"
        " wave",
        choices=("constant", "cosine"),
    )
    # Each class has a model of its own, too small to be trained on several machines.
    strategy: str = setting(
        "none", "mirrored: train on all devices of this machine", choices=("none", "mirrored")
    )
    most_classes: int | None = setting(
        None, "measure the first N classes that have images enough (all)", least=1
    )
    classes: tuple[int, ...] | None = setting(
        None,
        "take each of these classes for clean in turn, given by their labels; by default all",
        least=0,
    )
    # The size that the study's autoencoder has.
    latent_dim: int = setting(
        32, "numbers in the code of an image; PCA gets as many components", least=1, most=4096
    )
    hidden_units: int = setting(128, "units of the dense layer beside the code", least=1)
    # Off: a flow is trained for each class.
    flow: bool = setting(
        False, "also score by the density of a flow that is fitted to the codes of each class"
    )
    # Steps. More make the network surer of its answers and hardly better at outliers.
    view_steps: int = setting(
        400, "train the network that tells turned and shifted views apart in N steps", least=1
    )
