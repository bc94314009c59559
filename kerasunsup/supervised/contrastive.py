"""The methods on a contrastive encoder: is drawing images again the right thing to learn from?

The encoder has the architecture of the usual one and about the seconds of its training, but learns
which two views show the same image (`training.contrastive`). It is trained once in a run, on all
training images and without labels, and kept in the run folder.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from kerasunsup.data import batches
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.evaluation import clustering
from kerasunsup.supervised.cells import Cell, CellResult
from kerasunsup.supervised.encoded_images import EncodedImages
from kerasunsup.supervised.methods import MethodTrainer
from kerasunsup.supervised.settings import CONTRASTIVE, SupervisedSettings
from kerasunsup.training import contrastive, files, self_labelling
from kerasunsup.training.run_folder import Run

logger = logging.getLogger(__name__)

# Codes of a split that are sorted into groups, at most: of test images as many as `ae` takes.
_GROUPED = {"groups": 10_000, "groups_training": 20_000}
_CHECKED = 1000  # images whose codes must be numbers


class EncoderTrainers:
    """Trains each cell of a comparison from the encoder that its method begins with.

    Args:
        run: keeps the contrastive encoder.
        path: of the usual encoder's `model.keras`; the numbers of its run lie beside it.
        encoder: the usual encoder, images -> codes.
        splits: the images with their labels.
        classes: the label that each class, counted from 0, stands for, ascending.
        settings: of the comparison. The contrastive encoder is trained, or read, where a method
            needs it.

    Raises:
        InputError: if the run holds a damaged encoder.
    """

    def __init__(
        self,
        run: Run,
        path: Path,
        encoder: keras.Model,
        splits: Splits,
        classes: np.ndarray,
        settings: SupervisedSettings,
    ) -> None:
        self._splits, self._settings, self._num_classes = splits, settings, len(classes)
        self._usual = MethodTrainer(splits, classes, encoder, settings)
        self._encoders = {"encoder": encoder}
        self._numbers: dict[str, float] = {}
        self._contrastive = self._usual
        if set(settings.arms) & set(CONTRASTIVE):
            seconds = _training_seconds(path)
            other, self._numbers = _contrastive_encoder(run, encoder, splits, settings, seconds)
            if seconds is not None:
                self._numbers["encoder/seconds"] = seconds
            self._encoders["contrastive"] = other
            self._contrastive = MethodTrainer(splits, classes, other, settings)

    def train(self, cell: Cell, *, keeps_weights: bool = False) -> CellResult:
        """Trains and measures one cell; see `MethodTrainer.train`."""
        trainer, method = self._of(cell.method)
        alike = Cell(method, cell.num_labels, cell.repetition)
        return trainer.train(alike, keeps_weights=keeps_weights)

    def classifier(self, method: str, weights: Sequence[np.ndarray]) -> keras.Model:
        """Images -> probabilities, by the weights of a network."""
        trainer, method = self._of(method)
        return trainer.classifier(method, weights)

    def _of(self, method: str) -> tuple[MethodTrainer, str]:
        if method in CONTRASTIVE:
            return self._contrastive, CONTRASTIVE[method]
        return self._usual, method

    def numbers(self) -> dict[str, float]:
        """What the two encoders are worth without any label; empty without a contrastive one.

        `groups_accuracy` is the share of the first 10,000 test images in the right one of as many
        groups as classes, by the best matching, `groups_training_accuracy` that of the first 20,000
        training images. One such number says little: groups of another draw of images may be ten
        points more or less right. Images that are too few for so many groups have none.
        """
        if "contrastive" not in self._encoders:
            return {}
        numbers, labels = dict(self._numbers), self._splits.labels
        if labels is None:
            raise ValueError("there are no labels")
        answers = {
            "groups": (self._splits.test, labels.test),
            "groups_training": (self._splits.train, labels.train),
        }
        for name, encoder in self._encoders.items():
            for kind, (images, of_images) in answers.items():
                shown = np.arange(min(_GROUPED[kind], len(images)))
                encoded = EncodedImages(
                    encoder, {kind: images.subset(shown)}, self._num_classes, self._settings.seed
                )
                try:
                    groups = clustering.groups(
                        encoded.codes(kind), self._num_classes, self._settings.seed
                    )
                except ValueError as error:
                    logger.info(f"no groups of {len(shown)} images: {error}")
                    continue
                found = clustering.agreement(groups, of_images[shown])
                numbers[f"{name}/{kind}_accuracy"] = found["accuracy"]
        return numbers


def _training_seconds(path: Path) -> float | None:
    """What the training of a stored autoencoder took; None where its run does not say."""
    metrics = path.parent / "metrics.json"
    seconds = files.read_json(metrics).get("training_seconds") if metrics.exists() else None
    return float(seconds) if seconds else None


def _contrastive_encoder(
    run: Run,
    like: keras.Model,
    splits: Splits,
    settings: SupervisedSettings,
    seconds: float | None,
) -> tuple[keras.Model, dict[str, float]]:
    """The contrastive encoder of a run and the numbers of its training.

    An earlier session of the run may have trained it, or have found out how many steps it takes.

    Raises:
        InputError: if the run holds a damaged one, or the learning rate is too large.
    """
    kept = run.folder / "checkpoints" / "contrastive_encoder.npz"
    planned = run.folder / "checkpoints" / "contrastive.json"
    encoder = keras.models.clone_model(like)
    if kept.exists():
        return encoder, _read(kept, encoder)
    training = contrastive.ContrastiveSettings(
        limits=self_labelling.DIGITS.scaled(settings.deformation),
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
    )
    num_steps = files.read_json(planned).get("steps") if planned.exists() else None
    if num_steps:
        logger.info("the training of the contrastive encoder begins again")
    elif seconds is None:
        steps = batches.steps_per_epoch(splits.train, settings.batch_size)
        num_steps = settings.encoder_epochs * steps
    else:
        num_steps = contrastive.steps_within(seconds, like, splits.train, training)
    files.write_json(planned, {"steps": num_steps})
    logger.info(
        f"training a contrastive encoder, without labels: {num_steps:,} steps, as long as the usual"
        " one"
    )
    trained = contrastive.train(
        like, splits.train, num_steps=num_steps, settings=training, seed=settings.seed
    )
    shown = splits.train.array(np.arange(min(_CHECKED, len(splits.train))))
    codes = trained.encoder.predict(shown, verbose=0)
    if not (np.isfinite(trained.losses).all() and np.isfinite(codes).all()):
        raise InputError(
            "the contrastive encoder gives codes that are no numbers: choose a smaller "
            "--learning-rate"
        )
    numbers = {
        "contrastive/seconds": trained.seconds,
        "contrastive/images": trained.images,
        "contrastive/loss": trained.losses[-1],
    }
    weights = {f"weights/{i:04}": array for i, array in enumerate(trained.encoder.get_weights())}
    run.check_folder()
    files.write_arrays(kept, {k: np.asarray(v) for k, v in numbers.items()} | weights)
    return trained.encoder, numbers


def _read(path: Path, encoder: keras.Model) -> dict[str, float]:
    """Sets the weights that are kept there; returns the numbers beside them."""
    arrays = files.read_arrays(path)
    try:
        encoder.set_weights([arrays[name] for name in sorted(arrays) if name[:8] == "weights/"])
        return {name: float(values) for name, values in arrays.items() if name[:8] != "weights/"}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): remove it, then --resume") from error
