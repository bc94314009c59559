"""Which copies `apply duplicates` finds, of which kinds, and how often it takes others for copies.

    python benchmarks/duplicates.py --photographs FOLDER --output docs/duplicates.json

Hides 200 copies of each kind among 5,000 images: MNIST's training digits, and pieces of 64 and of
256 pixels cut from photographs. A copy counts as found where it stands in the group of its
original; an image that stands in the group of another one is a false pair. Then folders of which
half, and nearly all, are copies. Pieces that show nothing but sky (little detail) are left out, as
two such pieces are the same picture; a row of its own says what comes of those.

--photographs is a folder of large photographs, such as those of the Debian packages
mate-backgrounds, plasma-workspace-wallpapers, lomiri-wallpapers-16.04 and -20.04 after
`apt-get download` and `dpkg-deb -x`.
--imagededup PYTHON measures the package imagededup too, by a Python that has it.
"""

from __future__ import annotations

import argparse
import collections
import csv
import io
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import __main__ as apply
from kerasunsup.data import images, splits

Image.MAX_IMAGE_PIXELS = None
# Photographs among the files; the others are drawings, whose flat pieces are equal.
PHOTOGRAPHS = (
    "Autumn", "BytheWater", "ColorfulCups", "FallenLeaf", "EveningGlow", "OneStandsOut",
    "Path", "Kite", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops", "Storm",
    "TwoWings", "Wood", "YellowFlower", "Aqua", "Blinds", "Dune", "Bridge", "2004default",
    "Dragonfly", "Fossa", "Infinite-Sea", "Kleiber", "Painting-Colors", "Picture", "Wine",
    "aitzgorri", "analogpattern", "free", "friends", "greentock", "life", "picosdeeuropa",
    "seeding", "sunset", "umang", "Grey",
)  # fmt: skip
# Copies made of these are stored as files of this kind.
_SUFFIX = {"JPEG, quality 50": ".jpg", "JPEG, quality 90": ".jpg", "WebP, quality 80": ".webp"}

Change = Callable[[Image.Image], Image.Image]


