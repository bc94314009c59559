"""How well the maps of `apply outliers` find parts that were pasted into photographs.

    pip install scikit-image
    python benchmarks/oddity_maps.py --output docs/oddity_maps.json
    python benchmarks/oddity_maps.py --run logs/ae/RUN --output docs/oddity_maps.json

Known images are crops of 64 x 64 pixels of the left three fifths of five photographs of
scikit-learn and scikit-image, judged ones are other crops of the right two fifths, into each of
which a square of 10 to 24 pixels is pasted: of other photographs, or of the same five. Some
minutes for three seeds. `--run` also measures the reconstruction error of an autoencoder, smoothed;
`--crops FILE.npy` writes the known images, to train it on.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np
from scipy import ndimage
from sklearn.neighbors import NearestNeighbors

from kerasunsup.data import images
from kerasunsup.evaluation import classifier_metrics, oddity_maps
from kerasunsup.training import files

KNOWN = ("china.jpg", "flower.jpg", "coffee.png", "chelsea.png", "astronaut.png")
OTHERS = (
    "ihc.png", "hubble_deep_field.jpg", "retina.jpg", "motorcycle_left.png", "grace_hopper.jpg",
)  # fmt: skip
PLACES = (
    ("skimage", "data"), ("sklearn", "datasets/images"), ("matplotlib", "mpl-data/sample_data"),
)  # fmt: skip
SIDE = 64


def photograph(name: str) -> np.ndarray:
    """A photograph that one of the packages brings: uint8 (height, width, 3)."""
    for package, folder in PLACES:
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(root) / folder / name
            if path.is_file():
                return images.with_channels(images.decode(path), 3)
    raise SystemExit(f"{name} is not there: pip install scikit-image")


def crops(
    pictures: list[np.ndarray], number: int, part: tuple[float, float], side: int, random: object
) -> np.ndarray:
    """Random squares of pictures, of a part of their width."""
    found = []
    for _ in range(number):
        picture = pictures[random.integers(len(pictures))]
        height, width = picture.shape[:2]
        y = random.integers(height - side + 1)
        x = random.integers(int(part[0] * width), int(part[1] * width) - side + 1)
        found.append(picture[y : y + side, x : x + side])
    return images.to_unit(np.stack(found))


def with_squares(
    clean: np.ndarray, sources: list[np.ndarray], random: object
) -> tuple[np.ndarray, np.ndarray]:
    """Images with a square of another picture each, and which pixels are pasted."""
    odd, is_pasted = clean.copy(), np.zeros(clean.shape[:3], bool)
    for index in range(len(odd)):
        side = int(random.integers(10, 25))
        y, x = random.integers(0, SIDE - side + 1, 2)
        odd[index, y : y + side, x : x + side] = crops(sources, 1, (0, 1), side, random)[0]
        is_pasted[index, y : y + side, x : x + side] = True
    return odd, is_pasted


def measured(maps: np.ndarray, is_pasted: np.ndarray) -> dict[str, float]:
    """Pixel AUROC over all images, and how well the boxes fit."""
    overlaps, hits = [], []
    for values, pasted in zip(maps, is_pasted, strict=True):
        x, y, width, height = oddity_maps.hottest_box(values)
        box = np.zeros_like(pasted)
        box[y : y + height, x : x + width] = True
        overlaps.append((box & pasted).sum() / (box | pasted).sum())
        hits.append(pasted.flat[values.argmax()])
    auroc = classifier_metrics.auroc(is_pasted.ravel(), maps.ravel().astype(np.float64))
    return {
        "pixel_auroc": round(float(auroc), 4),
        "box_overlap": round(float(np.mean(overlaps)), 4),
        "hottest_inside": round(float(np.mean(hits)), 4),
    }


def nearest_window(known: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Distance of each window of 15 pixels from the nearest of 10,000 known ones of any place."""
    cut = [oddity_maps._cut(values, 15, 1, density=1) for values in (known, judged)]
    flat = cut[0].reshape(-1, cut[0].shape[-1])
    drawn = flat[np.random.default_rng(0).permutation(len(flat))[:10_000]]
    mean, (_, spread, axes) = drawn.mean(axis=0), np.linalg.svd(drawn - drawn.mean(axis=0), False)
    whitened = (axes[:64] / spread[:64, None]).T
    memory = NearestNeighbors(n_neighbors=1, algorithm="brute").fit((drawn - mean) @ whitened)
    found = memory.kneighbors((cut[1].reshape(-1, cut[1].shape[-1]) - mean) @ whitened)[0]
    return ndimage.gaussian_filter(found.reshape(cut[1].shape[:3]), (0, 0.75, 0.75))


def full_size(maps: np.ndarray) -> np.ndarray:
    """Maps at the size of the images."""
    return np.stack([oddity_maps.enlarged(values, SIDE, SIDE) for values in maps])


def main() -> None:
    """Writes the numbers of each seed, kind of patch and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known", type=int, default=1000, help="known images")
    parser.add_argument("--judged", type=int, default=100, help="images with a pasted square")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--odd", type=float, default=0.05, help="share of the contaminated known")
    parser.add_argument("--run", type=Path, help="an autoencoder that was trained on --crops")
    parser.add_argument("--only-maps", action="store_true", help="no other ways")
    parser.add_argument("--crops", type=Path, help="write known images for --run, and stop")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    scenes, others = [photograph(name) for name in KNOWN], [photograph(name) for name in OTHERS]
    if arguments.crops:
        random = np.random.default_rng(1000)
        found = crops(scenes, arguments.known, (0, 0.6), SIDE, random)
        np.save(arguments.crops, images.to_uint8(found))
        return
    rows = []
    for seed in range(arguments.seeds):
        random = np.random.default_rng(seed)
        known = crops(scenes, arguments.known, (0, 0.6), SIDE, random)
        clean = crops(scenes, arguments.judged, (0.6, 1), SIDE, random)
        judged = {
            "of other photographs": with_squares(clean, others, random),
            "of the same photographs": with_squares(clean, scenes, random),
        }
        number = round(arguments.odd * len(known))
        mixed = known.copy()
        mixed[:number] = with_squares(known[:number], others, random)[0]
        began = time.perf_counter()
        mappers = {"maps": oddity_maps.fit(known, seed)}
        seconds = time.perf_counter() - began
        mappers[f"maps, {arguments.odd:.0%} of the known have a square"] = oddity_maps.fit(
            mixed, seed
        )
        for kind, (odd, is_pasted) in judged.items():
            ways = {name: full_size(mapper.maps(odd)) for name, mapper in mappers.items()}
            if not arguments.only_maps:
                ways["nearest known window"] = full_size(nearest_window(known, odd))
            if arguments.run:
                from kerasunsup.models import loading

                reconstruct = loading.open_model(arguments.run).function("reconstruct")
                errors = np.square(reconstruct(odd) - odd).mean(axis=-1)
                ways["reconstruction error"] = ndimage.gaussian_filter(errors, (0, 3, 3))
            for way, maps in ways.items():
                row = {"seed": seed, "patches": kind, "way": way, **measured(maps, is_pasted)}
                rows.append(row | ({"seconds": round(seconds, 1)} if way == "maps" else {}))
                print(rows[-1], flush=True)
            if arguments.output:
                files.write_json(arguments.output, {"known": len(known), "rows": rows})


if __name__ == "__main__":
    main()
