"""How many groups a graph of codes has: those that come back in random draws."""

import numpy as np
import pytest
from scipy import sparse

from kerasunsup.evaluation import clustering, label_spreading, spectral_cuts


def clouds(sizes, distance, seed):
    generator = np.random.default_rng(seed)
    centers = distance * generator.standard_normal((len(sizes), 8)) / 4.0
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return centers[labels] + generator.standard_normal((len(labels), 8)), labels


def links_of(codes):
    return label_spreading.GraphOfCodes(codes, 0).links


@pytest.mark.parametrize(("sizes", "seed"), [([120] * 5, 3), ([300, 200, 60], 1)])
def test_clouds_that_touch_are_counted_where_the_largest_gap_is_not_theirs(sizes, seed, caplog):
    codes, labels = clouds(sizes, 6.0, seed)
    plain = clustering.groups(codes, None, seed, least_stability=None)
    assert plain.max() + 1 == len(sizes) - 1
    assert not caplog.records
    with caplog.at_level("INFO"):
        found = clustering.groups(codes, None, seed)
    assert clustering.agreement(found, labels)["accuracy"] > 0.9
    assert found.max() + 1 == len(sizes)
    assert f"{len(sizes)} groups come back in random draws of the codes, 75%" in caplog.text
    assert f"gap of their graph is after {len(sizes) - 1}" in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_one_cloud_has_no_stable_number_and_is_cut_as_before(seed):
    codes, _ = clouds([300], 0.0, seed)
    assert spectral_cuts.stable_number(links_of(codes), 0.75, seed) == 1
    np.testing.assert_array_equal(
        clustering.groups(codes, None, seed),
        clustering.groups(codes, None, seed, least_stability=None),
    )


def test_a_draw_that_loses_the_bridge_between_two_groups_still_has_both():
    ring = sparse.csr_array(np.kron(np.eye(3), np.ones((20, 20)) - np.eye(20))).tolil()
    for first, second in ((19, 20), (39, 40)):
        ring[first, second] = ring[second, first] = 0.2
    assert spectral_cuts.stable_number(ring.tocsr(), 0.75, 0) == 3


def test_stability_is_of_the_worst_group_on_codes_that_both_draws_have():
    first = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1])
    second = np.array([1, 1, 1, 0, 0, 0, 0, -1, 2])
    # Groups of 4 and 3 codes in both: 3 of 4 shared, and 3 of 4; code 7 and 8 are in one only.
    assert spectral_cuts.stability(np.stack([first, first])) == 1.0
    assert spectral_cuts.stability(np.stack([first, np.where(second == 2, -1, second)])) == 0.75
    # A group of the second draw that the first has nothing of is not there again.
    whole = np.where(first == 1, 0, first)
    assert spectral_cuts.stability(np.stack([first[:7], whole[:7]])) == pytest.approx(3 / 7)


def test_one_draw_of_six_that_differs_does_not_hide_a_number():
    usual, other = np.repeat([0, 1, 2], [4, 4, 8]), np.repeat([0, 1, 2], [8, 4, 4])
    assert spectral_cuts.stability(np.stack([usual] * 5 + [other])) > 0.75
    assert spectral_cuts.stability(np.stack([usual, other] * 3)) < 0.75


def test_of_many_codes_a_draw_is_sorted_and_the_others_follow(monkeypatch):
    codes, labels = clouds([100, 100, 100], 40.0, 0)
    monkeypatch.setattr(clustering, "_GRAPH_CODES", 150)
    positions, group_of = clustering.of_graph(codes, None, 10)
    assert len(positions) == 150
    assert (np.diff(positions) > 0).all()
    assert clustering.agreement(group_of, labels[positions])["accuracy"] == 1.0
    found = clustering.groups(codes, 3, 10)
    assert clustering.agreement(found, labels)["accuracy"] == 1.0
    np.testing.assert_array_equal(found, clustering.groups(codes, 3, 10))
