"""The parts of a large collection, made on the machines of a Ray cluster.

Each part is a Ray task of one processor. The processes of the workers keep the opened model from
one task to the next. Ray gives the task of a worker that dies to another one; parts that stand are
not made again. All machines must see the model, the images and the output under the same paths.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kerasunsup import tensorflow_startup
from kerasunsup.apply.settings import Application
from kerasunsup.errors import InputError
from kerasunsup.progress import Progress

logger = logging.getLogger(__name__)

_RETRIES = 3  # of a part whose worker dies
_SECONDS = 10  # until an address that does not answer is refused


def check_installed() -> None:
    """Refuses `--ray` where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise InputError("--ray needs Ray: install it by pip install 'kerasunsup[ray]'")


def make_parts(command: Application, indices: Sequence[int]) -> None:
    """Makes parts on the cluster that `--ray` names; returns when all were made.

    Args:
        command: the command line, whose output folder is claimed.
        indices: the parts.

    Raises:
        InputError: if the cluster cannot be reached, the images do not fit the model, or a part
            ended several workers.
    """
    import ray

    with _connected(ray, command.config.ray or "auto"):
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_make_part)
        placed = _with_whole_paths(command)
        waiting = {task.remote(placed, index): index for index in indices}
        with Progress(len(waiting), "part") as progress:
            while waiting:
                (ready, *_), _ = ray.wait(list(waiting))
                index = waiting.pop(ready)
                _check_result(ray, ready, index)
                progress.advance()


def _check_result(ray: Any, result: Any, index: int) -> None:
    try:
        ray.get(result)
    except InputError as error:  # Ray's own class, which is an InputError too
        raise InputError(str(getattr(error, "cause", error))) from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"--ray: part {index:05d} ended {_RETRIES + 1} workers ({first}): give them more "
            "memory, or a smaller --batch-size; what is finished is kept"
        ) from None
    except ray.exceptions.RayError as error:
        if "No module named 'kerasunsup'" not in str(error):
            raise
        raise InputError(
            "--ray: kerasunsup is not installed on the machines of the cluster: install it there, "
            "the same version"
        ) from None


def _make_part(command: Application, index: int) -> None:
    """Makes one part in the process of a worker."""
    tensorflow_startup.set_environment()
    from kerasunsup.apply import experiment

    experiment.make_parts(command, [index])


@contextlib.contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """A Ray cluster: the one at an address, the one that runs here, or one of this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address != "auto":
        _check_reachable(address)
        options["address"] = address
    try:
        with _quiet():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"--ray {address}: no Ray cluster can be used ({lines[0]}): give the address that ray "
            "start --head showed; a cluster that asks for a token needs RAY_AUTH_MODE=token in the "
            "environment of this command"
        ) from None
    try:
        processors = ray.cluster_resources().get("CPU", 0)
        logger.info(f"Ray: {len(ray.nodes())} machines, {processors:g} processors")
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on standard error: Ray's C++ warns each second there, and raises an error at last."""
    with open(os.devnull, "wb") as nothing, tensorflow_startup.standard_error_into(nothing):
        yield


def _check_reachable(address: str) -> None:
    """Refuses an address at which nothing listens; Ray itself would wait for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--ray {address}: nothing answers there ({error}): give the address that ray start "
            "--head showed, or auto"
        ) from None


def _with_whole_paths(command: Application) -> Application:
    """The command as it can be given in any folder."""
    images, mask, model = command.images, command.config.mask, command.model
    if images is not None and os.path.exists(os.path.expanduser(images)):
        images = os.path.abspath(os.path.expanduser(images))
    if mask is not None:
        mask = os.path.abspath(os.path.expanduser(mask))
    return dataclasses.replace(
        command,
        model=None if model is None else Path(os.path.abspath(os.path.expanduser(model))),
        images=images,
        output=command.output.absolute(),
        config=dataclasses.replace(command.config, mask=mask),
    )
