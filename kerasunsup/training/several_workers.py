"""Several processes that train one model together, each on a machine of its own.

Worker 0 writes the run; the others compute along and write nothing. Every worker runs the same
command. They wait for each other, compare version, settings and images, and then train on their own
rows of each batch; the gradients are added up over all of them, so that all hold the same weights.

TensorFlow sets its collective operations up once in a process and before its first operation: a
process joins one cluster, and that before it reads its images.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerasunsup
from kerasunsup.errors import InputError
from kerasunsup.models import replicated
from kerasunsup.settings import PLACES, Command, TrainingSettings, flag, to_json
from kerasunsup.training import worker_addresses

logger = logging.getLogger(__name__)

# What TensorFlow raises where another process of the cluster is gone; the latter ones have other
# causes, too, and count where they speak of the connection.
_LOST = (
    tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)  # fmt: skip
_PERHAPS_LOST = (
    tf.errors.FailedPreconditionError, tf.errors.InternalError, tf.errors.UnknownError,
)  # fmt: skip
_OF_A_CONNECTION = re.compile(r"[Cc]ollective|[Cc]oordination|RPC|onnect|/job:worker/.*/task:")


class Cluster:
    """This process's place among the workers, once it has joined them.

    Attributes:
        index: its number, from 0; worker 0 writes the run.
        size: the number of workers.
        strategy: what the model is built under.
        run: the name of the run, once it is known.
        is_waited_for: whether the others wait for this worker before a training.
        is_open: whether they still work together.
    """

    def __init__(self, addresses: Sequence[str], index: int) -> None:
        self.index, self.size = index, len(addresses)
        self.run = ""
        self.is_waited_for = self.is_open = True
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(addresses)}),
            task_type="worker",
            task_id=index,
            rpc_layer="grpc",
        )
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        # Every batch is whole: nobody needs to ask in each step whether the others have one.
        self.strategy.extended.experimental_enable_get_next_as_optional = False

    @property
    def is_first(self) -> bool:
        """Whether this worker writes the run."""
        return self.index == 0

    @property
    def replicas_here(self) -> int:
        """The number of this worker's devices."""
        return self.strategy.num_replicas_in_sync // self.size

    def distributed(self, dataset: tf.data.Dataset) -> Any:
        """This worker's rows of whole batches, as Keras takes them."""
        number = self.replicas_here
        own = replicated.own_rows(
            dataset, self.strategy.num_replicas_in_sync, self.index * number, number
        )
        return self.strategy.distribute_datasets_from_function(lambda _: own)

    def gather(self, content: bytes) -> list[bytes]:
        """What every worker gives, in their order; each calls it, and waits for all."""
        sizes = self._summed(self._row(np.array([len(content)])))
        words = _words(int(sizes.max()))
        rows = self._summed(self._row(np.frombuffer(content.ljust(4 * words, b"\0"), np.int32)))
        return [row.tobytes()[: int(size)] for row, (size,) in zip(rows, sizes, strict=True)]

    def share(self, content: bytes) -> bytes:
        """What worker 0 gives, at every worker; what the others give is not looked at."""
        given = content if self.is_first else b""
        size = int(self._summed(np.array([len(given)]))[0])
        words = _words(size)
        own = np.frombuffer(given.ljust(4 * words, b"\0"), np.int32)
        return self._summed(own).tobytes()[:size]

    def _row(self, values: np.ndarray) -> np.ndarray:
        rows = np.zeros((self.size, len(values)), np.int32)
        rows[self.index] = values
        return rows

    def _summed(self, values: np.ndarray) -> np.ndarray:
        """The sum over all workers, int32: exact, and so a way to hand bytes over."""

        @tf.function(autograph=False)
        def total(own: tf.Tensor) -> Any:
            def of_replica() -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                is_one = tf.equal(context.replica_id_in_sync_group % self.replicas_here, 0)
                part = tf.where(is_one, own, tf.zeros_like(own))
                return context.all_reduce(tf.distribute.ReduceOp.SUM, part)

            return self.strategy.run(of_replica)

        summed = total(tf.constant(np.asarray(values, np.int32)))
        return np.asarray(self.strategy.experimental_local_results(summed)[0])

    def agree(self, **facts: Any) -> list[dict[str, Any]]:
        """The facts of all workers; what one complains of ends all.

        Raises:
            InputError: if a worker gave an `error`.
        """
        answers = [json.loads(text) for text in self.gather(json.dumps(facts).encode())]
        for number, answer in enumerate(answers):
            if "error" in answer:
                self.is_waited_for = False
                raise InputError(f"worker {number} cannot start: {answer['error']}")
        return answers

    def require_same(self, facts: Sequence[Mapping[str, Any]], what: Mapping[str, str]) -> None:
        """Refuses facts that differ, on every worker by the same line.

        Args:
            facts: one a worker.
            what: name of a fact -> what it is called; all others are not compared.

        Raises:
            InputError: if one is not what worker 0 has.
        """
        for name, called in what.items():
            for number, fact in enumerate(facts):
                if name in fact and fact[name] != facts[0][name]:
                    self.is_waited_for = False
                    raise InputError(
                        f"worker {number} has {called} {fact[name]}, worker 0 has "
                        f"{facts[0][name]}: all must have the same"
                    )


