"""How alike two sets of images are, from their features and class probabilities."""

from __future__ import annotations

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import linalg, special

from kerasunsup.evaluation import neighbors


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two feature sets.

    Args:
        features: (num_images, feature_dim), float32 or float64.
        reference: (num_reference, feature_dim), float32 or float64.

    Returns:
        The distance, >= 0; 0 for equal means and covariances. No unit: it is comparable only
        within one feature network. Covariances are divided by the number of rows less one.

    Raises:
        ValueError: if the feature sizes differ or either has fewer rows than columns.

    Source:
        Heusel et al., 2017, arXiv:1706.08500, eq. 6. The trace of the product's square root is
        computed as the sum of the singular values of one factor times the other, which stays
        real and exact for singular covariances.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(100, 4))
        >>> round(frechet_distance(features + 0.5, features), 6)
        1.0
    """
    features, reference = neighbors.feature_pair(features, reference)
    for name, rows in (("features", features), ("reference", reference)):
        if len(rows) < max(2, rows.shape[1]):
            raise ValueError(
                f"{name} must have at least as many rows as columns for a covariance, received "
                f"{rows.shape}: use {max(2, rows.shape[1])} images or more"
            )
    features, reference = features.astype(np.float64), reference.astype(np.float64)
    difference = features.mean(axis=0) - reference.mean(axis=0)
    factor, factor_reference = _covariance_factor(features), _covariance_factor(reference)
    # With C = F F^T: trace((C_1 C_2)^(1/2)) is the nuclear norm of F_1^T F_2.
    overlap = linalg.svdvals(factor.T @ factor_reference).sum()
    traces = np.sum(factor**2) + np.sum(factor_reference**2)
    return max(0.0, float(difference @ difference + traces - 2.0 * overlap))


def kernel_distance(
    features: np.ndarray,
    reference: np.ndarray,
    *,
    seed: int = 0,
    num_subsets: int = 100,
    subset_size: int = 1000,
) -> float:
    """Squared maximum mean discrepancy under a cubic kernel, unbiased, mean over random subsets.

    Args:
        features: (num_images, feature_dim), float32 or float64.
        reference: (num_reference, feature_dim), float32 or float64.
        seed: seed by which the subsets are drawn.
        num_subsets: number of pairs of subsets, each drawn without replacement.
        subset_size: rows of a subset; all of the smaller set where that has fewer.

    Returns:
        The mean; around 0, and below it too, for sets of one distribution. The kernel is
        (x . y / feature_dim + 1)^3, so it depends on the features' scale. Pairs are computed in the
        features' dtype, means in float64.

    Raises:
        ValueError: if the feature sizes differ, or a set has fewer than two rows.

    Source:
        Binkowski et al., 2018, arXiv:1801.01401, section 4; subsets as torch-fidelity's defaults.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(100, 4))
        >>> kernel_distance(features + 2.0, features) > 1.0
        True
    """
    features, reference = neighbors.feature_pair(features, reference)
    size = min(subset_size, len(features), len(reference))
    if size < 2:
        raise ValueError(
            f"a kernel distance needs two rows a set, received {len(features)} and {len(reference)}"
        )
    generator = np.random.default_rng(seed)
    values = []
    # Subsets that are whole sets are all the same.
    is_whole = size == len(features) == len(reference)
    # Products so small wait longer for a second thread than they take, by far where others work.
    with threadpoolctl.threadpool_limits(1):
        for _ in range(1 if is_whole else num_subsets):
            first = features[generator.choice(len(features), size, replace=False)]
            second = reference[generator.choice(len(reference), size, replace=False)]
            within = sum(
                kernel.sum(dtype=np.float64) - np.trace(kernel, dtype=np.float64)
                for kernel in (_cubic_kernel(first, first), _cubic_kernel(second, second))
            )
            between = _cubic_kernel(first, second).mean(dtype=np.float64)
            values.append(within / (size * (size - 1)) - 2.0 * between)
    return float(np.mean(values))


def _cubic_kernel(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(x . y / dim + 1)^3 of each pair, of the rows' dtype (num_rows, num_others).

    Rounding of single values does not show in means over a million of them.
    """
    values = (rows / rows.shape[1]) @ others.T
    values += 1.0
    return values * values * values  # a power takes four times as long


