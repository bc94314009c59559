"""The command lines of all experiments: flags from settings, and how a program ends.

Nothing here imports TensorFlow, so `--help` and every mistake in the arguments answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import os
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kerasunsup import tensorflow_startup
from kerasunsup.apply import settings as apply_settings
from kerasunsup.apply.settings import Application, ApplySettings
from kerasunsup.errors import InputError
from kerasunsup.report.settings import ReportSettings
from kerasunsup.search.settings import SearchSettings
from kerasunsup.settings import (
    PLACES,
    Command,
    TrainingSettings,
    flag,
    path_of,
    plain_type,
    read_config,
)

Config = TypeVar("Config", bound=TrainingSettings)

# Experiments whose one training may go on for longer; others hold finished ones of many.
_ONE_TRAINING = ("ae", "gan")


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
    for settings_type in (
        config_type,
        *(() if search is None else (SearchSettings,)),
    ):
        types_of_fields = typing.get_type_hints(settings_type)
        for field in dataclasses.fields(settings_type):
            _add_flag(parser, field, types_of_fields[field.name])
    given = vars(parser.parse_args(arguments))
    search_config = SearchSettings(
        **{
            field.name: given.pop(field.name)
            for field in dataclasses.fields(SearchSettings)
            if field.name in given
        }
    )

    logs = path_of("--logs", given.pop("logs"))
    name, resume = given.pop("name"), given.pop("resume")
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
        settings = _config_to_resume(config_type, experiment, logs / experiment / name, given)
        return Command(experiment, settings, logs, name, True, arguments)
    defaults = {} if search is None or search_config.kind is None else dict(search)
    defaults |= {} if preset is None else dict(presets[preset])
    stored = {}
    if file is not None:
        stored = read_config(config_type, path_of("--config", file, is_written=False))
    settings = config_type(**(defaults | stored))
    if is_quick:
        current = {key: getattr(settings, key) for key in quick}
        shrunk = {key: value for key, value in quick.items() if _is_less(value, current[key])}
        settings = dataclasses.replace(settings, **shrunk)
        if search_config.kind is not None:
            small: dict[str, Any] = {"max_epochs": 3} | ({"folds": 2} if search_config.grid else {})
            unset = {key: n for key, n in small.items() if getattr(search_config, key) is None}
            search_config = dataclasses.replace(search_config, **unset)
    settings = dataclasses.replace(settings, **given)
    return Command(experiment, settings, logs, name, False, arguments, search_config)


def parse_application(
    *, description: str, verbs: Mapping[str, str], argv: Sequence[str] | None = None
) -> Application:
    """The command line of `apply`: a verb, a model, images, and the settings of that verb.

    Args:
        description: what `--help` says first.
        verbs: each verb, and what it does.
        argv: the arguments; None takes the process's own.

    Raises:
        InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    shape: dict[str, Any] = {
        "allow_abbrev": False,
        "argument_default": argparse.SUPPRESS,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
    parser = _Parser(prog="kerasunsup apply", description=description, **shape)
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    types_of_fields = typing.get_type_hints(ApplySettings)
    for verb, text in verbs.items():
        verb_parser = parsers.add_parser(verb, help=text, description=text, **shape)
        verb_parser.add_argument(
            "model", metavar="MODEL", help="a run's folder, its export/, or a .keras file"
        )
        if verb != "generate":
            verb_parser.add_argument(
                "images",
                metavar="IMAGES",
                help="a folder of images (sub-folders too), one image file, a .npz or .npy, a"
                " folder of IDX files, or a data name such as mnist",
            )
        verb_parser.add_argument(
            "--output", metavar="DIR", required=True, help="where all that is made goes"
        )
        for field in apply_settings.settings_of(verb):
            _add_flag(verb_parser, field, types_of_fields[field.name])
    given = vars(parser.parse_args(arguments))
    verb, output = given.pop("verb"), path_of("--output", given.pop("output"))
    model = path_of("MODEL", given.pop("model"), is_written=False)
    images = given.pop("images", None)
    return Application(verb, model, images, output, ApplySettings(**given), arguments)


def parse_report(*, description: str, argv: Sequence[str] | None = None) -> ReportSettings:
    """The command line of `report`.

    Args:
        description: what `--help` says first.
        argv: the arguments; None takes the process's own.

    Raises:
        InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    parser = _Parser(
        prog="kerasunsup report",
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    types_of_fields = typing.get_type_hints(ReportSettings)
    for field in dataclasses.fields(ReportSettings):
        _add_flag(parser, field, types_of_fields[field.name])
    return ReportSettings(**vars(parser.parse_args(argv)))


def _is_less(value: Any, current: Any) -> bool:
    return current is None or value < current


def _config_to_resume(
    config_type: type[Config], experiment: str, folder: Path, given: Mapping[str, Any]
) -> Config:
    """The stored settings of a run that goes on; only its length may be changed by flags.

    Its images and encoder are looked for where they were, whatever folder the command starts in.
    """
    if not (folder / "config.json").is_file():
        raise InputError(
            f"--resume: there is no {experiment} run in {folder}; leave --resume out to start one"
        )
    stored = config_type(**read_config(config_type, folder / "config.json"))
    changed = dataclasses.replace(stored, **given)
    for key in given:
        before, after = getattr(stored, key), getattr(changed, key)
        is_length = key in ("epochs", "patience")
        if before != after and not (is_length and experiment in _ONE_TRAINING):
            reason = "; the trainings that it has finished would keep theirs" if is_length else ""
            raise InputError(
                f"--resume: this run has {flag(key)} {before}, received {after}{reason}: "
                "leave the flag out, or start a new run"
            )
    places = _recorded_places(folder / "environment.json", stored)
    return dataclasses.replace(changed, **places)


def _recorded_places(path: Path, stored: TrainingSettings) -> dict[str, Any]:
    """Setting -> the absolute path that a run recorded for it, where something is there still."""
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of a version that wrote none; a damaged one is told later
        return {}
    found = recorded if isinstance(recorded, dict) else {}
    places = {key: found.get(f"{key}_path") for key in PLACES if hasattr(stored, key)}
    return {key: place for key, place in places.items() if place and os.path.exists(place)}


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
    kind, is_many = plain_type(hint)
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


# What the machine can refuse although the program is right: no room, no permission, no such place.
_MACHINE_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE, errno.ENOTCONN,
    errno.EBUSY, errno.EMFILE, errno.ENFILE,
)  # fmt: skip

# How a command whose disk was full goes on.
_GO_ON = {
    "apply": "choose another --output DIR, then give the same command again",
    "report": "choose other --logs, --tuning and --output, then give the same command again",
}


class ExitStatus:
    """The status that `exit_status` leaves: 0 done, 2 wrong use or bad input, 130 interrupted."""

    code = 0


@contextlib.contextmanager
def exit_status(experiment: str) -> Iterator[ExitStatus]:
    """Turns what a user can cause into one line on stderr and a status; bugs keep a traceback."""
    tensorflow_startup.standard_streams()
    status = ExitStatus()
    try:
        yield status
    except InputError as error:
        status.code = 2
        _complain(experiment, str(error))
    except KeyboardInterrupt as error:
        status.code = 130
        _complain(experiment, str(error) or "stopped")
    except Exception as error:
        refusal = _refusal_of_machine(error, experiment)
        if refusal is None:
            raise
        status.code = 2
        _complain(experiment, refusal)


def _refusal_of_machine(error: Exception, experiment: str) -> str | None:
    """What to say of an error that the machine is the cause of; None where the program is.

    TensorFlow raises classes of its own, HDF5 errors without a number: both hold the system's
    words for what is wrong.
    """
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return f"{error.strerror}: set TMPDIR to a folder that can be written to"
    is_of_tensorflow = type(error).__module__.startswith("tensorflow.")
    said = str(error)
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        place = f" {error.filename}" if error.filename else ""
        reason = error.strerror
    elif is_of_tensorflow or (isinstance(error, OSError) and error.errno is None):
        place = ""
        reason = next((text for text in map(os.strerror, _MACHINE_ERRORS) if text in said), "")
    else:
        place = reason = ""
    if reason:
        advice = _GO_ON.get(experiment, "choose another --logs DIR, then --resume")
        return (
            f"cannot write{place}: {reason}; what was saved before is untouched: make room or "
            f"{advice}"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return (
            f"the memory does not suffice ({said.strip()[:200]}): choose a smaller --batch-size, "
            "fewer images by --limit, or a smaller network"
        )
    return None


def _complain(experiment: str, text: str) -> None:
    print(f"kerasunsup {experiment}: {' '.join(text.split())}", file=sys.stderr, flush=True)
