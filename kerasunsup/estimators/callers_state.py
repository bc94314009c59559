"""What belongs to the caller's program while an estimator works in it: seeds, Keras's settings."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context as eager_context
from tensorflow.python.framework import config as tensorflow_config

# What `keras.utils.set_random_seed` changes; no public function reads it or puts it back.
_SEEDS_OF_KERAS = ("global_random_seed", "global_seed_generator")


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keras as the networks are written for it; afterwards all is the caller's as it was.

    Inside, layers are float32 and channels last, whatever the caller has set. Given back are these
    settings, the random numbers of Python, NumPy, TensorFlow and Keras, and whether operations are
    deterministic.
    """
    with _random_numbers_kept(), _settings_kept():
        keras.config.set_floatx("float32")
        keras.config.set_image_data_format("channels_last")
        keras.config.set_dtype_policy("float32")
        yield


@contextlib.contextmanager
def _random_numbers_kept() -> Iterator[None]:
    context = eager_context.context()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    # Before a seed is set there is no `_rng`.
    tensorflow = {name: vars(context).get(name) for name in ("_seed", "_rng")}
    of_keras = {name: global_state.get_global_attribute(name) for name in _SEEDS_OF_KERAS}
    is_deterministic = tensorflow_config.is_op_determinism_enabled()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        vars(context).update(tensorflow)
        for name, value in of_keras.items():
            global_state.set_global_attribute(name, value)
        if not is_deterministic:  # else an operation without a seed would be refused
            tensorflow_config.disable_op_determinism()


@contextlib.contextmanager
def _settings_kept() -> Iterator[None]:
    floats, channels = keras.config.floatx(), keras.config.image_data_format()
    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        keras.config.set_floatx(floats)
        keras.config.set_image_data_format(channels)
        keras.config.set_dtype_policy(policy)


def deterministic_operations(is_wanted: bool) -> None:
    """Makes TensorFlow's operations deterministic, where this is wanted, until `kept` ends."""
    if is_wanted:
        tf.config.experimental.enable_op_determinism()
