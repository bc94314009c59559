"""A map of many codes: t-SNE of as many as it can take, the others beside their nearest."""

from __future__ import annotations

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]

from kerasunsup.evaluation import latent_space, neighbors

_MOST_MAPPED = 10_000  # codes that t-SNE places: its time grows a little faster than their number
_BESIDE = 3  # nearest codes that tell where another one lies
_APART = 0.3  # of the usual distance between nearest places: copies do not hide each other
# t-SNE adds what its threads found in the order in which they finish; of two threads it is the
# same in either order, of more the last digits differ, and after a thousand steps the map does.
_THREADS = 2


def plane(codes: np.ndarray, seed: int) -> np.ndarray:
    """A place for each code such that codes near each other lie near each other.

    Args:
        codes: (num_codes, dim), float32 or float64, one or more.
        seed: >= 0.

    Returns:
        float32 (num_codes, 2) in [0, 1], with the longer side of the map from 0 to 1. As of
        `latent_space.tsne`, only nearness means something. Below four codes they lie in a row.
        Beyond 10,000 as many are drawn for t-SNE; each other code is placed at the mean of its
        three nearest of these, weighted by nearness, and moved a little so that none is hidden.

    Raises:
        ValueError: if a code is not finite.

    Example:
        >>> places = plane(np.random.default_rng(0).normal(size=(12, 3)), seed=0)
        >>> places.shape, float(places.min()), float(places.max())
        ((12, 2), 0.0, 1.0)
    """
    codes = neighbors.checked(codes, "codes")
    if len(codes) < latent_space.LEAST_MAPPED:
        in_a_row = np.linspace(0.0, 1.0, len(codes)) if len(codes) > 1 else np.full(1, 0.5)
        return np.stack([in_a_row, np.full(len(codes), 0.5)], axis=1).astype(np.float32)
    random = np.random.default_rng(seed)
    drawn = np.arange(len(codes))
    if len(codes) > _MOST_MAPPED:
        drawn = np.sort(random.choice(len(codes), _MOST_MAPPED, replace=False))
    with threadpoolctl.threadpool_limits(_THREADS):
        mapped = latent_space.tsne(codes[drawn], seed).astype(np.float64)
    places = np.empty((len(codes), 2))
    places[drawn] = mapped
    others = np.setdiff1d(np.arange(len(codes)), drawn)
    if len(others):
        places[others] = _beside(mapped, codes[drawn], codes[others], random)
    places -= places.min(axis=0)
    return (places / max(float(places.max()), 1e-12)).astype(np.float32)


def _beside(
    mapped: np.ndarray, codes: np.ndarray, others: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """The places of other codes beside those of their nearest, (num_others, 2)."""
    distances, nearest = neighbors.nearest(codes, others, _BESIDE)
    weights = 1.0 / (distances + 1e-3 * distances.mean() + 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    places = np.einsum("ij,ijk->ik", weights, mapped[nearest])
    usual = np.median(neighbors.nearest(mapped, None, 1)[0])
    return places + random.normal(0.0, _APART * usual, places.shape)
