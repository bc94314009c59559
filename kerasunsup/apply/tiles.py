"""Pictures larger than a model's: cut into overlapping tiles, and put together without seams.

Pictures and tiles are float32 (height, width, channels).
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where tiles lie in a picture.

    Attributes:
        height: of the picture.
        width: of the picture.
        tile_height: of each tile; no more than the picture's.
        tile_width: of each tile; no more than the picture's.
        corners: (num_tiles, 2), int64, the first row and column of each.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    corners: np.ndarray


def plan(height: int, width: int, tile_height: int, tile_width: int) -> Plan:
    """Tiles that cover a picture; neighbours share at least half their length.

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
    return Plan(height, width, tile_height, tile_width, corners)


def _starts(length: int, tile: int) -> list[int]:
    """Evenly spread first positions of tiles of one axis, at most half a tile apart."""
    rest = length - tile
    if rest == 0:
        return [0]
    number = 1 + -(-rest // max(1, tile // 2))
    return [round(index * rest / (number - 1)) for index in range(number)]


def cut(picture: np.ndarray, layout: Plan, chosen: slice = slice(None)) -> np.ndarray:
    """The tiles of a picture.

    Args:
        picture: (height, width, channels) of the plan.
        layout: of `plan`.
        chosen: which of its tiles; all of them hold four times the picture.

    Returns:
        (num_tiles, tile_height, tile_width, channels).
    """
    return np.stack(
        [
            picture[row : row + layout.tile_height, column : column + layout.tile_width]
            for row, column in layout.corners[chosen]
        ]
    )


class Mosaic:
    """The picture that tiles make, put together a few tiles at a time.

    Each pixel is the mean of the tiles over it, weighed by how far inside each it lies: the
    weight falls linearly to the tile's rim, so that no tile ends at once.

    Args:
        layout: of `plan`.
        channels: of the tiles.
    """

    def __init__(self, layout: Plan, channels: int) -> None:
        self._layout = layout
        self._ramps = _ramp(layout.tile_height), _ramp(layout.tile_width)
        self._weight = np.outer(*self._ramps)[..., np.newaxis]
        self._total = np.zeros((layout.height, layout.width, channels), np.float32)

    def add(self, tiles: np.ndarray, chosen: slice = slice(None)) -> None:
        """Takes the chosen tiles, (num_tiles, tile_height, tile_width, channels)."""
        size = self._layout.tile_height, self._layout.tile_width
        for tile, (row, column) in zip(tiles, self._layout.corners[chosen], strict=True):
            self._total[row : row + size[0], column : column + size[1]] += self._weight * tile

    def picture(self) -> np.ndarray:
        """Float32 (height, width, channels), once all tiles are there; the mosaic is used up."""
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
    """Rises from the rim to the middle and falls again; above 0 everywhere."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    return (distance / distance.max()).astype(np.float32)
