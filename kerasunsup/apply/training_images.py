"""The images that a model was trained on, as far as its run tells where they are."""

from __future__ import annotations

import dataclasses

import numpy as np

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import image_stream
from kerasunsup.data import splits as data_splits
from kerasunsup.errors import InputError
from kerasunsup.models import loading
from kerasunsup.training import files

_MOST_IMAGES = 50_000  # to which a mixture or a detector is fitted


def training_images(model: loading.LoadedModel) -> image_stream.Stream | None:
    """The first 50,000 training images of a model's run; None for a model that stands alone.

    Raises:
        InputError: if they are gone, or others have taken their place.
    """
    settings = model.settings(AutoencoderSettings)
    if settings is None or model.run is None:
        return None
    path = model.run / "environment.json"
    environment = files.read_json(path) if path.is_file() else {}
    places = list(dict.fromkeys([environment.get("data_path") or settings.data, settings.data]))
    reason = f"{' and '.join(places)} holds other images"
    if environment.get("data") is None:
        places, reason = [], "its run has no fingerprint of them"
    for place in places:
        try:
            splits = data_splits.load(dataclasses.replace(settings, data=place))
        except InputError as error:
            reason = str(error).replace("--data ", "")
            continue
        if splits.fingerprint == environment["data"]:
            first = splits.train.subset(np.arange(min(_MOST_IMAGES, len(splits.train))))
            return image_stream.of_set(splits.name, first)
    raise InputError(
        f"the images that MODEL {model.path} was trained on cannot be found ({reason}): "
        "put them back, or give clean images by --reference"
    )
