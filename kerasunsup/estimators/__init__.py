"""The commands from Python, in scikit-learn's words: fit, transform, sample, score, save, load.

Open `autoencoder.py` first. `kerasunsup` itself offers these names and loads them when they are
used, so that `import kerasunsup` stays instant.
"""

from __future__ import annotations

import sys

from kerasunsup import tensorflow_startup

if "keras" in sys.modules:
    _backend = sys.modules["keras"].config.backend()  # by the environment, or by `keras.json`
    if _backend != "tensorflow":
        raise ImportError(
            f"kerasunsup needs Keras on TensorFlow, and Keras is imported already on {_backend}: "
            "import kerasunsup's names first, or set KERAS_BACKEND to tensorflow"
        )
tensorflow_startup.import_tensorflow()
