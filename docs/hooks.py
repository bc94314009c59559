"""What MkDocs does for the site beside building `docs/`: see `mkdocs.yml`.

- Files that pages link to outside `docs/`, such as CONTRIBUTING.md, become a part of the site.
- The line `<!-- README.md: Results -->` receives that section of the README.
- Mermaid's flow charts stay text: a reader's browser needs no script and no network.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_SECTION = re.compile(r"^<!-- README\.md: (.+) -->$", re.MULTILINE)


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
    """The text of a page with its sections of the README, and links."""
    file = page.file
    source = Path(file.abs_src_path if file.generated_by else DOCS / file.src_uri)
    markdown = _links(markdown, source, file.src_uri)
    markdown = _SECTION.sub(lambda found: _section(found[1], file.src_uri), markdown)
    # A narrow column breaks no "97.0 ± 0.1".
    return markdown.replace(" ± ", "\u00a0±\u00a0")


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
