"""TensorFlow's start: its fast kernels, without its chatter, and real errors still shown.

TensorFlow writes lines on stderr while it is imported (oneDNN, processor features, missing GPU
drivers) that no Python setting reaches: they come from C++ before its logging is set up.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import warnings

# Start-up notes that tell a user nothing that they can act on. All else passes through.
_NOISE = re.compile(
    r"oneDNN custom operations"
    r"|cpu_feature_guard"
    r"|To enable the following instructions"
    r"|All log messages before absl::InitializeLog"
    r"|Unable to register cu\w+ factory"
    r"|computation placer already registered"
    r"|Could not find cuda drivers"
    r"|failed call to cuInit"
    r"|cuda_diagnostics|cudart_stub"
    r"|TF-TRT Warning"
)


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras with the known start-up notes removed from stderr.

    Later C++ notes below the level of an error are switched off, for child processes too.

    oneDNN's kernels are turned on for every x86 processor. TensorFlow does so by itself only for
    those with AVX-512 instructions for neural networks; on one without (AMD EPYC, Zen 3) the
    adversarial step was 1.3 times (32 base filters) and 1.45 times (64) as fast with them, one
    measurement each, not in turns.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "tensorflow" in sys.modules:
        return
    # The lines bypass sys.stderr, so the file descriptor itself is put aside for the while.
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the libraries' own imports
                import keras  # noqa: F401
                import tensorflow as tf

                tf.config.list_physical_devices()  # the drivers' notes come with it
                tf.get_logger().setLevel("ERROR")
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if line.strip() and not _NOISE.search(line):
                    print(line, file=sys.stderr)
