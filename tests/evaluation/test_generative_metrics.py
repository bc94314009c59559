import numpy as np
import pytest
from scipy import linalg

from kerasunsup.evaluation import generative_metrics, neighbors


def _features(num_rows, dim, seed, scale=1.0, shift=0.0):
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(dim).standard_normal((dim, dim))
    return (random.standard_normal((num_rows, dim)) @ mix * scale + shift).astype(np.float32)


def test_frechet_distance_equals_the_plain_formula():
    features, reference = _features(300, 6, 1), _features(400, 6, 2, scale=1.3, shift=0.5)
    first, second = np.cov(features, rowvar=False), np.cov(reference, rowvar=False)
    difference = features.mean(axis=0, dtype=np.float64) - reference.mean(axis=0, dtype=np.float64)
    root = linalg.sqrtm(first @ second).real
    expected = difference @ difference + np.trace(first + second - 2 * root)
    assert generative_metrics.frechet_distance(features, reference) == pytest.approx(
        expected, rel=1e-5
    )


def test_frechet_distance_is_symmetric_zero_to_itself_and_the_shift_squared():
    features, other = _features(300, 6, 1), _features(200, 6, 2, scale=2.0)
    assert generative_metrics.frechet_distance(features, features) == pytest.approx(0.0, abs=1e-9)
    assert generative_metrics.frechet_distance(features, features + 2.0) == pytest.approx(
        24.0, rel=1e-5
    )
    assert generative_metrics.frechet_distance(features, other) == pytest.approx(
        generative_metrics.frechet_distance(other, features)
    )


def test_frechet_distance_survives_dead_features():
    features, other = _features(100, 8, 1), _features(100, 8, 2)
    features[:, 3:] = 0.0
    other[:, 5:] = 0.0
    distance = generative_metrics.frechet_distance(features, other)
    assert np.isfinite(distance)
    assert generative_metrics.frechet_distance(features, features) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="as many rows as columns"):
        generative_metrics.frechet_distance(_features(5, 6, 1), _features(50, 6, 1))
    with pytest.raises(ValueError, match="reference must be"):
        generative_metrics.frechet_distance(_features(50, 5, 1), _features(50, 6, 1))
    with pytest.raises(ValueError, match="finite"):
        generative_metrics.frechet_distance(np.full((9, 2), np.nan), _features(50, 2, 1))


