"""The command lines of all experiments: flags from settings, and how a program ends.

Nothing here imports TensorFlow, so `--help` and every mistake in the arguments answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import logging
import os
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kerasunsup import tensorflow_startup
from kerasunsup.errors import InputError
from kerasunsup.settings import (
    PLACES,
    CheckedSettings,
    Command,
    TrainingSettings,
    WorkerSettings,
    flag,
    path_of,
    plain_type,
    read_config,
)

Settings = TypeVar("Settings", bound=CheckedSettings)
TrainingSettingsType = TypeVar("TrainingSettingsType", bound=TrainingSettings)


def parse(
    experiment: str,
    settings_type: type[TrainingSettings],
    *,
    description: str,
    quick: Mapping[str, Any],
    search: type[CheckedSettings] | None = None,
    search_defaults: Mapping[str, Any] = types.MappingProxyType({}),
    presets: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({}),
    may_go_longer: bool = False,
    argv: Sequence[str] | None = None,
) -> Command:
    """The parsed command line of one experiment; with `--resume` its settings are the run's own.

    Defaults give way to `--preset`, that to `--config`, that to `--quick`, that to other flags.

    Args:
        experiment: its name, as in `python -m kerasunsup.<name>`.
        settings_type: the experiment's dataclass; each field is a flag.
        description: what `--help` says first.
        quick: the settings that `--quick` shrinks; a smaller value that was set already stays.
        search: dataclass of a search, with `kind` (None: not wanted) and `shrunk()` for `--quick`.
        search_defaults: the settings whose defaults differ in a search.
        presets: name -> settings that `--preset NAME` puts in the place of the defaults.
        may_go_longer: whether `--resume` may change the length of the one training that goes on.
        argv: the arguments; None takes the process's own.

    Raises:
        InputError: if a value is wrong or a file given by `--config` cannot be used.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    parser = new_parser(experiment, description)
    _add_run_flags(parser, presets)
    for kind in filter(None, (settings_type, search, WorkerSettings)):
        add_settings(parser, kind)
    given = vars(parser.parse_args(arguments))
    workers = WorkerSettings(**_taken(given, WorkerSettings))
    searched: Any = None if search is None else search(**_taken(given, search))
    is_search = searched is not None and searched.kind is not None
    logs = path_of("--logs", given.pop("logs", "logs"))
    keys = ("name", "resume", "config", "preset", "quick")
    name, resume, file, preset, is_quick = (given.pop(key, None) for key in keys)
    _check_name(name)
    if resume:
        _check_resume(name, is_search, bool(file is not None or is_quick or preset))
        folder = logs / experiment / name
        settings = _settings_to_resume(settings_type, folder, given, may_go_longer)
        workers.check(settings.strategy)
        return Command(experiment, settings, logs, name, True, arguments, searched, workers)
    defaults = {**(search_defaults if is_search else {}), **(presets[preset] if preset else {})}
    if file is not None:
        defaults |= read_config(settings_type, path_of("--config", file, is_written=False))
    settings = settings_type(**defaults)
    if is_quick:
        settings = _shrunk(settings, quick)
        searched = searched.shrunk() if is_search else searched
    settings = dataclasses.replace(settings, **given)
    workers.check(settings.strategy, is_search=is_search)
    return Command(experiment, settings, logs, name, False, arguments, searched, workers)


def _taken(given: dict[str, Any], settings_type: type[CheckedSettings]) -> dict[str, Any]:
    """The given values of one dataclass of settings, taken out of all."""
    names = [field.name for field in dataclasses.fields(settings_type)]
    return {name: given.pop(name) for name in names if name in given}


def parse_settings(
    command: str,
    settings_type: type[Settings],
    *,
    description: str,
    argv: Sequence[str] | None = None,
) -> Settings:
    """The command line of a command that has settings and nothing else; errors as of `parse`."""
    parser = new_parser(command, description)
    add_settings(parser, settings_type)
    return settings_type(**vars(parser.parse_args(argv)))


