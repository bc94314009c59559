"""Where an image is odd: a map for each, by a classifier of windows of pixels.

Parts of known images are pasted into other known images, and a small network learns to tell by the
windows around a place whether it lies in a pasted part. No odd image is needed, nor an autoencoder.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import ndimage
from sklearn import neural_network

from kerasunsup.evaluation import latent_space

SIDE = 64  # larger images are judged at this size
LEAST_SIDE = 8  # pixels
_STEPS = 16  # places along the shorter side that are learned from, about
_DENSITY = 2  # times as many are judged
# A mirrored view is used as well where so many known images are not much odder in it: by this part
# of the spread of their maps. Of photographs it is 0.06 at most, of digits 0.23.
_VIEWS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
_BORNE_BY, _BEARABLE = 100, 0.12
# Sides of the windows, as shares of the image's; the second and the third are cut from the image at
# a half and a third of its size.
_WINDOWS = (11 / 64, 30 / 64, 48 / 64)
_COMPONENTS = 96  # numbers that are left of each window
_FITTED = 6000  # windows that these are fitted to
_MOST = 6.0  # standard deviations that a number may be away
_HIDDEN = (128, 32)
_ROUNDS, _IMAGES_A_ROUND = 8, 400
_PASTED = (1 / 8, 0.4)  # the sides of what is pasted, as shares of the image's
_AT_ONCE = 100  # images whose places are learned in one go
_BLOCK = 32  # images at a time: their windows take up to 60 MB


@dataclasses.dataclass(frozen=True)
class _Windows:
    """The windows of one size around a grid of places, as their whitened principal components."""

    side: int
    scale: int  # the image is made smaller by it first
    mean: np.ndarray
    axes: np.ndarray  # (numbers of a window, components), in units of their spread

    def of(self, images: np.ndarray, density: int) -> np.ndarray:
        """float32 (num_images, rows, columns, components)."""
        cut = _cut(images, self.side, self.scale, density)
        found = cut.reshape(-1, cut.shape[-1]) @ self.axes - self.mean @ self.axes
        return found.reshape(*cut.shape[:3], -1)


@dataclasses.dataclass(frozen=True)
class OddityMapper:
    """Tells where images differ from known ones.

    Source:
        Pasted parts as outliers to learn from: Li et al., 2021, arXiv:2104.04015 (CutPaste);
        Schlüter et al., 2022, arXiv:2109.15222. Difference: single windows are judged, by a network
        of two layers.

    Example:
        >>> known = np.random.default_rng(0).uniform(0.4, 0.6, (8, 16, 16, 1)).astype(np.float32)
        >>> fit(known, seed=0).maps(known[:2]).shape
        (2, 16, 16)
    """

    _windows: tuple[_Windows, ...]
    _network: neural_network.MLPClassifier
    _views: tuple[tuple[int, int], ...] = _VIEWS[:1]  # steps down and right: -1 is mirrored

    def maps(self, images: np.ndarray) -> np.ndarray:
        """The log-odds that a place belongs to something else.

        Args:
            images: float32 (num_images, height, width, 1|3) in [0, 1], as those of `fit`.

        Returns:
            float32 (num_images, rows, columns), smoothed; a place is a few pixels wide.
        """
        with _one_thread():
            found = [self._of_view(images, view, _DENSITY) for view in self._views]
        return np.stack(found).mean(axis=0).astype(np.float32)

    def _of_view(self, images: np.ndarray, view: tuple[int, int], density: int) -> np.ndarray:
        """The maps of mirrored images, mirrored back."""
        down, right = view
        seen, block = images[:, ::down, ::right], _BLOCK // density**2
        found = []
        for start in range(0, len(seen), block):
            numbers = _numbers(self._windows, seen[start : start + block], density)
            odds = self._network.predict_proba(numbers.reshape(-1, numbers.shape[-1]))
            odds = np.clip(odds, 1e-6, 1.0)
            maps = (np.log(odds[:, 1]) - np.log(odds[:, 0])).reshape(numbers.shape[:3])
            found.append(ndimage.gaussian_filter(maps, (0.0, 0.6, 0.6), mode="nearest"))
        return np.concatenate(found)[:, ::down, ::right]

    def with_views(self, known: np.ndarray) -> OddityMapper:
        """The mean over mirrored views is the better map, of those that known images bear.

        A mirrored digit is odd, a mirrored photograph is a photograph.
        """
        plain = self._of_view(known, _VIEWS[0], density=1)
        most = plain.mean() + _BEARABLE * plain.std()
        others = (v for v in _VIEWS[1:] if self._of_view(known, v, density=1).mean() <= most)
        return dataclasses.replace(self, _views=(_VIEWS[0], *others))


def fit(known: np.ndarray, seed: int) -> OddityMapper:
    """Learns what known images look like.

    Takes some 20 seconds for images of 64 pixels; the result is the same for the same seed.

    Args:
        known: float32 (num_images, height, width, 1|3) in [0, 1], two or more; sides of 8 pixels or
            more, and of `SIDE` or less to be fast.
        seed: >= 0.

    Raises:
        ValueError: if there are fewer than two images, or smaller ones.

    Example:
        >>> known = np.random.default_rng(0).uniform(0.4, 0.6, (8, 16, 16, 1)).astype(np.float32)
        >>> odd = known[:1].copy()
        >>> odd[:, 4:10, 4:10] = 1.0
        >>> odd_map = fit(known, seed=0).maps(odd)[0]
        >>> bool(odd_map[6, 6] > odd_map[14, 14])
        True
    """
    if known.ndim != 4 or len(known) < 2 or min(known.shape[1:3]) < LEAST_SIDE:
        raise ValueError(
            "known images must be (num_images, height, width, channels), two or more of 8 pixels a "
            f"side or more, received {known.shape}"
        )
    with _one_thread():
        return _learned(known, seed)


def some_of(images: np.ndarray, number: int) -> np.ndarray:
    """At most so many images, from all over a folder that may be sorted by class.

    Args:
        images: (num_images, ...).
        number: >= 1.

    Example:
        >>> some_of(np.arange(7), 3).tolist()
        [0, 3, 6]
    """
    return images[:: -(-len(images) // number)]


def places(size: tuple[int, ...], density: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of pixels that are looked at.

    Args:
        size: (height, width) of the images.
        density: times as many along each side as are learned from; 2 in a map.

    Example:
        >>> places((8, 16))
        (array([1, 3, 5, 7]), array([ 1,  3,  5,  7,  9, 11, 13, 15]))
    """
    step = max(1, max(2, min(size) // _STEPS) // density)
    rows, columns = (np.arange(step // 2, side, step) for side in size)
    return rows, columns


def enlarged(odd_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map at the size of an image, its numbers joined by straight lines.

    Args:
        odd_map: (rows, columns).
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        float32 (height, width).

    Example:
        >>> enlarged(np.array([[0.0, 1.0]]), 2, 4)
        array([[0.  , 0.25, 0.75, 1.  ],
               [0.  , 0.25, 0.75, 1.  ]], dtype=float32)
    """
    at = [
        np.clip((np.arange(side) + 0.5) * number / side - 0.5, 0, number - 1)
        for side, number in zip((height, width), odd_map.shape, strict=True)
    ]
    grid = np.meshgrid(*at, indexing="ij")
    return ndimage.map_coordinates(odd_map.astype(np.float32), grid, order=1)


def hottest_box(values: np.ndarray) -> tuple[int, int, int, int]:
    """The box around the connected region that holds the largest value.

    The region is all that is nearer to the largest value than to the median.

    Args:
        values: (height, width).

    Returns:
        (x, y, width, height) in pixels: the left and upper end, and the sides.

    Example:
        >>> values = np.zeros((6, 6))
        >>> values[1:3, 2:5] = 1.0
        >>> hottest_box(values)
        (2, 1, 3, 2)
    """
    limit = (np.median(values) + values.max()) / 2
    regions, _ = ndimage.label(values >= limit)
    hottest = int(regions.flat[values.argmax()])
    rows, columns = ndimage.find_objects(regions)[hottest - 1]
    return (
        columns.start,
        rows.start,
        columns.stop - columns.start,
        rows.stop - rows.start,
    )


def _one_thread() -> threadpoolctl.threadpool_limits:
    """Lets products of matrices run in one thread.

    They are so many and so small that more threads mostly wait for each other, and where other
    work keeps the processors busy they take many times the processor time.
    """
    return threadpoolctl.threadpool_limits(1, user_api="blas")


def _learned(known: np.ndarray, seed: int) -> OddityMapper:
    random = np.random.default_rng(seed)
    windows = tuple(_fitted(known, share, scale, seed) for scale, share in enumerate(_WINDOWS, 1))
    network = neural_network.MLPClassifier(
        _HIDDEN, batch_size=512, learning_rate_init=1e-3, random_state=seed
    )
    for _ in range(_ROUNDS):
        drawn = random.integers(len(known), size=_IMAGES_A_ROUND)
        for start in range(0, _IMAGES_A_ROUND, _AT_ONCE):
            odd, is_pasted = _with_pasted(known[drawn[start : start + _AT_ONCE]], known, random)
            numbers = np.concatenate(
                [
                    _numbers(windows, odd[first : first + _BLOCK], density=1)
                    for first in range(0, len(odd), _BLOCK)
                ]
            )
            rows, columns = places(known.shape[1:3])
            answers = is_pasted[:, rows][:, :, columns]
            order = random.permutation(answers.size)
            network.partial_fit(
                numbers.reshape(answers.size, -1)[order],
                answers.ravel()[order],
                classes=[False, True],
            )
    return OddityMapper(windows, network).with_views(some_of(known, _BORNE_BY))


def _fitted(known: np.ndarray, share: float, scale: int, seed: int) -> _Windows:
    side = max(3, round(share * min(known.shape[1:3]) / scale) // 2 * 2 + 1)
    random = np.random.default_rng(seed)
    rows, columns = places(known.shape[1:3])
    number = max(2, -(-_FITTED // (len(rows) * len(columns))))
    drawn = known[random.permutation(len(known))[:number]]
    cut = _cut(drawn, side, scale, density=1)
    cut = cut.reshape(-1, cut.shape[-1])
    components = min(_COMPONENTS, *cut.shape)
    fitted = latent_space.principal_components(cut, components, seed)
    # What hardly varies must not become noise as large as all the rest.
    spread = np.sqrt(np.maximum(fitted.explained_variance_, 1e-5))
    axes = (fitted.components_ / spread[:, None]).T
    return _Windows(side, scale, fitted.mean_.astype(np.float32), axes.astype(np.float32))


def _cut(images: np.ndarray, side: int, scale: int, density: int) -> np.ndarray:
    """The windows around all places: float32 (num_images, rows, columns, numbers of a window)."""
    rows, columns = places(images.shape[1:3], density)
    if scale > 1:
        even = [(0, 0), (0, -images.shape[1] % scale), (0, -images.shape[2] % scale), (0, 0)]
        images = np.pad(images, even, mode="edge")
        count, height, width, channels = images.shape
        parts = (count, height // scale, scale, width // scale, scale, channels)
        images = images.reshape(parts).mean(axis=(2, 4))
        rows, columns = rows // scale, columns // scale
    half = side // 2
    padded = np.pad(images, [(0, 0), (half, half), (half, half), (0, 0)], mode="symmetric")
    # Channels before rows: then the numbers of a row of a window lie side by side.
    padded = np.ascontiguousarray(np.moveaxis(padded, -1, 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))
    channels = windows.shape[1]
    cut = np.empty((len(images), len(rows), len(columns), channels, side, side), images.dtype)
    for at, row in enumerate(rows):
        for to, column in enumerate(columns):
            cut[:, at, to] = windows[:, :, row, column]
    return cut.reshape(*cut.shape[:3], -1)


def _numbers(windows: tuple[_Windows, ...], images: np.ndarray, density: int) -> np.ndarray:
    """What the network knows of each place: its windows, how far they are, and where it is."""
    parts = []
    for window in windows:
        found = window.of(images, density)
        away = np.log(np.square(found).mean(axis=-1, keepdims=True) + 1e-3)
        parts += [np.clip(found, -_MOST, _MOST), away]
    shape = parts[0].shape[:3]
    at = np.meshgrid(*(np.linspace(-1.0, 1.0, number) for number in shape[1:]), indexing="ij")
    place = np.stack([*at, *(np.square(values) for values in at)], axis=-1)
    parts.append(np.broadcast_to(place, (*shape, 4)))
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def _with_pasted(
    images: np.ndarray, known: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Images with one or two parts of others, and which pixels are pasted."""
    odd, is_pasted = images.copy(), np.zeros(images.shape[:3], bool)
    size = images.shape[1:3]
    for index in range(len(odd)):
        for _ in range(random.integers(1, 3)):
            shares = random.uniform(*_PASTED) * random.uniform(0.75, 1.33, 2)
            height, width = np.clip((shares * min(size)).astype(int), 2, min(size))
            y, x, from_y, from_x = (
                int(random.integers(most + 1)) for most in (size[0] - height, size[1] - width) * 2
            )
            other = known[random.integers(len(known))]
            part = other[from_y : from_y + height, from_x : from_x + width]
            odd[index, y : y + height, x : x + width] = _changed(part, random)
            is_pasted[index, y : y + height, x : x + width] = True
    return odd, is_pasted


def _changed(part: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A part as it might look elsewhere: mirrored, paler, of other colours; or noise."""
    kind = random.integers(6)
    if kind == 0:
        level = random.uniform(0.0, 1.0, part.shape[-1])
        return np.clip(random.normal(level, random.uniform(0.0, 0.3), part.shape), 0.0, 1.0)
    if random.random() < 0.5:
        part = part[:, ::-1]
    if random.random() < 0.5:
        part = part[::-1]
    if kind >= 3:
        part = (part - 0.5) * random.uniform(0.5, 1.5) + 0.5 + random.uniform(-0.2, 0.2)
        part = part[..., random.permutation(part.shape[-1])]
    return np.clip(part, 0.0, 1.0)
