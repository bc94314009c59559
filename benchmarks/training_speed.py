"""Training throughput of the autoencoder beside PyTorch and a plain Keras `fit`, in one run.

    pip install -e '.[benchmark]'
    python benchmarks/training_speed.py --output benchmarks/training_speed.json

All contenders train the same network on the same MNIST images with batches of 128 and AdamW at
0.003, in turns (see `turns`).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import turns
from turns import Epoch

BATCH_SIZE = 128
LEARNING_RATE = 0.003
WEIGHT_DECAY = 1e-5


def ours(images: np.ndarray, **compile_changes: object) -> Epoch:
    """The package's own model and data; `compile_changes` undo one choice at a time."""
    import tensorflow as tf

    from kerasunsup.ae import experiment
    from kerasunsup.ae.settings import AutoencoderSettings
    from kerasunsup.data import batches as data_batches
    from kerasunsup.data import pixel_storage
    from kerasunsup.data.image_set import ImageSet
    from kerasunsup.models import optimizers
    from kerasunsup.training import loop

    precision = str(compile_changes.pop("precision", "float32"))
    fused = bool(compile_changes.pop("fused", True))
    is_faster = bool(compile_changes.pop("faster", True))
    settings = AutoencoderSettings(precision=precision)
    pixels = np.round(images * 255).astype(np.uint8)
    image_set = ImageSet(pixel_storage.MemoryStore(pixels))
    with loop.machine(settings):
        model = experiment.build(settings, (28, 28, 1), is_shipped=not is_faster)
        if compile_changes or not fused:
            model.compile(
                optimizer=optimizers.adam(LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=fused),
                loss="mean_squared_error",
                **{**loop.compile_options(), **compile_changes},
            )
    number = tf.Variable(0, dtype=tf.int64)
    batches = data_batches.training_batches(image_set, BATCH_SIZE, seed=0, epoch=number)

    def epoch() -> float:
        number.assign_add(1)
        return model.fit(batches, verbose=0, shuffle=False).history["loss"][0]

    return epoch


def plain_keras(images: np.ndarray) -> Epoch:
    """The same network as a tutorial writes it: arrays into `fit`, everything at its default."""
    import keras

    from kerasunsup.models import networks

    shape = (28, 28, 1)
    model = networks.autoencoder(
        networks.encoder(shape, latent_dim=32), networks.decoder(shape, latent_dim=32)
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY), loss="mse"
    )
    return lambda: model.fit(images, images, batch_size=BATCH_SIZE, verbose=0).history["loss"][0]


def pytorch(images: np.ndarray, *, channels_last: bool, compiled: bool, bfloat16: bool) -> Epoch:
    """The same network in PyTorch, with its fused AdamW and batches taken from one tensor."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count() or 1)
    model: nn.Module = nn.Sequential(
        nn.Conv2d(1, 32, 5, stride=2, padding=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(14 * 14 * 32, 128), nn.ReLU(), nn.Linear(128, 32),
        nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 14 * 14 * 32), nn.ReLU(),
        nn.Unflatten(1, (32, 14, 14)),
        nn.ConvTranspose2d(32, 1, 5, stride=2, padding=2, output_padding=1), nn.Sigmoid(),
    )  # fmt: skip
    data = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        data = data.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )

    def forward(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            outputs = model(batch)
        return nn.functional.mse_loss(outputs.float(), batch)

    loss_of = torch.compile(forward) if compiled else forward

    def epoch() -> float:
        order = torch.randperm(len(data))
        total, steps = torch.zeros(()), len(data) // BATCH_SIZE
        for step in range(steps):
            batch = data[order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(batch)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / steps

    return epoch


def _pytorch(channels_last: bool, compiled: bool, bfloat16: bool) -> Callable[..., Epoch]:
    return lambda images: pytorch(
        images, channels_last=channels_last, compiled=compiled, bfloat16=bfloat16
    )


CONTENDERS: dict[str, turns.Contender] = {
    "kerasunsup": ours,
    "kerasunsup, bfloat16": lambda images: ours(images, precision="mixed_bfloat16"),
    "plain Keras fit": plain_keras,
    "PyTorch": _pytorch(False, False, False),
    "PyTorch, channels last": _pytorch(True, False, False),
    "PyTorch, compiled": _pytorch(False, True, False),
    "PyTorch, compiled, channels last": _pytorch(True, True, False),
    "PyTorch, bfloat16": _pytorch(False, False, True),
    "PyTorch, compiled, bfloat16": _pytorch(False, True, True),
}
VARIANTS: dict[str, turns.Contender] = {
    "kerasunsup, Keras's own Adam": lambda images: ours(images, fused=False),
    "kerasunsup, Keras's own layers": lambda images: ours(images, faster=False),
    "kerasunsup, one step an execution": lambda images: ours(images, steps_per_execution=1),
    "kerasunsup, XLA for the whole step": lambda images: ours(images, jit_compile=True),
    "kerasunsup, bfloat16 and XLA": lambda images: ours(
        images, precision="mixed_bfloat16", jit_compile=True
    ),
}


if __name__ == "__main__":
    turns.main(
        __file__, str(__doc__).splitlines()[0], CONTENDERS, VARIANTS, images=25_600, rounds=7
    )
