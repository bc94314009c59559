"""One command of `apply` from its start to its end: opened, checked, done, recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from kerasunsup.apply import cluster, encode, generate, outliers, restore, similar
from kerasunsup.apply.job import Job
from kerasunsup.apply.output_folder import OutputFolder
from kerasunsup.apply.settings import Application
from kerasunsup.errors import InputError, Interrupted

logger = logging.getLogger(__name__)

# Each writes its results by `job.files` and returns the numbers that the command ends with.
_VERBS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "restore": restore.restore_images,
    "encode": encode.write_codes,
    "similar": similar.find_similar,
    "outliers": outliers.find_outliers,
    "cluster": cluster.cluster_images,
    "generate": generate.generate_images,
}

# What the model must be able to do.
_NEEDS = {
    "restore": ("reconstruct",), "encode": ("encode",), "similar": ("encode",),
    "outliers": ("reconstruct", "encode"), "cluster": ("encode",), "generate": ("decode",),
}  # fmt: skip


def run(command: Application) -> None:
    """Does what a command line of `apply` says, and logs the numbers.

    Raises:
        InputError: if the model, the images or the settings cannot be used.
        Interrupted: on Ctrl-C; the same command goes on later.
    """
    start = time.perf_counter()
    job = Job(command)
    _check(job)
    with OutputFolder(command.output, job.identity()) as output:
        if output.is_done:
            logger.info(f"{command.output} is done already: there is nothing to do")
            return
        job.output = output
        try:
            numbers = _VERBS[command.verb](job)
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; what is finished is kept, the same command goes on"
            ) from None
        numbers["seconds"] = round(time.perf_counter() - start, 1)
        output.finish(**numbers)
    for name, value in numbers.items():
        logger.info(f"  {name.replace('_', ' ')}: {value}")
    logger.info(f"\neverything is in {command.output}")


def _check(job: Job) -> None:
    """Refuses a model that cannot do what the verb needs, before anything is written."""
    is_generator = job.verb == "generate" and job.model.offers("generate")
    for function in ("generate",) if is_generator else _NEEDS[job.verb]:
        job.model.function(function)
    if is_generator and job.reference is not None:
        raise InputError(
            f"--reference is for autoencoders, MODEL {job.model.path} is a generator: leave it out"
        )
    sheet = "restore_sheet.png"
    if job.verb == "restore" and sheet in job.stream.names:
        raise InputError(f"{sheet} is the name of the contact sheet: rename that image")
