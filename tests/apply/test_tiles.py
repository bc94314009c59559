import numpy as np
import pytest

from kerasunsup.apply import tiles


def joined(made, layout):
    mosaic = tiles.Mosaic(layout, made.shape[-1])
    mosaic.add(made)
    return mosaic.picture()


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (20, 31), (64, 15)])
def test_tiles_put_together_are_the_picture(size):
    picture = np.random.default_rng(0).random((*size, 3), np.float32)
    layout = tiles.tile_layout(*size, 8, 8)
    cut = tiles.cut(picture, layout)
    assert cut.shape == (len(layout.corners), 8, 8, 3)
    np.testing.assert_allclose(joined(cut, layout), picture, atol=1e-6)


@pytest.mark.parametrize("length", [9, 12, 13, 16, 17, 100])
def test_neighbours_share_half_their_length_and_the_ends_are_covered(length):
    starts = tiles.tile_layout(length, 8, 8, 8).corners[:, 0]
    assert starts[0] == 0
    assert starts[-1] == length - 8
    assert np.diff(starts).max() <= 4
    assert np.diff(starts).min() >= 1


def test_no_seam_between_tiles_that_disagree():
    layout = tiles.tile_layout(8, 24, 8, 8)
    made = np.stack([np.full((8, 8, 1), index % 2, np.float32) for index in range(5)])
    steps = np.abs(np.diff(joined(made, layout)[4, :, 0]))
    assert steps.max() <= 0.3  # tiles set edge to edge would jump by 1


def test_a_picture_smaller_than_a_tile_is_refused():
    with pytest.raises(ValueError, match="7 x 8 is smaller than a tile of 8 x 8"):
        tiles.tile_layout(7, 8, 8, 8)


def test_tiles_may_come_a_few_at_a_time():
    picture = np.random.default_rng(0).random((20, 31, 3), np.float32)
    layout = tiles.tile_layout(20, 31, 8, 8)
    mosaic = tiles.Mosaic(layout, 3)
    for start in range(0, len(layout.corners), 5):
        chosen = slice(start, start + 5)
        mosaic.add(tiles.cut(picture, layout, chosen), chosen)
    np.testing.assert_allclose(mosaic.picture(), picture, atol=1e-6)
