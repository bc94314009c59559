"""Maps of where images are odd, on small made ones."""

import numpy as np
import pytest
import threadpoolctl

from kerasunsup.evaluation import classifier_metrics, oddity_maps


def textures(number, seed, height=24, width=32):
    """Slanted waves in three colours, with a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phase = random.uniform(0, 6, (number, 1, 1))
    waves = 0.5 + 0.25 * np.sin((x + 2 * y) / 3 + phase)
    colours = np.stack([waves, 1 - waves, 0.5 * waves], axis=-1)
    return np.clip(colours + random.normal(0, 0.03, colours.shape), 0, 1).astype(np.float32)


def test_pasted_parts_are_found_and_the_same_seed_finds_the_same(monkeypatch):
    monkeypatch.setattr(oddity_maps, "_ROUNDS", 2)
    odd = textures(12, seed=1)
    is_odd = np.zeros(odd.shape[:3], bool)
    odd[:, 6:14, 10:20] = textures(12, seed=2)[:, :10, :8].swapaxes(1, 2)
    is_odd[:, 6:14, 10:20] = True
    mapper = oddity_maps.fit(textures(60, seed=0), seed=0)
    maps = mapper.maps(odd)
    rows, columns = oddity_maps.places(odd.shape[1:3], density=2)
    assert maps.shape == (12, len(rows), len(columns)) == (12, 24, 32)
    assert maps.dtype == np.float32
    found = classifier_metrics.auroc(
        is_odd[:, rows][:, :, columns].ravel(), maps.ravel().astype(np.float64)
    )
    assert found > 0.95
    np.testing.assert_array_equal(maps, oddity_maps.fit(textures(60, seed=0), seed=0).maps(odd))


@pytest.mark.parametrize("size", [(8, 8, 1), (9, 13, 1), (28, 28, 1), (65, 70, 3)])
def test_images_of_any_size_have_maps(size, monkeypatch):
    monkeypatch.setattr(oddity_maps, "_ROUNDS", 1)
    monkeypatch.setattr(oddity_maps, "_IMAGES_A_ROUND", 100)
    images = np.random.default_rng(0).uniform(size=(5, *size)).astype(np.float32)
    maps = oddity_maps.fit(images, seed=0).maps(images)
    rows, columns = oddity_maps.places(size[:2], density=2)
    assert maps.shape == (5, len(rows), len(columns))
    assert np.isfinite(maps).all()
    assert oddity_maps.enlarged(maps[0], *size[:2]).shape == size[:2]


def test_products_of_matrices_run_in_one_thread(monkeypatch):
    # Beside other work, two threads took 30 times the processor time of one.
    threads = set()
    numbers_of = oddity_maps._numbers

    def watched(windows, images, density):
        pools = threadpoolctl.threadpool_info()
        threads.update(pool["num_threads"] for pool in pools if pool["user_api"] == "blas")
        return numbers_of(windows, images, density)

    monkeypatch.setattr(oddity_maps, "_numbers", watched)
    monkeypatch.setattr(oddity_maps, "_ROUNDS", 1)
    monkeypatch.setattr(oddity_maps, "_IMAGES_A_ROUND", 10)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        oddity_maps.fit(textures(4, seed=0), seed=0).maps(textures(2, seed=1))
    assert threads == {1}


def test_mirrored_views_are_used_where_known_images_bear_them(monkeypatch):
    monkeypatch.setattr(oddity_maps, "_ROUNDS", 2)
    slanted = oddity_maps.fit(textures(60, seed=0), seed=0)
    assert (1, -1) not in slanted._views
    assert (-1, 1) not in slanted._views
    upright = textures(60, seed=0).mean(axis=1, keepdims=True).repeat(24, axis=1)
    both = np.concatenate([upright, upright[:, :, ::-1]])[np.random.default_rng(0).permutation(120)]
    mapper = oddity_maps.fit(both, seed=0)
    assert len(mapper._views) == 4
    odd = both[:4]
    np.testing.assert_allclose(
        mapper.maps(odd[:, ::-1, ::-1]), mapper.maps(odd)[:, ::-1, ::-1], atol=1e-4
    )


def test_views_are_judged_by_images_from_all_over_a_sorted_folder(monkeypatch):
    monkeypatch.setattr(oddity_maps, "_ROUNDS", 2)
    upright = textures(60, seed=0).mean(axis=1, keepdims=True).repeat(24, axis=1)
    both = np.concatenate([upright, upright[:, :, ::-1]])
    mapper = oddity_maps.fit(np.concatenate([both, textures(480, seed=1)]), seed=0)
    assert (1, -1) not in mapper._views


def test_too_few_or_too_small_images_are_refused():
    for shape in ((1, 16, 16, 1), (5, 7, 16, 1), (5, 16, 16)):
        with pytest.raises(ValueError, match="known images must be"):
            oddity_maps.fit(np.zeros(shape, np.float32), seed=0)


def test_the_hottest_box_leaves_out_what_is_not_connected():
    values = np.zeros((10, 10))
    values[1:3, 1:4] = 0.9
    values[6:9, 5:7] = 0.8
    values[7, 6] = 1.0
    assert oddity_maps.hottest_box(values) == (5, 6, 2, 3)
    assert oddity_maps.hottest_box(np.zeros((4, 5))) == (0, 0, 5, 4)
