"""One search on several machines: a chief that hands out trials, workers that train them.

KerasTuner's chief and client carry the messages. Beside them each worker writes a sign of life
into the search's folder, which all machines must reach (the states of promoted trials go through
it too). A worker that is silent loses its trial, which the next one that asks is given.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

from kerasunsup.errors import InputError, Interrupted
from kerasunsup.search import oracles, record, runner
from kerasunsup.search.session import Problem, Search
from kerasunsup.settings import Command
from kerasunsup.training import files

logger = logging.getLogger(__name__)

BEAT = 2.0  # seconds between two signs of life
SILENCE = 60.0  # seconds after which a worker is taken for dead
CHIEF_LIMIT = 300  # seconds in which a chief must answer
PATIENCE = 600.0  # seconds that a chief without any living worker waits


def run_shared_search(command: Command, problem: Problem) -> dict[str, Any] | None:
    """Runs the chief of a shared search, or one of its workers, as `--distributed` says.

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
    search = Search(command, problem)
    try:
        if role == "chief":
            return _Chief(search, host, port).hand_out_trials()
        _work(search, role, host, port)
        return None
    except KeyboardInterrupt:
        raise Interrupted("stopped; the same command goes on") from None
    finally:
        search.folder.close()


class _Chief:
    """Owns the oracle and watches the workers."""

    def __init__(self, search: Search, host: str, port: str) -> None:
        self._search, self._host, self._port = search, host, port
        self._heartbeats: dict[str, tuple[Any, float]] = {}  # worker -> (last, when it changed)
        self._reported: set[str] = set()  # workers whose end was printed
        self._seen = time.monotonic()  # when any worker last gave a sign of life

    def hand_out_trials(self) -> dict[str, Any]:
        """Answers the workers until every trial has ended; returns the record."""
        search = self._search
        search.open_folder(overwrite=search.command.search.overwrite)
        for path in _heartbeat_files(search.folder):
            path.unlink()
        texts = runner.start(search)
        server = serve(search.oracle, self._host, self._port)
        logger.info(f"waiting for workers at {self._host}:{self._port}")
        try:
            while not self._is_over():
                time.sleep(0.5)
                texts.workers = max(1, len(self._watch()))
        finally:
            server.stop(grace=2.0)
        return runner.make_record(search, texts)

    def _is_over(self) -> bool:
        oracle = self._search.oracle
        if oracle.is_exhausted() and not oracle.ongoing_trials:
            # Workers ask once more and are told that it is over; those that died do not.
            began = time.monotonic()
            while oracle.tuner_ids and time.monotonic() - began < 3 * BEAT:
                time.sleep(0.2)
            return True
        return False

    def _watch(self) -> list[str]:
        """Takes back the trials of dead workers; returns the names of the living ones."""
        now = time.monotonic()
        for path in _heartbeat_files(self._search.folder):
            with contextlib.suppress(InputError, OSError):
                heartbeat = files.read_json(path)
                if self._heartbeats.get(path.stem, (None, 0.0))[0] != heartbeat:
                    self._heartbeats[path.stem] = (heartbeat, now)
        oracle = self._search.oracle
        alive = []
        for name in set(self._heartbeats) | set(oracle.tuner_ids):
            heartbeat, changed = self._heartbeats.setdefault(name, (None, now))
            error = (heartbeat or {}).get("error")
            if error is None and now - changed < SILENCE:
                alive.append(name)
                self._reported.discard(name)
                continue
            if name not in self._reported and not (heartbeat or {}).get("done"):
                self._reported.add(name)
                trial = oracle.release(name)
                why = f"failed: {error}" if error else f"has been silent for {SILENCE:.0f} s"
                rest = "" if trial is None else f"; its trial {trial} is handed out again"
                logger.info(f"worker {name} {why}{rest}")
        if alive:
            self._seen = now
        elif now - self._seen > PATIENCE:
            raise InputError(
                f"no worker for {PATIENCE:.0f} s, {len(oracle.end_order)} trials are kept in "
                f"{self._search.folder.path}: start the chief again, and workers"
            )
        return alive


def _heartbeat_files(folder: record.SearchFolder) -> list[Path]:
    return sorted((folder.path / "workers").glob("*.json"))


def _work(search: Search, name: str, host: str, port: str) -> None:
    """Trains the trials that the chief hands out until there are no more."""
    path = search.folder.path / "workers" / f"{name}.json"
    with _chief_answers(host, port):
        client = connect(search.oracle, name, host, port)
        client.get_space()  # waits for the chief, which has prepared the folder by then
        record.refuse_another(
            search.folder.path,
            files.read_json(search.folder.path / "fingerprint.json"),
            record.stamped(search.fingerprint()),
        )
        search.references = files.read_json(search.folder.path / "reference.json")
        search.oracle = client
        with _alive(path):
            search.trial_runner.warm_up(search.problem.settings)
            clock = time.perf_counter()
            while True:
                trial = client.create_trial(name)
                if trial.status == oracles.STOPPED:
                    break
                if trial.status == oracles.IDLE:
                    time.sleep(0.5)
                    continue
                result = search.run_trial(trial, name, clock)
                runner.tell_oracle(client, trial, result)
                logger.info(f"trial {trial.trial_id}: {result.get('error', result['score'])}")
    logger.info(f"worker {name}: the search is over")


@contextlib.contextmanager
def _alive(path: Path) -> Iterator[None]:
    """Writes a sign of life every few seconds, and at the end why it ended."""
    over = threading.Event()

    def write_heartbeat(**more: Any) -> None:
        with contextlib.suppress(OSError):
            files.write_json(path, {"time": time.time(), **more})

    def keep_writing() -> None:
        while not over.wait(BEAT):
            write_heartbeat()

    write_heartbeat()
    thread = threading.Thread(target=keep_writing, daemon=True)
    thread.start()
    end: dict[str, Any] = {"done": True}
    try:
        yield
    except BaseException as error:
        end = {"error": f"{type(error).__name__}: {error}"}
        raise
    finally:
        over.set()
        thread.join()
        write_heartbeat(**end)


def serve(oracle: oracles.DurableOracle, host: str, port: str) -> Any:
    """Returns a running server that answers the workers of a search; its `stop(grace)` ends it.

    KerasTuner's own loop waits for ever for a worker that was killed.

    Raises:
        InputError: if the address cannot be used.
    """
    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute import oracle_chief

    # Otherwise a second chief could share the port, and each would get some of the answers.
    alone = [("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=alone)
    servicer = oracle_chief.OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise InputError(
            f"--distributed: {host}:{port} cannot be used: it is no address of this machine, or "
            "another chief or program listens there; stop that one or choose a free port"
        ) from error
    server.start()
    return server


def connect(oracle: oracles.DurableOracle, name: str, host: str, port: str) -> Any:
    """Returns KerasTuner's client in place of an oracle; it asks the chief at this address."""
    os.environ |= {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": host,
        "KERASTUNER_ORACLE_PORT": port,
    }
    from keras_tuner.src.distribute import oracle_client

    oracle_client.TIMEOUT = CHIEF_LIMIT  # an hour, in KerasTuner
    return oracle_client.OracleClient(oracle)


@contextlib.contextmanager
def _chief_answers(host: str, port: str) -> Iterator[None]:
    """Raises `InputError` with one clear line where the chief does not answer."""
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        raise InputError(
            f"--distributed: no chief answers at {host}:{port} ({error.code().name}): start it, "
            "or start this worker again once it runs; what was finished is kept"
        ) from error