def new_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser that says what is wrong in one line; what is not given is not in its result."""
    return _Parser(prog=f"kerasunsup {command}", description=description, **_SHAPE)


def add_verb(verbs: Any, verb: str, text: str, more: str = "") -> argparse.ArgumentParser:
    """One more verb of a parser's `add_subparsers`, with what it does and more for its help."""
    return verbs.add_parser(verb, help=text, description=f"{text}\n{more}", **_SHAPE)


def add_settings(
    parser: argparse.ArgumentParser,
    settings_type: type[CheckedSettings],
    fields: Sequence[dataclasses.Field] | None = None,
) -> None:
    """A flag for each field of a dataclass of settings, or for some of them."""
    types_of_fields = typing.get_type_hints(settings_type)
    for field in dataclasses.fields(settings_type) if fields is None else fields:
        _add_flag(parser, field, types_of_fields[field.name])


def _add_run_flags(
    parser: argparse.ArgumentParser, presets: Mapping[str, Mapping[str, Any]]
) -> None:
    """What every training takes beside its settings."""
    parser.add_argument("--config", metavar="FILE.json", help="settings from a file")
    parser.add_argument("--logs", metavar="DIR", help="where runs go (logs)")
    parser.add_argument("--name", metavar="RUN", help="the run's folder name (a time stamp)")
    parser.add_argument("--resume", action="store_true", help="go on with the run named by --name")
    help_text = "few images, two epochs: a smoke run of the whole path"
    parser.add_argument("--quick", action="store_true", help=help_text)
    if presets:
        parser.add_argument("--preset", choices=sorted(presets), help="a named set of settings")


def _check_resume(name: str | None, is_search: bool, is_with_settings: bool) -> None:
    if is_search:
        raise InputError(
            "--resume goes on with a run; a search goes on by itself: leave --resume out"
        )
    if name is None:
        raise InputError("--resume needs --name RUN: which run should go on?")
    if is_with_settings:
        raise InputError(
            "--resume takes its settings from the run itself: leave --config, --preset and "
            "--quick out"
        )


def _check_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_+=][A-Za-z0-9._+=-]{0,99}", name):
        raise InputError(
            f"--name {name!r} cannot be a folder's name: use letters, digits, '.', '_' and '-'"
        )


def _shrunk(settings: TrainingSettings, quick: Mapping[str, Any]) -> TrainingSettings:
    """The settings with the sizes of `--quick`; a smaller one that was set already stays."""
    given = {key: getattr(settings, key) for key in quick}
    sizes = {
        key: value if given[key] is None else min(value, given[key]) for key, value in quick.items()
    }
    return dataclasses.replace(settings, **sizes)


def _settings_to_resume(
    settings_type: type[TrainingSettingsType],
    folder: Path,
    given: Mapping[str, Any],
    may_go_longer: bool,
) -> TrainingSettingsType:
    """The stored settings of a run that goes on; only its length may be changed by flags."""
    if not (folder / "config.json").is_file():
        if given.get("strategy") == "multiworker":
            return settings_type(**given)  # worker 0 has the run, and tells the others of it
        raise InputError(
            f"--resume: there is no {folder.parent.name} run in {folder}; leave --resume out to "
            "start one"
        )
    stored = settings_type(**read_config(settings_type, folder / "config.json"))
    changed = dataclasses.replace(stored, **given)
    for key in given:
        before, after = getattr(stored, key), getattr(changed, key)
        is_length = key in ("epochs", "patience")
        if before != after and not (is_length and may_go_longer):
            reason = "; the trainings that it has finished would keep theirs" if is_length else ""
            raise InputError(
                f"--resume: this run has {flag(key)} {before}, received {after}{reason}: "
                "leave the flag out, or start a new run"
            )
    finished = _finished_epochs(folder) if may_go_longer else 0
    if changed.epochs < finished:
        raise InputError(
            f"--resume: this run has {finished} epochs already, received --epochs "
            f"{changed.epochs}: give more, or start a new run"
        )
    # Images and encoder lie where they were, whatever folder the command starts in.
    places = _recorded_places(folder / "environment.json", stored)
    return dataclasses.replace(changed, **places)


