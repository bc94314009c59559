"""Where the workers of one training are, and how they wait until all of them are there."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence

from kerasunsup.errors import InputError
from kerasunsup.settings import Command

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/]+):([0-9]{1,5})")
_ATTEMPT = 2.0  # seconds
_PAUSE = 0.2  # seconds between two attempts
_TOLD_AFTER = 3.0  # seconds of waiting, before worker 0 says for whom
_SLURM_PORTS = (20_000, 20_000)  # the first, and how many jobs' numbers are spread over


def resolve(command: Command) -> tuple[tuple[str, ...], int]:
    """The addresses of all workers and the number of this one.

    They come from `--workers` and `--worker-index`, else from `TF_CONFIG` as TensorFlow defines it,
    else from the variables that SLURM's `srun` sets.

    Raises:
        InputError: if there are none, or they cannot be used.
    """
    addresses: Sequence[str]
    index: int | None
    if command.workers.addresses:
        source = "--workers"
        addresses, index = command.workers.addresses, command.workers.worker_index
    elif os.environ.get("TF_CONFIG"):
        source = "TF_CONFIG"
        addresses, index = _of_tf_config(os.environ["TF_CONFIG"])
    elif "SLURM_PROCID" in os.environ and "SLURM_STEP_NODELIST" in os.environ:
        source = "SLURM"
        addresses, index = _of_slurm()
    else:
        raise InputError(
            "--strategy multiworker needs to know the workers: give --workers HOST:PORT,HOST:PORT "
            "and --worker-index I, or TF_CONFIG, or start it by SLURM's srun"
        )
    for address in addresses:
        found = _ADDRESS.fullmatch(address)
        if found is None or not 0 < int(found[2]) < 65536:
            raise InputError(f"{source} has the address {address!r}: write HOST:PORT, HOST:PORT")
    if len(set(addresses)) < len(addresses):
        raise InputError(f"{source} names an address twice ({','.join(addresses)}): one a worker")
    if index is None or not 0 <= index < len(addresses):
        raise InputError(
            f"{source} names {len(addresses)} workers, this one has number {index}: give "
            f"--worker-index 0 to {len(addresses) - 1}, another on each machine"
        )
    return tuple(addresses), index


def _of_tf_config(text: str) -> tuple[list[str], int]:
    """What `TF_CONFIG` says; a chief is the first worker."""
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kinds = {kind: [str(one) for one in cluster[kind]] for kind in cluster}
        kind, index = str(task["type"]), int(task["index"])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise InputError(
            f"TF_CONFIG cannot be used ({type(error).__name__}: {error}): it must be "
            '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    if not set(kinds) <= {"chief", "worker"} or kind not in kinds:
        raise InputError(
            f"TF_CONFIG names the tasks {', '.join(sorted(kinds))}, and this one is a {kind}: "
            "workers, and a chief among them, are all that is used"
        )
    chiefs = kinds.get("chief", [])
    if kind == "worker":
        index += len(chiefs)
    return [*chiefs, *kinds.get("worker", [])], index


def _of_slurm() -> tuple[list[str], int]:
    """What SLURM's variables say; the ports follow from the number of the job."""
    import tensorflow as tf

    first, number = _SLURM_PORTS
    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=first + int(os.environ.get("SLURM_JOB_ID", "0")) % number,
            # It counts no devices: which of them a task sees is left to SLURM.
            gpus_per_node=int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")),
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        addresses = resolver.cluster_spec().job_tasks("worker")
        index = int(os.environ["SLURM_PROCID"])
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"SLURM's variables cannot be used ({error}): start the command by srun, or give "
            "--workers and --worker-index"
        ) from error
    # The resolver puts node10 before node2, SLURM counts its tasks the other way.
    return sorted(addresses, key=_by_number), index


def _by_number(address: str) -> list[tuple[int, str]]:
    return [(int(part or 0), text) for text, part in re.findall(r"([^0-9]*)([0-9]*)", address)]


