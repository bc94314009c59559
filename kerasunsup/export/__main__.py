"""Write a trained model as files for other runtimes: `python -m kerasunsup.export`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.export.settings import FORMATS, Export, ExportSettings, check_installed
from kerasunsup.settings import path_of

_DESCRIPTION = """\
Writes each part of a trained model as a file for another runtime: ONNX, LiteRT (TensorFlow Lite),
OpenVINO or TensorFlow's SavedModel. An autoencoder gives encoder, decoder and autoencoder, a GAN
generator and discriminator, a supervised run its classifier. Every file is loaded in its own
runtime and compared with the Keras model on 1 and on 64 images before it is kept; export.json
beside the files holds the differences and sizes.
"""

_HOW_TO_GO_ON = "choose another --output DIR, then give the same command again"


def parse(argv: Sequence[str] | None = None) -> Export:
    """Parses the command line of `export`.

    Raises:
        InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    parser = cli.new_parser("export", _DESCRIPTION)
    parser.add_argument(
        "model", metavar="MODEL", help="a run's folder, its export/ folder, or a .keras file"
    )
    file_format, *others = dataclasses.fields(ExportSettings)
    parser.add_argument(
        "--format", required=True, choices=tuple(FORMATS), help=file_format.metadata["help"]
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default=None,
        help="a new folder for the files (a folder in the run's, named after the format)",
    )
    cli.add_settings(parser, ExportSettings, others)
    values = vars(parser.parse_args(sys.argv[1:] if argv is None else argv))
    model = path_of("MODEL", values.pop("model"), is_written=False)
    output = values.pop("output")
    return Export(
        model,
        None if output is None else path_of("--output", output),
        ExportSettings(**values),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("export", _HOW_TO_GO_ON) as status:
        command = parse(argv)
        check_installed(command.config.format)
        # TensorFlow takes seconds to load: only now that the arguments are known to be right.
        tensorflow_startup.import_tensorflow()
        from kerasunsup.export import experiment

        experiment.run(command)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
