"""A classifier that learns from a few labels and from many images without, as a `keras.Model`.

It receives its network; it builds none.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasunsup.data import augmentation, corruption


@keras.saving.register_keras_serializable(package="kerasunsup")
class PseudoLabelled(keras.Model):
    """Trains a network on its own confident answers beside the labels.

    Each step shows the network an unlabelled image twice: hardly changed, where an answer it is
    sure of becomes the image's label, and strongly deformed with a hole, where it must find that
    label again. Labelled images are deformed too. `fit` it on elements (labelled images, labels,
    unlabelled images, seed (2,)).

    Args:
        network: images -> logits (batch, num_classes).
        threshold: probability from which an answer counts.
        weak: strength of `augmentation.deform` where answers are taken.
        strong: where they are learned.
        hole: side of the hole, in pixels.
        seed: of the deformations.

    Source:
        FixMatch, Sohn et al., 2020, arXiv:2001.07685, eq. 3 and 4.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        threshold: float = 0.95,
        weak: float = 0.3,
        strong: float = 1.0,
        hole: int = 8,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.network = network
        # A variable: one compiled step serves every seed.
        self._seed_variable = tf.Variable(seed, dtype=tf.int32, trainable=False)
        self._settings: dict[str, Any] = {
            "threshold": threshold,
            "weak": weak,
            "strong": strong,
            "hole": hole,
        }
        self._trackers = [
            keras.metrics.Mean(name)
            for name in (
                "loss",  # of the labelled images, in nats
                "unlabelled_loss",  # of those that count, mean over all, in nats
                "counted",  # share of the unlabelled images whose answer counts
            )
        ]
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Exactly what `train_step` reports."""
        return self._trackers

    def set_seed(self, seed: int) -> None:
        """Takes another seed of the deformations, 0 to 2**31 - 1."""
        self._seed_variable.assign(seed)

    def get_config(self) -> dict[str, Any]:
        """The network and the settings."""
        network = keras.saving.serialize_keras_object(self.network)
        return {
            **super().get_config(),
            "network": network,
            "seed": int(self._seed_variable.numpy()),
            **self._settings,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PseudoLabelled:
        """The model that `get_config` describes, with fresh weights."""
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects)
        return cls(**{**config, "network": network})

    def call(self, images: Any, training: bool = False) -> Any:
        """Logits (batch, num_classes)."""
        return self.network(images, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update on labelled images (batch, height, width, channels) and unlabelled ones."""
        (labelled, labels), (unlabelled, _) = data
        weak, strong = self._settings["weak"], self._settings["strong"]
        step = self.optimizer.iterations
        seeds = [step_seed(self._seed_variable, step, part) for part in range(4)]
        answers = ops.softmax(
            self.network(augmentation.deform(unlabelled, weak, seeds[0]), training=False)
        )
        counts = ops.cast(ops.max(answers, axis=1) >= self._settings["threshold"], "float32")
        pseudo_labels = ops.argmax(answers, axis=1)
        hidden = corruption.cut_holes(
            augmentation.deform(unlabelled, strong, seeds[1]), self._settings["hole"], seeds[2]
        )
        # One pass for both: batch normalization, where the network has any, sees what it will see.
        images = ops.concatenate([augmentation.deform(labelled, strong, seeds[3]), hidden])
        num_labelled = ops.shape(labelled)[0]
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            loss = ops.mean(cross_entropy(labels, logits[:num_labelled]))
            unlabelled_loss = ops.mean(counts * cross_entropy(pseudo_labels, logits[num_labelled:]))
            # Gradients are summed over replicas, and each mean is over one replica's share.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            total = (loss + unlabelled_loss) / replicas
        variables = self.network.trainable_variables
        values = [variable.value for variable in variables]
        self.optimizer.apply(tape.gradient(total, values), variables)
        for tracker, value in zip(
            self._trackers, (loss, unlabelled_loss, ops.mean(counts)), strict=True
        ):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self._trackers}


def step_seed(seed: Any, step: Any, part: int) -> Any:
    """int32 (2,), another in each step, part of a step and replica; `seed` is an int32 scalar."""
    pair = tf.stack([seed, ops.cast(step, "int32")])
    context = tf.distribute.get_replica_context()
    replica = 0 if context is None else context.replica_id_in_sync_group
    for number in (part, replica):
        pair = tf.random.experimental.stateless_fold_in(pair, number)
    return pair


def cross_entropy(labels: Any, logits: Any) -> Any:
    """In nats, one an image."""
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
