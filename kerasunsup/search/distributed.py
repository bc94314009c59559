"""One search on several machines: a chief that hands out trials, workers that train them.

KerasTuner's chief and client carry the messages. Beside them each worker writes a sign of life
into the search's folder, which all machines must reach (the states of promoted trials go through
it too): a worker that is silent loses its trial to the next one that asks.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerasunsup.errors import InputError, Interrupted
from kerasunsup.search import oracles, record, runner
from kerasunsup.settings import Command
from kerasunsup.training import files

BEAT = 2.0  # seconds between two signs of life
SILENCE = 60.0  # seconds after which a worker is taken for dead
PATIENCE = 600.0  # seconds that a chief without any living worker waits


def run(command: Command, problem: runner.Problem) -> dict[str, Any] | None:
    """Takes the part that `--distributed` gives to this process.

    Returns:
        The record from the chief; None from a worker.

    Raises:
        InputError: if the address cannot be used, or the other side is gone.
        Interrupted: on Ctrl-C; the same command goes on.
    """
    role, address = command.search.distributed or ("", "")
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", role):
        raise InputError(
            f"--distributed {role!r} cannot be a worker's name: use letters, digits, '_' and '-'"
        )
    part = runner.Search(command, problem)
    try:
        if role == "chief":
            return _Chief(part, host, port).run()
        _work(part, role, host, port)
        return None
    except KeyboardInterrupt:
        raise Interrupted("stopped; the same command goes on") from None
    finally:
        part.folder.close()


class _Chief:
    """Owns the oracle and watches the workers."""

    def __init__(self, part: runner.Search, host: str, port: str) -> None:
        self._part, self._host, self._port = part, host, port
        self._beats: dict[str, tuple[Any, float]] = {}  # worker -> (last sign, when it changed)
        self._told: set[str] = set()
        self._seen = time.monotonic()  # of any worker

    def run(self) -> dict[str, Any]:
        """Until every trial is done."""
        part = self._part
        part.prepare(overwrite=part.command.search.overwrite)
        for path in _signs(part.folder):
            path.unlink()
        report = runner.begin(part)
        server = oracles.serve(part.oracle, self._host, self._port)
        print(f"waiting for workers at {self._host}:{self._port}", flush=True)
        try:
            while not self._is_over():
                time.sleep(0.5)
                report.workers = max(1, len(self._watch()))
        finally:
            server.stop(grace=2.0)
        return runner.finish(part, report)

    def _is_over(self) -> bool:
        oracle = self._part.oracle
        if oracle.is_exhausted() and not oracle.ongoing_trials:
            # Workers ask once more and are told that it is over; those that died do not.
            began = time.monotonic()
            while oracle.tuner_ids and time.monotonic() - began < 3 * BEAT:
                time.sleep(0.2)
            return True
        return False

    def _watch(self) -> list[str]:
        """The living workers; takes back the trials of the others."""
        now = time.monotonic()
        for path in _signs(self._part.folder):
            with contextlib.suppress(InputError, OSError):
                sign = files.read_json(path)
                if self._beats.get(path.stem, (None, 0.0))[0] != sign:
                    self._beats[path.stem] = (sign, now)
        oracle = self._part.oracle
        alive = []
        for name in set(self._beats) | set(oracle.tuner_ids):
            sign, changed = self._beats.setdefault(name, (None, now))
            error = (sign or {}).get("error")
            if error is None and now - changed < SILENCE:
                alive.append(name)
                self._told.discard(name)
                continue
            if name not in self._told and not (sign or {}).get("done"):
                self._told.add(name)
                trial = oracle.release(name)
                why = f"failed: {error}" if error else f"has been silent for {SILENCE:.0f} s"
                rest = "" if trial is None else f"; its trial {trial} is handed out again"
                print(f"worker {name} {why}{rest}", flush=True)
        if alive:
            self._seen = now
        elif now - self._seen > PATIENCE:
            raise InputError(
                f"no worker for {PATIENCE:.0f} s, {len(oracle.end_order)} trials are kept in "
                f"{self._part.folder.path}: start the chief again, and workers"
            )
        return alive


def _signs(folder: record.Folder) -> list[Path]:
    return sorted((folder.path / "workers").glob("*.json"))


def _work(part: runner.Search, name: str, host: str, port: str) -> None:
    """Trains what the chief hands out, until it says that there is no more."""
    path = part.folder.path / "workers" / f"{name}.json"
    with oracles.chief_answers(host, port):
        client = oracles.connect(part.oracle, name, host, port)
        client.get_space()  # waits for the chief, which has prepared the folder by then
        record.refuse_another(
            part.folder.path,
            files.read_json(part.folder.path / "fingerprint.json"),
            record.stamped(part.fingerprint()),
        )
        part.references = files.read_json(part.folder.path / "reference.json")
        part.oracle = client
        with _alive(path):
            part.workshop.warm_up(part.problem.settings)
            clock = time.perf_counter()
            while True:
                trial = client.create_trial(name)
                if trial.status == oracles.STOPPED:
                    break
                if trial.status == oracles.IDLE:
                    time.sleep(0.5)
                    continue
                result = part.run_trial(trial, name, clock)
                runner.enter(client, trial, result)
                error = result["score"] is None
                print(f"trial {trial.trial_id}: {result['error'] if error else result['score']}")
    print(f"worker {name}: the search is over", flush=True)


@contextlib.contextmanager
def _alive(path: Path) -> Iterator[None]:
    """Writes a sign of life every few seconds, and at the end why it ended."""
    over = threading.Event()

    def beat(number: int = 0, **more: Any) -> None:
        with contextlib.suppress(OSError):
            files.write_json(path, {"number": number, **more})

    def keep_beating() -> None:
        number = 0
        while not over.wait(BEAT):
            number += 1
            beat(number)

    def end(**more: Any) -> None:
        over.set()
        thread.join()
        beat(-1, **more)

    beat()
    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        end(error=f"{type(error).__name__}: {error}")
        raise
    end(done=True)