def _finished_epochs(folder: Path) -> int:
    try:
        return max(0, len((folder / "history.csv").read_text(encoding="utf-8").splitlines()) - 1)
    except (OSError, ValueError):  # of a run that was stopped in its first epoch, or damaged
        return 0


def _recorded_places(path: Path, stored: TrainingSettings) -> dict[str, Any]:
    """Setting -> the absolute path that a run recorded for it, where something is there still."""
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of a version that wrote none; a damaged one is told later
        return {}
    found = recorded if isinstance(recorded, dict) else {}
    places = {key: found.get(f"{key}_path") for key in PLACES if hasattr(stored, key)}
    return {key: place for key, place in places.items() if place and os.path.exists(place)}


_SHAPE: Mapping[str, Any] = {
    "allow_abbrev": False,
    "argument_default": argparse.SUPPRESS,
    "formatter_class": argparse.RawDescriptionHelpFormatter,
}


PARSER_ALONE = "\0"  # in the place of arguments, none of which can hold it


class ParserMade(Exception):  # noqa: N818 - no error
    """Brings the parser that `PARSER_ALONE` asks for, in the place of what it would parse."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        if args and PARSER_ALONE in args:
            raise ParserMade(self)
        return super().parse_args(args, namespace)

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


class _TerminalHandler(logging.Handler):
    """Prints plain messages: what is told on standard output, warnings on standard error.

    The streams are looked up at each message, as a program may put others in their place.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the message at once: who watches a pipe sees it now, not at the end."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(record.getMessage(), file=stream, flush=True)


@contextlib.contextmanager
def log_on_terminal() -> Iterator[None]:
    """Shows what the package logs while it is in use as a program.

    As a library it is silent but for warnings, which Python shows on standard error where a program
    sets up no logging of its own.
    """
    logger = logging.getLogger("kerasunsup")
    if any(isinstance(handler, _TerminalHandler) for handler in logger.handlers):
        yield  # a command inside a command
        return
    handler, level, propagates = _TerminalHandler(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of another library would say all a second time
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class ExitStatus:
    """The status that `exit_status` leaves: 0 done, 2 wrong use or bad input, 130 interrupted."""

    code = 0


@contextlib.contextmanager
def exit_status(
    experiment: str, how_to_go_on: str = "choose another --logs DIR, then --resume"
) -> Iterator[ExitStatus]:
    """Turns what a user can cause into one line on stderr and a status; bugs keep a traceback.

    `how_to_go_on` says what to do where a disk is full, beside making room.
    """
    tensorflow_startup.standard_streams()
    status = ExitStatus()
    try:
        with log_on_terminal():
            yield status
    except InputError as error:
        status.code = 2
        _complain(experiment, str(error))
    except KeyboardInterrupt as error:
        status.code = 130
        _complain(experiment, str(error) or "stopped")
    except Exception as error:
        refusal = _refusal_of_machine(error, how_to_go_on)
        if refusal is None:
            raise
        status.code = 2
        _complain(experiment, refusal)
    finally:
        tensorflow_startup.restore_parallel_maps()


def _refusal_of_machine(error: Exception, how_to_go_on: str) -> str | None:
    """What to say of an error that the machine is the cause of; None where the program is.

    TensorFlow raises classes of its own, HDF5 errors without a number: both hold the system's
    words.
    """
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return f"{error.strerror}: set TMPDIR to a folder that can be written to"
    is_of_tensorflow = type(error).__module__.startswith("tensorflow.")
    said = str(error)
    place, reason = "", None
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        place = f" {error.filename}" if error.filename else ""
        reason = error.strerror
    elif is_of_tensorflow or (isinstance(error, OSError) and error.errno is None):
        reason = next((text for text in map(os.strerror, _MACHINE_ERRORS) if text in said), None)
    if reason:
        return (
            f"cannot write{place}: {reason}; what was saved before is untouched: make room or "
            f"{how_to_go_on}"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return (
            f"the memory does not suffice ({said.strip()[:200]}): choose a smaller --batch-size, "
            "fewer images by --limit, or a smaller network"
        )
    return None


def _complain(experiment: str, text: str) -> None:
    print(f"kerasunsup {experiment}: {' '.join(text.split())}", file=sys.stderr, flush=True)
