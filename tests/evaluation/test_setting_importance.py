"""What each setting explains: against sums over a whole grid, and where the answer is known."""

import itertools

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from kerasunsup.evaluation import setting_importance
from kerasunsup.evaluation.setting_importance import main_effects

RANDOM = np.random.default_rng(0)


def test_the_effects_of_a_tree_are_those_of_its_answers_on_a_whole_grid():
    values = [np.arange(4.0), None, np.arange(3.0), np.array([20.0])]
    points = np.stack(
        [RANDOM.integers(4, size=60), np.round(RANDOM.random(60), 2), RANDOM.integers(3, size=60),
         RANDOM.choice([3, 7, 20], 60)], axis=1,
    ).astype(float)  # fmt: skip
    tree = DecisionTreeRegressor(random_state=0, min_samples_leaf=3)
    tree.fit(points, points[:, 0] + 2.0 * points[:, 1] ** 2 + 0.1 * points[:, 3])
    # A threshold lies between two hundredths, so that the middles of finer cells are enough.
    fine = (np.arange(2000) + 0.5) / 2000
    axes = [fine if choices is None else choices for choices in values]
    grid = np.array(list(itertools.product(*axes)))
    answers = tree.predict(grid).reshape([len(axis) for axis in axes])
    expected = []
    for column in range(4):
        others = tuple(axis for axis in range(4) if axis != column)
        expected.append(answers.mean(axis=others).var() / answers.var())
    found = setting_importance._main_effects_of_tree(tree.tree_, values)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert found[3] == 0.0


def test_what_only_works_together_is_no_main_effect():
    points = np.array(list(itertools.product([0.0, 1.0], repeat=2)) * 10)
    values = [np.array([0.0, 1.0])] * 2
    either = main_effects(points, np.abs(points[:, 0] - points[:, 1]), np.arange(40), values)
    assert either.shares.sum(axis=1).mean() < 0.1
    both = main_effects(points, 2.0 * points[:, 0] + points[:, 1], np.arange(40), values)
    np.testing.assert_allclose(both.shares.mean(axis=0), [0.8, 0.2], atol=0.02)
    assert both.explained > 0.99


def test_noise_is_not_explained_and_one_seed_gives_one_answer():
    points = RANDOM.random((40, 3))
    noise = RANDOM.normal(size=40)
    first, again = (main_effects(points, noise, np.arange(40), [None] * 3) for _ in range(2))
    assert first.explained < 0.2
    np.testing.assert_array_equal(first.shares, again.shares)


def test_trials_of_one_group_do_not_explain_each_other():
    points = np.repeat(np.linspace(0.0, 1.0, 20)[:, None], 3, axis=0)
    targets = np.repeat([1.0, -1.0] * 10, 3)  # what neighbours say is wrong
    values = [None]
    assert main_effects(points, targets, np.arange(60), values).explained > 0.8
    assert main_effects(points, targets, np.repeat(range(20), 3), values).explained < 0.2


def test_targets_that_are_all_the_same_have_no_effects():
    found = main_effects(RANDOM.random((20, 2)), np.ones(20), np.arange(20), [None, None])
    assert found.shares.shape == (0, 2)
    assert found.explained == 0.0


@pytest.mark.parametrize(
    ("number", "groups", "values"), [(4, [0] * 5, 2), (5, [0] * 5, 2), (5, range(5), 1)]
)
def test_what_does_not_fit_together_is_refused(number, groups, values):
    with pytest.raises(ValueError, match="received"):
        main_effects(np.ones((5, 2)), np.ones(number), np.array(groups), [None] * values)
