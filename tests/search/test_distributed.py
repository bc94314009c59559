"""A chief and its workers: what is lost when one of them ends."""

from __future__ import annotations

import contextlib
import os
from concurrent import futures

import numpy as np
import processes
import pytest
from search_problems import by_settings, command, make, problem

from kerasunsup.errors import InputError
from kerasunsup.search import distributed, oracles, record, runner, session
from kerasunsup.training import files


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_that_end_in_any_order_or_die_change_nothing(tmp_path, fake, workers):
    given = command(tmp_path / "alone", max_epochs=9)
    alone = runner.run_search(given, problem(given))
    given = command(tmp_path / "shared", max_epochs=9)
    shared = session.Search(given, problem(given))
    shared.open_folder(overwrite=False)
    texts = runner.start(shared)
    luck = np.random.default_rng(workers)
    held: dict[str, object] = {}
    handed_out = 0
    while True:
        for name in (f"w{index}" for index in range(workers)):
            if name not in held:
                trial = shared.oracle.create_trial(name)
                if trial.status == oracles.RUNNING:
                    held[name] = trial
        if not held:
            break
        name = list(held)[luck.integers(len(held))]
        trial = held.pop(name)
        handed_out += 1
        if handed_out % 4 == 0:  # killed in the middle; nothing was said
            assert shared.oracle.release(name) == trial.trial_id
            continue
        runner.tell_oracle(shared.oracle, trial, shared.run_trial(trial, name, 0.0))
    found = runner.make_record(shared, texts)
    shared.folder.close()
    order = [[result["settings"] for result in one["trials"]] for one in (alone, found)]
    assert order[0] != order[1]
    assert by_settings(found) == by_settings(alone)
    sizes = [record.best_of_each(one["trials"], "latent_dim") for one in (alone, found)]
    errors = [{size: best["validation_mse"] for size, best in one.items()} for one in sizes]
    assert errors[0] == errors[1]


def test_a_chief_without_workers_does_not_wait_for_ever(tmp_path, monkeypatch, fake):
    monkeypatch.setattr(distributed, "PATIENCE", 1.0)
    given = command(tmp_path, distributed=("chief", f"localhost:{processes.free_port()}"))
    with pytest.raises(InputError, match="no worker for 1 s, 0 trials are kept"):
        distributed.run_shared_search(given, problem(given))


def test_a_second_chief_on_the_same_port_is_refused(tmp_path):
    address = "localhost", str(processes.free_port())
    first = distributed.serve(make(tmp_path / "first"), *address)
    try:
        with pytest.raises(InputError, match="another chief or program listens there"):
            distributed.serve(make(tmp_path / "second"), *address)
    finally:
        first.stop(None).wait()
    distributed.serve(make(tmp_path / "third"), *address).stop(None).wait()


def test_a_worker_without_a_chief_does_not_wait_for_ever(tmp_path, monkeypatch, fake):
    monkeypatch.setattr(distributed, "CHIEF_LIMIT", 1)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    given = command(tmp_path, distributed=("w1", f"localhost:{processes.free_port()}"))
    with pytest.raises(InputError, match="no chief answers"):
        distributed.run_shared_search(given, problem(given))


class Killed(BaseException):
    """Stands for kill -9 of a worker: nothing catches it, and nobody is told."""


@contextlib.contextmanager
def one_sign_of_life(path):
    """What a worker writes that is killed soon after."""
    files.write_json(path, {"number": 0})
    yield


def test_a_worker_that_breaks_and_one_that_falls_silent_lose_nothing(
    tmp_path, monkeypatch, fake, capsys
):
    """The third worker ends the search, as if it were alone. All in this process."""
    given = command(tmp_path / "alone")
    alone = runner.run_search(given, problem(given))
    monkeypatch.setattr(distributed, "BEAT", 0.1)
    monkeypatch.setattr(distributed, "SILENCE", 1.0)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    address = f"localhost:{processes.free_port()}"

    def take_part(role):
        given = command(tmp_path / "shared", distributed=(role, address))
        return distributed.run_shared_search(given, problem(given))

    train = fake.train

    def fails(task):
        raise TypeError("a bug in this worker")

    def is_killed(task):
        if fake.ran == 3:
            raise Killed
        return train(task)

    with futures.ThreadPoolExecutor() as pool:
        chief = pool.submit(take_part, "chief")
        with monkeypatch.context() as patch:
            patch.setattr(fake, "train", fails)
            with pytest.raises(TypeError):
                take_part("bad")
        fake.ran = 0
        with monkeypatch.context() as patch:
            patch.setattr(fake, "train", is_killed)
            patch.setattr(distributed, "_alive", one_sign_of_life)
            with pytest.raises(Killed):
                take_part("one")
        assert take_part("two") is None
        shared = chief.result(timeout=60)
    output = capsys.readouterr().out
    assert "worker bad failed: TypeError: a bug in this worker; its trial 0000" in output
    assert "worker one has been silent for 1 s; its trial" in output
    assert {result["worker"] for result in shared["trials"]} == {"one", "two"}
    assert by_settings(shared) == by_settings(alone)
