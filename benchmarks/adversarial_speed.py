"""Throughput of the adversarial step beside PyTorch and the step of Keras's guide, in one run.

    pip install -e '.[benchmark]'
    python benchmarks/adversarial_speed.py --output benchmarks/adversarial_speed.json

All contenders train the same two networks (64 base filters, noise of 64 values) with the same
losses on the same MNIST images, batches of 128, Adam at 0.0005 and beta_1 0.5, in turns (see
`turns`). PyTorch's step reuses the generated batch for both updates, as ours does; Keras's guide
generates twice and joins real and generated images in one batch.
"""

from __future__ import annotations

import os

import numpy as np
import turns
from turns import Epoch

BATCH_SIZE = 128
LEARNING_RATE = 0.0005
BETA_1 = 0.5
NOISE_DIM = 64


def ours(images: np.ndarray, **changes: object) -> Epoch:
    """The package's own model and data; `changes` undo one choice at a time."""
    import functools

    import tensorflow as tf

    from kerasunsup.data import batches as data_batches
    from kerasunsup.data import pixel_storage
    from kerasunsup.data.image_set import ImageSet
    from kerasunsup.gan import experiment
    from kerasunsup.gan.settings import GANSettings
    from kerasunsup.models import optimizers as models_optimizers
    from kerasunsup.training import loop

    precision = str(changes.pop("precision", "float32"))
    fused = bool(changes.pop("fused", True))
    is_faster = bool(changes.pop("faster", True))
    averaging = float(str(changes.pop("averaging", 0.0)))
    settings = GANSettings(
        precision=precision,
        noise_dim=NOISE_DIM,
        base_filters=64,
        hidden_units=0,
        averaging=averaging,
    )
    pixels = np.round(images * 255).astype(np.uint8)
    image_set = ImageSet(pixel_storage.MemoryStore(pixels))
    with loop.machine(settings):
        gan = experiment.build(settings, (28, 28, 1), is_shipped=not is_faster)
        if changes or not fused:
            adam = functools.partial(
                models_optimizers.adam,
                LEARNING_RATE,
                beta_1=BETA_1,
                averaging=averaging,
                fused=fused,
            )
            gan.compile(adam(), adam(), **{**loop.compile_options(), **changes})
    number = tf.Variable(0, dtype=tf.int64)
    batches = data_batches.training_batches(
        image_set, BATCH_SIZE, seed=0, epoch=number, prepare=experiment.images_only
    )

    def epoch() -> float:
        number.assign_add(1)
        return gan.fit(batches, verbose=0, shuffle=False).history["discriminator_loss"][0]

    return epoch


def keras_guide(images: np.ndarray) -> Epoch:
    """The same networks and losses in the step that Keras's guide to custom steps shows."""
    import keras
    import tensorflow as tf
    from keras import ops

    from kerasunsup.models import networks

    shape: dict = {"base_filters": 64, "hidden_units": 0}
    generator = networks.generator((28, 28, 1), noise_dim=NOISE_DIM, **shape)
    discriminator = networks.discriminator((28, 28, 1), **shape)
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    class GuideGAN(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.generator, self.discriminator = generator, discriminator
            self.seed_generator = keras.random.SeedGenerator(0)
            self.loss_tracker = keras.metrics.Mean("discriminator_loss")
            self.built = True

        @property
        def metrics(self) -> list:
            return [self.loss_tracker]

        def train_step(self, real_images: tf.Tensor) -> dict:
            batch_size = ops.shape(real_images)[0]
            noise = keras.random.normal((batch_size, NOISE_DIM), seed=self.seed_generator)
            generated = self.generator(noise, training=True)
            combined = ops.concatenate([generated, real_images], axis=0)
            labels = ops.concatenate(
                [ops.zeros((batch_size, 1)), ops.ones((batch_size, 1))], axis=0
            )
            with tf.GradientTape() as tape:
                loss = entropy(labels, self.discriminator(combined, training=True))
            gradients = tape.gradient(loss, self.discriminator.trainable_weights)
            self.optimizer.apply(gradients, self.discriminator.trainable_weights)
            noise = keras.random.normal((batch_size, NOISE_DIM), seed=self.seed_generator)
            with tf.GradientTape() as tape:
                logits = self.discriminator(self.generator(noise, training=True), training=True)
                generator_loss = entropy(ops.ones((batch_size, 1)), logits)
            gradients = tape.gradient(generator_loss, self.generator.trainable_weights)
            self.generator_optimizer.apply(gradients, self.generator.trainable_weights)
            self.loss_tracker.update_state(loss)
            return {"discriminator_loss": self.loss_tracker.result()}

    gan = GuideGAN()
    gan.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1))
    gan.optimizer.build(discriminator.trainable_variables)
    gan.generator_optimizer = keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1)
    gan.generator_optimizer.build(generator.trainable_variables)
    batches = (
        tf.data.Dataset.from_tensor_slices(images)
        .shuffle(len(images))
        .batch(BATCH_SIZE, drop_remainder=True)
        .prefetch(2)
    )
    return lambda: gan.fit(batches, verbose=0).history["discriminator_loss"][0]


