"""A step's process: it gets the signals that stop the report, and never outlives it."""

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
from collections.abc import Callable, Iterator
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


def run(command: list[str]) -> int:
    """Runs a command and returns its exit status; 130 where it was to be stopped meanwhile.

    The process gets INT, TERM and HUP from us alone, and time to save. A signal that comes again
    after that time is passed on again: Python loses an INT that comes while an object is removed.
    """
    received: list[int] = []
    sent: dict[int, float] = {}

    def note(number: int, _: Any) -> None:
        received.append(number)

    with (
        handling_stop_signals(note),
        subprocess.Popen(  # noqa: S603
            command, start_new_session=True, preexec_fn=_tie_to_parent()
        ) as process,
    ):
        while process.poll() is None:
            while received:
                number, now = received.pop(0), time.monotonic()
                if now - sent.get(number, -math.inf) > _SECONDS_TO_SAVE:
                    process.send_signal(number)
                    sent[number] = now
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        return 130 if sent or received else process.returncode


def _tie_to_parent() -> Callable[[], None] | None:
    """What a new process does first, so that it ends when its parent is killed; on Linux alone."""
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl  # nothing is loaded after the fork

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before that
            os.kill(os.getpid(), signal.SIGTERM)

    return tie
