"""The adversarial game as a `keras.Model` with its own `train_step`.

It receives its two networks and its loss; it builds neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasunsup.models import replicated

# (real logits (batch, 1), generated logits (batch, 1)) -> (generator's loss, discriminator's loss),
# scalars, mean over the batch.
AdversarialLoss = Callable[[Any, Any], tuple[Any, Any]]

_METRICS = (
    "generator_loss",
    "discriminator_loss",
    # Shares of real and of generated images that are told rightly: by the sign of the logit; in the
    # relativistic game by which of a pair has the higher one, and both are the same.
    "real_accuracy",
    "generated_accuracy",
)
_PENALTY_EVERY = 8  # steps
_STATISTICS_BATCHES = 20
_STATISTICS_BATCH_SIZE = 500


@keras.saving.register_keras_serializable(package="kerasunsup")
def non_saturating(real_logits: Any, generated_logits: Any) -> tuple[Any, Any]:
    """The game with the generator's loss that keeps its gradient while it loses.

    Args:
        real_logits: (batch, 1) of real images, float32; above 0 the discriminator says real.
        generated_logits: (batch, 1) of generated images, float32.

    Returns:
        (mean of -log D(G(z)), mean of -log D(x) - log(1 - D(G(z)))), in nats, D the sigmoid.

    Source:
        Goodfellow et al., 2014, arXiv:1406.2661, section 3.
    """
    _, discriminator_loss = minimax(real_logits, generated_logits)
    return ops.mean(ops.softplus(-generated_logits)), discriminator_loss


@keras.saving.register_keras_serializable(package="kerasunsup")
def minimax(real_logits: Any, generated_logits: Any) -> tuple[Any, Any]:
    """The study's formula to the letter: the generator minimises what the other maximises.

    Arguments are those of `non_saturating`.

    Returns:
        (mean of log(1 - D(G(z))), mean of -log D(x) - log(1 - D(G(z)))), in nats, D the sigmoid.

    Source:
        Goodfellow et al., 2014, arXiv:1406.2661, eq. 1.
    """
    generated_loss = ops.mean(ops.softplus(generated_logits))
    return -generated_loss, ops.mean(ops.softplus(-real_logits)) + generated_loss


@keras.saving.register_keras_serializable(package="kerasunsup")
def relativistic(real_logits: Any, generated_logits: Any) -> tuple[Any, Any]:
    """The game about pairs: which of two images, one real and one generated, is more real?

    What the discriminator gives to all images alike means nothing, so that a generator which draws
    a few kinds of images well does not win: each real image must be met. To be played with a
    gradient penalty, else it need not come to rest. Arguments are those of `non_saturating`; the
    pairs are the batches' rows.

    Returns:
        (mean of -log S(G(z) - x), mean of -log S(x - G(z))), in nats, S the sigmoid of the
        difference of two logits.

    Source:
        Huang et al., 2024, arXiv:2501.05441, eq. 2; Jolicoeur-Martineau, 2018, arXiv:1807.00734.
    """
    lead = real_logits - generated_logits
    return ops.mean(ops.softplus(lead)), ops.mean(ops.softplus(-lead))


LOSSES: Mapping[str, AdversarialLoss] = {
    "non_saturating": non_saturating,
    "minimax": minimax,
    "relativistic": relativistic,
}


@keras.saving.register_keras_serializable(package="kerasunsup")
class GAN(replicated.Replicated, keras.Model):
    """A generator and a discriminator that train each other; `fit` it on batches of images.

    Each step draws noise, generates once, and updates both networks by what both were before the
    step. Real and generated images pass the discriminator apart: in one joined batch, batch
    normalization would see a mixture, and tell which is which.

    Args:
        generator: noise (batch, noise_dim) -> images in [0, 1].
        discriminator: images in [0, 1] -> logits (batch, 1).
        adversarial_loss: both losses from both logits.
        label_smoothing: the discriminator's target for real images is 1 less this (one-sided,
            Salimans et al. 2016, arXiv:1606.03498, section 3.4).
        gradient_penalty: weight of half the squared gradient of the logit by a real image, summed
            over pixels, mean over images (R1 of Mescheder et al. 2018, arXiv:1801.04406, eq. 9);
            with the relativistic loss that by generated images is added (R2 there).
        seed: of the noise.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        adversarial_loss: AdversarialLoss = non_saturating,
        label_smoothing: float = 0.0,
        gradient_penalty: float = 0.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.generator = generator
        self.discriminator = discriminator
        # Filled by `refresh_averaged_generator`; no copy of the layers' state before.
        self.averaged_generator = keras.models.clone_model(generator)
        self._averaged_here: keras.Model | None = None
        self.adversarial_loss = adversarial_loss
        self.label_smoothing = label_smoothing
        self.gradient_penalty = gradient_penalty
        self.random = keras.random.SeedGenerator(seed)
        self._seed = seed
        self._trackers = [keras.metrics.Mean(name) for name in _METRICS]
        self.built = True

    @property
    def noise_dim(self) -> int:
        """Values of the generator's noise."""
        return int(self.generator.input_shape[-1])

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Exactly what `train_step` reports: no constant zero called loss."""
        return self._trackers

    def compile(
        self,
        generator_optimizer: keras.Optimizer,
        discriminator_optimizer: keras.Optimizer,
        **options: Any,
    ) -> None:
        """Takes and builds both optimizers; the generator's may keep averages (`use_ema`).

        Both are built here, each on its own network: built later, a resumed GAN would
        begin with empty moments, and `MirroredStrategy` would fail in the first step.
        """
        # One of the two real ones: without any, Keras makes another, and logs its learning rate.
        super().compile(optimizer=discriminator_optimizer, **options)
        self.generator_optimizer = generator_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    def get_compile_config(self) -> dict[str, Any]:
        """Both optimizers, for `keras.models.load_model`."""
        return {
            "generator_optimizer": keras.saving.serialize_keras_object(self.generator_optimizer),
            "discriminator_optimizer": keras.saving.serialize_keras_object(self.optimizer),
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says."""
        self.compile(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})

    def get_config(self) -> dict[str, Any]:
        """Both networks, the loss and the settings."""
        return {
            **super().get_config(),
            "generator": keras.saving.serialize_keras_object(self.generator),
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "adversarial_loss": keras.saving.serialize_keras_object(self.adversarial_loss),
            "label_smoothing": self.label_smoothing,
            "gradient_penalty": self.gradient_penalty,
            "seed": self._seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> GAN:
        """The GAN that `get_config` describes, with fresh weights."""
        parts = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects)
            for key in ("generator", "discriminator", "adversarial_loss")
        }
        return cls(**{**config, **parts})

    def save_own_variables(self, store: Any) -> None:
        """Adds the state of everything random, which Keras leaves out of its files."""
        for name, state in _random_states(self).items():
            store[name] = np.asarray(state)

    def load_own_variables(self, store: Any) -> None:
        """Takes the state of everything random back."""
        for name, state in _random_states(self).items():
            state.assign(np.asarray(store[name]))

    def call(self, noise: Any, training: bool = False) -> Any:
        """Images of the generator as it is now: not averaged."""
        return self.generator(noise, training=training)

    def make_train_function(self, force: bool = False) -> Any:
        """What Keras calls for each step."""
        if self._distribute_strategy is None or not self.gradient_penalty:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = _paying_by_turns(self, self._distribute_strategy)
        return self.train_function

    def train_step(self, data: Any, is_due: bool | None = None) -> dict[str, Any]:
        """One update of both networks on one batch of real images, float32 in [0, 1].

        `is_due` is whether the gradient penalty is; None decides by the steps so far.
        """
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        for tracker, value in zip(self._trackers, _played(self, images, is_due), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self._trackers}

    def keep_averages_here(self) -> None:
        """Gives the averages a generator outside of the strategy that the networks train under.

        To be called outside of its scope; then one worker can generate without the others.
        """
        # Untracked, so that the GAN has the variables that one without a strategy has.
        object.__setattr__(self, "_averaged_here", keras.models.clone_model(self.generator))

    def refresh_averaged_generator(self) -> keras.Model:
        """Returns the generator with averaged weights, if any, and settled statistics."""
        target = self._averaged_here or self.averaged_generator
        _copy_averages(self.generator, self.generator_optimizer, target)
        return target


