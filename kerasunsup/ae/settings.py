"""The autoencoder's settings: each one line with the reason for its value. Start here."""

from __future__ import annotations

import dataclasses

from kerasunsup.settings import TrainingSettings, setting


@dataclasses.dataclass(frozen=True)
class AutoencoderSettings(TrainingSettings):
    """The autoencoder's settings; the defaults are the study's Table 1."""

    latent_dim: int = setting(32, "code size", least=1, most=4096)
    filters: tuple[int, ...] = setting(
        (32,), "filters of each strided convolution; one stage is the study's network", least=1
    )
    hidden_units: int = setting(128, "units of the dense layer beside the code", least=1)
    weight_decay: float = setting(
        1e-5,
        "decoupled weight decay: each step shrinks a weight by learning rate x decay of itself",
        least=0.0,
    )
    noise: float = setting(
        0.0, "train on images with Gaussian noise of this sigma, clean target", least=0.0, most=5.0
    )
    crop: int = setting(
        0, "train on images with one hole of N x N pixels, clean target", least=0, most=127
    )
    snapshot_every: int = setting(
        2, "epochs between the recorded reconstructions of one image of each class", least=1
    )
    num_codes: int = setting(
        5000, "test codes in the pictures of the encoded space and in the projector", least=10
    )
    num_samples: int = setting(
        10_000,
        "new images that each way of sampling codes is judged by",
        least=100,
        most=1_000_000,
    )
