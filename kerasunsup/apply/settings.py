"""The settings of each verb of `apply`, with their defaults. Start here."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from kerasunsup.errors import InputError
from kerasunsup.settings import CheckedSettings, setting


@dataclasses.dataclass(frozen=True)
class DuplicateSettings(CheckedSettings):
    """What `duplicates` alone can be told."""

    keep: str = setting(
        "largest",
        "of each group keep the image of the most pixels (of equal ones the largest file), the"
        " oldest file, or the first by name",
        choices=("largest", "oldest", "first"),
        only=("duplicates",),
    )
    safe: str | None = setting(
        None,
        "never propose to remove an image in this folder, which lies in IMAGES",
        metavar="DIR",
        only=("duplicates",),
    )
    against: str | None = setting(
        None,
        "find the images that are in OTHER too, such as test images that are in the training set;"
        " those in OTHER are kept, and not compared with each other",
        metavar="OTHER",
        only=("duplicates",),
    )
    move_to: str | None = setting(
        None,
        "move the images that are not kept into this folder, under their names; --undo brings them"
        " back",
        metavar="DIR",
        only=("duplicates",),
    )
    undo: bool = setting(
        False, "move back what an earlier --move-to with the same --output moved", switch=True,
        only=("duplicates",),
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Checks each value, then which values go together."""
        super().__post_init__()
        if self.undo and self.move_to is not None:
            raise InputError("--undo moves back what --move-to moved: leave one of them out")


