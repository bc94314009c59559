"""A score for outliers, from the error of an image's reconstruction and the rarity of its code.

Vectors that come without a decoder are reconstructed from their principal components.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

from kerasunsup.evaluation import latent_space, neighbors

_COMPONENTS = 10
# Fewer components where there are fewer codes than this a component and dimension: a covariance of
# too few codes calls every new code rare. With 300 clean validation images of MNIST and codes of 32
# values, the area under the curve of flipped and blended digits is 0.78 by this rule, 0.66 with ten
# components; with 3,000 images they are one.
_CODES_A_DIMENSION = 5
# Of vectors without a decoder as many principal components are kept, and one for ten vectors.
_MOST_PRINCIPAL, _VECTORS_A_COMPONENT = 64, 10
_LEAST_SPREAD = 0.01  # of errors' logarithms and of log-likelihoods: less is rounding
_LEAST_LEAD = 0.1  # that an outlier's score has over the lowest: among equals there is none


@dataclasses.dataclass(frozen=True)
class Principal:
    """The principal components of clean vectors, in the place of an autoencoder.

    Attributes:
        mean: (dim,), of the clean vectors.
        axes: (num_components, dim), orthonormal.
        variance: mean variance of a number of the vectors, the unit of errors.

    Example:
        >>> principal = Principal(np.zeros(2), np.array([[1.0, 0.0]]), variance=0.5)
        >>> [part.tolist() for part in principal.split(np.array([[3.0, 1.0]]))]
        [[1.0], [[3.0]]]
    """

    mean: np.ndarray
    axes: np.ndarray
    variance: float

    def split(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean squared error of each vector's reconstruction, its components): float64.

        Args:
            vectors: (num_vectors, dim).
        """
        errors, kept = np.empty(len(vectors)), np.empty((len(vectors), len(self.axes)))
        for block in neighbors.blocks(len(vectors)):
            away = vectors[block] - self.mean
            kept[block] = away @ self.axes.T
            errors[block] = np.square(away - kept[block] @ self.axes).mean(axis=1)
        # What is left of vectors that the components describe wholly is rounding.
        errors = errors / self.variance
        return np.where(errors < 1e-10, 0.0, errors), kept


