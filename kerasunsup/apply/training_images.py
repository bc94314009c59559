"""The images that a model was trained on, as far as its run tells where they are."""

from __future__ import annotations

import functools

import numpy as np

from kerasunsup.apply import image_stream
from kerasunsup.errors import InputError
from kerasunsup.models import loading
from kerasunsup.training import trained_on

_MOST_IMAGES = 50_000  # to which a mixture or a detector is fitted


def clean_images(
    model: loading.LoadedModel, reference: image_stream.Stream | None
) -> tuple[image_stream.Stream | None, str]:
    """The images of `--reference`, else those that the model was trained on.

    Returns:
        (the images, what to call them); None for a model that stands alone.
    """
    if reference is not None:
        return reference, reference.what
    return training_images(model), "the images that the model was trained on"


@functools.lru_cache(maxsize=1)  # verbs ask before they encode, and once more when they compare
def training_images(model: loading.LoadedModel) -> image_stream.Stream | None:
    """The first 50,000 training images of a model's run; None for a model that stands alone.

    Raises:
        InputError: if they are gone, or others have taken their place.
    """
    if model.run is None or not (model.run / "config.json").is_file():
        return None
    try:
        splits = trained_on.splits(model.run)
    except InputError as error:
        raise InputError(
            f"the images that MODEL {model.path} was trained on cannot be found ({error}): put "
            "them back, or give clean images by --reference"
        ) from error
    first = splits.train.subset(np.arange(min(_MOST_IMAGES, len(splits.train))))
    return image_stream.of_set(splits.name, first)
