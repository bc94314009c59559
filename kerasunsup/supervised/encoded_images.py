"""The codes of all images, and the probes that answer from codes alone."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from kerasunsup.data.image_set import ImageSet
from kerasunsup.evaluation import probes, selection

_BATCH_SIZE = 500  # images that are encoded at a time
_BLOCK = 5000  # images that are read at a time, to hold few of them as floats


class EncodedImages:
    """The codes of the training, validation and test images, each computed once.

    Args:
        encoder: images -> codes.
        images: the image sets `train`, `validation` and `test`.
        num_classes: the number of classes that probes tell apart.
        seed: the seed of what probes find in the unlabelled codes.
    """

    def __init__(
        self, encoder: keras.Model, images: Mapping[str, ImageSet], num_classes: int, seed: int
    ) -> None:
        self._encoder, self._images = encoder, images
        self._num_classes, self._seed = num_classes, seed
        self._codes: dict[str, np.ndarray] = {}
        self._ranked = np.empty(0, np.int64)
        self._structures: dict[str, probes.MixtureOfCodes | probes.GraphOfCodes] = {}

    def codes(self, split: str) -> np.ndarray:
        """Returns float32 (num_images, latent_dim) for `train`, `validation` or `test`."""
        if split not in self._codes:
            images = self._images[split]
            blocks = np.split(np.arange(len(images)), range(_BLOCK, len(images), _BLOCK))
            self._codes[split] = np.concatenate(
                [
                    self._encoder.predict(images.array(block), batch_size=_BATCH_SIZE, verbose=0)
                    for block in blocks
                ]
            )
        return self._codes[split]

    def worth_labelling(self, number: int) -> np.ndarray:
        """Returns so many positions of training images, those first whose labels are worth most.

        The choice follows from the codes alone, so it is made once.
        """
        if len(self._ranked) < number:
            self._ranked = selection.worth_labelling(self.codes("train"), number, self._seed)
        return self._ranked[:number]

    def probe(
        self,
        method: str,
        labelled: np.ndarray,
        labels: np.ndarray,
        seed: int,
        queries: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the class probabilities that a probe gives to codes, (num_codes, num_classes).

        Args:
            method: a key of `probes.PROBES`.
            labelled: the positions of the labelled training images.
            labels: int64, their classes counted from 0.
            seed: the seed of what is random in the probe.
            queries: the codes that are asked for; by default those of the training images.
        """
        codes = self.codes("train")
        asked = codes if queries is None else queries
        if method not in probes.STRUCTURES or not 1 < len(codes) <= probes.MOST_CODES:
            return probes.PROBES[method](
                codes[labelled],
                labels,
                asked,
                self._num_classes,
                unlabelled=codes[np.setdiff1d(np.arange(len(codes)), labelled)],
                seed=seed,
            )
        if method not in self._structures:  # the codes are the same in every cell
            self._structures[method] = probes.STRUCTURES[method](codes, self._seed)
        structure = self._structures[method]
        if queries is None and isinstance(structure, probes.GraphOfCodes):
            return structure.classes(labelled, labels, self._num_classes)
        return structure.spread(labelled, labels, asked, self._num_classes)
