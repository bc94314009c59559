"""The folder that a run leaves behind: created once, read back, every file written atomically."""

from __future__ import annotations

import contextlib
import csv
import datetime
import errno
import importlib.metadata
import io
import itertools
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasunsup.data import decoding
from kerasunsup.errors import InputError
from kerasunsup.settings import PLACES, Command, TrainingSettings, to_json
from kerasunsup.training import files

logger = logging.getLogger(__name__)

_RECORDED_PACKAGES = (
    "kerasunsup", "tensorflow", "keras", "keras-tuner", "tensorflow-datasets", "tensorboard",
    "numpy", "scikit-learn", "matplotlib", "pillow",
)  # fmt: skip


class Run:
    """One run's folder, `<logs>/<experiment>/<name>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: io.TextIOWrapper | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def experiment(self) -> str:
        """The name of the experiment that the run belongs to."""
        return self.folder.parent.name

    @property
    def checkpoint(self) -> Path:
        """The file with the full state after the last finished epoch."""
        return self.folder / "checkpoints" / "state.npz"

    @classmethod
    def create(cls, command: Command, data: str | None = None) -> Run:
        """A new folder with the settings and the environment written into it.

        Args:
            command: the parsed command line.
            data: fingerprint of the images, so that runs on others are not taken for the same.

        Raises:
            InputError: if the folder exists already.
            OSError: if it cannot be written.
        """
        name = command.name or datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        parent = command.logs / command.experiment
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise InputError(
                f"--logs {command.logs}: {parent} is no folder; choose another"
            ) from None
        # It gets its name when it is complete: one killed before can neither be taken for a run
        # nor be in the way of the next.
        run = cls(parent / files.part_name(name))
        run.folder.mkdir()
        recorded = environment(command) | {"data": data} | _places(command.config)
        try:
            run._take_lock()
            files.write_json(run.folder / "environment.json", recorded)
            files.write_json(run.folder / "config.json", to_json(command.config))
            run.folder = _named(run.folder, parent / name, is_chosen=command.name is not None)
        except BaseException:
            run.close()
            shutil.rmtree(run.folder, ignore_errors=True)
            raise
        return run

    @classmethod
    def reopen(cls, command: Command, data: str | None = None) -> Run:
        """The folder of a run that goes on; its settings are written anew (its length may differ).

        Raises:
            InputError: if another process is at work in it, or it was trained on other data.
        """
        run = cls(command.logs / command.experiment / str(command.name))
        run._take_lock()
        try:
            _check_same_images(run.folder, data, command.config)
            for leftover in list(run.folder.rglob(".*.part*")):  # of a write that was killed
                if leftover.is_dir():  # of an export
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)
            path = run.folder / "config.json"
            stored = files.read_json(path) if path.exists() else {}
            as_given = {key: stored[key] for key in PLACES if key in stored}
            files.write_json(path, to_json(command.config) | as_given)
        except BaseException:
            run.close()
            raise
        return run

    def check_folder(self) -> None:
        """Refuses to go on in a folder that was removed or replaced while it is in use.

        Raises:
            InputError: if it was; what has been written anew in its place is removed.
        """
        lock = self.folder / "checkpoints" / ".lock"
        if lock.exists() and (
            self._lock is None or os.path.samestat(os.fstat(self._lock.fileno()), lock.stat())
        ):
            return
        if not (self.folder / "config.json").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        raise InputError(
            f"{self.folder} was removed or replaced while it was in use: start a new run"
        )

    def _take_lock(self) -> None:
        """Keeps a second process out; the lock goes with the process, however it ends."""
        (self.folder / "checkpoints").mkdir(exist_ok=True)
        self._lock = files.locked(
            self.folder / "checkpoints" / ".lock",
            f"{self.folder} is in use by another process: wait for it, or stop it first",
        )

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_history(self, columns: Mapping[str, Sequence[float]]) -> None:
        """Writes `history.csv`: a row an epoch, columns of equal length."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        files.write_bytes(self.folder / "history.csv", buffer.getvalue().encode())

    def write_metrics(self, metrics: Mapping[str, float]) -> None:
        """Writes `metrics.json`: flat, names are paths."""
        files.write_json(self.folder / "metrics.json", metrics)

    def write_figure(self, name: str, png: bytes) -> Path:
        """Writes `figures/<name>.png` and returns its path."""
        path = self.folder / "figures" / f"{name}.png"
        files.write_bytes(path, png)
        return path

    def read_metrics(self) -> dict[str, float]:
        """The run's numbers; empty where the run has not come to its end.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.folder / "metrics.json"
        metrics = files.read_json(path) if path.exists() else {}
        if not isinstance(metrics, dict):
            raise InputError(f"{path} is damaged (no JSON object): remove it")
        return metrics


def _check_same_images(folder: Path, data: str | None, settings: TrainingSettings) -> None:
    """Refuses other images than a run's own, and says where its machine was another."""
    path = folder / "environment.json"
    recorded = files.read_json(path) if path.exists() else {}
    if not isinstance(recorded, dict):
        raise InputError(f"{path} is damaged (no JSON object): remove it")
    fingerprint = recorded.get("data")  # older versions wrote none
    if fingerprint is not None and data is not None and fingerprint != data:
        raise InputError(
            f"--resume: {settings.data} has other images than those that {folder} was "
            f"trained on (fingerprint {data}, recorded {fingerprint}): bring these back, or start "
            "a new run"
        )
    before = (recorded.get("usable_processors"), recorded.get("processor"))
    now = (decoding.num_processors(), processor())
    if before[0] is not None and before != now:
        logger.info(
            f"processors: {before[0]} x {before[1]} when this run began, {now[0]} x {now[1]}"
            " now; sums are rounded otherwise, so it is not bit-identical to one that was never"
            " stopped"
        )