def test_kernel_distance_equals_the_plain_formula():
    features, reference = _features(12, 5, 1), _features(12, 5, 2, scale=1.3)
    kernel = lambda a, b: (a.astype(np.float64) @ b / 5 + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    expected = (
        np.mean([kernel(features[i], features[j]) for i, j in pairs])
        + np.mean([kernel(reference[i], reference[j]) for i, j in pairs])
        - 2 * np.mean([kernel(a, b) for a in features for b in reference])
    )
    # Subsets of all rows are the sets themselves.
    assert generative_metrics.kernel_distance(features, reference) == pytest.approx(
        expected, rel=1e-6
    )


def test_kernel_distance_is_around_zero_for_one_distribution_and_grows_with_a_shift():
    features, other = _features(2000, 5, 1), _features(2000, 5, 2)
    same = generative_metrics.kernel_distance(features, other, subset_size=200)
    shifted = generative_metrics.kernel_distance(features, other + 1.0, subset_size=200)
    spread = np.std(
        [generative_metrics.kernel_distance(features, other, subset_size=200, num_subsets=5, seed=s)
         for s in range(5)]
    )  # fmt: skip
    assert abs(same) < max(0.5, 5 * spread)
    assert shifted > 10 * abs(same)
    assert (
        generative_metrics.kernel_distance(features, other, subset_size=200) == same
    )  # by its seed


def test_kernel_distance_needs_two_rows():
    with pytest.raises(ValueError, match="two rows"):
        generative_metrics.kernel_distance(_features(1, 3, 0), _features(9, 3, 0))


def _plain_precision(features, reference, k):
    def distance(a, b):
        return np.sqrt(np.sum((a.astype(np.float64) - b) ** 2))

    radii = [
        sorted(distance(a, b) for j, b in enumerate(reference) if j != i)[k - 1]
        for i, a in enumerate(reference)
    ]
    return np.mean(
        [
            any(distance(x, b) <= radius for b, radius in zip(reference, radii, strict=True))
            for x in features
        ]
    )


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_the_plain_definition(k, monkeypatch):
    monkeypatch.setattr(neighbors, "_BLOCK", 17)  # more than one block, the last one smaller
    features, reference = _features(40, 3, 1, scale=1.5), _features(60, 3, 2)
    precision, recall = generative_metrics.precision_recall(features, reference, k)
    assert precision == pytest.approx(_plain_precision(features, reference, k))
    assert recall == pytest.approx(_plain_precision(reference, features, k))
    assert generative_metrics.precision_recall(reference, features, k) == (recall, precision)


def test_precision_and_recall_at_their_ends():
    features = _features(50, 4, 1)
    assert generative_metrics.precision_recall(features, features) == (1.0, 1.0)
    assert generative_metrics.precision_recall(features + 1000.0, features) == (0.0, 0.0)
    copies = np.repeat(features[:1], 50, axis=0)  # one real image over and over
    precision, recall = generative_metrics.precision_recall(copies, features)
    assert precision == 1.0
    assert recall <= 0.02


def test_precision_and_recall_refuse_too_few_rows():
    with pytest.raises(ValueError, match="k must be"):
        generative_metrics.precision_recall(_features(3, 2, 1), _features(9, 2, 1), k=3)


def test_classifier_score_equals_the_plain_formula_and_its_bounds():
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.ones(5), size=50)
    marginal = rows.mean(axis=0)
    expected = np.exp(np.mean([np.sum(p * np.log(p / marginal)) for p in rows]))
    assert generative_metrics.classifier_score(rows) == pytest.approx(expected)
    assert generative_metrics.classifier_score(np.eye(10)) == pytest.approx(10.0)
    assert generative_metrics.classifier_score(np.full((7, 10), 0.1)) == pytest.approx(1.0)
    assert generative_metrics.classifier_score(np.eye(10)[[4] * 6]) == pytest.approx(1.0)


def test_class_shares_count_the_most_likely_class():
    shares = generative_metrics.class_shares(np.eye(4)[[0, 0, 2, 1]])
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25, 0.0])


def test_images_of_which_no_class_is_likely_are_counted():
    probabilities = np.array([[0.89, 0.11, 0.0], [0.9, 0.1, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert generative_metrics.unsure_share(probabilities) == pytest.approx(2 / 3)
    assert generative_metrics.unsure_share(probabilities, 0.5) == pytest.approx(1 / 3)


def test_the_spread_of_a_class_does_not_see_the_others():
    random = np.random.default_rng(0)
    features = random.normal(size=(6000, 4)) * np.repeat([[1.0], [3.0], [0.0]], 2000, axis=0)
    features += np.repeat([[50.0], [0.0], [7.0]], 2000, axis=0)
    of = np.eye(5)[np.repeat([0, 1, 2], 2000)]  # of the last two classes there is none
    spreads = generative_metrics.class_spreads(features.astype(np.float32), of)
    np.testing.assert_allclose(spreads, [2.0, 6.0, 0.0, 0.0, 0.0], rtol=0.05, atol=1e-6)
    with pytest.raises(ValueError, match="of the same images, received 6000 and 5"):
        generative_metrics.class_spreads(features, of[:5])


@pytest.mark.parametrize(
    "function",
    [
        generative_metrics.classifier_score,
        generative_metrics.class_shares,
        generative_metrics.unsure_share,
    ],
)
def test_logits_are_refused_as_probabilities(function):
    with pytest.raises(ValueError, match="softmax"):
        function(np.array([[2.0, -1.0], [0.3, 0.7]]))
    with pytest.raises(ValueError, match="num_classes"):
        function(np.array([0.3, 0.7]))
