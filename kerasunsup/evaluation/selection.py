"""Which images are worth labelling first: central where codes are dense, and far apart.

The graph of codes that labels spread along is cut into fifty groups, and each is stood for by its
most central code. A tree joins groups that links lead between; read from its root, it ranks them:
first the most central of all, then of each half that has none yet. So whoever stops early has a
good choice too: of MNIST the first ten are ten digits. Every further code comes from the halves of
what varies most, so that a longer choice begins with the shorter one.

By the labels of MNIST's training images, which take no part, three ways were compared: this one,
greedy coverage (facility location) and greedy reduction of variance, both on the graph's
eigenvectors. With ten labels those two hit 7 to 9 of the digits. So were the number of groups and
the order among them chosen. What remains is measured by `benchmarks/selection.py`.
"""

from __future__ import annotations

import heapq

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import sparse
from sklearn import cluster

from kerasunsup.evaluation import clustering, label_spreading, latent_space, neighbors

# 20 and 30 hit the ten digits too, but 100 labels spread less well from them.
_GROUPS = 50
_GRAPH_CODES = 60_000  # as in `probes`; beyond, as many are drawn and the others come last
_STEPS = 20  # along the links between groups; after 50, two digits are one group
_DECIMALS = 4  # of standardized codes; copies of an image differ by rounding


