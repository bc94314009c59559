"""Training on several machines: here every worker is a process, and they talk over loopback."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import killed_runs
import numpy as np
import processes
import pytest
import tensorflow as tf

from kerasunsup.ae import __main__ as ae
from kerasunsup.ae import experiment as autoencoder
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.errors import InputError
from kerasunsup.models import replicated
from kerasunsup.novelty import __main__ as novelty
from kerasunsup.settings import Command, TrainingSettings, WorkerSettings
from kerasunsup.training import files, loop, several_workers, worker_addresses

_COVERED = (
    "kerasunsup/training/several_workers.py", "kerasunsup/training/worker_addresses.py",
    "kerasunsup/training/loop.py", "kerasunsup/models/replicated.py", "kerasunsup/models/gan.py",
)  # fmt: skip

# A worker as a user starts it, but without the report, and slow where a test interrupts it.
_SCRIPT = """
import importlib, json, os, sys, time
sys.path.insert(0, sys.argv[1])
from kerasunsup import tensorflow_startup
command = importlib.import_module(f"kerasunsup.{sys.argv[2]}.__main__")
arguments = json.loads(sys.argv[3])
command.parse(arguments)  # it hides TensorFlow's own lines before that is imported
tensorflow_startup.import_tensorflow()
import killed_runs, pytest
from kerasunsup.training import callbacks
experiment = importlib.import_module(f"kerasunsup.{sys.argv[2]}.experiment")
with pytest.MonkeyPatch.context() as patch:
    if sys.argv[2] == "ae":
        killed_runs.shorten_reports(patch, experiment)
    if "PAUSE" in os.environ:
        begin = callbacks.EpochOrder.on_epoch_begin
        def pausing(self, epoch, logs=None):
            time.sleep(float(os.environ["PAUSE"]))
            begin(self, epoch, logs)
        patch.setattr(callbacks.EpochOrder, "on_epoch_begin", pausing)
    sys.exit(command.main(arguments))
