"""From unsupervised to supervised: `python -m kerasunsup.supervised`.

See the README's table for the time and the numbers to expect, and `--quick` for a smoke run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.settings import Command
from kerasunsup.supervised.settings import SupervisedSettings

_DESCRIPTION = """\
Gives an encoder that was trained without labels a new layer, trains it with few labels and with
all, and compares: encoder frozen, fine-tuned, the same network from scratch, a convolutional
classifier, and ways of using the unlabelled rest. Leaves a table with its spread over seeds,
figures, TensorBoard logs and the best classifier as SavedModel in LOGS/supervised/RUN.
"""

_QUICK = {
    "epochs": 1, "limit": 1000, "test_limit": 300, "encoder_epochs": 2, "repetitions": 2,
    "labels": (10, 100), "steps": 20, "pseudo_label_steps": 20, "graph_steps": 20,
    "unlabelled_batch_size": 64,
}  # fmt: skip


def parse(argv: Sequence[str] | None = None) -> Command:
    """The command line of this experiment.

    Raises:
        errors.InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    return cli.parse(
        "supervised",
        SupervisedSettings,
        description=_DESCRIPTION,
        quick=_QUICK,
        argv=argv,
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
