"""Whether pictures of one class lie near each other: by pixels, by codes, by other features.

    python benchmarks/own_pictures.py make FOLDER --stamps DIR --units DIR --photographs DIR
    python benchmarks/own_pictures.py measure FOLDER/stamps --codes autoencoder=codes.npz ... \
        --output docs/own_pictures.json
    python benchmarks/own_pictures.py restore FOLDER/photographs-right --run logs/ae/photographs

`make` lays out three folders, a sub-folder a class, from unpacked Debian packages (`apt-get
download`, `dpkg-deb -x`): the stamps of tuxpaint-stamps-default (`usr/share/tuxpaint/stamps`); the
units of wesnoth-1.16-data (`.../core/images/units`) without the numbered frames of movements; and
pieces of 64 pixels of the photographs of wallpaper packages (as in `benchmarks/duplicates.py`),
made 1,536 pixels wide before: those of the left three quarters in `photographs`, the right quarters
whole in `photographs-right`.

`measure` gives the share of the ten nearest neighbours that are of the picture's class, and how
far groups agree with the classes. Of exact copies the first counts; classes of fewer than ten
pictures are left out. It takes codes as `apply encode` writes them; pixels and histograms of
colours are made here.

`restore` adds noise to the pictures, restores them with a denoiser (`ae --skip`), and gives the
PSNR before and after.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import duplicates
import numpy as np
from PIL import Image

from kerasunsup.apply import __main__ as apply
from kerasunsup.data import images
from kerasunsup.evaluation import clustering, neighbors

_LEAST = 10  # pictures of a class
_SIDE = 64
_WIDTH = 1536  # of a photograph that is cut to pieces
_PIECES = 60  # of a photograph


def _copied(source: Path, target: Path, depth: int) -> None:
    """The PNG files below a folder, in one sub-folder a class: the first `depth` folders."""
    for path in sorted(source.rglob("*.png")):
        parts = path.relative_to(source).parts
        if len(parts) < 2 or (depth == 1 and path.stem[-1].isdigit()):  # a frame of a movement
            continue
        depth_here = min(depth, len(parts) - 1)
        place = target / "-".join(parts[:depth_here]) / "-".join(parts[depth_here:])
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _cut(source: Path, target: Path, right: Path) -> None:
    """Pieces of the left three quarters of each photograph, and the right quarter whole."""
    random = np.random.default_rng(0)
    right.mkdir(parents=True, exist_ok=True)
    for name, path in duplicates.photographs(source):
        with Image.open(path) as picture:
            height = round(picture.height * _WIDTH / picture.width)
            small = picture.convert("RGB").resize((_WIDTH, height), Image.Resampling.LANCZOS)
        edge = 3 * _WIDTH // 4
        small.crop((edge, 0, _WIDTH, height)).save(right / f"{name}.png")
        columns, rows = edge // _SIDE, height // _SIDE
        (target / name).mkdir(parents=True, exist_ok=True)
        for place in random.permutation(columns * rows)[:_PIECES]:
            left, top = _SIDE * (place % columns), _SIDE * (place // columns)
            piece = small.crop((left, top, left + _SIDE, top + _SIDE))
            piece.save(target / name / f"{left:04d}-{top:04d}.png")


def _make(options: argparse.Namespace) -> None:
    if options.stamps:
        _copied(options.stamps, options.folder / "stamps", 2)
    if options.units:
        _copied(options.units, options.folder / "units", 1)
    if options.photographs:
        right = options.folder / "photographs-right"
        _cut(options.photographs, options.folder / "photographs", right)


def _colours(picture: np.ndarray) -> np.ndarray:
    """The square roots of the shares of 512 colours, so that distances are Hellinger's."""
    counts, _ = np.histogramdd(picture.reshape(-1, 3), bins=(8, 8, 8), range=[(0, 1)] * 3)
    return np.sqrt(counts.ravel() / counts.sum()).astype(np.float32)