"""
_AE = ["--filters", "2", "--latent-dim", "2", "--noise", "0.3"]
_GAN = ["--base-filters", "2", "--noise-dim", "3", "--measure-every", "2"]


def shared(folder: Path, *more: str, logs: str = "") -> list[str]:
    """The arguments of every run, whose images are written into the folder."""
    path = folder / "images.npz"
    if not path.exists():
        pixels = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 1), np.uint8)
        pixels[::2, :8] //= 4
        np.savez(path, images=pixels)
    return [
        "--data", str(path), "--logs", str(folder / logs), "--batch-size", "64", "--hidden-units",
        "8", "--num-samples", "100", *more,
    ]  # fmt: skip


class Workers:
    """The processes of one training, on ports that nobody uses."""

    def __init__(self, experiment: str, commands: list[list[str]], pause: float = 0.0) -> None:
        addresses = ",".join(f"localhost:{processes.free_port()}" for _ in commands)
        tests = str(Path(processes.__file__).parent)
        environment = os.environ | ({"PAUSE": str(pause)} if pause else {})
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # of this process, which knows no workers
        heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable, "-c", _SCRIPT, tests, experiment,
                    json.dumps([
                        *command, "--strategy", "multiworker", "--workers", addresses,
                        "--worker-index", str(index), "--wait-for-workers", "200",
                    ]),
                ],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                preexec_fn=heed,
            )
            for index, command in enumerate(commands)
        ]  # fmt: skip

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def ends(self) -> list[tuple[int, str, str]]:
        """(status, standard output, standard error) of each worker."""
        return [
            (process.wait(), out, error)
            for process in self.processes
            for out, error in [process.communicate(timeout=300)]
        ]


def finished(experiment: str, *commands: list[str]) -> list[str]:
    """What the workers printed, all of which ended well."""
    with Workers(experiment, list(commands)) as workers:
        ends = workers.ends()
    for status, _, error in ends:
        assert status == 0, error[-3000:]
        assert error == ""
    return [out for _, out, _ in ends]


def assert_same_course(
    one: Path, other: Path, names: tuple[str, ...], *, rtol: float = 0.0
) -> None:
    first, second = (files.read_arrays(run / "checkpoints" / "state.npz") for run in (one, other))
    for name in names:
        np.testing.assert_allclose(
            second[f"history/{name}"], first[f"history/{name}"], rtol=rtol, atol=1e-5
        )


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ((), ("loss", "val_loss")),
        pytest.param(
            ("--variational",), ("loss", "kl", "mse", "val_loss", "val_kl", "val_mse"),
            marks=pytest.mark.slow("kerasunsup/models/variational.py"),
        ),
    ],
)  # fmt: skip
def test_two_workers_have_the_losses_of_one_process(tmp_path, monkeypatch, more, names):
    command = [*shared(tmp_path), *_AE, *more, "--epochs", "2"]
    follower = [*shared(tmp_path, logs="elsewhere"), *_AE, *more, "--epochs", "2"]
    first, second = finished("ae", [*command, "--name", "two"], follower)
    assert "epoch 2/2" in first
    assert second == "worker 1 of 2 trains along; worker 0 writes the run two\n"
    assert not (tmp_path / "elsewhere").exists()
    killed_runs.shorten_reports(monkeypatch, autoencoder)
    assert ae.main([*command, "--name", "one"]) == 0
    # Losses in nats are sums over pixels, hundreds that float32 rounds.
    rtol = 1e-5 if more else 0.0
    assert_same_course(tmp_path / "ae/one", tmp_path / "ae/two", names, rtol=rtol)


@pytest.mark.slow(*_COVERED)
@pytest.mark.parametrize("more", [["--label-smoothing", "0.1"], ["--precision", "mixed_bfloat16"]])
def test_a_gan_on_two_workers_has_the_losses_of_one_process(tmp_path, more):
    command = [*shared(tmp_path, logs="logs"), *_GAN, *more, "--epochs", "3"]
    finished("gan", [*command, "--name", "two"], command)
    one = [sys.executable, "-m", "kerasunsup.gan", *command, "--name", "one"]
    processes.finished(one)
    names = ("generator_loss", "discriminator_loss", "kid")
    logs = tmp_path / "logs" / "gan"
    if "mixed_bfloat16" in more:  # each worker rounds its own sums: no comparison
        state = files.read_arrays(logs / "two" / "checkpoints" / "state.npz")
        assert (state["history/discriminator_loss"] < 3.0).all()
    else:
        assert_same_course(logs / "one", logs / "two", names)


@pytest.mark.slow(*_COVERED)
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_ends_the_others_and_resume_goes_on_exactly(tmp_path, killed):
    command = [*shared(tmp_path), *_AE, "--epochs", "4", "--deterministic"]
    follower = [*shared(tmp_path, logs="elsewhere"), *command[len(shared(tmp_path)) :]]
    name = ["--name", "killed"]
    with Workers("ae", [[*command, *name], [*follower, *name]], pause=1.0) as workers:
        stdout = workers.processes[0].stdout
        assert stdout is not None
        for line in stdout:
            if line.startswith("epoch 2/"):
                break
        workers.processes[killed].kill()
        began = time.monotonic()
        _, error = workers.processes[1 - killed].communicate(timeout=60)
        assert time.monotonic() - began < 30  # what docs/scale.md says
        assert workers.processes[1 - killed].returncode == 2
        assert error.count("\n") == 1, error
        assert "is lost" in error
        assert "--resume --name killed" in error
    goes_on = ["--resume", *name]
    finished("ae", [*command, *goes_on], [*follower, *goes_on])
    finished("ae", [*command, "--name", "straight"], follower)
    killed_runs.assert_same_end(tmp_path / "ae/straight", tmp_path / "ae/killed")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow(*_COVERED)
def test_workers_that_differ_are_told_what_is_different(tmp_path):
    command = [*shared(tmp_path), *_AE, "--epochs", "2"]
    with Workers("ae", [command, [*command, "--learning-rate", "0.01"]]) as workers:
        ends = workers.ends()
    for status, _, error in ends:
        assert status == 2
        assert error == (
            "kerasunsup ae: worker 1 has --learning-rate 0.01, worker 0 has 0.003: all must have "
            "the same\n"
        )
    other = tmp_path / "others.npz"
    np.savez(other, images=np.random.default_rng(1).integers(0, 256, (300, 16, 16, 1), np.uint8))
    with Workers("ae", [command, [*command, "--data", str(other)]]) as workers:
        ends = workers.ends()
    assert {status for status, _, _ in ends} == {2}
    assert "worker 1 has images with the fingerprint" in ends[0][2]
    assert ends[0][2] == ends[1][2]
    with Workers("ae", [command, [*command, "--data", str(tmp_path / "none.npz")]]) as workers:
        ends = workers.ends()
    assert {status for status, _, _ in ends} == {2}
    assert "worker 1 cannot start" in ends[0][2]
    assert not (tmp_path / "ae").exists()


@pytest.mark.slow(*_COVERED, "kerasunsup/supervised/")
def test_the_usual_encoder_is_trained_by_two_workers(tmp_path):
    command = ["--quick", "--encoder-epochs", "2", "--logs", str(tmp_path)]
    first, second = finished("supervised", [*command, "--name", "two"], command)
    assert "training the usual encoder" in first
    assert second.count("\n") == 1
    assert "trains along" in second
    # The second time there is nothing to train.
    first, second = finished("supervised", [*command, "--name", "again"], command)
    assert "training the usual encoder" not in first
    assert second == ""


def command_of(workers: str | None = None, index: int | None = None, **settings: object) -> Command:
    config = TrainingSettings(strategy="multiworker", **settings)  # type: ignore[arg-type]
    asked = WorkerSettings(workers=workers, worker_index=index)
    return Command("ae", config, Path("logs"), None, False, (), workers=asked)


def test_workers_are_named_by_flags_tf_config_or_slurm(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_JOB_ID", "41234")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[2,10]")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2,1")
    addresses = ("node2:21234", "node2:21235", "node10:21234")
    assert worker_addresses.resolve(command_of()) == (addresses, 2)
    cluster = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert worker_addresses.resolve(command_of()) == (("a:1", "b:2", "c:3"), 2)
    config["task"] = {"type": "chief", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert worker_addresses.resolve(command_of())[1] == 0
    found = worker_addresses.resolve(command_of("x:1, [::1]:2", 1))
    assert found == (("x:1", "[::1]:2"), 1)


@pytest.mark.parametrize(
    ("workers", "index", "config", "complaint"),
    [
        (None, None, None, "needs to know the workers"),
        ("a:1,b", 0, None, "has the address 'b'"),
        ("a:1,b:70000", 0, None, "has the address 'b:70000'"),
        ("a:1,a:1", 0, None, "names an address twice"),
        ("a:1,b:2", 2, None, "this one has number 2"),
        (None, None, "{", "TF_CONFIG cannot be used"),
        (None, None, '{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG cannot be used"),
        (
            None, None,
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
            "names the tasks ps, worker",
        ),
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_used_are_told(monkeypatch, workers, index, config, complaint):
    for name in ("TF_CONFIG", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match=complaint):
        worker_addresses.resolve(command_of(workers, index))


def test_no_port_is_given_twice():
    assert len({processes.free_port() for _ in range(2000)}) == 2000


def test_workers_wait_for_each_other():
    addresses = [f"localhost:{processes.free_port()}" for _ in range(3)]
    met = []

    def worker(index: int) -> None:
        time.sleep(0.3 * index)
        worker_addresses.meet(addresses, index, 20.0)
        met.append(index)

    threads = [threading.Thread(target=worker, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(met) == [0, 1, 2]


def test_a_missing_worker_is_named_after_the_time_that_was_given():
    addresses = [f"localhost:{processes.free_port()}" for _ in range(2)]
    with pytest.raises(InputError, match=f"no answer after 1 s from worker 0 at {addresses[0]}"):
        worker_addresses.meet(addresses, 1, 1.0)
    addresses[0] = "no-such-host.invalid:4000"
    with pytest.raises(InputError, match=r"from worker 0 at no-such-host.invalid:4000 \("):
        worker_addresses.meet(addresses, 1, 1.0)


def test_something_else_at_an_address_is_no_worker():
    with socket.create_server(("localhost", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        addresses = [f"localhost:{port}", f"localhost:{processes.free_port()}"]
        with pytest.raises(InputError, match=r"something else answers|reset by peer"):
            worker_addresses.meet(addresses, 1, 1.0)
        with pytest.raises(InputError, match=f"worker 0: port {port} of this machine"):
            worker_addresses.meet(addresses, 0, 1.0)


def test_workers_with_other_lists_are_told(monkeypatch):
    ports = [processes.free_port() for _ in range(2)]
    right = [f"localhost:{port}" for port in ports]
    complaints = []

    def worker(addresses: list[str], index: int) -> None:
        try:
            worker_addresses.meet(addresses, index, 3.0)
        except InputError as error:
            complaints.append(str(error))

    other = threading.Thread(target=worker, args=([*right, "localhost:1"], 1))
    other.start()
    worker(right, 0)
    other.join()
    assert any("give every worker the same --workers" in text for text in complaints)
    assert len(complaints) == 2


def test_flags_of_workers_need_their_strategy(capsys, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    assert ae.main(["--workers", "a:1,b:2", "--worker-index", "0"]) == 2
    assert "--workers needs --strategy multiworker" in capsys.readouterr().err
    assert ae.main(["--strategy", "multiworker", "--workers", "a:1,b:2"]) == 2
    assert "--workers and --worker-index go together" in capsys.readouterr().err
    assert ae.main(["--strategy", "multiworker", "--tune"]) == 2
    assert "a search runs other trials on each" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        novelty.parse(["--strategy", "multiworker"])
    assert "choose from 'none', 'mirrored'" in capsys.readouterr().err


def test_a_worker_goes_on_with_a_run_that_only_worker_0_has(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    flags = ["--strategy", "multiworker", "--workers", "a:1,b:2", "--worker-index"]
    flags += ["1", "--logs", str(tmp_path), "--name", "run", "--resume"]
    assert ae.parse(flags).resume
    flags[5] = "0"
    with (
        pytest.raises(InputError, match="there is no ae run"),
        several_workers.joined(ae.parse(flags)),
    ):
        pass


def test_a_strategy_without_its_workers_is_refused():
    with (
        pytest.raises(InputError, match="is for the commands"),
        loop.machine(AutoencoderSettings(strategy="multiworker")),
    ):
        pass


def test_batches_that_cannot_be_shared_evenly_are_refused(monkeypatch):
    devices = {"CPU": ["a", "b", "c"], "GPU": []}
    monkeypatch.setattr(tf.config, "list_logical_devices", devices.get)
    settings = AutoencoderSettings(strategy="mirrored", batch_size=64)
    with pytest.raises(InputError, match=r"--batch-size 64 .* 3 devices: choose 63 or 66"):
        loop.check_shares(settings, 1000)
    loop.check_shares(settings, 30)  # one batch of all images


def test_validation_batches_are_filled_up_and_the_filling_does_not_count():
    images = np.random.default_rng(0).random((11, 4, 4, 1), np.float32)
    pairs = tf.data.Dataset.from_tensor_slices((images, images)).batch(4)
    inputs = keras.Input((4, 4, 1))
    plain = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model = replicated.replicated(plain)
    for one in (plain, model):
        one.compile(loss="mean_squared_error")
    filled = replicated.filled(pairs, 4)
    shapes = [[tuple(part.shape) for part in batch] for batch in filled]
    assert shapes == [[(4, 4, 4, 1), (4, 4, 4, 1), (4,)]] * 3
    loss = model.evaluate(filled, verbose=0)
    expected = plain.evaluate(pairs, verbose=0)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert model.evaluate(pairs, verbose=0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("number", [1, 2])
def test_workers_take_their_own_rows_of_each_batch(number):
    rows = tf.data.Dataset.from_tensor_slices(np.arange(16)).batch(8, drop_remainder=True)
    taken = [list(replicated.own_rows(rows, 4, first, number)) for first in range(0, 4, number)]
    for parts in taken:
        assert {part.shape[0] for part in parts} == {2}
    for batch in range(2):
        found = [
            value
            for parts in taken
            for part in parts[batch * number : (batch + 1) * number]
            for value in part.numpy()
        ]
        assert found == list(range(8 * batch, 8 * batch + 8))
