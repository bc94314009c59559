"""The rules of the house that hold while it is being moved into; the table of imports follows."""

import ast
import configparser
from pathlib import Path

import pytest

import kerasunsup

PACKAGE = Path(kerasunsup.__file__).parent
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def test_every_module_says_what_it_is_and_none_checks_by_assert():
    for module, tree in TREES.items():
        assert ast.get_docstring(tree), module
        assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == [], (
            module
        )
        names = set(module.split("."))
        assert (
            names & {"utils", "util", "common", "base", "helpers", "misc", "tuning", "logs"}
            == set()
        )


def test_packaging_names_every_file_of_the_packaged_data():
    setup = PACKAGE.parent / "setup.cfg"
    if not setup.exists():
        pytest.skip("the package is installed apart from its checkout")
    parser = configparser.ConfigParser()
    parser.read(setup, encoding="utf-8")
    patterns = parser["options.package_data"]["kerasunsup"].split()
    named = {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}
    files = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert len(files) >= 4
    assert files == named