def _numbers(vectors: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The share of neighbours of one class, and how far groups agree with the classes."""
    _, near = neighbors.nearest(vectors, None, 10)
    number = int(labels.max()) + 1
    groups = clustering.groups(vectors, number, 0)
    same = (labels[near] == labels[:, np.newaxis]).mean()
    agreement = clustering.agreement(groups, labels)
    return {"neighbours": round(float(same), 4)} | {k: round(v, 4) for k, v in agreement.items()}


def _measure(options: argparse.Namespace) -> None:
    paths = sorted(path for path in options.folder.rglob("*") if path.is_file())
    first: dict[bytes, Path] = {}
    pixels = {}
    for path in paths:
        picture = images.with_channels(images.decode(path), 3)
        key = hashlib.blake2b(str(picture.shape).encode() + picture.tobytes()).digest()
        if first.setdefault(key, path) is path:
            pixels[path] = images.to_unit(images.resize(picture, _SIDE, _SIDE))
    sizes = collections.Counter(path.parent.name for path in pixels)
    names = sorted(name for name, size in sizes.items() if size >= _LEAST)
    kept = [path for path in pixels if path.parent.name in names]
    labels = np.array([names.index(path.parent.name) for path in kept])
    chance = sum(size * (size - 1) for size in np.bincount(labels)) / len(kept) / (len(kept) - 1)
    rows = {
        "pixels": np.stack([pixels[path].ravel() for path in kept]),
        "histogram of colours": np.stack([_colours(pixels[path]) for path in kept]),
    }
    for named in options.codes:
        name, file = named.split("=", 1)
        archive = np.load(file)
        place = {str(one): at for at, one in enumerate(archive["files"])}
        order = [place[path.relative_to(options.folder).as_posix()] for path in kept]
        rows[name] = archive["codes"][order].astype(np.float32)
    result = {
        "pictures": len(kept), "classes": len(names), "chance": round(float(chance), 4),
        "rows": {name: _numbers(vectors, labels) for name, vectors in rows.items()},
    }  # fmt: skip
    print(options.folder.name, json.dumps(result, indent=1))
    if options.output:
        has_some = options.output.exists()
        whole = json.loads(options.output.read_text("utf-8")) if has_some else {}
        whole[options.folder.name] = result
        options.output.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10.0 * np.log10(np.square(one / 255.0 - other / 255.0).mean()))


def _restore(options: argparse.Namespace) -> None:
    paths = sorted(path for path in options.folder.iterdir() if path.is_file())
    originals = [images.with_channels(images.decode(path), 3) for path in paths]
    rows = {}
    for sigma in (0.1, 0.25):
        with tempfile.TemporaryDirectory() as place:
            noisy, restored = Path(place) / "noisy", Path(place) / "restored"
            noisy.mkdir()
            for seed, (path, picture) in enumerate(zip(paths, originals, strict=True)):
                noise = np.random.default_rng(seed).normal(0.0, sigma, picture.shape)
                Image.fromarray(images.to_uint8(images.to_unit(picture) + noise)).save(
                    noisy / f"{path.stem}.png"
                )
            if apply.main(["restore", str(options.run), str(noisy), "--output", str(restored)]):
                raise SystemExit("apply restore failed")
            found = [
                [
                    _psnr(images.with_channels(images.decode(folder / f"{path.stem}.png"), 3), one)
                    for folder in (noisy, restored)
                ]
                for path, one in zip(paths, originals, strict=True)
            ]
        before, after = np.array(found).T
        rows[f"noise {sigma}"] = {
            "pictures": len(paths), "noisy": round(before.mean(), 2),
            "restored": round(after.mean(), 2), "least_gain": round((after - before).min(), 2),
            "largest_gain": round((after - before).max(), 2),
        }  # fmt: skip
    print(json.dumps(rows, indent=1))
    if options.output:
        whole = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
        whole["restored_photographs"] = rows
        options.output.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Lays out the folders, or measures one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("what", choices=["make", "measure", "restore"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--units", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--codes", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--run", type=Path, help="a denoiser")
    parser.add_argument("--output", type=Path, help="add the results to this JSON")
    options = parser.parse_args()
    {"make": _make, "measure": _measure, "restore": _restore}[options.what](options)


if __name__ == "__main__":
    main()
