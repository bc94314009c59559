"""`kerasunsup --print-completion`: a script by which a shell completes commands and flags."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys

import pytest

from kerasunsup import __main__, cli
from kerasunsup.supervised.settings import SupervisedSettings

# What is typed, the last word unfinished -> what must be offered, all of it or in part.
TYPED = {
    ("a",): {"ae", "apply"},
    ("ae", "--lat"): {"--latent-dim"},
    ("ae", "--precision", ""): {"auto", "float32", "mixed_bfloat16"},
    ("ae", "--tune", "--max"): {"--max-epochs"},
    ("gan", "--preset", ""): {"study"},
    ("apply", "clu"): {"cluster"},
    ("apply", "cluster", "--clu"): {"--clusters"},
    ("apply", "restore", "pho"): {"photos"},
    ("ae", "--data", "pho"): {"photos"},
    ("ae", "--logs", "pho"): {"photos"},  # a folder; the file beside it is not offered
    ("report", "--pl"): {"--plan"},
    ("--print-completion", ""): {"bash", "zsh", "tcsh"},
}


@pytest.fixture(scope="module")
def script():
    """What is printed for bash, by a process of its own that imports no TensorFlow."""
    pytest.importorskip("shtab")
    code = (
        "import sys; from kerasunsup.__main__ import main\n"
        "status = main(['--print-completion', 'bash'])\n"
        "heavy = {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(status or (str(heavy) if heavy else 0))"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_what_was_typed(script, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.txt").touch()
    (tmp_path / "script").write_text(script, encoding="utf-8")
    subprocess.run(["bash", "-n", tmp_path / "script"], check=True)  # noqa: S607
    lines = [
        "source ./script",
        "function=$(complete -p kerasunsup | sed 's/.*-F \\([^ ]*\\).*/\\1/')",
        'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); $function;'
        ' echo "${COMPREPLY[@]}"; }',
    ]
    for words in TYPED:
        lines.append("try kerasunsup " + " ".join(word or "''" for word in words))
    output = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)],  # noqa: S607
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    offered = [set(line.split()) for line in output.stdout.splitlines()]
    for (words, expected), found in zip(TYPED.items(), offered, strict=True):
        beside = {"photos.txt"} if "--logs" not in words else set()  # files beside folders
        assert expected <= found <= expected | beside, words


def test_every_flag_of_every_command_is_in_the_script(script):
    offered = dict(re.findall(r"^_shtab_kerasunsup_(\w+)_option_strings=\((.*)\)$", script, re.M))
    for name in __main__._COMMANDS:
        parsers = {name: __main__._parser_of(name)}
        for action in parsers[name]._actions:
            if isinstance(action.choices, dict):
                parsers |= {f"{name}_{verb}": parser for verb, parser in action.choices.items()}
        for place, parser in parsers.items():
            flags = [flag for action in parser._actions for flag in action.option_strings]
            assert offered[place].split() == flags


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_scripts_with_the_flags(capsys, shell):
    pytest.importorskip("shtab")
    assert __main__.main(["--print-completion", shell]) == 0
    text = capsys.readouterr().out
    for word in ("kerasunsup", "latent-dim", "noise-dim", "clusters", *SupervisedSettings().arms):
        assert word in text


@pytest.mark.parametrize("arguments", [[], ["fish"], ["bash", "zsh"]])
def test_another_shell_is_refused(capsys, arguments):
    assert __main__.main(["--print-completion", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    received = " ".join(arguments) or "none"
    expected = f"--print-completion needs one of bash, zsh, tcsh, received {received}"
    assert output.err == f"kerasunsup: {expected}\n"


def test_without_shtab_one_line_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert __main__.main(["--print-completion", "bash"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"kerasunsup: .* pip install 'kerasunsup\[completion\]'\n", output.err)


def test_a_command_without_our_parser_is_a_programming_error(monkeypatch):
    command = importlib.import_module("kerasunsup.ae.__main__")
    with pytest.raises(cli.ParserMade):
        command.parse([cli.PARSER_ALONE])
    monkeypatch.setattr(command, "parse", lambda argv: None)
    with pytest.raises(TypeError, match="ae parses without a parser"):
        __main__._parser_of("ae")
