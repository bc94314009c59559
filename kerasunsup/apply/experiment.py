"""One command of `apply` from its start to its end: opened, checked, done, recorded."""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kerasunsup.apply import duplicate_moves, output_folder, parts
from kerasunsup.apply.job import Job
from kerasunsup.apply.output_folder import OutputFolder
from kerasunsup.apply.result_files import ResultFiles
from kerasunsup.apply.settings import Application, shard_of
from kerasunsup.errors import InputError, Interrupted

logger = logging.getLogger(__name__)

# In the module of each verb, the function that writes its results by `job.files` and returns the
# numbers that the command ends with.
_FUNCTIONS = {
    "restore": "restore_images", "encode": "write_codes", "similar": "find_similar",
    "outliers": "find_outliers", "cluster": "cluster_images", "select": "select_images",
    "generate": "generate_images", "check": "check_images", "duplicates": "find_duplicates",
    "browse": "browse_images",
}  # fmt: skip

# Their modules also have `make_part`, which makes a part of a large collection.
_IN_PARTS = ("encode", "restore")

# Makes some parts on other machines.
Elsewhere = Callable[[Application, Sequence[int]], None]

# What the model must be able to do.
_NEEDS = {
    "restore": ("reconstruct",), "encode": ("encode",), "similar": ("encode",),
    "outliers": ("reconstruct", "encode"), "cluster": ("encode",), "select": ("encode",),
    "generate": ("decode",), "check": (), "duplicates": ("encode",),
    "browse": ("encode",),
}  # fmt: skip


def run(command: Application, elsewhere: Elsewhere | None = None) -> None:
    """Does what a command line of `apply` says, and logs the numbers.

    Args:
        command: the parsed command line.
        elsewhere: makes the parts of the work in the place of this process; None where there are
            none, or this process makes them.

    Raises:
        InputError: if the model, the images or the settings cannot be used.
        Interrupted: on Ctrl-C; the same command goes on later.
    """
    if command.config.move_to is not None or command.config.undo:
        with _stops_well():
            duplicate_moves.carry_out(command, functools.partial(_run, command, elsewhere))
    else:
        _run(command, elsewhere)


def _run(command: Application, elsewhere: Elsewhere | None) -> None:
    start = time.perf_counter()
    job = Job(command)
    if command.config.shard is not None:
        _check(job)
        _make_shard(job, command)
        return
    # The same command was checked when it began; to check it again needs the network.
    if not output_folder.holds(command.output, job.identity()):
        _check(job)
    is_in_parts = elsewhere is not None or parts.are_in(command.output)
    with contextlib.ExitStack() as stack:
        if is_in_parts and command.verb in _IN_PARTS:
            stack.enter_context(_all_parts(job, command, elsewhere))
        is_index = command.verb == "encode"
        output = stack.enter_context(
            OutputFolder(
                command.output,
                job.identity(),
                may_grow=is_index,
                tries_again=is_index and not is_in_parts,  # parts are what they are
            )
        )
        if output.is_done:
            logger.info(f"{command.output} is done already: there is nothing to do")
            return
        job.output, job.files = output, output.files
        with _stops_well():
            numbers = _function(command.verb, _FUNCTIONS[command.verb])(job)
        numbers["seconds"] = round(time.perf_counter() - start, 1)
        output.finish(**numbers)
    for name, value in numbers.items():
        logger.info(f"  {name.replace('_', ' ')}: {value}")
    logger.info(f"\neverything is in {command.output}")


def _function(verb: str, name: str) -> Callable[..., Any]:
    """A function of a verb's module, imported now: what the verbs need takes a second to load."""
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"kerasunsup.apply.{verb}"), name
    )
    return function


@contextlib.contextmanager
def _stops_well() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped; what is finished is kept, the same command goes on") from None


