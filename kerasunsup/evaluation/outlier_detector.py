"""How odd an image is: its reconstruction error and how rare its code is, taken together."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

from kerasunsup.evaluation import latent_space

_COMPONENTS = 10
_LEAST_SPREAD = 0.01  # of errors' logarithms and of log-likelihoods: less is rounding
_LEAST_LEAD = 0.1  # that an outlier's score has over the lowest: among equals there is none


@dataclasses.dataclass(frozen=True)
class Detector:
    """Scores images by what clean ones look like to an autoencoder.

    Attributes:
        mixture: Gaussians fitted to the clean images' codes.
        error_mean: of the logarithm of the clean images' errors.
        error_spread: its standard deviation.
        rarity_mean: of the codes' negative log-likelihood.
        rarity_spread: its standard deviation.
    """

    mixture: latent_space.Mixture
    error_mean: float
    error_spread: float
    rarity_mean: float
    rarity_spread: float

    def scores(self, errors: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """How odd images are, float64 (num_images,); about 0 for clean ones, more is odder.

        The error's logarithm and the code's negative log-likelihood are standardized by the clean
        images. How seldom a normal number is so high says how odd each is, and Fisher's method
        joins the two: -log p of both, added up, less the 2 that chance gives. What is lower than
        usual adds nothing, and takes nothing away: the plain sum of the two called an image with a
        rare code common where it was easy to draw, as an empty frame among digits is.

        Args:
            errors: (num_images,), mean squared error of each reconstruction.
            codes: (num_images, latent_dim).

        Source:
            Fisher, 1932, "Statistical Methods for Research Workers", 4th ed., section 21.1.
        """
        error = (_log(errors) - self.error_mean) / self.error_spread
        rarity = (-self.mixture.log_likelihoods(codes) - self.rarity_mean) / self.rarity_spread
        return -stats.norm.logsf(error) - stats.norm.logsf(rarity) - 2.0


def fit(errors: np.ndarray, codes: np.ndarray, seed: int) -> Detector:
    """A detector that takes these images for clean.

    `python -m kerasunsup.novelty` measures what each part is worth, one class against the rest, on
    test images, by which the two parts were first chosen among six.

    Args:
        errors: (num_images,), mean squared error of each reconstruction, >= 0.
        codes: (num_images, latent_dim), two or more.
        seed: >= 0.

    Raises:
        ValueError: if the sizes differ, there are fewer than two, or a value is not finite.
    """
    errors = np.asarray(errors, np.float64)
    if errors.shape != codes.shape[:1] or not np.isfinite(errors).all():
        raise ValueError(
            f"errors must be one finite number a code ({len(codes)}), received {errors.shape}"
        )
    mixture = latent_space.fit_mixture(codes, _COMPONENTS, seed)
    logs, rarity = _log(errors), -mixture.log_likelihoods(codes)
    return Detector(mixture, *_moments(logs), *_moments(rarity))


def limit(scores: np.ndarray, share: float) -> float:
    """The score that so large a share of these images reaches, fewer where they are alike.

    Args:
        scores: (num_images,), one or more.
        share: in (0, 1).
    """
    reached = np.quantile(scores, 1.0 - share, method="higher")
    return float(max(reached, scores.min() + _LEAST_LEAD))


def threshold(errors: np.ndarray, codes: np.ndarray, share: float, seed: int) -> float:
    """The score that so large a share of clean images passes.

    Each half is scored by a detector of the other: an image scores too low where its own code was
    fitted. With a share of 0.1 and codes of four normals, new clean images pass in 7 % of the cases
    where 1,000 images are known, in 11 % with 200 and in 16 % (give or take 6) with 60.

    Args:
        errors: (num_images,), of clean images that the model was not trained on.
        codes: (num_images, latent_dim), four or more.
        share: in (0, 1).
        seed: >= 0.
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


def _log(errors: np.ndarray) -> np.ndarray:
    # A perfect reconstruction is as good as one to a millionth of the range.
    return np.log(np.maximum(errors, 1e-12))


def _moments(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std()), _LEAST_SPREAD)
