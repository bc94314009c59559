"""The steps of the whole study: which of their runs are there, and how the others are run.

A run belongs to a step if all of its settings are the step's; its name does not matter. Steps are
started as a user would, each in a process of its own. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import itertools
import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from kerasunsup.ae import __main__ as ae
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.gan import __main__ as gan
from kerasunsup.novelty import __main__ as novelty
from kerasunsup.search import record
from kerasunsup.settings import flag, to_json
from kerasunsup.supervised import __main__ as supervised
from kerasunsup.training import files

_MODULES: dict[str, ModuleType] = {
    "ae": ae, "gan": gan, "supervised": supervised, "novelty": novelty,
}  # fmt: skip
_TIMES = "report-times.json"  # in the folder of runs
_WRITING_TIMES = threading.Lock()  # steps may run side by side
_MOST_EPOCHS = {True: 3, False: 20}  # of a search's longest trial, by whether it is quick
_RECORDS = (Path("ae") / "record.json", Path("ae") / "hyperband" / "record.json")

# What a number's name ends with, its class apart -> the least and the most that it can be.
_POSITIVE, _SHARE = (1e-12, record.MOST), (0.0, 1.0 + 1e-6)
_RANGES = {
    "mse": _POSITIVE, "fid": _POSITIVE, "distance_ratio": _POSITIVE,
    "classifier_score": (1.0 - 1e-6, record.MOST), "epochs?": (1.0, record.MOST),
    "accuracy": _SHARE, "precision": _SHARE, "recall": _SHARE, "auroc": _SHARE,
    "ssim": (-1.0 - 1e-6, 1.0 + 1e-6),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Step:
    """One part of the study."""

    key: str
    title: str  # what it is called in the plan and on the page
    experiment: str  # the command that does it
    arguments: tuple[str, ...]  # of that command, without places and names
    # About how long it takes on a processor core, with another step beside it on another one; with
    # both for itself it takes three quarters of that or more (docs/study.md). 0: it is not run.
    minutes: float = 0.0
    quick_minutes: float = 0.0  # the same with `--quick`

    @property
    def is_search(self) -> bool:
        """Whether it leaves a search's record instead of a run."""
        return "--tune" in self.arguments

    @property
    def is_tuned(self) -> bool:
        """Whether it trains what the search found."""
        return "--config" in self.arguments


