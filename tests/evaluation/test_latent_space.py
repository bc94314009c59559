import numpy as np
import pytest

from kerasunsup.evaluation import latent_space


def _clusters(num_codes=600, dim=5, seed=0):
    """Three tight groups far apart: a Gaussian fits them badly, a mixture well."""
    random = np.random.default_rng(seed)
    centers = np.eye(3, dim) * 10.0
    which = random.integers(0, 3, num_codes)
    return (centers[which] + 0.3 * random.standard_normal((num_codes, dim))).astype(np.float32)


def _nearest(samples, codes):
    return np.sqrt(((samples[:, None] - codes[None]) ** 2).sum(axis=2)).min(axis=1)


SAMPLERS = {
    "integers": latent_space.sample_integers,
    "gaussian": latent_space.sample_gaussian,
    "mixture": lambda codes, num, seed: latent_space.sample_mixture(codes, num, seed, 3),
}


def test_principal_components_are_those_of_the_singular_value_decomposition():
    vectors = _clusters()
    pca = latent_space.principal_components(vectors, 2, seed=0)
    _, _, expected = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    for found, direction in zip(pca.components_, expected[:2], strict=True):
        assert abs(found @ direction) == pytest.approx(1.0, abs=1e-4)
    assert latent_space.principal_components(vectors, 99, seed=0).n_components_ == 5


def test_principal_components_of_many_dimensions_use_a_subset_of_the_rows(monkeypatch):
    monkeypatch.setattr(latent_space, "_EXACT_DIM", 4)
    monkeypatch.setattr(latent_space, "_MOST_ROWS", 200)
    pca = latent_space.principal_components(_clusters(), 2, seed=0)
    assert pca.n_samples_ == 200
    assert pca.explained_variance_ratio_.sum() > 0.95


def test_projection_error_equals_the_plain_one():
    random = np.random.default_rng(0)
    train = random.random((50, 4, 4, 3)).astype(np.float32)
    test = random.random((1500, 4, 4, 3)).astype(np.float32)
    mean = train.reshape(50, -1).mean(axis=0)
    _, _, directions = np.linalg.svd(train.reshape(50, -1) - mean, full_matrices=False)
    centered = test.reshape(1500, -1) - mean
    expected = np.mean((centered - centered @ directions[:5].T @ directions[:5]) ** 2)
    components = latent_space.principal_components(train.reshape(50, -1), 5, seed=0)
    assert latent_space.projection_mse(components, test) == pytest.approx(expected, rel=1e-3)
    noisy = latent_space.projection_mse(components, test, np.ones_like(test))
    projected = (1.0 - mean) @ directions[:5].T @ directions[:5]
    assert noisy == pytest.approx(np.mean((centered - projected) ** 2), rel=1e-3)
    whole = latent_space.principal_components(train.reshape(50, -1), 4096, seed=0)
    assert latent_space.projection_mse(whole, train) == pytest.approx(0.0, abs=1e-6)


def test_tsne_keeps_groups_together_and_repeats_itself():
    codes = _clusters(120)
    groups = codes[:, :3].argmax(axis=1)
    points = latent_space.tsne(codes, seed=0)
    assert points.shape == (120, 2)
    assert points.dtype == np.float32
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(axis=1)] == groups).mean() > 0.98
    np.testing.assert_array_equal(points, latent_space.tsne(codes, seed=0))


@pytest.mark.parametrize(
    "codes", [np.arange(12.0)[:, None], np.ones((10, 3)), np.eye(4)], ids=["line", "same", "few"]
)
def test_tsne_works_on_odd_codes(codes):
    points = latent_space.tsne(codes, seed=0)
    assert points.shape == (len(codes), 2)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_samplers_give_float32_follow_the_seed_and_leave_the_codes_alone(sample):
    codes = _clusters()
    before = codes.copy()
    drawn = sample(codes, 40, 7)
    assert drawn.shape == (40, 5)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, sample(codes, 40, 7))
    assert not np.array_equal(drawn, sample(codes, 40, 8))
    np.testing.assert_array_equal(codes, before)


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_samplers_work_on_dead_coordinates_and_on_very_few_codes(sample):
    codes = _clusters(10)
    codes[:, 2] = 0.0
    drawn = sample(codes, 30, 0)
    assert np.isfinite(drawn).all()
    assert np.isfinite(sample(np.zeros((4, 3), np.float32), 5, 0)).all()


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_samplers_refuse_what_they_cannot_use(sample):
    with pytest.raises(ValueError, match="num_samples"):
        sample(_clusters(), 0, 0)
    with pytest.raises(ValueError, match="finite"):
        sample(np.array([[np.nan], [1.0]]), 5, 0)
    with pytest.raises(ValueError, match="rows or more"):
        sample(np.zeros((1, 3)), 5, 0)


