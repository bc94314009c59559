"""Neighbours by cells, beside a plain comparison of all with all."""

import threading

import numpy as np
import pytest

from kerasunsup.evaluation import clustering, neighbor_cells, neighbor_index, neighbors
from kerasunsup.evaluation.label_spreading import GraphOfCodes


def _clouds(num_codes, dim, seed=0, clouds=20):
    random = np.random.default_rng(seed)
    centres = 5.0 * random.standard_normal((clouds, dim))
    codes = centres[random.integers(0, clouds, num_codes)]
    return (codes + random.standard_normal((num_codes, dim))).astype(np.float32)


def _recall(found, codes, queries, number):
    """Share of the neighbours that are as near as the right ones, by differences in float64."""
    wanted = codes if queries is None else queries
    hits = 0
    for row, query in enumerate(wanted.astype(np.float64)):
        away = np.linalg.norm(codes - query, axis=1)
        if queries is None:
            away[row] = np.inf
        right = np.sort(away)[number - 1]
        np.testing.assert_allclose(found[0][row], away[found[1][row]], rtol=1e-4, atol=1e-4)
        hits += (away[found[1][row]] <= right * (1 + 1e-5) + 1e-6).sum()
    return hits / (len(wanted) * number)


@pytest.mark.parametrize(
    "codes",
    [
        _clouds(2000, 16),
        _clouds(2000, 2),
        np.random.default_rng(1).standard_normal((2000, 12)),
        _clouds(500, 2048, clouds=10),
        _clouds(2000, 8) + np.float32(1000.0),
        np.random.default_rng(2).integers(0, 4, (2000, 3)).astype(np.float32),
        np.linspace(0.0, 1.0, 2000)[:, None],
    ],
    ids=["clouds", "2-d", "one normal", "2,048-d", "far from 0", "64 piles", "a line"],
)
def test_recall_is_kept_whatever_the_codes(codes):
    index = neighbor_index.NeighborIndex(codes, 10, seed=0)
    found = index.nearest()
    assert found[0].shape == found[1].shape == (len(codes), 10)
    assert index.recall >= neighbor_index.LEAST_RECALL
    assert _recall(found, codes, None, 10) >= 0.985  # of all, the sample had .99
    assert not (found[1] == np.arange(len(codes))[:, None]).any()
    assert (np.sort(found[1], axis=1)[:, 1:] != np.sort(found[1], axis=1)[:, :-1]).all()
    assert (np.diff(found[0], axis=1) >= 0.0).all()


def test_other_codes_are_searched_for_too():
    codes, queries = _clouds(2000, 16), _clouds(700, 16, seed=3)
    index = neighbor_index.NeighborIndex(codes, 5, seed=0)
    found = index.nearest(queries)
    assert _recall(found, codes, queries, 5) >= 0.985
    assert [len(part) for part in index.nearest(queries[:0])] == [0, 0]


def test_a_reach_of_one_misses_nothing(monkeypatch):
    monkeypatch.setattr(neighbor_index, "_REACH", 1.0)
    codes = np.random.default_rng(1).standard_normal((2000, 12))
    found = neighbor_index.NeighborIndex(codes, 10, seed=0).nearest()
    assert _recall(found, codes, None, 10) == 1.0


def test_too_short_a_reach_is_noticed_and_grows(monkeypatch):
    monkeypatch.setattr(neighbor_index, "_REACH", 0.01)
    monkeypatch.setattr(neighbor_cells, "_FIRST", 16)
    codes = np.random.default_rng(1).standard_normal((2000, 12))
    index = neighbor_index.NeighborIndex(codes, 10, seed=0)
    found = index.nearest()
    assert index.reach > 0.1
    assert _recall(found, codes, None, 10) >= 0.985


def test_equal_codes_are_each_others_neighbours_at_no_distance():
    distances, positions = neighbor_index.NeighborIndex(np.full((5000, 8), 3.3), 4, 0).nearest()
    assert not distances.any()
    assert (np.sort(positions, axis=1)[:, 1:] > np.sort(positions, axis=1)[:, :-1]).all()
    assert not (positions == np.arange(5000)[:, None]).any()
    codes = np.concatenate([_clouds(2000, 8), np.zeros((2000, 8), np.float32)])
    codes = codes[np.random.default_rng(0).permutation(4000)]
    found = neighbor_index.NeighborIndex(codes, 4, 0).nearest()
    assert _recall(found, codes, None, 4) >= 0.985
    assert not found[0][~codes.any(axis=1)].any()