def _principal(vectors: np.ndarray, seed: int) -> Principal:
    number = max(1, min(_MOST_PRINCIPAL, len(vectors) // _VECTORS_A_COMPONENT))
    fitted = latent_space.principal_components(vectors, number, seed)
    variance = float(vectors.var(axis=0, dtype=np.float64).mean())
    return Principal(fitted.mean_, fitted.components_, variance or 1.0)


@dataclasses.dataclass(frozen=True)
class Detector:
    """Scores images by what clean ones look like to an autoencoder.

    Attributes:
        mixture: Gaussians fitted to the clean images' codes.
        error_mean: mean of the logarithm of the clean images' errors.
        error_spread: standard deviation of that logarithm.
        rarity_mean: mean negative log-likelihood of the clean images' codes.
        rarity_spread: standard deviation of that log-likelihood.
        principal: the principal components of the clean vectors; None for codes of an autoencoder.

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
    principal: Principal | None = None

    def scores(self, errors: np.ndarray | None, codes: np.ndarray) -> np.ndarray:
        """The outlier score of each image: about 0 for clean images, higher for odder ones.

        The error's logarithm and the code's negative log-likelihood are standardized by the clean
        images. Each gets the probability p that a normal number is at least as high, and Fisher's
        method joins the two: the sum of -log p, less the 2 that it is by chance. A value that is
        lower than usual hardly counts. The plain sum of the two values called an image with a rare
        code common where it was easy to draw, as an empty frame among digits is.

        Args:
            errors: (num_images,), mean squared error of each reconstruction; None where the
                detector was fitted to vectors alone.
            codes: (num_images, latent_dim).

        Returns:
            float64 (num_images,), -2 or more.

        Source:
            Fisher, 1932, "Statistical Methods for Research Workers", 4th ed., section 21.1.
        """
        if self.principal is not None:
            errors, codes = self.principal.split(codes)
        if errors is None:
            raise ValueError("a detector of codes needs the errors of their reconstructions")
        error = (_log(errors) - self.error_mean) / self.error_spread
        rarity = (-self.mixture.log_likelihoods(codes) - self.rarity_mean) / self.rarity_spread
        return -stats.norm.logsf(error) - stats.norm.logsf(rarity) - 2.0


def fit(errors: np.ndarray | None, codes: np.ndarray, seed: int) -> Detector:
    """A detector that takes these images for clean.

    `python -m kerasunsup.novelty` measures what each of the two parts is worth.

    Args:
        errors: (num_images,), mean squared error of each reconstruction, >= 0; None for vectors
            without a decoder, of which principal components take its place.
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
    principal = None
    if errors is None:
        principal = _principal(codes, seed)
        errors, codes = principal.split(codes)
    errors = np.asarray(errors, np.float64)
    if errors.shape != codes.shape[:1] or not np.isfinite(errors).all():
        raise ValueError(
            f"errors must be one finite number a code ({len(codes)}), received {errors.shape}"
        )
    enough = len(codes) // (_CODES_A_DIMENSION * codes.shape[1])
    mixture = latent_space.fit_mixture(codes, max(1, min(_COMPONENTS, enough)), seed)
    logs, rarity = _log(errors), -mixture.log_likelihoods(codes)
    return Detector(mixture, *_moments(logs), *_moments(rarity), principal)


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


def known_scores(
    errors: np.ndarray | None, codes: np.ndarray, seed: int, num_folds: int = 2
) -> np.ndarray:
    """The scores of clean images, as new clean ones would get them.

    Each fold is scored by a detector of the others: an image scores too low where its own code was
    fitted.

    Args:
        errors: (num_images,), errors of clean images that the model was not trained on; None for
            vectors alone.
        codes: (num_images, latent_dim), four or more.
        seed: >= 0.
        num_folds: two or more, at most half of the images.

    Returns:
        float64 (num_images,).

    Raises:
        ValueError: as `fit`.

    Example:
        >>> codes = np.random.default_rng(0).normal(size=(100, 2))
        >>> known_scores(None, codes, seed=0).shape
        (100,)
    """
    order = np.random.default_rng(seed).permutation(len(codes))
    scores = np.empty(len(codes))
    for fold in range(num_folds):
        scored = order[fold::num_folds]
        fitted = np.concatenate([order[at::num_folds] for at in range(num_folds) if at != fold])
        if errors is None:
            scores[scored] = fit(None, codes[fitted], seed).scores(None, codes[scored])
        else:
            detector = fit(errors[fitted], codes[fitted], seed)
            scores[scored] = detector.scores(errors[scored], codes[scored])
    return scores


def known_limit(known: np.ndarray, share: float) -> float:
    """The score that so large a share of clean images exceeds.

    With a share of 0.1 and codes of four normals, new clean images pass in 7 % of the cases where
    1,000 images are known, in 11 % with 200 and in 16 % (give or take 6) with 60.

    Args:
        known: (num_images,), what `known_scores` returned.
        share: in (0, 1).

    Returns:
        The score, at least 0.1 above the lowest of the clean images.

    Example:
        >>> known_limit(np.array([0.0, 1.0, 2.0]), share=0.5)
        1.0
    """
    return float(max(np.quantile(known, 1.0 - share), known.min() + _LEAST_LEAD))


def threshold(errors: np.ndarray, codes: np.ndarray, share: float, seed: int) -> float:
    """The score that so large a share of clean images exceeds: `known_limit` of `known_scores`.

    Example:
        >>> random = np.random.default_rng(0)
        >>> errors, codes = random.uniform(0.01, 0.02, 100), random.normal(size=(100, 2))
        >>> 0.0 < threshold(errors, codes, share=0.05, seed=0) < 10.0
        True
    """
    return known_limit(known_scores(errors, codes, seed), share)


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
