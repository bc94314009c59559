"""Training throughput of the autoencoder beside PyTorch and a plain Keras `fit`, in one run.

    pip install -e '.[benchmark]'
    python benchmarks/training_speed.py --output benchmarks/training_speed.json

All contenders train the same network on the same MNIST images with batches of 128 and AdamW at
0.003. Each lives in a process of its own with all processors; they take turns, an epoch each, so
that a machine whose speed drifts slows all alike. The first epoch of each (tracing, compiling) is
not counted. Reported: images a second, median over the rounds, and the ratio to the best PyTorch
mode, median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH_SIZE = 128
LEARNING_RATE = 0.003
WEIGHT_DECAY = 1e-5

# A contender makes a function that trains one epoch on (num_images, 28, 28, 1) and returns its
# mean loss.
Epoch = Callable[[], float]


def ours(images: np.ndarray, **compile_changes: object) -> Epoch:
    """The package's own model and data; `compile_changes` undo one choice at a time."""
    import tensorflow as tf

    from kerasunsup import autoencoder, config, data, optimizers, stores, training

    precision = str(compile_changes.pop("precision", "float32"))
    fused = bool(compile_changes.pop("fused", True))
    settings = config.AutoencoderConfig(precision=precision)
    pixels = np.round(images * 255).astype(np.uint8)
    image_set = data.ImageSet(stores.MemoryStore(pixels))
    with training.machine(settings):
        model = autoencoder.build(settings, (28, 28, 1))
        if compile_changes or not fused:
            model.compile(
                optimizer=optimizers.adam(LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=fused),
                loss="mean_squared_error",
                **{**training.compile_options(), **compile_changes},
            )
    number = tf.Variable(0, dtype=tf.int64)
    batches = data.training_batches(image_set, BATCH_SIZE, seed=0, epoch=number)

    def epoch() -> float:
        number.assign_add(1)
        return model.fit(batches, verbose=0, shuffle=False).history["loss"][0]

    return epoch


def plain_keras(images: np.ndarray) -> Epoch:
    """The same network as a tutorial writes it: arrays into `fit`, everything at its default."""
    import keras

    from kerasunsup import networks

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


CONTENDERS: dict[str, Callable[..., Epoch]] = {
    "kerasunsup": ours,
    "plain Keras fit": plain_keras,
    "PyTorch": _pytorch(False, False, False),
    "PyTorch, channels last": _pytorch(True, False, False),
    "PyTorch, compiled": _pytorch(False, True, False),
    "PyTorch, compiled, channels last": _pytorch(True, True, False),
    "PyTorch, bfloat16": _pytorch(False, False, True),
    "PyTorch, compiled, bfloat16": _pytorch(False, True, True),
}
VARIANTS: dict[str, Callable[..., Epoch]] = {
    "kerasunsup, Keras's own Adam": lambda images: ours(images, fused=False),
    "kerasunsup, one step an execution": lambda images: ours(images, steps_per_execution=1),
    "kerasunsup, XLA for the whole step": lambda images: ours(images, jit_compile=True),
    "kerasunsup, bfloat16": lambda images: ours(images, precision="mixed_bfloat16"),
    "kerasunsup, bfloat16 and XLA": lambda images: ours(
        images, precision="mixed_bfloat16", jit_compile=True
    ),
}


class Worker:
    """A contender's process; it trains an epoch for every line that it is sent."""

    def __init__(self, name: str, num_images: int) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name, "--images", str(num_images)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def epoch(self) -> tuple[float, float]:
        """(seconds, loss) of one epoch."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write("epoch\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: run with --worker to see why")
        seconds, loss = line.split()
        return float(seconds), float(loss)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def work(name: str, num_images: int) -> None:
    """What a worker does: build once, then an epoch a line."""
    from kerasunsup import config, data, quiet

    quiet.import_tensorflow()
    images = data.load(config.AutoencoderConfig()).train.array(np.arange(num_images))
    epoch = {**CONTENDERS, **VARIANTS}[name](images)
    for _ in sys.stdin:
        began = time.perf_counter()
        loss = epoch()
        print(time.perf_counter() - began, loss, flush=True)


def matmul_rate(size: int = 2048) -> float:
    """The machine's own rate in float32 matrix products, in GFLOP/s; the limit of all."""
    left = np.ones((size, size), np.float32)
    left @ left
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        left @ left
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def main() -> None:
    """Runs the comparison and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=25_600, help="images an epoch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--variants", action="store_true", help="our own choices undone one by one")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.images)
        return
    chosen = ["kerasunsup", *VARIANTS] if options.variants else list(CONTENDERS)
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    losses: dict[str, float] = {}
    workers = [Worker(name, options.images) for name in chosen]
    try:
        for worker in workers:
            worker.epoch()
        for number in range(options.rounds):
            for worker in workers:
                spent, losses[worker.name] = worker.epoch()
                seconds[worker.name].append(spent)
            print(f"round {number + 1} of {options.rounds}", flush=True)
    finally:
        for worker in workers:
            worker.close()
    rivals = [name for name in chosen if name.startswith("PyTorch")] or ["kerasunsup"]
    best = min(rivals, key=lambda name: statistics.median(seconds[name]))
    rows = {
        name: {
            "images_per_second": options.images / statistics.median(seconds[name]),
            "ratio": statistics.median(
                [other / own for other, own in zip(seconds[best], seconds[name], strict=True)]
            ),
            "last_loss": losses[name],
        }
        for name in chosen
    }
    rate = matmul_rate()
    print(f"\n| contender | images/s | times {best} | loss, last epoch |")
    print("| --- | --- | --- | --- |")
    for name, row in rows.items():
        print(
            f"| {name} | {row['images_per_second']:,.0f} | {row['ratio']:.2f} "
            f"| {row['last_loss']:.5f} |"
        )
    print(f"\nmatrix products alone: {rate:.0f} GFLOP/s on {os.cpu_count()} processors")
    if options.output:
        machine = {"platform": platform.platform(), "processors": os.cpu_count(), "gflops": rate}
        result = {"reference": best, "rounds": options.rounds, "machine": machine, "rows": rows}
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
