"""Scatter plots of codes from arrays, as `matplotlib.figure.Figure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kerasunsup.figures import style

_MOST_CODES = 2000  # of a set, in a picture of drawn codes


@style.styled
def encoded_space(
    principal: np.ndarray,
    explained: Sequence[float],
    tsne: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """The codes in two dimensions: principal components on the left, t-SNE on the right.

    A class is written at the median of its codes: its name if that is short, else its number,
    which a legend explains.

    Args:
        principal: (n, 2), or (n, 1) for codes of one dimension.
        explained: (2,), or (1,): shares of the codes' variance, in [0, 1].
        tsne: (n, 2).
        labels: (n,), integers >= 0; only colours and names follow from them. None: one colour.
        class_names: of the classes 0, 1, ...; None prints the numbers.

    Raises:
        ValueError: if the lengths differ or a label has no name.

    Example:
        >>> points = np.eye(3, 2)
        >>> figure = encoded_space(points, [0.7, 0.2], points, labels=np.array([0, 1, 1]))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0', '1']
    """
    principal, tsne = np.asarray(principal, float), np.asarray(tsne, float)
    explained = [float(share) for share in explained]
    if principal.ndim == 2 and principal.shape[1] == 1:
        principal, explained = np.pad(principal, ((0, 0), (0, 1))), [*explained[:1], 0.0]
    if principal.shape != tsne.shape or principal.shape[1:] != (2,) or len(explained) < 2:
        raise ValueError(
            "principal and tsne must be (n, 2) with two explained shares, received "
            f"{principal.shape}, {tsne.shape} and {len(explained)}"
        )
    order, keys, colors, handles = _classes(labels, class_names, len(principal))
    columns = style.num_columns([str(handle.get_label()) for handle in handles] or [""], 7.0)
    rows = -(-len(handles) // columns)
    figure = Figure(figsize=(7.4, 3.8 + 0.18 * rows), layout="constrained")
    left, right = figure.subplots(1, 2)
    _scatter(left, principal, order, keys, colors)
    _scatter(right, tsne, order, keys, colors)
    for axis, number, share in ((left.xaxis, 1, explained[0]), (left.yaxis, 2, explained[1])):
        axis.set_label_text(f"principal component {number} ({share:.0%} of the variance)")
    left.set_title("linear: principal components")
    right.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    right.set_title("neighbours kept: t-SNE")
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


@style.styled
def code_plane(
    plane: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    decoded: np.ndarray,
    axis_names: tuple[str, str],
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Codes in a plane, and beside them what the codes of a grid in it decode to.

    Args:
        plane: (n, 2), the codes.
        places: (columns,) and (rows,), ascending: where the grid lies along the two axes. Short
            lines on the axes show it.
        decoded: (rows * columns, height, width, 1|3) in [0, 1], from the left, the upper row, of
            the largest second number, first.
        axis_names: of the plane.
        labels: (n,), integers >= 0, as for `encoded_space`.
        class_names: as for `encoded_space`.

    Raises:
        ValueError: if the shapes do not fit together or a label has no name.

    Example:
        >>> places = np.array([0.0, 1.0]), np.array([0.0, 1.0])
        >>> figure = code_plane(np.eye(2), places, np.zeros((4, 8, 8, 1)), ("a", "b"))
        >>> figure.axes[0].get_xlabel()
        'a'
    """
    columns, rows = map(len, places)
    plane, decoded = np.asarray(plane, float), np.asarray(decoded, float)
    if plane.shape[1:] != (2,) or decoded.ndim != 4 or len(decoded) != rows * columns:
        raise ValueError(
            f"a plane needs codes (n, 2) and {rows} x {columns} images, received {plane.shape} and "
            f"{decoded.shape}"
        )
    order, keys, colors, handles = _classes(labels, class_names, len(plane))
    lines = -(-len(handles) // style.num_columns([str(h.get_label()) for h in handles] or [""], 7))
    figure = Figure(figsize=(7.4, 3.7 + 0.18 * lines), layout="constrained")
    left, right = figure.subplots(1, 2)
    _scatter(left, plane, order, keys, colors)
    left.set(xlabel=axis_names[0], ylabel=axis_names[1], title="codes")
    for place in places[0]:
        left.axvline(place, ymax=0.02, color="0.3", linewidth=0.8)
    for place in places[1]:
        left.axhline(place, xmax=0.02, color="0.3", linewidth=0.8)
    height, width, channels = decoded.shape[1:]
    cells = np.clip(decoded, 0.0, 1.0).reshape(rows, columns, height, width, channels)
    montage = cells.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
    right.imshow(np.broadcast_to(montage, (*montage.shape[:2], 3)))
    right.set(xticks=[], yticks=[], title="decoded, at the marks of both axes")
    right.set(xlabel=f"{axis_names[0]}, larger to the right", ylabel=f"{axis_names[1]}, larger up")
    if handles:
        columns = style.num_columns([str(handle.get_label()) for handle in handles], 7.0)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


def _classes(
    labels: np.ndarray | None, names: Sequence[str] | None, number: int
) -> tuple[np.ndarray, list[str], np.ndarray, list[Line2D]]:
    """The class of each code from 0, (number,); a text and a colour a class; a legend's entries."""
    if labels is None:
        return np.zeros(number, int), [], np.array([to_rgba(style.COLORS[0])]), []
    if np.shape(labels) != (number,):
        raise ValueError(f"received labels {np.shape(labels)} for {number} codes")
    classes, order = np.unique(labels, return_inverse=True)
    if names is not None and classes[-1] >= len(names):
        raise ValueError(f"label {classes[-1]} has no name: received {len(names)} class_names")
    most = max(len(classes), int(classes[-1]) + 1)
    if most > 20:
        colors = colormaps["turbo"](np.arange(len(classes)) / len(classes))
    else:
        colors = colormaps["tab10" if most <= 10 else "tab20"](classes)
    keys = [str(label) for label in classes]
    texts = keys if names is None else [style.shortened(names[label]) for label in classes]
    if max(map(len, texts)) <= 2:
        return order, texts, colors, []
    handles = [
        Line2D([], [], linestyle="", marker="o", color=color, label=f"{key}: {text}")
        for key, text, color in zip(keys, texts, colors, strict=True)
    ]
    return order, keys, colors, handles


@style.styled
def code_marginals(codes: np.ndarray, samples: Mapping[str, np.ndarray]) -> Figure:
    """Where codes drawn in several ways lie, beside the codes of the training images.

    Above, the plane of the training codes' first two principal components. Below, the distances
    from drawn codes to the nearest training code, in the whole encoded space; for comparison the
    distances from training codes to the nearest other one. At most 2,000 codes of each are used.

    Args:
        codes: (n, dim), of the training images, n >= 3.
        samples: name of the way of drawing -> (m, dim), m >= 1.

    Raises:
        ValueError: if there are no samples or the shapes do not fit together.

    Example:
        >>> figure = code_marginals(np.eye(3), {"gaussian": np.ones((2, 3))})
        >>> figure.axes[0].get_title()
        'gaussian'
    """
    codes, *sets = (
        np.asarray(values, float)[:: 1 + (len(values) - 1) // _MOST_CODES]
        for values in (codes, *samples.values())
    )
    if not sets:
        raise ValueError("code_marginals needs at least one set of samples, received none")
    is_of_codes = [len(values) and values.shape[1:] == codes.shape[1:] for values in sets]
    if codes.ndim != 2 or len(codes) < 3 or not all(is_of_codes):
        raise ValueError(
            "codes and samples must be (n, dim) of as many dimensions, with 3 and 1 rows or more, "
            f"received {codes.shape} and {', '.join(str(values.shape) for values in sets)}"
        )
    drawn = dict(zip(samples, sets, strict=True))
    mean, plane = codes.mean(axis=0), _principal_plane(codes)
    columns = len(drawn) if len(drawn) <= 4 else 3
    num_rows = -(-len(drawn) // columns)
    figure = Figure(
        figsize=(max(4.2, 2.35 * columns + 0.5), 2.3 * num_rows + 2.5), layout="constrained"
    )
    parts = figure.subfigures(2, 1, height_ratios=[2.3 * num_rows, 2.5])
    upper, lower = np.asarray(parts, dtype=object)
    grid = upper.subplots(num_rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, (name, values) in enumerate(drawn.items()):
        axes = grid.flat[index]
        axes.scatter(*((codes - mean) @ plane).T, s=3, color="0.72", linewidths=0)
        color = style.look(index)["color"]
        axes.scatter(*((values - mean) @ plane).T, s=2, color=color, linewidths=0)
        axes.set_title(name)
    for index in range(len(drawn), grid.size):
        grid.flat[index].set_visible(False)
        grid.flat[index - columns].tick_params(labelbottom=True)  # it is the lowest now
    size = style.FONT_SIZE
    upper.supxlabel("principal component 1 of the training codes / code units", fontsize=size)
    upper.supylabel("component 2 / code units", fontsize=size)
    upper.suptitle("training codes (grey) and drawn codes (colour)", fontsize=size + 1)
    _draw_distances(lower, codes, drawn)
    return figure


def _principal_plane(codes: np.ndarray) -> np.ndarray:
    """The first two principal directions of codes, (dim, 2); zeros where there is no second."""
    _, _, components = np.linalg.svd(codes - codes.mean(axis=0), full_matrices=False)
    plane = np.zeros((codes.shape[1], 2))
    plane[:, : min(2, len(components))] = components[:2].T
    return plane


def _draw_distances(figure: Any, codes: np.ndarray, drawn: Mapping[str, np.ndarray]) -> None:
    """Histograms of the distances from codes to the nearest of the training codes."""
    from scipy.spatial import KDTree  # loads slowly

    tree = KDTree(codes)
    own = tree.query(codes, k=2)[0][:, 1]  # the nearest is the code itself
    distances = {name: tree.query(values)[0] for name, values in drawn.items()}
    most = max(float(values.max()) for values in (own, *distances.values())) or 1.0
    options: dict[str, Any] = {"bins": np.linspace(0.0, most, 61)}
    axes = figure.add_subplot(xlim=(0.0, most), ylabel="codes / % in each bin")
    axes.set_xlabel("distance to the nearest training code / code units")
    weights = np.full(len(own), 100.0 / len(own))
    axes.hist(own, weights=weights, color="0.8", label="training codes, to another one", **options)
    for index, (name, values) in enumerate(distances.items()):
        look = style.look(index)
        axes.hist(
            values, weights=np.full(len(values), 100.0 / len(values)), histtype="step",
            color=look["color"], linestyle=look["linestyle"], label=name, **options,
        )  # fmt: skip
    figure.legend(loc="outside upper center", ncols=2 if len(drawn) <= 3 else 3)


def _scatter(
    axes: Any, points: np.ndarray, order: np.ndarray, keys: Sequence[str], colors: np.ndarray
) -> None:
    """Points in the colours of their classes, whose keys stand at the medians."""
    size = float(np.clip(9000.0 / max(1, len(points)), 2.0, 16.0))
    axes.scatter(*points.T, s=size, color=colors[order], alpha=0.7, linewidths=0)
    axes.set(xticks=[], yticks=[])
    if not keys:
        return
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    medians = np.array([np.median(points[order == index], axis=0) for index in range(len(keys))])
    places = low + (high - low) * _apart((medians - low) / (high - low))
    for key, place, color in zip(keys, places, colors, strict=True):
        axes.text(
            *place, key, color=0.6 * color[:3], fontsize=10 if len(keys) <= 20 else 7,
            weight="bold", ha="center", va="center",
            path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _apart(places: np.ndarray) -> np.ndarray:
    """Places of short texts in a panel, (n, 2) in [0, 1], moved apart as little as it takes."""
    room = np.array([0.075, 0.06]) if len(places) <= 20 else np.array([0.055, 0.04])
    angles = np.arange(len(places))
    places = places / room + 0.01 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for _ in range(300):
        gaps = places[:, None] - places
        distances = np.linalg.norm(gaps, axis=-1) + np.eye(len(places))
        overlaps = np.maximum(1.0 - distances, 0.0)
        if not overlaps.any():
            break
        places += 0.5 * ((overlaps / distances)[..., None] * gaps).sum(axis=1)
        places = np.clip(places, 0.5, 1.0 / room - 0.5)
    return places * room
