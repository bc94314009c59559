"""What the README and the pages in docs say is what the program takes."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
from readme_pages import PAGES, README, ROOT, TEXT

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import __main__ as apply
from kerasunsup.report import __main__ as report
from kerasunsup.settings import Command, to_json


def test_the_two_commands_come_first():
    blocks = re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    assert blocks[0].splitlines() == [
        "pip install -e . && python -m kerasunsup.ae",
        "pip install -e '.[test]' && python -m pytest",
    ]


@pytest.mark.parametrize(
    "line",
    sorted(
        set(re.findall(r"python -m kerasunsup\.(?:ae|gan|supervised|novelty)(?: [^`\n]*)?", TEXT))
    ),
)
def test_every_command_line_is_understood(line, tmp_path):
    experiment, *arguments = shlex.split(line)[2:]
    resumes = "--resume" in arguments
    if resumes:  # it needs a run that stands there
        folder = tmp_path / "ae" / "RUN"
        folder.mkdir(parents=True)
        stored = to_json(AutoencoderSettings())
        (folder / "config.json").write_text(json.dumps(stored))
        arguments += ["--logs", str(tmp_path)]
    if "--help" in arguments:
        with pytest.raises(SystemExit) as ended:
            parse(experiment, arguments)
        assert ended.value.code == 0
    else:
        assert parse(experiment, arguments).resume is resumes


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"python -m kerasunsup\.apply [a-z][^`\n]*", TEXT)))
)
def test_every_command_line_of_apply_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("index").mkdir()
    Path("index/index.npz").touch()  # what `encode` left there
    parsed = apply.parse(shlex.split(line)[3:])
    assert parsed.verb in line
    assert parsed.output.name in line


def parse(experiment: str, arguments: list[str]) -> Command:
    return importlib.import_module(f"{experiment}.__main__").parse(arguments)


def test_every_picture_and_page_is_there_and_every_picture_is_used():
    used = set()
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
            used.add((page.parent / target).resolve())
    pictures = {path.resolve() for path in (ROOT / "docs").glob("*.png")}
    assert len(pictures) >= 10
    assert pictures <= used


def test_the_readme_is_short():
    assert len(README.splitlines()) < 120


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"python -m kerasunsup\.report(?: [^`\n]*)?", TEXT)))
)
def test_every_command_line_of_the_report_is_understood(line):
    report.parse(shlex.split(line)[3:])
