"""`apply duplicates --move-to` and `--undo`: what is not kept is moved away, and moved back."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kerasunsup.apply import moving
from kerasunsup.apply.duplicate_plan import Plan, date
from kerasunsup.apply.settings import Application
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.progress import Progress
from kerasunsup.settings import path_of
from kerasunsup.training import files

logger = logging.getLogger(__name__)

_PLACES = "moves.json"  # between which folders files are moved
_LOCK = ".moves.lock"


def carry_out(command: Application, plan: Callable[[], None]) -> None:
    """Moves what the plan does not keep, or moves it back.

    Moves that were begun are ended after the plan that stands in the output folder, whatever is
    in IMAGES by now.

    Args:
        command: with `--move-to` or `--undo`.
        plan: makes the plan, unless it is there.

    Raises:
        InputError: if the images are no files, or the folders are of no use.
        OSError: if a file cannot be moved; all others are where they were, or where they go.
    """
    if command.config.undo:
        if not moving.Moves(command.output).are_begun:
            raise InputError(f"--undo: nothing stands moved by the command of {command.output}")
    else:
        places = _places(command)
        if not moving.Moves(command.output).are_begun:
            plan()
    complaint = f"--output {command.output} is in use by another process: wait for it"
    lock = files.locked(command.output / _LOCK, complaint)
    try:
        if command.config.undo:
            _undo(command.output)
        else:
            _move(command.output, places)
        (command.output / _LOCK).unlink(missing_ok=True)
    except InputError:
        (command.output / _LOCK).unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            lock.close()


def _places(command: Application) -> dict[str, str]:
    """The folder of the images and the one that they are moved to, absolute."""
    root = os.path.abspath(os.path.expanduser(command.images or ""))
    if os.path.isfile(root) and os.path.splitext(root)[1].lower() in images.SUFFIXES:
        root = os.path.dirname(root)
    if not os.path.isdir(root):
        raise InputError(f"--move-to moves image files, {command.images} is no folder of them")
    to = os.path.abspath(path_of("--move-to", command.config.move_to or "", is_written=False))
    inside = os.path.join(os.path.realpath(root), "")
    if os.path.join(os.path.realpath(to), "").startswith(inside):
        raise InputError(f"--move-to {to} lies in {command.images}: choose a folder beside it")
    if os.path.lexists(to) and not os.path.isdir(to):
        raise InputError(f"--move-to {to} is no folder: choose another")
    return {"images": root, "move_to": to}


def _move(output: Path, places: dict[str, str]) -> None:
    moves = moving.Moves(output)
    groups = list(_groups(output / "duplicates.csv"))
    if moves.are_begun:
        if not (output / _PLACES).is_file():
            raise InputError(
                f"--output {output}: {_PLACES} is gone, which says between which folders files are "
                "moved: --undo first"
            )
        begun = files.read_json(output / _PLACES)
        if begun != places:
            raise InputError(
                f"--output {output} holds moves from {begun['images']} to {begun['move_to']}: "
                "give the same folders, or --undo first"
            )
    else:
        files.write_json(output / _PLACES, places)
        moves.begin()
    counts = {"moved": 0, "left": 0}
    with Progress(sum(len(group) for group in groups), "image") as progress:
        for kept, *others in groups:
            progress.advance()
            # What is no file has no size: the kept one may be in an array of --against.
            is_no_file = not (kept["bytes"] or kept["modified"])
            is_kept_there = is_no_file or _is_unchanged(kept, places["images"])
            for row in others:
                progress.advance()
                source = os.path.join(places["images"], row["file"])
                is_due = is_kept_there and _is_unchanged(row, places["images"])
                is_due = is_due and row["keep"] != "1"  # a person may have marked more
                if is_due and moves.move(source, os.path.join(places["move_to"], row["file"])):
                    counts["moved"] += 1
                elif not moves.is_moved(source):
                    counts["left"] += 1
    logger.info(f"  moved to {places['move_to']}: {counts['moved']}; --undo moves them back")
    if counts["left"]:
        logger.warning(
            f"{counts['left']} images stay: they, or the image that is kept of their group, have "
            "changed since the plan was made"
        )


def _undo(output: Path) -> None:
    back, staying = moving.Moves(output).undo()
    logger.info(f"  moved back: {back}")
    if staying:
        raise InputError(
            f"--undo: {len(staying)} files stay, as their old names are taken, such as "
            f"{images.shown(staying[0])}: free the names, then give --undo again"
        )
    (output / _PLACES).unlink(missing_ok=True)


def _groups(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of each group, the one that is kept first.

    Raises:
        InputError: if it is no table of them: people open tables in programs that change them.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
    except (FileNotFoundError, csv.Error):
        reader, rows = None, []
    is_whole = all(None not in row and None not in row.values() for row in rows)
    if reader is None or tuple(reader.fieldnames or ()) != Plan.HEADER or not is_whole:
        raise InputError(
            f"{path} is no plan of duplicates any more: choose another --output, and it is made "
            "anew"
        )
    for _, group in itertools.groupby(rows, key=lambda row: row["group"]):
        yield list(group)


def _is_unchanged(row: dict[str, Any], root: str) -> bool:
    """Whether a file is still the one that the plan saw."""
    try:
        state = os.stat(os.path.join(root, row["file"]))
    except OSError:
        return False
    return (row["bytes"], row["modified"]) == (str(state.st_size), date(state.st_mtime_ns))
