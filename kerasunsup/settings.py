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
import os
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasunsup.errors import InputError

_MOST = 2**31 - 1  # of whole numbers where nothing smaller is set; TensorFlow refuses larger ones

# Settings that may name a place: a run records it as an absolute path, too.
PLACES = ("data", "encoder")


def setting(default: Any, text: str, **checks: Any) -> Any:
    """A dataclass field with its help text, and `least`, `most`, `above`, `choices`, `metavar`.

    `is_path` marks a place that is written to.
    """
    return dataclasses.field(default=default, metadata={"help": text, **checks})


@dataclasses.dataclass(frozen=True)
class CheckedSettings:
    """A dataclass of settings that lets no wrong value in."""

    def __post_init__(self) -> None:
        """Checks every field, so that no wrong value travels further."""
        types_of_fields = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(field, types_of_fields[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclasses.dataclass(frozen=True)
class TrainingSettings(CheckedSettings):
    """What every experiment that trains can be told.

    Raises:
        InputError: if a value is of the wrong type or out of its range.
    """

    data: str = setting(
        "mnist",
        "a TFDS name, a folder of images (flat, or one sub-folder a class), a .npz or .npy file or"
        " a folder of IDX files; mnist comes inside the package",
        metavar="NAME_OR_PATH",
    )
    image_size: int | None = setting(
        None, "resize to N x N; needed where a folder's images differ in size", least=8, most=128
    )
    limit: int | None = setting(None, "use N training images", least=1)
    test_limit: int | None = setting(None, "use N validation images and N test images", least=1)
    epochs: int = setting(50, "train for at most N epochs", least=1)
    batch_size: int = setting(128, "images a training step", least=1)
    learning_rate: float = setting(0.003, "Adam's step size", above=0.0)
    schedule: str = setting(
        "constant",
        "learning rate over --epochs; cosine: falls to 1 % along half a cosine wave",
        choices=("constant", "cosine"),
    )
    patience: int = setting(
        10, "epochs without a lower validation loss before stopping; 0 turns it off", least=0
    )
    seed: int = setting(0, "everything random follows from it", least=0)
    # bfloat16 trains as well: see docs/speed.md, which `benchmarks/precision.py` measured.
    precision: str = setting(
        "auto",
        "arithmetic of the layers; auto: the faster one, timed once on this machine where a long"
        " training makes it worth while, else float32",
        choices=("auto", "float32", "mixed_bfloat16"),
    )
    strategy: str = setting(
        "none",
        "mirrored: train on all devices of this machine; multiworker: on several machines",
        choices=("none", "mirrored", "multiworker"),
    )
    deterministic: bool = setting(False, "same seed, same machine: bit-identical weights")


@dataclasses.dataclass(frozen=True)
class WorkerSettings(CheckedSettings):
    """Which machines train together by `--strategy multiworker`, and which of them this one is.

    Raises:
        InputError: if a value is wrong, or one of the first two is given alone.
    """

    workers: str | None = setting(
        None,
        "with --strategy multiworker: every worker, the same list on each machine; left out,"
        " TF_CONFIG or SLURM's variables count",
        metavar="HOST:PORT,HOST:PORT",
    )
    worker_index: int | None = setting(
        None,
        "which of the workers this machine is, from 0; worker 0 writes the run",
        least=0,
        metavar="I",
    )
    wait_for_workers: float = setting(
        300.0, "wait for the other workers", above=0.0, metavar="SECONDS"
    )

    def __post_init__(self) -> None:
        """Checks that the list and the number come together."""
        super().__post_init__()
        if (self.workers is None) != (self.worker_index is None):
            raise InputError("--workers and --worker-index go together: give both or none")

    @property
    def addresses(self) -> tuple[str, ...]:
        """HOST:PORT of each worker; empty where they are not given."""
        return () if self.workers is None else tuple(map(str.strip, self.workers.split(",")))

    def check(self, strategy: str, *, is_search: bool = False) -> None:
        """Refuses what does not go with a strategy; hides TensorFlow's own lines on a lost worker.

        Raises:
            InputError: if workers are named for another strategy, or for a search.
        """
        if strategy != "multiworker":
            if self.workers is not None:
                raise InputError("--workers needs --strategy multiworker")
        elif is_search:
            raise InputError(
                "--strategy multiworker trains one model on several machines; a search runs other "
                "trials on each by --distributed: leave --strategy out"
            )
        else:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@dataclasses.dataclass(frozen=True)
class Command:
    """One parsed command line: the settings, and where the run goes."""

    experiment: str
    config: Any
    logs: Path
    name: str | None  # None: a time stamp
    resume: bool
    arguments: tuple[str, ...]
    search: Any = None  # settings of a search, where the experiment knows one
    workers: WorkerSettings = dataclasses.field(default_factory=WorkerSettings)


def read_config(config_type: type[TrainingSettings], path: Path) -> dict[str, Any]:
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


def to_json(settings: CheckedSettings) -> dict[str, Any]:
    """Every setting, defaults too, as plain JSON values; `read_config` takes it back."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(settings).items()
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
