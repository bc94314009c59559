"""Searches: what is tried, how a trial trains, what a stop costs, what is left behind."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from kerasunsup import cli
from kerasunsup.ae import __main__ as ae
from kerasunsup.ae import experiment as ae_experiment
from kerasunsup.ae import search
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import batches as data_batches
from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.evaluation import latent_space
from kerasunsup.search import distributed, oracles, record, runner, session, trials
from kerasunsup.search.settings import SearchSettings
from kerasunsup.settings import Command, read_config, to_json
from kerasunsup.training import callbacks, files, loop, run_folder, tensorboard

SETTINGS = AutoencoderSettings(
    batch_size=16, latent_dim=4, filters=(4,), hidden_units=8, schedule="cosine"
)


def pixels() -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), np.uint8)
    values[:, :, 4:] //= 4
    return values


def splits() -> Splits:
    pool = ImageSet(pixel_storage.MemoryStore(pixels()))
    return Splits(
        pool.subset(range(80)), pool.subset(range(80, 100)), pool.subset(range(100, 120)),
        "noise", None, None,
    )  # fmt: skip


def space(hp, settings):
    """One shape, so that a search compiles once."""
    return dataclasses.replace(
        settings,
        latent_dim=hp.Choice("latent_dim", [4, 8]),
        learning_rate=hp.Float("learning_rate", 1e-3, 1e-2, sampling="log"),
        weight_decay=hp.Choice("weight_decay", [0.0, 1e-3, 1e-2]),
    )


def command(folder: Path, *, settings=SETTINGS, kind="tune", **options) -> Command:
    options = {kind: True, "max_epochs": 9, "tuning": str(folder / "tuning"), **options}
    return Command("ae", settings, folder / "logs", None, False, (), SearchSettings(**options))


def problem(given: Command, **changes) -> session.Problem:
    made = search.problem(given, splits())
    if not given.search.grid:
        made = dataclasses.replace(made, space=space)
    return dataclasses.replace(made, **changes)


def trial_runner(settings=SETTINGS, max_epochs=9, **changes) -> trials.TrialRunner:
    parts = splits()
    return trials.TrialRunner(
        [(parts.train, parts.validation)],
        settings,
        build=lambda chosen: ae_experiment.build(chosen, parts.image_shape),
        rate=loop.learning_rate,
        max_epochs=max_epochs,
        **changes,
    )


def test_pca_is_given_the_corrupted_images_that_the_trials_are_given(tmp_path):
    parts, errors = splits(), {}
    for noise in (0.0, 0.5):
        settings = dataclasses.replace(SETTINGS, noise=noise, batch_size=32)
        wanted = search.problem(command(tmp_path, settings=settings), parts)
        errors[noise] = wanted.reference(4)
        batches = data_batches.evaluation_batches(parts.validation, 32, prepare=wanted.prepare)
        given = np.concatenate([pair[0].numpy() for pair in batches])
        pca = latent_space.principal_components(
            parts.train.array().reshape(len(parts.train), -1), 4, 0
        )
        restored = pca.inverse_transform(pca.transform(given.reshape(len(given), -1)))
        clean = parts.validation.array().reshape(len(given), -1)
        assert errors[noise] == pytest.approx(np.square(restored - clean).mean(), rel=1e-4)
    assert errors[0.5] > 1.05 * errors[0.0]


class FakeTrialRunner:
    """Trains nothing: an error that follows from settings, seed and epochs, and a state."""

    def __init__(self):
        self.fails: set[int] = set()
        self.ran = 0

    def warm_up(self, settings):
        return 0.01

    def train(self, task: trials.Task) -> trials.FoldResult:
        self.ran += 1
        if self.ran in self.fails:
            raise InputError("loss became nan")
        seed = task.seed
        if task.parent is not None:
            stored = files.read_arrays(task.parent)
            assert int(stored["epochs"]) == task.first_epoch
            seed = int(stored["seed"])
        luck = np.random.default_rng(seed).random()
        error = (task.settings.learning_rate + luck * 0.01) / task.last_epoch
        losses = [error] * task.last_epoch
        return trials.FoldResult(
            error, {"loss": losses, "val_loss": losses, "learning_rate": losses},
            task.last_epoch - task.first_epoch, 0.01,
            lambda: {"epochs": np.array(task.last_epoch), "seed": np.array(seed)}, 1000,
        )  # fmt: skip


@pytest.fixture
def fake(monkeypatch):
    made = FakeTrialRunner()
    monkeypatch.setattr(session.Search, "trial_runner", property(lambda self: made))
    monkeypatch.setattr(tensorboard, "write_trial", lambda *_: None)
    return made


def outcome(found: dict) -> list:
    """What must not depend on stops."""
    keys = ("trial", "settings", "score", "validation_mse", "parent", "history", "last_epoch")
    return sorted(
        ([result.get(key) for key in keys] for result in found["trials"]), key=lambda row: row[0]
    )


# ------------------------------------------------------------------------------- what is tried


def make(folder, kind="hyperband", **options):
    return oracles.make(
        kind, lambda hp: space(hp, SETTINGS), folder, **{"seed": 0, "max_epochs": 9, **options}
    )


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


def test_trial_seeds_follow_from_seed_settings_and_fold_and_from_no_number():
    chosen = [{"rate": rate, "size": size} for rate in (0.1, 0.2) for size in (4, 8)]
    seeds = {
        trials.trial_seed(seed, one, fold) for seed in (0, 1) for one in chosen for fold in (0, 1)
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert trials.trial_seed(3, {"size": 4, "rate": 0.1}) == trials.trial_seed(3, chosen[0])


def by_settings(found: dict) -> list[str]:
    """What a search found, whatever its trials' numbers."""
    keys = ("settings", "first_epoch", "last_epoch", "score", "history")
    return sorted(json.dumps([result.get(key) for key in keys]) for result in found["trials"])


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


