import numpy as np
from scipy import sparse

from kerasunsup.evaluation import label_spreading


def test_spreading_is_the_solution_of_its_equation_with_shares_estimated_once():
    random = np.random.default_rng(0)
    weights = random.random((12, 12)) * (random.random((12, 12)) < 0.4)
    weights = np.triu(weights, 1)
    weights += weights.T
    given = np.zeros((12, 4))
    given[[0, 3, 5, 7], [0, 1, 1, 3]] = 1.0
    roots = 1.0 / np.sqrt(weights.sum(axis=1))
    plain = np.linalg.solve(np.eye(12) - 0.9 * roots[:, None] * weights * roots, given)
    mass = plain.sum(axis=0)
    plain *= np.array([1.0, 2.0, 0.0, 1.0]) / np.where(mass > 0.0, mass, 1.0)
    plain /= plain.sum(axis=1, keepdims=True)
    for sizes in (None, np.arange(12.0)):
        shares = np.average(plain, axis=0, weights=sizes)
        expected = plain * shares / np.array([1.0, 2.0, 1.0, 1.0])
        expected /= expected.sum(axis=1, keepdims=True)
        found = label_spreading._spread(sparse.csr_array(weights), given, 0.9, sizes)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_queries_in_blocks_equal_the_whole(monkeypatch):
    random = np.random.default_rng(0)
    codes = random.standard_normal((120, 4)).astype(np.float32)
    labels = random.integers(0, 3, 120)
    graph = label_spreading.GraphOfCodes(codes[:90], 0)
    whole = graph.spread(np.arange(20), labels[:20], codes, 3)
    monkeypatch.setattr(label_spreading, "_BLOCK", 7)
    held = [len(means) for _, means in graph.of_nearest(np.eye(90), codes)]
    assert max(held) == 7
    np.testing.assert_allclose(graph.spread(np.arange(20), labels[:20], codes, 3), whole)


def test_spreading_leaves_what_it_cannot_reach_at_zero():
    links = sparse.csr_array(np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    given = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = label_spreading._spread(links, given, 0.9)
    np.testing.assert_allclose(found, [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])


def test_links_equal_the_plain_definition():
    points = np.random.default_rng(0).standard_normal((30, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    order = distances.argsort(axis=1)[:, :4]
    near = np.take_along_axis(distances, order, axis=1)
    expected = np.zeros((30, 30))
    for i in range(30):
        for j in range(30):
            ways = (j in order[i]) + (i in order[j])
            weight = np.exp(-(distances[i, j] ** 2) / (near[i, -1] * near[j, -1]))
            expected[i, j] = (0.0, 0.1, 1.0)[ways] * (weight if ways else 0.0)
    np.testing.assert_allclose(label_spreading._links(near, order).toarray(), expected)
