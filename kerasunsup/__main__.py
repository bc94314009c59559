"""`python -m kerasunsup` and the console script `kerasunsup`: lists and starts the commands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import kerasunsup
from kerasunsup import tensorflow_startup

_COMMANDS = {
    "ae": "train the autoencoder, look at it, export it; search its settings",
    "gan": "train the GAN, measure its samples, export it",
    "supervised": "compare what an encoder is worth with few labels and with all",
    "novelty": "measure which score finds outliers, one class against the rest",
    "apply": "use what was trained on your own images",
    "export": "write a trained model as files for ONNX, LiteRT, OpenVINO or TensorFlow",
    "report": "run the whole study and write it on one page",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Starts `kerasunsup COMMAND ...` and returns its exit status."""
    tensorflow_startup.standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _COMMANDS:
        return importlib.import_module(f"kerasunsup.{arguments[0]}.__main__").main(arguments[1:])
    if arguments == ["--version"]:
        print(f"kerasunsup {kerasunsup.__version__}")
        return 0
    listed = "\n".join(f"  {name:<12}{text}" for name, text in _COMMANDS.items())
    usage = f"usage: kerasunsup COMMAND [--help] ...\n\ncommands:\n{listed}"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        return 0
    print(
        f"kerasunsup: unknown command {arguments[0]!r}: use one of {', '.join(_COMMANDS)}",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
