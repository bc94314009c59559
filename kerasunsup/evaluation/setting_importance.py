"""How much of an error each setting explains, from trials of a search."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeRegressor


@dataclasses.dataclass(frozen=True)
class Importance:
    """What a forest says of the settings.

    Attributes:
        shares: (num_trees, num_columns), of the variance over the space that follows from one
            column alone; a row sums to 1 at most. Trees that say the same everywhere have no row.
        explained: of the variance of the targets by trees that did not see them (R squared): 1 is
            all, 0 or less nothing.

    Example:
        >>> Importance(np.array([[0.8, 0.1], [0.6, 0.2]]), 0.9).shares.mean(axis=0).round(2)
        array([0.7 , 0.15])
    """

    shares: np.ndarray
    explained: float


def main_effects(
    points: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    values: Sequence[np.ndarray | None],
    *,
    num_trees: int = 200,
    seed: int = 0,
) -> Importance:
    """The main effect of each column, by functional analysis of variance over a random forest.

    A tree is constant on boxes, so the mean of its answer over all columns but one is known: the
    variance of that mean over the one, as a share of the variance over the whole space, is its main
    effect; what main effects leave is what columns do together. Unlike the loss by permuted columns
    it does not depend on where a search has looked more often.

    Args:
        points: (num_trials, num_columns), float.
        targets: (num_trials,), float: what is to be explained, such as the log of an error.
        groups: (num_trials,): trials of one group, such as a trial and what it was continued to,
            are seen by a tree together or not at all.
        values: of each column those that are equally likely, float (num_values,); None: all of
            [0, 1] evenly. A column with one value is held there: it helps the trees to tell the
            trials apart and has no effect of its own.
        num_trees: of the forest, each grown until every leaf has one target, on a bootstrap
            sample of the groups.
        seed: of samples and trees.

    Raises:
        ValueError: if the lengths differ or there are less than two groups.

    Example:
        >>> points = np.random.default_rng(0).random((60, 2))
        >>> found = main_effects(points, 3.0 * points[:, 0], np.arange(60), [None, None])
        >>> [float(round(share, 1)) for share in found.shares.mean(axis=0)]
        [1.0, 0.0]

    Source:
        Hutter, Hoos & Leyton-Brown, 2014, An efficient approach for assessing hyperparameter
        importance (functional ANOVA). Theirs is a plain bootstrap; ours keeps groups together.
    """
    names, rows_of = np.unique(groups, return_inverse=True)
    _check(points, targets, groups, values, len(names))
    random = np.random.default_rng(seed)
    shares, answers = [], np.full((num_trees, len(targets)), np.nan)  # of unseen trials
    for number in range(num_trees):
        drawn = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        times = drawn[rows_of]
        tree = DecisionTreeRegressor(random_state=int(random.integers(2**31)))
        tree.fit(points[times > 0], targets[times > 0], sample_weight=times[times > 0])
        if (times == 0).any():
            answers[number, times == 0] = tree.predict(points[times == 0])
        effects = _main_effects_of_tree(tree.tree_, values)
        if effects is not None:
            shares.append(effects)
    stacked = np.reshape(shares, (len(shares), points.shape[1]))
    return Importance(stacked, _explained(targets, answers))


def _check(points: Any, targets: Any, groups: Any, values: Any, num_groups: int) -> None:
    """Raises `ValueError` for what does not fit together or is too little."""
    if not len(points) == len(targets) == len(groups) or points.shape[1] != len(values):
        raise ValueError(
            f"received {points.shape} points with {len(targets)} targets, {len(groups)} groups "
            f"and {len(values)} columns of values"
        )
    if num_groups < 2:
        raise ValueError(f"two groups of trials are needed at least, received {num_groups}")


def _explained(targets: np.ndarray, answers: np.ndarray) -> float:
    """R squared of the mean over trees; (num_trees, num_trials) answers are NaN where seen."""
    known = np.isfinite(answers).any(axis=0)
    targets, answers = targets[known], np.nanmean(answers[:, known], axis=0)
    spread = np.square(targets - targets.mean()).sum()
    return float(1.0 - np.square(targets - answers).sum() / spread) if spread > 0.0 else 0.0


def _main_effects_of_tree(tree: Any, values: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """(num_columns,), the share of each column alone; None for a tree that is constant."""
    answers, lowest, highest = _leaves(tree, len(values))
    inside, weights = [], []
    for column, choices in enumerate(values):
        if choices is None:
            cuts = np.unique(tree.threshold[tree.feature == column])
            edges = np.array([0.0, *cuts[(cuts > 0.0) & (cuts < 1.0)], 1.0])
            centres, weight = (edges[1:] + edges[:-1]) / 2.0, np.diff(edges)
        else:
            centres, weight = choices, np.full(len(choices), 1.0 / len(choices))
        # (num_leaves, num_cells)
        inside.append((lowest[:, [column]] < centres) & (centres <= highest[:, [column]]))
        weights.append(weight)
    sizes = np.stack([cells @ weight for cells, weight in zip(inside, weights, strict=True)])
    mean = answers @ sizes.prod(axis=0)
    variance = np.square(answers - mean) @ sizes.prod(axis=0)
    if not variance > 1e-12 * max(mean**2, 1e-300):  # rounding
        return None
    effects = np.zeros(len(values))
    for column, (cells, weight) in enumerate(zip(inside, weights, strict=True)):
        others = np.delete(sizes, column, axis=0).prod(axis=0)
        marginal = (answers * others) @ cells  # (num_cells,)
        effects[column] = np.square(marginal - mean) @ weight / variance
    return effects


def _leaves(tree: Any, num_columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(num_leaves,) answers and (num_leaves, num_columns) borders: lowest < point <= highest."""
    answers, boxes = [], []
    start = np.tile([[-np.inf], [np.inf]], num_columns)
    nodes = [(0, start)]
    while nodes:
        node, box = nodes.pop()
        left, right = tree.children_left[node], tree.children_right[node]
        if left == right:  # a leaf has neither
            answers.append(tree.value[node, 0, 0])
            boxes.append(box)
            continue
        column, threshold = tree.feature[node], tree.threshold[node]
        for child, side in ((left, 1), (right, 0)):
            part = box.copy()
            part[side, column] = threshold
            nodes.append((child, part))
    borders = np.stack(boxes)
    return np.array(answers), borders[:, 0], borders[:, 1]