def worth_labelling(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The codes whose labels are worth most, the most useful first.

    Args:
        codes: (num_codes, latent_dim), finite, one or more.
        count: how many, 1 or more; where there are fewer codes, all of them are ranked.
        seed: >= 0; only ties and very large sets depend on it much.

    Returns:
        Positions in rank order, int64 (min(count, num_codes),), each at most once. The ranking is
        the same for any count. Copies of a code that is ranked already come last.

    Raises:
        ValueError: if the shape does not fit, a value is not finite or the count is below 1.

    Source:
        The order joins groups by Ward, 1963, JASA 58, on the diffusion map of Coifman & Lafon,
        2006, of the links between them.

    Example:
        >>> codes = np.repeat([[0.0], [9.0]], [25, 15], axis=0)
        >>> codes += np.linspace(0.0, 1.0, 40)[:, None]
        >>> (worth_labelling(codes, 2, seed=0) < 25).tolist()
        [True, False]
    """
    codes = neighbors.checked(codes, "codes")
    if count < 1:
        raise ValueError(f"one code or more can be chosen, received a count of {count}")
    random = np.random.default_rng(seed)
    drawn = np.arange(len(codes))
    if len(codes) > _GRAPH_CODES:
        drawn = np.sort(random.choice(len(codes), _GRAPH_CODES, replace=False))
    rounded = np.round(_standardized(codes[drawn]), _DECIMALS) + 0.0  # no -0.0
    # One label is enough for all copies, and as neighbours they would shut each other in.
    distinct = np.sort(np.unique(rounded, axis=0, return_index=True)[1])
    ranked = drawn[distinct[_ranked(rounded[distinct], min(count, len(distinct)), seed)]]
    if len(ranked) < count:
        others = random.permutation(np.setdiff1d(np.arange(len(codes)), drawn))
        copies = np.setdiff1d(drawn, ranked)
        ranked = np.concatenate([ranked, others, copies])[:count]
    return ranked.astype(np.int64)


def _standardized(codes: np.ndarray) -> np.ndarray:
    """Codes divided by their spread, zeros where they differ by rounding alone."""
    is_varying = latent_space.varying(codes)
    shifted = (codes - codes.mean(axis=0))[:, is_varying].astype(np.float64)
    return shifted / shifted.std(axis=0) if is_varying.any() else np.zeros((len(codes), 1))


def _ranked(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of so many of distinct standardized codes, at most all."""
    number = min(_GROUPS, len(codes) // 10)
    if number > 1 and len(codes) >= clustering.LEAST_CODES:
        graph = label_spreading.GraphOfCodes(codes, seed)
        group_of = clustering.groups_of_graph(graph, codes, number, seed)
        groups = [np.flatnonzero(group_of == group) for group in np.unique(group_of)]
        centers = codes[[_most_central(codes, group) for group in groups]]
        groups = [groups[index] for index in _order_of_groups(graph.links, groups, centers)]
    else:
        groups = [np.arange(len(codes))]
    chosen = [_most_central(codes, group) for group in groups]
    # Halved at the largest sum of squares; the half without a choice gives the next one.
    heap = [
        (-_sum_of_squares(codes[group]), rank, group, one)
        for rank, (group, one) in enumerate(zip(groups, chosen, strict=True))
    ]
    heapq.heapify(heap)
    # On so few codes threads wait for each other longer than they work.
    with threadpoolctl.threadpool_limits(1):
        while len(chosen) < count:
            _, rank, group, one = heapq.heappop(heap)
            is_near = _half_of(codes, group, one, seed)
            kept, other = group[is_near], group[~is_near]
            new = _most_central(codes, other)
            heapq.heappush(heap, (-_sum_of_squares(codes[kept]), rank, kept, one))
            heapq.heappush(heap, (-_sum_of_squares(codes[other]), len(chosen), other, new))
            chosen.append(new)
    return np.array(chosen[:count])


def _most_central(codes: np.ndarray, group: np.ndarray) -> int:
    """The member of a group that lies nearest to its mean."""
    members = codes[group]
    return int(group[np.square(members - members.mean(axis=0)).sum(axis=1).argmin()])


def _sum_of_squares(members: np.ndarray) -> float:
    return float(np.square(members - members.mean(axis=0)).sum())


def _half_of(codes: np.ndarray, group: np.ndarray, one: int, seed: int) -> np.ndarray:
    """Which of a group of two distinct codes or more, bool, fall to the half of one of them."""
    halves = cluster.KMeans(2, n_init=1, random_state=seed).fit_predict(codes[group])
    is_near = halves == halves[group == one]
    return group == one if is_near.all() else is_near


def _order_of_groups(
    links: sparse.csr_array, groups: list[np.ndarray], centers: np.ndarray
) -> list[int]:
    """The groups in the order in which a tree that joins them falls apart again.

    Of all groups, then of each half that has none yet, the one whose center is the most central.
    """
    sizes = np.array([len(group) for group in groups], np.float64)
    apart = neighbors.squared_distances(centers, centers)
    order: list[int] = []
    for halves in [(list(range(len(groups))), []), *reversed(_joins(links, groups, sizes))]:
        half = next(half for half in halves if not set(half) & set(order))
        order.append(half[int((apart[np.ix_(half, half)] @ sizes[half]).argmin())])
    return order


def _joins(
    links: sparse.csr_array, groups: list[np.ndarray], sizes: np.ndarray
) -> list[tuple[list[int], list[int]]]:
    """Which groups are joined with which, step by step, until all are one."""
    member_of = np.empty(links.shape[0], np.int64)
    for index, group in enumerate(groups):
        member_of[group] = index
    is_member = sparse.csr_array(np.eye(len(groups))[member_of])
    between = (is_member.T @ links @ is_member).toarray()
    roots = 1.0 / np.sqrt(np.maximum(between.sum(axis=1), 1e-12))
    values, vectors = np.linalg.eigh(between * roots[:, None] * roots)
    places = vectors * np.maximum(values, 0.0) ** _STEPS
    places /= np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-12)
    sizes, joined = sizes.copy(), [[index] for index in range(len(groups))]
    joins = []
    while len(joined) > 1:
        cost = neighbors.squared_distances(places, places)
        cost *= sizes * sizes[:, None] / (sizes + sizes[:, None])
        np.fill_diagonal(cost, np.inf)
        one, other = sorted(int(index) for index in np.unravel_index(cost.argmin(), cost.shape))
        joins.append((joined[one], joined[other]))
        joined[one] = joined[one] + joined[other]
        weights = sizes[[one, other]]
        places[one] = weights @ places[[one, other]] / weights.sum()
        sizes[one] = weights.sum()
        places, sizes = np.delete(places, other, axis=0), np.delete(sizes, other)
        del joined[other]
    return joins
