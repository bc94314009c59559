import math

import numpy as np
import pytest
from scipy import stats

from kerasunsup.evaluation import classifier_metrics


def test_accuracy_is_the_share_of_equal_classes():
    assert classifier_metrics.accuracy(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0])) == 0.75
    with pytest.raises(ValueError, match="one value an image"):
        classifier_metrics.accuracy(np.array([0, 1]), np.eye(2))


@pytest.mark.parametrize(
    "function",
    [
        classifier_metrics.accuracy,
        lambda first, second: classifier_metrics.confusion(first, second, 3),
        classifier_metrics.reliability,
        classifier_metrics.paired_difference,
    ],
    ids=["accuracy", "confusion", "reliability", "paired_difference"],
)
def test_what_does_not_pair_is_refused(function):
    for first, second in (([0, 1], [0]), ([], []), ([[0, 1]], [[0, 1]])):
        with pytest.raises(ValueError, match="received the shapes"):
            function(np.array(first), np.array(second))


def test_confusion_counts_labels_in_rows_and_predictions_in_columns():
    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 4, 200), random.integers(0, 4, 200)
    expected = np.zeros((5, 5), np.int64)
    for label, prediction in zip(labels, predictions, strict=True):
        expected[label, prediction] += 1
    found = classifier_metrics.confusion(labels, predictions, 5)  # the fifth class never occurs
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int64
    assert np.trace(found) / 200 == classifier_metrics.accuracy(labels, predictions)


@pytest.mark.parametrize(
    ("labels", "predictions", "shown"),
    [([0, 3], [0, 1], "received 0 to 3"), ([0, 1], [4, 1], "received 0 to 4"),
     ([0, -1], [0, 1], "received -1 to 1"), ([0, 1], [-2, 1], "received -2 to 1")],
)  # fmt: skip
def test_confusion_names_the_classes_that_are_out_of_range(labels, predictions, shown):
    with pytest.raises(ValueError, match=f"classes must be 0 to 2, {shown}"):
        classifier_metrics.confusion(np.array(labels), np.array(predictions), 3)


def _plain_reliability(confidence, is_right, num_bins):
    """Bin by bin; the lower edge belongs to the bin below, zero to the first."""
    rows, error = [], 0.0
    for number in range(num_bins):
        inside = [
            (c, right)
            for c, right in zip(confidence, is_right, strict=True)
            if number < c * num_bins <= number + 1 or (number == 0 and c == 0.0)
        ]
        if not inside:
            rows.append((math.nan, math.nan, 0))
            continue
        mean, share = (sum(values) / len(inside) for values in zip(*inside, strict=True))
        rows.append((mean, share, len(inside)))
        error += len(inside) / len(confidence) * abs(share - mean)
    return *(np.array(column) for column in zip(*rows, strict=True)), error


@pytest.mark.parametrize("num_bins", [1, 8, 15])
def test_reliability_equals_the_plain_loop(num_bins):
    random = np.random.default_rng(0)
    confidence = np.append(random.uniform(0.3, 1.0, 300), [0.0, 0.25, 0.5, 0.625, 1.0])
    is_right = random.random(305) < confidence**2
    found = classifier_metrics.reliability(confidence, is_right, num_bins)
    mean, share, count, error = _plain_reliability(confidence, is_right, num_bins)
    np.testing.assert_allclose(found.confidence, mean)
    np.testing.assert_allclose(found.accuracy, share)
    np.testing.assert_array_equal(found.count, count)
    assert found.expected_calibration_error == pytest.approx(error)


def test_the_calibrated_has_no_error_and_the_overconfident_its_gap():
    confidence = np.repeat([0.25, 0.5, 0.75, 1.0], 100)
    is_right = np.concatenate([np.arange(100) < 100 * sure for sure in (0.25, 0.5, 0.75, 1.0)])
    found = classifier_metrics.reliability(confidence, is_right)
    assert found.expected_calibration_error == pytest.approx(0.0)
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], found.confidence[filled])
    assert np.isnan(found.accuracy[~filled]).all()
    assert np.isnan(found.confidence[~filled]).all()
    assert found.count.sum() == 400
    certain = classifier_metrics.reliability(np.ones(100), np.arange(100) < 60)
    assert certain.expected_calibration_error == pytest.approx(0.4)
    hesitant = classifier_metrics.reliability(np.full(100, 0.5), np.ones(100, bool))
    assert hesitant.expected_calibration_error == pytest.approx(0.5)


def test_the_error_is_the_mean_over_images_not_over_bins():
    confidence = np.append(np.full(90, 0.5), np.full(10, 1.0))
    is_right = np.append(np.arange(90) < 45, np.zeros(10, bool))  # 0 in ninety, 1 in ten
    found = classifier_metrics.reliability(confidence, is_right)
    assert found.expected_calibration_error == pytest.approx(0.1)


def test_a_confidence_rounded_past_one_is_in_the_last_bin():
    confidence = np.array([1.0 + 5e-7], np.float32)
    found = classifier_metrics.reliability(confidence, np.array([True]))
    assert found.count[-1] == 1


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_logits_are_refused_as_confidence(value):
    with pytest.raises(ValueError, match="softmax"):
        classifier_metrics.reliability(np.array([0.5, value]), np.array([True, False]))


@pytest.mark.parametrize("num_seeds", [2, 3, 10])
@pytest.mark.parametrize("gain", [0.0, 0.02, -0.5])
def test_paired_difference_is_the_paired_t_test(num_seeds, gain):
    random = np.random.default_rng(num_seeds)
    second = random.uniform(0.5, 0.9, num_seeds)
    first = second + gain + 0.01 * random.standard_normal(num_seeds)
    found = classifier_metrics.paired_difference(first, second)
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(first - second))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.is_significant == (expected.pvalue < 0.05)


def test_the_order_of_the_two_turns_the_sign():
    first, second = np.array([0.9, 0.8, 0.95]), np.array([0.85, 0.7, 0.86])
    one, other = (
        classifier_metrics.paired_difference(first, second),
        classifier_metrics.paired_difference(second, first),
    )
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.p_value == pytest.approx(other.p_value)


def test_pairs_that_differ_by_the_same_have_a_point_for_an_interval():
    first = np.array([0.9, 0.8, 0.7])
    same = classifier_metrics.paired_difference(first, first)
    assert (same.mean, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert not same.is_significant
    better = classifier_metrics.paired_difference(first, first - 0.1)  # up to rounding
    assert better.mean == pytest.approx(0.1)
    assert better.low == better.high == better.mean
    assert better.p_value == 0.0
    assert better.is_significant


def test_holm_corrects_for_the_number_of_comparisons():
    assert classifier_metrics.holm([0.04]) == [0.04]
    corrected = classifier_metrics.holm([0.04, 0.01, 0.03, 0.6])
    assert corrected == pytest.approx([0.09, 0.04, 0.09, 0.6])
    assert classifier_metrics.holm([0.2] * 30) == [1.0] * 30
    assert classifier_metrics.holm([]) == []


def test_one_pair_is_no_comparison():
    with pytest.raises(ValueError, match="two seeds at least, received 1"):
        classifier_metrics.paired_difference(np.array([0.9]), np.array([0.8]))
