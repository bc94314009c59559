"""Makes the feature network of the packaged MNIST, in which sets of images are compared.

    python benchmarks/feature_network.py               # about three minutes on two cores

Trains the classifier that any other data set gets, on the 55,000 training images of seed 0, and
writes its weights in half precision beside the package's other data. To be run again only if the
network itself changes: distances measured in two networks cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kerasunsup import tensorflow_startup  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Trains, writes the file, prints what it is worth."""
    tensorflow_startup.import_tensorflow()
    import tensorflow as tf

    from kerasunsup.data import splits as data_splits
    from kerasunsup.settings import TrainingSettings
    from kerasunsup.training import feature_network

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--output", type=Path, default=feature_network.PACKAGED, metavar="FILE")
    arguments = parser.parse_args(argv)
    tf.config.experimental.enable_op_determinism()
    splits = data_splits.load(TrainingSettings(seed=0))
    start = time.perf_counter()
    model = feature_network.train_classifier(splits)
    seconds = time.perf_counter() - start
    accuracy = feature_network.write(arguments.output, model, splits, "float16")
    print(
        f"{arguments.output}: {arguments.output.stat().st_size:,} bytes, "
        f"{model.count_params():,} weights of {len(splits.train):,} images, "
        f"accuracy on {len(splits.test):,} test images {accuracy:.2%}, {seconds:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
