"""Draws Mermaid's flow charts as SVG, so that a reader's browser needs no script and no network.

Of Mermaid it knows what CONTRIBUTING.md uses: arrows `a --> b`, dotted ones with a word
`a -. word .-> b`, and `a & b` on either side. Boxes stand in layers, each below all that point to
it; arrows that pass a layer have a place in it, and places are ordered and moved towards what they
are joined to.
"""

from __future__ import annotations

import html
import itertools
import re
import statistics
from collections.abc import Iterable, Iterator

_ARROW = re.compile(r"(.+?) (?:-->|-\. (\w+) \.->) (.+)")

# Sizes in the SVG's own units, which are pixels; a letter of size 14 is about 8 wide.
_HEIGHT, _LETTER, _MARGIN, _BETWEEN_LAYERS, _BETWEEN_BOXES = 30, 7.6, 22, 84, 14
_SWEEPS = 24

Place = str | tuple[int, int]  # a box by its name; (arrow, layer) where an arrow passes
Points = list[tuple[float, float]]


def svg(chart: str) -> str:
    """A flow chart as SVG in HTML; its colours are those of the text around it.

    Raises:
        ValueError: if a line is more than arrows between names.
    """
    listed = list(arrows(chart))
    layers, paths = _layers(listed)
    x = _positions(layers, paths)
    y = {place: number * _BETWEEN_LAYERS for number, row in enumerate(layers) for place in row}
    left = min(x[place] - _width(place) / 2 for place in x) - 2
    right = max(x[place] + _width(place) / 2 for place in x) + 2
    top, height = -_HEIGHT / 2 - 2, (len(layers) - 1) * _BETWEEN_LAYERS + _HEIGHT + 4
    lines = [
        f'<div class="flow-chart"><svg viewBox="{left:.0f} {top:.0f} {right - left:.0f} '
        f'{height:.0f}" width="{right - left:.0f}" height="{height:.0f}" role="img" '
        'aria-label="flow chart">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for (_, word, _), path in zip(listed, paths, strict=True):
        lines += _arrow([(x[place], y[place]) for place in path], word)
    for name in (place for place in x if isinstance(place, str)):
        lines.append(
            f'<rect x="{x[name] - _width(name) / 2:.0f}" y="{y[name] - _HEIGHT / 2:.0f}" '
            f'width="{_width(name):.0f}" height="{_HEIGHT}" rx="4"/>'
            f'<text x="{x[name]:.0f}" y="{y[name]:.0f}">{html.escape(name)}</text>'
        )
    return "\n".join([*lines, "</svg></div>"])


def arrows(chart: str) -> Iterator[tuple[str, str, str]]:
    """(from, word or nothing, to) of each arrow.

    Raises:
        ValueError: if a line is more than arrows between names.
    """
    for line in chart.splitlines():
        found = _ARROW.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"flow charts are drawn of arrows between names, received {line!r}")
        for source in found[1].split(" & "):
            for target in found[3].split(" & "):
                yield source, found[2] or "", target


def _layers(listed: list[tuple[str, str, str]]) -> tuple[list[list[Place]], list[list[Place]]]:
    """The places in each layer, and those that each arrow goes through from its start."""
    depth = dict.fromkeys((name for source, _, target in listed for name in (source, target)), 0)
    downwards: list[tuple[str, str]] = []
    for source, word, target in sorted(listed, key=lambda arrow: bool(arrow[1])):
        if not (word and source in _below(target, downwards)):  # a dotted one may go upwards
            downwards.append((source, target))
    for _ in depth:  # a longest path has no more arrows than there are boxes
        for source, target in downwards:
            depth[target] = max(depth[target], depth[source] + 1)
    layers: list[list[Place]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, layer in depth.items():
        layers[layer].append(name)
    paths: list[list[Place]] = []
    for number, (source, _, target) in enumerate(listed):
        step = 1 if depth[source] < depth[target] else -1
        passed = [(number, layer) for layer in range(depth[source] + step, depth[target], step)]
        for place in passed:
            layers[place[1]].append(place)
        paths.append([source, *passed, target])
    return layers, paths


def _below(name: str, downwards: list[tuple[str, str]]) -> set[str]:
    """What can be reached from a box."""
    reached, more = set[str](), {name}
    while more:
        reached |= more
        more = {target for source, target in downwards if source in more} - reached
    return reached


def _positions(layers: list[list[Place]], paths: list[list[Place]]) -> dict[Place, float]:
    """The center of each place, from left to right."""
    joined: dict[Place, list[Place]] = {place: [] for row in layers for place in row}
    for path in paths:
        for first, second in itertools.pairwise(path):
            joined[first].append(second)
            joined[second].append(first)
    layer_of = {place: number for number, row in enumerate(layers) for place in row}
    x = {place: 100.0 * number for row in layers for number, place in enumerate(row)}
    for sweep in range(_SWEEPS):
        is_down = sweep % 2 == 0
        for row in layers if is_down else reversed(layers):
            wanted = {}
            for place in row:
                # At first by what stands on one side alone, which settles the order.
                others = [
                    x[other]
                    for other in joined[place]
                    if sweep >= _SWEEPS // 2 or (layer_of[other] < layer_of[place]) == is_down
                ]
                wanted[place] = statistics.fmean(others) if others else x[place]
            if sweep < _SWEEPS // 2:
                row.sort(key=wanted.__getitem__)
            x.update(_apart(row, wanted))
    return x


def _apart(row: list[Place], wanted: dict[Place, float]) -> Iterable[tuple[Place, float]]:
    """Places of one layer as near to where they want to be as their widths allow (squares)."""
    offsets, end = [], 0.0
    for place in row:
        offsets.append(end + _width(place) / 2)
        end += _width(place) + _BETWEEN_BOXES
    # Places that would overlap move together, as in isotonic regression.
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(row, offsets, strict=True):
        mean, count = wanted[place] - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean = (before * others + mean * count) / (others + count)
            count += others
        blocks.append((mean, count))
    starts = [mean for mean, count in blocks for _ in range(count)]
    return [(place, start + at) for place, start, at in zip(row, starts, offsets, strict=True)]


def _width(place: Place) -> float:
    return len(place) * _LETTER + _MARGIN if isinstance(place, str) else 12.0


def _arrow(points: Points, word: str) -> list[str]:
    (x0, y0), (x1, y1) = points[0], points[-1]
    half = _HEIGHT / 2 if y1 > y0 else -_HEIGHT / 2
    if y1 < y0:  # upwards, beside the arrow that comes down
        x0, x1 = x0 + 14, x1 + 14
    points = [(x0, y0 + half), *points[1:-1], (x1, y1 - half)]
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (xa, ya), (xb, yb) in itertools.pairwise(points):
        middle = (ya + yb) / 2
        path += f" C{xa:.1f} {middle:.1f} {xb:.1f} {middle:.1f} {xb:.1f} {yb:.1f}"
    kind = ' class="dotted"' if word else ""
    lines = [f'<path d="{path}" marker-end="url(#arrow)"{kind}/>']
    if word:
        (xa, ya), (xb, yb) = points[:2]
        x, y = (xa + xb) / 2, (ya + yb) / 2
        lines.append(f'<text class="word" x="{x:.0f}" y="{y:.0f}">{html.escape(word)}</text>')
    return lines
