"""What a search leaves behind: what it was, every trial, the best of each code size."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasunsup.errors import InputError
from kerasunsup.settings import flag
from kerasunsup.training import files

FORMAT = 1  # of the files; another one is refused
MOST = 1e300  # no number in a record is larger

_FLAGS = {
    "max_epochs": "--max-epochs", "folds": "--folds", "data": "--data (its images)",
    "trial_seeds": "seeds of trials",
}  # fmt: skip


_SEEDS_BEFORE = "by number, as an earlier version gave them"


class SearchFolder:
    """The folder of one search, `<tuning>/<experiment>/<kind>`.

    Holds `fingerprint.json`, `oracle.json`, `trial_<id>/result.json`, `states/<id>.npz` while
    they can still be promoted, and at the end `record.json` and `best*.json`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: io.TextIOWrapper | None = None

    def lock(self) -> None:
        """Keeps a second search out until `close` or the end of the process.

        Raises:
            InputError: if another process is at work here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # Beside the folder: starting anew removes what is in it.
        self._lock = files.locked(
            self.path.with_name(f".{self.path.name}.lock"),
            f"{self.path} is in use by another search: wait for it, stop it, or choose another "
            "--tuning DIR",
        )

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def claim(self, fingerprint: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Checks that what lies here belongs to the same search, or writes what this one is.

        Args:
            fingerprint: everything that the result depends on, as plain JSON.
            overwrite: remove what lies here.

        Returns:
            Whether a search lies here that can go on.

        Raises:
            InputError: if the search that lies here is another one.
        """
        path = self.path / "fingerprint.json"
        if overwrite and self.path.exists():
            shutil.rmtree(self.path)
        plain = stamped(fingerprint)
        if path.exists():
            stored = files.read_json(path)
            if (self.path / "record.json").exists():  # it is over: no trial gets a seed any more
                plain["trial_seeds"] = stored.setdefault("trial_seeds", _SEEDS_BEFORE)
            refuse_another(self.path, stored, plain)
            return True
        if any(self.path.glob("trial_*")) or (self.path / "oracle.json").exists():
            raise InputError(
                f"{self.path} holds a search of unknown settings: choose another --tuning DIR, or "
                "add --overwrite to remove it"
            )
        files.write_json(path, plain)
        return False

    def fingerprint(self) -> dict[str, Any]:
        """Returns the fingerprint of the search that lies here, perhaps of an earlier version."""
        stored = files.read_json(self.path / "fingerprint.json")
        return {key: value for key, value in stored.items() if key != "format"}

    def state(self, trial_id: str) -> Path:
        """Returns the file for the model and optimizer of a trial that may be promoted."""
        return self.path / "states" / f"{trial_id}.npz"

    def prune(self, needed: set[str]) -> None:
        """Removes the states of all other trials."""
        for path in self.path.glob("states/*.npz"):
            if path.stem not in needed:
                path.unlink(missing_ok=True)

    def state_bytes(self) -> int:
        """Returns the bytes that the states take on the disk now."""
        return sum(path.stat().st_size for path in self.path.glob("states/*.npz"))

    def write_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Writes the result of one trial."""
        files.write_json(self.path / f"trial_{trial_id}" / "result.json", result)

    def result(self, trial_id: str) -> dict[str, Any]:
        """Returns what `write_result` wrote, or an empty dict without it."""
        path = self.path / f"trial_{trial_id}" / "result.json"
        return files.read_json(path) if path.exists() else {}

    def results(self, trial_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Returns the results of several trials in this order, without those that have none."""
        return [result for result in map(self.result, trial_ids) if result]