def pytorch(images: np.ndarray, *, channels_last: bool, compiled: bool, bfloat16: bool) -> Epoch:
    """The same networks, losses and step in PyTorch, with its fused Adam."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count() or 1)
    filters = (64, 128)
    generator: nn.Module = nn.Sequential(
        nn.Linear(NOISE_DIM, 7 * 7 * filters[1], bias=False),
        nn.Unflatten(1, (filters[1], 7, 7)), nn.BatchNorm2d(filters[1]), nn.ReLU(),
        nn.ConvTranspose2d(filters[1], filters[0], 4, 2, 1, bias=False),
        nn.BatchNorm2d(filters[0]), nn.ReLU(),
        nn.ConvTranspose2d(filters[0], 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    discriminator: nn.Module = nn.Sequential(
        nn.Conv2d(1, filters[0], 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(filters[0], filters[1], 4, 2, 1, bias=False),
        nn.BatchNorm2d(filters[1]), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(7 * 7 * filters[1], 1),
    )  # fmt: skip
    data = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()) * 2 - 1
    if channels_last:
        generator = generator.to(memory_format=torch.channels_last)
        discriminator = discriminator.to(memory_format=torch.channels_last)
        data = data.contiguous(memory_format=torch.channels_last)
    optimizers = [
        torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(BETA_1, 0.999), fused=True)
        for network in (generator, discriminator)
    ]
    generate = torch.compile(generator) if compiled else generator
    tell = torch.compile(discriminator) if compiled else discriminator

    def step(real: torch.Tensor) -> torch.Tensor:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            generated = generate(torch.randn(len(real), NOISE_DIM))
            real_logits = tell(real).float()
            generated_logits = tell(generated.detach()).float()
        loss = (
            functional.softplus(-real_logits).mean() + functional.softplus(generated_logits).mean()
        )
        loss.backward()
        optimizers[1].step()
        # Through the discriminator once more, without gradients of its weights.
        for parameter in discriminator.parameters():
            parameter.requires_grad_(False)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits = tell(generated).float()
        functional.softplus(-logits).mean().backward()
        for parameter in discriminator.parameters():
            parameter.requires_grad_(True)
        optimizers[0].step()
        return loss.detach()

    def epoch() -> float:
        order = torch.randperm(len(data))
        total, steps = torch.zeros(()), len(data) // BATCH_SIZE
        for number in range(steps):
            total += step(data[order[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]])
        return float(total) / steps

    return epoch


def _pytorch(channels_last: bool, compiled: bool, bfloat16: bool) -> turns.Contender:
    return lambda images: pytorch(
        images, channels_last=channels_last, compiled=compiled, bfloat16=bfloat16
    )


CONTENDERS: dict[str, turns.Contender] = {
    "kerasunsup": ours,
    "kerasunsup, bfloat16": lambda images: ours(images, precision="mixed_bfloat16"),
    "Keras's guide": keras_guide,
    "PyTorch": _pytorch(False, False, False),
    "PyTorch, channels last": _pytorch(True, False, False),
    "PyTorch, compiled": _pytorch(False, True, False),
    "PyTorch, bfloat16": _pytorch(False, False, True),
    "PyTorch, bfloat16, channels last": _pytorch(True, False, True),
    "PyTorch, compiled, bfloat16": _pytorch(False, True, True),
}
VARIANTS: dict[str, turns.Contender] = {
    "kerasunsup, Keras's own Adam": lambda images: ours(images, fused=False),
    "kerasunsup, Keras's own layers": lambda images: ours(images, faster=False),
    "kerasunsup, with averages": lambda images: ours(images, averaging=0.999),
    "kerasunsup, one step an execution": lambda images: ours(images, steps_per_execution=1),
    "kerasunsup, XLA for the whole step": lambda images: ours(images, jit_compile=True),
}

if __name__ == "__main__":
    turns.main(__file__, str(__doc__).splitlines()[0], CONTENDERS, VARIANTS, images=6_400, rounds=5)
