"""The encoded space: its principal components, its t-SNE map and ways of drawing new codes.

Vectors and codes are arrays (num_vectors, dim), one a row. Everything random follows from a seed.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from sklearn import decomposition, exceptions, manifold, mixture

from kerasunsup.evaluation import neighbors

_EXACT_DIM = 2000  # up to here the covariance's eigenvectors are the fastest way
_MOST_ROWS = 10_000  # beyond it, as many rows,
_MOST_COVARIANCES = 100 * 256**2  # values of all covariances of a mixture
_MOST_VALUES = 200_000_000  # and as many values (0.8 GB) are enough to find the components
MIXTURE_ROWS = 20_000
_ROWS_PER_COMPONENT = 20
_GAUSSIANS = ("weights", "means", "covariances", "precisions_cholesky")

LEAST_MAPPED = 4  # codes on a map


def varying(codes: np.ndarray) -> np.ndarray:
    """Which coordinates differ by more than rounding, bool (latent_dim,).

    An encoder gives equal images codes that differ in their last digits, by their place in a batch.
    Divided by so small a spread, noise looks like structure.

    Args:
        codes: (num_codes, latent_dim), finite, one or more.

    Example:
        >>> varying(np.array([[0.0, 1.0], [0.0, 2.0]]))
        array([False,  True])
    """
    largest = np.abs(codes).max(axis=0)
    spread = codes.max(axis=0) - codes.min(axis=0)
    return spread > np.maximum(1e-5 * largest, 1e-6 * largest.max(initial=0.0))


def principal_components(vectors: np.ndarray, num_components: int, seed: int) -> decomposition.PCA:
    """Principal components of a set of vectors.

    Up to 2,000 dimensions the result is exact, from all vectors. Beyond, it is the randomized
    method's on at most 10,000 vectors (fewer above 20,000 dimensions), drawn without replacement.

    Args:
        vectors: (num_vectors, dim), float32 or float64.
        num_components: how many; at most min(num_vectors, dim) are found.
        seed: >= 0.

    Returns:
        The fitted scikit-learn object; of vectors all alike its shares of the variance are NaN.

    Raises:
        ValueError: if there are fewer than two vectors or less than one component is wanted.

    Example:
        >>> components = principal_components(np.eye(4), 2, seed=0)
        >>> components.components_.shape
        (2, 4)
    """
    vectors = neighbors.checked(vectors, "vectors", least=2)
    if num_components < 1:
        raise ValueError(f"num_components must be at least 1, received {num_components}")
    dim = vectors.shape[1]
    if dim > _EXACT_DIM:
        vectors = _subset(vectors, max(2, min(_MOST_ROWS, _MOST_VALUES // dim)), seed)
    method = decomposition.PCA(
        min(num_components, *vectors.shape),
        svd_solver="covariance_eigh" if dim <= _EXACT_DIM else "randomized",
        random_state=seed,
    )
    with np.errstate(invalid="ignore"):  # of vectors all alike no share of the variance is known
        return method.fit(vectors)


def projection_mse(
    components: decomposition.PCA, images: np.ndarray, inputs: np.ndarray | None = None
) -> float:
    """Reconstruction error of the linear code: images beside their projection on components.

    On MNIST's test images, 32 components of 55,000 training images: 0.0168.

    Args:
        components: as `principal_components` finds them for flat images.
        images: (num_images, height, width, channels), float32 in [0, 1].
        inputs: what is projected instead, such as the same images with noise; None means `images`.

    Returns:
        Mean over pixels, channels and images; the projection is not clipped.

    Example:
        >>> images = np.eye(4).reshape(4, 2, 2, 1)
        >>> components = principal_components(images.reshape(4, 4), 2, seed=0)
        >>> round(projection_mse(components, images), 4)
        0.0625
    """
    flat = images.reshape(len(images), -1)
    total = 0.0
    given = flat if inputs is None else inputs.reshape(flat.shape)
    for rows in neighbors.blocks(len(flat)):
        difference = components.inverse_transform(components.transform(given[rows])) - flat[rows]
        total += float(np.sum(np.square(difference), dtype=np.float64))
    return total / flat.size


def is_alike(vectors: np.ndarray) -> bool:
    """Whether vectors, (num_vectors, dim), differ by no more than rounding does, as in `varying`.

    Example:
        >>> is_alike(np.ones((3, 2))), is_alike(np.eye(2))
        (True, False)
    """
    return not varying(vectors).any()


def tsne(codes: np.ndarray, seed: int) -> np.ndarray:
    """A map of the codes in two dimensions that keeps neighbours together.

    Args:
        codes: (num_codes, latent_dim), float32 or float64.
        seed: >= 0.

    Returns:
        (num_codes, 2), float32. Only nearness means something: axes and distances between groups
        have no unit. Perplexity 30 (less below 91 codes), from the principal components.

    Raises:
        ValueError: if there are fewer than four codes.

    Source:
        van der Maaten & Hinton, 2008, JMLR 9; Barnes-Hut approximation, angle 0.7.

    Example:
        >>> tsne(np.random.default_rng(0).normal(size=(10, 3)), seed=0).shape
        (10, 2)
    """
    codes = neighbors.checked(codes, "codes", least=LEAST_MAPPED)
    # A single coordinate, or codes all alike, give no two principal components to start from:
    # divided by their spread, nothing but rounding, they would end the process.
    has_plane = codes.shape[1] > 1 and not is_alike(codes)
    method = manifold.TSNE(
        perplexity=min(30.0, (len(codes) - 1) / 3.0),
        init="pca" if has_plane else "random",
        learning_rate="auto",
        angle=0.7,  # 0.5 takes 1.3 times as long, to a divergence of 1.25 and not 1.27
        random_state=seed,
    )
    # On few codes threads wait for each other longer than they work (measured: twice the time).
    with threadpoolctl.threadpool_limits(1 if len(codes) < 2000 else None):
        return method.fit_transform(codes.astype(np.float32))


def sample_integers(codes: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    """Codes of random integers, as the study drew them; they need not resemble any real code.

    Args:
        codes: (num_codes, latent_dim), of the training images.
        num_samples: >= 1.
        seed: >= 0.

    Returns:
        (num_samples, latent_dim), float32. Every coordinate is an integer drawn uniformly, alone,
        from the range of that coordinate over the codes, rounded outward, both ends included.

    Raises:
        ValueError: if there are fewer than two codes, one is not finite, or num_samples < 1.

    Example:
        >>> sample_integers(np.array([[0.2, 5.0], [0.9, 5.0]]), 3, seed=0).shape
        (3, 2)
    """
    codes = _check_sampling(codes, num_samples)
    low = np.floor(codes.min(axis=0)).astype(np.int64)
    high = np.ceil(codes.max(axis=0)).astype(np.int64)
    drawn = np.random.default_rng(seed).integers(
        low, high, size=(num_samples, codes.shape[1]), endpoint=True
    )
    return drawn.astype(np.float32)


def sample_gaussian(codes: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    """Codes drawn from one Gaussian with the mean and the full covariance of the codes.

    Arguments, shapes and errors are those of `sample_integers`.

    Example:
        >>> sample_gaussian(np.eye(3), 4, seed=0).shape
        (4, 3)
    """
    codes = _check_sampling(codes, num_samples).astype(np.float64)
    mean = codes.mean(axis=0)
    centered = codes - mean
    # Eigenvectors rather than Cholesky: a coordinate that never changes is no obstacle.
    values, vectors = np.linalg.eigh(centered.T @ centered / (len(codes) - 1))
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = np.random.default_rng(seed).standard_normal((num_samples, codes.shape[1]))
    return (mean + normal @ factor.T).astype(np.float32)


def sample_normal(codes: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    """Independent standard normal codes, those of a variational autoencoder's prior.

    Arguments, shapes and errors are those of `sample_integers`; of the codes only the size counts.

    Example:
        >>> sample_normal(np.eye(3), 4, seed=0).shape
        (4, 3)
    """
    codes = _check_sampling(codes, num_samples)
    shape = (num_samples, codes.shape[1])
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Gaussians with full covariances, fitted to codes.

    Attributes:
        gaussians: the fitted scikit-learn object, in units of the codes' spread.
        mean: mean of the codes, float64 (latent_dim,).
        scale: spread of the codes, one number: the root of their mean variance.

    Example:
        >>> fit_mixture(np.random.default_rng(0).normal(size=(60, 2)), 3, seed=0).means.shape
        (3, 2)
    """

    gaussians: mixture.GaussianMixture
    mean: np.ndarray
    scale: float

    @property
    def means(self) -> np.ndarray:
        """Means of the Gaussians, float64 (num_components, latent_dim)."""
        return self.mean + self.scale * self.gaussians.means_

    def responsibilities(self, codes: np.ndarray) -> np.ndarray:
        """How likely each Gaussian made each code, float64 (num_codes, num_components)."""
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            return self.gaussians.predict_proba((codes - self.mean) / self.scale)

    def log_likelihoods(self, codes: np.ndarray) -> np.ndarray:
        """Logarithm of the density at each code, in units of the codes' spread; (num_codes,)."""
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            return self.gaussians.score_samples((codes - self.mean) / self.scale)

    def sample(self, num_samples: int, seed: int) -> np.ndarray:
        """Codes drawn from it, in random order, float32 (num_samples, latent_dim)."""
        self.gaussians.set_params(random_state=seed)
        drawn, _ = self.gaussians.sample(num_samples)  # sorted by component
        drawn = np.random.default_rng(seed).permutation(drawn)
        return (self.mean + self.scale * drawn).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that it is, for a file; float64."""
        fitted = {name: getattr(self.gaussians, f"{name}_") for name in _GAUSSIANS}
        return fitted | {"mean": self.mean, "scale": np.array(self.scale)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Mixture:
        """The mixture whose `arrays` these are."""
        gaussians = mixture.GaussianMixture(len(arrays["weights"]), covariance_type="full")
        for name in _GAUSSIANS:
            setattr(gaussians, f"{name}_", arrays[name])
        return cls(gaussians, arrays["mean"], float(arrays["scale"]))


def fit_mixture(codes: np.ndarray, num_components: int, seed: int) -> Mixture:
    """A mixture of Gaussians with full covariances.

    Fitted by expectation-maximization on at most 20,000 codes, from k-means. Each variance is
    raised by a thousandth of the codes' mean variance, so that a component with few codes stays
    a Gaussian.

    Args:
        codes: (num_codes, latent_dim), two or more.
        num_components: >= 1; lowered as `num_gaussians` says.
        seed: >= 0.

    Raises:
        ValueError: if an argument is out of its range, or a code is not finite.

    Example:
        >>> mixture_of_codes = fit_mixture(np.eye(3), 10, seed=0)
        >>> mixture_of_codes.sample(5, seed=0).shape
        (5, 3)
    """
    codes = neighbors.checked(codes, "codes", least=2)
    if num_components < 1:
        raise ValueError(f"num_components must be at least 1, received {num_components}")
    codes = _subset(codes, MIXTURE_ROWS, seed).astype(np.float64)
    # In units of the codes' own spread, no setting below depends on how an encoder scales them.
    # A spread by rounding alone is no unit.
    mean = codes.mean(axis=0)
    scale = float(np.sqrt(codes.var(axis=0).mean())) if varying(codes).any() else 1.0
    gaussians = mixture.GaussianMixture(
        num_gaussians(len(codes), codes.shape[1], num_components),
        covariance_type="full",
        reg_covar=1e-3,
        init_params="kmeans",
        tol=1e-2,
        max_iter=40,
        random_state=seed,
    )
    # Many products of thin matrices: two BLAS threads take ten times as long as one (measured).
    with threadpoolctl.threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # Samples look the same whether or not the last iterations changed the likelihood by less
        # than the tolerance; and codes that are all alike give fewer clusters than components.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        gaussians.fit((codes - mean) / scale)
    return Mixture(gaussians, mean, scale)


def num_gaussians(num_codes: int, latent_dim: int, wanted: int) -> int:
    """How many components a mixture of codes has: no more than it takes minutes to fit.

    Args:
        num_codes: that it is fitted to; there are 20 or more a component.
        latent_dim: values of a code; above 256, covariances of 100 components are too large.
        wanted: >= 1.

    Example:
        >>> num_gaussians(20_000, 256, 100), num_gaussians(20_000, 1024, 100)
        (100, 6)
    """
    most = _MOST_COVARIANCES // latent_dim**2
    return max(1, min(wanted, num_codes // _ROWS_PER_COMPONENT, most))


def sample_mixture(
    codes: np.ndarray, num_samples: int, seed: int, num_components: int
) -> np.ndarray:
    """Codes drawn from the mixture of Gaussians that `fit_mixture` fits, in random order.

    Arguments, shapes and errors are those of `sample_integers` and `fit_mixture`.

    Example:
        >>> sample_mixture(np.eye(3), 5, seed=0, num_components=10).shape
        (5, 3)
    """
    codes = _check_sampling(codes, num_samples)
    return fit_mixture(codes, num_components, seed).sample(num_samples, seed)


# Name in metrics.json -> name in pictures, (training codes, number, seed) -> codes.
SAMPLERS: dict[str, tuple[str, Callable[[np.ndarray, int, int], np.ndarray]]] = {
    "integers": ("random integers", sample_integers),
    "gaussian": ("one Gaussian", sample_gaussian),
    "mixture_10": ("mixture of 10", functools.partial(sample_mixture, num_components=10)),
    "mixture_100": ("mixture of 100", functools.partial(sample_mixture, num_components=100)),
}
# The same where codes are held near the standard normal distribution.
NORMAL_SAMPLER = {"normal": ("standard normal", sample_normal)}


def _check_sampling(codes: np.ndarray, num_samples: int) -> np.ndarray:
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, received {num_samples}")
    return neighbors.checked(codes, "codes", least=2)


def _subset(vectors: np.ndarray, most: int, seed: int) -> np.ndarray:
    """All rows where they are few, otherwise `most` of them, drawn without replacement."""
    if len(vectors) <= most:
        return vectors
    drawn = np.random.default_rng(seed).choice(len(vectors), most, replace=False)
    return vectors[np.sort(drawn)]
