"""What sketches tell of pictures that are moved, and of others."""

import numpy as np
from scipy import ndimage

from kerasunsup.evaluation import copied_pictures, moved_pictures
from kerasunsup.evaluation.compared_picture import Picture


def picture(seed, height=96, width=128):
    """Coloured clouds with detail, float32 (height, width, 3) in [0, 1]."""
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    clouds = ndimage.gaussian_filter(noise, (3, 3, 0))
    low, high = clouds.min(), clouds.max()
    return ((clouds - low) / (high - low)).astype(np.float32)


def changed(one):
    """The picture moved, scaled and noisy."""
    scaled = ndimage.zoom(one, (1.05, 1.05, 1), order=1)[2:98, 3:131]
    noise = np.random.default_rng(9).normal(0, 0.02, one.shape).astype(np.float32)
    moved = [np.roll(one, by, (0, 1)) for by in ((1, 0), (0, -3), (6, 6), (-7, 7))]
    return [one, 0.8 * one + 0.1, one + noise, scaled, *moved]


def test_no_moved_copy_is_left_out_and_few_others_are_compared():
    one = picture(0)
    copies = list(map(Picture, changed(one)))
    assert copied_pictures.may_be_moved(Picture(one), copies).all()
    others = [Picture(picture(seed)) for seed in range(1, 30)]
    assert not copied_pictures.may_be_moved(Picture(one), others).any()


def test_what_no_move_explains_remains_different():
    one = picture(0)
    parted = one.copy()
    parted[30:60, 40:70] = picture(1)[30:60, 40:70]
    sketches = np.stack([Picture(part).sketch for part in (one, np.roll(one, 2, 1), parted)])
    same, moved, other = moved_pictures.MovedPicture(sketches[0]).least_differences(sketches)
    assert same < moved < 0.2 * other


def test_of_small_narrow_and_blank_pictures_nothing_is_told():
    for shape in ((28, 28), (40, 128), (64, 64)):
        blank = Picture(np.ones((*shape, 3), np.float32))
        assert copied_pictures.may_be_moved(blank, [blank, blank]).all()
    narrow = moved_pictures.sketch(np.zeros((60, 128), np.float32))
    assert moved_pictures.MovedPicture(narrow).least_differences(narrow[None]).tolist() == [0.0]
