"""One self-contained HTML page from plain values: no script, light and dark, on paper too.

Every function takes plain text and returns `Html`; what is `Html` already is not escaped again.
"""

from __future__ import annotations

import base64
import html
import struct
from collections.abc import Iterable, Sequence

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END = b"IEND\xaeB`\x82"
_PIXELS_PER_INCH = 96 / 150  # CSS pixels a pixel of our figures, which are drawn at 150 dpi

_STYLE = """
:root { color-scheme: light dark; --text: #1c2126; --soft: #5a646e; --line: #d5dade;
  --back: #ffffff; --card: #f5f7f8; --accent: #0b5c94; --warn: #8a4b00; --warnback: #fff3df; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8eb; --soft: #9aa5ae; --line: #3a434b;
  --back: #14181b; --card: #1d2327; --accent: #7cbcec; --warn: #ffcf8b; --warnback: #3a2a10; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 52rem; padding: 1.5rem 1rem 4rem; background: var(--back);
  color: var(--text); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.6rem; padding-top: 0.6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 0.4rem; }
p { margin: 0.6rem 0; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
code { font: 0.86em/1.4 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
nav { background: var(--card); border-radius: 6px; padding: 0.6rem 1rem; font-size: 0.93rem; }
nav a { display: inline-block; margin-right: 1.1rem; }
.soft, figcaption, caption { color: var(--soft); font-size: 0.9rem; }
.banner { background: var(--warnback); color: var(--warn); border-radius: 6px;
  padding: 0.6rem 1rem; }
.scroll { overflow-x: auto; margin: 0.8rem 0 1.2rem; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.35rem; }
th, td { padding: 0.28rem 0.9rem 0.28rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { border-bottom: 1.5px solid var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; min-width: 8.5rem; }
td.number, th.number { text-align: right; white-space: nowrap; }
td a { color: inherit; border-bottom: 1px dotted var(--soft); }
figure { margin: 1rem 0 1.6rem; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff;
  border-radius: 4px; }
@media (prefers-color-scheme: dark) { figure img { padding: 6px; } }
figcaption { margin-top: 0.4rem; }
details { margin: 0.5rem 0; }
@media print {
  :root { --text: #000; --soft: #444; --line: #bbb; --back: #fff; --card: #fff; --accent: #000; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  figure img { max-height: 22cm; object-fit: contain; object-position: left; }
  .scroll { overflow: visible; }
  table { font-size: 8.5pt; }
  th, td { padding-right: 0.6rem; }
}
"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Text = str | Html


def escaped(text: Text) -> Html:
    """The text as HTML; `Html` stays as it is."""
    return text if isinstance(text, Html) else Html(html.escape(text))


def joined(parts: Iterable[Text], between: str = "") -> Html:
    """The parts one behind another."""
    return Html(between.join(escaped(part) for part in parts))


def link(text: Text, address: str, title: str = "") -> Html:
    """A link; the title shows what stands there."""
    hint = f' title="{html.escape(title)}"' if title else ""
    return Html(f'<a href="{html.escape(address)}"{hint}>{escaped(text)}</a>')


def code(text: str) -> Html:
    """What is typed, or a file's name."""
    return Html(f"<code>{html.escape(text)}</code>")


def paragraph(*parts: Text, soft: bool = False) -> Html:
    """Sentences, with a blank between them; empty ones are left out."""
    text = joined((part for part in parts if part), " ")
    return Html(f'<p class="soft">{text}</p>' if soft else f"<p>{text}</p>") if text else Html("")


def banner(text: Text) -> Html:
    """What nobody may overlook."""
    return Html(f'<p class="banner" role="note">{escaped(text)}</p>')


def heading(text: str, anchor: str = "") -> Html:
    """A section's title, which the page's list of contents leads to where it has an anchor."""
    if anchor:
        return Html(f'<h2 id="{html.escape(anchor)}">{html.escape(text)}</h2>')
    return Html(f"<h3>{html.escape(text)}</h3>")


def table(
    header: Sequence[Text], rows: Iterable[Sequence[Text]], *, caption: Text = "", words: int = 1
) -> Html:
    """A table that scrolls by itself where the window is narrow.

    Args:
        header: one text a column.
        rows: one text a cell; the first of a row names it.
        caption: above the table.
        words: columns from the left that hold words; numbers in the others are aligned right.

    Raises:
        ValueError: if a row has another length than the header.
    """
    lines = []
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {len(header)} cells is needed, received {len(row)}")
        cells = [f'<th scope="row">{escaped(row[0])}</th>']
        for column, cell in enumerate(row[1:], start=1):
            kind = "" if column < words else ' class="number"'
            cells.append(f"<td{kind}>{escaped(cell)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    titles = "".join(
        f'<th scope="col"{"" if column < words else " class=" + chr(34) + "number" + chr(34)}>'
        f"{escaped(title)}</th>"
        for column, title in enumerate(header)
    )
    above = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return Html(
        f'<div class="scroll"><table>{above}<thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def figure(png: bytes, description: str, caption: Text) -> Html:
    """A picture inside the page.

    Args:
        png: the file's content.
        description: for those who cannot see it.
        caption: below it.

    Raises:
        ValueError: if it is no PNG file, or half of one.
    """
    if not png.startswith(_PNG) or not png.endswith(_PNG_END):
        raise ValueError("no whole PNG file")
    width, height = struct.unpack(">II", png[16:24])
    shown = [round(side * _PIXELS_PER_INCH) for side in (width, height)]
    content = base64.b64encode(png).decode("ascii")
    return Html(
        f'<figure><img src="data:image/png;base64,{content}" width="{shown[0]}" '
        f'height="{shown[1]}" alt="{html.escape(description)}">'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
    )


def details(summary: Text, content: Html) -> Html:
    """What is shown when its title is chosen."""
    return Html(f"<details><summary>{escaped(summary)}</summary>{content}</details>")


def document(title: str, contents: Sequence[tuple[str, str]], parts: Iterable[Html]) -> str:
    """The whole page.

    Args:
        title: of the window and at the top.
        contents: (anchor, text) of each section.
        parts: what stands on it.
    """
    places = "\n".join(
        f'<a href="#{html.escape(anchor)}">{html.escape(text)}</a>' for anchor, text in contents
    )
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{html.escape(title)}</h1>\n<nav aria-label="Contents">\n{places}\n</nav>\n'
        f"{body}\n</body>\n</html>\n"
    )
