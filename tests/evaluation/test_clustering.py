import numpy as np
import pytest

from kerasunsup.evaluation import clustering


def two_arcs(number=300):
    """Two half circles in each other: k-means cuts both in two, a graph of neighbours does not."""
    generator = np.random.default_rng(0)
    angles = generator.uniform(0.0, np.pi, number)
    labels = np.arange(number) % 3 == 0
    arcs = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    arcs[labels] = [1.0, 0.4] - arcs[labels]
    return (arcs + 0.04 * generator.standard_normal(arcs.shape)).astype(np.float32), labels


def test_groups_are_cut_where_the_graph_is_thin():
    codes, labels = two_arcs()
    found = clustering.groups(codes, 2, 0)
    assert clustering.agreement(found, labels)["accuracy"] > 0.98
    assert np.bincount(found)[0] > np.bincount(found)[1]  # the largest first


def blobs(number, per_blob=40):
    generator = np.random.default_rng(1)
    centers = 30.0 * np.eye(number)
    labels = np.repeat(np.arange(number), per_blob)
    return (centers[labels] + generator.standard_normal((len(labels), number))), labels


def test_the_number_of_groups_is_found():
    codes, labels = blobs(5)
    found = clustering.groups(codes, None, 0)
    assert clustering.agreement(found, labels) == pytest.approx(
        {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}
    )


def test_of_many_codes_those_outside_the_graph_follow_their_nearest(monkeypatch):
    monkeypatch.setattr(clustering, "_GRAPH_CODES", 120)
    codes, labels = blobs(3, per_blob=100)
    found = clustering.groups(codes, 3, 0)
    assert len(found) == 300
    assert clustering.agreement(found, labels)["accuracy"] == 1.0


def test_too_few_codes_are_refused():
    with pytest.raises(ValueError, match="ten codes each and 30 in all, received 29"):
        clustering.groups(np.zeros((29, 2)), None, 0)
    with pytest.raises(ValueError, match="received 40 codes for 5 groups"):
        clustering.groups(np.zeros((40, 2)), 5, 0)


def test_agreement_does_not_ask_for_names_of_groups():
    labels = np.array([7, 7, 3, 3, 3, 9])
    found = np.array([1, 1, 0, 0, 2, 2])
    numbers = clustering.agreement(found, labels)
    assert numbers["accuracy"] == pytest.approx(5 / 6)
    assert clustering.agreement(np.array([2, 2, 0, 0, 0, 1]), labels)["ari"] == 1.0


def clouds(number, seed):
    """Far-apart clouds of unequal size and density."""
    generator = np.random.default_rng(seed)
    centers = 40.0 * generator.standard_normal((number, number))
    sizes = generator.integers(20, 60, number)
    labels = np.repeat(np.arange(number), sizes)
    spread = 10.0 ** generator.uniform(-1.0, 0.3, number)
    codes = centers[labels] + spread[labels, None] * generator.standard_normal(
        (len(labels), centers.shape[1])
    )
    order = generator.permutation(len(labels))
    return codes[order].astype(np.float32), labels[order]


@pytest.mark.parametrize("number", [5, 10, 20])
def test_separate_clouds_are_counted_and_none_is_split(number):
    for seed in range(4):
        codes, labels = clouds(number, seed)
        for given in (None, number):
            found = clustering.groups(codes, given, seed)
            assert found.max() + 1 == number
            assert clustering.agreement(found, labels)["ari"] == 1.0


def test_more_groups_than_clouds_split_clouds_and_fewer_join_whole_ones():
    codes, labels = clouds(5, 0)
    more = clustering.groups(codes, 8, 0)
    assert len(np.unique(more)) == 8
    assert all(len(np.unique(labels[more == group])) == 1 for group in range(8))
    fewer = clustering.groups(codes, 3, 0)
    assert len(np.unique(fewer)) == 3
    assert all(len(np.unique(fewer[labels == cloud])) == 1 for cloud in range(5))


def test_near_clouds_are_the_ones_that_are_joined():
    generator = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [0.0, 30.0], [500.0, 0.0], [500.0, 30.0]])
    labels = np.repeat(np.arange(4), 50)
    codes = centers[labels] + generator.standard_normal((200, 2)) * [100.0 / 7.0, 1.0]
    found = clustering.groups(codes, 2, 0)
    assert clustering.agreement(found, labels // 2)["accuracy"] == 1.0


def test_a_few_codes_between_two_clouds_do_not_make_them_one():
    codes, labels = blobs(5)
    bridge = np.linspace(codes[labels == 0].mean(axis=0), codes[labels == 1].mean(axis=0), 5)[1:-1]
    found = clustering.groups(np.concatenate([codes, bridge]), None, 0)[: len(codes)]
    assert clustering.agreement(found, labels)["accuracy"] == 1.0


def test_the_same_seed_gives_the_same_groups():
    codes, _ = clouds(7, 3)
    for number in (None, 4, 9):
        np.testing.assert_array_equal(
            clustering.groups(codes, number, 5), clustering.groups(codes, number, 5)
        )


def test_a_stray_code_follows_its_nearest():
    codes, labels = blobs(3)
    stray = codes[labels == 2].mean(axis=0) * 20.0
    found = clustering.groups(np.concatenate([codes, stray[None]]), None, 0)
    assert found.max() == 2
    assert found[-1] == found[np.flatnonzero(labels == 2)[0]]


def test_codes_that_differ_by_rounding_only_are_one_group():
    generator = np.random.default_rng(0)
    for rounding in (0.0, 1e-7):
        codes = 1.0 + rounding * generator.standard_normal((60, 4))
        assert not clustering.groups(codes, None, 0).any()
        assert not clustering.groups(codes, 3, 0).any()
    codes, labels = blobs(4)
    noisy = np.concatenate([codes, 1.0 + 1e-8 * generator.standard_normal(codes.shape)], axis=1)
    assert clustering.agreement(clustering.groups(noisy, None, 0), labels)["accuracy"] == 1.0
