"""Which codes are worth labelling: clouds of unequal size, copies, few codes and many."""

import numpy as np
import pytest

from kerasunsup.evaluation import selection
from kerasunsup.evaluation.selection import worth_labelling

SIZES = (400, 200, 80, 40, 25)


def clouds(apart: float, seed: int = 0, sizes=SIZES) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds of unequal size in eight dimensions, and which each code is of."""
    random = np.random.default_rng(seed)
    centers = apart * np.eye(8)
    codes = [random.normal(size=(size, 8)) + centers[i] for i, size in enumerate(sizes)]
    return np.concatenate(codes).astype(np.float32), np.repeat(range(len(sizes)), sizes)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("apart", [6.0, 20.0])
def test_as_many_choices_as_clouds_hit_each_once_and_the_largest_first(apart, seed):
    codes, cloud_of = clouds(apart, seed)
    shuffled = np.random.default_rng(seed).permutation(len(codes))
    chosen = worth_labelling(codes[shuffled], len(SIZES), seed)
    hit = cloud_of[shuffled][chosen]
    assert sorted(hit) == list(range(len(SIZES)))
    assert hit[0] == 0


def test_the_first_choices_are_central():
    codes, cloud_of = clouds(20.0)
    nearer = []  # the share of its cloud that lies nearer to the middle than the choice
    for one in worth_labelling(codes, len(SIZES), 0):
        members = codes[cloud_of == cloud_of[one]]
        away = np.linalg.norm(members - members.mean(axis=0), axis=1)
        nearer.append((away < np.linalg.norm(codes[one] - members.mean(axis=0))).mean())
    assert np.mean(nearer) < 0.25


def test_a_longer_choice_begins_with_the_shorter_one_and_takes_no_code_twice():
    codes, _ = clouds(6.0)
    longest = worth_labelling(codes, 400, 3)
    assert longest.dtype == np.int64
    assert len(set(longest.tolist())) == 400
    for count in (1, 7, 60, 200):
        np.testing.assert_array_equal(worth_labelling(codes, count, 3), longest[:count])


def test_many_choices_are_spread_wider_than_random_ones():
    codes, _ = clouds(6.0)
    chosen = codes[worth_labelling(codes, 120, 0)]
    drawn = codes[np.random.default_rng(0).choice(len(codes), 120, replace=False)]

    def farthest(some):
        return np.linalg.norm(codes[:, None] - some, axis=2).min(axis=1).mean()

    assert farthest(chosen) < 0.95 * farthest(drawn)


def test_copies_come_last_and_do_not_hide_what_is_rare():
    codes, cloud_of = clouds(20.0, sizes=(60, 40))
    rounding = np.float32(1e-7) * np.arange(500, dtype=np.float32)[:, None]
    copies = codes[:1] + rounding
    order = worth_labelling(np.concatenate([copies, codes[1:]]), 599, 0)
    assert (order[:100] < 500).sum() == 1  # one for all copies
    assert set(order[100:].tolist()) <= set(range(500))
    assert len(set(order.tolist())) == 599
    in_cloud = np.concatenate([np.zeros(500, int), cloud_of[1:]])
    assert set(in_cloud[order[:2]]) == {0, 1}


@pytest.mark.parametrize("jitter", [1e-7, 1e-5, 1e-4])
def test_codes_that_hardly_differ_are_all_ranked(jitter):
    random = np.random.default_rng(0)
    codes = np.repeat(random.normal(size=(30, 2)), 8, axis=0)
    codes += jitter * random.normal(size=codes.shape)
    order = worth_labelling(codes, 300, 0)
    assert sorted(order.tolist()) == list(range(240))
    assert len(set(order[:30] // 8)) > 25  # hardly a copy among the first


@pytest.mark.parametrize("number", [1, 2, 5, 29, 30, 45])
def test_all_codes_are_ranked_where_no_fewer_are_wanted(number):
    codes = np.random.default_rng(0).normal(size=(number, 3)).astype(np.float32)
    for count in (number, number + 50):
        assert sorted(worth_labelling(codes, count, 0).tolist()) == list(range(number))


def test_codes_that_are_all_alike_are_all_there():
    assert worth_labelling(np.ones((6, 3), np.float32), 4, 0).tolist() == [0, 1, 2, 3]
    assert sorted(worth_labelling(np.ones((40, 3), np.float32), 50, 0).tolist()) == list(range(40))


def test_codes_beyond_the_graph_are_chosen_last(monkeypatch):
    codes, cloud_of = clouds(20.0, sizes=(300, 200, 100))
    monkeypatch.setattr(selection, "_GRAPH_CODES", 200)
    order = worth_labelling(codes, 1000, 1)
    assert sorted(order.tolist()) == list(range(len(codes)))
    assert set(cloud_of[order[:3]]) == {0, 1, 2}
    np.testing.assert_array_equal(order[:250], worth_labelling(codes, 250, 1))


@pytest.mark.parametrize(
    ("codes", "count", "says"),
    [
        (np.zeros((3, 2)), 0, "a count of 0"),
        (np.zeros(3), 1, "codes must be"),
        (np.array([[np.nan]]), 1, "must be finite"),
    ],
)
def test_what_cannot_be_ranked_is_refused(codes, count, says):
    with pytest.raises(ValueError, match=says):
        worth_labelling(codes, count, 0)
