"""A trained autoencoder with its data: what its results are computed from."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import keras
import numpy as np

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import image_set as data_image_set
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.evaluation import image_metrics, latent_space
from kerasunsup.training import code_sampler, feature_network
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

SHOWN = 12  # images in a row of a picture, at most
FITTED_CODES = 50_000  # training codes that samplers and groups are fitted to, at most
_HELD_BYTES = 200_000_000  # float32 images held at once, where a method needs them so; MNIST's fit


@dataclasses.dataclass(frozen=True)
class TrainedAutoencoder:
    """A trained model with its data, and where its pictures go."""

    model: keras.Model
    splits: Splits
    settings: AutoencoderSettings
    run: Run
    tensorboard: training_tensorboard.TensorBoardWriter
    sampler: code_sampler.CodeSampler | None = None  # what is kept with the run, if anything

    @property
    def examples(self) -> np.ndarray:
        """The test images that pictures show, float32 (k, height, width, channels) in [0, 1]."""
        return self.splits.test.array(example_indices(self.splits))

    @property
    def samplers(self) -> dict[str, tuple[str, code_sampler.Way]]:
        """Ways of drawing codes, as in `latent_space.SAMPLERS`; those of the run among them."""
        usual = latent_space.SAMPLERS
        return usual if self.sampler is None else self.sampler.among(usual)

    @property
    def most_held(self) -> int:
        """So many images may be in memory at once."""
        return _HELD_BYTES // (4 * int(np.prod(self.splits.image_shape)))

    @functools.cached_property
    def feature_network(self) -> feature_network.FeatureNetwork:
        """In whose features sets of images are compared: of the classes, else the own encoder."""
        if feature_network.has_classes(self.splits):
            folder = self.run.folder.parent.parent / "judge"
            return feature_network.classifier_of(self.splits, folder)
        return feature_network.of_encoder(self.model.get_layer("encoder"))

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """The model's output for a batch of any size, float32."""
        return self.model.predict(inputs, batch_size=500, verbose=0)

    def part(self, name: str, inputs: np.ndarray) -> np.ndarray:
        """The output of the `encoder` or the `decoder`, float32."""
        return self.model.get_layer(name).predict(inputs, batch_size=500, verbose=0)

    def codes(self, image_set: ImageSet, number: int) -> np.ndarray:
        """The codes of the first images of a set, read in blocks; float32 (number, latent_dim)."""
        return np.concatenate([self.part("encoder", part) for part in image_set.blocks(number)])

    def decoded(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """The images of many codes, a block at a time."""
        size = data_image_set.block_size(self.splits.image_shape)
        for start in range(0, len(codes), size):
            yield self.part("decoder", codes[start : start + size])


def example_indices(splits: Splits) -> np.ndarray:
    """Test images for the pictures: the first of each class, or the first ten; at most twelve."""
    if splits.labels is None:
        return np.arange(min(10, len(splits.test)))
    _, first = np.unique(splits.labels.test, return_index=True)
    return first[:SHOWN]


def class_labels(splits: Splits, indices: np.ndarray) -> list[str] | None:
    """The names of the classes of some test images; None without labels."""
    if splits.labels is None:
        return None
    classes = splits.labels.test[indices]
    if splits.class_names is None:
        return [str(label) for label in classes]
    return [splits.class_names[label] for label in classes]


def errors_on_tests(outputs: np.ndarray, pictures: np.ndarray) -> dict[str, float]:
    """How close outputs are to test images, as `metrics.json` has it."""
    return {
        "test/mse": image_metrics.mse(outputs, pictures),
        "test/psnr_db": image_metrics.psnr_db(outputs, pictures),
        "test/ssim": image_metrics.ssim(outputs, pictures),
    }
