"""When one picture is a copy of another."""

import numpy as np
import pytest
from scipy import ndimage

from kerasunsup.evaluation import copied_pictures, picture_fit


def picture(seed, side=64):
    """Coloured clouds with detail, float32 (side, side, 3) in [0, 1]."""
    noise = np.random.default_rng(seed).random((side, side, 3), np.float32)
    clouds = ndimage.gaussian_filter(noise, (2, 2, 0))
    low, high = clouds.min(), clouds.max()
    return ((clouds - low) / (high - low)).astype(np.float32)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.copy(),
        lambda p: 0.8 * p,
        lambda p: 0.9 * p + 0.05,
        lambda p: np.roll(p, (1, -2), (0, 1)),
        lambda p: p + np.random.default_rng(9).normal(0, 0.02, p.shape).astype(np.float32),
    ],
)
def test_changed_a_little_it_is_one(side, change):
    one = picture(0, side)
    distance = copied_pictures.copy_distance(one, change(one))
    assert distance is not None
    assert 0.0 <= distance < 0.15


def test_a_smooth_large_picture_is_one_when_it_is_moved():
    """Ground out of focus, with grain, moved by 1.5 pixels of 128: one pixel changes it little."""
    random = np.random.default_rng(0)
    ground = ndimage.gaussian_filter(random.random((288, 288)), 8)
    ground = 0.4 + 0.2 * (ground - ground.min()) / np.ptp(ground)
    ground += ndimage.gaussian_filter(random.normal(0, 0.03, ground.shape), 0.7)
    pieces = (ground[at : at + 256, at : at + 256] for at in (10, 13))
    halved = [piece.reshape(128, 2, 128, 2).mean(axis=(1, 3)) for piece in pieces]
    one, moved = (np.repeat(half[..., np.newaxis], 3, axis=2).astype(np.float32) for half in halved)
    assert copied_pictures.copy_distance(one, moved) is not None
    assert copied_pictures.copy_distance(one, moved[::-1]) is None


def ground(seed, grain, side=128):
    """Ground out of focus whose shading is one for all seeds, and whose grain is not."""
    shading = np.linspace(0.65, 0.25, side)[np.newaxis, :] ** np.linspace(0.9, 1.1, side)[:, None]
    random = np.random.default_rng(seed)
    grey = shading + ndimage.gaussian_filter(random.normal(0, grain, (side, side)), 0.7)
    return np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.float32)


def pale(one):
    """The picture with a tenth of its contrast."""
    return (0.5 + 0.1 * (one - 0.5)).astype(np.float32)


def moved_with_a_bar(one):
    """The picture moved by three pixels each way; what comes in is black."""
    moved = np.zeros_like(one)
    moved[3:, 3:] = one[:-3, :-3]
    return moved


