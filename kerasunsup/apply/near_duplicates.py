"""Images that are stored twice: with the same pixels, or as a copy that lost a little.

Exact copies are recognized by a hash of their pixels. For the others the encoder's codes say which
pairs may be copies, and the pixels of each pair decide: JPEG, a little noise or a little resizing
change them by a bounded amount, however many copies there are.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from kerasunsup.data import images

# The largest difference between copies: the root mean square, of values in [0, 1], over the 4 x 4
# pixels where it is largest. Luma is smoothed over 3 x 3 pixels before. Colour differences are
# smoothed over 5 x 5, as JPEG keeps them at half the size. Among 55,000 training images of MNIST
# the two most alike differ by 0.042.
_MOST_LUMA, _LUMA_PIXELS = 0.04, 3
_MOST_COLOUR, _COLOUR_PIXELS = 0.11, 5
# The limit of luma is higher for a pair whose codes are nearer than this share of the distance to
# the tenth neighbour. Among 20,000 training images no pair is so near, neither for the usual model
# nor for one of `--quick`.
_NEAR, _TENTH, _MOST_LUMA_OF_NEAR = 0.35, 10, 0.05
_ROUNDING = 1.5 / 255  # images that differ by no more are copies, however faint they are
_MOST_OF_CONTRAST = 0.25  # the largest difference over all pixels, as a share of the contrast
_SIDE = 256  # larger images are compared at this size
_SKETCH = 16  # side of the small picture that is kept of each image
# Pairs whose sketches differ by more (root mean square) are not looked at: copies differ by far
# less, most other pairs by far more.
_MOST_APART = 0.08
_PAIRS_AT_A_TIME = 256
_HASH_BYTES = 16

Read = Callable[[Iterable[int]], Iterator[np.ndarray | str]]


def look(picture: np.ndarray) -> np.ndarray:
    """What is kept of every image until all were read: a hash of its pixels and a sketch.

    Args:
        picture: uint8 (height, width, 1|3).

    Returns:
        uint8 (272,): a BLAKE2 hash of size and pixels (16 bytes), then the luma at 16 x 16 pixels.
        A grey picture has one hash whether it is stored in one channel or in three.
    """
    if picture.shape[-1] == 3 and (picture == picture[..., :1]).all():
        picture = picture[..., :1]
    digest = hashlib.blake2b(str(picture.shape).encode(), digest_size=_HASH_BYTES)
    digest.update(np.ascontiguousarray(picture).data)
    sketch = images.with_channels(images.resize(picture, _SKETCH, _SKETCH), 1)
    return np.concatenate([np.frombuffer(digest.digest(), np.uint8), sketch.ravel()])


def pairs(
    codes: np.ndarray, looks: np.ndarray, read: Read, neighbors: int
) -> list[tuple[int, int, float]]:
    """Pairs of copies, nearest first, each once.

    Args:
        codes: float32 (num_images, latent_dim).
        looks: uint8 (num_images, 272), what `look` returned for each.
        read: positions -> the pictures, or why one cannot be read, as `image_stream.Stream.read`.
        neighbors: each image is compared with so many others, and paired with at most so many
            exact copies.

    Returns:
        (position, later position, distance) of each pair: the Euclidean distance of their codes, 0
        for exact copies. Of several exact copies only the first is paired with other copies.
    """
    from kerasunsup.evaluation import neighbor_index  # loads slowly

    _, first, inverse = np.unique(
        looks[:, :_HASH_BYTES], axis=0, return_index=True, return_inverse=True
    )
    members = collections.defaultdict(list)
    for position, group in enumerate(inverse.reshape(-1).tolist()):
        members[group].append(position)
    distance_of_pair = {
        (position, other): 0.0
        for group in members.values()
        for index, position in enumerate(group)
        for other in group[index + 1 : index + 1 + neighbors]
    }
    distinct = np.sort(first)
    number = min(max(neighbors, _TENTH), len(distinct) - 1)
    if number:
        distances, nearest = neighbor_index.nearest(codes[distinct], None, number)
        # In fewer than eleven images nothing tells which codes are near.
        tenth = distances[:, _TENTH - 1] if number >= _TENTH else np.zeros(len(distinct))
        candidates: dict[tuple[int, int], tuple[float, float]] = {}  # -> (limit of luma, distance)
        for row, rank in _candidates(looks[distinct, _HASH_BYTES:], nearest[:, :neighbors]):
            other, distance = nearest[row, rank], float(distances[row, rank])
            is_near = distance <= _NEAR * min(tenth[row], tenth[other])
            one, two = sorted((int(distinct[row]), int(distinct[other])))
            candidates[one, two] = (_MOST_LUMA_OF_NEAR if is_near else _MOST_LUMA), distance
        distance_of_pair |= {pair: candidates[pair][1] for pair in _verified(candidates, read)}
    rows = ((*pair, distance) for pair, distance in distance_of_pair.items())
    return sorted(rows, key=lambda row: (row[2], row[:2]))


def _candidates(sketches: np.ndarray, nearest: np.ndarray) -> Iterator[tuple[int, int]]:
    """(row, rank of a neighbour) of each pair whose sketches are nearly alike."""
    unit = sketches.astype(np.float32) / 255.0
    for row, others in enumerate(nearest):
        apart = np.sqrt(np.square(unit[others] - unit[row]).mean(axis=1))
        for rank in np.flatnonzero(apart <= _MOST_APART):
            yield row, int(rank)


def _verified(
    candidates: dict[tuple[int, int], tuple[float, float]], read: Read
) -> Iterator[tuple[int, int]]:
    """The pairs whose pictures differ by no more than the pair's limit."""
    ordered = sorted(candidates)
    for start in range(0, len(ordered), _PAIRS_AT_A_TIME):
        block = ordered[start : start + _PAIRS_AT_A_TIME]
        positions = sorted(set(itertools.chain.from_iterable(block)))
        pictures = {
            position: _reduced(picture)
            for position, picture in zip(positions, read(positions), strict=True)
            if not isinstance(picture, str)
        }
        for one, other in block:
            both_readable = one in pictures and other in pictures
            limit, _ = candidates[one, other]
            if both_readable and are_copies(pictures[one], pictures[other], limit):
                yield one, other


