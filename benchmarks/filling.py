"""How often a hole should go through the autoencoder: error inside the hole by passes.

    python benchmarks/filling.py logs/ae/clean logs/ae/crop --output docs/filling.json

Cuts a square hole at a random place out of MNIST's test images, fills it by
`apply restore --mask HOLES --passes N`, and compares what stands in the hole with what was there.
Each model is a run of `ae` on MNIST, of clean images or with `--crop`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasunsup import tensorflow_startup
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import __main__ as apply
from kerasunsup.data import images, splits


def write(folder: Path, pictures: np.ndarray) -> None:
    """Images as PNG files; uint8 (num_images, height, width, 1)."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        (folder / f"{number:05d}.png").write_bytes(images.encode_png(picture))


def read(folder: Path, number: int) -> np.ndarray:
    """What `write` wrote, by whatever program."""
    return np.stack([images.decode(folder / f"{index:05d}.png") for index in range(number)])


def holes(pictures: np.ndarray, pixels: int, seed: int) -> np.ndarray:
    """Bool (num_images, height, width, 1), a square of True over part of each image's strokes.

    A hole over background is filled by black whatever the model; so places are drawn until an
    eighth of what the hole hides is stroke.
    """
    generator = np.random.default_rng(seed)
    masks = np.zeros(pictures.shape, bool)
    for picture, mask in zip(pictures, masks, strict=True):
        for _ in range(1000):
            row, column = generator.integers(0, np.array(picture.shape[:2]) - pixels + 1)
            place = np.s_[row : row + pixels, column : column + pixels]
            if np.mean(picture[place] > 127) > 0.125:
                break
        mask[place] = True
    return masks


def decibels(filled: np.ndarray, pictures: np.ndarray, masks: np.ndarray) -> float:
    """PSNR of all pixels in holes together, in dB."""
    difference = (filled[masks].astype(np.float64) - pictures[masks]) / 255.0
    return float(-10.0 * np.log10(np.mean(difference**2)))


def measure(
    model: Path, pictures: np.ndarray, masks: np.ndarray, passes: Sequence[int]
) -> dict[str, float]:
    """PSNR in the holes by the number of passes, by the command that users type."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write(place / "cut", np.where(masks, 0, pictures).astype(np.uint8))
        write(place / "masks", np.where(masks, 255, 0).astype(np.uint8))
        found["0"] = decibels(read(place / "cut", len(pictures)), pictures, masks)
        for number in passes:
            output = place / f"filled_{number}"
            arguments = [
                "restore", str(model), str(place / "cut"), "--mask", str(place / "masks"),
                "--passes", str(number), "--output", str(output),
            ]  # fmt: skip
            if apply.main(arguments):
                raise SystemExit(f"apply {' '.join(arguments)} failed")
            found[str(number)] = decibels(read(output, len(pictures)), pictures, masks)
    return found


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("models", type=Path, nargs="+", help="finished ae runs on MNIST")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--holes", type=int, nargs="+", default=[8, 12], help="sides, in pixels")
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20, 50])
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    tensorflow_startup.import_tensorflow()
    test = splits.load(AutoencoderSettings()).test
    pictures = images.to_uint8(test.array(range(options.images)))
    rows = {}
    for model in options.models:
        for pixels in options.holes:
            masks = holes(pictures, pixels, seed=pixels)
            rows[f"{model.name}, hole of {pixels}"] = measure(
                model, pictures, masks, options.passes
            )
    print(f"\n| PSNR in the hole, dB | {' | '.join(['0', *map(str, options.passes)])} |")
    print("| --- |" + " --- |" * (len(options.passes) + 1))
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in row.values())} |")
    if options.output:
        result = {
            "command": "python benchmarks/filling.py " + " ".join(sys.argv[1:]),
            "images": options.images,
            "rows": {n: {k: round(v, 3) for k, v in row.items()} for n, row in rows.items()},
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