STEPS = (
    Step("clean", "autoencoder", "ae", (), 6, 0.4),
    Step("noise", "autoencoder that learns to remove noise", "ae", ("--noise", "0.4"), 7, 0.4),
    Step("crop", "autoencoder that learns to fill holes", "ae", ("--crop", "8"), 6, 0.4),
    Step("search", "search for settings", "ae", ("--tune", "--search-only"), 31, 0.6),
    Step(
        "tuned", "autoencoder with the settings found", "ae",
        ("--student", "--sampler", "neighbors", "--config"), 14, 0.8,
    ),
    Step("variational", "variational autoencoder", "ae", ("--variational",), 7, 0.4),
    Step("supervised", "from unsupervised to supervised", "supervised", (), 15, 0.5),
    Step("novelty", "outliers, one class against the rest", "novelty", ("--flow",), 22, 0.6),
    Step("gan", "GAN", "gan", (), 29, 0.4),
    Step("gan_study", "GAN, the study's own game", "gan", ("--preset", "study"), 27, 0.4),
)  # fmt: skip
# What the page shows where its run stands; no report runs it.
OPTIONAL = (
    Step(
        "skip", "denoiser with skips", "ae",
        ("--skip", "--epochs", "13", "--schedule", "cosine"),
    ),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Places:
    """Where runs and searches are, and which size of the study is meant."""

    logs: Path
    tuning: Path
    quick: bool
    data: str = "mnist"  # what `--data` names
    benchmarks: Path = Path("docs")  # results of the scripts in benchmarks/

    @property
    def slug(self) -> str:
        """The data in the names of runs and folders; empty for MNIST."""
        if self.data == "mnist":
            return ""
        words = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        return words or hashlib.sha256(self.title.encode()).hexdigest()[:8]

    @property
    def title(self) -> str:
        """The data as a person names them."""
        if self.data == "mnist":
            return "MNIST"
        name = Path(self.data).name
        # `.` and `..` are no names.
        return name if name not in ("", "..") else Path(self.data).resolve().name or self.data

    @property
    def searches(self) -> Path:
        """Small searches and those of other data have folders of their own.

        They are no answers to the large question about MNIST.
        """
        folder = self.tuning / "quick" if self.quick else self.tuning
        return folder / self.slug if self.slug else folder


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run, or a finished search, read once."""

    folder: Path
    metrics: Mapping[str, Any]  # as in `metrics.json`; of a search the record
    settings: Mapping[str, Any]  # as in `config.json`; of a search those that all trials share
    environment: Mapping[str, Any]  # as in `environment.json`
    history: Mapping[str, list[str]]  # column of `history.csv` -> its texts; empty without a file

    def number(self, name: str) -> float | None:
        """A number of the run; None where it has none of this name, or one that cannot be."""
        value: Any = self.metrics.get(name)
        if not record.is_number(value):
            return None
        for ending, (least, most) in _RANGES.items():
            if re.search(rf"(^|[/_]){ending}(_[^/]*)?$", name):
                return float(value) if least <= value <= most else None
        return float(value)

    def column(self, name: str) -> list[float]:
        """Numbers of the history, one an epoch; empty where there are none, or not all are."""
        with contextlib.suppress(ValueError):
            values = [float(value) for value in self.history.get(name, [])]
            return values if all(map(record.is_number, values)) else []
        return []

    def figure(self, name: str) -> bytes | None:
        """A picture of the run as PNG; None where it is missing."""
        try:
            return (self.folder / "figures" / f"{name}.png").read_bytes()
        except OSError:
            return None


@dataclasses.dataclass
class State:
    """A step and the runs that were found for it."""

    step: Step
    finished: FinishedRun | None = None
    unfinished: str | None = None  # the name of a run that can go on
    # What is wrong with runs that would have been the step's.
    problems: list[str] = dataclasses.field(default_factory=list)


def arguments_of(step: Step, places: Places) -> list[str]:
    """The command's arguments, without `--logs` and `--name`."""
    arguments = list(step.arguments)
    if places.data != "mnist":
        arguments = ["--data", places.data, *arguments]
    if step.is_tuned:
        arguments.append(str(places.searches / "ae" / "best.json"))
    if step.is_search and places.searches != Path("tuning"):
        arguments += ["--tuning", str(places.searches)]
    return [*arguments, "--quick"] if places.quick else arguments


def command_of(step: Step, places: Places) -> str:
    """The command as a user would type it."""
    return (
        f"python -m kerasunsup.{step.experiment} {shlex.join(arguments_of(step, places))}".strip()
    )


def settings_of(step: Step, places: Places) -> dict[str, Any] | None:
    """The step's settings as `config.json` would hold them; None while they are not known."""
    if step.is_tuned and not (places.searches / "ae" / "best.json").is_file():
        return None
    command = _MODULES[step.experiment].parse(arguments_of(step, places))
    return json.loads(json.dumps(to_json(command.config)))


def state_of(step: Step, places: Places) -> State:
    """Looks for the step's run: the newest finished one, else one that can go on."""
    state = State(step)
    try:
        settings = settings_of(step, places)
    except InputError as error:  # the settings that a search left cannot be used
        state.problems.append(str(error))
        return state
    if settings is None:
        return state
    if step.is_search:
        _find_record(state, settings, places)
        return state
    newest = ""
    # A run of before a setting was there has none of it, and did what is the default now.
    size = ["--quick"] if places.quick else []
    defaults = json.loads(json.dumps(to_json(_MODULES[step.experiment].parse(size).config)))
    for path in sorted((places.logs / step.experiment).glob("[!.]*/config.json")):
        folder = path.parent
        try:
            stored = defaults | _read_object(path)
            if stored != _wanted(settings, stored):
                continue
            if not (folder / "metrics.json").exists():
                state.unfinished = folder.name
                continue
            run = _read_run(folder, settings, state.problems)
        except InputError as error:
            state.problems.append(str(error))
            continue
        started = str(run.environment.get("started", ""))
        if started >= newest:
            newest, state.finished = started, run
    return state


def _wanted(settings: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """A step's settings with a run's arithmetic, where the step leaves it to the machine."""
    is_left = settings["precision"] == "auto" and "precision" in stored
    return settings | ({"precision": stored["precision"]} if is_left else {})


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = files.read_json(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged (no JSON object): remove it")
    return values


def _read_run(folder: Path, settings: Mapping[str, Any], problems: list[str]) -> FinishedRun:
    metrics = _read_object(folder / "metrics.json")
    if not any(record.is_number(value) and value for value in metrics.values()):
        raise InputError(
            f"{folder / 'metrics.json'} is senseless (no number but 0): remove the run"
        )
    environment = _read_object(folder / "environment.json")
    history: dict[str, list[str]] = {}
    path = folder / "history.csv"
    if path.exists():  # not every command trains one model over epochs
        try:
            header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
            history = dict(zip(header, map(list, zip(*rows, strict=True)), strict=bool(rows)))
        except (OSError, ValueError, csv.Error) as error:
            problems.append(f"{path} is empty or damaged ({error}): what it shows is left out")
    return FinishedRun(folder, metrics, settings, environment, history)


def _find_record(state: State, settings: dict[str, Any], places: Places) -> None:
    for path in (places.searches / name for name in _RECORDS):
        if not path.exists():
            continue
        try:
            search = _read_object(path)
            record.check(path, search)
            if (found_on := _searched_data(places)) != places.data:  # a folder of the same name
                raise InputError(f"{path} is of a search on {found_on}: give --tuning DIR")
        except InputError as error:
            state.problems.append(str(error))
            continue
        stored = search["fingerprint"]["settings"]
        wanted = _wanted(settings, stored)
        differs = [key for key, value in stored.items() if wanted.get(key) != value]
        if search["fingerprint"]["max_epochs"] != _MOST_EPOCHS[places.quick]:
            differs.append("max_epochs")
        if differs:
            state.problems.append(
                f"{path} is of a search with another {flag(differs[0])}: give --tuning DIR"
            )
            continue
        state.finished = FinishedRun(path.parent, search, stored, search["environment"], {})
        return


def _searched_data(places: Places) -> Any:
    """What a search was made on, as its answer has it; where there is none, what is asked for."""
    with contextlib.suppress(InputError):
        return _read_object(places.searches / "ae" / "best.json").get("data", places.data)
    return places.data


def other_images(states: Mapping[str, State]) -> list[str]:
    """The steps whose run recorded other images than most; runs of older versions record none."""
    keys_by_data: dict[str, list[str]] = {}
    for key, state in states.items():
        if (run := state.finished) is None:
            continue
        data = (run.metrics["fingerprint"] if state.step.is_search else run.environment).get("data")
        if data and isinstance(data, str):
            keys_by_data.setdefault(data, []).append(key)
    usual = max(keys_by_data, key=lambda data: len(keys_by_data[data]), default=None)
    return [key for data, keys in keys_by_data.items() if data != usual for key in keys]


def run_step(state: State, places: Places, run: Callable[[list[str]], int]) -> None:
    """Runs a step to its end, or goes on with it.

    A step that fails leaves a line in `state.problems`; the others do not depend on it.

    Args:
        state: the step, and whether a run of it can go on.
        places: where runs and searches are.
        run: runs a command and returns its exit status, 130 where it was stopped (`process.run`).

    Raises:
        Interrupted: on Ctrl-C, TERM and HUP; what is finished is kept.
    """
    step = state.step
    arguments = ["--logs", str(places.logs)]
    if state.unfinished is not None:
        arguments += ["--resume", "--name", state.unfinished]
    elif step.is_search:
        arguments += arguments_of(step, places)
    else:
        try:
            settings = settings_of(step, places)
        except InputError:
            return  # `state_of` has named the problem already
        if settings is None:
            state.problems.append(f"{step.title}: there is no search's answer to be trained")
            return
        arguments += [*arguments_of(step, places), "--name", _free_name(step, places)]
    began = time.perf_counter()
    try:
        status = run([sys.executable, "-m", f"kerasunsup.{step.experiment}", *arguments])
    finally:
        _add_time(step, places, time.perf_counter() - began)
    if status == 130:
        raise Interrupted("stopped; what is finished is kept, the same command goes on")
    if status:
        state.problems.append(
            f"{command_of(step, places)} ended with status {status}; its last lines say why"
        )


def times(places: Places) -> dict[str, float]:
    """Command -> seconds that reports have spent on it, measuring and drawing included."""
    path = places.logs / _TIMES
    with contextlib.suppress(OSError, InputError):
        found = files.read_json(path)
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if record.is_number(value)}
    return {}


def _add_time(step: Step, places: Places, seconds: float) -> None:
    command = command_of(step, places)
    with _WRITING_TIMES, contextlib.suppress(OSError):  # a time is not worth a report
        spent = times(places)
        spent[command] = round(spent.get(command, 0.0) + seconds, 1)
        files.write_json(places.logs / _TIMES, spent)


def name_of(step: Step, places: Places) -> str:
    """What a run of it by a report is called, where that name is free."""
    parts = ["report", "quick" if places.quick else "", places.slug, step.key]
    return "-".join(filter(None, parts))


def _free_name(step: Step, places: Places) -> str:
    name = name_of(step, places)
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not (places.logs / step.experiment / name).exists())
