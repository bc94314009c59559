"""Training from a folder that is read from disk: memory of the command, speed beside memory's.

    python benchmarks/streaming.py                    # 200,000 images, about 25 minutes
    python benchmarks/streaming.py --images 20000 --folder photos

First the whole command `ae` runs for one epoch, from its start to its last figure: the most memory
that was ever resident is to stay below 2.5 GiB. Then each way of holding the images runs in a
process of its own: load the folder, train an autoencoder for one epoch (after a few warm-up steps),
and report the speed and the most memory. A folder given by `--folder` is kept and used again.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kerasunsup.data import images  # noqa: E402

SIDE = 64
WARM_UP_STEPS = 20
MOST_MEGABYTES = 2560
COMMAND = ["--epochs", "1", "--filters", "8", "16", "--hidden-units", "64", "--latent-dim", "16"]
MEMORY_LIMITS = {"streamed": 1 << 20, "in memory": 64 << 30}


def write_images(folder: Path, num_images: int) -> None:
    """Colour PNGs of smooth random blobs in one flat folder; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(index: int) -> None:
        path = folder / f"{index:07d}.png"
        if not path.exists():
            generator = np.random.default_rng(index)
            coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
            path.write_bytes(images.encode_png(images.resize(coarse, SIDE, SIDE)))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in pool.map(write, range(num_images), chunksize=256):
            pass


def measure_command(folder: Path) -> tuple[float, float]:
    """(seconds, peak megabytes resident) of the whole command `ae`."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as logs:
        command = [sys.executable, "-m", "kerasunsup.ae", "--data", str(folder.absolute())]
        process = subprocess.Popen([*command, "--logs", logs, *COMMAND], cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the command ended with status {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def measure(folder: Path, memory_limit: int, batch_size: int) -> dict[str, float]:
    """Loads and trains in this process.

    Returns:
        load_seconds, images_per_second of one epoch, reading_per_second without a model,
        peak_megabytes resident, final loss.
    """
    from kerasunsup import tensorflow_startup

    tensorflow_startup.import_tensorflow()
    import keras

    from kerasunsup.ae.settings import AutoencoderSettings
    from kerasunsup.data import batches as data_batches
    from kerasunsup.data import splits as data_splits
    from kerasunsup.models import networks

    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    keras.utils.set_random_seed(0)
    start = time.perf_counter()
    settings = AutoencoderSettings(data=str(folder), batch_size=batch_size)
    splits = data_splits.load(settings, memory_limit=memory_limit)
    load_seconds = time.perf_counter() - start

    steps = data_batches.steps_per_epoch(splits.train, batch_size)
    batches = data_batches.training_batches(splits.train, batch_size, seed=0)
    iterator = iter(batches)
    next(iterator)
    start = time.perf_counter()
    num_read = min(steps - 1, 200)
    for _ in range(num_read):
        next(iterator)
    reading = num_read * batch_size / (time.perf_counter() - start)

    options = {"latent_dim": settings.latent_dim, "filters": settings.filters}
    model = networks.autoencoder(
        networks.encoder(splits.image_shape, **options),
        networks.decoder(splits.image_shape, **options),
    )
    model.compile(keras.optimizers.Adam(settings.learning_rate), loss="mse")
    model.fit(batches.take(WARM_UP_STEPS), verbose=0, shuffle=False)
    start = time.perf_counter()
    history = model.fit(batches, verbose=0, shuffle=False)
    seconds = time.perf_counter() - start
    return {
        "load_seconds": load_seconds,
        "images_per_second": steps * batch_size / seconds,
        "reading_per_second": reading,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "baseline_megabytes": baseline,
        "loss": history.history["loss"][-1],
    }


def main(argv: list[str] | None = None) -> int:
    """Writes the images where they are missing, measures both ways, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--images", type=int, default=200_000, metavar="N")
    parser.add_argument("--folder", type=Path, help="keep the images here and use them again")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N")
    parser.add_argument("--measure", choices=MEMORY_LIMITS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.measure:
        limit = MEMORY_LIMITS[arguments.measure]
        print(json.dumps(measure(arguments.folder, limit, arguments.batch_size)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        start = time.perf_counter()
        write_images(folder, arguments.images)
        print(f"{arguments.images} images of {SIDE} x {SIDE} x 3 are there after "
              f"{time.perf_counter() - start:.0f} s")  # fmt: skip
        seconds, peak = measure_command(folder)
        print(f"the whole command ae: {seconds:.0f} s, peak memory {peak:.0f} MB of at most "
              f"{MOST_MEGABYTES}", flush=True)  # fmt: skip
        results = {}
        for way in MEMORY_LIMITS:
            command = [
                sys.executable, __file__, "--measure", way, "--folder", str(folder),
                "--batch-size", str(arguments.batch_size),
            ]  # fmt: skip
            finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results[way] = json.loads(finished.stdout.splitlines()[-1])
    print(f"{'':10} {'load':>8} {'reading':>14} {'training':>14} {'peak memory':>12} {'loss':>8}")
    for way, numbers in results.items():
        print(
            f"{way:10} {numbers['load_seconds']:6.1f} s {numbers['reading_per_second']:8.0f} img/s"
            f" {numbers['images_per_second']:8.0f} img/s {numbers['peak_megabytes']:9.0f} MB"
            f" {numbers['loss']:8.5f}"
        )
    streamed, in_memory = results["streamed"], results["in memory"]
    ratio = streamed["images_per_second"] / in_memory["images_per_second"]
    print(
        f"streamed / in memory: {ratio:.3f} of the training speed; before loading a process holds "
        f"{streamed['baseline_megabytes']:.0f} MB (TensorFlow itself)"
    )
    return int(peak > MOST_MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
