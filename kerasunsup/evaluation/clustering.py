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
  all or 95 % of the codes hang together, that part is cut, beyond doubt or not, into 2 to 20: the
  most groups that all come back in random draws of its codes, or if none do, at the largest gap
  between the eigenvalues to the power of the steps (`spectral_cuts`).

A part of fewer than ten codes, or than a thousandth of them, follows its nearest neighbours.

A graph holds 60,000 codes at most: with all 55,000 training images of MNIST in it 95.5 % are in the
right group, with draws of 30,000 of them 94 to 95 %, of 20,000 80 to 94 %. The others follow their
nearest in it, which `neighbor_index` finds where they are very many.

With 10,000 training images of MNIST and ten groups, the share in the right group by their labels is
0.93 here, 0.69 to 0.70 with no more eigenvectors than groups, and 0.49 to 0.52 for k-means on codes
(`benchmarks/clustering.py`).
"""

from __future__ import annotations

import logging

import numpy as np
from scipy import optimize, sparse
from sklearn import cluster, metrics

from kerasunsup.evaluation import label_spreading, latent_space, neighbor_index, spectral_cuts

logger = logging.getLogger(__name__)

LEAST_CODES = 30
STABLE = 0.75  # of a group comes back in random draws (Hennig, 2007)
_GRAPH_CODES = 60_000  # beyond, as many are drawn and the others follow their nearest
_NO_LINK = 1e-6  # a weight below it joins nothing: 3.4 times as far as the nearest usually are
_MOST_OF_ALL = 0.95


def groups(
    codes: np.ndarray, number: int | None, seed: int, *, least_stability: float | None = STABLE
) -> np.ndarray:
    """The group of each code, by spectral clustering as the module describes it.

    Args:
        codes: (num_codes, latent_dim), `LEAST_CODES` or more.
        number: how many groups; None lets the graph decide.
        seed: >= 0.
        least_stability: where no number is given, how much of each group is to come back in random
            draws, in (0, 1]; None for the largest gap alone.

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
    in_graph, group_of = of_graph(codes, number, seed, least_stability=least_stability)
    if len(in_graph) == len(codes):
        return group_of
    graph = label_spreading.GraphOfCodes(codes[in_graph], seed)
    group_of_all = _of_nearest(graph, group_of, codes)
    group_of_all[in_graph] = group_of
    return _largest_first(group_of_all)


def of_graph(
    codes: np.ndarray, number: int | None, seed: int, *, least_stability: float | None = STABLE
) -> tuple[np.ndarray, np.ndarray]:
    """The groups of the codes that one graph holds: of all, or of as many as are drawn.

    Arguments and errors are those of `groups`.

    Returns:
        The positions of these codes, ascending, and their groups, the largest first; int64 both.

    Example:
        >>> codes = np.repeat([[0.0], [9.0]], [20, 10], axis=0)
        >>> codes += np.linspace(0.0, 1.0, 30)[:, None]
        >>> [len(array) for array in of_graph(codes, 2, seed=0)]
        [30, 30]
    """
    if len(codes) < LEAST_CODES or (number or 2) > len(codes) // 10:
        raise ValueError(
            f"groups need ten codes each and {LEAST_CODES} in all, received {len(codes)} codes for "
            f"{number or 2} groups"
        )
    if not latent_space.varying(codes).any():
        return np.arange(len(codes)), np.zeros(len(codes), np.int64)
    in_graph = np.arange(len(codes))
    if len(codes) > _GRAPH_CODES:
        drawn = np.random.default_rng(seed).choice(len(codes), _GRAPH_CODES, replace=False)
        in_graph = np.sort(drawn)
    graph = label_spreading.GraphOfCodes(codes[in_graph], seed)
    found = groups_of_graph(graph, codes[in_graph], number, seed, least_stability=least_stability)
    return in_graph, _largest_first(found)


