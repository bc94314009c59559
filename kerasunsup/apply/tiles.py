"""Pictures that are larger than a model's, cut into overlapping tiles and joined again."""

from __future__ import annotations

import itertools

import numpy as np


class TiledPicture:
    """A picture cut into tiles, and a second one joined from what a model makes of the tiles.

    Neighbouring tiles share at least half their length. Each pixel of the joined picture is the
    mean of the tiles that cover it. A tile's weight falls linearly from its middle to its rim, so
    that no seam shows.

    Args:
        picture: float32 (height, width, channels).
        tile_height: height of each tile.
        tile_width: width of each tile.

    Attributes:
        corners: the first row and column of each tile.

    Raises:
        ValueError: if the picture is smaller than a tile.

    Example:
        >>> tiled = TiledPicture(np.ones((8, 12, 1), np.float32), tile_height=8, tile_width=8)
        >>> tiled.corners
        [(0, 0), (0, 4)]
        >>> for corner in tiled.corners:
        ...     tiled.add(corner, tiled.tile(corner) / 2)
        >>> np.allclose(tiled.joined(), 0.5)
        True
    """

    def __init__(self, picture: np.ndarray, tile_height: int, tile_width: int) -> None:
        height, width = picture.shape[:2]
        if height < tile_height or width < tile_width:
            raise ValueError(
                f"a picture of {height} x {width} is smaller than a tile of {tile_height} x "
                f"{tile_width}"
            )
        self._picture = picture
        self._starts = _starts(height, tile_height), _starts(width, tile_width)
        self._ramps = _ramp(tile_height), _ramp(tile_width)
        self._weight = np.outer(*self._ramps)[..., np.newaxis]
        self._total = np.zeros(picture.shape, np.float32)
        self.corners = list(itertools.product(*self._starts))

    def tile(self, corner: tuple[int, int]) -> np.ndarray:
        """The tile at a corner, (tile_height, tile_width, channels)."""
        return self._at(self._picture, corner)

    def add(self, corner: tuple[int, int], tile: np.ndarray) -> None:
        """Adds the tile at a corner to the joined picture."""
        self._at(self._total, corner)[...] += self._weight * tile

    def _at(self, picture: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        (row, column), (height, width) = corner, self._weight.shape[:2]
        return picture[row : row + height, column : column + width]

    def joined(self) -> np.ndarray:
        """The joined picture, as large as the first; call it once, after the last tile."""
        # The weight of a pixel is that of its row times that of its column.
        for axis, (starts, ramp) in enumerate(zip(self._starts, self._ramps, strict=True)):
            weights = np.zeros(self._total.shape[axis], np.float32)
            for start in starts:
                weights[start : start + len(ramp)] += ramp
            self._total /= np.expand_dims(weights, (1, 2) if axis == 0 else 1)
        return self._total


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along one axis: evenly spread, at most half a tile apart."""
    rest = length - tile
    if rest == 0:
        return [0]
    number = 1 + -(-rest // max(1, tile // 2))
    return [round(index * rest / (number - 1)) for index in range(number)]


def _ramp(length: int) -> np.ndarray:
    """Weights that rise from the rim to the middle and fall again; above 0 everywhere."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    return (distance / distance.max()).astype(np.float32)
