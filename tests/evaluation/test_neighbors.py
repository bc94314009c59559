import numpy as np
import pytest

from kerasunsup.evaluation import neighbors


def _rows(num_rows, dim, seed):
    return np.random.default_rng(seed).standard_normal((num_rows, dim)).astype(np.float32)


def test_the_nearest_come_first_and_without_queries_no_code_is_its_own_neighbour():
    codes, queries = _rows(30, 4, 1), _rows(20, 4, 2)
    plain = np.linalg.norm(queries[:, None].astype(np.float64) - codes[None], axis=2)
    distances, positions = neighbors.nearest(codes, queries, 3)
    np.testing.assert_array_equal(positions, plain.argsort(axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(plain, axis=1)[:, :3], rtol=1e-5)
    distances, positions = neighbors.nearest(codes, None, 29)
    assert not (positions == np.arange(30)[:, None]).any()
    assert (np.diff(distances, axis=1) >= 0.0).all()


def test_both_ways_of_searching_find_the_same():
    codes, queries = _rows(300, 16, 1), _rows(50, 16, 2)
    distances, positions = neighbors.nearest(codes, queries, 1)
    in_blocks = neighbors.nearest_in_blocks(queries, [codes[:100], codes[100:]])
    np.testing.assert_array_equal(in_blocks[0], positions[:, 0])
    np.testing.assert_allclose(in_blocks[1], distances[:, 0], rtol=1e-5)


def test_the_nearest_in_blocks_is_found_with_its_distance(monkeypatch):
    monkeypatch.setattr(neighbors, "_BLOCK", 7)
    rows, others = _rows(20, 4, 1), _rows(30, 4, 2)
    positions, distances = neighbors.nearest_in_blocks(rows, [others])
    plain = np.linalg.norm(rows[:, None].astype(np.float64) - others[None], axis=2)
    np.testing.assert_array_equal(positions, plain.argmin(axis=1))
    np.testing.assert_allclose(distances, plain.min(axis=1), rtol=1e-3)
    in_parts = neighbors.nearest_in_blocks(rows, iter([others[:11], others[11:]]))
    np.testing.assert_array_equal(in_parts[0], positions)
    np.testing.assert_array_equal(in_parts[1], distances)
    with pytest.raises(ValueError, match="reference must be"):
        neighbors.nearest_in_blocks(rows, [others[:, :3]])


def test_equal_rows_lie_exactly_nowhere_apart():
    rows = 0.9 + 0.1 * _rows(5, 800, 3)
    copies = np.repeat(rows, 3, axis=0)
    np.testing.assert_array_equal(neighbors.nearest_in_blocks(rows, [copies])[1], 0.0)
