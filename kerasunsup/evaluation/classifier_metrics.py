"""Numbers of classifiers, from arrays: confusion, calibration, whether a gain is more than luck.

Classes are integers from 0, probabilities (num_images, num_classes), everything else is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn import metrics


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of the predictions that equal their label, mean over images, in [0, 1].

    Args:
        labels: (num_images,), integers.
        predictions: (num_images,), integers: classes, no probabilities.

    Raises:
        ValueError: if the shapes differ, are not one-dimensional, or there are no images.

    Example:
        >>> accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
        0.75
    """
    labels, predictions = _pair(labels, predictions)
    return float(np.mean(labels == predictions))


def auroc(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """Area under the receiver operating characteristic curve, in [0, 1].

    Args:
        is_positive: (num_images,), bool; both kinds occur.
        scores: (num_images,), higher for positives.

    Returns:
        The probability that a positive has the higher score; a tie counts half.

    Raises:
        ValueError: if only one kind occurs, or a score is not finite.

    Source:
        Fawcett, 2006, "An introduction to ROC analysis", section 7.

    Example:
        >>> auroc(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.3, 0.8]))
        0.75
    """
    if len(np.unique(is_positive)) != 2:
        raise ValueError("is_positive must hold both kinds")
    return float(metrics.roc_auc_score(is_positive, scores))


def confusion(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """The confusion matrix: how often each class was predicted for each label.

    Args:
        labels: (num_images,), integers in [0, num_classes).
        predictions: (num_images,), integers in [0, num_classes).
        num_classes: how many there are, those that do not occur too.

    Returns:
        int64 (num_classes, num_classes), counts of images; rows are labels, columns predictions.

    Raises:
        ValueError: if the shapes differ or a class is out of range.

    Example:
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    labels, predictions = _pair(labels, predictions)
    both = np.concatenate([labels, predictions])
    if both.min() < 0 or both.max() >= num_classes:
        raise ValueError(
            f"classes must be 0 to {num_classes - 1}, received {both.min()} to {both.max()}"
        )
    return metrics.confusion_matrix(labels, predictions, labels=np.arange(num_classes))


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How often a classifier is right when it is so sure: one value for each bin of confidence.

    Attributes:
        confidence: (num_bins,), mean of the highest probability, NaN in an empty bin.
        accuracy: (num_bins,), share of right predictions, NaN in an empty bin.
        count: (num_bins,), number of images.
        expected_calibration_error: mean of |accuracy - confidence| over bins, weighted by count.

    Example:
        >>> part = reliability(np.array([0.9, 0.9, 0.6]), np.array([1, 1, 0]), num_bins=2)
        >>> part.count, part.accuracy.round(2)
        (array([0, 3]), array([ nan, 0.67]))
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    expected_calibration_error: float


def reliability(confidence: np.ndarray, is_right: np.ndarray, num_bins: int = 15) -> Reliability:
    """The reliability curve and the expected calibration error, over bins of equal width.

    Args:
        confidence: (num_images,), the highest probability of each, in [0, 1].
        is_right: (num_images,), whether the prediction was right.
        num_bins: number of bins that [0, 1] is cut into; a bin excludes its lower edge.

    Raises:
        ValueError: if the shapes differ, there are no images, or a confidence is out of [0, 1].

    Source:
        Guo et al., 2017, arXiv:1706.04599, eq. 3, 15 bins as there.

    Example:
        >>> curve = reliability(np.array([0.8, 0.8, 0.8, 0.8]), np.array([1, 1, 1, 0]))
        >>> round(curve.expected_calibration_error, 3)
        0.05
    """
    confidence, is_right = _pair(confidence, is_right)
    if not (confidence.min() >= 0.0 and confidence.max() <= 1.0 + 1e-6):
        raise ValueError(
            f"confidence must be in [0, 1], received {confidence.min():.4g} to "
            f"{confidence.max():.4g}: pass logits through a softmax first"
        )
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    count = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bins, confidence, num_bins) / count
        mean_accuracy = np.bincount(bins, is_right.astype(np.float64), num_bins) / count
    gaps = np.nan_to_num(np.abs(mean_accuracy - mean_confidence))
    error = float(np.sum(gaps * count) / count.sum())
    return Reliability(mean_confidence, mean_accuracy, count, error)


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean difference of pairs and how sure it is.

    Attributes:
        mean: mean of first minus second.
        low: lower end of the 95 % confidence interval of the mean.
        high: upper end of that interval.
        p_value: of the two-sided paired t-test.

    Example:
        >>> Difference(mean=0.02, low=0.01, high=0.03, p_value=0.01).is_significant
        True
    """

    mean: float
    low: float
    high: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves 0 out, at 5 %, for this one comparison by itself."""
        return self.low > 0.0 or self.high < 0.0


def paired_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """The mean difference of two methods on the same seeds, and how sure it is.

    Where every pair differs by the same, the interval is a point.

    Args:
        first: (num_seeds,), two seeds at least.
        second: (num_seeds,), the same seeds in the same order.

    Raises:
        ValueError: if the shapes differ or there are fewer than two pairs.

    Example:
        >>> gain = paired_difference(np.array([0.9, 0.8, 0.9]), np.array([0.8, 0.7, 0.7]))
        >>> round(gain.mean, 3), gain.is_significant
        (0.133, False)
    """
    first, second = _pair(np.asarray(first, np.float64), np.asarray(second, np.float64))
    if len(first) < 2:
        raise ValueError(f"a comparison needs two seeds at least, received {len(first)}")
    differences = first - second
    mean = float(differences.mean())
    if np.ptp(differences) <= 1e-12 * max(1.0, abs(mean)):  # the t-test divides by the spread
        return Difference(mean, mean, mean, float(mean == 0.0))
    test = stats.ttest_rel(first, second)
    low, high = test.confidence_interval(0.95)
    return Difference(mean, float(low), float(high), float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: one below 0.05 is more than luck among all of them.

    Among thirty comparisons between equals, one or two fall below 0.05 by themselves.

    Args:
        p_values: one for each of the comparisons that were made together, in [0, 1].

    Returns:
        The corrected values in the same order, each at least as large and at most 1.

    Source:
        Holm, 1979, "A simple sequentially rejective multiple test procedure", Scandinavian
        Journal of Statistics 6.

    Example:
        >>> [round(value, 2) for value in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda one: p_values[one])):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = largest
    return corrected


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(
            "both must be one value an image (or seed), received the shapes "
            f"{first.shape} and {second.shape}"
        )
    return first, second
