"""Compares scores that find outliers, one class against the rest: `python -m kerasunsup.novelty`.

All classes in turn are the known one. What each score is worth on MNIST, and how long it takes,
stands in docs/outliers.md. `--quick` is a smoke run of the whole path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.novelty.settings import NoveltySettings
from kerasunsup.settings import Command

_DESCRIPTION = """\
Trains an autoencoder on the images of one class alone, class by class, and measures which score
tells the images of the other classes from them: the reconstruction error, the density of codes,
both together (`apply outliers` sorts by these), the oddest patch, whether a network can tell how
the image was turned and shifted, and others. The images need labels, which only check the answer.
Writes numbers, figures, TensorBoard logs and the autoencoders to LOGS/novelty/RUN. On MNIST it
takes about 20 minutes on two processor cores.
"""

_QUICK = {"epochs": 2, "limit": 1000, "test_limit": 300, "most_classes": 2, "view_steps": 20}


def parse(argv: Sequence[str] | None = None) -> Command:
    """Returns the parsed command line.

    Raises:
        errors.InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    return cli.parse("novelty", NoveltySettings, description=_DESCRIPTION, quick=_QUICK, argv=argv)


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