def _reduced(picture: np.ndarray) -> np.ndarray:
    """The picture with no side above 256 pixels."""
    height, width = picture.shape[:2]
    scale = max(1.0, max(height, width) / _SIDE)
    size = (max(1, round(side / scale)) for side in (height, width))
    return images.resize(picture, *size)


def are_copies(one: np.ndarray, other: np.ndarray, most_luma: float = _MOST_LUMA) -> bool:
    """Whether two pictures differ by no more than JPEG, little noise or little resizing change.

    Args:
        one: uint8 (height, width, 1|3), at most 256 pixels a side.
        other: as `one`. If the sizes differ, both are brought to the smaller height and width.
        most_luma: the largest difference of the luma, in [0, 1].
    """
    from scipy import ndimage  # loads slowly

    if abs(one.shape[0] * other.shape[1] - one.shape[1] * other.shape[0]) > max(
        one.shape[0] + other.shape[1], other.shape[0] + one.shape[1]
    ):
        return False  # the proportions differ, beyond the rounding of a side to whole pixels
    height, width = min(one.shape[:2], other.shape[:2])
    first, second = (_channels(images.resize(part, height, width)) for part in (one, other))
    luma, *colours = first - second
    luma = ndimage.uniform_filter(luma, _LUMA_PIXELS, mode="nearest")
    colours = [ndimage.uniform_filter(part, _COLOUR_PIXELS, mode="nearest") for part in colours]
    in_luma, in_colour = _largest_local(luma), max(map(_largest_local, colours))
    if max(in_luma, in_colour) <= _ROUNDING:
        return True
    overall = np.sqrt(sum(np.square(part).mean() for part in (luma, *colours)))
    contrast = max(np.sqrt(part.var(axis=(1, 2)).sum()) for part in (first, second))
    return bool(
        in_luma <= most_luma
        and in_colour <= _MOST_COLOUR
        and overall <= _MOST_OF_CONTRAST * contrast
    )


def _channels(picture: np.ndarray) -> np.ndarray:
    """Float32 (3, height, width): luma and both colour differences (ITU-R BT.601) in [0, 1]."""
    red, green, blue = np.moveaxis(images.to_unit(images.with_channels(picture, 3)), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, 0.564 * (blue - luma), 0.713 * (red - luma)]).astype(np.float32)


def _largest_local(difference: np.ndarray) -> float:
    """The largest root mean square over 4 x 4 pixels; takes (height, width)."""
    height, width = difference.shape
    padded = np.pad(difference, ((0, -height % 4), (0, -width % 4)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // 4, 4)
    return float(np.sqrt(np.square(blocks).mean(axis=(1, 3)).max()))
