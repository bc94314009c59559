"""What the units of a variational code carry, and the bound that a linear model reaches."""

from __future__ import annotations

import numpy as np

_ACTIVE = 0.01  # variance of a unit's mean over images; the source's


def kl_per_unit(means: np.ndarray, log_variances: np.ndarray) -> np.ndarray:
    """Divergence of each unit from the standard normal distribution, mean over the images.

    Args:
        means: (num_images, latent_dim), of the images' codes.
        log_variances: logarithms of their variances, of the same shape.

    Returns:
        float64 (latent_dim,), >= 0, nats.

    Raises:
        ValueError: if the shapes differ or there are no images.

    Source:
        Kingma & Welling, 2013, arXiv:1312.6114, appendix B.

    Example:
        >>> kl_per_unit(np.array([[0.0, 1.0]]), np.zeros((1, 2)))
        array([0. , 0.5])
    """
    if np.ndim(means) != 2 or not len(means) or np.shape(means) != np.shape(log_variances):
        raise ValueError(
            "means and log_variances must be (num_images, latent_dim), received "
            f"{np.shape(means)} and {np.shape(log_variances)}"
        )
    means, logs = np.asarray(means, np.float64), np.asarray(log_variances, np.float64)
    return 0.5 * np.mean(np.square(means) + np.exp(logs) - 1.0 - logs, axis=0)


def active_units(means: np.ndarray) -> np.ndarray:
    """Which units depend on the image: the variance of their means over the images is above 0.01.

    Args:
        means: (num_images, latent_dim), of the images' codes, one image or more.

    Returns:
        bool (latent_dim,).

    Source:
        Burda et al., 2015, arXiv:1509.00519, section 5.2.

    Example:
        >>> active_units(np.array([[0.0, 3.0], [0.1, 1.0]]))
        array([False,  True])
    """
    return np.asarray(means, np.float64).var(axis=0) > _ACTIVE


def linear_bound(
    residual: float, variances: np.ndarray, *, beta: float, pixel_variance: float
) -> float:
    """The lowest loss of a linear variational autoencoder of Gaussian images, nats an image.

    Each principal component is a channel of its own. A code that leaves an error of variance d of a
    component of variance v costs d / (2 * pixel_variance) and beta times log(v / d) / 2 nats. The
    sum is least at d = beta * pixel_variance, or at d = v, which is no code, where that is less.

    Args:
        residual: squared error of the projection on the components, summed over pixels.
        variances: of the components, (latent_dim,), >= 0.
        beta: weight of the divergence.
        pixel_variance: of the pixels about the decoder's output.

    Returns:
        The loss without the constant of the density, >= 0.

    Source:
        The rates of a Gaussian channel, Cover & Thomas, Elements of Information Theory, theorem
        10.3.3; that linear models reach them: Lucas et al., 2019, arXiv:1911.02469.

    Example:
        >>> linear_bound(0.0, np.array([0.1, 1.0]), beta=1.0, pixel_variance=1.0)
        0.55
    """
    variances = np.asarray(variances, np.float64)
    left = np.minimum(variances, beta * pixel_variance)
    # Where beta is 0 the rate costs nothing, however high it is.
    rates = 0.5 * np.log(np.divide(variances, left, out=np.ones_like(left), where=left > 0.0))
    return float(residual / (2.0 * pixel_variance) + np.sum(left / (2.0 * pixel_variance))
                 + beta * np.sum(rates))  # fmt: skip
