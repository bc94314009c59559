"""The settings of the comparison of classifiers, and the names of what is compared. Start here."""

from __future__ import annotations

import dataclasses

from kerasunsup.settings import TrainingSettings, setting

# Arm -> what it is called in pictures and tables.
ARM_NAMES = {
    "frozen": "encoder frozen, new layer",
    "finetuned": "encoder fine-tuned",
    "scratch": "same network from scratch",
    "convolutional": "convolutional, from scratch",
    "pseudo_labels": "encoder, pseudo-labels",
    "pseudo_labels_scratch": "pseudo-labels from scratch",
    "graph_labels": "encoder, labels of the graph",
    "linear_probe": "linear probe on codes",
    "neighbors": "nearest neighbor on codes",
    "mixture": "mixture of codes",
    "graph": "graph of codes",
}


# Learning from one's own answers takes 1,500 steps of two passes over some 300 images each.
ARMS_ASKED_FOR = ("pseudo_labels", "pseudo_labels_scratch")


DEFAULT_ARMS = tuple(arm for arm in ARM_NAMES if arm not in ARMS_ASKED_FOR)


@dataclasses.dataclass(frozen=True)
class SupervisedSettings(TrainingSettings):
    """The comparison's settings: an encoder that never saw a label, given labels, and its rivals.

    Adam's step size is the same for all arms.
    """

    epochs: int = setting(3, "times that all labelled images are seen", least=1)
    learning_rate: float = setting(0.001, "Adam's step size, of all arms", above=0.0)
    schedule: str = setting(
        "cosine",
        "learning rate over a training; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    patience: int = setting(
        0, "measured points without a lower validation loss before an arm stops; 0 turns it off",
        least=0,
    )  # fmt: skip
    encoder: str | None = setting(
        None,
        "an autoencoder run (its name or folder) or its model.keras; without one the usual encoder"
        " is trained once, and used again",
        metavar="RUN",
    )
    encoder_epochs: int = setting(20, "epochs of the usual encoder", least=1)
    labels: tuple[int, ...] = setting(
        (10, 100, 1000, 10_000, 0),
        "numbers of labels that arms are trained with; 0 is all",
        least=0,
    )
    repetitions: int = setting(
        3, "subsets and initial weights that each arm is trained with", least=2, most=100
    )
    arms: tuple[str, ...] = setting(
        DEFAULT_ARMS, "the ways that are compared", choices=tuple(ARM_NAMES)
    )
    steps: int = setting(300, "the least steps of a training, however few the labels", least=1)
    pseudo_label_steps: int = setting(
        1500, "steps of the two arms that learn from unlabelled images too", least=1
    )
    graph_steps: int = setting(
        800, "steps of the arm that learns the labels which the codes' graph gives all images",
        least=1,
    )  # fmt: skip
    unlabelled_batch_size: int = setting(256, "unlabelled images in such a step", least=1)
    deformation: float = setting(
        1.0,
        "strength of the turns, shears and shifts that must not change a class; 0 turns them off",
        least=0.0,
        most=5.0,
    )
