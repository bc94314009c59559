"""A search in one process: what stops, failures and mistakes in the code cost."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from search_problems import SETTINGS, command, outcome, problem

from kerasunsup.ae import search
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.search import runner
from kerasunsup.training import files, loop


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def run_killed(given, monkeypatch, at: int, whole: bool) -> bool:
    """Searches until the `at`-th write, and stops before or after it; whether it came to that."""
    count = 0
    write = files.write_bytes

    def counted(path, content):
        nonlocal count
        count += 1
        if count == at and not whole:
            raise Killed
        write(path, content)
        if count == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", counted)
        try:
            runner.run_search(given, problem(given))
        except Killed:
            return True
    return False


@pytest.mark.parametrize("kind", ["tune", "grid", "random"])
def test_a_search_killed_at_any_write_ends_with_the_same_result(tmp_path, monkeypatch, fake, kind):
    # Few trials, where each write is tried; most of many writes are alike.
    options = {"grid": {"folds": 2}, "random": {"max_epochs": 3}, "tune": {}}[kind]
    step = {"grid": 11, "random": 1, "tune": 7}[kind]
    given = command(tmp_path / "whole", kind=kind, **options)
    whole = runner.run_search(given, problem(given))
    for at in range(1, 10_000, step):
        folder = tmp_path / str(at)
        given = command(folder, kind=kind, **options)
        if not run_killed(given, monkeypatch, at, whole=at % 2 == 0):
            break
        run_killed(given, monkeypatch, 10, whole=True)  # and once more, soon after
        found = runner.run_search(given, problem(given))
        assert outcome(found) == outcome(whole), f"killed at write {at}"
        assert found["best"] == whole["best"]
        assert found["front"] == whole["front"]
    assert at > 15
    assert len(whole["trials"]) == sum(rung["trials"] for rung in whole["plan"])


def test_a_finished_search_is_read_and_not_repeated(tmp_path, fake):
    given = command(tmp_path)
    first = runner.run_search(given, problem(given))
    count = fake.ran
    again = runner.run_search(given, problem(given))
    assert fake.ran == count
    assert outcome(again) == outcome(first)
    assert again["seconds"] == first["seconds"]


def test_a_trial_that_fails_is_reported_and_the_search_goes_on(tmp_path, fake, capsys):
    fake.fails = {2, 5}
    given = command(tmp_path)
    found = runner.run_search(given, problem(given))
    output = capsys.readouterr().out
    assert output.count("FAILED: InputError: loss became nan") == 2
    assert sum(result["score"] is None for result in found["trials"]) == 2
    assert found["best"] != "0001"


def test_three_failures_in_a_row_stop_the_search_with_the_error(tmp_path, fake):
    fake.fails = {4, 5, 6}
    given = command(tmp_path)
    with pytest.raises(InputError, match=r"3 trials in a row failed.*loss became nan"):
        runner.run_search(given, problem(given))


def test_a_bug_in_the_build_function_stops_before_the_first_trial(tmp_path):
    given = command(tmp_path)

    def build(settings):
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        runner.run_search(given, problem(given, build=build))
    assert not list(tmp_path.rglob("trial_*"))


def test_a_bug_that_only_some_trials_meet_stops_the_search_at_once(tmp_path, monkeypatch, fake):
    def run(task):
        raise AttributeError("a bug")

    monkeypatch.setattr(fake, "train", run)
    given = command(tmp_path)
    with pytest.raises(AttributeError, match="a bug"):
        runner.run_search(given, problem(given))
    assert len(list(tmp_path.rglob("trial_*"))) == 1


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path, monkeypatch, fake):
    given = command(tmp_path)
    original = fake.train

    def interrupted(task):
        if fake.ran == 4:
            raise KeyboardInterrupt
        return original(task)

    with monkeypatch.context() as patch:
        patch.setattr(fake, "train", interrupted)
        with pytest.raises(Interrupted, match=r"4 trials are saved.*same command goes on"):
            runner.run_search(given, problem(given))
    assert len(runner.run_search(given, problem(given))["trials"]) == 23


def test_a_grid_is_cross_validated(tmp_path, capsys):
    given = command(tmp_path, kind="grid", folds=3, max_epochs=1)
    small = problem(given)

    def grid(hp, settings):
        return dataclasses.replace(
            settings,
            latent_dim=hp.Choice("latent_dim", [4]),
            learning_rate=hp.Choice("learning_rate", [0.001, 0.01]),
        )

    with loop.machine(SETTINGS):
        found = runner.run_search(given, dataclasses.replace(small, space=grid))
    assert len(found["trials"]) == 2
    for result in found["trials"]:
        errors = result["fold_mse"]
        assert len(set(errors)) == 3
        assert result["validation_mse"] == pytest.approx(np.mean(errors))
        assert result["standard_deviation"] == pytest.approx(np.std(errors, ddof=1))
        assert result["standard_error"] == pytest.approx(np.std(errors, ddof=1) / 3**0.5)
        assert result["trained_epochs"] == 3
    search.write_best(given, found)
    assert (tmp_path / "tuning" / "ae" / "grid" / "best.json").exists()
    assert not (tmp_path / "tuning" / "ae" / "best.json").exists()  # Hyperband's place
    assert len(search.write_figures(given, found)) == 2
