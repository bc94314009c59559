"""How far the oddest patch of an image is from all patches that clean images have in its place.

Patches are windows of feature maps, as in PatchCore, but remembered with their place: almost every
small piece of a stroke is usual somewhere.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from kerasunsup.evaluation import latent_space
from kerasunsup.evaluation.neighbors import blocks, squared_distances

_WINDOW = 5  # side, in positions of the maps; on MNIST 7 is worse (docs/outliers.md)
# Clean images that are enough: twice as many find eights and twos hardly better in twice the time.
REMEMBERED = 1000
_COMPONENTS = 48  # numbers that are left of a patch; 24 and 96 do as well
_FITTED = 3000  # patches that these components are fitted to


@dataclasses.dataclass(frozen=True)
class PatchMemory:
    """The patches of clean images' feature maps, by their place.

    Attributes:
        maps: of the clean images, float32 (num_clean, height, width, channels).
        components: of patches, (window * window * channels, num_components).

    Source:
        Roth et al., 2022, arXiv:2106.08265, section 3.1. Differences: the network is not trained on
        ImageNet, a patch is compared with those in its own place, and no coreset is searched.

    Example:
        >>> maps = np.arange(200.0, dtype=np.float32).reshape(8, 5, 5, 1)
        >>> PatchMemory(maps, np.eye(25, 4, dtype=np.float32)).distances(maps[:3])
        array([0., 0., 0.])
    """

    maps: np.ndarray
    components: np.ndarray

    def distances(self, maps: np.ndarray) -> np.ndarray:
        """The distance of each image's oddest patch from the nearest remembered one.

        Args:
            maps: (num_images, height, width, channels), of the clean maps' sides and channels.

        Returns:
            float64 (num_images,), >= 0.

        Raises:
            ValueError: if the maps have another shape.
        """
        if maps.shape[1:] != self.maps.shape[1:]:
            raise ValueError(
                f"maps must be (num_images, {', '.join(map(str, self.maps.shape[1:]))}), received "
                f"{maps.shape}"
            )
        furthest = np.zeros(len(maps))
        for y, x in np.ndindex(*maps.shape[1:3]):
            known = _patches(self.maps, y, x) @ self.components
            for block in blocks(len(maps)):
                patches = _patches(maps[block], y, x) @ self.components
                nearest = squared_distances(patches, known).min(axis=1)
                furthest[block] = np.maximum(furthest[block], nearest)
        return np.sqrt(furthest)


def fit(maps: np.ndarray, seed: int) -> PatchMemory:
    """Remembers the patches of clean images.

    Args:
        maps: their feature maps, float32 (num_clean, height, width, channels), two or more; all are
            remembered, and `REMEMBERED` are enough.
        seed: >= 0.

    Raises:
        ValueError: if there are fewer than two, or they have no four dimensions.

    Example:
        >>> maps = np.random.default_rng(0).uniform(size=(20, 6, 6, 2)).astype(np.float32)
        >>> odd = maps[:2].copy()
        >>> odd[1, 3, 3] = 5.0
        >>> near, far = fit(maps, seed=0).distances(odd)
        >>> near < 0.01 < 1.0 < far
        np.True_
    """
    if maps.ndim != 4 or len(maps) < 2:
        raise ValueError(
            "maps must be (num_clean, height, width, channels) of two images or more, received "
            f"{maps.shape}"
        )
    random = np.random.default_rng(seed)
    places = list(np.ndindex(*maps.shape[1:3]))
    drawn = random.permutation(len(maps))[: max(2, _FITTED // len(places))]
    patches = np.concatenate([_patches(maps[drawn], y, x) for y, x in places])
    number = min(_COMPONENTS, *patches.shape)
    fitted = latent_space.principal_components(patches, number, seed)
    return PatchMemory(maps, fitted.components_.T.astype(np.float32))


def _patches(maps: np.ndarray, y: int, x: int) -> np.ndarray:
    """The window about one position of each map, zero outside: (num_images, numbers)."""
    half = _WINDOW // 2
    top, left = max(0, y - half), max(0, x - half)
    part = maps[:, top : y + half + 1, left : x + half + 1]
    window = np.zeros((len(maps), _WINDOW, _WINDOW, maps.shape[-1]), np.float32)
    from_top, from_left = top - (y - half), left - (x - half)
    window[:, from_top : from_top + part.shape[1], from_left : from_left + part.shape[2]] = part
    return window.reshape(len(maps), -1)