def marked(one):
    """The picture with a white mark over a tenth of it."""
    changed = one.copy()
    side = len(one)
    rows, columns = slice(int(0.8 * side), int(0.9 * side)), slice(side // 2, side)
    changed[rows, columns] += 0.55 * (1.0 - one[rows, columns])
    return changed


def enlarged(one):
    """The picture without two pixels of its edge, as large as before."""
    factor = len(one) / (len(one) - 4)
    return ndimage.zoom(one[2:-2, 2:-2], (factor, factor, 1), order=1).astype(np.float32)


def noisy(one):
    noise = np.random.default_rng(9).normal(0, 0.03, one.shape)
    return (one + noise).astype(np.float32)


@pytest.mark.parametrize("change", [moved_with_a_bar, marked, enlarged, noisy])
@pytest.mark.parametrize("of", [picture, lambda seed: pale(picture(seed))])
def test_it_does_not_matter_which_of_two_copies_comes_first(of, change):
    one = of(0)
    copy = change(one)
    there, back = copied_pictures.copy_distance(one, copy), copied_pictures.copy_distance(copy, one)
    assert there == back
    if change is not noisy or of is picture:  # the noise is three times as strong as pale detail
        assert there is not None


def test_ground_with_other_grain_is_another_picture():
    one, other = ground(0, 0.03), ground(1, 0.03)
    assert copied_pictures.copy_distance(one, other) is None
    assert copied_pictures.copy_distance(one, noisy(one)) is not None


def test_boards_with_the_same_edges_are_other_pictures():
    """Parts of two boards: dark and light stripes along them agree, the fibres do not."""
    edges = np.where(np.arange(128) // 20 % 2, 0.5, 0.42)[np.newaxis, :]
    boards = []
    for seed in (0, 1):
        fibres = np.random.default_rng(seed).normal(0, 0.05, (128, 128))
        grey = edges + ndimage.gaussian_filter(fibres, (4, 0.6))
        boards.append(np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.float32))
    assert copied_pictures.copy_distance(*boards) is None
    assert copied_pictures.copy_distance(boards[0], boards[0] * 0.9) is not None


def test_a_frame_around_both_makes_no_copies():
    """Two plain areas each, within one black bar above and one beside them."""
    rows, columns = np.mgrid[:64, :64]
    drawings = []
    for slope in (0.5, 0.9):
        inside = columns > 48 + rows * slope
        drawing = np.where(inside[..., np.newaxis], [0.5, 0.8, 0.95], [0.5, 0.15, 0.25])
        drawing[:3], drawing[:, :3] = 0.0, 0.0
        drawings.append(drawing.astype(np.float32))
    assert copied_pictures.copy_distance(*drawings) is None
    assert copied_pictures.copy_distance(drawings[0], 0.9 * drawings[0]) is not None


def test_other_pictures_are_none():
    one = picture(0)
    others = [picture(1), one[::-1], 1.0 - one, one[..., ::-1], one.swapaxes(0, 1)]
    assert [copied_pictures.copy_distance(one, other) for other in others] == [None] * 5


def test_a_speck_and_a_faint_drawing_make_another_picture():
    blank = np.ones((64, 64, 3), np.float32)
    speck, faint, other = blank.copy(), blank.copy(), blank.copy()
    speck[30, 30] = 0.0
    faint[10:30, 10:30], other[30:50, 30:50] = 0.97, 0.97
    assert copied_pictures.copy_distance(blank, speck) is None
    assert copied_pictures.copy_distance(faint, other) is None
    assert copied_pictures.copy_distance(blank, blank - np.float32(1 / 255)) is not None


def test_a_straight_edge_is_not_moved_onto_another():
    rows = np.clip((np.arange(64) - 30) / 4, 0, 1).astype(np.float32)
    edge = np.broadcast_to(rows[:, np.newaxis, np.newaxis], (64, 64, 3))
    noise = np.random.default_rng(0).normal(0, 0.004, (2, 64, 64, 3)).astype(np.float32)
    one, other = edge + noise[0], np.roll(edge, 3, axis=0) + noise[1]
    assert copied_pictures.copy_distance(one, other) is None


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="one size"):
        copied_pictures.copy_distance(picture(0, 32), picture(0, 64))


@pytest.mark.parametrize("reach", [2, 3])
def test_all_moves_at_once_correlate_as_one_at_a_time(reach):
    one, other = picture(0, 40)[..., 0], np.roll(picture(0, 40)[..., 0], (2, -1), (0, 1))

    def correlation(down, right):
        rows, columns = (np.arange(40) for _ in range(2))
        rows = rows[(rows + down >= 0) & (rows + down < 40)]
        columns = columns[(columns + right >= 0) & (columns + right < 40)]
        first, second = one[np.ix_(rows + down, columns + right)], other[np.ix_(rows, columns)]
        return np.corrcoef(first.ravel(), second.ravel())[0, 1]

    moves = range(-reach, reach + 1)
    expected = [[correlation(down, right) for right in moves] for down in moves]
    found = picture_fit._correlations(one, other, reach)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.unravel_index(found.argmax(), found.shape) == (reach - 2, reach + 1)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.97, 1.04)])
def test_pictures_are_moved_as_scipy_moves_them(scale):
    both = np.stack([picture(seed, 40)[:33, :, 0] for seed in (0, 1)])
    shift, scale = np.array([1.3, -2.6]), np.array(scale)
    middle = (np.array(both.shape[1:]) - 1) / 2
    offset = middle + shift - scale * middle
    expected = [
        ndimage.affine_transform(part, scale, offset, order=1, mode="nearest") for part in both
    ]
    np.testing.assert_allclose(picture_fit.warped(both, shift, scale), expected, atol=1e-6)
    one = picture_fit.warped(both[1], shift, scale)
    np.testing.assert_array_equal(one, picture_fit.warped(both, shift, scale)[1])
