"""Use what was trained on images of one's own: `python -m kerasunsup.apply`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup

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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("apply") as status:
        command = cli.parse_application(description=_DESCRIPTION, verbs=VERBS, argv=argv)
        # TensorFlow takes seconds to load: only now that the arguments are known to be right.
        tensorflow_startup.import_tensorflow()
        from kerasunsup.apply import verbs

        verbs.run(command)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
