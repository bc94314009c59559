"""How far a command of `apply` is."""

from __future__ import annotations

import time

import tqdm

from kerasunsup.training import run_folder


class ImageProgress:
    """How many images are done: a bar on a terminal, else a line every ten seconds.

    Args:
        total: number of images.
    """

    def __init__(self, total: int) -> None:
        self._total, self._number = total, 0
        self._start = self._last_line = time.monotonic()
        self._bar = (
            tqdm.tqdm(total=total, unit="image", leave=False) if run_folder.is_terminal() else None
        )

    def advance(self, count: int) -> None:
        """Counts so many more images as done."""
        self._number += count
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(count)
        elif now - self._last_line > 10.0:
            self._last_line = now
            rate = self._number / (now - self._start)
            print(
                f"{self._number:,} of {self._total:,} images, {rate:,.0f} a second",
                flush=True,
            )

    def __enter__(self) -> ImageProgress:
        """Returns the progress itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
