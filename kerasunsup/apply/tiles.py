"""Cuts pictures that are larger than a model's into overlapping tiles, and joins them again.

Pictures and tiles are float32 (height, width, channels).
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TileLayout:
    """Where tiles lie in a picture.

    Attributes:
        height: height of the picture.
        width: width of the picture.
        tile_height: height of each tile; no more than the picture's.
        tile_width: width of each tile; no more than the picture's.
        corners: (num_tiles, 2), int64, the first row and column of each tile.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    corners: np.ndarray


def tile_layout(height: int, width: int, tile_height: int, tile_width: int) -> TileLayout:
    """A layout of tiles that cover a picture; neighbours share at least half their length.

    Raises:
        ValueError: if the picture is smaller than a tile.
    """
    if height < tile_height or width < tile_width:
        raise ValueError(
            f"a picture of {height} x {width} is smaller than a tile of {tile_height} x "
            f"{tile_width}"
        )
    rows, columns = _starts(height, tile_height), _starts(width, tile_width)
    corners = np.array([(row, column) for row in rows for column in columns], np.int64)
    return TileLayout(height, width, tile_height, tile_width, corners)


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along one axis: evenly spread, at most half a tile apart."""
    rest = length - tile
    if rest == 0:
        return [0]
    number = 1 + -(-rest // max(1, tile // 2))
    return [round(index * rest / (number - 1)) for index in range(number)]


def cut(picture: np.ndarray, layout: TileLayout, selected: slice = slice(None)) -> np.ndarray:
    """The tiles of a picture.

    Args:
        picture: (height, width, channels), of the size that the layout is for.
        layout: where the tiles lie.
        selected: which tiles to cut; all of them hold four times the picture's pixels.

    Returns:
        (num_tiles, tile_height, tile_width, channels).
    """
    return np.stack(
        [
            picture[row : row + layout.tile_height, column : column + layout.tile_width]
            for row, column in layout.corners[selected]
        ]
    )


class Mosaic:
    """A picture that is joined from tiles, a few at a time.

    Each pixel is the mean of the tiles that cover it. A tile's weight falls linearly from its
    middle to its rim, so that no seam shows.

    Args:
        layout: where the tiles lie.
        channels: number of channels of the tiles.
    """

    def __init__(self, layout: TileLayout, channels: int) -> None:
        self._layout = layout
        self._ramps = _ramp(layout.tile_height), _ramp(layout.tile_width)
        self._weight = np.outer(*self._ramps)[..., np.newaxis]
        self._total = np.zeros((layout.height, layout.width, channels), np.float32)

    def add(self, tiles: np.ndarray, selected: slice = slice(None)) -> None:
        """Adds the selected tiles, (num_tiles, tile_height, tile_width, channels)."""
        size = self._layout.tile_height, self._layout.tile_width
        for tile, (row, column) in zip(tiles, self._layout.corners[selected], strict=True):
            self._total[row : row + size[0], column : column + size[1]] += self._weight * tile

    def picture(self) -> np.ndarray:
        """The picture, float32 (height, width, channels); call it once, after the last tile."""
        lengths = self._layout.height, self._layout.width
        # The weight of a pixel is that of its row times that of its column.
        for axis, (length, ramp) in enumerate(zip(lengths, self._ramps, strict=True)):
            weights = np.zeros(length, np.float32)
            for start in np.unique(self._layout.corners[:, axis]):
                weights[start : start + len(ramp)] += ramp
            self._total /= (
                weights[:, np.newaxis, np.newaxis] if axis == 0 else weights[:, np.newaxis]
            )
        return self._total


def _ramp(length: int) -> np.ndarray:
    """Weights that rise from the rim to the middle and fall again; above 0 everywhere."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    return (distance / distance.max()).astype(np.float32)
