"""Standard output and error that never end a command, and TensorFlow's start without its chatter.

TensorFlow writes lines on stderr while it is imported (oneDNN, processor features, missing GPU
drivers) that no Python setting reaches: they come from C++ before its logging is set up.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import platform
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO, Any

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

# What another project may have set for itself in the same shell; ours is written for the defaults.
_OF_OTHERS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")


class _SafeOutput(io.FileIO):
    """A descriptor that may be written to for ever: once it cannot be, all goes to /dev/null."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            _open_on(self.fileno(), os.O_WRONLY)
            if self.fileno() == 1 and error.errno not in (errno.EPIPE, errno.EIO):
                print(
                    f"kerasunsup: standard output cannot be written ({error.strerror}): going on "
                    "without it",
                    file=sys.stderr,
                )
            return memoryview(content).nbytes


def standard_streams() -> None:
    """Makes standard output and error safe to write to, whatever the shell made of them.

    - One that is closed is opened on /dev/null, so that no file of ours gets its number.
    - A reader that is gone (`| head -1`) or a full disk under it ends no command.
    - What an encoding lacks, and file names that are no UTF-8, are written with backslashes.

    Streams that a program has put in their place (a notebook, a test) are left alone.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            _open_on(number, mode)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream, first = getattr(sys, name), getattr(sys, f"__{name}__")
        if stream is not first:
            continue
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
        lasting = io.TextIOWrapper(
            io.BufferedWriter(_SafeOutput(number, "w", closefd=False)),
            encoding=getattr(stream, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=getattr(stream, "line_buffering", number == 2),
            write_through=getattr(stream, "write_through", False),
        )
        setattr(sys, name, lasting)


def _open_on(number: int, mode: int) -> None:
    """Opens /dev/null under the number of a descriptor."""
    opened = os.open(os.devnull, mode)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)


def printable(text: str) -> str:
    """Text that can be shown and stored: of a file name that is no UTF-8, bytes as backslashes."""
    return text.encode(errors="backslashreplace").decode()


def set_environment() -> None:
    """Sets what libraries read when they are loaded, where the environment says nothing of it.

    C++ notes of TensorFlow's below the level of an error are switched off, for child processes too.

    Threads of OpenMP, which t-SNE and k-means use, sleep while they wait. By default they spin, and
    beside other work that takes the processors from those that are waited for: t-SNE of 3,000 codes
    took 7 and 15 s in place of 45 and 57, in turns on two cores (AMD EPYC) with a load of 9.

    oneDNN's kernels are turned on for every x86 processor. TensorFlow does so by itself only for
    those with AVX-512 instructions for neural networks; on one without (AMD EPYC, Zen 3) the
    adversarial step was 1.3 times (32 base filters) and 1.45 times (64) as fast with them, one
    measurement each, not in turns.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras with the known start-up notes removed from stderr.

    Keras is the one that this package is written for, whatever `KERAS_BACKEND` or the user's
    `keras.json` say for other projects: on TensorFlow, channels last, float32.
    """
    set_environment()
    if "tensorflow" in sys.modules:
        return
    standard_streams()
    with _only_real_lines(), warnings.catch_warnings(), _own_keras():
        warnings.simplefilter("ignore", DeprecationWarning)  # the libraries' own imports
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()  # the drivers' notes come with it
        tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def standard_error_into(file: IO[bytes]) -> Iterator[None]:
    """Sends what is written on descriptor 2 to a file: C++ writes there, past sys.stderr."""
    sys.stderr.flush()
    original = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(original, 2)
        os.close(original)


@contextlib.contextmanager
def _only_real_lines() -> Iterator[None]:
    """Holds back what is written on descriptor 2, then shows what is no start-up note."""
    with tempfile.TemporaryFile() as caught:
        try:
            with standard_error_into(caught):
                yield
        finally:
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if line.strip() and not _NOISE.search(line):
                    print(line, file=sys.stderr)


def restore_parallel_maps() -> None:
    """Undoes what `training.loop` asked of `tf.data` for a deterministic command that is over.

    Other code of the same process, a notebook's for instance, must not inherit plain maps.
    """
    data = getattr(sys.modules.get("tensorflow"), "data", None)
    if data is not None and data.AUTOTUNE is None:
        data.AUTOTUNE = data.experimental.AUTOTUNE


@contextlib.contextmanager
def _own_keras() -> Iterator[None]:
    """Keeps the settings of other projects from the Keras that is imported inside.

    Keras reads `keras.json` when it is imported, and writes one where there is none: pointed at a
    place that cannot be, it does neither. The user's file is not touched.
    """
    for name in _OF_OTHERS:
        os.environ.pop(name, None)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # for child processes too
    home = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if home is not None:
            os.environ["KERAS_HOME"] = home
