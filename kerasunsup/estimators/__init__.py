"""The commands from Python, in scikit-learn's words: fit, transform, sample, score, save, load.

Open `autoencoder.py` first. `kerasunsup` itself offers these names and loads them when they are
used, so that `import kerasunsup` stays instant.
"""

from __future__ import annotations

import os
import sys

from kerasunsup import tensorflow_startup

if "keras" in sys.modules and os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        f"kerasunsup needs Keras on TensorFlow, KERAS_BACKEND is {os.environ['KERAS_BACKEND']} and "
        "Keras is imported already: import kerasunsup's names first, or set it to tensorflow"
    )
tensorflow_startup.import_tensorflow()
