"""CONTRIBUTING.md names files that exist, and its picture is the table of who imports whom."""

import re
from pathlib import Path

import pytest
from test_house import MAY_IMPORT, PACKAGE

ROOT = PACKAGE.parent
PAGE = ROOT / "CONTRIBUTING.md"
if not PAGE.exists():
    pytest.skip("the package is installed apart from its checkout", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")


def _arrows():
    """(from, to, the one module that may be imported or nothing) of each arrow of the picture."""
    picture = TEXT.split("flowchart TD\n")[1].split("```")[0]
    for line in picture.splitlines():
        sources, module, targets = re.fullmatch(
            r"\s*(.+?) (?:-->|-\. (\w+) \.->) (.+)", line
        ).groups()
        for source in sources.split(" & "):
            for target in targets.split(" & "):
                yield source, target, module


def test_each_arrow_of_the_picture_is_allowed_and_what_is_allowed_can_be_reached():
    below = {folder: set() for folder in MAY_IMPORT}
    for source, target, module in _arrows():
        assert (f"{target}.{module}" if module else target) in MAY_IMPORT[source]
        below[source].add(target)
    for folder, allowed in MAY_IMPORT.items():
        reached, more = set(), below[folder]
        while more - reached:
            reached |= more
            more = set().union(*(below[other] for other in reached))
        assert {name.split(".")[0] for name in allowed} <= reached, folder


def test_every_path_exists():
    paths = set(re.findall(r"`([\w.<>]+/[\w./<>]*)`", TEXT))
    assert len(paths) > 15
    for path in paths:
        pattern = path.replace("<command>", "ae").replace("<source>", "folder")
        assert (ROOT / Path(pattern)).exists(), path
