"""Settings of every experiment as frozen flat dataclasses, and the command lines that set them.

A setting is one dataclass field; its flag, its help text, its check and its place in
`config.json` all follow from that one line. Nothing here imports TensorFlow, so `--help` and
every mistake in the arguments answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import errno
import json
import math
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

_MOST = 2**31 - 1  # of whole numbers where nothing smaller is set; TensorFlow refuses larger ones


class InputError(ValueError):
    """Wrong use or bad input: its text is the one line that the user sees (exit status 2).

    The text says what was wrong, what was received and what to do about it.
    """


class Interrupted(KeyboardInterrupt):
    """Stopped by the user with the state saved; its text is the line that goes on with the run."""


def _setting(default: Any, text: str, **checks: Any) -> Any:
    """A dataclass field with its help text, and `least`, `most`, `above`, `choices`, `metavar`."""
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
        "a TFDS name, a folder of images (flat, or one sub-folder a class), a .npz file or a"
        " folder of IDX files; mnist comes inside the package",
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
        10_000, "new images that each way of sampling codes is judged by", least=100
    )


@dataclasses.dataclass(frozen=True)
class GANConfig(TrainingConfig):
    """The GAN's settings; epochs, batch size, learning rate and Adam are the study's Table 2."""

    epochs: int = _setting(100, "train for N epochs", least=1)
    learning_rate: float = _setting(0.0005, "Adam's step size, of both networks", above=0.0)
    patience: int = _setting(
        0,
        "measurements (see --measure-every) without a lower distance before stopping; 0 turns it"
        " off",
        least=0,
    )
    noise_dim: int = _setting(64, "values of the generator's noise", least=1, most=4096)
    base_filters: int = _setting(
        64, "filters at half the image's side; each further stage has twice as many", least=1
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
        0.0, "weight of the squared gradient of the discriminator by real images", least=0.0
    )
    measure_every: int = _setting(
        5, "epochs between two measurements of samples beside real images", least=1
    )
    num_samples: int = _setting(10_000, "samples that the generator is judged by", least=100)


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
    tuning: str = _setting("tuning", "where searches go: DIR/ae/best.json and more", metavar="DIR")
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


Config = TypeVar("Config", bound=TrainingConfig)


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


def parse(
    experiment: str,
    config_type: type[Config],
    *,
    description: str,
    quick: Mapping[str, Any],
    search: Mapping[str, Any] | None = None,
    presets: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({}),
    argv: Sequence[str] | None = None,
) -> Command:
    """The command line of one experiment.

    Defaults give way to `--preset`, that to `--config`, that to `--quick`, that to other flags.

    Args:
        experiment: its name, as in `python -m kerasunsup.<name>`.
        config_type: the experiment's dataclass; each field is a flag.
        description: what `--help` says first.
        quick: the settings that `--quick` shrinks; a smaller value that was set already stays.
        search: the settings whose defaults differ in a search; None where nothing can be searched.
        presets: name -> settings that `--preset NAME` puts in the place of the defaults.
        argv: the arguments; None takes the process's own.

    Returns:
        The parsed command. With `resume`, its config is that of the run named by `--name`.

    Raises:
        InputError: if a value is wrong or a file given by `--config` cannot be used.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        prog=f"kerasunsup {experiment}",
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE.json", help="settings from a file")
    parser.add_argument("--logs", metavar="DIR", default="logs", help="where runs go (logs)")
    parser.add_argument(
        "--name", metavar="RUN", default=None, help="the run's folder name (a time stamp)"
    )
    parser.add_argument(
        "--resume", action="store_true", default=False, help="go on with the run named by --name"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        default=False,
        help="few images, two epochs: a smoke run of the whole path",
    )
    if presets:
        parser.add_argument(
            "--preset", choices=sorted(presets), default=None, help="a named set of settings"
        )
    for settings_type in (config_type, *(() if search is None else (SearchConfig,))):
        types_of_fields = typing.get_type_hints(settings_type)
        for field in dataclasses.fields(settings_type):
            _add_flag(parser, field, types_of_fields[field.name])
    given = vars(parser.parse_args(arguments))
    search_config = SearchConfig(
        **{
            field.name: given.pop(field.name)
            for field in dataclasses.fields(SearchConfig)
            if field.name in given
        }
    )

    logs, name, resume = Path(given.pop("logs")), given.pop("name"), given.pop("resume")
    file, is_quick = given.pop("config", None), given.pop("quick")
    preset = given.pop("preset", None)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_+=][A-Za-z0-9._+=-]{0,99}", name):
        raise InputError(
            f"--name {name!r} cannot be a folder's name: use letters, digits, '.', '_' and '-'"
        )
    if resume:
        if search_config.kind is not None:
            raise InputError(
                "--resume goes on with a run; a search goes on by itself: leave --resume out"
            )
        if name is None:
            raise InputError("--resume needs --name RUN: which run should go on?")
        if file is not None or is_quick or preset is not None:
            raise InputError(
                "--resume takes its settings from the run itself: leave --config, --preset and "
                "--quick out"
            )
        config = _config_to_resume(config_type, experiment, logs / experiment / name, given)
        return Command(experiment, config, logs, name, True, arguments)
    defaults = {} if search is None or search_config.kind is None else dict(search)
    defaults |= {} if preset is None else dict(presets[preset])
    config = config_type(**(defaults | ({} if file is None else read(config_type, Path(file)))))
    if is_quick:
        current = {key: getattr(config, key) for key in quick}
        shrunk = {key: value for key, value in quick.items() if _is_less(value, current[key])}
        config = dataclasses.replace(config, **shrunk)
        if search_config.kind is not None:
            small: dict[str, Any] = {"max_epochs": 3} | ({"folds": 2} if search_config.grid else {})
            unset = {key: n for key, n in small.items() if getattr(search_config, key) is None}
            search_config = dataclasses.replace(search_config, **unset)
    config = dataclasses.replace(config, **given)
    return Command(experiment, config, logs, name, False, arguments, search_config)


