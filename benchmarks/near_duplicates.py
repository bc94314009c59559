"""Which copies of images `apply similar` finds as near-duplicates, and what it takes for one.

    python benchmarks/near_duplicates.py logs/ae/reference --output docs/near_duplicates.json

Puts a changed copy of some images among MNIST's validation images - saved as JPEG, made smaller and
larger again, brightened, moved by a pixel, noisy - and looks which pairs the command names.
Recall is the share of copies that are paired with their original; the other pairs are of images
that are no copies. The rule's limits were set on training images.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from kerasunsup import tensorflow_startup
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import __main__ as apply
from kerasunsup.data import images, splits


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def _resized(picture: Image.Image, share: float) -> Image.Image:
    width, height = picture.size
    small = picture.resize((round(width * share), round(height * share)), Image.Resampling.LANCZOS)
    return small.resize((width, height), Image.Resampling.BICUBIC)


def _moved(picture: Image.Image) -> Image.Image:
    moved = Image.new(picture.mode, picture.size)
    moved.paste(picture, (1, 0))
    return moved


def _noisy(picture: Image.Image, sigma: float) -> Image.Image:
    values = np.asarray(picture) / 255.0
    noise = np.random.default_rng(0).normal(0.0, sigma, values.shape)
    return Image.fromarray(np.rint(255.0 * np.clip(values + noise, 0.0, 1.0)).astype(np.uint8))


CHANGES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "the same pixels": lambda picture: picture.copy(),
    "JPEG, quality 90": lambda picture: _jpeg(picture, 90),
    "JPEG, quality 50": lambda picture: _jpeg(picture, 50),
    "0.75 of the size and back": lambda picture: _resized(picture, 0.75),
    "half the size and back": lambda picture: _resized(picture, 0.5),
    "0.8 of the brightness": lambda picture: picture.point(lambda value: round(0.8 * value)),
    "noise of sigma 0.05": lambda picture: _noisy(picture, 0.05),
    "moved by one pixel": _moved,
}


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a finished ae run on MNIST")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--seed", type=int, default=1, help="which images are copied")
    parser.add_argument("--copies", type=int, default=200, help="of each kind")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    tensorflow_startup.import_tensorflow()
    part = getattr(splits.load(AutoencoderSettings()), options.part)
    pictures = images.to_uint8(part.array())
    chosen = np.random.default_rng(options.seed).permutation(len(pictures))
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "images"
        place.mkdir()
        for number, picture in enumerate(pictures):
            (place / f"{number:05d}.png").write_bytes(images.encode_png(picture))
        for kind, (name, change) in enumerate(CHANGES.items()):
            begin = kind * options.copies
            for number in chosen[begin : begin + options.copies]:
                change(Image.open(place / f"{number:05d}.png")).save(
                    place / f"{number:05d}_copy_{kind}.png"
                )
            rows[name] = {"copies": options.copies, "found": 0}
        output = Path(folder) / "pairs"
        if apply.main(["similar", str(options.model), str(place), "--output", str(output)]):
            raise SystemExit("apply similar failed")
        lines = (output / "similar.csv").read_text(encoding="utf-8").splitlines()[1:]
    others = 0
    names = list(CHANGES)
    for line in lines:
        first, _, second, _ = line.split(",")
        original, copy = sorted((first.removesuffix(".png"), second.removesuffix(".png")), key=len)
        if copy.startswith(f"{original}_copy_"):
            rows[names[int(copy.rsplit("_", 1)[1])]]["found"] += 1
        else:
            others += 1
    print("\n| copy | found, of all | recall |\n| --- | --- | --- |")
    for name, row in rows.items():
        row["recall"] = row["found"] / row["copies"]
        print(f"| {name} | {row['found']} of {row['copies']} | {row['recall']:.3f} |")
    print(f"\npairs named: {len(lines)}, of which no copies: {others}")
    if options.output:
        result = {
            "command": "python benchmarks/near_duplicates.py " + " ".join(sys.argv[1:]),
            "images": len(pictures),
            "rows": rows,
            "pairs": len(lines),
            "no_copies": others,
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