def _make_shard(job: Job, command: Application) -> None:
    """Makes the parts that fall to `--shard I/N`: the I-th, and every N-th after it."""
    shard, shards = shard_of(command.config.shard or "")
    with _stops_well(), _claimed(job, command, is_whole=False) as (made_of, locks):
        mine = range(shard - 1, len(made_of), shards)
        counts = _made(job, mine, locks)
    standing = sum(made_of.path(index).exists() for index in range(len(made_of)))
    logger.info(
        f"shard {shard}/{shards}: {counts['made']} of its {len(mine)} parts made, "
        f"{counts['there']} were there"
        + (f", {counts['busy']} are being made by another process" if counts["busy"] else "")
    )
    rest = (
        "" if standing < len(made_of) else ": the same command without --shard puts them together"
    )
    logger.info(f"{standing} of {len(made_of)} parts stand in {command.output}{rest}")


@contextlib.contextmanager
def _all_parts(job: Job, command: Application, elsewhere: Elsewhere | None) -> Iterator[None]:
    """Makes the parts that are missing; then they are this process's alone to put together."""
    identity = job.identity()
    if parts.is_joined(command.output, identity):
        yield
        return
    with _stops_well(), _claimed(job, command, is_whole=True) as (made_of, locks):
        missing = made_of.missing()
        if elsewhere is not None and missing:
            elsewhere(command, missing)
            missing = made_of.missing()
        counts = _made(job, missing, locks)
        with locks.of_all():
            if counts["busy"]:  # another process was making them, and has ended since
                _made(job, made_of.missing(), locks)
            parts.reopen(command.output, _record(job))
            yield


def make_parts(command: Application, indices: Sequence[int]) -> None:
    """Makes some parts of a command that another process has claimed the output folder for."""
    job, locks = _opened(command)
    _made(job, indices, locks)


@functools.lru_cache(maxsize=1)
def _opened(command: Application) -> tuple[Job, parts.Locks]:
    """What makes parts, opened once in a process that is given one part after another."""
    job = Job(command)
    job.files = ResultFiles(command.output)
    job.stream = job.open_parts(command.output).stream
    return job, parts.Locks(command.output)


@contextlib.contextmanager
def _claimed(
    job: Job, command: Application, *, is_whole: bool
) -> Iterator[tuple[parts.Parts, parts.Locks]]:
    """The parts in the output folder, once it belongs to this command."""
    with parts.claim(command.output, _record(job)) as locks:
        job.files = ResultFiles(command.output)
        made_of = job.open_parts(command.output)
        with locks.of_record():
            made_of.scale_alike(again=is_whole)
        job.stream = made_of.stream
        yield made_of, locks


def _record(job: Job) -> dict[str, Any]:
    return {"verb": job.verb, **job.identity_of_parts()}


def _made(job: Job, indices: Iterable[int], locks: parts.Locks) -> collections.Counter[str]:
    if job.parts is None:
        raise ValueError("the parts must be opened first")
    make = functools.partial(_function(job.verb, "make_part"), job)
    return job.parts.make(indices, make, locks)


def _shown_by_codes(job: Job, function: str) -> bool:
    """Whether codes that were given show, without the model, that it has a function."""
    if job.parts is None:
        return False
    return function == "encode" or parts.have_errors(job.parts)


def _check(job: Job) -> None:
    """Refuses a model that cannot do what the verb needs, before anything is written."""
    if not job.has_model:
        return
    # The SavedModel of an autoencoder may generate too, and takes references.
    is_generator = job.verb == "generate" and not job.model.offers("decode")
    is_generator = is_generator and job.model.offers("generate")
    for function in ("generate",) if is_generator else _NEEDS[job.verb]:
        if _shown_by_codes(job, function):
            continue
        if job.verb == "outliers" and not job.model.offers("reconstruct"):
            function = "encode"  # its vectors alone must do
        job.model.function(function)
    if is_generator and job.reference is not None:
        raise InputError(
            f"--reference is for autoencoders, MODEL {job.model.path} is a generator: leave it out"
        )
    sheet = "restore_sheet.png"
    if job.verb == "restore" and sheet in job.stream.names:
        raise InputError(f"{sheet} is the name of the contact sheet: rename that image")
