"""Images sorted into groups without labels: spectral clustering of the graph of their codes.

The graph of nearest neighbours that `probes.graph_spread` uses falls into parts that no link joins.
Each part is a group, or is cut where it is thin: k-means on the first eigenvectors of its
normalized links, scaled to length 1 a code. A few more eigenvectors are taken than groups are
wanted, because a thin place may lie within a group. The parts are found by following the links: the
iterative search for eigenvectors does not see how often an eigenvalue occurs.

- Where the number of groups is given, the parts are cut where their eigenvalues are the largest. If
  there are more parts than groups, those whose means are near are joined: k-means, each mean
  weighted by its codes.
- Where it is not given, every part is a group. A part is cut where its eigenvalues show it beyond
  doubt (few links between clouds: from one to the next the distance to 1 grows fifteenfold). Where
  all or 95 % of the codes hang together, that part is cut, beyond doubt or not, at the largest gap
  between the eigenvalues to the power of the steps, into 2 to 20.

A part of fewer than ten codes, or than a thousandth of them, follows its nearest neighbours.

With 10,000 training images of MNIST and ten groups, the share in the right group by their labels is
0.93 here, 0.69 to 0.70 with no more eigenvectors than groups, and 0.49 to 0.52 for k-means on codes
(`benchmarks/clustering.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import optimize, sparse
from sklearn import cluster, metrics

from kerasunsup.evaluation import label_spreading, latent_space, neighbors

LEAST_CODES = 30
_LEAST_MEMBERS = 10  # of a group of its own; in a large graph a thousandth of the codes
_GRAPH_CODES = 20_000  # beyond, as many are drawn and the others follow their nearest
_MOST_GROUPS = 20  # that what hangs together is cut into where no number is given
_RESTARTS = 20  # of k-means
_STEPS = 20  # along the graph's links
_NO_LINK = 1e-6  # a weight below it joins nothing: 3.4 times as far as the nearest usually are
_CLEAR = 15.0  # times; single clouds in two dimensions or more hardly ever reach it
_MOST_OF_ALL = 0.95
_DENSE = 300  # codes, up to which all eigenvectors are faster than the first few


def groups(codes: np.ndarray, number: int | None, seed: int) -> np.ndarray:
    """The group of each code, by spectral clustering as the module describes it.

    Args:
        codes: (num_codes, latent_dim), `LEAST_CODES` or more.
        number: how many groups; None lets the graph decide.
        seed: >= 0.

    Returns:
        int64 (num_codes,), from 0; the largest group first. Codes that are all alike, but for
        rounding, are one group whatever the number.

    Raises:
        ValueError: if there are too few codes, or more groups than a tenth of them.

    Source:
        Ng, Jordan & Weiss, 2001, "On spectral clustering", NIPS 14, part by part.

    Example:
        >>> codes = np.repeat([[0.0], [9.0]], [20, 10], axis=0)
        >>> codes += np.linspace(0.0, 1.0, 30)[:, None]
        >>> np.bincount(groups(codes, 2, seed=0))
        array([20, 10])
    """
    if len(codes) < LEAST_CODES or (number or 2) > len(codes) // 10:
        raise ValueError(
            f"groups need ten codes each and {LEAST_CODES} in all, received {len(codes)} codes for "
            f"{number or 2} groups"
        )
    if not latent_space.varying(codes).any():
        return np.zeros(len(codes), np.int64)
    in_graph = np.arange(len(codes))
    if len(codes) > _GRAPH_CODES:
        drawn = np.random.default_rng(seed).choice(len(codes), _GRAPH_CODES, replace=False)
        in_graph = np.sort(drawn)
    graph = label_spreading.GraphOfCodes(codes[in_graph], seed)
    group_of = groups_of_graph(graph, codes[in_graph], number, seed)
    if len(in_graph) < len(codes):
        classes = graph.classes(np.arange(len(in_graph)), group_of, int(group_of.max()) + 1)
        group_of_all = np.empty(len(codes), np.int64)
        for block, shares in graph.of_nearest(classes, codes):
            group_of_all[block] = shares.argmax(axis=1)
        group_of_all[in_graph] = group_of
        group_of = group_of_all
    order = np.argsort(-np.bincount(group_of), kind="stable")
    return np.argsort(order)[group_of]


def groups_of_graph(
    graph: label_spreading.GraphOfCodes, codes: np.ndarray, number: int | None, seed: int
) -> np.ndarray:
    """A group for each code of a graph that is there already, as `groups` cuts it.

    Args:
        graph: of these codes.
        codes: (num_codes, latent_dim), not all alike.
        number: how many groups, at most a tenth of the codes; None lets the graph decide.
        seed: >= 0.

    Returns:
        int64 (num_codes,), from 0, in no particular order.

    Example:
        >>> codes = np.repeat([[0.0], [9.0]], [20, 10], axis=0)
        >>> codes += np.linspace(0.0, 1.0, 30)[:, None]
        >>> graph = label_spreading.GraphOfCodes(codes, seed=0)
        >>> sorted(np.bincount(groups_of_graph(graph, codes, 2, seed=0)).tolist())
        [10, 20]
    """
    links = graph.links.multiply(graph.links >= _NO_LINK).tocsr()
    _, part_of = sparse.csgraph.connected_components(links, directed=False)
    sizes = np.bincount(part_of)
    least = min(max(_LEAST_MEMBERS, len(codes) // 1000), sizes.max())
    parts = [np.flatnonzero(part_of == part) for part in np.flatnonzero(sizes >= least)]
    if number is not None and number < len(parts):
        means = graph.standardized(np.stack([codes[part].mean(axis=0) for part in parts]))
        method = cluster.KMeans(number, n_init=_RESTARTS, random_state=seed)
        joined = method.fit_predict(means, sample_weight=sizes[sizes >= least])
        pieces = [(part, np.full(len(part), one)) for part, one in zip(parts, joined, strict=True)]
    else:
        pieces = _cut_parts(links, parts, number, seed)
    group_of = np.full(len(codes), -1)
    for part, members in pieces:
        group_of[part] = members
    lost = group_of < 0
    if lost.any():
        standardized = graph.standardized(codes)
        _, positions = neighbors.nearest(standardized[~lost], standardized[lost], 1)
        group_of[lost] = group_of[~lost][positions[:, 0]]
    return group_of


def _cut_parts(
    links: sparse.csr_array, parts: Sequence[np.ndarray], number: int | None, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each part of the graph with the groups of its codes, numbered through all parts."""
    most = _with_more(_MOST_GROUPS + 1 if number is None else number - len(parts) + 1)
    spectra = [_eigenvectors(links[part][:, part], most, seed) for part in parts]
    values = [eigenvalues for eigenvalues, _ in spectra]
    if number is None:
        whole = _MOST_OF_ALL * links.shape[0]
        numbers = [
            _estimated_number(eigenvalues, len(part), len(part) >= whole)
            for eigenvalues, part in zip(values, parts, strict=True)
        ]
    else:
        numbers = _numbers_of_parts(values, number)
    pieces, first = [], 0
    for part, (eigenvalues, vectors), own in zip(parts, spectra, numbers, strict=True):
        members = np.zeros(len(part), np.int64)
        if own > 1:
            members = _spectral_groups(eigenvalues, vectors, own, seed)
        pieces.append((part, first + members))
        first += own
    return pieces


