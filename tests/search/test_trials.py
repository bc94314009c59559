"""How a trial trains: on a shared model, in rungs, in folds."""

from __future__ import annotations

import dataclasses
import itertools

import keras
import numpy as np
import pytest
from search_problems import SETTINGS, splits, trial_runner

from kerasunsup.errors import InputError
from kerasunsup.search import trials
from kerasunsup.training import files, loop


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


def test_trial_seeds_follow_from_seed_settings_and_fold_and_from_no_number():
    chosen = [{"rate": rate, "size": size} for rate in (0.1, 0.2) for size in (4, 8)]
    seeds = {
        trials.trial_seed(seed, one, fold) for seed in (0, 1) for one in chosen for fold in (0, 1)
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert trials.trial_seed(3, {"size": 4, "rate": 0.1}) == trials.trial_seed(3, chosen[0])


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


def test_training_images_of_a_trial_are_deformed_and_those_it_is_judged_by_are_not():
    """With next to no learning the weights stay, so that losses tell the images apart."""
    still = dataclasses.replace(SETTINGS, learning_rate=1e-12)
    with loop.machine(still):
        plain, deformed = (
            trial_runner(deformation=strength).train(trials.Task(still, 5, 0, 1)).history
            for strength in (0.0, 1.0)
        )
    assert deformed["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-6)
    assert abs(deformed["loss"][0] / plain["loss"][0] - 1.0) > 0.001


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
    held_out = [part.positions.tolist() for _, part in parts]
    assert sorted(itertools.chain(*held_out)) == sorted(images.positions.tolist())
    for rest, part in parts:
        assert not set(rest.positions) & set(part.positions)
        assert len(rest) + len(part) == len(images)
