import numpy as np
import pytest

from kerasunsup.evaluation import image_metrics, neighbors


def _pair(shape=(7, 16, 12, 1), seed=0, noise=0.1):
    random = np.random.default_rng(seed)
    reference = random.random(shape).astype(np.float32)
    images = (reference + noise * random.standard_normal(shape)).astype(np.float32)
    return images, reference


def test_mse_is_the_mean_over_everything_without_clipping():
    images, reference = _pair()
    expected = np.mean((images.astype(np.float64) - reference) ** 2)
    assert image_metrics.mse(images, reference) == pytest.approx(expected, rel=1e-6)
    assert image_metrics.mse(reference + 2.0, reference) == pytest.approx(4.0, rel=1e-6)


def test_psnr_is_the_mean_of_each_images_own_after_clipping():
    images, reference = _pair(shape=(5, 8, 8, 3))
    clipped = np.clip(images, 0, 1).astype(np.float64)
    expected = [
        10 * np.log10(1.0 / np.mean((a - b) ** 2)) for a, b in zip(clipped, reference, strict=True)
    ]
    each = image_metrics.psnr_db_per_image(images, reference)
    np.testing.assert_allclose(each, expected, rtol=1e-6)
    assert image_metrics.psnr_db(images, reference) == pytest.approx(np.mean(expected))


def test_psnr_of_identical_images_is_the_cap():
    _, reference = _pair()
    assert image_metrics.psnr_db(reference, reference) == image_metrics.PSNR_CAP_DB


def _plain_ssim(first, second, size):
    """One channel of one image, window by window."""
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window)
    window /= window.sum()
    values = []
    for row in range(first.shape[0] - size + 1):
        for column in range(first.shape[1] - size + 1):
            a = first[row : row + size, column : column + size]
            b = second[row : row + size, column : column + size]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            variance_a = (window * a**2).sum() - mean_a**2
            variance_b = (window * b**2).sum() - mean_b**2
            covariance = (window * a * b).sum() - mean_a * mean_b
            values.append(
                (2 * mean_a * mean_b + 1e-4)
                * (2 * covariance + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4))
            )
    return np.mean(values)


@pytest.mark.parametrize(("shape", "size"), [((2, 14, 13, 3), 11), ((2, 8, 9, 1), 8)])
def test_ssim_equals_the_plain_formula(shape, size):
    images, reference = _pair(shape=shape, noise=0.05)
    images = np.clip(images, 0, 1)
    expected = np.mean(
        [
            _plain_ssim(
                images[i, :, :, c].astype(np.float64),
                reference[i, :, :, c].astype(np.float64),
                size,
            )
            for i in range(shape[0])
            for c in range(shape[3])
        ]
    )
    assert image_metrics.ssim(images, reference) == pytest.approx(expected, abs=1e-4)


def test_ssim_of_identical_images_is_one_and_blocks_do_not_matter(monkeypatch):
    images, reference = _pair()
    assert image_metrics.ssim(reference, reference) == pytest.approx(1.0, abs=1e-6)
    whole = image_metrics.ssim(images, reference), image_metrics.mse(images, reference)
    monkeypatch.setattr(neighbors, "_BLOCK", 3)
    assert (
        image_metrics.ssim(images, reference),
        image_metrics.mse(images, reference),
    ) == pytest.approx(whole)


@pytest.mark.parametrize("function", [image_metrics.mse, image_metrics.psnr_db, image_metrics.ssim])
def test_images_of_different_shapes_are_refused(function):
    images, reference = _pair()
    with pytest.raises(ValueError, match="one shape"):
        function(images, reference[:3])
    with pytest.raises(ValueError, match="one shape"):
        function(images[:0], reference[:0])


def test_means_over_blocks_weigh_each_image_alike():
    assert image_metrics.mean_of_blocks([(3, {"mse": 1.0}), (1, {"mse": 5.0})]) == {"mse": 2.0}
    assert image_metrics.mean_of_blocks([]) == {}


def test_what_is_no_number_is_left_out_and_said(capsys):
    assert image_metrics.finite({"a": 1.0, "b": 2}) == {"a": 1.0, "b": 2}
    assert capsys.readouterr().out == ""
    assert image_metrics.finite({"a": 1.0, "b": float("nan"), "c": float("inf")}) == {"a": 1.0}
    assert capsys.readouterr().out == "left out, as they are no finite numbers: b, c\n"
