"""Folders of image files: decoded once, by all processors, into one store of pixels."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from kerasunsup import config, images, stores

_CHUNK = 64  # files that a thread decodes at a time


def read(folder: Path, image_size: int | None, memory_limit: int) -> stores.Source:
    """The images of a folder: flat, or one sub-folder a class; hidden files are left out.

    Args:
        folder: that exists.
        image_size: resize to this height and width; None keeps the files' own.
        memory_limit: bytes of pixels above which they are kept on disk.

    Returns:
        The images in the order of their sorted names; colour where any of them is.

    Raises:
        config.InputError: if there are no images, they differ in size, or more than 1 % (and more
            than one) of them cannot be read.
        stores.SideError: if the images are too small or too large.
        OSError: if the disk is full.
    """
    files, classes = _image_files(folder)
    writer = stores.Writer(len(files), memory_limit)
    kept: list[int] = []
    unreadable: list[str] = []
    first: tuple[str, tuple[int, int]] | None = None
    decode = functools.partial(_decode_files, folder, image_size)
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    with contextlib.closing(in_parallel(decode, chunks)) as decoded:
        for index, outcome in enumerate(_with_progress(decoded, len(files))):
            if isinstance(outcome, str):
                unreadable.append(f"{files[index]} ({outcome})")
                continue
            if first is None:
                first = files[index], outcome.shape[:2]
            elif outcome.shape[:2] != first[1]:
                (height, width), (other_height, other_width) = first[1], outcome.shape[:2]
                raise config.InputError(
                    f"--data {folder}: the images differ in size, {first[0]} is {height} x {width}"
                    f" and {files[index]} is {other_height} x {other_width} (height x width): use "
                    "--image-size N to resize all"
                )
            writer.append(outcome[np.newaxis])
            kept.append(index)
    _judge_unreadable(folder, unreadable, len(files))
    labels, class_names = None, None
    if classes is not None:
        names = sorted(set(classes))
        positions = {name: position for position, name in enumerate(names)}
        labels = np.array([positions[classes[index]] for index in kept], np.int64)
        class_names = tuple(names)
    return stores.Source(
        name=folder.resolve().name,
        store=writer.finish(),
        labels=labels,
        class_names=class_names,
        files=[files[index] for index in kept],
    )


def _image_files(folder: Path) -> tuple[list[str], list[str] | None]:
    """Relative names of the images, sorted, and the class of each (None in a flat folder)."""
    flat: list[str] = []
    classes: dict[str, list[str]] = {}
    num_other = 0
    try:
        for directory, subfolders, names in os.walk(folder, onerror=_raise):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            relative = Path(directory).relative_to(folder)
            for name in names:
                if name.startswith("."):
                    continue
                if os.path.splitext(name)[1].lower() not in images.SUFFIXES:
                    num_other += 1
                elif relative.parts:
                    group = classes.setdefault(relative.parts[0], [])
                    group.append((relative / name).as_posix())
                else:
                    flat.append(name)
    except OSError as error:
        raise config.InputError(
            f"--data {error.filename or folder} cannot be read: {error.strerror}"
        ) from error
    if not flat and not classes:
        if num_other:
            raise config.InputError(
                f"--data {folder}: none of its {num_other} files is an image: give a folder of "
                "PNG, JPEG, BMP or GIF images, or of IDX files"
            )
        raise config.InputError(
            f"--data {folder} is an empty folder: put PNG, JPEG, BMP or GIF images into it"
        )
    if flat and classes:
        raise config.InputError(
            f"--data {folder} holds images ({min(flat)}) beside sub-folders of images "
            f"({min(classes)}): put all into one folder, or all into one sub-folder a class"
        )
    if flat:
        return sorted(flat), None
    pairs = sorted((name, group) for group in classes for name in classes[group])
    # A single sub-folder separates nothing.
    return [name for name, _ in pairs], [group for _, group in pairs] if len(classes) > 1 else None


def _raise(error: OSError) -> None:
    raise error


def _decode_files(
    folder: Path, image_size: int | None, files: Sequence[str]
) -> list[np.ndarray | str]:
    """Each file's pixels, or the reason why it has none."""
    outcomes: list[np.ndarray | str] = []
    for name in files:
        try:
            pixels = images.decode(folder / name)
        except ValueError as error:
            outcomes.append(" ".join(str(error).split())[:80])
            continue
        if image_size is not None:
            pixels = images.resize(pixels, image_size, image_size)
        outcomes.append(pixels)
    return outcomes


Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def in_parallel(
    function: Callable[[Item], list[Outcome]], items: Iterable[Item]
) -> Generator[Outcome, None, None]:
    """What the function makes of every item, in order, a few items ahead and no more.

    Args:
        function: item -> a list; called by several threads at once.
        items: taken as they are needed.
    """
    num_threads = min(8, len(os.sched_getaffinity(0)))
    waiting: collections.deque[concurrent.futures.Future[list[Outcome]]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * num_threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _with_progress(outcomes: Iterable[Outcome], total: int) -> Iterable[Outcome]:
    """The same, with a progress bar where there is a terminal and much to do."""
    if total < 2000 or not sys.stderr.isatty():
        return outcomes
    import tqdm

    return tqdm.tqdm(outcomes, total=total, unit="image", desc="reading", leave=False)


def _judge_unreadable(folder: Path, unreadable: Sequence[str], total: int) -> None:
    """Says which files are skipped; refuses the folder where they are all or more than 1 %."""
    if not unreadable:
        return
    more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
    named = ", ".join(unreadable[:3]) + more
    if len(unreadable) == total or len(unreadable) > max(1.0, 0.01 * total):
        raise config.InputError(
            f"--data {folder}: {len(unreadable)} of {total} images cannot be read, more than 1 %: "
            f"{named}; repair or remove them"
        )
    print(
        f"kerasunsup: skipped {len(unreadable)} of {total} images that cannot be read: {named}",
        file=sys.stderr,
    )