# ----------------------------------------------------------------------------- how a trial trains


@pytest.fixture(scope="module")
def shop():
    with loop.machine(SETTINGS):
        yield trial_runner()


def frozen(outcome: trials.FoldResult) -> trials.FoldResult:
    """With the state of now: the next trial on the same model changes it."""
    kept = outcome.state()
    return dataclasses.replace(outcome, state=lambda: kept)


def same(one: trials.FoldResult, other: trials.FoldResult) -> None:
    assert one.history == other.history
    for name, value in one.state().items():
        np.testing.assert_array_equal(value, other.state()[name])


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_trial_on_a_used_model_equals_one_on_a_new_model(shop, schedule):
    settings = dataclasses.replace(
        SETTINGS, learning_rate=0.007, weight_decay=0.1, schedule=schedule
    )
    shop.train(trials.Task(dataclasses.replace(SETTINGS, weight_decay=0.0), 5, 0, 3))
    task = trials.Task(settings, 6, 0, 2)
    used = shop.train(task)
    used = frozen(used)
    same(used, trial_runner().train(task))
    without = shop.train(trials.Task(dataclasses.replace(settings, weight_decay=0.0), 6, 0, 2))
    assert without.history["loss"] != used.history["loss"]


def test_trials_of_one_shape_share_one_compiled_step(shop):
    before = shop.num_compiled
    for rate in (0.001, 0.01):
        shop.train(trials.Task(dataclasses.replace(SETTINGS, learning_rate=rate), 1, 0, 1))
    assert shop.num_compiled == max(1, before)
    model = shop.model(SETTINGS, 0)
    assert model.train_function is not None
    shop.train(trials.Task(dataclasses.replace(SETTINGS, latent_dim=5), 1, 0, 1))
    assert shop.num_compiled == max(1, before) + 1


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_promoted_trial_equals_one_that_never_stopped(shop, tmp_path, schedule):
    settings = dataclasses.replace(SETTINGS, schedule=schedule)
    whole = shop.train(trials.Task(settings, 3, 0, 4))
    whole = frozen(whole)
    first = shop.train(trials.Task(settings, 3, 0, 2))
    files.write_arrays(tmp_path / "state.npz", first.state())
    shop.train(trials.Task(settings, 4, 0, 1))  # another one in between
    second = shop.train(trials.Task(settings, 99, 2, 4, tmp_path / "state.npz"))
    assert second.trained == 2
    same(whole, second)


def test_a_promoted_trial_keeps_its_optimizers_step_count(shop, tmp_path):
    first = shop.train(trials.Task(SETTINGS, 3, 0, 2))
    files.write_arrays(tmp_path / "state.npz", first.state())
    counts = []

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            counts.append(int(self.model.optimizer.iterations.numpy()))

    original = trials._History
    try:
        trials._History = type("History", (original,), {"on_train_begin": Look.on_train_begin})
        shop.train(trials.Task(SETTINGS, 3, 2, 3, tmp_path / "state.npz"))
        shop.train(trials.Task(SETTINGS, 3, 0, 1))
    finally:
        trials._History = original
    assert counts == [2 * 5, 0]


