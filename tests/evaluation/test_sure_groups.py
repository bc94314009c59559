"""How sure the members of groups are, and what labels name groups."""

import numpy as np

from kerasunsup.evaluation import clustering, sure_groups


def test_names_match_one_to_one_or_follow_the_majority():
    groups = np.array([0, 0, 0, 1, 1, 2, -1])
    labelled, labels = np.array([0, 1, 3, 4, 6]), np.array([1, 1, 1, 0, 0])
    # Three groups for two classes; nobody named the third, nor what has no group.
    majority = sure_groups.named(groups, labelled, labels, 2)
    assert majority.tolist() == [1, 1, 1, 1, 0, -1, 0]
    matched = sure_groups.named(groups, labelled, labels, 3)
    assert matched.tolist() == [1, 1, 1, 1, 0, -1, 0]
    # Both groups have most labels of class 1: one of them gets the other class.
    labelled, labels = np.array([0, 1, 2, 3, 4]), np.array([1, 1, 1, 1, 0])
    two = np.array([0, 0, 0, 1, 1, 1])
    assert sure_groups.named(two, labelled, labels, 2).tolist() == [1, 1, 1, 1, 0, 0]


def test_a_label_in_the_group_of_another_class_does_not_leave_its_own_without_a_name():
    groups = np.repeat([0, 1, 2], 4)
    labelled, labels = np.array([0, 1, 8]), np.array([0, 1, 2])  # that of class 1 lies in group 0
    spread = np.eye(3)[[0, 1, 0, 0, 1, 1, 1, 0, 2, 2, 2, 2]]
    agreed = sure_groups.agreed(groups, spread, labelled, labels)
    assert agreed.tolist() == [0, 1, 0, 0, 1, 1, 1, -1, 2, 2, 2, 2]


def test_groups_of_codes_are_sure_inside_and_less_so_between(monkeypatch):
    random = np.random.default_rng(0)
    codes = random.normal(size=(400, 2)).astype(np.float32)
    codes[200:, 0] += 5.0
    groups, confidence = sure_groups.with_confidence(codes, 2, 0)
    right = max((groups == np.repeat(order, 200)).mean() for order in ([0, 1], [1, 0]))
    assert right > 0.95
    between = np.abs(codes[:, 0] - 2.5) < 0.7
    assert confidence[between].mean() < confidence[~between].mean()
    assert 0.0 <= confidence.min() <= confidence.max() <= 1.0 + 1e-9
    monkeypatch.setattr(clustering, "_GRAPH_CODES", 200)
    codes[200:, 0] += 5.0
    groups, confidence = sure_groups.with_confidence(codes, 2, 0)
    assert sorted({*groups[:200], *groups[200:]}) == [0, 1]
    assert len({*groups[:200]}) == len({*groups[200:]}) == 1
    np.testing.assert_allclose(confidence, 1.0, atol=1e-6)


def test_a_code_without_links_or_groups_is_no_error():
    groups, confidence = sure_groups.with_confidence(np.ones((40, 3), np.float32), 4, 0)
    assert not groups.any()
    assert (confidence == 1.0).all()


def test_groups_that_deformed_images_move_between_both_ways_are_joined():
    before = np.repeat([0, 1, 2, 3], 10)
    after = before.copy()
    after[:3], after[10:12] = 1, 0  # 0 and 1: 30 % and 20 %
    after[20:25] = 3  # 2 to 3 only: one may lie within the reach of the other
    assert sure_groups.joined(before, after, 0.2).tolist() == [0, 0, 1, 2]
    assert sure_groups.joined(before, after, 0.21).tolist() == [0, 1, 2, 3]
    after[30] = 0  # of 3's images 10 % go to 0, none comes back
    assert sure_groups.joined(before, after, 0.05).tolist() == [0, 0, 1, 2]
    # Of 0 and 1 together 10 % go to 3, and of 3 20 % to them; of 0 alone none does.
    after[12:14], after[31] = 3, 1
    assert sure_groups.joined(before, after, 0.1).tolist() == [0, 0, 1, 0]


def test_a_cloud_that_is_cut_in_two_is_counted_once_if_deformed_images_cross_the_cut():
    random = np.random.default_rng(0)
    codes = random.normal(size=(600, 2)).astype(np.float32) * [6.0, 1.0]
    codes[300:, 1] += 7.0
    number = clustering.groups(codes, None, 0, least_stability=0.6).max() + 1
    along, seen = codes.copy(), np.arange(600)
    along[:, 0] = random.permutation(along[:, 0])
    assert sure_groups.number_when_deformed(codes, seen, codes, 0.5, 0) == number
    assert number >= 2
    assert sure_groups.number_when_deformed(codes, seen, along, 0.5, 0) == 2
    mixed = random.permutation(codes)
    assert sure_groups.number_when_deformed(codes, seen, mixed, 0.5, 0) == 1