def _resized(picture: Image.Image, share: float) -> Image.Image:
    width, height = (round(side * share) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _moved(picture: Image.Image, right: int, down: int = 0) -> Image.Image:
    moved = Image.new(picture.mode, picture.size)
    moved.paste(picture, (right, down))
    return moved


def _noisy(picture: Image.Image, sigma: float) -> Image.Image:
    random = np.random.default_rng(zlib.crc32(picture.tobytes()))  # of each picture another one
    noise = random.normal(0.0, 255.0 * sigma, np.asarray(picture).shape)
    return Image.fromarray(np.rint(np.clip(np.asarray(picture) + noise, 0, 255)).astype(np.uint8))


def _cropped(picture: Image.Image, pixels: int, *, is_resized: bool) -> Image.Image:
    width, height = picture.size
    part = picture.crop((pixels, pixels, width - pixels, height - pixels))
    return part.resize(picture.size, Image.Resampling.BICUBIC) if is_resized else part


def _marked(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    font = ImageFont.load_default(max(8, height // 10))
    ImageDraw.Draw(layer).text(
        (width // 2, round(0.8 * height)), "(c) me", fill=(255, 255, 255, 140), font=font
    )
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def _changes(side: int) -> Mapping[str, Change]:
    edge = 1 if side < 48 else 2 if side < 128 else 6
    changes: dict[str, Change] = {
        "the same pixels": lambda picture: picture.copy(),
        "JPEG, quality 90": lambda picture: picture,
        "JPEG, quality 50": lambda picture: picture,
        "WebP, quality 80": lambda picture: picture,
        "three quarters of the size": lambda picture: _resized(picture, 0.75),
        "half the size": lambda picture: _resized(picture, 0.5),
        "0.8 of the brightness": lambda picture: picture.point(lambda value: round(0.8 * value)),
        "noise of sigma 0.02": lambda picture: _noisy(picture, 0.02),
        "noise of sigma 0.05": lambda picture: _noisy(picture, 0.05),
        "moved by one pixel": lambda picture: _moved(picture, 1),
        f"an edge of {edge} pixels cut off": lambda p: _cropped(p, edge, is_resized=False),
    }
    if side >= 48:
        changes |= {
            "moved by three pixels each way": lambda picture: _moved(picture, 3, 3),
            "edge cut off, resized back": lambda p: _cropped(p, edge, is_resized=True),
            "a watermark": _marked,
        }
    return changes


def _digits(number: int) -> list[Image.Image]:
    train = splits.load(AutoencoderSettings(limit=number)).train
    return [Image.fromarray(picture[..., 0]) for picture in images.to_uint8(train.array())]


def photographs(folder: Path) -> list[tuple[str, Path]]:
    """Name and largest file of each photograph below a folder."""
    largest: dict[str, tuple[int, Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (".jpg", ".png", ".webp") or "images_dark" in str(path):
            continue
        name = path.parents[2].name if "contents" in path.parts else path.stem.split("_")[0]
        with Image.open(path) as picture:
            area = picture.size[0] * picture.size[1]
        if name in PHOTOGRAPHS and area > largest.get(name, (0, path))[0]:
            largest[name] = area, path
    return [(name, path) for name, (_, path) in sorted(largest.items())]


def _pieces(folder: Path, side: int, number: int, detail: float) -> list[Image.Image]:
    """Pieces of photographs, of none more than the number asks for; detail is in levels."""
    random = np.random.default_rng(0)
    found: list[np.ndarray] = []
    for _, path in photographs(folder):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
        some = 0
        for place in random.permutation(rows * columns):
            top, left = side * (place // columns), side * (place % columns)
            piece = pixels[top : top + side, left : left + side]
            luma = piece @ np.array([0.299, 0.587, 0.114])
            if (luma - ndimage.gaussian_filter(luma, side / 16)).std() >= detail:
                found.append(piece.copy())
                some += 1
            if side <= 64 and some == 220:
                break
    order = random.permutation(len(found))[:number]
    return [Image.fromarray(found[index]) for index in order]


def _found(folder: Path, output: Path) -> Iterator[tuple[str, str, str]]:
    """(kept, other, kind) of each image of a group that need not be kept."""
    if apply.main(["duplicates", str(folder), "--output", str(output)]):
        raise SystemExit("apply duplicates failed")
    kept = ""
    with (output / "duplicates.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["keep"] == "1":
                kept = row["file"]
            else:
                yield kept, row["file"], row["kind"]


def _by_imagededup(python: str, folder: Path, method: str) -> list[tuple[str, str, str]]:
    """The pairs of imagededup, default threshold (a Hamming distance of 10)."""
    code = (
        "import sys, json, types\n"
        "for name in ('methods.cnn', 'utils.models', 'utils.data_generator'):  # they need torch\n"
        "    unused = sys.modules['imagededup.' + name] = types.ModuleType(name)\n"
        "    unused.CNN = unused.CustomModel = unused.MobilenetV3 = unused.ViT = None\n"
        "    unused.EfficientNet = unused.img_dataloader = unused.DEFAULT_MODEL_NAME = None\n"
        "from imagededup import methods\n"
        f"hasher = methods.{method}(verbose=False)\n"
        "found = hasher.find_duplicates(image_dir=sys.argv[1], num_enc_workers=0,"
        " num_dist_workers=0)\n"
        "json.dump(found, open(sys.argv[2], 'w'))\n"
    )
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "pairs.json"
        subprocess.run([python, "-c", code, str(folder), str(path)], check=True)
        found = json.loads(path.read_text(encoding="utf-8"))
    return [(one, other, "") for one, others in found.items() for other in others]


def _original(name: str) -> str:
    return name.split("_")[0].split(".")[0]


def _counted(
    pairs: list[tuple[str, str, str]], kinds: list[str]
) -> tuple[dict[str, int], int, int]:
    """(copies found of each kind, images in false pairs, false pairs)."""
    counts = dict.fromkeys(kinds, 0)
    right, wrong = set(), set()
    for kept, other, _ in pairs:
        if _original(kept) == _original(other):
            right |= {name for name in (kept, other) if "_" in name}
        else:
            wrong.add(frozenset((_original(kept), _original(other))))
    for name in right:
        counts[kinds[int(name.split("_")[1].split(".")[0])]] += 1
    return counts, len(set().union(*wrong)), len(wrong)


def _hidden(
    originals: list[Image.Image], copies: int, folder: Path, options: argparse.Namespace
) -> dict:
    """200 copies of each kind among all."""
    changes = _changes(originals[0].size[0])
    order = np.random.default_rng(1).permutation(len(originals))
    folder.mkdir()
    for number, picture in enumerate(originals):
        picture.save(folder / f"{number:05d}.png")
    for kind, (name, change) in enumerate(changes.items()):
        for number in np.take(order, range(kind * copies, (kind + 1) * copies), mode="wrap"):
            suffix = _SUFFIX.get(name, ".png")
            quality = {"quality": int(name.split()[-1])} if name in _SUFFIX else {}
            changed = change(originals[number])
            changed.save(folder / f"{number:05d}_{kind}{suffix}", **quality)
    start = time.perf_counter()
    pairs = list(_found(folder, folder.parent / f"{folder.name}-plan"))
    result: dict = {"images": len(originals), "seconds": round(time.perf_counter() - start, 1)}
    tools = {"ours": pairs}
    if options.imagededup:
        for method in ("PHash", "DHash"):
            tools[f"imagededup {method}"] = _by_imagededup(options.imagededup, folder, method)
    for tool, of_tool in tools.items():
        counts, in_false, false = _counted(of_tool, list(changes))
        result[tool] = {"found": counts, "in_false_pairs": in_false, "false_pairs": false}
        print(f"{folder.name} {tool}: {counts}, false {false} of {in_false} images", flush=True)
    return result


def _mostly_copies(originals: list[Image.Image], share: float, total: int, folder: Path) -> dict:
    """A folder of which a share are copies: JPEG files of quality 75, each other one paler."""
    folder.mkdir()
    distinct = originals[: round((1.0 - share) * total)]
    for number, picture in enumerate(distinct):
        picture.save(folder / f"{number:05d}.png")
    for copy in range(total - len(distinct)):
        number = copy % len(distinct)
        paler = distinct[number].point(lambda v, f=1.0 - copy / (5.0 * total): round(f * v))
        paler.save(folder / f"{number:05d}_{copy}.jpg", quality=75)
    start = time.perf_counter()
    counts: collections.Counter[str] = collections.Counter()
    for kept, other, _ in _found(folder, folder.parent / f"{folder.name}-plan"):
        counts["right" if _original(kept) == _original(other) else "wrong"] += 1
    result = {
        "images": total, "copies": total - len(distinct), "found": counts["right"],
        "false": counts["wrong"], "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
    print(f"{folder.name}: {result}", flush=True)
    return result


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--photographs", type=Path, help="a folder of large photographs")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--copies", type=int, default=200, help="of each kind")
    parser.add_argument("--only", nargs="+", default=["digits", "64", "256", "sky"])
    parser.add_argument("--imagededup", metavar="PYTHON")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    results: dict = {"command": "python benchmarks/duplicates.py " + " ".join(sys.argv[1:])}
    with tempfile.TemporaryDirectory() as place:
        for name in options.only:
            if name == "digits":
                originals = _digits(options.images)
            else:
                side, detail = (64, 0.0) if name == "sky" else (int(name), 3.0)
                originals = _pieces(options.photographs, side, options.images, detail)
            results[name] = _hidden(originals, options.copies, Path(place) / name, options)
            if name != "sky":
                for share in (0.5, 0.99):
                    label = f"{name}, {share:.0%} copies"
                    results[label] = _mostly_copies(
                        originals, share, min(1000, options.images), Path(place) / label
                    )
            if options.output:
                options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)
    main()
