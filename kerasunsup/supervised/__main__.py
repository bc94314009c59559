"""Compares what an encoder that never saw a label is worth: `python -m kerasunsup.supervised`.

What it is worth on MNIST with few labels and with all, and how long it takes, stands in
docs/supervised.md. `--quick` is a smoke run of the whole path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.settings import Command
from kerasunsup.supervised.settings import SupervisedSettings

_DESCRIPTION = """\
Compares ways of making a classifier from few labelled images and from many. Some start from an
encoder that was trained without labels, which is frozen or fine-tuned; some train a network from
scratch; some use the unlabelled images too. Writes a table with the spread over seeds, figures,
TensorBoard logs and the best classifier as a SavedModel to LOGS/supervised/RUN. On MNIST it takes
about 15 minutes on two processor cores.
"""

_QUICK = {
    "epochs": 1, "limit": 1000, "test_limit": 300, "encoder_epochs": 2, "repetitions": 2,
    "labels": (10, 100), "steps": 20, "pseudo_label_steps": 20, "graph_steps": 20,
    "student_epochs": 1,
    "unlabelled_batch_size": 64,
}  # fmt: skip


def parse(argv: Sequence[str] | None = None) -> Command:
    """Returns the parsed command line.

    Raises:
        errors.InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    return cli.parse(
        "supervised", SupervisedSettings, description=_DESCRIPTION, quick=_QUICK, argv=argv
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("supervised") as status:
        command = parse(argv)
        # TensorFlow takes seconds to load: only now that the arguments are known to be right.
        tensorflow_startup.import_tensorflow()
        from kerasunsup.supervised import experiment

        experiment.run(command)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
