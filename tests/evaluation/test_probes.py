import numpy as np
import pytest

from kerasunsup.evaluation import latent_space, probes

ALL = pytest.mark.parametrize("probe", probes.PROBES.values(), ids=probes.PROBES.keys())
WITH_THE_REST = pytest.mark.parametrize("name", ["mixture", "graph"])


def _blobs(num_codes=400, num_classes=3, dim=4, spread=0.5, seed=0):
    """Codes of classes that lie apart, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_codes)
    centers = 6.0 * np.eye(num_classes, dim)
    codes = centers[labels] + spread * random.standard_normal((num_codes, dim))
    return codes.astype(np.float32), labels


def _moons(num_codes=600, seed=0):
    """Two half circles that reach into each other; the last two rows are their outer tips."""
    random = np.random.default_rng(seed)
    labels = np.append(random.integers(0, 2, num_codes - 2), [0, 1])
    angle = np.append(random.uniform(0.0, np.pi, num_codes - 2), [np.pi, np.pi])
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    codes = np.where(labels[:, None] == 0, upper, [1.0, 0.4] - upper)
    codes += 0.04 * random.standard_normal(codes.shape)
    return codes.astype(np.float32), labels


def _accuracy(probabilities, labels):
    return (probabilities.argmax(axis=1) == labels).mean()


@ALL
def test_probabilities_sum_to_one_and_apart_classes_are_told(probe):
    codes, labels = _blobs()
    chosen = np.concatenate([np.flatnonzero(labels == c)[:5] for c in range(3)])
    rest = np.setdiff1d(np.arange(300), chosen)
    found = probe(codes[chosen], labels[chosen], codes[300:], 3, unlabelled=codes[rest], seed=0)
    assert found.shape == (100, 3)
    assert found.dtype == np.float64
    assert found.min() >= 0.0
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert _accuracy(found, labels[300:]) == 1.0


@ALL
def test_the_same_seed_gives_the_same_and_leaves_the_arrays_alone(probe, monkeypatch):
    monkeypatch.setattr(probes, "_MIXTURE_ROWS", 150)  # so that something is drawn
    monkeypatch.setattr(probes, "_GRAPH_ROWS", 150)
    codes, labels = _blobs(spread=2.0)
    before = codes.copy()

    def found():
        return probe(codes[:9], labels[:9], codes[300:], 3, unlabelled=codes[9:300], seed=5)

    np.testing.assert_array_equal(found(), found())
    np.testing.assert_array_equal(codes, before)


@ALL
def test_a_class_without_labels_has_a_column_of_zeros(probe):
    codes, labels = _blobs()
    found = probe(codes[:20], 2 * labels[:20], codes[300:], 6, unlabelled=codes[20:300], seed=0)
    assert found.shape == (100, 6)
    assert (found[:, [1, 3, 5]] == 0.0).all()
    assert _accuracy(found, 2 * labels[300:]) == 1.0


@ALL
@pytest.mark.parametrize("num_labelled", [1, 4])
def test_one_class_is_all_that_can_be_said(probe, num_labelled):
    codes, _ = _blobs(60)
    labels = np.full(num_labelled, 2)
    found = probe(codes[:num_labelled], labels, codes[40:], 4, unlabelled=codes[4:40], seed=0)
    np.testing.assert_allclose(found, np.tile([0.0, 0.0, 1.0, 0.0], (20, 1)))


@ALL
def test_the_rest_may_be_absent_or_empty(probe):
    codes, labels = _blobs()
    without = probe(codes[:90], labels[:90], codes[300:], 3)
    empty = probe(codes[:90], labels[:90], codes[300:], 3, unlabelled=codes[:0])
    np.testing.assert_array_equal(without, empty)
    np.testing.assert_allclose(without.sum(axis=1), 1.0)
    single = probe(codes[:1], labels[:1], codes[300:], 3)
    np.testing.assert_array_equal(single, np.tile(np.eye(3)[labels[0]], (100, 1)))


@ALL
def test_copies_and_dead_coordinates_are_no_obstacle(probe):
    codes, labels = _blobs(200)
    codes[:, 3] = 7.0
    everything = np.concatenate([codes, np.repeat(codes[:30], 12, axis=0)])
    found = probe(codes[:30], labels[:30], codes[150:], 3, unlabelled=everything, seed=0)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert _accuracy(found, labels[150:]) > 0.95
    alike = probe(
        np.ones((3, 2)), np.array([0, 1, 1]), np.ones((2, 2)), 2, unlabelled=np.ones((40, 2))
    )
    np.testing.assert_allclose(alike.sum(axis=1), 1.0)


@ALL
@pytest.mark.parametrize(
    ("codes", "labels", "queries", "message"),
    [
        (np.zeros(3), np.zeros(3, int), np.zeros((2, 1)), "must be"),
        (np.zeros((3, 2)), np.zeros(3, int), np.zeros((2, 1)), "must be"),
        (np.zeros((0, 2)), np.zeros(0, int), np.zeros((2, 2)), "rows or more"),
        (np.zeros((3, 2)), np.zeros(3, int), np.zeros((0, 2)), "rows or more"),
        (np.zeros((3, 2)), np.zeros(2, int), np.zeros((2, 2)), "one integer a code"),
        (np.zeros((3, 2)), np.zeros(3), np.zeros((2, 2)), "one integer a code"),
        (np.zeros((3, 2)), np.array([0, 1, 4]), np.zeros((2, 2)), "received 0 to 4"),
        (np.zeros((3, 2)), np.array([0, -1, 1]), np.zeros((2, 2)), "received -1 to 1"),
        (np.full((3, 2), np.nan), np.zeros(3, int), np.zeros((2, 2)), "codes must be finite"),
        (np.zeros((3, 2)), np.zeros(3, int), np.full((2, 2), np.inf), "queries must be finite"),
    ],
)
def test_wrong_input_is_refused_in_one_line(probe, codes, labels, queries, message):
    with pytest.raises(ValueError, match=message) as caught:
        probe(codes, labels, queries, 3)
    assert "\n" not in str(caught.value)


@WITH_THE_REST
def test_a_rest_that_does_not_fit_is_refused(name):
    codes, labels = _blobs(20)
    with pytest.raises(ValueError, match="unlabelled must be"):
        probes.PROBES[name](codes, labels, codes, 3, unlabelled=codes[:, :2])
    with pytest.raises(ValueError, match="unlabelled must be finite"):
        probes.PROBES[name](codes, labels, codes, 3, unlabelled=codes * np.nan)


@pytest.mark.parametrize("name", ["linear_probe", "neighbors"])
def test_the_supervised_ones_do_not_look_at_the_rest(name):
    codes, labels = _blobs()
    plain = probes.PROBES[name](codes[:20], labels[:20], codes[300:], 3)
    given = probes.PROBES[name](codes[:20], labels[:20], codes[300:], 3, unlabelled=codes, seed=9)
    np.testing.assert_array_equal(plain, given)


@ALL
def test_what_is_asked_for_is_not_learned_from(probe):
    codes, labels = _blobs(spread=2.0)
    arguments = {"unlabelled": codes[20:300], "seed": 0}
    together = probe(codes[:20], labels[:20], codes[300:], 3, **arguments)
    alone = np.concatenate(
        [probe(codes[:20], labels[:20], codes[row : row + 25], 3, **arguments)
         for row in range(300, 400, 25)]
    )  # fmt: skip
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_linear_probe_is_the_minimum_of_its_loss():
    """A softmax regression on standardized codes by plain gradient descent."""
    codes, labels = _blobs(60, spread=4.0)
    found = probes.linear_probe(codes[:40], labels[:40], codes[40:], 3)
    mean, scale = codes[:40].mean(axis=0), codes[:40].std(axis=0)
    inputs, targets = (codes[:40] - mean) / scale, np.eye(3)[labels[:40]]
    weights, bias = np.zeros((4, 3)), np.zeros(3)

    def softmax(logits):
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    for _ in range(4000):
        error = softmax(inputs @ weights + bias) - targets
        weights -= 0.01 * (inputs.T @ error + probes._PENALTY * weights)
        bias -= 0.01 * error.sum(axis=0)
    expected = softmax((codes[40:] - mean) / scale @ weights + bias)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_nearest_is_the_plain_nearest():
    codes, labels = _blobs(spread=5.0)
    found = probes.nearest_neighbor(codes[:50], labels[:50], codes[50:], 3)
    distances = np.linalg.norm(codes[50:, None] - codes[None, :50], axis=2)
    np.testing.assert_array_equal(found, np.eye(3)[labels[distances.argmin(axis=1)]])


def test_a_graph_follows_the_moons_where_neighbours_and_a_line_cannot():
    codes, labels = _moons()
    chosen, rest, asked = [598, 599], slice(0, 400), slice(400, 598)

    def accuracy(name):
        found = probes.PROBES[name](
            codes[chosen], labels[chosen], codes[asked], 2, unlabelled=codes[rest], seed=0
        )
        return _accuracy(found, labels[asked])

    assert accuracy("neighbors") < 0.8
    assert accuracy("linear_probe") < 0.8
    assert accuracy("graph") > 0.99
    assert accuracy("mixture") > 0.95  # twenty Gaussians along the two


def test_what_no_label_reaches_takes_the_class_of_the_nearest():
    """Four groups far apart, of which two have a label."""
    random = np.random.default_rng(0)
    groups = np.array([[0.0, 0.0], [1.0, 0.0], [100.0, 0.0], [101.0, 0.0]])
    which = np.repeat([0, 1, 2, 3], 50)
    codes = groups[which] + 0.01 * random.standard_normal((200, 2))
    chosen = np.array([0, 199])  # of the first group and of the last
    for name in ("graph", "mixture"):
        found = probes.PROBES[name](
            codes[chosen], np.array([0, 1]), codes, 2, unlabelled=codes[1:-1], seed=0
        )
        np.testing.assert_array_equal(found.argmax(axis=1), which // 2)


@WITH_THE_REST
def test_a_balanced_choice_of_labels_invents_no_class_shares(name):
    """Two overlapping classes at 95:5, ten labels of each."""
    random = np.random.default_rng(0)
    labels = (np.arange(2000) % 20 == 0).astype(int)
    codes = random.standard_normal((2000, 4)) + 3.0 * labels[:, None] * [1.0, 0.0, 0.0, 0.0]
    chosen = np.concatenate([np.flatnonzero(labels == c)[:10] for c in range(2)])
    rest = np.setdiff1d(np.arange(2000), chosen)
    found = probes.PROBES[name](
        codes[chosen], labels[chosen], codes, 2, unlabelled=codes[rest], seed=0
    )
    called_rare = found.argmax(axis=1).mean()
    # With the labels' own shares: 0.23 of all and 0.81 (graph), 0.14 and 0.90 (mixture).
    most, least = {"graph": (0.16, 0.88), "mixture": (0.09, 0.94)}[name]
    assert 0.01 < called_rare < most
    assert _accuracy(found, labels) > least


def test_a_mixture_is_responsibilities_times_classes():
    """Where every Gaussian holds labels of one class, spreading cannot change its class."""
    codes, labels = _blobs()
    found = probes.mixture(codes[:300], labels[:300], codes[300:], 3, seed=0)
    fitted = latent_space.fit_mixture(codes[:300], 100, 0)
    held = fitted.responsibilities(codes[:300]).T @ np.eye(3)[labels[:300]]
    plain = fitted.responsibilities(codes[300:]) @ (held / held.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, plain, atol=0.01)


@WITH_THE_REST
def test_of_many_codes_some_are_drawn_and_all_labelled_ones_kept(name, monkeypatch):
    seen = []
    together = probes._together

    def recorded(*arguments):
        seen.append(together(*arguments))
        return seen[-1]

    monkeypatch.setattr(probes, "_together", recorded)
    monkeypatch.setattr(probes, "_MIXTURE_ROWS", 100)
    monkeypatch.setattr(probes, "_GRAPH_ROWS", 100)
    codes, labels = _blobs()
    for seed in (0, 1):
        found = probes.PROBES[name](
            codes[:30], labels[:30], codes[300:], 3, unlabelled=codes[30:300], seed=seed
        )
        assert _accuracy(found, labels[300:]) == 1.0
    assert [len(each) for each in seen] == [100, 100]
    np.testing.assert_array_equal(seen[0][:30], codes[:30])
    assert len(np.unique(seen[0], axis=0)) == 100
    assert not np.array_equal(seen[0], seen[1])


@WITH_THE_REST
def test_a_kept_structure_spreads_any_labels_as_a_new_one_does(name):
    codes, labels = _blobs(spread=2.0)
    kept = probes.STRUCTURES[name](codes[:300], seed=3)
    for num_labels in (20, 5, 300):
        found = kept.spread(np.arange(num_labels), labels[:num_labels], codes[300:], 3)
        plain = probes.PROBES[name](
            codes[:num_labels], labels[:num_labels], codes[300:], 3,
            unlabelled=codes[num_labels:300], seed=3,
        )  # fmt: skip
        np.testing.assert_allclose(found, plain, atol=1e-12)