def stamped(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a fingerprint as it is read back from a file, with the number of the format."""
    return json.loads(json.dumps({"format": FORMAT, **fingerprint}))


def refuse_another(place: Path, stored: Mapping[str, Any], received: Mapping[str, Any]) -> None:
    """Raises `InputError` with the first difference of two fingerprints."""
    for key in [*received, *(key for key in stored if key not in received)]:
        before: Any = stored.get(key, _SEEDS_BEFORE if key == "trial_seeds" else None)
        now: Any = received.get(key)
        if before == now:
            continue
        if key == "settings":
            # A setting that a search does not use is in no fingerprint of it.
            key, before, now = next(
                (flag(name), before.get(name, "not used"), now.get(name, "not used"))
                for name in [*now, *(name for name in before if name not in now)]
                if before.get(name) != now.get(name)
            )
        name = _FLAGS.get(key, key)
        if key == "space":
            before, now = _short(before), _short(now)
        raise InputError(
            f"the search in {place} has {name} {before}, received {now}: give the same to go on, "
            "choose another --tuning DIR, or add --overwrite to start anew"
        )


def _short(space: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{hp['name']} {hp.get('values') or [hp.get('min_value'), hp.get('max_value')]}"
        for hp in space
    )


def is_number(value: Any) -> bool:
    """Returns whether a value from a file is a finite number; `NaN`, `true` and texts are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST


def check(path: Path, record: Any) -> None:
    """Raises `InputError` for a record that tables and figures cannot be made of."""

    def expect(values: Mapping[str, Any], *names: str, above: float = -1.0) -> None:
        for name in names:
            if not is_number(values[name]) or not values[name] > above:
                raise ValueError(f"{name} is {values[name]!r:.40}")

    try:
        expect(record, "seconds", "epochs")
        expect(record["reference"], *dict.keys(record["reference"]), above=0.0)
        if not all(map(float, record["reference"])) or not isinstance(record["environment"], dict):
            raise ValueError("its code sizes or its environment are of a wrong type")
        expect(record["fingerprint"], "max_epochs")
        dict.keys(record["fingerprint"]["settings"])
        for result in record["trials"]:
            expect(result, "trained_epochs", "clock", "last_epoch")
            expect(result["settings"], "latent_dim", above=0.0)
            if result["score"] is not None:
                expect(result, "score", "validation_mse", above=0.0)
            if "standard_error" in result:
                expect(result, "standard_error")
        _check_importance(record.get("importance"))
    except KeyError as error:
        raise InputError(f"{path} is damaged ({error} is missing): remove it") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it") from error


def _check_importance(found: Any) -> None:
    """Raises an error for an importance of settings that no figure can be made of."""
    if found is None:  # too few trials, or of an earlier version
        return
    for part in (found["error"], found["score"]):
        listed = [found["epochs"], part["explained"], part["together"]]
        for name in part["settings"]:
            mean, low, high = part["settings"][name]
            listed += [mean, low, high, found["error"]["settings"][name][0]]
        if not all(map(is_number, listed)):
            raise ValueError("its importance of settings holds what is no number")


def finished(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the trials that ended with a score, best score first."""
    return sorted(
        (dict(result) for result in results if result.get("score") is not None),
        key=lambda result: result["score"],
    )


def best_of_each(results: Sequence[Mapping[str, Any]], by: str) -> dict[Any, dict[str, Any]]:
    """Returns each value of one setting -> its trial with the lowest validation error."""
    best: dict[Any, dict[str, Any]] = {}
    for result in sorted(finished(results), key=lambda result: result["validation_mse"]):
        best.setdefault(result["settings"][by], result)
    return dict(sorted(best.items()))


def best_so_far(
    results: Sequence[Mapping[str, Any]], **settings: Any
) -> tuple[list[float], list[float], list[float]]:
    """Returns (epochs, seconds, lowest validation MSE) after each trial that ended, in order.

    Args:
        results: the results of trials in the order in which they ended.
        settings: only trials with these settings count for the error; all count for the cost.
    """
    epochs, seconds, errors = [], [], []
    spent, best = 0.0, float("inf")
    for result in results:
        spent += result["trained_epochs"]
        fits = all(result["settings"][name] == value for name, value in settings.items())
        if result.get("score") is not None and fits:
            best = min(best, result["validation_mse"])
        if best < float("inf"):
            epochs.append(spent)
            seconds.append(result["clock"])
            errors.append(best)
    return epochs, seconds, errors
