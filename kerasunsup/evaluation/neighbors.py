"""Which rows lie nearest to others: through scikit-learn, or block by block where they are many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from sklearn.neighbors import NearestNeighbors

_BLOCK = 1000  # rows at a time: 1,000 x 10,000 float32 distances are 40 MB


def nearest(
    codes: np.ndarray, queries: np.ndarray | None, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """The codes nearest to each query, nearest first.

    Args:
        codes: (num_codes, dim), any float.
        queries: (num_queries, dim); None asks for each code's nearest others.
        number: how many, at most num_codes (one less without queries).

    Returns:
        Euclidean distances and int64 positions of codes, (num_queries, number) both.

    Raises:
        ValueError: if the sizes differ, a value is not finite or there are fewer codes.

    Example:
        >>> distances, positions = nearest(np.array([[0.0], [1.0], [5.0]]), np.array([[4.0]]), 2)
        >>> distances, positions
        (array([[1., 3.]]), array([[2, 1]]))
    """
    return NearestNeighbors(n_neighbors=number, algorithm="brute").fit(codes).kneighbors(queries)


def nearest_in_blocks(
    rows: np.ndarray, others: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """For each row the one nearest of many others, of which a block at a time is in memory.

    `nearest` needs all others at once and computes in float64, which takes twice as long on vectors
    as long as images; and its distance between equal rows is only about 0.

    Args:
        rows: (num_rows, dim), any float.
        others: blocks (num_others_in_block, dim), any float, in order; at least one row in all.

    Returns:
        Positions in the others, int64 (num_rows,), and Euclidean distances, float32 (num_rows,).

    Raises:
        ValueError: if the sizes differ or a value is not finite.

    Example:
        >>> blocks_of_others = iter([np.array([[0.0], [1.0]]), np.array([[5.0]])])
        >>> positions, distances = nearest_in_blocks(np.array([[4.0]]), blocks_of_others)
        >>> positions.tolist(), distances.tolist()
        ([2], [1.0])
    """
    positions = np.zeros(len(rows), np.int64)
    distances = np.full(len(rows), np.inf, np.float32)
    start = 0
    for part in others:
        rows, part = (values.astype(np.float32) for values in feature_pair(rows, part))
        for block in blocks(len(rows)):
            closest = squared_distances(rows[block], part).argmin(axis=1)
            # Sums of squares leave equal rows apart by their rounding, their difference does not.
            away = np.linalg.norm(rows[block] - part[closest], axis=1)
            closer = away < distances[block]
            positions[block][closer] = start + closest[closer]
            distances[block][closer] = away[closer]
        start += len(part)
    return positions, distances


def blocks(num_rows: int) -> Iterator[slice]:
    """Slices of an array's rows, so many at a time that distances to 10,000 others take 40 MB.

    Example:
        >>> list(blocks(1500))
        [slice(0, 1000, None), slice(1000, 2000, None)]
    """
    for start in range(0, num_rows, _BLOCK):
        yield slice(start, start + _BLOCK)


def squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of all pairs, with rounding of the sums of squares.

    Args:
        rows: (num_rows, dim), float32 or float64.
        others: (num_others, dim), of the same dtype.

    Returns:
        (num_rows, num_others), of the same dtype, >= 0.

    Example:
        >>> squared_distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 1.0]]))
        array([[25.,  1.]])
    """
    distances = rows @ others.T
    distances *= -2.0
    distances += np.einsum("ij,ij->i", rows, rows)[:, None]
    distances += np.einsum("ij,ij->i", others, others)
    return np.maximum(distances, 0.0, out=distances)


def feature_pair(features: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two feature sets of one `feature_dim` as arrays, both through `checked`.

    Example:
        >>> first, second = feature_pair(np.zeros((3, 2)), np.ones((5, 2)))
        >>> first.shape, second.shape
        ((3, 2), (5, 2))
    """
    features = checked(features, "features")
    return features, checked(reference, "reference", dim=features.shape[1])


def checked(
    vectors: np.ndarray, name: str, *, dim: int | None = None, least: int = 1
) -> np.ndarray:
    """Vectors as an array (num_vectors, dim), after a look at their shape and values.

    Args:
        vectors: (num_vectors, dim), any float.
        name: what an error calls them.
        dim: values of each; None takes any number but 0.
        least: how many must be there.

    Raises:
        ValueError: if the shape is another, or a value is not finite.

    Example:
        >>> checked(np.zeros((3, 2)), "codes", dim=2).shape
        (3, 2)
    """
    vectors = np.asarray(vectors)
    is_fitting = vectors.ndim == 2 and vectors.shape[1] > 0 and dim in (None, vectors.shape[1])
    if not is_fitting or len(vectors) < least:
        raise ValueError(
            f"{name} must be (num_{name}, {dim or 'dim'}) with {least} rows or more, received the "
            f"shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} must be finite, received NaN or infinity: has training diverged?")
    return vectors