def test_a_pile_of_equal_codes_is_not_searched_over_and_over():
    codes = np.concatenate([_clouds(500, 8), np.zeros((100_000, 8), np.float32)])
    index = neighbor_index.NeighborIndex(codes, 4, 0)
    assert len(index._cells.values) == 505


@pytest.mark.parametrize("number", [2, 3, 12, 40])
def test_few_codes_are_enough(number):
    codes = _clouds(number, 4)
    distances, positions = neighbor_index.NeighborIndex(codes, number - 1, seed=0).nearest()
    exact, _ = neighbors.nearest(codes, None, number - 1)
    np.testing.assert_allclose(distances, exact, rtol=1e-4, atol=1e-4)
    assert {*positions[0].tolist(), 0} == set(range(number))


def test_one_seed_gives_one_result_whatever_the_threads(monkeypatch):
    codes = _clouds(4000, 8)
    one = neighbor_index.NeighborIndex(codes, 6, seed=2).nearest()
    monkeypatch.setattr(neighbor_cells, "_workers", lambda: 5)
    other = neighbor_index.NeighborIndex(codes, 6, seed=2).nearest()
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_no_block_is_large(monkeypatch):
    """Queries and codes at a time stay few where one cell holds all."""
    largest, lock, halves = [0], threading.Lock(), neighbor_cells.Found._halves

    def noted(queries, codes):
        with lock:
            largest[0] = max(largest[0], len(queries) * len(codes))
        return halves(queries, codes)

    monkeypatch.setattr(neighbor_cells.Found, "_halves", staticmethod(noted))
    monkeypatch.setattr(neighbor_cells, "_centres", lambda values, seed: values[:1])
    monkeypatch.setattr(neighbor_cells, "_COLUMNS", 300)
    codes = _clouds(2000, 4)
    index = neighbor_index.NeighborIndex(codes, 6, seed=0)
    assert _recall(index.nearest(), codes, None, 6) == 1.0
    assert 0 < largest[0] <= 512 * (1024 + 300) < 2000 * 512


def test_few_are_compared_with_all_and_many_by_cells(monkeypatch, caplog):
    codes = _clouds(2000, 8)
    exact = neighbors.nearest(codes, None, 5)
    caplog.set_level("INFO")
    np.testing.assert_array_equal(neighbor_index.nearest(codes, None, 5)[1], exact[1])
    assert not caplog.messages
    monkeypatch.setattr(neighbor_index, "_MOST_EXACT", 1e6)
    distances, _ = neighbor_index.nearest(codes, None, 5)
    assert (distances <= exact[0][:, -1:] * (1 + 1e-5)).mean() >= 0.985
    assert "neighbours of 2,000 codes by cells: " in caplog.text


def test_wrong_codes_are_refused():
    codes = _clouds(50, 4)
    with pytest.raises(ValueError, match="number must be 1 or more"):
        neighbor_index.NeighborIndex(codes, 0, seed=0)
    with pytest.raises(ValueError, match="codes must be"):
        neighbor_index.NeighborIndex(codes, 50, seed=0)
    with pytest.raises(ValueError, match="NaN"):
        neighbor_index.NeighborIndex(np.full((9, 2), np.nan), 2, seed=0)
    with pytest.raises(ValueError, match="queries must be"):
        neighbor_index.NeighborIndex(codes, 5, seed=0).nearest(codes[:, :3])


def test_groups_and_labels_of_many_codes_come_by_cells(monkeypatch):
    codes = np.concatenate([_clouds(1500, 6, clouds=1), 40.0 + _clouds(1000, 6, clouds=1)])
    truth = np.repeat([0, 1], [1500, 1000])
    monkeypatch.setattr(neighbor_index, "_MOST_EXACT", 1e6)
    monkeypatch.setattr(neighbors, "nearest", None)  # the slow way would be noticed
    graph = GraphOfCodes(codes, seed=0)
    spread = graph.spread(np.array([3, 2400]), np.array([0, 1]), codes, 2)
    np.testing.assert_array_equal(spread.argmax(axis=1), truth)
    monkeypatch.setattr(clustering, "_GRAPH_CODES", 1000)
    np.testing.assert_array_equal(clustering.groups(codes, 2, seed=0), truth)
