import numpy as np
import pytest
from scipy import linalg

from kerasunsup.evaluation import generative_metrics, image_metrics, neighbors


def _pair(shape=(7, 16, 12, 1), seed=0, noise=0.1):
    random = np.random.default_rng(seed)
    reference = random.random(shape).astype(np.float32)
    images = (reference + noise * random.standard_normal(shape)).astype(np.float32)
    return images, reference


def _features(num_rows, dim, seed, scale=1.0, shift=0.0):
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(dim).standard_normal((dim, dim))
    return (random.standard_normal((num_rows, dim)) @ mix * scale + shift).astype(np.float32)


def test_mse_is_the_mean_over_everything_without_clipping():
    images, reference = _pair()
    expected = np.mean((images.astype(np.float64) - reference) ** 2)
    assert image_metrics.mse(images, reference) == pytest.approx(expected, rel=1e-6)
    assert image_metrics.mse(reference + 2.0, reference) == pytest.approx(4.0, rel=1e-6)


def test_psnr_is_the_mean_of_each_images_own_after_clipping():
    images, reference = _pair(shape=(5, 8, 8, 3))
    clipped = np.clip(images, 0, 1).astype(np.float64)
    expected = [
        10 * np.log10(1.0 / np.mean((a - b) ** 2)) for a, b in zip(clipped, reference, strict=True)
    ]
    each = image_metrics.psnr_db_per_image(images, reference)
    np.testing.assert_allclose(each, expected, rtol=1e-6)
    assert image_metrics.psnr_db(images, reference) == pytest.approx(np.mean(expected))


def test_psnr_of_identical_images_is_the_cap():
    _, reference = _pair()
    assert image_metrics.psnr_db(reference, reference) == image_metrics.PSNR_CAP_DB


def _plain_ssim(first, second, size):
    """One channel of one image, window by window."""
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window)
    window /= window.sum()
    values = []
    for row in range(first.shape[0] - size + 1):
        for column in range(first.shape[1] - size + 1):
            a = first[row : row + size, column : column + size]
            b = second[row : row + size, column : column + size]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            variance_a = (window * a**2).sum() - mean_a**2
            variance_b = (window * b**2).sum() - mean_b**2
            covariance = (window * a * b).sum() - mean_a * mean_b
            values.append(
                (2 * mean_a * mean_b + 1e-4)
                * (2 * covariance + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4))
            )
    return np.mean(values)


@pytest.mark.parametrize(("shape", "size"), [((2, 14, 13, 3), 11), ((2, 8, 9, 1), 8)])
def test_ssim_equals_the_plain_formula(shape, size):
    images, reference = _pair(shape=shape, noise=0.05)
    images = np.clip(images, 0, 1)
    expected = np.mean(
        [
            _plain_ssim(
                images[i, :, :, c].astype(np.float64),
                reference[i, :, :, c].astype(np.float64),
                size,
            )
            for i in range(shape[0])
            for c in range(shape[3])
        ]
    )
    assert image_metrics.ssim(images, reference) == pytest.approx(expected, abs=1e-4)


def test_ssim_of_identical_images_is_one_and_blocks_do_not_matter(monkeypatch):
    images, reference = _pair()
    assert image_metrics.ssim(reference, reference) == pytest.approx(1.0, abs=1e-6)
    whole = image_metrics.ssim(images, reference), image_metrics.mse(images, reference)
    monkeypatch.setattr(neighbors, "_BLOCK", 3)
    assert (
        image_metrics.ssim(images, reference),
        image_metrics.mse(images, reference),
    ) == pytest.approx(whole)


@pytest.mark.parametrize("function", [image_metrics.mse, image_metrics.psnr_db, image_metrics.ssim])
def test_images_of_different_shapes_are_refused(function):
    images, reference = _pair()
    with pytest.raises(ValueError, match="one shape"):
        function(images, reference[:3])
    with pytest.raises(ValueError, match="one shape"):
        function(images[:0], reference[:0])


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
    with pytest.raises(ValueError, match="one feature_dim"):
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
    features, other = _features(3000, 5, 1), _features(3000, 5, 2)
    same = generative_metrics.kernel_distance(features, other, subset_size=500)
    shifted = generative_metrics.kernel_distance(features, other + 1.0, subset_size=500)
    spread = np.std(
        [generative_metrics.kernel_distance(features, other, subset_size=500, num_subsets=5, seed=s)
         for s in range(5)]
    )  # fmt: skip
    assert abs(same) < max(0.5, 5 * spread)
    assert shifted > 10 * abs(same)
    assert (
        generative_metrics.kernel_distance(features, other, subset_size=500) == same
    )  # by its seed


def test_kernel_distance_needs_two_rows():
    with pytest.raises(ValueError, match="two rows"):
        generative_metrics.kernel_distance(_features(1, 3, 0), _features(9, 3, 0))


def test_the_nearest_is_found_with_its_distance(monkeypatch):
    monkeypatch.setattr(neighbors, "_BLOCK", 7)
    rows, others = _features(20, 4, 1), _features(30, 4, 2)
    positions, distances = neighbors.nearest(rows, others)
    plain = np.linalg.norm(rows[:, None].astype(np.float64) - others[None], axis=2)
    np.testing.assert_array_equal(positions, plain.argmin(axis=1))
    np.testing.assert_allclose(distances, plain.min(axis=1), rtol=1e-3)
    in_parts = neighbors.nearest(rows, iter([others[:11], others[11:]]))
    np.testing.assert_array_equal(in_parts[0], positions)
    np.testing.assert_array_equal(in_parts[1], distances)
    with pytest.raises(ValueError, match="one feature_dim"):
        neighbors.nearest(rows, others[:, :3])


def test_equal_rows_lie_exactly_nowhere_apart():
    rows = 0.9 + 0.1 * _features(5, 800, 3)
    np.testing.assert_array_equal(neighbors.nearest(rows, np.repeat(rows, 3, axis=0))[1], 0.0)


def test_means_over_blocks_weigh_each_image_alike():
    assert image_metrics.mean_of_blocks([(3, {"mse": 1.0}), (1, {"mse": 5.0})]) == {"mse": 2.0}
    assert image_metrics.mean_of_blocks([]) == {}


def test_what_is_no_number_is_left_out_and_said(capsys):
    assert image_metrics.finite({"a": 1.0, "b": 2}) == {"a": 1.0, "b": 2}
    assert capsys.readouterr().out == ""
    assert image_metrics.finite({"a": 1.0, "b": float("nan"), "c": float("inf")}) == {"a": 1.0}
    assert capsys.readouterr().out == "left out, as they are no finite numbers: b, c\n"


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


@pytest.mark.parametrize(
    "function", [generative_metrics.classifier_score, generative_metrics.class_shares]
)
def test_logits_are_refused_as_probabilities(function):
    with pytest.raises(ValueError, match="softmax"):
        function(np.array([[2.0, -1.0], [0.3, 0.7]]))
    with pytest.raises(ValueError, match="num_classes"):
        function(np.array([0.3, 0.7]))
