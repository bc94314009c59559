"""A step's process: it gets the signals that stop the report, and never outlives it.

Several may run at a time, each called from a thread of its own; the main thread hears the signals.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_SAVE = 5.0  # that a step has before the same signal is passed on again
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


@contextlib.contextmanager
def handling_stop_signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Calls `handler` on INT, TERM and HUP; a signal that was ignored stays ignored (`nohup`)."""
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    handled = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():
        handled = {}  # Python lets no other thread do that
    for number in handled:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in handled.items():
            signal.signal(number, old)


@contextlib.contextmanager
def noting_stop_signals() -> Iterator[list[int]]:
    """The INT, TERM and HUP that came so far: a list that grows, for every `run` to read."""
    received: list[int] = []
    with handling_stop_signals(lambda number, _: received.append(number)):
        yield received


def shares(number: int) -> list[frozenset[int]]:
    """The processors that this process may use, dealt out; empty sets where nobody can say so.

    Where there are fewer processors than shares, several have the same one.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [frozenset()] * number
    ours = sorted(os.sched_getaffinity(0))
    return [frozenset(ours[i::number] or [ours[i % len(ours)]]) for i in range(number)]


def run(
    command: list[str],
    *,
    received: Sequence[int],
    output: Path | None = None,
    processors: Collection[int] = (),
) -> int:
    """Runs a command and returns its exit status; 130 where it was to be stopped meanwhile.

    The process gets INT, TERM and HUP from us alone, and time to save. A signal that comes again
    after that time is passed on again: Python loses an INT that comes while an object is removed.

    Args:
        command: the program and its arguments.
        received: the signals that came so far, from `noting_stop_signals`.
        output: a file that what the command prints is added to; without it the command prints
            where we print.
        processors: those that the process may use; empty: those that we may use.

    Returns:
        The exit status.
    """
    sent: dict[int, float] = {}
    read = 0
    with contextlib.ExitStack() as stack:
        file = None if output is None else stack.enter_context(output.open("ab"))
        process = stack.enter_context(
            subprocess.Popen(  # noqa: S603
                command,
                stdout=file,
                stderr=None if file is None else subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_first_of_a_child(processors),
            )
        )
        while process.poll() is None:
            while read < len(received):
                number, now = received[read], time.monotonic()
                read += 1
                if now - sent.get(number, -math.inf) > _SECONDS_TO_SAVE:
                    process.send_signal(number)
                    sent[number] = now
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        return 130 if received else process.returncode


def _first_of_a_child(processors: Collection[int]) -> Callable[[], None] | None:
    """What a new process does first: it takes its processors, and ends when its parent is killed.

    On Linux alone, which has both.
    """
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl  # nothing is loaded after the fork

    def begin() -> None:
        if processors:
            os.sched_setaffinity(0, processors)
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before that
            os.kill(os.getpid(), signal.SIGTERM)

    return begin