def test_integers_fill_each_coordinates_range_rounded_outward():
    codes = np.array([[-1.2, 0.0], [2.1, 0.4]])
    drawn = latent_space.sample_integers(codes, 4000, 0)
    values, counts = np.unique(drawn[:, 0], return_counts=True)
    np.testing.assert_array_equal(values, [-2, -1, 0, 1, 2, 3])
    assert abs(counts / 4000 - 1 / 6).max() < 0.03
    np.testing.assert_array_equal(np.unique(drawn[:, 1]), [0, 1])


def test_one_gaussian_has_the_codes_mean_and_covariance():
    codes = _clusters()
    drawn = latent_space.sample_gaussian(codes, 40_000, 0)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(
        np.cov(drawn, rowvar=False), np.cov(codes, rowvar=False), atol=0.5, rtol=0.05
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_a_mixture_stays_near_the_codes_where_one_gaussian_does_not(scale):
    codes = _clusters() * np.float32(scale)
    near = np.quantile(_nearest(codes[:300], codes[300:]), 0.99)
    mixture = _nearest(latent_space.sample_mixture(codes, 300, 0, 3), codes)
    gaussian = _nearest(latent_space.sample_gaussian(codes, 300, 0), codes)
    assert (mixture < near).mean() > 0.9
    assert (gaussian < near).mean() < 0.2


def test_mixture_samples_come_in_random_order_in_the_codes_proportions():
    groups = latent_space.sample_mixture(_clusters(), 600, 0, 3)[:, :3].argmax(axis=1)
    assert (groups[1:] != groups[:-1]).mean() > 0.5
    assert abs(np.bincount(groups) / 600 - 1 / 3).max() < 0.1


def test_a_mixture_uses_at_most_so_many_codes(monkeypatch):
    monkeypatch.setattr(latent_space, "MIXTURE_ROWS", 60)
    assert latent_space.sample_mixture(_clusters(), 20, 0, 100).shape == (20, 5)
    with pytest.raises(ValueError, match="num_components"):
        latent_space.sample_mixture(_clusters(), 20, 0, 0)


def test_no_components_are_refused():
    with pytest.raises(ValueError, match="num_components"):
        latent_space.principal_components(_clusters(), 0, seed=0)


def test_vectors_are_alike_where_they_differ_by_rounding_only():
    codes = np.repeat(np.array([[3.0, -200.0, 0.5]], np.float32), 50, axis=0)
    noise = np.random.default_rng(0).standard_normal(codes.shape).astype(np.float32)
    assert latent_space.is_alike(codes)
    assert latent_space.is_alike(codes * (1.0 + 1e-7 * noise))
    assert not latent_space.is_alike(codes + 0.01 * noise)
    assert latent_space.is_alike(np.zeros((5, 2)))
    one_apart = codes.copy()
    one_apart[7, 2] = 0.6
    assert not latent_space.is_alike(one_apart)


def test_a_map_of_codes_alike_but_for_rounding_starts_from_no_principal_components(monkeypatch):
    """Divided by their spread, these have ended the process inside scikit-learn."""
    starts = []
    method = latent_space.manifold.TSNE

    def recorded(*, init, **settings):
        starts.append(init)
        return method(init=init, **settings)

    monkeypatch.setattr(latent_space.manifold, "TSNE", recorded)
    codes = np.repeat(np.array([[3.0, -200.0, 0.5]], np.float32), 50, axis=0)
    noise = np.random.default_rng(0).standard_normal(codes.shape).astype(np.float32)
    assert np.isfinite(latent_space.tsne(codes * (1.0 + 1e-7 * noise), seed=0)).all()
    latent_space.tsne(codes + noise, seed=0)
    assert starts == ["random", "pca"]


def test_principal_components_of_equal_vectors_give_no_warning():
    pca = latent_space.principal_components(np.ones((20, 5), np.float32), 2, seed=0)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(np.ones((1, 5)))), 1.0)


def test_a_mixture_of_arrays_is_the_same_mixture():
    codes = np.random.default_rng(0).normal(size=(300, 3)) * 4 + 9
    mixture = latent_space.fit_mixture(codes, 5, seed=0)
    again = latent_space.Mixture.of_arrays(mixture.arrays())
    np.testing.assert_array_equal(again.sample(50, 1), mixture.sample(50, 1))
    np.testing.assert_array_equal(again.log_likelihoods(codes), mixture.log_likelihoods(codes))
    np.testing.assert_array_equal(again.responsibilities(codes), mixture.responsibilities(codes))


def test_large_codes_have_mixtures_that_fit_in_memory():
    assert latent_space.num_gaussians(20_000, 32, 100) == 100
    assert latent_space.num_gaussians(240, 32, 100) == 12  # 20 codes a component
    for latent_dim in (512, 1024, 4096):
        number = latent_space.num_gaussians(20_000, latent_dim, 100)
        assert number == 1 or 8 * number * latent_dim**2 < 60e6
