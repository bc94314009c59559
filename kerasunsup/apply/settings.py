"""What each verb of apply can be told. Start here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kerasunsup.errors import InputError
from kerasunsup.settings import CheckedSettings, setting


@dataclasses.dataclass(frozen=True)
class ApplySettings(CheckedSettings):
    """What `apply` can be told; a verb knows the settings that name it, and those that name none.

    Raises:
        InputError: if a value is of the wrong type or out of its range.
    """

    batch_size: int = setting(256, "images that the model gets at once", least=1, most=65_536)
    seed: int = setting(0, "everything random follows from it", least=0)
    limit: int | None = setting(None, "the first N images only", least=1, without=("generate",))
    part: str = setting(
        "all", "of data that has a test set of its own", choices=("all", "train", "test"),
        without=("generate",),
    )  # fmt: skip
    resize: bool = setting(
        False, "resize images to the model's size", switch=True, without=("restore",)
    )
    grey: bool = setting(False, "turn colour images to grey for a model of grey ones", switch=True)
    trust_model: bool = setting(
        False,
        "open a SavedModel that stands alone: it is a program and can do anything on this machine",
        switch=True,
    )
    mask: str | None = setting(
        None,
        "what to replace: one picture for all images, or a folder with one an image under its name;"
        " white is the hole",
        metavar="PATH",
        only=("restore",),
    )
    passes: int | None = setting(
        None,
        "times that what is white in --mask goes through the model, each time as it came out of the"
        " time before (1)",
        least=1,
        most=1000,
        only=("restore",),
    )
    projector: bool = setting(
        False, "show the codes with their images in TensorBoard's projector, too",
        switch=True, only=("encode",),
    )  # fmt: skip
    query: str | None = setting(
        None,
        "find what is similar to these images (a file, a folder, ...); without it near-duplicates"
        " among all are found",
        metavar="IMAGES",
        only=("similar",),
    )
    neighbors: int = setting(10, "images to find for each query", least=1, only=("similar",))
    reference: str | None = setting(
        None,
        "clean images, by which outliers are told and like which an autoencoder makes new ones (the"
        " images that the model was trained on)",
        metavar="IMAGES",
        only=("outliers", "generate"),
    )
    share: float = setting(
        0.01,
        "share of the images that are called outliers; with --reference, the share of clean images"
        " that may be",
        above=0.0,
        most=0.5,
        only=("outliers",),
    )
    clusters: int | None = setting(
        None, "number of groups (chosen by the codes)", least=2, most=1000, only=("cluster",)
    )
    count: int = setting(100, "images to make", least=1, only=("generate",))

    def __post_init__(self) -> None:
        """Checks each value, then what goes together."""
        super().__post_init__()
        if self.passes is not None and self.mask is None:
            raise InputError("--passes repeats the filling of holes: add --mask, or leave it out")

    @property
    def passes_used(self) -> int:
        """Without holes an image goes through the model once: more would only blur it."""
        return 1 if self.mask is None or self.passes is None else self.passes


def settings_of(verb: str) -> list[dataclasses.Field]:
    """The settings of `ApplySettings` that belong to a verb."""
    return [
        field
        for field in dataclasses.fields(ApplySettings)
        if verb in field.metadata.get("only", (verb,))
        and verb not in field.metadata.get("without", ())
    ]


@dataclasses.dataclass(frozen=True)
class Application:
    """One parsed command line of `apply`."""

    verb: str
    model: Path
    images: str | None  # None where images are made
    output: Path
    config: ApplySettings
    arguments: tuple[str, ...]