def draw_noise(random: keras.random.SeedGenerator, num_images: Any, noise_dim: int) -> Any:
    """Standard normal noise, float32 (num_images, noise_dim), another on each replica."""
    return noise_of(tf.cast(random.next(), tf.int32), num_images, noise_dim)


def noise_of(seed: Any, num_images: Any, noise_dim: int) -> Any:
    """The noise that follows from a seed, int32 (2,); shapes are those of `draw_noise`.

    Each replica draws the noise of the whole batch and takes its own rows: all together have the
    noise that one would draw.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.random.stateless_normal((num_images, noise_dim), seed)
    everything = (num_images * context.num_replicas_in_sync, noise_dim)
    first = tf.cast(context.replica_id_in_sync_group, tf.int32) * num_images
    return tf.random.stateless_normal(everything, seed)[first : first + num_images]


def _random_states(gan: GAN) -> dict[str, Any]:
    """The state of the noise, then those of the networks' random layers, in order."""
    layers = [*gan.generator.layers, *gan.discriminator.layers]
    own = [layer.seed_generator for layer in layers if hasattr(layer, "seed_generator")]
    return {f"random_state_{i}": one.state for i, one in enumerate([gan.random, *own])}


def _played(gan: GAN, images: Any, is_due: bool | None) -> tuple[Any, Any, Any, Any]:
    """One update of both networks; returns the values of `_METRICS`."""
    noise = draw_noise(gan.random, tf.shape(images)[0], gan.noise_dim)
    with tf.GradientTape(persistent=True) as tape:
        generated = gan.generator(noise, training=True)
        real_logits = gan.discriminator(images, training=True)
        penalty = _due_penalty(gan, images, generated, is_due)
        generated_logits = gan.discriminator(generated, training=True)
        generator_loss, discriminator_loss = gan.adversarial_loss(real_logits, generated_logits)
        # -(1 - s) log D - s log(1 - D) is -log D plus s times the logit.
        smoothing = gan.label_smoothing * ops.mean(real_logits)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        # Gradients are summed over replicas, and each mean is over one replica's share.
        scaled_generator_loss = generator_loss / replicas
        scaled_discriminator_loss = (discriminator_loss + smoothing + penalty) / replicas
    of_discriminator = _values(gan.discriminator)
    if gan.adversarial_loss is minimax:
        # What the generator learns from is minus what the discriminator does: one way back, 0.9 of
        # the step's processor time (AMD EPYC with AVX-512 BF16, float32).
        *gradients, by_images = tape.gradient(
            scaled_discriminator_loss, [*of_discriminator, generated]
        )
        own = tape.gradient(generated, _values(gan.generator), output_gradients=-by_images)
    else:
        gradients = tape.gradient(scaled_discriminator_loss, of_discriminator)
        own = tape.gradient(scaled_generator_loss, _values(gan.generator))
    del tape
    gan.optimizer.apply(gradients, gan.discriminator.trainable_variables)
    gan.generator_optimizer.apply(own, gan.generator.trainable_variables)
    limits = (0.0, 0.0)
    if gan.adversarial_loss is relativistic:
        limits = (generated_logits, real_logits)
    return (
        generator_loss,
        discriminator_loss,
        ops.mean(ops.cast(real_logits > limits[0], "float32")),
        ops.mean(ops.cast(generated_logits < limits[1], "float32")),
    )


