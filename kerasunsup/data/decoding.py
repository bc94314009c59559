"""Work on many files on all processors, with results in order and memory bounded."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

Claim = Callable[[int], None]  # gets the bytes that unpacking takes, before it begins; may wait
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# Bytes that all pictures together may take, from before they are unpacked until they were used.
# One that needs more than all of it waits until it is the next one and no other is being unpacked.
DECODING_LIMIT = 512 << 20

_ITEMS_A_TASK = 16  # items that a thread works on at a time
_SECONDS_HELD = 0.005  # that finished ones may wait for the next ones of the same task


def num_processors() -> int:
    """The number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS cannot say, so all processors of the machine are counted
        return os.cpu_count() or 1


class _MemoryLimit:
    """Makes threads wait while the pictures being unpacked or waiting for use take too much memory.

    All together they may take `DECODING_LIMIT` bytes.
    """

    def __init__(self) -> None:
        self._used = self._at_work = self._next = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def outcome_of(
        self, position: int, function: Callable[[Claim], Any], before_waiting: Callable[[], None]
    ) -> Any:
        """Returns what the function makes, and counts it as held until `used` is called with it.

        Args:
            position: when the outcome will be used, counted from 0.
            function: is given `claim`, as the function of `in_order` is.
            before_waiting: called if a claim has to wait, with the outcomes before it still held
                back by the caller: nobody would use them, and so free their memory.
        """
        claimed = 0

        def claim(size: int) -> None:
            nonlocal claimed
            with self._changed:

                def may_begin() -> bool:
                    return (
                        self._is_closed
                        or self._used + size <= DECODING_LIMIT
                        or (position == self._next and not self._at_work)
                    )

                if not may_begin():
                    before_waiting()
                    self._changed.wait_for(may_begin)
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
                self._used += getattr(outcome, "nbytes", 0) - claimed
                self._at_work -= claimed > 0
                self._changed.notify_all()
        return outcome

    def used(self, outcome: Any) -> None:
        """Counts the next outcome in order as used, so that its memory is free."""
        with self._changed:
            self._used -= getattr(outcome, "nbytes", 0)
            self._next += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Makes all claims fail from now on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def in_order(
    function: Callable[[Item, Claim], Outcome],
    items: Sequence[Item],
) -> Generator[Outcome, None, None]:
    """Yields what the function makes of every item, in order, made a little ahead by threads.

    Args:
        function: (item, claim) -> outcome; called by several threads at once. It calls `claim`
            with the bytes that it will need, once or never, before it needs them.
        items: the items, in order of use.
    """
    num_threads = min(8, num_processors())
    memory = _MemoryLimit()
    waiting: collections.deque[tuple[int, queue.SimpleQueue]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(num_threads)

    def work(start: int, chunk: Sequence[Item], results: queue.SimpleQueue) -> None:
        # Several at once: waking the other thread for each takes a third of a small picture's time.
        held: list[Any] = []
        until = time.monotonic() + _SECONDS_HELD

        def hand_over() -> None:
            results.put(held.copy())
            held.clear()

        try:
            for position, item in enumerate(chunk, start):
                work_on = functools.partial(function, item)
                held.append(memory.outcome_of(position, work_on, hand_over))
                if time.monotonic() > until:
                    hand_over()
                    until = time.monotonic() + _SECONDS_HELD
        except BaseException as error:  # raised again in the thread that waits for it
            held.append(error)
        hand_over()

    def finished() -> Iterator[Outcome]:
        number, results = waiting.popleft()
        while number:
            for outcome in results.get():
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
                memory.used(outcome)
                number -= 1

    try:
        for start in range(0, len(items), _ITEMS_A_TASK):
            chunk = items[start : start + _ITEMS_A_TASK]
            waiting.append((len(chunk), queue.SimpleQueue()))
            pool.submit(work, start, chunk, waiting[-1][1])
            if len(waiting) > 4 * num_threads:
                yield from finished()
        while waiting:
            yield from finished()
    finally:
        memory.close()
        pool.shutdown(cancel_futures=True)
