"""The autoencoder's settings: each with its unit and the reason for its value. Start here.

Those that it shares with every training (data, epochs, learning rate, seed) stand in
`kerasunsup.settings.TrainingSettings`.
"""

from __future__ import annotations

import dataclasses

from kerasunsup.settings import TrainingSettings, setting


@dataclasses.dataclass(frozen=True)
class AutoencoderSettings(TrainingSettings):
    """The autoencoder's settings; the defaults are the study's Table 1."""

    # Values. The study's; PCA with as many leaves four times the error on MNIST.
    latent_dim: int = setting(32, "give the code of an image N values", least=1, most=4096)
    # Filters a stage, each of which halves the side. One stage is the study's network; for images
    # of 64 pixels three (32 64 128) leave 8 x 8 feature maps to the dense layer.
    filters: tuple[int, ...] = setting(
        (32,), "give each strided convolution so many filters, one number a stage", least=1
    )
    # Units. The study does not say; 256 ends lower (see the search's defaults in `__main__`).
    hidden_units: int = setting(
        128, "give the dense layers between convolutions and code N units", least=1
    )
    # A share of a weight for each unit of learning rate, a step. The study's; decoupled (AdamW), so
    # small a decay does next to nothing (see `models.optimizers.adam`).
    weight_decay: float = setting(
        1e-5, "shrink every weight by learning rate x X of itself in each step", least=0.0
    )
    # Standard deviation, in pixel values of [0, 1]. Off: restoring is a training of its own.
    noise: float = setting(
        0.0,
        "add Gaussian noise of this standard deviation to the training images and restore the"
        " clean ones; pixels are in [0, 1]",
        least=0.0,
        most=5.0,
    )
    # Pixels a side. Off, for the same reason.
    crop: int = setting(
        0,
        "cut a hole of N x N pixels out of every training image and restore the whole ones",
        least=0,
        most=127,
    )
    # Epochs. Every second one, and the first; a picture of them all stays readable.
    snapshot_every: int = setting(
        2, "record reconstructions of one image of each class every N epochs", least=1
    )
    # Off: it takes longer than the training on most data.
    student: bool = setting(
        False,
        "also group the test images by a self-labelling student, a convolutional network that"
        " begins from groups of training codes; minutes",
    )
    # A flow takes minutes more and has gained little so far (docs/autoencoder.md).
    sampler: str = setting(
        "mixture",
        "draw new codes from a mixture of 100 Gaussians, or from a flow that carries the draws of"
        " this mixture to the codes of the training images",
        choices=("mixture", "flow"),
    )
    # Codes. What t-SNE and a browser's projector handle well; MNIST has 10,000.
    num_codes: int = setting(
        5000, "show the codes of N test images in the encoded space and the projector", least=10
    )
    # Images. Frechet distances fall with the number of images: the literature's 10,000.
    num_samples: int = setting(
        10_000,
        "compare N new images of each way of sampling codes with real ones",
        least=100,
        most=1_000_000,
    )
