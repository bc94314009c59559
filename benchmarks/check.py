"""Which made faults `apply check` finds, and what else it names, beside the package cleanvision.

    python benchmarks/check.py FOLDER --cleanvision PYTHON --output docs/check.json

Copies the pictures of FOLDER, and adds 20 of each kind of fault, made of others of them that are
left out. A fault counts as found where it is named as what it is. "Others named" are untouched
pictures that are named: some of them do have the fault. Nothing is tuned here.

--cleanvision is a Python that has cleanvision: it is no dependency of this project.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from kerasunsup.apply import __main__ as apply
from kerasunsup.data import images

_OF_EACH = 20

Change = Callable[[Image.Image], Image.Image]


def _brightness(picture: Image.Image, scale: float, offset: float) -> Image.Image:
    return picture.point(lambda value: round(scale * value + offset))


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _plain(picture: Image.Image) -> Image.Image:
    """Nothing but the mean colour."""
    colour = np.asarray(picture).reshape(-1, 3).mean(axis=0)
    return Image.new("RGB", picture.size, tuple(int(value) for value in colour))


# Kind of `apply check` -> how it is made, and what cleanvision calls it.
FAULTS: Mapping[str, tuple[Change, str]] = {
    "blurred": (
        lambda p: p.filter(ImageFilter.GaussianBlur(0.02 * max(p.size))),
        "blurry",
    ),
    "dark": (lambda p: _brightness(p, 0.15, 0), "dark"),
    "light": (lambda p: _brightness(p, 0.04, 245), "light"),
    "flat": (_plain, "low_information"),
    "odd_size": (lambda p: _resized(p, 8 * p.width, 8 * p.height), "odd_size"),
    "odd_shape": (lambda p: _resized(p, p.width, max(1, p.width // 8)), "odd_aspect_ratio"),
    "grey": (lambda p: p.convert("L"), "grayscale"),
    "exact_copy": (lambda p: p.copy(), "exact_duplicates"),
}


def _laid_out(source: Path, folder: Path) -> int:
    """Writes the pictures and the faulty ones; returns how many are as they were."""
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    order = np.random.default_rng(0).permutation(len(paths))
    folder.mkdir()

    def picture(index: int) -> Image.Image:
        return Image.fromarray(images.with_channels(images.decode(paths[index]), 3))

    made = 0
    for kind, (change, _) in FAULTS.items():
        for _ in range(_OF_EACH):
            index = order[made]
            made += 1
            change(picture(index)).save(folder / f"{kind}-{index:05d}.png")
            if kind == "exact_copy":
                picture(index).save(folder / f"as-it-was-{index:05d}.png")
    for index in order[made:]:
        picture(index).save(folder / f"as-it-was-{index:05d}.png")
    return len(paths) - made + _OF_EACH


def _by_check(folder: Path, output: Path) -> dict[str, set[str]]:
    """The names that each issue has."""
    if apply.main(["check", str(folder), "--output", str(output)]):
        raise SystemExit("apply check failed")
    named: dict[str, set[str]] = {kind: set() for kind in FAULTS}
    with (output / "check.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["issue"] in named:
                named[row["issue"]].add(row["file"])
                if row["issue"] == "exact_copy":  # either may come first
                    named[row["issue"]].add(row["value"])
    return named


def _by_cleanvision(python: str, folder: Path) -> dict[str, set[str]]:
    code = (
        "import json, sys, os\n"
        "from cleanvision import Imagelab\n"
        "lab = Imagelab(data_path=sys.argv[1])\n"
        "lab.find_issues(n_jobs=1, verbose=False)\n"
        "issues = lab.issues\n"
        "named = {c[3:-6]: [os.path.basename(p) for p in issues.index[issues[c]]]\n"
        "         for c in issues.columns if c.startswith('is_')}\n"
        "json.dump(named, open(sys.argv[2], 'w'))\n"
    )
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "issues.json"
        subprocess.run([python, "-c", code, str(folder), str(path)], check=True)
        found = json.loads(path.read_text(encoding="utf-8"))
    return {kind: set(found.get(theirs, ())) for kind, (_, theirs) in FAULTS.items()}


def _counted(named: dict[str, set[str]]) -> dict[str, dict[str, int]]:
    counts = {}
    for kind, names in named.items():
        is_whole = [name for name in names if name.startswith("as-it-was")]
        found = sum(name.startswith(f"{kind}-") for name in names)
        twins = {name.split("-")[-1] for name in names if name.startswith(f"{kind}-")}
        others = [name for name in is_whole if name.split("-")[-1] not in twins]
        counts[kind] = {"found": found, "others_named": len(others)}
    return counts


def main() -> None:
    """Measures one folder and adds the results to a JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cleanvision", metavar="PYTHON")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        whole = _laid_out(options.folder, folder)
        result: dict = {"of_each_fault": _OF_EACH, "as_they_were": whole}
        start = time.process_time()
        result["apply check"] = _counted(_by_check(folder, Path(place) / "faults"))
        result["seconds_of_processor"] = round(time.process_time() - start, 1)
        if options.cleanvision:
            result["cleanvision"] = _counted(_by_cleanvision(options.cleanvision, folder))
    print(options.folder.name, json.dumps(result, indent=1))
    if options.output:
        has_some = options.output.exists()
        results = json.loads(options.output.read_text("utf-8")) if has_some else {}
        results[options.folder.name] = result
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
