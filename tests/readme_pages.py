"""The README and the pages in docs."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
PAGES[ROOT / "README.md"] = README
TEXT = "\n".join(PAGES.values())
