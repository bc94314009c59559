"""How far a training is: a line an epoch and what is left of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tqdm


class Progress(keras.callbacks.Callback):
    """A bar that says epoch, losses and time left; one line an epoch where there is no terminal.

    Args:
        epochs: the most that will be trained.
        steps: of one epoch.
        first_epoch: number of epochs that are already done.
        is_terminal: whether a bar can be drawn.
        shown: the numbers of an epoch that are shown -> what they are called.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        first_epoch: int,
        is_terminal: bool,
        shown: Mapping[str, str] = {"loss": "loss", "val_loss": "validation"},
    ) -> None:
        super().__init__()
        self._epochs, self._steps = epochs, steps
        self._first_epoch, self._is_terminal = first_epoch, is_terminal
        self._shown = shown
        self._bar: tqdm.tqdm | None = None
        self._began = 0.0
        self._last: dict[str, float] = {}
        # Keras calls a batch hook only where one is defined: without a bar none is paid for.
        if is_terminal:
            self.on_train_batch_end = self._advance

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the clock, and the bar."""
        self._began = time.perf_counter()
        if self._is_terminal:
            self._bar = tqdm.tqdm(
                total=self._epochs * self._steps,
                initial=self._first_epoch * self._steps,
                bar_format="{desc} {bar} {percentage:3.0f}% {elapsed} (at most {remaining} left)"
                "{postfix}",
                dynamic_ncols=True,
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Names the epoch."""
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {epoch + 1}/{self._epochs}")

    def _advance(self, batch: int, logs: dict | None = None) -> None:
        """Moves the bar; `batch` counts from 0 within the epoch."""
        if self._bar is not None:
            epochs_done = self._bar.n // self._steps
            step = min(batch + 1, self._steps - 1)
            self._bar.n = max(self._bar.n, epochs_done * self._steps + step)
            self._bar.set_postfix_str(self._text({**self._last, **(logs or {})}))

    def _text(self, logs: Mapping[str, float]) -> str:
        named = {called: logs[name] for name, called in self._shown.items() if name in logs}
        return ", ".join(f"{called} {value:.5f}" for called, value in named.items())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Shows the epoch's numbers."""
        logs = logs or {}
        self._last = dict(logs)
        done = epoch + 1
        if self._bar is not None:
            self._bar.n = done * self._steps
            self._bar.set_postfix_str(self._text(logs))
            return
        elapsed = time.perf_counter() - self._began
        left = elapsed / (done - self._first_epoch) * (self._epochs - done)
        print(
            f"epoch {done}/{self._epochs}: {self._text(logs)}, "
            f"{logs.get('images_per_second', np.nan):,.0f} images/s, at most {clock(left)} left",
            flush=True,
        )

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def clock(seconds: float) -> str:
    """Minutes and seconds: 75.2 -> `1:15`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Tally:
    """How far many trainings of unequal length are: a bar, or a line each without a terminal.

    Args:
        work: of each training that is still to come, in any one unit.
        is_terminal: whether a bar can be drawn.
    """

    def __init__(self, work: Sequence[float], is_terminal: bool) -> None:
        self._work, self._done = list(work), 0
        self._began = time.perf_counter()
        self._bar = (
            tqdm.tqdm(
                total=len(self._work),
                bar_format="{desc} {bar} {n_fmt}/{total_fmt} {elapsed}{postfix}",
                dynamic_ncols=True,
            )
            if is_terminal and self._work
            else None
        )

    def begin(self, name: str) -> None:
        """Names the training that begins."""
        if self._bar is not None:
            self._bar.set_description_str(name)

    def end(self, text: str) -> None:
        """Counts one as done and shows how it went, and the time left by the work so far."""
        self._done += 1
        elapsed = time.perf_counter() - self._began
        done = sum(self._work[: self._done])
        left = clock(elapsed / done * sum(self._work[self._done :])) if done else "?"
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(f"{text}, about {left} left")
        else:
            print(f"{self._done}/{len(self._work)} {text}, about {left} left", flush=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
