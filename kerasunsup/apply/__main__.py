"""Use what was trained on images of one's own: `python -m kerasunsup.apply`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.apply.settings import Application, ApplySettings, settings_of
from kerasunsup.settings import path_of

_DESCRIPTION = """\
Uses a trained model on images: cleans them, finds what is alike, what is odd, and what belongs
together, and makes new ones. Everything goes into the folder --output; the same command again
goes on after a stop. `kerasunsup apply VERB --help` lists what a verb can be told.
"""

VERBS = {
    "restore": "take noise out of images and fill holes; same names, same sizes",
    "encode": "write the code of each image as codes.npz and codes.csv",
    "similar": "find the images nearest to a query, or near-duplicates among all",
    "outliers": "sort images by how odd they are",
    "cluster": "sort images into groups without labels",
    "generate": "make new images",
}


_HOW_TO_GO_ON = "choose another --output DIR, then give the same command again"


def parse(argv: Sequence[str] | None = None) -> Application:
    """The command line of `apply`: a verb, a model, images, and the settings of that verb.

    Raises:
        InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    parser = cli.new_parser("apply", _DESCRIPTION)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in VERBS.items():
        verb_parser = cli.add_verb(verbs, verb, text)
        verb_parser.add_argument(
            "model", metavar="MODEL", help="a run's folder, its export/, or a .keras file"
        )
        if verb != "generate":
            verb_parser.add_argument(
                "images",
                metavar="IMAGES",
                help="a folder of images (sub-folders too), one image file, a .npz or .npy, a"
                " folder of IDX files, or a data name such as mnist",
            )
        verb_parser.add_argument(
            "--output", metavar="DIR", required=True, help="where all that is made goes"
        )
        cli.add_settings(verb_parser, ApplySettings, settings_of(verb))
    given = vars(parser.parse_args(arguments))
    verb, output = given.pop("verb"), path_of("--output", given.pop("output"))
    model = path_of("MODEL", given.pop("model"), is_written=False)
    images = given.pop("images", None)
    return Application(verb, model, images, output, ApplySettings(**given), arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("apply", _HOW_TO_GO_ON) as status:
        command = parse(argv)
        # TensorFlow takes seconds to load: only now that the arguments are known to be right.
        tensorflow_startup.import_tensorflow()
        from kerasunsup.apply import experiment

        experiment.run(command)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
