"""Images sorted into groups without labels: spectral clustering of the graph of their codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import optimize, sparse
from sklearn import cluster, metrics

from kerasunsup import probes

LEAST_CODES = 30
_GRAPH_CODES = 20_000  # beyond, as many are drawn and the others follow their nearest
_MOST_GROUPS = 20  # of those that a number is chosen from
_RESTARTS = 20  # of k-means
_STEPS = 20  # along the graph's links


def groups(codes: np.ndarray, number: int | None, seed: int) -> np.ndarray:
    """A group for each code.

    The graph of nearest neighbours that `probes.graph_spread` uses is cut where it is thin: k-means
    on the first eigenvectors of its normalized links, scaled to length 1 a code. A few more
    eigenvectors are taken than groups are wanted: what is thin may lie within a group.

    Test images of MNIST, ten groups, codes of the usual encoder, share in the right group: k-means
    on codes 0.59, a mixture of ten Gaussians 0.69, this 0.95 (0.80 with no more eigenvectors than
    groups); see `benchmarks/clustering.py`.

    Args:
        codes: (num_codes, latent_dim), `LEAST_CODES` or more.
        number: of groups; None chooses by the largest gap between the eigenvalues, from 2 to 20.
        seed: >= 0.

    Returns:
        int64 (num_codes,), from 0; the largest group first.

    Raises:
        ValueError: if there are too few codes, or more groups than a tenth of them.

    Source:
        Ng, Jordan & Weiss, 2001, "On spectral clustering", NIPS 14.
    """
    if len(codes) < LEAST_CODES or (number or 2) > len(codes) // 10:
        raise ValueError(
            f"groups need ten codes each and {LEAST_CODES} in all, received {len(codes)} codes for "
            f"{number or 2} groups"
        )
    chosen = np.arange(len(codes))
    if len(codes) > _GRAPH_CODES:
        drawn = np.random.default_rng(seed).choice(len(codes), _GRAPH_CODES, replace=False)
        chosen = np.sort(drawn)
    graph = probes.GraphOfCodes(codes[chosen], seed)
    if number is None:
        values, vectors = _eigenvectors(graph.links, min(_MOST_GROUPS + 5, len(chosen) // 10), seed)
        number = _gap(values[: _MOST_GROUPS + 1])
        vectors = vectors[:, : _with_more(number)]
    else:
        values, vectors = _eigenvectors(graph.links, _with_more(number), seed)
    # What fades within a few steps along the links is no group of its own.
    vectors = vectors * np.maximum(values[: vectors.shape[1]], 0.0) ** _STEPS
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    method = cluster.KMeans(number, n_init=_RESTARTS, random_state=seed)
    # On so few columns threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1):
        found = method.fit_predict(vectors / np.maximum(lengths, 1e-12)).astype(np.int64)
    if len(chosen) < len(codes):
        found = graph.spread(np.arange(len(chosen)), found, codes, number).argmax(axis=1)
    order = np.argsort(-np.bincount(found, minlength=number), kind="stable")
    return np.argsort(order)[found]


def k_means(vectors: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The plain way, to compare with: the best of ten runs of k-means.

    Args:
        vectors: (num_vectors, dim), as many as groups or more.
        number: of groups.
        seed: >= 0.

    Returns:
        int64 (num_vectors,), from 0.
    """
    method = cluster.KMeans(number, n_init=10, random_state=seed)
    return method.fit_predict(vectors).astype(np.int64)


def _with_more(number: int) -> int:
    return number + max(2, number // 5)


def _eigenvectors(links: sparse.csr_array, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of the normalized links, falling, and their vectors in columns."""
    degrees = np.asarray(links.sum(axis=1)).ravel()
    roots = np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0.0)
    normalized = sparse.diags_array(roots) @ links @ sparse.diags_array(roots)
    start = np.random.default_rng(seed).standard_normal(links.shape[0])
    with threadpoolctl.threadpool_limits(1):
        values, vectors = sparse.linalg.eigsh(normalized, k=number, which="LA", v0=start)
    return values[::-1], vectors[:, ::-1] * roots[:, np.newaxis]


def _gap(values: np.ndarray) -> int:
    """The number of groups after which the eigenvalues fall most."""
    return 2 + int(np.argmax(values[1:-1] - values[2:]))


def agreement(found: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well groups agree with labels that they were made without.

    Args:
        found: int64 (num_images,), the groups from 0.
        labels: int64 (num_images,).

    Returns:
        `accuracy`: the share in the right group under the best one-to-one matching of groups and
        classes (Kuhn 1955); `nmi`, normalized mutual information (arithmetic mean); `ari`, the
        adjusted Rand index.
    """
    classes, positions = np.unique(labels, return_inverse=True)
    counts = np.zeros((found.max() + 1, len(classes)), np.int64)
    np.add.at(counts, (found, positions), 1)
    rows, columns = optimize.linear_sum_assignment(-counts)
    numbers: dict[str, Any] = {
        "accuracy": counts[rows, columns].sum() / len(labels),
        "nmi": metrics.normalized_mutual_info_score(labels, found),
        "ari": metrics.adjusted_rand_score(labels, found),
    }
    return {name: float(value) for name, value in numbers.items()}
