"""Work on many files by all processors, in order and in bounded memory."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

Claim = Callable[[int], None]  # gets the bytes that unpacking takes, before it begins; may wait
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# Bytes that pictures may take from before they are unpacked until they are handed on. One that
# needs more is unpacked when it is the next one and no other is at work.
DECODING_LIMIT = 512 << 20


_TURN = 16  # items that a thread works on at a time


def num_processors() -> int:
    """The processors that this process may use; all of the machine where the system cannot say."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


class _Memory:
    """Lets threads unpack pictures as long as all that are made or wait to be used are small.

    Args:
        limit: in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = self._at_work = self._next = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def made(self, position: int, function: Callable[[Claim], Any]) -> Any:
        """What the function makes; it claims its memory before it needs it.

        Args:
            position: of what it makes in the order of use.
            function: called once; what it makes is taken to be held until `used`.
        """
        claimed = 0

        def claim(size: int) -> None:
            nonlocal claimed
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._is_closed
                        or self._used + size <= self._limit
                        or (position == self._next and not self._at_work)
                    )
                )
                if self._is_closed:
                    raise ValueError("nobody waits for it any more")
                self._used += size
                self._at_work += 1
                claimed = size

        outcome: Any = None
        try:
            outcome = function(claim)
        finally:
            with self._changed:
                self._used += _size(outcome) - claimed
                self._at_work -= claimed > 0
                self._changed.notify_all()
        return outcome

    def used(self, outcome: Any) -> None:
        """The next one in order is not needed any more."""
        with self._changed:
            self._used -= _size(outcome)
            self._next += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Lets nothing more be unpacked."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def _size(outcome: Any) -> int:
    return outcome.nbytes if isinstance(outcome, np.ndarray) else 0


def in_order(
    function: Callable[[Item, Claim], Outcome],
    items: Sequence[Item],
) -> Generator[Outcome, None, None]:
    """What the function makes of every item, in order, a little ahead and in bounded memory.

    Args:
        function: (item, claim) -> outcome; called by several threads at once. It calls `claim`
            with the bytes that it will need, once or never, before it needs them.
        items: in order of use.
    """
    num_threads = min(8, num_processors())
    memory = _Memory(DECODING_LIMIT)
    waiting: collections.deque[tuple[int, queue.SimpleQueue]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(num_threads)

    def work(start: int, chunk: Sequence[Item], results: queue.SimpleQueue) -> None:
        try:
            for position, item in enumerate(chunk, start):
                results.put(memory.made(position, functools.partial(function, item)))
        except BaseException as error:  # it belongs to the thread that waits
            results.put(error)

    def finished() -> Iterator[Outcome]:
        number, results = waiting.popleft()
        for _ in range(number):
            outcome = results.get()
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
            memory.used(outcome)

    try:
        for start in range(0, len(items), _TURN):
            chunk = items[start : start + _TURN]
            waiting.append((len(chunk), queue.SimpleQueue()))
            pool.submit(work, start, chunk, waiting[-1][1])
            if len(waiting) > 4 * num_threads:
                yield from finished()
        while waiting:
            yield from finished()
    finally:
        memory.close()
        pool.shutdown(cancel_futures=True)