def _places(settings: TrainingSettings) -> dict[str, str | None]:
    """`data_path` and so on: the absolute paths of what the settings name; None for mere names."""
    paths: dict[str, str | None] = {}
    for key in PLACES:
        if hasattr(settings, key):
            given = getattr(settings, key)
            path = os.path.abspath(os.path.expanduser(given or "mnist"))
            is_place = given not in (None, "mnist") and os.path.exists(path)
            paths[f"{key}_path"] = path if is_place else None
    return paths


def _named(temporary: Path, folder: Path, *, is_chosen: bool) -> Path:
    """Gives a new folder its name, with a number behind it where a time stamp is taken already."""
    name = folder.name
    for attempt in itertools.count(2):
        try:
            if not folder.exists():
                return temporary.rename(folder)
        except OSError as error:
            # Another process was faster; a rename never replaces a folder that holds something.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if is_chosen:
            break
        folder = folder.with_name(f"{name}-{attempt}")
    raise InputError(
        f"--name {name}: {folder} exists already and is never overwritten; choose another "
        "name, or add --resume to go on with it"
    )


@contextlib.contextmanager
def opened(command: Command, data: str | None = None) -> Iterator[Run]:
    """The run of a command line, new or gone on with, closed at the end.

    `data` is the fingerprint of the images, as in `Run.create`.
    """
    run = Run.reopen(command, data) if command.resume else Run.create(command, data)
    try:
        yield run
        run.check_folder()
    except BaseException:
        run.check_folder()  # it may be the cause
        raise
    finally:
        run.close()


def environment(command: Command) -> dict[str, Any]:
    """What a reader needs to repeat a run: versions, commit, command, seed, machine."""
    versions = {}
    for package in _RECORDED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": ["kerasunsup", command.experiment, *command.arguments],
        "seed": command.config.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "usable_processors": decoding.num_processors(),
        "versions": versions,
        "git_commit": _git_commit(),
    }


def processor() -> str:
    """What the machine calls its processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """The commit of the checkout that this package runs from; None outside one."""
    here = Path(__file__)
    # A package installed inside some other project's checkout lies in its folder, but is not in it.
    if _git("ls-files", "--error-unmatch", "--", here.name, folder=here.parent) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", folder=here.parent)


def _git(*arguments: str, folder: Path) -> str | None:
    """What git says of a folder; None where it refuses or there is no git."""
    # Inside a hook GIT_DIR and others name the hook's repository, whatever the folder.
    variables = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        result = subprocess.run(  # noqa: S603
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True, text=True, timeout=10, check=True, env=variables,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