def _of_nearest(
    graph: label_spreading.GraphOfCodes, group_of: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """The group, int64, that most of the graph's codes nearest to each of these are in."""
    classes = np.eye(int(group_of.max()) + 1)[group_of]
    found = np.empty(len(codes), np.int64)
    for block, shares in graph.of_nearest(classes, codes):
        found[block] = shares.argmax(axis=1)
    return found


def _largest_first(group_of: np.ndarray) -> np.ndarray:
    order = np.argsort(-np.bincount(group_of), kind="stable")
    return np.argsort(order)[group_of]


def groups_of_graph(
    graph: label_spreading.GraphOfCodes,
    codes: np.ndarray,
    number: int | None,
    seed: int,
    *,
    least_stability: float | None = STABLE,
) -> np.ndarray:
    """A group for each code of a graph that is there already, as `groups` cuts it.

    Args:
        graph: of these codes.
        codes: (num_codes, latent_dim), not all alike.
        number: how many groups, at most a tenth of the codes; None lets the graph decide.
        seed: >= 0.
        least_stability: as in `groups`.

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
    parts = spectral_cuts.Parts(links, number, seed)
    if number is not None and number < len(parts.members):
        means = [codes[part].mean(axis=0) for part in parts.members]
        sizes = [len(part) for part in parts.members]
        method = cluster.KMeans(number, n_init=spectral_cuts.RESTARTS, random_state=seed)
        joined = method.fit_predict(graph.standardized(np.stack(means)), sample_weight=sizes)
        group_of = np.full(len(codes), -1)
        for part, one in zip(parts.members, joined, strict=True):
            group_of[part] = one
    else:
        numbers = (
            _numbers_found(links, parts, seed, least_stability)
            if number is None
            else parts.numbers(number)
        )
        group_of = parts.cut(numbers, seed)
    lost = group_of < 0
    if lost.any():
        standardized = graph.standardized(codes)
        _, positions = neighbor_index.nearest(standardized[~lost], standardized[lost], 1, seed)
        group_of[lost] = group_of[~lost][positions[:, 0]]
    return group_of


def _numbers_found(
    links: sparse.csr_array, parts: spectral_cuts.Parts, seed: int, least_stability: float | None
) -> list[int]:
    """Groups a part where no number is given."""
    sizes = [len(part) for part in parts.members]
    numbers = [spectral_cuts.clear_number(*one) for one in zip(parts.values, sizes, strict=True)]
    largest = int(np.argmax(sizes))
    if sizes[largest] < _MOST_OF_ALL * links.shape[0] or numbers[largest] > 1:
        return numbers
    numbers[largest] = gap = spectral_cuts.number_by_gap(parts.values[largest], sizes[largest])
    if least_stability is not None:
        members = parts.members[largest]
        stable = spectral_cuts.stable_number(links[members][:, members], least_stability, seed)
        numbers[largest] = stable if stable > 1 else gap
        told = f"{stable} groups come" if stable > 1 else "no number of groups comes"
        logger.info(
            f"{told} back in random draws of the codes, {least_stability:.0%} of each; the largest "
            f"gap of their graph is after {gap}"
        )
    return numbers


def carried(codes: np.ndarray, group_of: np.ndarray, queries: np.ndarray, seed: int) -> np.ndarray:
    """The groups of other codes: for each the one that most of its nearest codes are in.

    Args:
        codes: (num_codes, dim), two or more; beyond 60,000 as many are drawn.
        group_of: int64 (num_codes,), their groups from 0.
        queries: (num_queries, dim).
        seed: >= 0.

    Returns:
        int64 (num_queries,).

    Example:
        >>> codes = np.repeat([[0.0], [9.0]], 20, axis=0) + np.linspace(0.0, 1.0, 40)[:, None]
        >>> carried(codes, np.repeat([0, 1], 20), np.array([[8.0], [1.0]]), seed=0)
        array([1, 0])
    """
    if len(codes) > _GRAPH_CODES:
        drawn = np.random.default_rng(seed).choice(len(codes), _GRAPH_CODES, replace=False)
        codes, group_of = codes[drawn], group_of[drawn]
    return _of_nearest(label_spreading.GraphOfCodes(codes, seed), group_of, queries)


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