def _due_penalty(gan: GAN, images: Any, generated: Any, is_due: bool | None) -> Any:
    """The gradient penalty, paid in every eighth step and then eightfold; 0 in the others."""
    if not gan.gradient_penalty or is_due is False:
        return 0.0
    paid_for = [images]
    if gan.adversarial_loss is relativistic:
        paid_for.append(ops.stop_gradient(generated))

    def penalty() -> Any:
        weight = gan.gradient_penalty * _PENALTY_EVERY
        return sum(gradient_penalty(gan.discriminator, some, weight) for some in paid_for)

    if is_due:
        return penalty()
    is_now = tf.equal(tf.cast(gan.optimizer.iterations, tf.int32) % _PENALTY_EVERY, 0)
    return tf.cond(is_now, penalty, lambda: 0.0)


def _paying_by_turns(gan: GAN, strategy: tf.distribute.Strategy) -> Callable[[Any], Any]:
    """A step on what an iterator gives next, for several replicas: their sums are in no `tf.cond`.

    So there are two graphs, one with the penalty; under a strategy Python begins every step.
    """
    due, other = (
        replicated.on_all_replicas(strategy, functools.partial(gan.train_step, is_due=is_due))
        for is_due in (True, False)
    )

    def step(iterator: Any) -> Any:
        is_due = int(gan.optimizer.iterations.numpy()) % _PENALTY_EVERY == 0
        return (due if is_due else other)(iterator)

    return step


def _values(network: keras.Model) -> list[Any]:
    return [variable.value for variable in network.trainable_variables]


def gradient_penalty(discriminator: keras.Model, images: Any, weight: float) -> Any:
    """Half the squared gradient of the logit by an image, times `weight`.

    R1 by real images, R2 by generated ones; images are float32 (batch, height, width, channels). A
    scalar, summed over pixels, mean over the images.

    Source:
        Mescheder et al., 2018, arXiv:1801.04406, eq. 9.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = ops.sum(discriminator(images, training=True))
    squares = ops.sum(ops.square(tape.gradient(total, images)), axis=(1, 2, 3))
    return 0.5 * weight * ops.mean(squares)


def _copy_averages(generator: keras.Model, optimizer: keras.Optimizer, target: keras.Model) -> None:
    """Gives a copy the averages that the optimizer keeps, else the weights; settles it."""
    weights = generator.trainable_variables
    if optimizer.use_ema:
        weights = optimizer._model_variables_moving_average
    for variable, value in zip(target.trainable_variables, weights, strict=True):
        variable.assign(keras.ops.convert_to_numpy(value))  # they may be of a strategy's
    settle_statistics(target)


def settle_statistics(generator: keras.Model) -> None:
    """Sets the running statistics of every batch normalization to their means over much noise.

    While training, they lag behind the weights; averaged weights have none of their own. The
    10,000 noise vectors are always the same, so that the images follow from the weights alone.
    """
    normalizations = [
        layer for layer in generator.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in normalizations]
    noise_dim = int(generator.input_shape[-1])
    try:
        for batch in range(_STATISTICS_BATCHES):
            noise = tf.random.stateless_normal((_STATISTICS_BATCH_SIZE, noise_dim), (0, batch))
            for layer in normalizations:
                layer.momentum = batch / (batch + 1.0)  # so that all batches weigh the same
            generator(noise, training=True)
    finally:
        for layer, momentum in zip(normalizations, momenta, strict=True):
            layer.momentum = momentum