class _Listener:
    """Answers the other workers on this one's port, and knows which have asked."""

    def __init__(self, port: int, index: int, greeting: bytes) -> None:
        self.seen: set[int] = set()
        self._greeting, self._index = greeting, index
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        self._server = socket.create_server(
            ("", port),
            family=family,
            backlog=128,
            dualstack_ipv6=family == socket.AF_INET6,
        )
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._is_open = True
        self._thread.start()

    def _answer(self) -> None:
        self._server.settimeout(_PAUSE)
        while self._is_open:
            try:
                connection, _ = self._server.accept()
                with connection:
                    connection.settimeout(_ATTEMPT)
                    said, number = _received(connection)
                    connection.sendall(_line(self._greeting, self._index))
                    if said == self._greeting:
                        self.seen.add(number)
            except (OSError, ValueError):  # nobody came, or somebody else
                continue

    def close(self) -> None:
        """Gives the port back, to TensorFlow."""
        self._is_open = False
        self._thread.join()
        self._server.close()


def _line(greeting: bytes, index: int) -> bytes:
    return greeting + b" %d\n" % index


def _received(connection: socket.socket) -> tuple[bytes, int]:
    """A greeting and the number of the worker that it is from."""
    text = b""
    while not text.endswith(b"\n"):
        part = connection.recv(256)
        if not part or len(text) > 256:
            raise ValueError("no worker")
        text += part
    greeting, _, number = text.strip().rpartition(b" ")
    return greeting, int(number)


def meet(addresses: Sequence[str], index: int, seconds: float) -> None:
    """Waits until every worker has reached every other one.

    TensorFlow waits for an hour, and does not say for whom.

    Args:
        addresses: of all workers, `HOST:PORT`.
        index: of this one.
        seconds: how long to wait.

    Raises:
        InputError: if one is missing after that time, or was given other addresses, or this one's
            port is in use.
    """
    digest = hashlib.sha256(",".join(addresses).encode()).hexdigest()[:16]
    greeting = f"kerasunsup worker of {digest}".encode()
    port = int(addresses[index].rpartition(":")[2])
    try:
        listener = _Listener(port, index, greeting)
    except OSError as error:
        raise InputError(
            f"worker {index}: port {port} of this machine cannot be used ({error.strerror}): is "
            "another worker started with the same --worker-index? Else choose another port"
        ) from error
    others = set(range(len(addresses))) - {index}
    met: set[int] = set()
    reasons: dict[int, str] = {}
    began, is_told = time.monotonic(), index != 0
    try:
        while met != others or not others <= listener.seen:
            if time.monotonic() - began > seconds:
                raise InputError(_missing(addresses, others - met, reasons, index, seconds))
            if not is_told and time.monotonic() - began > _TOLD_AFTER:
                is_told = True
                names = ", ".join(f"{one} ({addresses[one]})" for one in sorted(others - met))
                logger.info(f"waiting for worker {names}, at most {seconds:.0f} s")
            for one in sorted(others - met):
                if _reached(addresses[one], one, greeting, index, reasons):
                    met.add(one)
            time.sleep(_PAUSE)
    finally:
        listener.close()


def _reached(
    address: str, number: int, greeting: bytes, index: int, reasons: dict[int, str]
) -> bool:
    """Whether the worker of this number answers there; else the reason is written down.

    Raises:
        InputError: if it answers that it is another one, or knows of other workers.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ATTEMPT) as connection:
            connection.sendall(_line(greeting, index))
            said, other = _received(connection)
    except OSError as error:
        reasons[number] = error.strerror or str(error)
        return False
    except ValueError:
        reasons[number] = "something else answers there"
        return False
    if (said, other) != (greeting, number):
        raise InputError(
            f"worker {index}: at {address}, the address of worker {number}, worker {other} answers"
            f"{'' if said == greeting else ', which was given other addresses'}: give every worker "
            "the same --workers, and each its own --worker-index"
        )
    return True


def _missing(
    addresses: Sequence[str],
    missing: set[int],
    reasons: Mapping[int, str],
    index: int,
    seconds: float,
) -> str:
    if not missing:
        return (
            f"worker {index}: after {seconds:.0f} s not every worker has reached this one at "
            f"{addresses[index]}: is this its address, and is the port open?"
        )
    names = ", ".join(
        f"worker {one} at {addresses[one]} ({reasons.get(one, 'no answer')})"
        for one in sorted(missing)
    )
    return (
        f"worker {index}: no answer after {seconds:.0f} s from {names}: start it, check its "
        "address, or wait longer by --wait-for-workers SECONDS"
    )