def _words(size: int) -> int:
    """How many int32 hold so many bytes; one at least, as TensorFlow fails on the sum of none."""
    return max(1, -(-size // 4))


class KeepTogether(keras.callbacks.Callback):
    """Lets every worker stop where worker 0 does; must come last.

    No worker begins an epoch before worker 0 has saved the one before.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Takes over whether worker 0 goes on."""
        stops = self._cluster.share(b"1" if self.model.stop_training else b"0")
        self.model.stop_training = stops == b"1"


_joined: list[Cluster] = []  # one a process at most


def current() -> Cluster | None:
    """The cluster that this process trains in; None where it trains alone."""
    return _joined[0] if _joined and _joined[0].is_open else None


def is_over() -> bool:
    """Whether this process has trained with others and goes on alone."""
    return bool(_joined) and not _joined[0].is_open


def is_follower() -> bool:
    """Whether this process trains along and another one writes the run."""
    return bool(_joined) and not _joined[0].is_first


@contextlib.contextmanager
def joined(command: Command) -> Iterator[Command]:
    """Lets a command train with the other workers if it is to; inside another one, in its cluster.

    Yields:
        The command, with the settings that all workers have.

    Raises:
        InputError: if a worker is missing or lost, or is not like the others.
    """
    if _joined or command.config.strategy != "multiworker":
        yield command
        return
    addresses, index = worker_addresses.resolve(command)
    _check_there_is_a_run(command, index)
    worker_addresses.meet(addresses, index, command.workers.wait_for_workers)
    cluster = Cluster(addresses, index)
    _joined.append(cluster)
    try:
        yield dataclasses.replace(command, config=_same_settings(cluster, command))
    except InputError as error:
        if cluster.is_waited_for:
            with contextlib.suppress(Exception):
                cluster.agree(error=str(error))
        raise
    except (*_LOST, *_PERHAPS_LOST) as error:
        is_of_others = isinstance(error, _LOST) or _OF_A_CONNECTION.search(str(error))
        if not (cluster.is_open and is_of_others):
            raise
        name = f" --name {cluster.run}" if cluster.run else ""
        raise InputError(
            f"worker {index}: the connection to the other workers is lost, one of them has ended or"
            " cannot be reached; the epochs that were finished are saved by worker 0: start every "
            f"worker again with its command and --resume{name}"
        ) from error
    finally:
        _joined.clear()


def _check_there_is_a_run(command: Command, index: int) -> None:
    folder = command.logs / command.experiment / str(command.name)
    if command.resume and index == 0 and not (folder / "config.json").is_file():
        raise InputError(
            f"--resume: there is no {command.experiment} run in {folder}; leave --resume out to "
            "start one"
        )


def _same_settings(cluster: Cluster, command: Command) -> TrainingSettings:
    """The settings of all; where a run goes on, those that worker 0 has read from it.

    Raises:
        InputError: if a worker has other settings or another version.
    """
    kind = type(command.config)
    own, usual = to_json(command.config), to_json(kind())
    # A follower that goes on with a run knows only what its command says.
    given = {key: value for key, value in own.items() if value != usual[key]}
    told = given if command.resume and not cluster.is_first else own
    facts = cluster.agree(
        version=kerasunsup.__version__,
        tensorflow=tf.__version__,
        experiment=command.experiment,
        resume=command.resume,
        **{flag(key): value for key, value in told.items() if key not in PLACES},
    )
    called = {"version": "kerasunsup", "tensorflow": "TensorFlow", "experiment": "the command"}
    names = {flag(key): flag(key) for key in own if key not in PLACES}
    cluster.require_same(facts, {**called, "resume": "--resume", **names})
    first = {key: facts[0].get(flag(key), own[key]) for key in own}
    return kind(**first)


def check_same_images(fingerprint: str) -> None:
    """Refuses workers that have read other images than worker 0; nothing where one trains alone.

    Raises:
        InputError: if one has.
    """
    cluster = current()
    if cluster is not None:
        facts = cluster.agree(images=fingerprint)
        cluster.require_same(facts, {"images": "images with the fingerprint"})


def announce(name: str = "") -> None:
    """Tells the other workers that the run is there; they say what they do, in one line.

    Args:
        name: of the run; that of worker 0 counts.
    """
    cluster = current()
    if cluster is None:
        return
    cluster.run = cluster.agree(run=name)[0]["run"]
    cluster.is_waited_for = False
    if not cluster.is_first:
        logger.info(
            f"worker {cluster.index} of {cluster.size} trains along; worker 0 writes the run "
            f"{cluster.run}"
        )


def is_wanted(is_to_train: bool = False) -> bool:
    """Whether there is something to train; what worker 0 says counts. If not, all leave.

    Args:
        is_to_train: what this process says, which counts where it trains alone.
    """
    cluster = current()
    if cluster is None:
        return is_to_train
    is_to_train = cluster.agree(trains=is_to_train)[0]["trains"]
    if not is_to_train:
        cluster.is_waited_for = False
        leave()
    return is_to_train


def said_by_first(number: int) -> int:
    """The number that worker 0 gives, at every worker; where one trains alone it is its own."""
    cluster = current()
    return number if cluster is None else int(cluster.share(str(number).encode()))


def leave() -> None:
    """Ends the work together: from here on each worker goes its own way, or ends."""
    cluster = current()
    if cluster is not None:
        cluster.share(b"")  # nobody ends while another still needs it
        cluster.is_open = False


def of_all(
    stored: Mapping[str, Mapping[str, np.ndarray]] | None,
) -> dict[str, dict[str, np.ndarray]] | None:
    """The state that a run goes on from, handed from worker 0 to all; None where it begins.

    Args:
        stored: part -> name -> array, as worker 0 has read it.
    """
    cluster = current()
    if cluster is None:
        return None if stored is None else {part: dict(values) for part, values in stored.items()}
    buffer = io.BytesIO()
    if stored is not None:
        flat = {f"{part}/{name}": array for part in stored for name, array in stored[part].items()}
        np.savez(buffer, allow_pickle=False, **flat)
    content = cluster.share(buffer.getvalue())
    if not content:
        return None
    parts: dict[str, dict[str, np.ndarray]] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        for key in archive.files:
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = archive[key]
    return parts
