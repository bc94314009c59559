"""A score for outliers, from the error of an image's reconstruction and the rarity of its code."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

from kerasunsup.evaluation import latent_space

_COMPONENTS = 10
# Fewer components where there are fewer codes than this a component and dimension: a covariance of
# too few codes calls every new code rare. With 300 clean validation images of MNIST and codes of 32
# values, the area under the curve of flipped and blended digits is 0.78 by this rule, 0.66 with ten
# components; with 3,000 images they are one.
_CODES_A_DIMENSION = 5
_LEAST_SPREAD = 0.01  # of errors' logarithms and of log-likelihoods: less is rounding
_LEAST_LEAD = 0.1  # that an outlier's score has over the lowest: among equals there is none


@dataclasses.dataclass(frozen=True)
class Detector:
    """Scores images by what clean ones look like to an autoencoder.

    Attributes:
        mixture: Gaussians fitted to the clean images' codes.
        error_mean: mean of the logarithm of the clean images' errors.
        error_spread: standard deviation of that logarithm.
        rarity_mean: mean negative log-likelihood of the clean images' codes.
        rarity_spread: standard deviation of that log-likelihood.

    Example:
        >>> random = np.random.default_rng(0)
        >>> errors, codes = random.uniform(0.01, 0.02, 100), random.normal(size=(100, 2))
        >>> odd = np.array([0.9]), np.array([[9.0, 9.0]])
        >>> fit(errors, codes, seed=0).scores(*odd) > 10.0
        array([ True])
    """

    mixture: latent_space.Mixture
    error_mean: float
    error_spread: float
    rarity_mean: float
    rarity_spread: float

    def scores(self, errors: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """The outlier score of each image: about 0 for clean images, higher for odder ones.

        The error's logarithm and the code's negative log-likelihood are standardized by the clean
        images. Each gets the probability p that a normal number is at least as high, and Fisher's
        method joins the two: the sum of -log p, less the 2 that it is by chance. A value that is
        lower than usual hardly counts. The plain sum of the two values called an image with a rare
        code common where it was easy to draw, as an empty frame among digits is.

        Args:
            errors: (num_images,), mean squared error of each reconstruction.
            codes: (num_images, latent_dim).

        Returns:
            float64 (num_images,), -2 or more.

        Source:
            Fisher, 1932, "Statistical Methods for Research Workers", 4th ed., section 21.1.
        """
        error = (_log(errors) - self.error_mean) / self.error_spread
        rarity = (-self.mixture.log_likelihoods(codes) - self.rarity_mean) / self.rarity_spread
        return -stats.norm.logsf(error) - stats.norm.logsf(rarity) - 2.0


def fit(errors: np.ndarray, codes: np.ndarray, seed: int) -> Detector:
    """A detector that takes these images for clean.

    `python -m kerasunsup.novelty` measures what each of the two parts is worth.

    Args:
        errors: (num_images,), mean squared error of each reconstruction, >= 0.
        codes: (num_images, latent_dim), two or more.
        seed: >= 0.

    Raises:
        ValueError: if the sizes differ, there are fewer than two, or a value is not finite.

    Example:
        >>> random = np.random.default_rng(0)
        >>> errors, codes = random.uniform(0.01, 0.02, 100), random.normal(size=(100, 2))
        >>> fit(errors, codes, seed=0).scores(errors, codes).shape
        (100,)
    """
    errors = np.asarray(errors, np.float64)
    if errors.shape != codes.shape[:1] or not np.isfinite(errors).all():
        raise ValueError(
            f"errors must be one finite number a code ({len(codes)}), received {errors.shape}"
        )
    enough = len(codes) // (_CODES_A_DIMENSION * codes.shape[1])
    mixture = latent_space.fit_mixture(codes, max(1, min(_COMPONENTS, enough)), seed)
    logs, rarity = _log(errors), -mixture.log_likelihoods(codes)
    return Detector(mixture, *_moments(logs), *_moments(rarity))


def limit(scores: np.ndarray, share: float) -> float:
    """The score that so large a share of these images reaches, fewer where they are alike.

    Args:
        scores: (num_images,), one or more.
        share: in (0, 1).

    Returns:
        The limit, at least 0.1 above the lowest score: among equal images there is no outlier.

    Example:
        >>> limit(np.array([0.0, 1.0, 2.0, 3.0]), share=0.25)
        3.0
    """
    reached = np.quantile(scores, 1.0 - share, method="higher")
    return float(max(reached, scores.min() + _LEAST_LEAD))


def threshold(errors: np.ndarray, codes: np.ndarray, share: float, seed: int) -> float:
    """The score that so large a share of clean images exceeds.

    Each half is scored by a detector of the other: an image scores too low where its own code was
    fitted. With a share of 0.1 and codes of four normals, new clean images pass in 7 % of the cases
    where 1,000 images are known, in 11 % with 200 and in 16 % (give or take 6) with 60.

    Args:
        errors: (num_images,), errors of clean images that the model was not trained on.
        codes: (num_images, latent_dim), four or more.
        share: in (0, 1).
        seed: >= 0.

    Returns:
        The score, at least 0.1 above the lowest of the clean images.

    Raises:
        ValueError: as `fit`.

    Example:
        >>> random = np.random.default_rng(0)
        >>> errors, codes = random.uniform(0.01, 0.02, 100), random.normal(size=(100, 2))
        >>> 0.0 < threshold(errors, codes, share=0.05, seed=0) < 10.0
        True
    """
    order = np.random.default_rng(seed).permutation(len(codes))
    halves = order[::2], order[1::2]
    scores = np.concatenate(
        [
            fit(errors[fitted], codes[fitted], seed).scores(errors[scored], codes[scored])
            for fitted, scored in (halves, halves[::-1])
        ]
    )
    return float(max(np.quantile(scores, 1.0 - share), scores.min() + _LEAST_LEAD))


def mahalanobis(clean: np.ndarray, values: np.ndarray, least_variance: float = 0.0) -> np.ndarray:
    """The squared Mahalanobis distance of each row from the clean rows.

    Args:
        clean: (num_clean, dim), two or more.
        values: (num_rows, dim).
        least_variance: added to each variance, as a share of their mean: rows that differ where the
            clean ones are all equal are then far, and not equal to them.

    Returns:
        float64 (num_rows,), >= 0.

    Example:
        >>> clean = np.array([[0.0], [1.0], [2.0]])
        >>> mahalanobis(clean, np.array([[1.0], [4.0]]))
        array([0., 9.])
    """
    covariance = np.atleast_2d(np.cov(clean.T))
    covariance += least_variance * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    away = values - clean.mean(axis=0)
    return np.einsum("ij,jk,ik->i", away, np.linalg.pinv(covariance), away)


def _log(errors: np.ndarray) -> np.ndarray:
    # A perfect reconstruction is as good as one to a millionth of the range.
    return np.log(np.maximum(errors, 1e-12))


def _moments(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std()), _LEAST_SPREAD)
