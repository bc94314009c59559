"""The page of `apply browse`: one HTML file with all that it needs inside.

What it shows is one block of JSON (numbers of all images as base64 arrays) and sheets of
thumbnails. The page forbids itself every script but its own and every address but files beside it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.apply import browse_thumbnails
from kerasunsup.apply.browse_thumbnails import Thumbnails
from kerasunsup.data import images

_ASSETS = Path(__file__).parent / "browse_assets"
# In the order in which they build on each other; the first is d3's.
_SCRIPTS = ("d3.min.js", "data.js", "map.js", "keyboard.js", "filters.js", "details.js", "main.js")


@dataclasses.dataclass(frozen=True)
class Shown:
    """The images on a page.

    Attributes:
        names: of the images, as in the stream.
        codes: float32 (n, dim).
        places: float32 (n, 2) in [0, 1], on the map.
        groups: int64 (n,), from 0.
        scores: float64 (n,), how odd each image is.
        flags: row -> flag -> its value as text, of the images that have one.
        sizes: uint32 (n, 2), width and height in pixels; 0 where unknown.
        neighbors: int64 (n, k), the rows of the nearest images, nearest first.
        distances: float (n, k), of their codes.
        thumbnails: n small pictures; None where there are only vectors.
    """

    names: Sequence[str]
    codes: np.ndarray
    places: np.ndarray
    groups: np.ndarray
    scores: np.ndarray
    flags: Mapping[int, Mapping[str, str]]
    sizes: np.ndarray
    neighbors: np.ndarray
    distances: np.ndarray
    thumbnails: Thumbnails | None

    def flags_as_text(self) -> list[str]:
        """The flags of each image with blanks between them."""
        return [" ".join(self.flags.get(row, ())) for row in range(len(self.names))]


def page(
    shown: Shown,
    flags: Sequence[str],
    *,
    what: str,
    number: int,
    unreadable: Sequence[tuple[str, str]],
    compared_with: str,
    root: Path | None,
    folder: Path,
) -> bytes:
    """The page, UTF-8.

    Args:
        shown: the images on it.
        flags: all names that flags can have.
        what: what the user called the images.
        number: how many there are, on the page or not.
        unreadable: (name, reason) of each image that cannot be read.
        compared_with: what scores come from, in words.
        root: the folder that names start from; None where images are no files.
        folder: where the page will lie.
    """
    content = {
        "what": images.shown(what),
        "number": number,
        "unreadable": [[images.shown(name), reason] for name, reason in sorted(unreadable)],
        "comparedWith": images.shown(compared_with),
        "flagNames": list(flags),
        "root": _address(root, folder),
        **_of_each(shown, flags),
    }
    sheets = []
    if shown.thumbnails is not None:
        sheets = [base64.b64encode(sheet) for sheet in browse_thumbnails.sheets(shown.thumbnails)]
    scripts = [_text(name) for name in _SCRIPTS]
    style = _text("page.css")
    parts = {
        "title": _escaped(f"{images.shown(what)}: {number:,} images"),
        "policy": _policy(scripts, style),
        "style": style,
        "images": _json(content),
        "sheets": "".join(f'<script type="text/plain">{s.decode()}</script>\n' for s in sheets),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # In one pass: what is put in is not looked through for places again.
    filled = re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], _text("page.html"))
    return filled.encode("utf-8")


def _of_each(shown: Shown, flags: Sequence[str]) -> dict[str, Any]:
    """What the page knows of each image."""
    bits = np.zeros(len(shown.names), np.uint16)
    for row, found in shown.flags.items():
        bits[row] = sum(1 << flags.index(flag) for flag in found)
    names = [images.shown(name) for name in shown.names]
    strange = {
        row: urllib.parse.quote(os.fsencode(name))
        for row, (name, as_shown) in enumerate(zip(shown.names, names, strict=True))
        if name != as_shown
    }
    content: dict[str, Any] = {
        "names": names,
        "addresses": strange,  # of names that are not shown as they are
        "places": _base64(shown.places, "<f4"),
        "groups": _base64(shown.groups, "<u2"),
        "scores": _base64(shown.scores, "<f4"),
        "flags": _base64(bits, "<u2"),
        "values": {row: dict(found) for row, found in shown.flags.items()},
        "sizes": _base64(shown.sizes, "<u4"),
        "neighbors": _base64(shown.neighbors, "<u4"),
        "numNeighbors": shown.neighbors.shape[1],
    }
    if shown.thumbnails is not None:
        content["cell"] = shown.thumbnails.pixels.shape[1]
        content["perRow"] = browse_thumbnails.per_row(shown.thumbnails)
        content["thumbnailSizes"] = _base64(shown.thumbnails.sizes, "<u1")
    return content


def _address(root: Path | None, folder: Path) -> str | None:
    """Where images lie beside the page, as a relative address; None where they cannot be found."""
    if root is None:
        return None
    try:
        path = os.path.relpath(root.resolve(), folder.resolve())
    except ValueError:  # on another drive of Windows
        return None
    return urllib.parse.quote(os.fsencode(path.replace(os.sep, "/"))) + "/"


def _base64(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def _json(content: Any) -> str:
    """JSON in which no name can end the script that it stands in, or begin a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _policy(scripts: Sequence[str], style: str) -> str:
    """What browsers let the page do: run these scripts, and show pictures from files."""
    digests = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (*scripts, style)
    ]
    return (
        f"default-src 'none'; script-src {' '.join(digests[:-1])}; style-src {digests[-1]}; "
        "img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    # The digest is of what stands between the tags, whatever line ends a checkout has.
    return (_ASSETS / name).read_text(encoding="utf-8")
