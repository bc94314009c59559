"""Settings of every experiment as frozen flat dataclasses.

A setting is one dataclass field; its flag, its help text, its check and its place in
`config.json` all follow from that one line. Nothing here imports TensorFlow, so `--help` and
every mistake in the arguments answer at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_MOST = 2**31 - 1  # of whole numbers where nothing smaller is set; TensorFlow refuses larger ones

# Settings that may name a place: a run records it as an absolute path, too.
PLACES = ("data", "encoder")


class InputError(ValueError):
    """Wrong use or bad input: its text is the one line that the user sees (exit status 2).

    The text says what was wrong, what was received and what to do about it.
    """


class Interrupted(KeyboardInterrupt):
    """Stopped by the user with the state saved; its text is the line that goes on with the run."""


def _setting(default: Any, text: str, **checks: Any) -> Any:
    """A dataclass field with its help text, and `least`, `most`, `above`, `choices`, `metavar`.

    `is_path` marks a place that is written to.
    """
    return dataclasses.field(default=default, metadata={"help": text, **checks})


@dataclasses.dataclass(frozen=True)
class _Checked:
    """A dataclass of settings that lets no wrong value in."""

    def __post_init__(self) -> None:
        """Checks every field, so that no wrong value travels further."""
        types_of_fields = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(field, types_of_fields[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclasses.dataclass(frozen=True)
class TrainingConfig(_Checked):
    """What every experiment that trains can be told.

    Raises:
        InputError: if a value is of the wrong type or out of its range.
    """

    data: str = _setting(
        "mnist",
        "a TFDS name, a folder of images (flat, or one sub-folder a class), a .npz or .npy file or"
        " a folder of IDX files; mnist comes inside the package",
        metavar="NAME_OR_PATH",
    )
    image_size: int | None = _setting(
        None, "resize to N x N; needed where a folder's images differ in size", least=8, most=128
    )
    limit: int | None = _setting(None, "use N training images", least=1)
    test_limit: int | None = _setting(None, "use N validation images and N test images", least=1)
    epochs: int = _setting(50, "train for at most N epochs", least=1)
    batch_size: int = _setting(128, "images a training step", least=1)
    learning_rate: float = _setting(0.003, "Adam's step size", above=0.0)
    schedule: str = _setting(
        "constant",
        "learning rate over --epochs; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    patience: int = _setting(
        10, "epochs without a lower validation loss before stopping; 0 turns it off", least=0
    )
    seed: int = _setting(0, "everything random follows from it", least=0)
    precision: str = _setting(
        "float32", "arithmetic of the layers", choices=("float32", "mixed_bfloat16")
    )
    strategy: str = _setting(
        "none", "mirrored: train on all devices of this machine", choices=("none", "mirrored")
    )
    deterministic: bool = _setting(False, "same seed, same machine: bit-identical weights")


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig(TrainingConfig):
    """The autoencoder's settings; the defaults are the study's Table 1."""

    latent_dim: int = _setting(32, "code size", least=1, most=4096)
    filters: tuple[int, ...] = _setting(
        (32,), "filters of each strided convolution; one stage is the study's network", least=1
    )
    hidden_units: int = _setting(128, "units of the dense layer beside the code", least=1)
    weight_decay: float = _setting(
        1e-5,
        "decoupled weight decay: each step shrinks a weight by learning rate x decay of itself",
        least=0.0,
    )
    noise: float = _setting(
        0.0, "train on images with Gaussian noise of this sigma, clean target", least=0.0, most=5.0
    )
    crop: int = _setting(
        0, "train on images with one hole of N x N pixels, clean target", least=0, most=127
    )
    snapshot_every: int = _setting(
        2, "epochs between the recorded reconstructions of one image of each class", least=1
    )
    num_codes: int = _setting(
        5000, "test codes in the pictures of the encoded space and in the projector", least=10
    )
    num_samples: int = _setting(
        10_000,
        "new images that each way of sampling codes is judged by",
        least=100,
        most=1_000_000,
    )


@dataclasses.dataclass(frozen=True)
class GANConfig(TrainingConfig):
    """The GAN's settings; epochs, batch size, learning rate and Adam are the study's Table 2."""

    image_size: int | None = _setting(
        None, "resize to N x N; needed where images differ in size", least=16, most=64
    )
    epochs: int = _setting(100, "train for N epochs", least=1)
    learning_rate: float = _setting(0.0005, "Adam's step size, of both networks", above=0.0)
    schedule: str = _setting(
        "cosine",
        "learning rate over --epochs; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    patience: int = _setting(
        0,
        "measurements (see --measure-every) without a lower distance before stopping; 0 turns it"
        " off",
        least=0,
    )
    noise_dim: int = _setting(32, "values of the generator's noise", least=1, most=4096)
    categories: int = _setting(
        10,
        "kinds of images that the noise chooses from, by the largest of its first N values (of all,"
        " where it has fewer); 0 turns it off",
        least=0,
    )
    base_filters: int = _setting(
        32, "filters at half the image's side; each further stage has twice as many", least=1
    )
    hidden_units: int = _setting(
        256,
        "units of a dense layer behind the generator's noise and before the discriminator's logit;"
        " 0 leaves both out",
        least=0,
    )
    loss: str = _setting(
        "non_saturating",
        "the generator's loss; minimax is the study's formula to the letter",
        choices=("non_saturating", "minimax"),
    )
    beta_1: float = _setting(
        0.5,  # 0.9, Adam's own, remembers gradients by an opponent that has changed since
        "decay of Adam's mean of gradients; with 0.9 the pair oscillates",
        least=0.0,
        most=0.999,
    )
    averaging: float = _setting(
        0.999,
        "decay of the generator's average of weights, a step, that samples are drawn with; 0 draws"
        " with the last ones",
        least=0.0,
        most=0.99999,
    )
    label_smoothing: float = _setting(
        0.0, "the discriminator's target for real images is 1 less this", least=0.0, most=0.5
    )
    gradient_penalty: float = _setting(
        # Over 10 epochs 0.1 helps (score 9.53 instead of 9.39); over 100 it leaves the
        # discriminator at chance from epoch 25 on, and the distance rises again.
        0.0,
        "weight of the squared gradient of the discriminator by real images",
        least=0.0,
    )
    discriminator_noise: float = _setting(
        0.0,
        "Gaussian noise of this sigma, on the scale [-1, 1], on all that the discriminator sees",
        least=0.0,
        most=5.0,
    )
    dropout: float = _setting(
        0.0, "share of the discriminator's features that is dropped", least=0.0, most=0.9
    )
    measure_every: int = _setting(
        5, "epochs between two measurements of samples beside real images", least=1
    )
    num_samples: int = _setting(
        10_000, "samples that the generator is judged by", least=100, most=1_000_000
    )

    @property
    def categories_used(self) -> int:
        """No more than the noise has values to choose by."""
        return min(self.categories, self.noise_dim)


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
_ARMS_ASKED_FOR = ("pseudo_labels", "pseudo_labels_scratch")
_ARMS = tuple(arm for arm in ARM_NAMES if arm not in _ARMS_ASKED_FOR)


@dataclasses.dataclass(frozen=True)
class SupervisedConfig(TrainingConfig):
    """The comparison's settings: an encoder that never saw a label, given labels, and its rivals.

    Adam's step size is the same for all arms.
    """

    epochs: int = _setting(3, "times that all labelled images are seen", least=1)
    learning_rate: float = _setting(0.001, "Adam's step size, of all arms", above=0.0)
    schedule: str = _setting(
        "cosine",
        "learning rate over a training; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    patience: int = _setting(
        0, "measured points without a lower validation loss before an arm stops; 0 turns it off",
        least=0,
    )  # fmt: skip
    encoder: str | None = _setting(
        None,
        "an autoencoder run (its name or folder) or its model.keras; without one the usual encoder"
        " is trained once, and used again",
        metavar="RUN",
    )
    encoder_epochs: int = _setting(20, "epochs of the usual encoder", least=1)
    labels: tuple[int, ...] = _setting(
        (10, 100, 1000, 10_000, 0),
        "numbers of labels that arms are trained with; 0 is all",
        least=0,
    )
    repetitions: int = _setting(
        3, "subsets and initial weights that each arm is trained with", least=2, most=100
    )
    arms: tuple[str, ...] = _setting(_ARMS, "the ways that are compared", choices=tuple(ARM_NAMES))
    steps: int = _setting(300, "the least steps of a training, however few the labels", least=1)
    pseudo_label_steps: int = _setting(
        1500, "steps of the two arms that learn from unlabelled images too", least=1
    )
    graph_steps: int = _setting(
        800, "steps of the arm that learns the labels which the codes' graph gives all images",
        least=1,
    )  # fmt: skip
    unlabelled_batch_size: int = _setting(256, "unlabelled images in such a step", least=1)
    deformation: float = _setting(
        1.0,
        "strength of the turns, shears and shifts that must not change a class; 0 turns them off",
        least=0.0,
        most=5.0,
    )


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
class NoveltyConfig(TrainingConfig):
    """Settings of the comparison of outlier scores, one class against the rest."""

    epochs: int = _setting(30, "train for at most N epochs on each class", least=1)
    schedule: str = _setting(
        "cosine",
        "learning rate over --epochs; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    classes: tuple[int, ...] | None = _setting(
        None, "labels of the classes that are taken for clean, each in its turn (all)", least=0
    )
    latent_dim: int = _setting(32, "code size, and PCA's components", least=1, most=4096)
    hidden_units: int = _setting(128, "units of the dense layer beside the code", least=1)


@dataclasses.dataclass(frozen=True)
class ApplyConfig(_Checked):
    """What `apply` can be told; a verb knows the settings that name it, and those that name none.

    Raises:
        InputError: if a value is of the wrong type or out of its range.
    """

    batch_size: int = _setting(256, "images that the model gets at once", least=1, most=65_536)
    seed: int = _setting(0, "everything random follows from it", least=0)
    limit: int | None = _setting(None, "the first N images only", least=1, without=("generate",))
    part: str = _setting(
        "all", "of data that has a test set of its own", choices=("all", "train", "test"),
        without=("generate",),
    )  # fmt: skip
    resize: bool = _setting(
        False, "resize images to the model's size", switch=True, without=("restore",)
    )
    grey: bool = _setting(False, "turn colour images to grey for a model of grey ones", switch=True)
    trust_model: bool = _setting(
        False,
        "open a SavedModel that stands alone: it is a program and can do anything on this machine",
        switch=True,
    )
    mask: str | None = _setting(
        None,
        "what to replace: one picture for all images, or a folder with one an image under its name;"
        " white is the hole",
        metavar="PATH",
        only=("restore",),
    )
    passes: int | None = _setting(
        None,
        "times that what is white in --mask goes through the model, each time as it came out of the"
        " time before (1)",
        least=1,
        most=1000,
        only=("restore",),
    )
    projector: bool = _setting(
        False, "show the codes with their images in TensorBoard's projector, too",
        switch=True, only=("encode",),
    )  # fmt: skip
    query: str | None = _setting(
        None,
        "find what is similar to these images (a file, a folder, ...); without it near-duplicates"
        " among all are found",
        metavar="IMAGES",
        only=("similar",),
    )
    neighbors: int = _setting(10, "images to find for each query", least=1, only=("similar",))
    reference: str | None = _setting(
        None,
        "clean images, by which outliers are told and like which an autoencoder makes new ones (the"
        " images that the model was trained on)",
        metavar="IMAGES",
        only=("outliers", "generate"),
    )
    share: float = _setting(
        0.01,
        "share of the images that are called outliers; with --reference, the share of clean images"
        " that may be",
        above=0.0,
        most=0.5,
        only=("outliers",),
    )
    clusters: int | None = _setting(
        None, "number of groups (chosen by the codes)", least=2, most=1000, only=("cluster",)
    )
    count: int = _setting(100, "images to make", least=1, only=("generate",))

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
    """The settings of `ApplyConfig` that belong to a verb."""
    return [
        field
        for field in dataclasses.fields(ApplyConfig)
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
    config: ApplyConfig
    arguments: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ReportConfig(_Checked):
    """What `report` can be told.

    Raises:
        InputError: if a value is of the wrong type, or two flags do not go together.
    """

    logs: str = _setting("logs", "where runs are, and go", metavar="DIR", is_path=True)
    tuning: str = _setting("tuning", "where searches are, and go", metavar="DIR", is_path=True)
    output: str = _setting(
        "report.html",
        "the page; its numbers go beside it, as .json",
        metavar="FILE.html",
        is_path=True,
    )
    quick: bool = _setting(
        False, "the whole page from small runs, within minutes, marked as such", switch=True
    )
    plan: bool = _setting(False, "show what stands and what is to come, and stop", switch=True)
    page_only: bool = _setting(
        False, "train nothing: the page from what stands, what is missing named", switch=True
    )

    def __post_init__(self) -> None:
        """Checks each value, then what goes together."""
        super().__post_init__()
        if self.plan and self.page_only:
            raise InputError("--plan writes nothing and --page-only writes the page: give one")
        if Path(self.output).suffix not in (".html", ".htm"):
            raise InputError(f"--output must end in .html, received {self.output}")


@dataclasses.dataclass(frozen=True)
class SearchConfig(_Checked):
    """What a search for settings can be told; no setting of a training, so in no `config.json`.

    Raises:
        InputError: if a value is out of its range, or belongs to another kind of search.
    """

    tune: bool = _setting(
        False,
        "search with Hyperband over code size, learning rate and weight decay, then train the best"
        " at the code size --latent-dim over --epochs",
        switch=True,
    )
    grid: bool = _setting(
        False, "search a grid over the same three with cross-validation instead", switch=True
    )
    random: bool = _setting(
        False, "search at random at the cost of --tune instead, to compare", switch=True
    )
    max_epochs: int | None = _setting(
        None, "epochs of a search's longest trial (--tune and --random 20, --grid 5)", least=1
    )
    folds: int | None = _setting(
        None, "parts of the training images in the --grid's cross-validation (5)", least=2, most=100
    )
    wide: bool = _setting(False, "search hidden units and filters too", switch=True)
    search_only: bool = _setting(False, "stop when the search is over", switch=True)
    overwrite: bool = _setting(
        False, "start the search anew; else one that was stopped goes on", switch=True
    )
    tuning: str = _setting(
        "tuning", "where searches go: DIR/ae/best.json and more", metavar="DIR", is_path=True
    )
    distributed: tuple[str, ...] | None = _setting(
        None,
        "share the search: 'chief HOST:PORT' once, 'NAME HOST:PORT' for each worker; all with the"
        " same flags and one --tuning DIR that all can reach",
        metavar="ROLE_AND_ADDRESS",
    )

    def __post_init__(self) -> None:
        """Checks each value, then what goes together."""
        super().__post_init__()
        kinds = [name for name in ("tune", "grid", "random") if getattr(self, name)]
        if len(kinds) > 1:
            raise InputError(
                f"--{kinds[0]} and --{kinds[1]} are two searches: give one, then the other"
            )
        if not kinds:
            for field in dataclasses.fields(self):
                if getattr(self, field.name) != field.default:
                    raise InputError(
                        f"{flag(field.name)} belongs to a search: add --tune, --grid or --random"
                    )
        if self.folds is not None and not self.grid:
            raise InputError("--folds belongs to --grid: only there trials are cross-validated")
        if self.distributed is not None:
            address = self.distributed[1] if len(self.distributed) == 2 else ""
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal():
                raise InputError(
                    "--distributed needs a role and an address, such as 'chief localhost:5000' or "
                    f"'worker-1 localhost:5000', received {' '.join(self.distributed)!r}"
                )

    @property
    def kind(self) -> str | None:
        """`hyperband`, `grid` or `random`; None where nothing is searched."""
        if self.tune:
            return "hyperband"
        return "grid" if self.grid else "random" if self.random else None


@dataclasses.dataclass(frozen=True)
class Command:
    """One parsed command line: the settings, and where the run goes."""

    experiment: str
    config: Any
    logs: Path
    name: str | None  # None: a time stamp
    resume: bool
    arguments: tuple[str, ...]
    search: SearchConfig = dataclasses.field(default_factory=SearchConfig)


def read(config_type: type[TrainingConfig], path: Path) -> dict[str, Any]:
    """The settings in a JSON file, checked for names that are no settings.

    Raises:
        InputError: if the file is missing, is no JSON object, or has an unknown name.
    """
    try:
        # "sig": some editors put a byte order mark before the text.
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text, object_pairs_hook=_without_repeats)
    except OSError as error:
        raise InputError(f"--config {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--config {path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(
            f"--config {path} must hold one JSON object, received {type(values).__name__}"
        )
    known = [field.name for field in dataclasses.fields(config_type)]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise InputError(f"--config {path} has the unknown setting {key!r}: {advice}")
    return values


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a name that stands in it twice one value would be lost without a word."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{repeated!r} stands in it more than once")
    return values


def path_of(name: str, text: str, *, is_written: bool = True) -> Path:
    """The path that a flag gives, with `~` and `~user` replaced.

    Args:
        name: of the flag.
        text: what the user gave.
        is_written: whether TensorFlow writes there, which knows names in UTF-8 only.

    Raises:
        InputError: if it is empty, there is no such user, or it is no UTF-8.
    """
    if not text.strip():
        raise InputError(f"{name} is empty: give a path")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise InputError(
            f"{name} {text}: the home folder of {Path(text).parts[0]} is not known; write ./{text} "
            "where a folder is called so"
        ) from None
    if is_written:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{name} {text}: TensorFlow cannot write to a name that is no UTF-8; choose another"
            ) from None
    return path


def to_json(config: TrainingConfig | ApplyConfig) -> dict[str, Any]:
    """Every setting, defaults too, as plain JSON values; `read` takes it back."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
    }