def _is_less(value: Any, current: Any) -> bool:
    return current is None or value < current


def _config_to_resume(
    config_type: type[Config], experiment: str, folder: Path, given: Mapping[str, Any]
) -> Config:
    """The stored settings of a run that goes on; only its length may be changed by flags."""
    if not (folder / "config.json").is_file():
        raise InputError(
            f"--resume: there is no {experiment} run in {folder}; leave --resume out to start one"
        )
    stored = config_type(**read(config_type, folder / "config.json"))
    changed = dataclasses.replace(stored, **given)
    for key in given:
        before, after = getattr(stored, key), getattr(changed, key)
        if key not in ("epochs", "patience") and before != after:
            raise InputError(
                f"--resume: this run has {flag(key)} {before}, received {after}: "
                "leave the flag out, or start a new run"
            )
    return changed


def read(config_type: type[TrainingConfig], path: Path) -> dict[str, Any]:
    """The settings in a JSON file, checked for names that are no settings.

    Raises:
        InputError: if the file is missing, is no JSON object, or has an unknown name.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
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


def to_json(config: TrainingConfig) -> dict[str, Any]:
    """Every setting, defaults too, as plain JSON values; `read` takes it back."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
    }


def flag(name: str) -> str:
    """The command-line flag of a setting: `latent_dim` -> `--latent-dim`."""
    return "--" + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> typing.NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def _add_flag(parser: argparse.ArgumentParser, field: dataclasses.Field, hint: Any) -> None:
    text = str(field.metadata["help"]).replace("%", "%%")
    default = field.default
    if default is not None and default is not False:
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text += f" ({shown})"
    kind, is_many = _plain_type(hint)
    name = flag(field.name)
    if field.metadata.get("switch"):
        parser.add_argument(name, action="store_true", help=text)
        return
    if kind is bool:
        parser.add_argument(name, action=argparse.BooleanOptionalAction, help=text)
        return
    options: dict[str, Any] = {"type": kind, "help": text}
    if "choices" in field.metadata:
        options["choices"] = field.metadata["choices"]
    else:
        options["metavar"] = field.metadata.get("metavar", "N" if kind is int else "X")
    if is_many:
        options["nargs"] = "+"
    parser.add_argument(name, **options)


def _plain_type(hint: Any) -> tuple[type, bool]:
    """(int, False) of `int | None`; (int, True) of `tuple[int, ...]`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _checked(field: dataclasses.Field, hint: Any, value: Any) -> Any:
    """The value in its field's type, or InputError where it does not fit."""
    kind, is_many = _plain_type(hint)
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


# What the machine can refuse although the program is right: no room, no permission, no such place.
_MACHINE_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.EIO,
}  # fmt: skip


class ExitStatus:
    """The status that `exit_status` leaves: 0 done, 2 wrong use or bad input, 130 interrupted."""

    code = 0


@contextlib.contextmanager
def exit_status(experiment: str) -> Iterator[ExitStatus]:
    """Turns what a user can cause into one line on stderr and a status; bugs keep a traceback."""
    status = ExitStatus()
    try:
        yield status
    except InputError as error:
        status.code = 2
        _complain(experiment, str(error))
    except KeyboardInterrupt as error:
        status.code = 130
        _complain(experiment, str(error) or "stopped")
    except OSError as error:
        if error.errno not in _MACHINE_ERRORS:
            raise
        status.code = 2
        place = f" {error.filename}" if error.filename else ""
        _complain(
            experiment,
            f"cannot write{place}: {error.strerror}; what was saved before is untouched: make room"
            " or choose another --logs DIR, then --resume",
        )


def _complain(experiment: str, text: str) -> None:
    print(f"kerasunsup {experiment}: {' '.join(text.split())}", file=sys.stderr, flush=True)