def test_patience_counts_over_a_promotion(shop, tmp_path):
    settings = dataclasses.replace(SETTINGS, learning_rate=0.9, patience=3, schedule="constant")
    whole = shop.train(trials.Task(settings, 3, 0, 40))
    count = len(whole.history["loss"])
    assert count < 40
    first = shop.train(trials.Task(settings, 3, 0, count - 1))
    files.write_arrays(tmp_path / "state.npz", first.state())
    second = shop.train(trials.Task(settings, 3, count - 1, 40, tmp_path / "state.npz"))
    assert second.history == whole.history
    files.write_arrays(tmp_path / "state.npz", second.state())
    third = shop.train(trials.Task(settings, 3, 40, 60, tmp_path / "state.npz"))
    assert (third.trained, third.history) == (0, whole.history)


def test_the_precision_holds_in_every_trial():
    settings = dataclasses.replace(SETTINGS, precision="mixed_bfloat16")
    with loop.machine(settings):
        shop = trial_runner(settings)
        for size in (4, 5):
            chosen = dataclasses.replace(settings, latent_dim=size)
            for seed in (1, 2):
                shop.train(trials.Task(chosen, seed, 0, 1))
                hidden = shop.model(chosen, seed).get_layer("encoder").get_layer("hidden")
                assert hidden.compute_dtype == "bfloat16"


def test_a_loss_that_is_no_number_is_the_trials_own_failure(shop):
    with pytest.raises(InputError, match="became"):
        shop.train(trials.Task(dataclasses.replace(SETTINGS, learning_rate=1e30), 3, 0, 3))
    fine = shop.train(trials.Task(SETTINGS, 3, 0, 1))  # the next on this model is not harmed
    assert np.isfinite(fine.error)


def test_folds_are_disjoint_and_whole():
    images = splits().train
    parts = trials.folds(images, 3)
    held_out = [part._indices.tolist() for _, part in parts]
    assert sorted(itertools.chain(*held_out)) == sorted(images._indices.tolist())
    for rest, part in parts:
        assert not set(rest._indices) & set(part._indices)
        assert len(rest) + len(part) == len(images)


# ------------------------------------------------------------------------------ what a stop costs


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
    options = {"folds": 2} if kind == "grid" else {}
    given = command(tmp_path / "whole", kind=kind, **options)
    whole = runner.run_search(given, problem(given))
    step = 1 if kind == "random" else 7
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
    assert at > 30
    assert len(whole["trials"]) == sum(rung["trials"] for rung in whole["plan"])


def test_a_finished_search_is_read_and_not_repeated(tmp_path, fake):
    given = command(tmp_path)
    first = runner.run_search(given, problem(given))
    count = fake.ran
    again = runner.run_search(given, problem(given))
    assert fake.ran == count
    assert outcome(again) == outcome(first)
    assert again["seconds"] == first["seconds"]


