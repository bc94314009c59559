"""The GAN's settings: each with its unit and the reason for its value. Start here.

Those that it shares with every training (data, batch size, seed) stand in
`kerasunsup.settings.TrainingSettings`. Measured numbers are of MNIST, seed 0.
"""

from __future__ import annotations

import dataclasses

from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings, setting


@dataclasses.dataclass(frozen=True)
class GANSettings(TrainingSettings):
    """The GAN's settings; epochs, batch size, learning rate and Adam are the study's Table 2."""

    # Pixels a side. The networks halve a side until it is below 8, from 64 at most.
    image_size: int | None = setting(
        None, "resize images to N x N pixels; needed where they differ in size", least=16, most=64
    )
    # The study's.
    epochs: int = setting(100, "train for N epochs", least=1)
    # The study's, for both networks.
    learning_rate: float = setting(
        0.0005, "set the step size of Adam to X, for both networks", above=0.0
    )
    # The study's is constant.
    schedule: str = setting(
        "cosine",
        "keep the learning rate constant, or let it fall to 1 % of itself along half a cosine wave"
        " over --epochs",
        choices=("constant", "cosine"),
    )
    # Measurements. Off: the learning rate falls until the last epoch, so each of them is trained.
    patience: int = setting(
        0,
        "stop after N measurements (see --measure-every) without a lower distance; 0 never stops",
        least=0,
    )
    # Values. The study does not say; as many as the autoencoder's code has.
    noise_dim: int = setting(
        32, "give the generator N standard normal values as noise", least=1, most=4096
    )
    # Kinds. Knowledge of the data: digits are of ten kinds. What ten bring over 100
    # epochs stands in docs/gan.md (see `models.networks.generator`).
    categories: int = setting(
        10,
        "let the noise choose one of N kinds of images, by the largest of its first N values (of"
        " all, where it has fewer); 0 turns the choice off",
        least=0,
    )
    # Filters. So few suffice for samples of MNIST that score as real images do.
    base_filters: int = setting(
        32, "use N filters at half the image's side; each further stage has twice as many", least=1
    )
    # Units. DCGAN has no such layer: without it the networks do not see how parts go together.
    hidden_units: int = setting(
        256,
        "put a dense layer of N units behind the generator's noise and before the discriminator's"
        " logit; 0 leaves both out",
        least=0,
    )
    # In the minimax game the generator's gradient vanishes while it loses (Goodfellow et al. 2014,
    # section 3); the relativistic one ends nearer to real images with 64
    # filters, and no nearer with 32 (docs/gan.md).
    loss: str = setting(
        "non_saturating",
        "choose the losses; minimax is the study's formula to the letter, relativistic compares"
        " each generated image with a real one, and with a --gradient-penalty pays it for both",
        choices=("non_saturating", "minimax", "relativistic"),
    )
    # A share that is kept a step. Adam's own 0.9 remembers gradients by an opponent that has
    # changed since.
    beta_1: float = setting(
        0.5,
        "keep X of Adam's mean of gradients in each step; with 0.9 the pair oscillates",
        least=0.0,
        most=0.999,
    )
    # A share that is kept a step: an average over about 1,000 steps, two epochs of MNIST.
    averaging: float = setting(
        0.999,
        "draw samples with an average of the generator's weights, of which each step keeps X; 0"
        " draws with the last weights",
        least=0.0,
        most=0.99999,
    )
    # In probability. Off, as are the noise and the dropout below: they weaken a discriminator that
    # wins, and a run says when it does.
    label_smoothing: float = setting(
        0.0, "let the discriminator aim at 1 - X for real images", least=0.0, most=0.5
    )
    # A weight, on nats. Over 10 epochs 0.1 helps (score 9.53 instead of 9.39); over 100 it leaves
    # the discriminator at chance from epoch 25 on, and the distance rises again.
    gradient_penalty: float = setting(
        0.0,
        "add X times half the squared gradient of the discriminator by real images to its loss",
        least=0.0,
    )
    # A standard deviation, on the scale [-1, 1].
    discriminator_noise: float = setting(
        0.0,
        "add Gaussian noise of this standard deviation, on the scale [-1, 1], to all images that"
        " the discriminator sees",
        least=0.0,
        most=5.0,
    )
    # A share of 1.
    dropout: float = setting(
        0.0, "drop this share of the discriminator's features while training", least=0.0, most=0.9
    )
    # Epochs. Each measurement draws and compares --num-samples images while no step is made.
    measure_every: int = setting(5, "measure samples beside real images every N epochs", least=1)
    # Images. Frechet distances fall with the number of images: the literature's 10,000.
    num_samples: int = setting(
        10_000, "compare N samples of the generator with real images", least=100, most=1_000_000
    )

    def __post_init__(self) -> None:
        """Checks each value, and that smoothing has a target to lower.

        Raises:
            InputError: if a value is wrong, or two do not go together.
        """
        super().__post_init__()
        if self.loss == "relativistic" and self.label_smoothing:
            raise InputError(
                f"--label-smoothing {self.label_smoothing} lowers the target of a real image, and "
                "--loss relativistic has none: leave one of them out"
            )

    @property
    def categories_used(self) -> int:
        """No more than the noise has values to choose by."""
        return min(self.categories, self.noise_dim)
