import numpy as np
import pytest

from kerasunsup import grouping


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
    found = grouping.groups(codes, 2, 0)
    assert grouping.agreement(found, labels)["accuracy"] > 0.98
    assert np.bincount(found)[0] > np.bincount(found)[1]  # the largest first


def blobs(number, per_blob=40):
    generator = np.random.default_rng(1)
    centers = 30.0 * np.eye(number)
    labels = np.repeat(np.arange(number), per_blob)
    return (centers[labels] + generator.standard_normal((len(labels), number))), labels


def test_the_number_of_groups_is_found():
    codes, labels = blobs(5)
    found = grouping.groups(codes, None, 0)
    assert grouping.agreement(found, labels) == pytest.approx(
        {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}
    )


def test_of_many_codes_those_outside_the_graph_follow_their_nearest(monkeypatch):
    monkeypatch.setattr(grouping, "_GRAPH_CODES", 120)
    codes, labels = blobs(3, per_blob=100)
    found = grouping.groups(codes, 3, 0)
    assert len(found) == 300
    assert grouping.agreement(found, labels)["accuracy"] == 1.0


def test_too_few_codes_are_refused():
    with pytest.raises(ValueError, match="ten codes each and 30 in all, received 29"):
        grouping.groups(np.zeros((29, 2)), None, 0)
    with pytest.raises(ValueError, match="received 40 codes for 5 groups"):
        grouping.groups(np.zeros((40, 2)), 5, 0)


def test_agreement_does_not_ask_for_names_of_groups():
    labels = np.array([7, 7, 3, 3, 3, 9])
    found = np.array([1, 1, 0, 0, 2, 2])
    numbers = grouping.agreement(found, labels)
    assert numbers["accuracy"] == pytest.approx(5 / 6)
    assert grouping.agreement(np.array([2, 2, 0, 0, 0, 1]), labels)["ari"] == 1.0
