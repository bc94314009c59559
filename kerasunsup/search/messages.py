"""The texts that a search prints while it runs and when it ends."""

from __future__ import annotations

from typing import Any

from kerasunsup import progress
from kerasunsup.search import oracles, record
from kerasunsup.search.session import Search


class Messages:
    """The texts that a search prints: its budget, a line for each trial, a table at the end.

    `seconds_per_epoch` is what one epoch takes, as measured before the first trial.
    """

    def __init__(self, search: Search, seconds_per_epoch: float) -> None:
        self._search = search
        self._seconds_per_epoch = seconds_per_epoch
        self.workers = 1

    def budget(self) -> str:
        """Returns brackets, trials, the total of epochs and about how long they take."""
        search = self._search
        lines = [f"{search.kind} search in {search.folder.path}, epochs of a trial:"]
        planned = search.oracle.planned_rungs()
        for bracket in sorted({rung.bracket for rung in planned}, reverse=True):
            rungs = [rung for rung in planned if rung.bracket == bracket]
            if bracket == oracles.COMPLETION:
                lines.append(
                    f"  then the best of each {search.problem.group_by} that stopped before epoch "
                    f"{search.max_epochs}, from the beginning"
                )
                continue
            steps = ", then the best ".join(
                f"{rung.trials} trials to epoch {rung.last_epoch}" for rung in rungs
            )
            lines.append(f"  bracket {bracket}: {steps}")
        if search.num_folds > 1:
            lines.append(f"  each {search.num_folds} times, on other parts of the training images")
        total = sum(rung.epochs for rung in planned)
        done = search.ended_results()
        at_most = "at most " if planned[-1].bracket == oracles.COMPLETION else ""
        lines.append(
            f"  {at_most}{sum(rung.trials for rung in planned)} trials, {total} epochs in all, "
            f"about {progress.clock(total * self._seconds_per_epoch)} "
            f"({self._seconds_per_epoch:.2g} s an epoch)"
        )
        if done:
            lines.append(f"  going on: {len(done)} trials are done already")
        return "\n".join(lines)

    def trial_line(self, trial_id: str) -> str:
        """Returns one trial's settings and score, the best score so far and the time left."""
        search = self._search
        results = search.ended_results()
        result = search.folder.result(trial_id)
        planned = sum(rung.trials for rung in search.oracle.planned_rungs())
        count = f"{len(search.oracle.end_order)}/{planned}"
        shown = ", ".join(f"{name} {_short(v)}" for name, v in result["settings"].items())
        text = f"trial {count}: {shown}, epochs {result['first_epoch']}-{result['last_epoch']}: "
        if result["score"] is None:
            return text + f"FAILED: {result['error']}"
        best = record.finished(results)[0]
        text += f"{search.problem.objective} {result['validation_mse']:.5f}"
        if "standard_error" in result:
            text += f" +- {result['standard_error']:.5f}"
        text += f", score {result['score']:.4f}, best {best['score']:.4f} (trial {best['trial']})"
        return text + f", about {progress.clock(self.seconds_left(results))} left"

    def seconds_left(self, results: list[dict[str, Any]]) -> float:
        """Returns the seconds still to go, by what an epoch of the ended trials took."""
        trained = sum(result["trained_epochs"] for result in results)
        spent = sum(result["seconds"] for result in results)
        per_epoch = spent / trained if trained else self._seconds_per_epoch
        ended = sum(
            (result["last_epoch"] - result["first_epoch"]) * self._search.num_folds
            for result in results
        )
        left = sum(rung.epochs for rung in self._search.oracle.planned_rungs()) - ended
        return max(0, left) * per_epoch / max(1, self.workers)

    def table(self, results: list[dict[str, Any]]) -> str:
        """Returns a table of the best trial at each code size."""
        search = self._search
        others = [name for name in search.names if name != search.problem.group_by]
        error = f"validation {search.problem.objective}"
        header = [search.problem.group_by, error, "score", *others, "epochs", "trial"]
        rows = [
            [
                str(value),
                f"{best['validation_mse']:.5f}",
                f"{best['score']:.4f}",
                *(_short(best["settings"][name]) for name in others),
                str(best["last_epoch"]),
                best["trial"],
            ]
            for value, best in record.best_of_each(results, search.problem.group_by).items()
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        return "\n".join(
            "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in [header, *rows]
        )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