def precision_recall(
    features: np.ndarray, reference: np.ndarray, k: int = 3
) -> tuple[float, float]:
    """How many images look real, and how much of the real variety is covered.

    A set's manifold is estimated by balls around its members that reach to the k-th nearest other
    member.

    Args:
        features: (num_images, feature_dim), features of the generated images.
        reference: (num_reference, feature_dim), features of the real images.
        k: which neighbour sets a ball's radius, >= 1.

    Returns:
        (precision, recall), shares in [0, 1]: of the generated images inside the reference's
        manifold, and of the reference inside the generated images' manifold. Distances in
        float32; time grows with the product of the set sizes, memory only with their sum.

    Raises:
        ValueError: if the feature sizes differ, or a set has no more than k rows.

    Source:
        Kynkaanniemi et al., 2019, arXiv:1904.06991, eqs. 1 and 2.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(50, 4))
        >>> precision_recall(features, features)
        (1.0, 1.0)
    """
    features, reference = neighbors.feature_pair(features, reference)
    if not 1 <= k < min(len(features), len(reference)):
        raise ValueError(
            f"k must be at least 1 and below the number of rows in each set, received k={k} with "
            f"{len(features)} and {len(reference)} rows"
        )
    # Distances do not change when both sets move; near the origin float32 rounds them less.
    center = reference.mean(axis=0, dtype=np.float64)
    features = (features - center).astype(np.float32)
    reference = (reference - center).astype(np.float32)
    radii, reference_radii = (
        neighbors.nearest(rows, None, k)[0][:, -1] ** 2 for rows in (features, reference)
    )
    is_real = np.zeros(len(features), bool)
    is_covered = np.zeros(len(reference), bool)
    for block in neighbors.blocks(len(features)):
        distances = neighbors.squared_distances(features[block], reference)
        is_real[block] = (distances <= reference_radii).any(axis=1)
        is_covered |= (distances <= radii[block, np.newaxis]).any(axis=0)
    return float(is_real.mean()), float(is_covered.mean())


def classifier_score(probabilities: np.ndarray) -> float:
    """The Inception score's formula for any classifier, over one undivided set.

    Args:
        probabilities: (num_images, num_classes), each row sums to 1.

    Returns:
        exp of the mean over images of KL(row || mean row), in nats: from 1 (all alike, or all
        uncertain) to num_classes (certain, and every class equally often).

    Raises:
        ValueError: if these are no probabilities.

    Source:
        Salimans et al., 2016, arXiv:1606.03498, section 4; there a mean over ten parts of the set.

    Example:
        >>> round(classifier_score(np.eye(3)), 6)
        3.0
    """
    rows = _check_probabilities(probabilities)
    return float(np.exp(special.rel_entr(rows, rows.mean(axis=0)).sum() / len(rows)))


def class_shares(probabilities: np.ndarray) -> np.ndarray:
    """How often each class is the most likely one, float64 (num_classes,), sum 1.

    Argument and errors are those of `classifier_score`. Ties go to the first class.

    Example:
        >>> class_shares(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]))
        array([0.75, 0.25])
    """
    rows = _check_probabilities(probabilities)
    counts = np.bincount(rows.argmax(axis=1), minlength=rows.shape[1])
    return counts / len(rows)


def unsure_share(probabilities: np.ndarray, least: float = 0.9) -> float:
    """The share of images of which no class is likely: failures, and what lies between classes.

    Args:
        probabilities: as for `classifier_score`, whose errors are those of this.
        least: an image is unsure if its largest probability is below.

    Example:
        >>> unsure_share(np.array([[0.95, 0.05], [0.6, 0.4], [0.1, 0.9], [0.0, 1.0]]))
        0.25
    """
    return float(np.mean(_check_probabilities(probabilities).max(axis=1) < least))


def class_spreads(features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How far the images of each class lie from each other: float64 (num_classes,).

    Args:
        features: (num_images, feature_dim).
        probabilities: (num_images, num_classes); an image is of its most likely class.

    Returns:
        The root of the mean squared distance to the class's mean, in units of the features; 0 for
        a class of one image or none.

    Raises:
        ValueError: if the numbers of images differ, or these are no probabilities.

    Example:
        >>> features = np.array([[0.0], [2.0], [5.0], [5.0]])
        >>> class_spreads(features, np.eye(3)[[0, 0, 1, 1]])
        array([1., 0., 0.])
    """
    rows = _check_probabilities(probabilities)
    features = neighbors.checked(features, "features")
    if len(features) != len(rows):
        raise ValueError(
            f"features and probabilities must be of the same images, received {len(features)} and "
            f"{len(rows)}"
        )
    of, spreads = rows.argmax(axis=1), np.zeros(rows.shape[1])
    for place in np.unique(of):
        members = features[of == place].astype(np.float64)
        spreads[place] = np.sqrt(np.square(members - members.mean(axis=0)).sum(axis=1).mean())
    return spreads


def _covariance_factor(rows: np.ndarray) -> np.ndarray:
    """F with covariance = F F^T, float64 (feature_dim, feature_dim)."""
    centered = rows - rows.mean(axis=0)
    values, vectors = linalg.eigh(centered.T @ centered / (len(rows) - 1))
    return vectors * np.sqrt(np.maximum(values, 0.0))  # rounding may fall below 0


def _check_probabilities(probabilities: np.ndarray) -> np.ndarray:
    rows = np.asarray(probabilities, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"probabilities must be (num_images, num_classes), received the shape {rows.shape}"
        )
    if not (rows.min() >= 0.0 and np.abs(rows.sum(axis=1) - 1.0).max() < 1e-3):
        raise ValueError(
            "probabilities must be at least 0 and sum to 1 in each row, received values in "
            f"[{rows.min():.4g}, {rows.max():.4g}]: pass logits through a softmax first"
        )
    return rows
