"""The tables of docs/export.md are what was measured, and its command lines are understood."""

import json
import re
import shlex

import pytest
from test_house import PACKAGE

from kerasunsup.export import __main__ as export

DOCS = PACKAGE.parent / "docs"
if not DOCS.exists():
    pytest.skip("the package is installed apart from its checkout", allow_module_level=True)
TEXT = (DOCS / "export.md").read_text(encoding="utf-8")
MEASURED = json.loads((DOCS / "export.json").read_text(encoding="utf-8"))
PARTS = ("encoder", "decoder", "autoencoder")


def cells(start: str) -> list[str]:
    line = [line for line in TEXT.splitlines() if line.startswith(f"| {start} |")][-1]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


@pytest.mark.parametrize("file_format", sorted(MEASURED["formats"]))
def test_differences_and_sizes_are_those_that_were_measured(file_format):
    parts = MEASURED["formats"][file_format]
    assert cells(f"`{file_format}`") == [
        f"{parts[name]['batch_64']:.1e}, {parts[name]['bytes'] / 1e6:.2f} MB" for name in PARTS
    ]
    assert max(parts[name][f"batch_{size}"] for name in PARTS for size in (1, 64)) < 1e-5


@pytest.mark.parametrize("number", sorted(MEASURED["int8"]))
def test_errors_of_integers_are_those_that_were_measured(number):
    parts = MEASURED["int8"][number]
    assert cells(f"{int(number):,} images") == [
        f"{parts[name]['int8/test/mse']:.5f}, {parts[name]['bytes'] / 1e6:.2f} MB" for name in PARTS
    ]
    assert {parts[name]["float32/test/mse"] for name in PARTS} == {
        MEASURED["int8"]["500"]["encoder"]["float32/test/mse"]
    }


@pytest.mark.parametrize("line", re.findall(r"^kerasunsup export .*$", TEXT, flags=re.MULTILINE))
def test_every_command_line_is_understood(line):
    command = export.parse(shlex.split(line)[2:])
    assert command.config.format in line
