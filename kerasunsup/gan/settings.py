"""The GAN's settings: each one line with the reason for its value. Start here."""

from __future__ import annotations

import dataclasses

from kerasunsup.settings import TrainingSettings, setting


@dataclasses.dataclass(frozen=True)
class GANSettings(TrainingSettings):
    """The GAN's settings; epochs, batch size, learning rate and Adam are the study's Table 2."""

    image_size: int | None = setting(
        None, "resize to N x N; needed where images differ in size", least=16, most=64
    )
    epochs: int = setting(100, "train for N epochs", least=1)
    learning_rate: float = setting(0.0005, "Adam's step size, of both networks", above=0.0)
    schedule: str = setting(
        "cosine",
        "learning rate over --epochs; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    patience: int = setting(
        0,
        "measurements (see --measure-every) without a lower distance before stopping; 0 turns it"
        " off",
        least=0,
    )
    noise_dim: int = setting(32, "values of the generator's noise", least=1, most=4096)
    categories: int = setting(
        10,
        "kinds of images that the noise chooses from, by the largest of its first N values (of all,"
        " where it has fewer); 0 turns it off",
        least=0,
    )
    base_filters: int = setting(
        32, "filters at half the image's side; each further stage has twice as many", least=1
    )
    hidden_units: int = setting(
        256,
        "units of a dense layer behind the generator's noise and before the discriminator's logit;"
        " 0 leaves both out",
        least=0,
    )
    loss: str = setting(
        "non_saturating",
        "the generator's loss; minimax is the study's formula to the letter",
        choices=("non_saturating", "minimax"),
    )
    beta_1: float = setting(
        0.5,  # 0.9, Adam's own, remembers gradients by an opponent that has changed since
        "decay of Adam's mean of gradients; with 0.9 the pair oscillates",
        least=0.0,
        most=0.999,
    )
    averaging: float = setting(
        0.999,
        "decay of the generator's average of weights, a step, that samples are drawn with; 0 draws"
        " with the last ones",
        least=0.0,
        most=0.99999,
    )
    label_smoothing: float = setting(
        0.0, "the discriminator's target for real images is 1 less this", least=0.0, most=0.5
    )
    gradient_penalty: float = setting(
        # Over 10 epochs 0.1 helps (score 9.53 instead of 9.39); over 100 it leaves the
        # discriminator at chance from epoch 25 on, and the distance rises again.
        0.0,
        "weight of the squared gradient of the discriminator by real images",
        least=0.0,
    )
    discriminator_noise: float = setting(
        0.0,
        "Gaussian noise of this sigma, on the scale [-1, 1], on all that the discriminator sees",
        least=0.0,
        most=5.0,
    )
    dropout: float = setting(
        0.0, "share of the discriminator's features that is dropped", least=0.0, most=0.9
    )
    measure_every: int = setting(
        5, "epochs between two measurements of samples beside real images", least=1
    )
    num_samples: int = setting(
        10_000, "samples that the generator is judged by", least=100, most=1_000_000
    )

    @property
    def categories_used(self) -> int:
        """No more than the noise has values to choose by."""
        return min(self.categories, self.noise_dim)
