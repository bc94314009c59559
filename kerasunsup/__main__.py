"""`python -m kerasunsup` and the console script `kerasunsup`: lists and starts the commands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import kerasunsup
from kerasunsup import cli, tensorflow_startup

_COMMANDS = {
    "ae": "train the autoencoder, look at it, export it; search its settings",
    "gan": "train the GAN, measure its samples, export it",
    "supervised": "compare what an encoder is worth with few labels and with all",
    "novelty": "measure which score finds outliers, one class against the rest",
    "apply": "use what was trained on your own images",
    "export": "write a trained model as files for ONNX, LiteRT, OpenVINO or TensorFlow",
    "report": "run the whole study and write it on one page",
}

_SHELLS = ("bash", "zsh", "tcsh")
# What a place that a flag or an argument names may be, by its metavar.
_FOLDERS = ("DIR",)
_FILES = ("FILE.html", "FILE.json", "IMAGES", "MODEL", "NAME_OR_PATH", "PATH", "RUN")


def main(argv: Sequence[str] | None = None) -> int:
    """Starts `kerasunsup COMMAND ...` and returns its exit status."""
    tensorflow_startup.standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _COMMANDS:
        return importlib.import_module(f"kerasunsup.{arguments[0]}.__main__").main(arguments[1:])
    if arguments == ["--version"]:
        print(f"kerasunsup {kerasunsup.__version__}")
        return 0
    if arguments[:1] == ["--print-completion"]:
        return _print_completion(arguments[1:])
    listed = "\n".join(f"  {name:<12}{text}" for name, text in _COMMANDS.items())
    usage = f"usage: kerasunsup COMMAND [--help] ...\n\ncommands:\n{listed}"
    usage += f"\n\n--version\n--print-completion {{{','.join(_SHELLS)}}}"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        return 0
    print(
        f"kerasunsup: unknown command {arguments[0]!r}: use one of {', '.join(_COMMANDS)}",
        file=sys.stderr,
    )
    return 2


def _print_completion(shells: Sequence[str]) -> int:
    """Writes the script by which a shell completes commands and flags."""
    if len(shells) != 1 or shells[0] not in _SHELLS:
        received = f"received {' '.join(shells)}" if shells else "received none"
        print(
            f"kerasunsup: --print-completion needs one of {', '.join(_SHELLS)}, {received}",
            file=sys.stderr,
        )
        return 2
    try:
        import shtab
    except ImportError:
        print(
            "kerasunsup: --print-completion needs shtab: pip install 'kerasunsup[completion]'",
            file=sys.stderr,
        )
        return 2
    print(shtab.complete(_whole_parser(shtab.FILE, shtab.DIRECTORY), shell=shells[0]))
    return 0


def _whole_parser(file: Any, folder: Any) -> Any:
    """The parsers of all commands as one `argparse.ArgumentParser` with sub-commands.

    Args:
        file: what a shell completes names of files by.
        folder: what it completes names of folders by.
    """
    whole: Any = cli.new_parser("", "")
    whole.prog = "kerasunsup"
    whole.add_argument("--version", action="store_true")
    whole.add_argument("--print-completion", choices=_SHELLS)
    made: list[Any] = []
    commands = whole.add_subparsers(parser_class=lambda **_: made[-1])
    for name, text in _COMMANDS.items():
        made.append(_parser_of(name))
        commands.add_parser(name, help=text)
        _complete_places(made[-1], file, folder)
    return whole


def _parser_of(name: str) -> Any:
    """The parser of a command."""
    try:
        importlib.import_module(f"kerasunsup.{name}.__main__").parse([cli.PARSER_ALONE])
    except cli.ParserMade as made:
        return made.args[0]
    raise TypeError(f"{name} parses without a parser of kerasunsup.cli")


def _complete_places(parser: Any, file: Any, folder: Any) -> None:
    for action in parser._actions:
        if isinstance(action.choices, dict):  # verbs
            for verb in action.choices.values():
                _complete_places(verb, file, folder)
        elif action.metavar in _FOLDERS or action.metavar in _FILES:
            action.complete = folder if action.metavar in _FOLDERS else file


if __name__ == "__main__":
    sys.exit(main())
