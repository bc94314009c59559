"""The Dockerfile is what `.ci/run_dockerfile.py` can run, and its context is what a wheel needs."""

from __future__ import annotations

import configparser
import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / "Dockerfile").exists():
    pytest.skip("the package is installed apart from its checkout", allow_module_level=True)
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location(
        "run_dockerfile", ROOT / ".ci" / "run_dockerfile.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_step_is_run_in_the_place_that_the_steps_before_it_made(
    runner, tmp_path, monkeypatch
):
    commands = []

    class Recorded(runner.Stage):
        def run(self, command):
            commands.append((self.folder, self.user, command[-1]))
            if "pip wheel" in command[-1]:
                self.path("/wheels").mkdir()
                assert self.path("kerasunsup/__main__.py").is_file()

    def new_stage(folder):
        folder.mkdir()
        return Recorded(folder)

    monkeypatch.setattr(runner, "new_stage", new_stage)
    last = runner.build(TEXT, tmp_path)
    assert [command.split()[0] for _, _, command in commands] == ["pip", "pip", "useradd"]
    assert [(folder, user) for folder, user, _ in commands] == [("/source", 0), ("/", 0), ("/", 0)]
    assert last.user > 0
    assert last.folder == "/work"
    assert last.path("/wheels").is_dir()


def test_a_step_of_another_kind_is_refused(runner, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "new_stage", runner.Stage)
    with pytest.raises(ValueError, match=r"HEALTHCHECK .* not known"):
        runner.build("FROM base\nHEALTHCHECK \\\n  NONE\n", tmp_path)


def test_image_starts_the_console_script(runner):
    steps = dict(runner.instructions(TEXT))
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    scripts = parser["options.entry_points"]["console_scripts"]
    (command,) = json.loads(steps["ENTRYPOINT"])
    assert scripts.split()[0] == command
    assert json.loads(steps["CMD"]) == ["--help"]


def test_context_holds_what_the_wheel_is_made_of_and_nothing_else(runner, tmp_path):
    runner.copy_context(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "LICENSE", "README.md", "kerasunsup", "pyproject.toml", "setup.cfg",
    }  # fmt: skip
    assert not list(tmp_path.rglob("__pycache__"))
