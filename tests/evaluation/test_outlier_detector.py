import numpy as np
import pytest
from sklearn import metrics

from kerasunsup.evaluation import outlier_detector


def clean(number, seed):
    generator = np.random.default_rng(seed)
    codes = generator.standard_normal((number, 3)) * [1.0, 4.0, 0.1]
    return np.exp(0.3 * generator.standard_normal(number)) * 0.01, codes


def test_clean_images_score_about_0_whatever_the_units():
    errors, codes = clean(2000, 0)
    scores = outlier_detector.fit(errors, codes, 0).scores(*clean(500, 1))
    assert abs(scores.mean()) < 0.3
    scaled = outlier_detector.fit(1e-3 * errors, 50.0 * codes, 0)
    other_errors, other_codes = clean(500, 1)
    np.testing.assert_allclose(
        scaled.scores(1e-3 * other_errors, 50.0 * other_codes), scores, atol=1e-6
    )


@pytest.mark.parametrize("what", ["error", "code"])
def test_a_large_error_is_odd_and_so_is_a_rare_code(what):
    detector = outlier_detector.fit(*clean(2000, 0), 0)
    errors, codes = clean(200, 1)
    errors[:100] *= 10.0 if what == "error" else 1.0
    codes[:100] += [0.0, 0.0, 2.0] if what == "code" else 0.0
    is_odd = np.arange(200) < 100
    assert metrics.roc_auc_score(is_odd, detector.scores(errors, codes)) > 0.99


def test_so_many_new_clean_images_pass_the_threshold():
    errors, codes = clean(2000, 0)
    limit = outlier_detector.threshold(errors, codes, 0.05, 0)
    share = (outlier_detector.fit(errors, codes, 0).scores(*clean(4000, 1)) > limit).mean()
    assert 0.03 < share < 0.07


def test_images_all_alike_are_no_obstacle():
    detector = outlier_detector.fit(np.zeros(50), np.ones((50, 2)), 0)
    scores = detector.scores(np.array([0.0, 1.0]), np.ones((2, 2)))
    assert np.isfinite(scores).all()
    assert scores[1] > scores[0]


def test_an_error_far_below_the_usual_does_not_hide_a_rare_code():
    detector = outlier_detector.fit(*clean(2000, 0), 0)
    errors, codes = clean(500, 1)
    rare = np.array([[6.0, 0.0, 0.0]])
    usual, empty = (detector.scores(np.array([error]), rare)[0] for error in (0.01, 1e-9))
    assert empty > detector.scores(errors, codes).max()
    assert empty == pytest.approx(usual, abs=1.0)


def test_a_code_in_the_midst_does_not_hide_a_large_error():
    detector = outlier_detector.fit(*clean(2000, 0), 0)
    middle = detector.mixture.means[:1]
    odd, usual = (detector.scores(np.array([error]), middle)[0] for error in (0.1, 0.01))
    assert odd > usual + 10.0
    assert odd > np.quantile(detector.scores(*clean(500, 1)), 0.99)


@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_among_equals_none_is_an_outlier(rounding):
    generator = np.random.default_rng(0)
    codes = 1.0 + rounding * generator.standard_normal((60, 4))
    errors = 0.02 * (1.0 + rounding * generator.standard_normal(60))
    detector = outlier_detector.fit(errors, codes, 0)
    scores = detector.scores(errors, codes)
    for share in (0.01, 0.3):
        assert not (scores >= outlier_detector.limit(scores, share)).any()
        assert not (scores > outlier_detector.threshold(errors, codes, share, 0)).any()
    other = detector.scores(errors[:1], codes[:1] + [0.5, 0.0, 0.0, 0.0])
    together = np.append(scores, other)
    assert (together >= outlier_detector.limit(together, 0.3)).nonzero()[0].tolist() == [60]


def test_errors_and_codes_must_fit_together():
    with pytest.raises(ValueError, match="one finite number a code"):
        outlier_detector.fit(np.zeros(3), np.zeros((4, 2)), 0)
    with pytest.raises(ValueError, match="one finite number a code"):
        outlier_detector.fit(np.array([0.0, np.nan]), np.zeros((2, 2)), 0)


def test_few_clean_codes_of_many_dimensions_still_tell_outliers():
    random = np.random.default_rng(0)
    clean, fresh = random.normal(size=(200, 32)), random.normal(size=(500, 32))
    odd = random.normal(size=(500, 32)) * np.where(np.arange(32) < 8, 2.0, 1.0)
    detector = outlier_detector.fit(np.full(200, 0.01), clean, seed=0)
    usual, unusual = (detector.scores(np.full(500, 0.01), codes) for codes in (fresh, odd))
    # 0.74 where each of ten covariances follows from twenty codes.
    assert (unusual[:, None] > usual).mean() > 0.85
