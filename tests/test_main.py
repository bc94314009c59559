"""`python -m kerasunsup` and the console script: what it lists and what it starts."""

import importlib
import importlib.metadata
import runpy
import shutil
import subprocess
import sys

import pytest

import kerasunsup
from kerasunsup import __main__
from kerasunsup.ae import __main__ as ae


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_commands_are_listed(capsys, arguments):
    assert __main__.main(arguments) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: kerasunsup COMMAND")
    for name, what in __main__._COMMANDS.items():
        assert f"  {name} " in text
        assert what in text


def test_every_listed_command_is_a_module_with_a_main():
    for name in __main__._COMMANDS:
        assert callable(importlib.import_module(f"kerasunsup.{name}.__main__").main)


def test_version_is_that_of_the_installed_package(capsys):
    assert __main__.main(["--version"]) == 0
    assert capsys.readouterr().out == f"kerasunsup {kerasunsup.__version__}\n"
    assert importlib.metadata.version("kerasunsup") == kerasunsup.__version__


@pytest.mark.parametrize("word", ["a", "AE", "train", "config", "--verbose", ""])
def test_unknown_command_is_refused_with_what_there_is(capsys, word):
    assert __main__.main([word, "--help"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    listed = "ae, gan, supervised, novelty, apply, export, report"
    assert output.err == f"kerasunsup: unknown command {word!r}: use one of {listed}\n"


def test_command_gets_its_arguments_and_gives_its_status(monkeypatch):
    received = []

    def main(argv):
        received.append(argv)
        return 130

    monkeypatch.setattr(ae, "main", main)
    assert __main__.main(["ae", "--epochs", "3"]) == 130
    monkeypatch.setattr(sys, "argv", ["kerasunsup", "ae", "--quick"])
    assert __main__.main() == 130
    assert received == [["--epochs", "3"], ["--quick"]]


@pytest.mark.parametrize("module", ["kerasunsup", "kerasunsup.ae"])
def test_a_module_that_is_started_ends_with_the_status(monkeypatch, capsys, module):
    first = ["ae"] if module == "kerasunsup" else []
    monkeypatch.setattr(sys, "argv", ["kerasunsup", *first, "--epochs", "0"])
    monkeypatch.delitem(sys.modules, "kerasunsup.ae.__main__")
    monkeypatch.delitem(sys.modules, "kerasunsup.__main__", raising=False)
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    assert caught.value.code == 2
    assert "--epochs must be at least 1" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("arguments", ["kerasunsup --help", "kerasunsup.ae --help"])
def test_a_listing_whose_reader_has_seen_enough_ends_quietly(arguments):
    command = f'"$0" -m {arguments} | head -1; echo "${{PIPESTATUS[0]}}"'
    result = subprocess.run(
        ["bash", "-c", command, sys.executable],  # noqa: S607
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, status = result.stdout.splitlines()
    assert (first[:18], status, result.stderr) == ("usage: kerasunsup ", "0", "")


def test_console_script_is_the_same_main():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="kerasunsup")
    assert script.load() is __main__.main
