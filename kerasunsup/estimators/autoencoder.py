"""The autoencoder as an estimator: codes, reconstructions, new images, outliers, groups."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.exceptions import NotFittedError

from kerasunsup.ae import experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import image_set as data_image_set
from kerasunsup.data.image_set import ImageSet
from kerasunsup.errors import InputError
from kerasunsup.estimators import callers_state
from kerasunsup.estimators.image_arrays import as_array, as_image_set, as_splits
from kerasunsup.estimators.image_estimator import (
    ImageEstimator,
    check_number,
    predicted,
    with_outputs,
)
from kerasunsup.estimators.keywords import EstimatorSettings
from kerasunsup.estimators.messages import python_words
from kerasunsup.estimators.usual_images import UsualImages
from kerasunsup.evaluation import clustering
from kerasunsup.models import export
from kerasunsup.settings import setting
from kerasunsup.training import code_sampler, files, loop, trained_on

_MOST_SEED = 2**32 - 1  # that scikit-learn takes
USUAL_FILE = "usual_images.npz"  # in a folder that `save` wrote


@dataclasses.dataclass(frozen=True)
class AutoencoderKeywords(EstimatorSettings):
    """What the estimator can be told beside the command's settings."""

    contamination: float = setting(
        0.05, "the share of usual images that `predict` calls outliers", above=0.0, most=0.5
    )


class TrainedAutoencoder(ImageEstimator):
    """What a trained autoencoder is made of, and what its other methods stand on."""

    _usual: UsualImages | None
    _run_read: Path | None
    _sampler: code_sampler.CodeSampler | None

    def _take(self, model: keras.Model) -> None:
        """Becomes an estimator of a trained model."""
        # Without the optimizer, which is of this package and no part of what was learned.
        self.model_ = keras.Model(model.input, model.output, name=model.name)
        named = {layer.name: layer for layer in model.layers}
        # Of a denoiser with skips None: it has no code.
        self.encoder_, self.decoder_ = named.get("encoder"), named.get("decoder")
        self.image_shape_ = tuple(model.input_shape[1:])
        self._n_features_out = 0 if self.encoder_ is None else self.encoder_.output_shape[-1]
        self._usual = self._run_read = self._sampler = None

    def _network(self) -> keras.Model:
        return self.model_

    def _write(self, folder: Path, **more: Any) -> None:
        export.write_keras(folder / "model.keras", self.model_)
        if self._usual is not None:
            files.write_arrays(folder / USUAL_FILE, self._usual.arrays())
        if self._sampler is not None:
            self._sampler.write(folder / code_sampler.FILE)
        super()._write(folder, **more)

    def _images(self, images: Any) -> ImageSet:
        self._require_fitted()
        return as_image_set(images, self.image_shape_)

    def _require_code(self) -> None:
        self._require_fitted()
        if self.encoder_ is None:
            raise InputError("a denoiser has no code, which this method needs: fit with skip=False")

    def _codes(self, image_set: ImageSet) -> np.ndarray:
        self._require_code()
        return predicted(self.encoder_, image_set.blocks())

    def _errors(self, image_set: ImageSet) -> np.ndarray:
        pairs = with_outputs(self.model_, image_set.blocks())
        return np.concatenate(
            [np.square(given - made).mean(axis=(1, 2, 3)) for given, made in pairs]
        )

    def _usual_images(self, method: str) -> UsualImages:
        """What a method compares with; of a run that was read, by its images.

        Raises:
            InputError: if they are not known.
        """
        self._require_code()
        if self._usual is None and self._run_read is not None:
            try:
                splits = trained_on.splits(self._run_read)
            except InputError as error:
                raise InputError(
                    f"{method} needs the images that the run was trained on, which cannot be found "
                    f"({error}): put them back"
                ) from error
            self._usual = UsualImages.of(splits, self._codes, self._errors)
        if self._usual is None:
            raise InputError(
                f"{method} needs codes of training images, and this file holds the network alone: "
                "fit(images), or load a folder that save wrote or a run whose images are in place"
            )
        return self._usual

    def _fitted_sampler(self) -> code_sampler.CodeSampler:
        """What `sample` draws from, fitted where there is none of the kind that is wanted."""
        settings, _ = self._checked()
        if self._sampler is None or self._sampler.kind != settings.sampler:
            codes = self._usual_images("sample").codes
            callers_state.deterministic_operations(settings.deterministic)
            self._sampler = code_sampler.fit(codes, settings.sampler, settings.seed)
        return self._sampler

    @property
    def best_epoch_(self) -> int:
        """The epoch with the lowest validation loss, counted from 1: the model has its weights."""
        self._require_fitted()
        losses = self.history_.get("val_loss")
        if not losses:  # an AttributeError, too, so that `hasattr` and completion go on
            raise NotFittedError(
                "there is no history of finished epochs: fit the autoencoder, or load a folder "
                "that save wrote"
            )
        return 1 + int(np.argmin(losses))

    @python_words
    def score_samples(self, images: Any) -> np.ndarray:
        """How usual each image is, float64 (num_images,): higher is more usual, about 0 is usual.

        Minus the outlier score of `apply outliers`, of the reconstruction's error and the code's
        rarity beside those of the validation images. See `evaluation.outlier_detector`.
        """
        image_set = self._images(images)
        usual = self._usual_images("score_samples")
        seed = self._checked()[0].seed
        return -usual.scores(self._errors(image_set), self._codes(image_set), seed)

    @python_words
    def decision_function(self, images: Any) -> np.ndarray:
        """`score_samples` less its limit, float64 (num_images,): below 0 are outliers."""
        scores, (settings, own) = self.score_samples(images), self._checked()
        return scores + self._usual_images("predict").limit(own.contamination, settings.seed)

    def predict(self, images: Any) -> np.ndarray:
        """+1 for usual images, -1 for outliers; int64 (num_images,).

        The limit is the score that a share of `contamination` of usual images exceeds.
        """
        return np.where(self.decision_function(images) < 0.0, -1, 1)


class Autoencoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, TrainedAutoencoder
):
    """The study's convolutional autoencoder, trained without labels.

    Images are (num_images, height, width) or (num_images, height, width, 1 or 3), uint8 or float in
    [0, 1], of 8 to 128 pixels a side; what comes back is float32 in [0, 1]. Keywords are the
    settings of `python -m kerasunsup.ae`, checked when it is fitted.

    With `skip=True` it is a denoiser: it has `reconstruct` and `score`, and no codes; `encoder_`
    and `decoder_` are None.

    Attributes:
        history_: a list a quantity, a number an epoch; `loss` and `val_loss` are mean squared
            errors, `epoch` counts from 1. With `variational=True` losses are in nats, beside
            their parts `reconstruction` and `kl`, and `mse` and `val_mse` are the errors.
        model_: images -> reconstructions, a `keras.Model`; `encoder_` and `decoder_` are its parts.
        image_shape_: (height, width, channels).
        run_folder_: where the run was written; None without `log_dir`.

    Example:
        >>> images = np.random.default_rng(0).random((60, 16, 16), np.float32)
        >>> autoencoder = Autoencoder(latent_dim=4, epochs=1, filters=(4,), verbose=0).fit(images)
        >>> autoencoder.transform(images).shape, autoencoder.reconstruct(images).shape
        ((60, 4), (60, 16, 16))
    """

    settings_type = AutoencoderSettings
    own_settings = AutoencoderKeywords
    experiment = "ae"

    @python_words
    @callers_state.kept()
    def fit(self, images: Any, y: Any = None, *, validation: Any = None) -> Self:
        """Trains on images; Ctrl-C (a notebook's stop button) ends with the best weights so far.

        Args:
            images: to learn from; an array, or a part of `load_images`.
            y: ignored.
            validation: images by which the best epoch is chosen; a tenth of the others by default.

        Raises:
            ValueError: if a setting is wrong, or they are no images.
        """
        settings, _ = self._checked()
        splits = as_splits(images, validation, settings.seed)
        experiment.check(settings, splits)
        prepare = experiment.corruption_of(settings)
        settings = self._decided(settings, splits, experiment.build, prepare)
        with self._training(settings, splits) as run:
            mean = loop.mean_pixel(splits)
            model = experiment.build(settings, splits.image_shape, mean=mean)
            fitted = loop.fit(
                model,
                splits,
                settings,
                run,
                prepare=prepare,
                deformation=settings.deformation,
                rate=functools.partial(loop.learning_rate, settings, settings.epochs),
                may_stop=True,
            )
        plain = experiment.build(settings, splits.image_shape, is_shipped=True)
        plain.set_weights(model.get_weights())
        self._take(plain)
        self._remember(fitted, run)
        if not settings.skip:
            self._usual = UsualImages.of(splits, self._codes, self._errors)
        if run is not None:
            self._write(run.folder)
        return self

    @python_words
    def transform(self, images: Any) -> np.ndarray:
        """The codes of images, float32 (num_images, latent_dim)."""
        return self._codes(self._images(images))

    @python_words
    def inverse_transform(self, codes: Any) -> np.ndarray:
        """The images of codes, float32 (num_codes, height, width, channels) in [0, 1].

        Raises:
            ValueError: if codes are not (num_codes, latent_dim), finite numbers.
        """
        self._require_code()
        values = _as_codes(codes, self._n_features_out)
        size = data_image_set.block_size(self.image_shape_)
        blocks = (values[start : start + size] for start in range(0, len(values), size))
        return predicted(self.decoder_, blocks)

    @python_words
    def reconstruct(self, images: Any) -> np.ndarray:
        """Decoded codes of images, or restored images: float32 in [0, 1], of their shape."""
        reconstructions = predicted(self.model_, self._images(images).blocks())
        return reconstructions[..., 0] if np.ndim(images) == 3 else reconstructions

    @python_words
    @callers_state.kept()
    def sample(self, n: int = 1, seed: int = 0) -> np.ndarray:
        """New images, of codes drawn from a mixture of 100 Gaussians fitted to training codes.

        With `sampler="flow"` a flow carries the draws to the codes, with `"neighbors"` they lie
        around the neighbors of training codes. The first call fits it, a flow in minutes where
        there are tens of thousands of codes; `save` keeps what was fitted.

        Args:
            n: how many.
            seed: what is drawn follows from it.

        Returns:
            float32 (n, height, width, channels) in [0, 1].

        Raises:
            ValueError: if it was read from a file without the codes of training images.
        """
        check_number("n", n)
        check_number("seed", seed, least=0, most=_MOST_SEED)
        self._require_code()
        return self.inverse_transform(self._fitted_sampler().sample(n, seed))

    @python_words
    def score(self, images: Any, y: Any = None) -> float:
        """Minus the mean squared error of the reconstructions, mean over pixels and images."""
        return -float(self._errors(self._images(images)).mean())

    @python_words
    def cluster(self, images: Any, n: int | None = None) -> np.ndarray:
        """The group of each image, by spectral clustering on the graph of codes.

        Args:
            images: thirty or more.
            n: how many groups, at most a tenth of the images; None lets the graph decide.

        Returns:
            int64 (num_images,), from 0; the largest group first.
        """
        if n is not None:
            check_number("n", n)
        codes, seed = self._codes(self._images(images)), self._checked()[0].seed
        try:
            return clustering.groups(codes, n, seed)
        except ValueError as error:
            raise InputError(f"{error}: give more images or fewer groups") from error


def _as_codes(given: Any, latent_dim: int) -> np.ndarray:
    """What a user gave as codes, checked: float32 (num_codes, latent_dim).

    Raises:
        InputError: if they are no such codes.
    """
    values = as_array("codes", given)
    try:
        if values.dtype.kind in "cSU":
            raise TypeError
        values = values.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"codes must be numbers, received {values.dtype}: give what transform returns"
        ) from error
    if values.shape[1:] != (latent_dim,) or not len(values):
        raise InputError(
            f"codes must be (num_codes, {latent_dim}), received {values.shape}: give what "
            "transform returns"
        )
    if not np.isfinite(values).all():
        raise InputError("codes must be finite, received NaN or infinite numbers: replace them")
    return values
