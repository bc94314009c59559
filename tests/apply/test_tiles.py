import numpy as np
import pytest

from kerasunsup.apply import tiles


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (20, 31), (64, 15)])
def test_tiles_put_together_are_the_picture(size):
    picture = np.random.default_rng(0).random((*size, 3), np.float32)
    tiled = tiles.TiledPicture(picture, 8, 8)
    for corner in tiled.corners:
        assert tiled.tile(corner).shape == (8, 8, 3)
        tiled.add(corner, tiled.tile(corner))
    np.testing.assert_allclose(tiled.joined(), picture, atol=1e-6)


@pytest.mark.parametrize("length", [9, 12, 13, 16, 17, 100])
def test_neighbours_share_half_their_length_and_the_ends_are_covered(length):
    tiled = tiles.TiledPicture(np.zeros((length, 8, 1), np.float32), 8, 8)
    starts = [row for row, _ in tiled.corners]
    assert starts[0] == 0
    assert starts[-1] == length - 8
    assert np.diff(starts).max() <= 4
    assert np.diff(starts).min() >= 1


def test_no_seam_between_tiles_that_disagree():
    tiled = tiles.TiledPicture(np.zeros((8, 24, 1), np.float32), 8, 8)
    assert len(tiled.corners) == 5
    for index, corner in enumerate(tiled.corners):
        tiled.add(corner, np.full((8, 8, 1), index % 2, np.float32))
    steps = np.abs(np.diff(tiled.joined()[4, :, 0]))
    assert steps.max() <= 0.3  # tiles set edge to edge would jump by 1


def test_a_picture_smaller_than_a_tile_is_refused():
    with pytest.raises(ValueError, match="7 x 8 is smaller than a tile of 8 x 8"):
        tiles.TiledPicture(np.zeros((7, 8, 1), np.float32), 8, 8)
