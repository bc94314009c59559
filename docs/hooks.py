"""What MkDocs does for the site beside building `docs/`: see `mkdocs.yml`.

- Files that pages link to outside `docs/`, such as CONTRIBUTING.md, become a part of the site.
- The line `<!-- README.md: Results -->` receives that section of the README.
- Mermaid's flow charts are drawn here, as SVG: a reader's browser needs no script and no network.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grandalf.graphs import Edge, Graph, Vertex
from grandalf.layouts import SugiyamaLayout
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_SECTION = re.compile(r"^<!-- README\.md: (.+) -->$", re.MULTILINE)
_CHART = re.compile(r"^```mermaid\nflowchart TD\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ARROW = re.compile(r"(.+?) (?:-->|-\. (\w+) \.->) (.+)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the files of the repository that pages link to."""
    texts = [(DOCS / page.src_uri, page.content_string) for page in files.documentation_pages()]
    while texts:
        source, text = texts.pop()
        for target, _ in _LINK.findall(text):
            path = (source.parent / target).resolve()
            if not path.is_file() or DOCS in path.parents or ROOT not in path.parents:
                continue
            address = _address(path)
            if files.get_file_from_path(address) is None:
                files.append(File.generated(config, address, abs_src_path=str(path)))
                if path.suffix == ".md":
                    texts.append((path, path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The text of a page with its sections of the README, links and flow charts."""
    file = page.file
    source = Path(file.generated_by and file.abs_src_path or DOCS / file.src_uri)
    markdown = _links(markdown, source, file.src_uri)
    markdown = _SECTION.sub(lambda found: _section(found[1], file.src_uri), markdown)
    return _CHART.sub(lambda found: flow_chart(found[1]), markdown)


def _address(path: Path) -> str:
    """Where a file of the repository stands in the site."""
    if DOCS in path.parents:
        return path.relative_to(DOCS).as_posix()
    if path.parent == ROOT:
        return path.name.lower() if path.suffix == ".md" else path.name
    # MkDocs takes a README for the index of its folder.
    parts = path.relative_to(ROOT)
    if path.name == "README.md":
        parts = parts.parent.with_suffix(".md")
    return f"repository/{parts.as_posix()}"


def _links(markdown: str, source: Path, src_uri: str) -> str:
    """Links of a file as they must be in the site's page at `src_uri`."""

    def replaced(found: re.Match[str]) -> str:
        path = (source.parent / found[1]).resolve()
        if not path.is_file() or ROOT not in path.parents:
            return found[0]
        relative = os.path.relpath(_address(path), os.path.dirname(src_uri) or ".")
        return f"]({relative}{found[2] or ''})"

    return _LINK.sub(replaced, markdown)


def _section(title: str, src_uri: str) -> str:
    """A section of the README without its heading.

    Raises:
        ValueError: if there is none.
    """
    source = ROOT / "README.md"
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)",
        source.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise ValueError(f"README.md has no section {title!r}: name one that is there")
    return _links(found[1].strip(), source, src_uri)


# Sizes in the SVG's own units; a letter of the page's font is about 8 wide at size 14.
_HEIGHT, _LETTER, _MARGIN, _BETWEEN_LAYERS, _BETWEEN_BOXES = 32, 8.2, 28, 46, 22


class _Box:
    """What grandalf asks of a vertex: its size, and where its center goes."""

    def __init__(self, name: str) -> None:
        self.w, self.h, self.xy = len(name) * _LETTER + _MARGIN, _HEIGHT, (0.0, 0.0)


class _Path:
    """What grandalf asks of an edge: the points that it goes through."""

    def setpath(self, points: list[tuple[float, float]]) -> None:
        self.points = points


def arrows(chart: str) -> Iterator[tuple[str, str, str]]:
    """(from, text or nothing, to) of each arrow of a flow chart.

    Raises:
        ValueError: if a line is more than arrows between names.
    """
    for line in chart.splitlines():
        found = _ARROW.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"docs/hooks.py draws arrows between names only, received {line!r}")
        for source in found[1].split(" & "):
            for target in found[3].split(" & "):
                yield source, found[2] or "", target


def flow_chart(chart: str) -> str:
    """A flow chart as SVG in HTML; its colours are those of the text around it."""
    listed = list(arrows(chart))
    names = dict.fromkeys(name for source, _, target in listed for name in (source, target))
    boxes = {name: Vertex(name) for name in names}
    for name, box in boxes.items():
        box.view = _Box(name)
    edges = [Edge(boxes[source], boxes[target], data=text) for source, text, target in listed]
    for edge in edges:
        edge.view = _Path()
    (part,) = Graph(list(boxes.values()), edges).C  # one picture, all of it connected
    layout = SugiyamaLayout(part)
    layout.xspace, layout.yspace = _BETWEEN_BOXES, _BETWEEN_LAYERS
    layout.init_all(roots=[box for box in boxes.values() if not box.e_in()])
    layout.draw(10)
    return _svg(list(boxes.values()), edges)


def _svg(boxes: list[Vertex], edges: list[Edge]) -> str:
    left = min(box.view.xy[0] - box.view.w / 2 for box in boxes) - 4
    right = max(box.view.xy[0] + box.view.w / 2 for box in boxes) + 4
    top = min(box.view.xy[1] for box in boxes) - _HEIGHT / 2 - 4
    bottom = max(box.view.xy[1] for box in boxes) + _HEIGHT / 2 + 4
    width, height = right - left, bottom - top
    lines = [
        f'<div class="flow-chart"><svg viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="flow chart">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for edge in edges:
        points = edge.view.points
        (x0, y0), (x1, y1) = points[0], points[-1]
        points = [(x0, y0 + _HEIGHT / 2), *points[1:-1], (x1, y1 - _HEIGHT / 2)]
        kind = ' class="one-module"' if edge.data else ""
        lines.append(f'<path d="{_curve(points)}" marker-end="url(#arrow)"{kind}/>')
        if edge.data:
            x, y = points[len(points) // 2] if len(points) > 2 else _middle(points)
            lines.append(f'<text class="on-arrow" x="{x:.0f}" y="{y:.0f}">{edge.data}</text>')
    for box in boxes:
        (x, y), width = box.view.xy, box.view.w
        lines.append(
            f'<rect x="{x - width / 2:.0f}" y="{y - _HEIGHT / 2:.0f}" width="{width:.0f}" '
            f'height="{_HEIGHT}" rx="4"/>'
            f'<text x="{x:.0f}" y="{y:.0f}">{html.escape(box.data)}</text>'
        )
    return "\n".join([*lines, "</svg></div>"])


def _curve(points: list[tuple[float, float]]) -> str:
    """A path that leaves and enters each point from above to below."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        y = (y0 + y1) / 2
        path += f" C{x0:.1f} {y:.1f} {x1:.1f} {y:.1f} {x1:.1f} {y1:.1f}"
    return path


def _middle(points: list[tuple[float, float]]) -> tuple[float, float]:
    (x0, y0), (x1, y1) = points
    return (x0 + x1) / 2, (y0 + y1) / 2