def _spectral_groups(values: np.ndarray, vectors: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Groups of the codes of a part, from its eigenvalues and eigenvectors."""
    vectors = vectors[:, : _with_more(number)]
    # What fades within a few steps along the links is no group of its own.
    vectors = vectors * np.maximum(values[: vectors.shape[1]], 0.0) ** _STEPS
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    method = cluster.KMeans(number, n_init=_RESTARTS, random_state=seed)
    # On so few columns threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1):
        return method.fit_predict(vectors / np.maximum(lengths, 1e-12)).astype(np.int64)


def _estimated_number(values: np.ndarray, size: int, is_most: bool) -> int:
    """Into how many groups a part is cut where nobody says it."""
    most = min(_MOST_GROUPS, size // _LEAST_MEMBERS, len(values) - 2)
    if most < 2:
        return 1
    fading = np.maximum(1.0 - values[: most + 1], 1e-9)  # 0 for the part as a whole
    growth = fading[2:] / fading[1:-1]
    if growth.max() >= _CLEAR:
        return 2 + int(growth.argmax())
    if not is_most:
        return 1
    lasting = np.maximum(values[: most + 1], 0.0) ** _STEPS
    return 2 + int(np.argmax(lasting[1:-1] - lasting[2:]))


def _numbers_of_parts(values: Sequence[np.ndarray], number: int) -> list[int]:
    """Groups a part: one each, and the others where the next eigenvalue is the largest."""
    of_part = np.repeat(np.arange(len(values)), [len(own) - 1 for own in values])
    further = np.concatenate([own[1:] for own in values])
    largest = np.argsort(-further, kind="stable")[: number - len(values)]
    return (1 + np.bincount(of_part[largest], minlength=len(values))).tolist()


def k_means(vectors: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The groups of the best of ten runs of k-means, the plain way to compare with.

    Args:
        vectors: (num_vectors, dim), as many as groups or more.
        number: how many groups.
        seed: >= 0.

    Returns:
        int64 (num_vectors,), from 0, in no particular order.

    Example:
        >>> vectors = np.array([[0.0], [0.1], [9.0], [9.1]])
        >>> np.bincount(k_means(vectors, 2, seed=0))
        array([2, 2])
    """
    # Elkan's bounds give Lloyd's groups: on MNIST's pixels in half of the time.
    method = cluster.KMeans(number, n_init=10, algorithm="elkan", random_state=seed)
    return method.fit_predict(vectors).astype(np.int64)


def _with_more(number: int) -> int:
    return number + max(2, number // 5)


def _eigenvectors(links: sparse.csr_array, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a part's normalized links, falling, and their vectors in columns.

    As many as are wanted, or one less than codes.
    """
    roots = 1.0 / np.sqrt(np.asarray(links.sum(axis=1)).ravel())
    normalized = sparse.diags_array(roots) @ links @ sparse.diags_array(roots)
    number = min(number, len(roots) - 1)
    with threadpoolctl.threadpool_limits(1):
        if len(roots) <= _DENSE:
            values, vectors = np.linalg.eigh(normalized.toarray())
        else:
            start = np.random.default_rng(seed).standard_normal(len(roots))
            values, vectors = sparse.linalg.eigsh(normalized, k=number, which="LA", v0=start)
    return values[::-1][:number], vectors[:, ::-1][:, :number]


def agreement(groups: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well groups agree with labels that had no part in making them.

    Args:
        groups: int64 (num_images,), the groups from 0.
        labels: int64 (num_images,).

    Returns:
        `accuracy`: the share in the right group under the best one-to-one matching of groups and
        classes (Kuhn 1955), in [0, 1]; `nmi`, normalized mutual information (arithmetic mean), in
        [0, 1]; `ari`, the adjusted Rand index, 0 by chance and at most 1.

    Example:
        >>> agreement(np.array([1, 1, 0, 0]), np.array([7, 7, 3, 7]))["accuracy"]
        0.75
    """
    counts = metrics.cluster.contingency_matrix(labels, groups)
    matched = optimize.linear_sum_assignment(counts, maximize=True)
    return {
        "accuracy": float(counts[matched].sum() / len(labels)),
        "nmi": float(metrics.normalized_mutual_info_score(labels, groups)),
        "ari": float(metrics.adjusted_rand_score(labels, groups)),
    }
