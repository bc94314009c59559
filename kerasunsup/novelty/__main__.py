"""What scores find outliers: `python -m kerasunsup.novelty`.

One class of MNIST against the rest, all ten classes: see the README's table for the time and the
numbers to expect, and `--quick` for a smoke run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.novelty.settings import NoveltySettings
from kerasunsup.settings import Command

_DESCRIPTION = """\
Trains an autoencoder on the images of one class alone, class by class, and measures which score
tells the images of the other classes from them: reconstruction error, density of codes, both
(what `apply outliers` sorts by), and others beside them. Needs labels, which only judge. Leaves
numbers, figures, TensorBoard logs and the autoencoders in LOGS/novelty/RUN.
"""

_QUICK = {"epochs": 2, "limit": 1000, "test_limit": 300, "most_classes": 2}


def parse(argv: Sequence[str] | None = None) -> Command:
    """The command line of this experiment.

    Raises:
        errors.InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    return cli.parse(
        "novelty",
        NoveltySettings,
        description=_DESCRIPTION,
        quick=_QUICK,
        argv=argv,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("novelty") as status:
        command = parse(argv)
        # TensorFlow takes seconds to load: only now that the arguments are known to be right.
        tensorflow_startup.import_tensorflow()
        from kerasunsup.novelty import experiment

        experiment.run(command)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