@dataclasses.dataclass(frozen=True)
class ApplySettings(DuplicateSettings):
    """The settings of all verbs; `only` and `without` say which verbs a setting belongs to.

    Raises:
        InputError: if a value is of the wrong type or out of its range.
    """

    batch_size: int = setting(
        256, "give the model N images at once", least=1, most=65_536, without=("check",)
    )
    seed: int = setting(
        0, "draw all that is random from the seed N", least=0, without=("check", "duplicates")
    )
    limit: int | None = setting(None, "use only the first N images", least=1, without=("generate",))
    part: str = setting(
        "all",
        "use this part of the images; train and test need data with a test set of its own",
        choices=("all", "train", "test"),
        without=("generate",),
    )
    resize: bool = setting(
        False,
        "resize images to the size that the model takes",
        switch=True,
        without=("restore", "check"),
    )
    grey: bool = setting(
        False, "turn colour images grey, for a model that takes grey images", switch=True,
        without=("check",),
    )  # fmt: skip
    trust_model: bool = setting(
        False,
        "open a SavedModel that has no .keras file beside it; a SavedModel is a program and can do"
        " anything on this machine",
        switch=True,
        without=("check",),
    )
    mask: str | None = setting(
        None,
        "fill only the holes, which are white in a mask; PATH is one mask for all images, or a"
        " folder with a mask for each image, under the image's name",
        metavar="PATH",
        only=("restore",),
    )
    passes: int | None = setting(
        None,
        "run the model N times on the holes of --mask; each pass starts from the result of the pass"
        " before; without --passes, there is one pass",
        least=1,
        most=1000,
        only=("restore",),
    )
    projector: bool = setting(
        False, "also write codes and images for TensorBoard's projector",
        switch=True, only=("encode",),
    )  # fmt: skip
    query: str | None = setting(
        None,
        "find the images that are most similar to these (a file, a folder, ...; with --codes FILE,"
        " one of its images or a file of vectors); without --query, near-duplicates among all"
        " images are found",
        metavar="IMAGES",
        only=("similar",),
    )
    neighbors: int = setting(10, "find N images for each query", least=1, only=("similar",))
    reference: str | None = setting(
        None,
        "compare with these clean images (outliers, browse), make images like these (generate, by"
        " an autoencoder), or take from these how near the codes of different scenes are"
        " (duplicates); without --reference, the images that the model was trained on are used",
        metavar="IMAGES",
        only=("outliers", "generate", "duplicates", "browse"),
    )
    share: float = setting(
        0.01,
        "call this share of the images outliers; with --reference, this share of clean images may"
        " be called outliers by mistake",
        above=0.0,
        most=0.5,
        only=("outliers", "browse"),
    )
    clusters: int | None = setting(
        None,
        "make N groups; without --clusters, the number follows from the codes: the most groups that"
        " come back in random draws of them, or with --student those that mild deformations of the"
        " images do not change into each other",
        least=2,
        most=1000,
        only=("cluster", "browse"),
    )
    student: bool = setting(
        False,
        "teach the surest of each group to a convolutional network that then teaches itself on all"
        " images, and take its groups; minutes for tens of thousands of images",
        switch=True,
        only=("cluster",),
    )
    # Nobody said what the images show. Of MNIST's digits 0.7 taught more than 0.5, 1 and 1.4.
    deformation: float = setting(
        0.7,
        "how far --student may deform images that still show the same; 1 turns them by up to 20"
        " degrees, scales and shears them by 15 % and shifts them by a tenth of a side; 0 not at"
        " all",
        least=0.0,
        most=5.0,
        only=("cluster",),
    )
    count: int = setting(
        100,
        "make N images (generate), or choose N images to be labelled (select), of which the first"
        " are those of a smaller N",
        least=1,
        only=("generate", "select"),
    )
    shard: str | None = setting(
        None,
        "make only shard I of N, with I from 1 to N; the same command without --shard puts"
        " together what all shards made",
        metavar="I/N",
        only=("encode", "restore"),
    )
    ray: str | None = setting(
        None,
        "work on the machines of a Ray cluster: its HOST:PORT, or auto for the one that runs here"
        " (without one, for all processors of this machine)",
        metavar="auto|ADDRESS",
        only=("encode", "restore"),
    )
    codes: str | None = setting(
        None,
        "take vectors from a file (.npz, .npy or .parquet) and leave MODEL out, or take the codes"
        " from a folder that encode --shard or encode --ray filled from the same MODEL and IMAGES",
        metavar="FILE|DIR",
        only=("similar", "outliers", "cluster", "select", "duplicates", "browse"),
    )

    def __post_init__(self) -> None:
        """Checks each value, then which values go together."""
        super().__post_init__()
        if self.passes is not None and self.mask is None:
            raise InputError("--passes repeats the filling of holes: add --mask, or leave it out")
        if self.shard is not None:
            shard_of(self.shard)
            if self.ray is not None:
                raise InputError("--ray hands out all parts by itself: leave --shard out")
        if self.ray is not None and not re.fullmatch(_RAY_ADDRESS, self.ray):
            raise InputError(
                f"--ray must be auto, HOST:PORT or ray://HOST:PORT, received {self.ray!r}"
            )


_RAY_ADDRESS = r"auto|(ray://)?([^\s:/]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}"


INDEX = "index.npz"  # what `encode` keeps beside codes.npz, so that its folder can be searched
CODE_FILES = (".npz", ".npy", ".parquet")  # endings of files of vectors


def is_file_of_codes(text: str) -> bool:
    """Whether `--codes` names a file of vectors, not the folder that `encode --shard` fills."""
    path = Path(os.path.expanduser(text))
    return path.is_file() or (path.suffix.lower() in CODE_FILES and not path.is_dir())


def shard_of(text: str) -> tuple[int, int]:
    """The I and the N of `--shard I/N`.

    Raises:
        InputError: unless both are whole numbers and I is from 1 to N.
    """
    parsed = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    shard, shards = map(int, parsed.groups()) if parsed else (0, 0)
    if not 1 <= shard <= shards:
        raise InputError(f"--shard must be I/N with I from 1 to N, such as 3/16, received {text!r}")
    return shard, shards


def settings_of(verb: str) -> list[dataclasses.Field]:
    """The fields of `ApplySettings` that belong to a verb."""
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
    model: Path | None  # None where a verb needs none
    images: str | None  # None for `generate`, which makes images, and for vectors alone
    output: Path
    config: ApplySettings
    index: Path | None = None  # that `similar` searches in the place of a model and images
