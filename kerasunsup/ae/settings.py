"""The autoencoder's settings: each with its unit and the reason for its value. Start here.

Those that it shares with every training (data, epochs, learning rate, seed) stand in
`kerasunsup.settings.TrainingSettings`.
"""

from __future__ import annotations

import dataclasses

from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings, flag, setting

_OF_VARIATIONAL = ("beta", "warm_up")

_SKIP_NOISE = 0.5  # the strongest, where --skip is given alone: no shape of a digit is lost in it


@dataclasses.dataclass(frozen=True)
class AutoencoderSettings(TrainingSettings):
    """The autoencoder's settings.

    Code size, learning rate and weight decay are the study's Table 1; it trained for 20 epochs.
    """

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
    # Strength. Off: it is knowledge about the images, and the study has none of it.
    deformation: float = setting(
        0.0,
        "deform every training image at random, another way in each epoch; 1 turns it by up to 20"
        " degrees, scales it by 15 %, shears and shifts it; helps where images are few or the"
        " network is large",
        least=0.0,
        most=5.0,
    )
    # Off: the study's is plain.
    variational: bool = setting(
        False,
        "give an image a distribution of codes near the standard normal one, so that normally"
        " distributed codes decode to images",
    )
    # Of the divergence beside the error. 1 is the evidence lower bound (see `models.variational`).
    beta: float = setting(
        1.0, "with --variational: count the divergence from the normal distribution X times",
        least=0.0,
    )  # fmt: skip
    # Epochs. With the whole beta from the first step on, units may stay off for good.
    warm_up: int = setting(
        10, "with --variational: raise beta evenly over the first N epochs", least=1
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
    # Networks. See `training.self_labelling.StudentSettings.rounds`.
    student_rounds: int = setting(
        3,
        "train N networks one after another as the student, each from the answers of the last; 1"
        " takes a third of the time",
        least=1,
    )
    # Off: it has no code, which all else is about. Its `noise` and `crop` are at most so strong.
    skip: bool = setting(
        False,
        "train a denoiser with skips, without a code, in the place of the autoencoder: filters as"
        " given, twice as many a further stage, and no --hidden-units; the noise of each image has"
        " a level drawn from 0 to --noise (0.5), and every other image a hole of --crop",
    )
    # The others hold more of the training images, or take minutes: see docs/autoencoder.md.
    sampler: str = setting(
        "mixture",
        "draw new codes from a mixture of 100 Gaussians; from a flow that carries the draws of this"
        " mixture to the codes of the training images; or from Gaussians around the neighbors of"
        " each of these codes, which are kept with the run",
        choices=("mixture", "flow", "neighbors"),
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

    def __post_init__(self) -> None:
        """Checks each value, and that what is given goes with the kind of network.

        Raises:
            InputError: if a value is wrong, is for the variational autoencoder alone, or says
                something of a code that a denoiser has not.
        """
        super().__post_init__()
        for name in () if self.variational else _OF_VARIATIONAL:
            if getattr(self, name) != getattr(type(self), name):
                raise InputError(
                    f"{flag(name)} {getattr(self, name)} is for the variational autoencoder: add "
                    f"--variational, or leave {flag(name)} out"
                )
        # So that a run which is given more epochs later keeps the shares of beta that it had.
        if self.variational and self.warm_up > self.epochs:
            object.__setattr__(self, "warm_up", self.epochs)
        if not self.skip:
            return
        for is_given, what in (
            (self.variational, "--variational"),
            (self.student, "--student"),
            (self.sampler != type(self).sampler, f"--sampler {self.sampler}"),
            (self.latent_dim != type(self).latent_dim, f"--latent-dim {self.latent_dim}"),
        ):
            if is_given:
                raise InputError(
                    f"{what} is about codes, and --skip has none: leave one of them out"
                )
        if self.noise == 0 and self.crop == 0:  # there is something to restore
            object.__setattr__(self, "noise", _SKIP_NOISE)