def test_states_that_no_rung_needs_are_deleted(tmp_path, fake):
    given = command(tmp_path)
    kept = []
    write = record.SearchFolder.prune

    def prune(self, needed):
        write(self, needed)
        kept.append(len(list(self.path.glob("states/*.npz"))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record.SearchFolder, "prune", prune)
        found = runner.run_search(given, problem(given))
    assert max(kept) <= 4  # three to be promoted, and one that is being promoted
    assert kept[-1] == 0
    disk = found["disk"]
    assert disk["state_bytes_left"] == 0
    assert disk["state_bytes_at_most"] > 0
    assert disk["state_bytes_if_all_were_kept"] == 1000 * 23


def changed_limit(given):
    pool = ImageSet(pixel_storage.MemoryStore(pixels()))
    return problem(given, splits=dataclasses.replace(splits(), train=pool.subset(range(70))))


def changed_space(given):
    def other(hp, settings):
        return dataclasses.replace(settings, latent_dim=hp.Choice("latent_dim", [4, 8, 16]))

    return problem(given, space=other)


@pytest.mark.parametrize(
    ("options", "settings", "make_problem", "text"),
    [
        ({"max_epochs": 5}, {}, problem, "--max-epochs 9, received 5"),
        ({}, {"batch_size": 8}, problem, "--batch-size 16, received 8"),
        ({}, {"seed": 1}, problem, "--seed 0, received 1"),
        ({}, {}, changed_limit, "--data"),
        ({}, {}, changed_space, "space latent_dim"),
    ],
)
def test_a_changed_search_is_refused_and_overwrite_starts_anew(
    tmp_path, fake, options, settings, make_problem, text
):
    given = command(tmp_path)
    runner.run_search(given, problem(given))
    changed = command(tmp_path, settings=dataclasses.replace(SETTINGS, **settings), **options)
    with pytest.raises(InputError, match=text) as caught:
        runner.run_search(changed, make_problem(changed))
    assert "--overwrite" in str(caught.value)
    fake.ran = 0
    changed = dataclasses.replace(
        changed, search=dataclasses.replace(changed.search, overwrite=True)
    )
    runner.run_search(changed, make_problem(changed))
    assert fake.ran > 1


def test_a_search_with_seeds_by_number_is_read_where_it_is_over_and_else_refused(tmp_path, fake):
    given = command(tmp_path)
    found = runner.run_search(given, problem(given))
    path = tmp_path / "tuning" / "ae" / "hyperband" / "fingerprint.json"
    before = files.read_json(path)
    del before["trial_seeds"]
    files.write_json(path, before)
    with pytest.raises(InputError, match=r"seeds of trials by number.*received by settings"):
        runner.run_search(given, problem(given))
    files.write_json(path.with_name("record.json"), found)
    fake.ran = 0
    again = runner.run_search(given, problem(given))
    assert fake.ran == 0
    assert outcome(again) == outcome(found)
    assert "trial_seeds" not in again["fingerprint"]


def test_settings_that_no_trial_depends_on_may_change(tmp_path, fake):
    given = command(tmp_path)
    runner.run_search(given, problem(given))
    longer = dataclasses.replace(SETTINGS, epochs=7, num_codes=20, latent_dim=8)
    given = command(tmp_path, settings=longer)
    count = fake.ran
    runner.run_search(given, problem(given))
    assert fake.ran == count


def test_two_searches_in_one_folder_are_refused(tmp_path, fake):
    folder = record.SearchFolder(tmp_path / "tuning" / "ae" / "hyperband")
    folder.lock()
    given = command(tmp_path)
    with pytest.raises(InputError, match="in use by another search"):
        runner.run_search(given, problem(given))
    folder.close()
    runner.run_search(given, problem(given))


def test_a_trial_that_fails_is_reported_and_the_search_goes_on(tmp_path, fake, capsys):
    fake.fails = {2, 5}
    given = command(tmp_path)
    found = runner.run_search(given, problem(given))
    output = capsys.readouterr().out
    assert output.count("FAILED: InputError: loss became nan") == 2
    assert sum(result["score"] is None for result in found["trials"]) == 2
    assert found["best"] != "0001"


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


# --------------------------------------------------------------------------- what is left behind


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A real search through the command line, and its folder."""
    folder = tmp_path_factory.mktemp("searched")
    np.savez(folder / "images.npz", images=pixels())
    status = ae.main(arguments(folder))
    assert status == 0
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        "--tune", "--max-epochs", "3", "--search-only", "--data", str(folder / "images.npz"),
        "--batch-size", "16", "--filters", "4", "--hidden-units", "8", "--latent-dim", "8",
        "--tuning", str(folder / "tuning"), "--logs", str(folder / "logs"), *more,
    ]  # fmt: skip


def test_best_files_are_valid_configs_and_the_one_asked_for_is_best_json(searched):
    folder = searched / "tuning" / "ae"
    best = AutoencoderSettings(**read_config(AutoencoderSettings, folder / "best.json"))
    assert (best.latent_dim, best.hidden_units, best.schedule) == (8, 8, "cosine")
    sizes = {int(path.stem[5:]) for path in folder.glob("best_*.json")}
    found = files.read_json(folder / "record.json")
    assert sizes >= {int(size) for size in found["front"]}
    for path in folder.glob("best_*.json"):
        read = read_config(AutoencoderSettings, path)
        assert read["latent_dim"] == int(path.stem[5:])
        assert not any("/" in name for name in read)  # none of KerasTuner's own values


def test_the_record_says_all_that_is_needed_to_judge_a_search(searched):
    found = files.read_json(searched / "tuning" / "ae" / "record.json")
    assert found["kind"] == "hyperband"
    assert found["environment"]["versions"]["keras-tuner"]
    assert found["environment"]["seed"] == 0
    assert found["seconds"] > 0
    assert found["epochs"] == sum(result["trained_epochs"] for result in found["trials"])
    best = min(
        (result for result in found["trials"] if result["score"] is not None),
        key=lambda result: result["score"],
    )
    assert found["best"] == best["trial"]
    for result in found["trials"]:
        size = str(result["settings"]["latent_dim"])
        assert result["score"] == result["validation_mse"] / found["reference"][size]
        assert result["validation_mse"] == min(result["history"]["val_loss"])
        assert len(result["history"]["loss"]) == result["last_epoch"]


def test_every_trial_is_in_tensorboard_with_settings_score_and_curve(searched):
    folder = searched / "logs" / "ae_search" / "hyperband"
    found = files.read_json(searched / "tuning" / "ae" / "record.json")

    def events(path):
        accumulator = event_accumulator.EventAccumulator(str(path))
        accumulator.Reload()
        return accumulator

    def hparams(accumulator, name):
        content = accumulator.summary_metadata[f"_hparams_/{name}"].plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(content)

    experiment = hparams(events(folder), "experiment").experiment
    named = {info.name: info for info in experiment.hparam_infos}
    assert set(named) == {"latent_dim", "learning_rate", "weight_decay"}
    assert named["learning_rate"].domain_interval.max_value == pytest.approx(1e-2)
    assert [v.number_value for v in named["latent_dim"].domain_discrete.values] == [8, 16, 32, 64]
    assert [info.name.tag for info in experiment.metric_infos] == ["validation/mse", "score"]
    for result in found["trials"]:
        trial = events(folder / result["trial"])
        values = hparams(trial, "session_start_info").session_start_info.hparams
        assert values["learning_rate"].number_value == result["settings"]["learning_rate"]
        assert set(trial.Tags()["tensors"]) >= {"validation/mse", "score"}
        curve = events(folder / result["trial"] / "validation").Tensors("epoch_loss")
        assert [event.step for event in curve] == list(range(result["last_epoch"]))


def test_the_plan_a_line_a_trial_and_a_table_are_printed(tmp_path, fake, capsys):
    given = command(tmp_path)
    runner.run_search(given, problem(given))
    output = capsys.readouterr().out
    assert "bracket 2: 9 trials to epoch 1, then the best 3" in output
    assert "then the best of each latent_dim that stopped before epoch 9" in output
    assert "at most 25 trials, 93 epochs in all, about 0:01" in output
    lines = [line for line in output.splitlines() if line.startswith("trial ")]
    assert len(lines) == 23
    assert all(word in lines[0] for word in ("learning_rate", "MSE", "score", "best", "left"))
    assert "latent_dim  validation MSE" in output


def test_the_figures_are_drawn(searched, tmp_path):
    assert (searched / "tuning" / "ae" / "search_progress.png").stat().st_size > 5000
    assert (searched / "tuning" / "ae" / "hyperband" / "code_size.png").stat().st_size > 5000


def test_searches_are_drawn_beside_those_on_the_same_data_and_settings_only(searched, tmp_path):
    found = files.read_json(searched / "tuning" / "ae" / "record.json")
    given = command(tmp_path, kind="random")
    folder = tmp_path / "tuning" / "ae"
    this = found | {"kind": "random"}
    files.write_json(folder / "record.json", found)
    assert list(search.comparable(given, this)) == ["hyperband", "random"]
    for key, value in (("data", "0"), ("settings", {"seed": 1})):
        other = found | {"kind": "grid", "fingerprint": found["fingerprint"] | {key: value}}
        files.write_json(folder / "grid" / "record.json", other)
        assert list(search.comparable(given, this)) == ["hyperband", "random"]
    files.write_json(folder / "grid" / "record.json", found | {"kind": "grid"})
    assert list(search.comparable(given, this)) == ["hyperband", "grid", "random"]


def test_the_best_is_trained_into_a_run_of_its_own(searched, capsys):
    given = arguments(searched, "--epochs", "2", "--name", "best", "--num-samples", "100")
    given.remove("--search-only")
    assert ae.main(given) == 0
    run = searched / "logs" / "ae" / "best"
    stored = read_config(AutoencoderSettings, run / "config.json")
    best = read_config(AutoencoderSettings, searched / "tuning" / "ae" / "best.json")
    assert stored == best
    assert stored["epochs"] == 2
    assert (run / "metrics.json").exists()
    capsys.readouterr()
    assert ae.main(given) == 2  # known before anything is searched
    assert "exists already" in capsys.readouterr().err


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


def test_best_so_far_counts_all_cost_and_the_errors_that_fit():
    results = [
        {"trained_epochs": 2, "clock": 1.0, "score": 1.0, "validation_mse": e, "settings": {"d": d}}
        for e, d in ((0.5, 8), (0.1, 64), (0.7, 8), (0.4, 8))
    ]
    results.insert(2, {"trained_epochs": 0, "clock": 1.0, "score": None, "settings": {"d": 8}})
    assert record.best_so_far(results, d=8)[::2] == ([2, 4, 4, 6, 8], [0.5, 0.5, 0.5, 0.5, 0.4])


# ------------------------------------------------------------------------- killed, and together


def child(folder: Path, *more: str, code: str | None = None) -> subprocess.Popen:
    start = ["-m", "kerasunsup.ae"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *start, *arguments(folder, *more)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip


def test_a_search_killed_by_the_system_goes_on_to_the_same_result(searched, tmp_path):
    np.savez(tmp_path / "images.npz", images=pixels())
    process = child(tmp_path)
    folder = tmp_path / "tuning" / "ae" / "hyperband"
    wait_for(lambda: list(folder.glob("trial_*/result.json")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(list(folder.glob("trial_*/result.json")))
    assert ae.main(arguments(tmp_path)) == 0
    one, other = (
        files.read_json(place / "tuning" / "ae" / "record.json") for place in (searched, tmp_path)
    )
    assert done < len(other["trials"])
    assert outcome(one) == outcome(other)


def wait_for(condition, process: subprocess.Popen | None = None, seconds: float = 120) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


CRASHING = """
import sys
from kerasunsup.ae import __main__ as ae; from kerasunsup import tensorflow_startup
tensorflow_startup.import_tensorflow()
from kerasunsup.search import trials
def train(self, task):
    raise TypeError("a bug in this worker")
trials.TrialRunner.train = train
sys.exit(ae.main(sys.argv[1:]))
"""


def test_two_workers_and_one_that_breaks_lose_nothing(searched, tmp_path, monkeypatch, capsys):
    """One worker has a bug, one is killed; the third ends the search, as if it were alone."""
    np.savez(tmp_path / "images.npz", images=pixels())
    monkeypatch.setattr(distributed, "SILENCE", 6.0)
    address = f"localhost:{free_port()}"
    folder = tmp_path / "tuning" / "ae" / "hyperband"
    signs = folder / "workers"
    workers = {}
    problems = []

    def drive() -> None:
        try:
            workers["bad"] = child(tmp_path, "--distributed", "bad", address, code=CRASHING)
            wait_for(lambda: workers["bad"].poll() is not None)
            workers["one"] = child(tmp_path, "--distributed", "one", address)
            wait_for(lambda: list(folder.glob("trial_*/result.json")), workers["one"])
            workers["one"].send_signal(signal.SIGKILL)
            workers["two"] = child(tmp_path, "--distributed", "two", address)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=drive)
    thread.start()
    status = ae.main(arguments(tmp_path, "--distributed", "chief", address))
    thread.join()
    outputs = {name: worker.communicate(timeout=60)[0] for name, worker in workers.items()}
    assert not problems
    assert status == 0
    output = capsys.readouterr().out
    assert "worker bad failed: TypeError: a bug in this worker; its trial 0000" in output
    assert "worker one has been silent for 6 s" in output
    assert "a bug in this worker" in outputs["bad"]
    assert workers["bad"].returncode == 1
    assert workers["two"].returncode == 0, outputs["two"]
    assert (signs / "two.json").exists()
    alone, shared = (
        files.read_json(place / "tuning" / "ae" / "record.json") for place in (searched, tmp_path)
    )
    assert {result["worker"] for result in shared["trials"]} <= {"one", "two"}
    assert by_settings(shared) == by_settings(alone)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_a_chief_without_workers_does_not_wait_for_ever(tmp_path, monkeypatch, fake):
    monkeypatch.setattr(distributed, "PATIENCE", 1.0)
    given = command(tmp_path, distributed=("chief", f"localhost:{free_port()}"))
    with pytest.raises(InputError, match="no worker for 1 s, 0 trials are kept"):
        distributed.run_shared_search(given, problem(given))


def test_a_second_chief_on_the_same_port_is_refused(tmp_path):
    address = "localhost", str(free_port())
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
    given = command(tmp_path, distributed=("w1", f"localhost:{free_port()}"))
    with pytest.raises(InputError, match="no chief answers"):
        distributed.run_shared_search(given, problem(given))


# ------------------------------------------------------------------------------- the flags


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--tune", "--grid"], "--tune and --grid are two searches"),
        (["--folds", "3"], "--folds belongs to a search"),
        (["--tune", "--folds", "3"], "--folds belongs to --grid"),
        (["--overwrite"], "--overwrite belongs to a search"),
        (["--tune", "--max-epochs", "0"], "--max-epochs must be at least 1"),
        (["--tune", "--distributed", "chief"], "a role and an address"),
        (["--tune", "--resume", "--name", "x"], "a search goes on by itself"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(capsys, options, text):
    assert ae.main(options) == 2
    assert text in capsys.readouterr().err


def parse(*arguments: str) -> Command:
    return cli.parse(
        "ae", AutoencoderSettings, description="", quick={"epochs": 2, "limit": 1000},
        search=SearchSettings, search_defaults=ae._SEARCH_DEFAULTS, argv=arguments,
    )  # fmt: skip


def test_a_search_has_a_falling_rate_and_wider_layers_unless_told_otherwise(tmp_path):
    assert parse().config.schedule == "constant"
    assert parse("--tune").config.schedule == "cosine"
    assert (parse().config.hidden_units, parse("--tune").config.hidden_units) == (128, 256)
    assert parse("--tune", "--hidden-units", "128").config.hidden_units == 128
    assert parse("--tune", "--schedule", "constant").config.schedule == "constant"
    (tmp_path / "c.json").write_text(json.dumps({"schedule": "constant"}))
    assert parse("--tune", "--config", str(tmp_path / "c.json")).config.schedule == "constant"


def test_search_flags_are_no_settings():
    given = parse("--grid", "--quick")
    assert (given.search.kind, given.search.max_epochs, given.search.folds) == ("grid", 3, 2)
    assert not {"tune", "grid", "folds"} & set(to_json(given.config))


def test_a_run_on_a_cosine_that_stops_goes_on_to_the_same_end(tmp_path, monkeypatch):
    def start(name: str, resume: bool = False) -> loop.Fitted:
        given = Command("ae", settings, tmp_path, name, resume, ())
        with loop.machine(settings), run_folder.opened(given) as run:
            model = ae_experiment.build(settings, (8, 8, 1))
            rate = functools.partial(loop.learning_rate, settings, settings.epochs)
            return loop.fit(model, splits(), settings, run, rate=rate)

    settings = dataclasses.replace(SETTINGS, epochs=5)
    whole = start("whole")
    rates = whole.history["learning_rate"]
    expected = [loop.learning_rate(settings, 5, epoch) for epoch in range(5)]
    assert rates == pytest.approx(expected, rel=1e-6)

    def stop(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StopOnNonFinite, "on_epoch_end", stop)
        with pytest.raises(Interrupted):
            start("stopped")
    again = start("stopped", resume=True)
    for name in ("loss", "val_loss", "learning_rate"):
        assert again.history[name] == whole.history[name]


def test_the_last_epoch_on_a_cosine_has_one_percent_of_the_rate():
    rates = [loop.learning_rate(SETTINGS, 10, epoch) for epoch in range(12)]
    assert rates[0] == SETTINGS.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert rates[9] == rates[11] == pytest.approx(0.01 * SETTINGS.learning_rate)
    assert rates[8] > 1.5 * rates[9]
    assert loop.learning_rate(SETTINGS, 1, 0) == SETTINGS.learning_rate  # of a single epoch


@pytest.mark.parametrize("kind", ["tune", "grid", "random"])
def test_the_wide_space_chooses_the_networks_shape_too(tmp_path, kind):
    chosen = {}
    for wide in (False, True):
        given = command(tmp_path, kind=kind, wide=wide)
        made = session.Search(given, search.problem(given, splits()))
        chosen[wide] = set(made.names)
        settings = made.settings_of(made.oracle.create_trial("local"))
        assert isinstance(settings, AutoencoderSettings)
        ae_experiment.check(settings, splits())  # every choice can be built
    assert chosen[False] == {"latent_dim", "learning_rate", "weight_decay"}
    added = {"hidden_units"} if kind == "grid" else {"hidden_units", "filters"}
    assert chosen[True] == chosen[False] | added
