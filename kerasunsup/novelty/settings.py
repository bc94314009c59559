"""The settings of the comparison of outlier scores, and their names. Start here."""

from __future__ import annotations

import dataclasses

from kerasunsup.settings import TrainingSettings, setting

# Score -> what it is called; the first is what `apply outliers` sorts by.
OUTLIER_SCORES = {
    "outliers": "error and density",
    "error": "reconstruction error",
    "density": "density of codes",
    "neighbors": "distance to nearest codes",
    "code_error": "error in the code space",
    "pca": "residual of PCA",
}


@dataclasses.dataclass(frozen=True)
class NoveltySettings(TrainingSettings):
    """Settings of the comparison of outlier scores, one class against the rest."""

    epochs: int = setting(30, "train for at most N epochs on each class", least=1)
    schedule: str = setting(
        "cosine",
        "learning rate over --epochs; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    most_classes: int | None = setting(
        None, "measure the first N classes that have images enough (all)", least=1
    )
    classes: tuple[int, ...] | None = setting(
        None, "labels of the classes that are taken for clean, each in its turn (all)", least=0
    )
    latent_dim: int = setting(32, "code size, and PCA's components", least=1, most=4096)
    hidden_units: int = setting(128, "units of the dense layer beside the code", least=1)
