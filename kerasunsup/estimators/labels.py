"""Labels from Python: whole numbers or names, and -1 for none, as scikit-learn has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasunsup.errors import InputError
from kerasunsup.estimators.image_arrays import as_array

_MOST_FLOAT = 2.0**53  # of whole numbers that a float tells apart
_NONE = "-1 stands for no label"


def as_labels(name: str, given: Any, number: int) -> np.ndarray:
    """What a user gave as labels, checked.

    Args:
        name: of the argument.
        given: (number,), whole numbers of any dtype, booleans, or names.
        number: of images.

    Returns:
        (number,), of a dtype of integers, bool, or of strings (perhaps object, and -1 among them).

    Raises:
        InputError: if they are no such labels.
    """
    labels = as_array(name, given)
    if labels.shape != (number,):
        raise InputError(
            f"{name} must be one label an image ({number},), received {labels.shape}: {_NONE}"
        )
    if labels.dtype.kind == "O":
        labels = _of_objects(name, labels)
    if labels.dtype.kind == "f":
        is_whole = np.equal(labels, np.round(labels)) & (np.abs(labels) < _MOST_FLOAT)
        if not is_whole.all():
            raise InputError(
                f"{name} must be classes (whole numbers or names), received fractions or NaN: "
                f"{_NONE}"
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuUO":
        raise InputError(
            f"{name} must be classes (whole numbers or names), received {labels.dtype}: convert "
            "them"
        )
    return labels


def is_missing(labels: np.ndarray) -> np.ndarray:
    """Where there is no label, bool (num_images,); `labels` as `as_labels` gives them."""
    if labels.dtype.kind in "iu":
        return labels == -1
    # NumPy turns a list of names and numbers into strings.
    return np.array([str(one) == "-1" for one in labels], bool)


def _of_objects(name: str, labels: np.ndarray) -> np.ndarray:
    """Objects that are all names, or plain numbers in their place."""
    if all(isinstance(one, str) for one in labels[~is_missing(labels)]):
        return labels
    kinds = sorted({type(one).__name__ for one in labels})
    try:
        plain = np.array(labels.tolist())
    except ValueError:  # of sequences
        plain = labels
    if plain.dtype.kind not in "biuf":
        raise InputError(
            f"{name} must be all whole numbers or all names, received {' and '.join(kinds)}: "
            f"{_NONE}"
        )
    return plain