def flag(name: str) -> str:
    """The command-line flag of a setting: `latent_dim` -> `--latent-dim`."""
    return "--" + name.replace("_", "-")


def plain_type(hint: Any) -> tuple[type, bool]:
    """(int, False) of `int | None`; (int, True) of `tuple[int, ...]`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _checked(field: dataclasses.Field, hint: Any, value: Any) -> Any:
    """The value in its field's type, or InputError where it does not fit."""
    kind, is_many = plain_type(hint)
    if value is None and isinstance(hint, types.UnionType):
        return None
    if is_many:
        if isinstance(value, str) or not isinstance(value, Sequence) or not value:
            raise InputError(f"{flag(field.name)} needs one or more values, received {value!r}")
        return tuple(_checked_one(field, kind, part) for part in value)
    return _checked_one(field, kind, value)


def _checked_one(field: dataclasses.Field, kind: type, value: Any) -> Any:
    name, checks = flag(field.name), field.metadata
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= _MOST else math.inf
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise InputError(f"{name} must be of type {kind.__name__}, received {value!r}")
    if isinstance(value, str) and "\0" in value:
        raise InputError(f"{name} holds a zero byte, received {value!r}")
    if isinstance(value, str) and checks.get("is_path"):
        return str(path_of(name, value))
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, received {value}")
    if "choices" in checks and value not in checks["choices"]:
        raise InputError(f"{name} must be one of {', '.join(checks['choices'])}, received {value}")
    if "above" in checks and not value > checks["above"]:
        raise InputError(f"{name} must be above {checks['above']}, received {value}")
    if "least" in checks and value < checks["least"]:
        raise InputError(f"{name} must be at least {checks['least']}, received {value}")
    most = checks.get("most", _MOST if kind is int else math.inf)
    if kind in (int, float) and value > most:
        raise InputError(f"{name} must be at most {most}, received {value}")
    return value
