"""How far a long work is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import sys
import time

import tqdm

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """A bar of tqdm on a terminal; without one, lines for the log. Neither where the log is off.

    Args:
        total: the whole work, in any one unit.
        unit: what one of it is called. Where it has a name and there is no bar, a line comes every
            ten seconds; without a name the only lines are those of `say`.
        done: of the work, before it begins.
        has_bar: whether a bar is drawn; None asks `is_watched`.
        stays: whether the bar stays on the terminal when all is done.
    """

    def __init__(
        self,
        total: float,
        unit: str = "",
        *,
        done: float = 0,
        has_bar: bool | None = None,
        stays: bool = False,
    ) -> None:
        self._total, self._unit = total, unit
        self._first = self._done = done
        self._began = self._told = time.perf_counter()
        self._bar: tqdm.tqdm | None = None
        is_shown = logger.isEnabledFor(logging.INFO)  # as a library the package is silent
        if is_shown and total > 0 and (is_watched() if has_bar is None else has_bar):
            counts = "" if not unit else " {n_fmt}/{total_fmt} {rate_fmt}"
            self._bar = tqdm.tqdm(
                total=total,
                initial=done,
                unit=unit,
                leave=stays,
                smoothing=0,  # time left by the mean of all, as validation comes in gusts
                dynamic_ncols=not is_notebook(),
                ncols=100 if is_notebook() else None,
                # A notebook paints what is written to standard error red.
                file=sys.stdout if is_notebook() else sys.stderr,
                bar_format="{desc} {bar} {percentage:3.0f}%"
                + counts
                + " {elapsed} (at most {remaining} left){postfix}",
            )

    @property
    def has_bar(self) -> bool:
        """Whether a bar is drawn."""
        return self._bar is not None

    @property
    def left(self) -> str:
        """The time left, by the speed so far; `?` where nothing was done yet."""
        if self._done <= self._first:
            return "?"
        speed = (self._done - self._first) / (time.perf_counter() - self._began)
        return clock((self._total - self._done) / speed) if speed else "?"

    def name(self, text: str) -> None:
        """Names before the bar what is at work."""
        if self._bar is not None:
            self._bar.set_description_str(text)

    def advance(self, amount: float = 1) -> None:
        """So much more of the work is done."""
        self.advance_to(self._done + amount)

    def advance_to(self, done: float) -> None:
        """So much of the work is done in all; less than before changes nothing."""
        amount, self._done = max(0, done - self._done), max(done, self._done)
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.update(amount)
        elif self._unit and now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            speed = (self._done - self._first) / (now - self._began)
            shown = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
            self.say(f"{self._done:,} of {self._total:,} {self._unit}s, {shown} a second")

    def say(self, text: str) -> None:
        """Says how it goes: behind the bar, or as a line of the log where there is none."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        else:
            logger.info(text)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def clock(seconds: float) -> str:
    """Minutes and seconds: 75.2 -> `1:15`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def is_terminal() -> bool:
    """Whether standard output is a terminal, so that a bar is watched and not written to a file."""
    return sys.stdout.isatty()


def is_notebook() -> bool:
    """Whether standard output is a notebook's, which draws a bar as a terminal does."""
    return type(sys.stdout).__module__.startswith("ipykernel")


def is_watched() -> bool:
    """Whether a bar can be drawn on standard output."""
    return is_terminal() or is_notebook()
