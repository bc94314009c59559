"""Paths between codes, from arrays: straight ones, and such that stay where codes lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from kerasunsup.evaluation.latent_space import Mixture

# What a nat of mean log-density is worth, in squared lengths of the straight path: a path of 1.4
# times its length must gain ten nats. By reasoning; others were not tried.
_WEIGHT = 0.1
_MOST_STEPS = 200  # of the optimizer


def straight(start: np.ndarray, end: np.ndarray, num_steps: int) -> np.ndarray:
    """Evenly spaced codes on the straight line between two, both among them.

    Args:
        start: (latent_dim,).
        end: (latent_dim,).
        num_steps: codes on the path, >= 2.

    Returns:
        float32 (num_steps, latent_dim).

    Raises:
        ValueError: if num_steps is less than 2.

    Example:
        >>> straight(np.zeros(2), np.ones(2), 3).tolist()
        [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
    """
    if num_steps < 2:
        raise ValueError(f"a path has 2 steps or more, received {num_steps}")
    shares = np.linspace(0.0, 1.0, num_steps)[:, np.newaxis]
    return ((1.0 - shares) * start + shares * end).astype(np.float32)


def along_density(
    mixture: Mixture, start: np.ndarray, end: np.ndarray, num_steps: int
) -> np.ndarray:
    """Codes on a path between two that is short and stays where a mixture of Gaussians is dense.

    It is the straight path bent until the sum of its squared steps, in units of the straight
    path's, less a share of its mean log-density is least nearby (L-BFGS). The squares keep the
    steps even.

    Args:
        mixture: fitted to codes.
        start: (latent_dim,).
        end: (latent_dim,).
        num_steps: codes on the path, >= 2.

    Returns:
        float32 (num_steps, latent_dim); the ends are as given.

    Raises:
        ValueError: if num_steps is less than 2.

    Example:
        >>> from kerasunsup.evaluation.latent_space import fit_mixture
        >>> codes = np.random.default_rng(0).normal(size=(60, 2))
        >>> along_density(fit_mixture(codes, 2, seed=0), codes[0], codes[1], 5).shape
        (5, 2)
    """
    from scipy import optimize  # loads slowly

    path = straight(start, end, num_steps).astype(np.float64)
    scaled = (path - mixture.mean) / mixture.scale
    length = np.sum((scaled[-1] - scaled[0]) ** 2)
    if num_steps == 2 or not length:
        return path.astype(np.float32)
    ends = scaled[:1], scaled[-1:]

    def cost(inner: np.ndarray) -> tuple[float, np.ndarray]:
        points = inner.reshape(num_steps - 2, -1)
        steps = np.diff(np.concatenate([ends[0], points, ends[1]]), axis=0)
        densities, slopes = _log_density(mixture, points)
        value = (num_steps - 1) * np.sum(steps**2) / length - _WEIGHT * densities.mean()
        slope = 2.0 * (num_steps - 1) / length * (steps[:-1] - steps[1:])
        return value, (slope - _WEIGHT / len(points) * slopes).ravel()

    # Many products of thin matrices: threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        found = optimize.minimize(
            cost, scaled[1:-1].ravel(), jac=True, method="L-BFGS-B",
            options={"maxiter": _MOST_STEPS},
        )  # fmt: skip
    path[1:-1] = mixture.mean + mixture.scale * found.x.reshape(num_steps - 2, -1)
    return path.astype(np.float32)


def _log_density(mixture: Mixture, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-densities (n,) and their gradients (n, dim) of points in units of the codes' spread."""
    gaussians = mixture.gaussians
    away = points[:, np.newaxis] - gaussians.means_  # (n, components, dim)
    # A mixture that was read from a file has the factors of its precisions alone.
    factors = gaussians.precisions_cholesky_
    whitened = np.einsum("ncd,cde->nce", away, factors, optimize=True)
    pulls = np.einsum("nce,cde->ncd", whitened, factors, optimize=True)
    shares = gaussians.predict_proba(points)
    return gaussians.score_samples(points), -np.einsum("nc,ncd->nd", shares, pulls)
