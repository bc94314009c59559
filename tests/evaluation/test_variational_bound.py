import numpy as np
import pytest
from scipy import optimize, stats

from kerasunsup.evaluation import variational_bound

RANDOM = np.random.default_rng(0)


def test_divergence_is_the_mean_logarithm_of_the_ratio_of_the_densities():
    means, logs = np.array([[1.5, -0.5]]), np.array([[-1.0, 1.0]])
    own = stats.norm(means, np.exp(logs / 2))
    drawn = own.rvs(size=(400_000, 2), random_state=0)
    expected = (own.logpdf(drawn) - stats.norm.logpdf(drawn)).mean(axis=0)
    np.testing.assert_allclose(variational_bound.kl_per_unit(means, logs), expected, rtol=0.02)


def test_divergence_is_a_mean_over_images_and_0_for_the_normal_distribution():
    means, logs = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(5, 3))
    apart = [variational_bound.kl_per_unit(means[i : i + 1], logs[i : i + 1]) for i in range(5)]
    whole = variational_bound.kl_per_unit(means, logs)
    np.testing.assert_allclose(whole, np.mean(apart, axis=0))
    assert (variational_bound.kl_per_unit(np.zeros((4, 2)), np.zeros((4, 2))) == 0.0).all()


@pytest.mark.parametrize("shapes", [((3, 2), (3, 1)), ((0, 2), (0, 2)), ((3,), (3,))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="num_images, latent_dim"):
        variational_bound.kl_per_unit(*map(np.zeros, shapes))


def test_units_are_active_whose_means_vary_by_more_than_a_hundredth():
    means = RANDOM.normal(size=(20_000, 3)) * np.sqrt([0.009, 0.011, 1.0])
    assert variational_bound.active_units(means).tolist() == [False, True, True]


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_no_linear_code_of_gaussian_images_has_a_lower_loss(beta):
    """Each component is encoded as a * x + noise of variance s and decoded as w * code."""
    variances, pixel_variance = np.array([0.02, 0.3, 5.0]), 0.1

    def loss(parameters: np.ndarray, variance: float) -> float:
        a, w, log_s = parameters
        error = (1 - w * a) ** 2 * variance + w**2 * np.exp(log_s)
        kl = 0.5 * (a**2 * variance + np.exp(log_s) - 1.0 - log_s)
        return error / (2 * pixel_variance) + beta * kl

    least = sum(
        min(
            optimize.minimize(
                loss, start, (variance,), "Nelder-Mead", options={"maxiter": 4000}
            ).fun
            for start in ([0.1, 0.1, 0.0], [1.0, 1.0, -2.0])
        )
        for variance in variances
    )
    bound = variational_bound.linear_bound(0.4, variances, beta=beta, pixel_variance=pixel_variance)
    assert bound == pytest.approx(least + 0.4 / 0.2, rel=1e-3, abs=1e-3)
