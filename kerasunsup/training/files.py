"""Whole files or none: written under a temporary name, then renamed; and locks."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.errors import InputError

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a whole file or nothing: temporary name in the same folder, then rename.

    Raises:
        OSError: if the place cannot be written or has no room; the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The whole of a long name would leave no room for what is added to it.
    prefix = f".{path.name[:40]}."
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep a shared logs folder from others
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(path: Path, values: Any) -> None:
    """Writes readable JSON, atomically; non-finite numbers become null (JSON has none)."""
    text = json.dumps(plain(values), indent=2, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays as one uncompressed .npz, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes a name for a setting
    write_bytes(path, buffer.getbuffer())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz that `write_arrays` wrote.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib, struct and NumPy each raise their own
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}): the file is damaged or "
            "missing; start a new run"
        ) from error


def part_name(name: str) -> str:
    """A temporary name for what shall be called so; `Run.reopen` removes what a kill leaves.

    The number of the process alone comes again: in containers after each start. Of a long name the
    beginning is enough: the whole would leave no room for what is added to it.
    """
    return f".{name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.part"


def plain(values: Any) -> Any:
    """Values as JSON knows them: NumPy's numbers become Python's, what is not finite null."""
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if isinstance(values, np.generic):
        values = values.item()
    if isinstance(values, float) and not np.isfinite(values):
        return None
    return values


def locked(path: Path, complaint: str) -> io.TextIOWrapper | None:
    """An open file that keeps other processes out until it is closed, or its process ends.

    None on a file system without locks, where nothing keeps a second process out.

    Raises:
        InputError: with the `complaint`, if another process holds it.
    """
    file = path.open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(complaint) from None
    except OSError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def one_at_a_time(path: Path, what: str) -> Iterator[None]:
    """Lets one process at a time make the file `path`; the others are told of `what` and wait."""
    if path.exists():
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    is_told = False
    while True:
        try:
            lock = locked(path.with_name(f".{path.stem}.lock"), f"{what} is being made")
            break
        except InputError:
            if not is_told:
                logger.info(f"another command trains {what}: waiting for it")
            is_told = True
            time.sleep(_WAIT_SECONDS)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
