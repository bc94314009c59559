"""An encoder that learns which two views show one image, as a `keras.Model`.

It receives its networks; it builds none.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from kerasunsup.data import augmentation
from kerasunsup.data.augmentation import Deformation
from kerasunsup.models import fixmatch

_NEVER = -1e9  # as a logit: no view is its own partner


def nt_xent(first: Any, second: Any, temperature: float) -> Any:
    """The loss NT-Xent: each view must find its partner among all other views by cosine.

    Args:
        first: projections of one view of each image, (batch, dim).
        second: those of the other view, in the same order, (batch, dim).
        temperature: cosines are divided by it before the softmax.

    Returns:
        In nats, a float32 scalar, mean over all 2 * batch views; log(2 * batch - 1) by chance.

    Source:
        Chen et al., 2020, arXiv:2002.05709, eq. 1, and its mean over all positive pairs.

    Example:
        >>> round(float(nt_xent(tf.eye(2), tf.eye(2), temperature=0.1)), 4)
        0.0001
    """
    number = ops.shape(first)[0]
    views = ops.cast(ops.concatenate([first, second]), "float32")
    views = ops.normalize(views, axis=1)
    cosines = ops.matmul(views, ops.transpose(views))  # (2 * batch, 2 * batch)
    logits = cosines / temperature + _NEVER * ops.eye(2 * number)
    partners = ops.concatenate([ops.arange(number, 2 * number), ops.arange(number)])
    return ops.mean(fixmatch.cross_entropy(partners, logits))


def projection_head(codes_dim: int, *, hidden_units: int = 128, dim: int = 64) -> keras.Model:
    """The network between codes and the loss, thrown away afterwards: dense, ReLU, dense.

    What the loss makes the last layers forget, codes before them keep (section 4.2 of the paper).

    Args:
        codes_dim: size of a code.
        hidden_units: of the first layer.
        dim: size of a projection.

    Returns:
        codes (batch, codes_dim) -> projections (batch, dim).

    Example:
        >>> projection_head(32)(tf.ones((5, 32))).shape
        TensorShape([5, 64])
    """
    inputs = keras.Input((codes_dim,), name="codes")
    x = layers.Dense(hidden_units, activation="relu", name="hidden")(inputs)
    projections = layers.Dense(dim, dtype="float32", name="projections")(x)
    return keras.Model(inputs, projections, name="projection_head")


class Contrastive(keras.Model):
    """Trains an encoder to give two deformed views of an image codes that find each other.

    `fit` it on elements (images, unread). Runs on one device.

    Args:
        encoder: images -> codes (batch, codes_dim).
        head: codes -> projections, which the loss compares.
        limits: of the deformation of views: what an image may undergo and still show the same.
        temperature: of the loss.
        seed: of the deformations.

    Source:
        SimCLR, Chen et al., 2020, arXiv:2002.05709, algorithm 1; views here are deformed, and
        neither cropped nor coloured.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.Model,
        *,
        limits: Deformation,
        temperature: float = 0.5,
        seed: int = 0,
    ) -> None:
        if not temperature > 0.0:
            raise ValueError(f"temperature must be above 0, received {temperature}")
        super().__init__()
        self.encoder, self.head = encoder, head
        self._limits, self._temperature, self._seed = limits, temperature, seed
        self._loss = keras.metrics.Mean("loss")  # in nats
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Exactly what `train_step` reports."""
        return [self._loss]

    def call(self, images: Any, training: bool = False) -> Any:
        """Codes (batch, codes_dim)."""
        return self.encoder(images, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update on images (batch, height, width, channels), float32 in [0, 1]."""
        images, _ = data
        step = self.optimizer.iterations
        seeds = [fixmatch.step_seed(self._seed, step, part) for part in range(2)]
        views = [augmentation.deform(images, 1.0, seed, self._limits) for seed in seeds]
        number = ops.shape(images)[0]
        with tf.GradientTape() as tape:
            codes = self.encoder(ops.concatenate(views), training=True)
            projections = self.head(codes, training=True)
            loss = nt_xent(projections[:number], projections[number:], self._temperature)
        variables = self.trainable_variables
        values = [variable.value for variable in variables]
        self.optimizer.apply(tape.gradient(loss, values), variables)
        self._loss.update_state(loss)
        return {"loss": self._loss.result()}
