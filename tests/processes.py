"""Runs that tests start as processes of their own, as a user would."""

from __future__ import annotations

import contextlib
import functools
import random
import signal
import socket
import subprocess
from pathlib import Path

import numpy as np

from kerasunsup.training import files

# Below those that a system gives to outgoing connections, so none is taken before a test opens it;
# each once, in an order of this process alone, so tests side by side do not meet.
_PORTS = iter(random.SystemRandom().sample(range(10_000, 32_000), 22_000))

# Small enough for a test, and still every step of the real thing.
SMALL = ["--limit", "600", "--test-limit", "200", "--num-samples", "200"]


def finished(command: list[str], *, is_quiet: bool = False) -> str:
    """What a command printed that ended well, and, where it is to be quiet, without a complaint."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[-3000:]
    assert not (is_quiet and result.stderr), result.stderr[-3000:]
    return result.stdout


def interrupted(command: list[str], until: str) -> str:
    """Runs a command until it prints a line that begins so, then presses Ctrl-C.

    Returns:
        What it wrote on stderr: one line, after which it ended with status 130.
    """
    # A shell that starts the tests in the background lets its children ignore Ctrl-C.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(until):
                    break
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert error.count("\n") == 1, error
    return error


def free_port() -> int:
    """A port of this machine that nobody listens at, another one at each call."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("localhost", port))
            return port
    raise AssertionError("every port of the list was given")


def arrays_of(run: Path) -> dict[str, np.ndarray]:
    """The final state of a run and its snapshots, without the clock's numbers."""
    snapshots = {
        path.stem: files.read_arrays(path)["output"]
        for path in (run / "checkpoints" / "snapshots").iterdir()
    }
    return snapshots | {
        name: value
        for name, value in files.read_arrays(run / "checkpoints" / "state.npz").items()
        if name not in ("history/seconds", "history/images_per_second")
    }
