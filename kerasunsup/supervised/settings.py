"""The settings of the comparison of classifiers, and the names of its methods. Start here."""

from __future__ import annotations

import dataclasses

from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings, setting

# Method -> what it is called in figures and tables.
METHOD_NAMES = {
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
    "student": "self-labelling student",
    "contrastive": "linear probe, contrastive",
    "contrastive_graph": "graph of codes, contrastive",
    "contrastive_finetuned": "encoder fine-tuned, contrastive",
}
# These begin with an encoder that told views of images apart, and not with one that drew images
# again: method -> the same on the usual encoder.
CONTRASTIVE = {
    "contrastive": "linear_probe",
    "contrastive_graph": "graph",
    "contrastive_finetuned": "finetuned",
}
FROM_SCRATCH = ("scratch", "convolutional", "pseudo_labels_scratch")
PSEUDO_LABELLED = ("pseudo_labels", "pseudo_labels_scratch")
# Networks that are trained in steps; the other methods are probes on codes.
TRAINED = (
    "frozen", "finetuned", *FROM_SCRATCH, "pseudo_labels", "graph_labels", "student",
    "contrastive_finetuned",
)  # fmt: skip
# These learn from unlabelled images too.
SEMI_SUPERVISED = (*PSEUDO_LABELLED, "graph_labels", "mixture", "graph", "contrastive_graph")

# These must be asked for. The methods with pseudo-labels take 1,500 steps of two passes over some
# 300 images each; the student goes through all images twelve times; the contrastive encoder is
# trained for as long as the usual one.
SLOW = (*PSEUDO_LABELLED, "student", *CONTRASTIVE)
DEFAULT_METHODS = tuple(method for method in METHOD_NAMES if method not in SLOW)


@dataclasses.dataclass(frozen=True)
class SupervisedSettings(TrainingSettings):
    """The settings of the comparison. All methods have the same optimizer and learning rate.

    The settings of the methods were chosen by the labels of 5,000 validation images of MNIST.
    """

    # Three epochs let all methods finish in a quarter of an hour on two cores. With few labels
    # `steps` is what counts.
    epochs: int = setting(3, "train each method for N epochs of its labelled images", least=1)
    learning_rate: float = setting(0.001, "Adam's step size, the same for all methods", above=0.0)
    schedule: str = setting(
        "cosine",
        "course of the learning rate over one training; cosine: falls to 1 % of it along half a"
        " cosine wave",
        choices=("constant", "cosine"),
    )
    # Off: the trainings are short, and a fixed length keeps the methods comparable.
    patience: int = setting(
        0,
        "stop a training after N measured points without a lower validation loss; points lie at"
        " steps 1, 2, 4, 8 and so on; 0 never stops",
        least=0,
    )
    encoder: str | None = setting(
        None,
        "start from this autoencoder: the name or folder of a run of kerasunsup.ae, or its"
        " model.keras; by default one is trained once for these images and used again",
        metavar="RUN",
    )
    encoder_epochs: int = setting(
        20, "train the encoder for N epochs, where --encoder names none", least=1
    )
    labels: tuple[int, ...] = setting(
        (10, 100, 1000, 10_000, 0),
        "compare the methods with these numbers of labelled images; 0 stands for all",
        least=0,
    )
    choose: str = setting(
        "random",
        "which images are labelled; random: as many of each class, drawn anew in each repetition;"
        " central: those that apply select chooses by the encoder's codes, whatever their classes,"
        " in all repetitions",
        choices=("random", "central"),
    )
    # Three repetitions take a quarter of an hour; two are the least that have a deviation.
    repetitions: int = setting(
        3,
        "repeat each training N times, with other labelled images and other initial weights",
        least=2,
        most=100,
    )
    # The field and its flag keep their earlier name: runs and scripts hold it.
    arms: tuple[str, ...] = setting(
        DEFAULT_METHODS,
        "compare these methods; the two with pseudo-labels, the student and the contrastive ones"
        " take longest and must be named",
        choices=tuple(METHOD_NAMES),
    )
    # Three epochs of ten images would be three steps.
    steps: int = setting(
        300, "train for at least N steps, however few images are labelled", least=1
    )
    pseudo_label_steps: int = setting(
        1500, "train the two methods with pseudo-labels for N steps", least=1
    )
    graph_steps: int = setting(
        800,
        "train graph_labels for N steps; it learns the labels that the graph of codes gives to all"
        " images",
        least=1,
    )
    student_epochs: int = setting(
        4,
        "let the student teach itself for at most N epochs of all images, in each of three rounds",
        least=1,
    )
    unlabelled_batch_size: int = setting(
        256, "unlabelled images in a step of the two methods with pseudo-labels", least=1
    )
    deformation: float = setting(
        1.0,
        "strength of the random deformation of images in methods that learn from unlabelled ones; 1"
        " turns an image by up to 20 degrees and shears and shifts it, 0 turns this off",
        least=0.0,
        most=5.0,
    )

    def __post_init__(self) -> None:
        """Checks each value, then that what trains on one device is alone on it."""
        super().__post_init__()
        for method in self.arms:
            if method in ("student", *CONTRASTIVE) and self.strategy != "none":
                raise InputError(
                    f"--arms {method} trains on one device: leave it out, or --strategy"
                    f" {self.strategy}"
                )
