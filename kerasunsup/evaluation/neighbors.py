"""Nearest rows among others, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

_BLOCK = 1000  # rows at a time: 1,000 x 10,000 float32 distances are 40 MB


def nearest(
    rows: np.ndarray, others: np.ndarray | Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """For each row the nearest of the others.

    Args:
        rows: (num_rows, dim), any float.
        others: (num_others, dim), any float, at least one; or blocks of them, in order.

    Returns:
        Positions in the others, int64 (num_rows,), and Euclidean distances, float32 (num_rows,); 0
        for equal rows.

    Raises:
        ValueError: if the sizes differ or a value is not finite.
    """
    positions = np.zeros(len(rows), np.int64)
    distances = np.full(len(rows), np.inf, np.float32)
    start = 0
    for part in [others] if isinstance(others, np.ndarray) else others:
        rows, part = (values.astype(np.float32) for values in feature_pair(rows, part))
        for block in blocks(len(rows)):
            found = squared_distances(rows[block], part).argmin(axis=1)
            # Sums of squares leave equal rows apart by their rounding, their difference does not.
            away = np.linalg.norm(rows[block] - part[found], axis=1)
            closer = away < distances[block]
            positions[block][closer] = start + found[closer]
            distances[block][closer] = away[closer]
        start += len(part)
    return positions, distances


def blocks(num_rows: int) -> Iterator[slice]:
    """The rows of an array, so many at a time that their distances to 10,000 others take 40 MB."""
    for start in range(0, num_rows, _BLOCK):
        yield slice(start, start + _BLOCK)


def squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, float32 (num_rows, num_others), >= 0."""
    distances = rows @ others.T
    distances *= -2.0
    distances += np.einsum("ij,ij->i", rows, rows)[:, None]
    distances += np.einsum("ij,ij->i", others, others)
    return np.maximum(distances, 0.0, out=distances)


def feature_pair(features: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two feature sets as arrays.

    Raises:
        ValueError: if their shapes do not go together, or a value is not finite.
    """
    features, reference = np.asarray(features), np.asarray(reference)
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise ValueError(
            "features and reference must be (num_images, feature_dim) with one feature_dim, "
            f"received {features.shape} and {reference.shape}"
        )
    if not (np.isfinite(features).all() and np.isfinite(reference).all()):
        raise ValueError("features and reference must be finite, received NaN or infinity")
    return features, reference
