"""The command line: what is malformed, what is shown, and the status that a command ends with."""

import errno
import subprocess
import sys

import pytest
from settings_command import parse

from kerasunsup import cli
from kerasunsup.ae import __main__ as ae
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import __main__ as apply
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.settings import flag, to_json


def refused_by_parser(capsys, *arguments: str) -> str:
    """The one line on stderr of a command line that the parser itself refuses."""
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--epoch", "3"), "unrecognized arguments: --epoch 3"),
        (("--lat", "3"), "unrecognized arguments: --lat 3"),
        (("--epochs", "three"), "--epochs: invalid int value: 'three'"),
        (("--epochs", "1" * 5000), "--epochs: invalid int value"),
        (("--learning-rate", "fast"), "--learning-rate: invalid float value: 'fast'"),
        (("--precision", "float16"), "--precision: invalid choice: 'float16'"),
        (("--filters",), "--filters: expected at least one argument"),
        (("--name",), "--name: expected one argument"),
        (("mnist",), "unrecognized arguments: mnist"),
    ],
)
def test_a_malformed_command_line_is_refused_in_one_line(capsys, arguments, expected):
    text = refused_by_parser(capsys, *arguments)
    assert text.startswith("kerasunsup ae: ")
    assert expected in text
    assert text.endswith("(see --help)\n")


def test_help_names_every_setting_with_its_default(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name, value in to_json(AutoencoderSettings()).items():
        assert flag(name) in text
        if isinstance(value, str | float):
            assert f"({value})" in text


# ---------------------------------------------------------------------------------------------- log


def test_as_a_library_it_is_silent_but_for_warnings():
    script = """
from kerasunsup import cli
from kerasunsup.data import images
from kerasunsup.progress import Progress

def work():
    Progress(1, has_bar=False).say("half done")
    images.tell("an image is broken")

work()
with cli.log_on_terminal(), cli.log_on_terminal():
    work()
work()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "half done\n"
    assert result.stderr == 3 * "kerasunsup: an image is broken\n"


# -------------------------------------------------------------------------------------- exit status


class ResourceExhaustedError(Exception):
    """As TensorFlow has one, which need not be loaded here."""

    __module__ = "tensorflow.python.framework.errors_impl"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("too\nlong"), 2, "too long"),
        (KeyboardInterrupt(), 130, "stopped"),
        (Interrupted("go on with: ..."), 130, "go on with: ..."),
        (OSError(errno.ENOSPC, "No space left on device", "logs/a"), 2, "cannot write logs/a: No"),
        (OSError(errno.EACCES, "Permission denied"), 2, "cannot write: Permission denied"),
        (OSError(errno.ELOOP, "Too many levels", "logs"), 2, "cannot write logs: Too many levels"),
        (OSError("Can't write data (No space left on device)"), 2, "cannot write: No space left"),
        (ResourceExhaustedError("a; No space left on device"), 2, "cannot write: No space left"),
        (ResourceExhaustedError("OOM when allocating"), 2, "the memory does not suffice (OOM when"),
        (
            FileNotFoundError(2, "No usable temporary directory"),
            2,
            "No usable temporary directory: ",
        ),
        (MemoryError("Unable to allocate 5 TiB"), 2, "the memory does not suffice (Unable to all"),
    ],
)
def test_what_a_user_can_cause_is_one_line_and_a_status(capsys, error, code, line):
    with cli.exit_status("ae") as status:
        raise error
    assert status.code == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"kerasunsup ae: {line}")
    assert output.err.count("\n") == 1


def test_each_command_says_where_else_it_could_write(capsys, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for command, words in ((apply, "--output DIR"), (ae, "--logs DIR, then --resume")):
        monkeypatch.setattr(command, "parse", fail)
        assert command.main([]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bug"), KeyError("bug"), OSError(errno.ENOENT, "bug"), SystemExit(2),
        ValueError("of ours: No space left on device"),
    ],
)  # fmt: skip
def test_what_is_a_bug_keeps_its_traceback(capsys, error):
    with pytest.raises(type(error)) as caught, cli.exit_status("ae"):
        raise error
    assert caught.value is error
    assert capsys.readouterr().err == ""


def test_status_is_zero_where_nothing_went_wrong(capsys):
    with cli.exit_status("ae") as status:
        pass
    assert status.code == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--epochs", "0"), "--epochs must be at least 1, received 0"),
        (("--resume",), "--resume needs --name"),
        (("--config", "missing.json"), "--config missing.json cannot be read"),
    ],
)
def test_command_answers_a_wrong_argument_with_status_2(
    capsys, monkeypatch, tmp_path, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    assert ae.main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"kerasunsup ae: {expected}")
    assert list(tmp_path.iterdir()) == []


def test_help_and_wrong_arguments_answer_without_tensorflow(tmp_path):
    program = """
import contextlib, sys
from kerasunsup import __main__
from kerasunsup.ae import __main__ as ae
from kerasunsup.data import images
from kerasunsup.figures import curves, image_grids
from kerasunsup.gan import __main__ as gan
from kerasunsup.training import run_folder
statuses = []
for arguments in (["--help"], ["--epochs", "many"], ["--epochs", "0"], ["--config", "missing"]):
    try:
        statuses.append(ae.main(arguments))
    except SystemExit as stop:
        statuses.append(stop.code)
statuses.append(__main__.main(["--help"]))
heavy = {"tensorflow", "keras", "sklearn", "tensorflow_datasets", "tensorboard"} & set(sys.modules)
print(statuses, sorted(heavy))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.splitlines()[-1] == "[0, 2, 2, 2, 0] []"
    assert "Traceback" not in result.stderr
