"""What new images are drawn like and compared with: the codes and errors of usual ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import outlier_detector

_MOST_CODES = 20_000  # training images that samplers are fitted to
_LEAST_HELD_OUT = 1000  # validation images that a detector is fitted to by themselves


@dataclasses.dataclass(frozen=True, eq=False)
class UsualImages:
    """Codes and errors of an autoencoder's own images; what they need is fitted when asked for.

    Attributes:
        codes: float32 (num_images, latent_dim), of training images.
        held_out_codes: of images that the model was not trained on, and of training images where
            those are fewer than 1,000.
        held_out_errors: (num_held_out,), their mean squared errors.
    """

    codes: np.ndarray
    held_out_codes: np.ndarray
    held_out_errors: np.ndarray
    _fitted: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False)

    @classmethod
    def of(
        cls,
        splits: Splits,
        codes: Callable[[ImageSet], np.ndarray],
        errors: Callable[[ImageSet], np.ndarray],
    ) -> UsualImages:
        """Those of the images that a model was trained with.

        Args:
            splits: the images.
            codes: images -> codes.
            errors: images -> mean squared errors.
        """
        train = splits.train.subset(np.arange(min(_MOST_CODES, len(splits.train))))
        codes_and_errors = [(codes(splits.validation), errors(splits.validation))]
        if len(splits.validation) < _LEAST_HELD_OUT:
            codes_and_errors.append((codes(train), errors(train)))
        held_out = [np.concatenate(parts) for parts in zip(*codes_and_errors, strict=True)]
        return cls(codes(train), *held_out)

    def arrays(self) -> dict[str, np.ndarray]:
        """What the constructor takes, for a file."""
        names = ("codes", "held_out_codes", "held_out_errors")
        return {name: getattr(self, name) for name in names}

    def scores(self, errors: np.ndarray, codes: np.ndarray, seed: int) -> np.ndarray:
        """Outlier scores as `outlier_detector` gives them; higher is odder."""
        detector = self._once(
            ("detector", seed),
            lambda: outlier_detector.fit(self.held_out_errors, self.held_out_codes, seed),
        )
        return detector.scores(errors, codes)

    def limit(self, share: float, seed: int) -> float:
        """The score that a share of usual images exceeds."""
        return self._once(
            ("limit", share, seed),
            lambda: outlier_detector.threshold(
                self.held_out_errors, self.held_out_codes, share, seed
            ),
        )

    def _once(self, key: Any, fit: Callable[[], Any]) -> Any:
        if key not in self._fitted:
            self._fitted[key] = fit()
        return self._fitted[key]
