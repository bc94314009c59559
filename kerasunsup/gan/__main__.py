"""The study's GAN: `python -m kerasunsup.gan`.

    python -m kerasunsup.gan --name reference

trains on the packaged MNIST for 100 epochs. What to expect of it and of `--preset study`, and how
long it takes, stands in docs/gan.md. `--quick` goes the whole way with few images; its numbers say
nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.gan.settings import GANSettings
from kerasunsup.settings import Command

_DESCRIPTION = """\
Trains a generative adversarial network on images without labels, measures its samples beside real
images while it trains, and leaves figures, TensorBoard logs, generator.keras, discriminator.keras
and a SavedModel in LOGS/gan/RUN. Sides of 16 to 64 pixels, grey or colour.

--preset study is the study's own game: its formula to the letter, a constant learning rate, the
last weights.
"""

_QUICK = {
    "epochs": 2, "limit": 1000, "test_limit": 300, "num_samples": 300, "base_filters": 8,
    "hidden_units": 32, "measure_every": 1,
}  # fmt: skip

_PRESETS = {
    "study": {
        "loss": "minimax",
        "schedule": "constant",
        "averaging": 0.0,
        "categories": 0,
        "label_smoothing": 0.0,
        "gradient_penalty": 0.0,
    }
}


def parse(argv: Sequence[str] | None = None) -> Command:
    """The command line of this experiment; errors are those of `cli.parse`."""
    return cli.parse(
        "gan",
        GANSettings,
        description=_DESCRIPTION,
        quick=_QUICK,
        presets=_PRESETS,
        may_go_longer=True,
        argv=argv,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("gan") as status:
        command = parse(argv)
        # TensorFlow takes seconds to load: only now that the arguments are known to be right.
        tensorflow_startup.import_tensorflow()
        from kerasunsup.gan import experiment

        experiment.run(command)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
