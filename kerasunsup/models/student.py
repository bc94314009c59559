"""A classifier that teaches itself: an averaged teacher labels images, the student learns them.

It receives its network; it builds none.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasunsup.data import augmentation, corruption
from kerasunsup.data.augmentation import Deformation
from kerasunsup.models import fixmatch

_FORGETTING = 0.99  # decay a step of the running mean of the teacher's answers


class SelfLabelled(keras.Model):
    """Trains a network that knows something already on what its own average is sure of.

    The teacher is an average of the network's weights and of its batch statistics over the last
    steps. It begins as a copy of the network as it is now: an average from the first step of a
    training on would stay at chance, since its batch statistics lag behind its weights. Each step
    shows it every image hardly changed; where it is surer than a threshold its answer is the label
    that the network must find on the image strongly deformed.

    `fit` it on elements (images, unread), or with labelled images beside them on ((labelled images,
    labels), (images, unread)). Runs on one device.

    Args:
        network: images -> logits (batch, num_classes).
        threshold: probability from which an answer of the teacher counts, or from that on which it
            usually has in the answer's class, where that is less: a teacher of partly wrong groups
            is sure of few classes, and the network would forget the others.
        averaging: share of itself that the teacher keeps in each step.
        is_balanced: divide the teacher's answers by their running mean and let each sum to 1 again,
            so that no class takes over.
        weak: limits of the deformation of images that the teacher answers to.
        strong: limits of the deformation of images that the network learns.
        hole: side of the hole in images that the network learns, in pixels.
        seed: of the deformations.

    Attributes:
        network: the student.
        teacher: its average, which answers better than the student.

    Source:
        Mean teacher, Tarvainen & Valpola, 2017, arXiv:1703.01780; FixMatch, Sohn et al., 2020,
        arXiv:2001.07685, eq. 4, whose answers are those of the student itself; distribution
        alignment, Berthelot et al., 2020, arXiv:1911.09785, section 3.1, with equal classes. A
        threshold a class as in FlexMatch, Zhang et al., 2021, arXiv:2110.08263, where it follows
        from how many answers count and not from how sure they are.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        threshold: float,
        averaging: float,
        is_balanced: bool,
        weak: Deformation,
        strong: Deformation,
        hole: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.teacher = keras.models.clone_model(network)
        self.teacher.set_weights(network.get_weights())
        self.teacher.trainable = False
        self._threshold, self._averaging, self._is_balanced = threshold, averaging, is_balanced
        self._weak, self._strong, self._hole, self._seed = weak, strong, hole, seed
        num_classes = network.output_shape[-1]
        self._mean_answer = tf.Variable(tf.fill([num_classes], 1.0 / num_classes), trainable=False)
        # Of the probabilities of answers of each class, and of their numbers.
        self._sum_sure = tf.Variable(tf.zeros(num_classes), trainable=False)
        self._num = tf.Variable(tf.zeros(num_classes), trainable=False)
        self._trackers = [
            keras.metrics.Mean(name)
            for name in (
                "loss",  # of labelled images and of answers that count, in nats
                "counted",  # share of the images whose answer counts
            )
        ]
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Exactly what `train_step` reports."""
        return self._trackers

    def call(self, images: Any, training: bool = False) -> Any:
        """The teacher's logits, (batch, num_classes)."""
        return self.teacher(images, training=False)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update on images (batch, height, width, channels), perhaps with labelled ones."""
        given, (images, _) = data if isinstance(data[0], tuple) else (None, data)
        step = self.optimizer.iterations
        seeds = [fixmatch.step_seed(self._seed, step, part) for part in range(4)]
        targets, counts = self._answers(augmentation.deform(images, 1.0, seeds[0], self._weak))
        views = augmentation.deform(images, 1.0, seeds[1], self._strong)
        views = corruption.cut_holes(views, self._hole, seeds[2])
        # A mean over the images without labels, and one over those with: as in FixMatch.
        weights = counts / ops.cast(ops.shape(images)[0], "float32")
        if given is not None:  # one pass for both: they share their batch statistics
            labelled, labels = given
            views = ops.concatenate(
                [views, augmentation.deform(labelled, 1.0, seeds[3], self._strong)]
            )
            targets = ops.concatenate([targets, ops.cast(labels, targets.dtype)])
            number = ops.cast(ops.shape(labels)[:1], "float32")
            weights = ops.concatenate([weights, ops.ones_like(labels, "float32") / number])
        with tf.GradientTape() as tape:
            logits = self.network(views, training=True)
            loss = ops.sum(weights * fixmatch.cross_entropy(targets, logits))
        variables = self.network.trainable_variables
        values = [variable.value for variable in variables]
        self.optimizer.apply(tape.gradient(loss, values), variables)
        for average, variable in zip(self.teacher.weights, self.network.weights, strict=True):
            average.assign(variable + self._averaging * (average - variable))
        for tracker, value in zip(self._trackers, (loss, ops.mean(counts)), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self._trackers}

    def _answers(self, images: Any) -> tuple[Any, Any]:
        """The teacher's classes of images, and which of them count: 1.0 or 0.0; (batch,) both."""
        answers = ops.softmax(self.teacher(images, training=False))
        if self._is_balanced:
            mean = self._mean_answer
            mean.assign(_FORGETTING * mean + (1.0 - _FORGETTING) * ops.mean(answers, axis=0))
            answers = answers / mean
            answers = answers / ops.sum(answers, axis=1, keepdims=True)
        classes, probability = ops.argmax(answers, axis=1), ops.max(answers, axis=1)
        members = ops.one_hot(classes, answers.shape[-1])  # (batch, num_classes)
        for sums, parts in ((self._sum_sure, probability[:, None] * members), (self._num, members)):
            sums.assign(_FORGETTING * sums + ops.sum(parts, axis=0))
        usual = self._sum_sure / ops.maximum(self._num, 1e-6)
        limit = ops.take(ops.minimum(self._threshold, usual), classes)
        return classes, ops.cast(probability >= limit, "float32")
