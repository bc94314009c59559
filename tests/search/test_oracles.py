"""What is tried: the trials that are drawn, their number and their lengths."""

from __future__ import annotations

import dataclasses

import pytest
from search_problems import command, make, outcome, problem, space

from kerasunsup.errors import Interrupted
from kerasunsup.search import runner


def drawn(folder, seed: int, number: int = 6) -> list[dict]:
    oracle = make(folder, seed=seed)
    return [oracle.create_trial(f"w{i}").hyperparameters.values for i in range(number)]


def test_a_seed_draws_the_same_trials_and_seed_0_is_one_too(tmp_path):
    assert drawn(tmp_path / "a", 0) == drawn(tmp_path / "b", 0)


def test_neighbouring_seeds_share_no_value(tmp_path):
    # KerasTuner counts up from its seed: 0 and 1 would draw the same numbers, shifted.
    rates = [{v["learning_rate"] for v in drawn(tmp_path / str(seed), seed)} for seed in (0, 1, 2)]
    assert not rates[0] & rates[1] | rates[1] & rates[2]


def test_hyperbands_plan_is_what_it_does(tmp_path, fake):
    given = command(tmp_path, max_epochs=9)
    found = runner.run_search(given, problem(given))
    done: dict[tuple[int, int], int] = {}
    for result in found["trials"]:
        key = (result["first_epoch"], result["last_epoch"])
        done[key] = done.get(key, 0) + 1
    planned: dict[tuple[int, int], int] = {}
    for rung in found["plan"]:
        key = (rung["first_epoch"], rung["last_epoch"])
        planned[key] = planned.get(key, 0) + rung["trials"]
    assert done == planned == {(0, 1): 9, (1, 3): 3, (3, 9): 3, (0, 3): 5, (0, 9): 3}
    assert found["epochs"] == 75


def test_every_code_size_is_taken_to_the_last_epoch(tmp_path, monkeypatch, fake, capsys):
    """Even those that halving drops early, and after a stop in between too."""

    def many_sizes(hp, settings):
        latent_dim = hp.Choice("latent_dim", list(range(2, 9)))  # before `space` asks for fewer
        return dataclasses.replace(space(hp, settings), latent_dim=latent_dim)

    train = fake.train

    def small_codes_win(task):
        outcome = train(task)
        error = outcome.error * task.settings.latent_dim**3
        return dataclasses.replace(outcome, error=error)

    monkeypatch.setattr(fake, "train", small_codes_win)
    given = command(tmp_path, max_epochs=9)
    wanted = problem(given, space=many_sizes, reference=lambda size: 1.0)
    found = runner.run_search(given, wanted)
    results = {result["trial"]: result for result in found["trials"]}
    assert {results[best]["last_epoch"] for best in found["front"].values()} == {9}
    assert set(found["front"]) == {str(r["settings"]["latent_dim"]) for r in found["trials"]}
    added = found["trials"][23:]
    assert 1 <= len(added) <= 7
    for result in added:
        size = result["settings"]["latent_dim"]
        assert (result["first_epoch"], result["parent"]) == (0, None)
        earlier = [r for r in found["trials"][:23] if r["settings"]["latent_dim"] == size]
        best = min(earlier, key=lambda r: r["score"])
        assert best["last_epoch"] < 9
        assert result["settings"] == best["settings"]
    assert sum(rung["trials"] for rung in found["plan"]) == len(found["trials"])
    output = capsys.readouterr().out
    assert "at most 30 trials" in output
    assert f"trial {len(found['trials'])}/{len(found['trials'])}" in output

    fake.ran = 0

    def stopped(task):
        if fake.ran == 24:
            monkeypatch.setattr(fake, "train", small_codes_win)
            raise KeyboardInterrupt
        return small_codes_win(task)

    monkeypatch.setattr(fake, "train", stopped)
    given = command(tmp_path / "stopped", max_epochs=9)
    with pytest.raises(Interrupted, match="24 trials are saved"):
        runner.run_search(given, dataclasses.replace(wanted, settings=given.config))
    again = runner.run_search(given, dataclasses.replace(wanted, settings=given.config))
    assert outcome(again) == outcome(found)


def test_random_search_costs_what_hyperband_does(tmp_path):
    cost = sum(rung.epochs for rung in make(tmp_path / "h").planned_rungs())
    assert (
        abs(sum(rung.epochs for rung in make(tmp_path / "r", "random").planned_rungs()) - cost)
        <= 9 / 2
    )


def test_a_trial_that_fails_costs_its_bracket_no_promotion(tmp_path, fake):
    # In KerasTuner a failed trial never counts as one that is thrown out.
    fake.fails = {2, 5}
    given = command(tmp_path)
    found = runner.run_search(given, problem(given))
    lengths = [(t["first_epoch"], t["last_epoch"]) for t in found["trials"]]
    assert {key: lengths.count(key) for key in lengths} == {
        (0, 1): 9, (1, 3): 3, (3, 9): 3, (0, 3): 5, (0, 9): 3,
    }  # fmt: skip
    failed = {t["trial"] for t in found["trials"] if t["score"] is None}
    assert len(failed) == 2
    assert not failed & {t["parent"] for t in found["trials"]}
    assert not list(tmp_path.rglob("*.npz"))
