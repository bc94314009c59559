"""How long all neighbours of very many codes take, what is found of them, and how much memory.

    python -m kerasunsup.apply encode logs/ae/reference mnist --part train --output codes
    python benchmarks/neighbors_at_scale.py codes/codes.npz --output docs/neighbors.json

The second line once more with `--index-of logs/ae/reference` times the index that `encode` keeps.

Makes up to a million codes of those of real images: each lies somewhere between a code and one of
its ten nearest, and a little aside. Beside them codes from one normal distribution, which have no
structure that a search could use, and codes half of which are equal. Each set is searched in a
process of its own. `seconds` and `processor_seconds` are of `neighbor_index.NeighborIndex` and of
its search; `gib` is what the process took beyond the codes themselves; `recall` counts a neighbour
as found where it is as near as the right one, of codes other than those that the search measures
itself by. Of up to 100,000 codes of digits it is of all of them, and the time of the search that
compares all with all, which does not depend on what the codes are, stands beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.apply.settings import ApplySettings
from kerasunsup.evaluation import clustering, neighbor_index, neighbors
from kerasunsup.evaluation.label_spreading import GraphOfCodes
from kerasunsup.training import run_folder

_NUMBER = 10
_COMPARED = 2000  # codes of which all are searched, where there are too many to search all for all
_MOST_WITH_ALL = 100_000
_NEAREST: dict[int, np.ndarray] = {}  # to the known codes
_SIZES = (10_000, 100_000, 1_000_000)


def between(known: np.ndarray, num_codes: int, seed: int) -> np.ndarray:
    """Codes between a known one and one of its ten nearest, float32 (num_codes, dim)."""
    random = np.random.default_rng(seed)
    if id(known) not in _NEAREST:
        _NEAREST[id(known)] = neighbors.nearest(known, None, 10)[1]
    nearest = _NEAREST[id(known)]
    one = random.integers(0, len(known), num_codes)
    other = nearest[one, random.integers(0, 10, num_codes)]
    codes = random.random((num_codes, 1), np.float32) * (known[other] - known[one])
    aside = np.linalg.norm(codes, axis=1, keepdims=True) * 0.3 / np.sqrt(known.shape[1])
    codes += aside * random.standard_normal(codes.shape, np.float32)
    codes += known[one]
    return codes


def normal(known: np.ndarray, num_codes: int, seed: int) -> np.ndarray:
    """Codes from one normal distribution, float32 (num_codes, dim)."""
    random = np.random.default_rng(seed)
    return random.standard_normal((num_codes, known.shape[1]), np.float32)


def half_equal(known: np.ndarray, num_codes: int, seed: int) -> np.ndarray:
    """As `between`, and half of all are one code, as of blank images."""
    codes = between(known, num_codes, seed)
    codes[np.random.default_rng(seed).permutation(num_codes)[::2]] = known[0]
    return codes


KINDS: Mapping[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "codes of digits": between,
    "codes of digits, half of them equal": half_equal,
    "codes of one normal distribution": normal,
}


def measure(path: Path, seed: int, is_with_all: bool) -> dict[str, Any]:
    """The numbers of one set of codes, which a file holds.

    Args:
        path: of a .npy.
        seed: of the search.
        is_with_all: whether the search that compares all with all is timed too.
    """
    codes = np.load(path)
    begun = _memory(), time.perf_counter(), time.process_time()
    index = neighbor_index.NeighborIndex(codes, _NUMBER, seed)
    distances, _ = index.nearest()
    row: dict[str, Any] = {
        "seconds": time.perf_counter() - begun[1],
        "processor_seconds": time.process_time() - begun[2],
        "gib": (_memory() - begun[0]) / 2**20,
        "reach": index.reach,
        "recall_measured_by_itself": index.recall,
    }
    if is_with_all:
        begun = 0, time.perf_counter(), time.process_time()
        right, _ = neighbors.nearest(codes, None, _NUMBER)
        row["all_with_all_seconds"] = time.perf_counter() - begun[1]
        row["all_with_all_processor_seconds"] = time.process_time() - begun[2]
        rows = np.arange(len(codes))
    else:
        rows = np.random.default_rng(seed + 1).permutation(len(codes))[:_COMPARED]
        # The code itself is the nearest one, at no distance.
        right = neighbors.nearest(codes, codes[rows], _NUMBER + 1)[0][:, 1:]
    # Comparing all with all leaves equal codes apart by rounding.
    limit = right[:, -1:] * (1.0 + 1e-5) + 1e-3 * float(codes.std()) * (right[:, -1:] < 1e-2)
    row["recall"] = float((distances[rows] <= limit).mean())
    return row


def groups(path: Path, seed: int) -> dict[str, float]:
    """How long ten groups of the codes take, and a label spread along the graph of 60,000."""
    codes = np.load(path)
    begun = _memory(), time.perf_counter(), time.process_time()
    clustering.groups(codes, 10, seed)
    row = {
        "groups_seconds": time.perf_counter() - begun[1],
        "groups_processor_seconds": time.process_time() - begun[2],
        "groups_gib": (_memory() - begun[0]) / 2**20,
    }
    begun = 0, time.perf_counter(), time.process_time()
    drawn = np.random.default_rng(seed).permutation(len(codes))[:60_000]
    labelled = np.arange(100)
    GraphOfCodes(codes[drawn], seed).spread(labelled, labelled % 10, codes, 10)
    row["spread_seconds"] = time.perf_counter() - begun[1]
    row["spread_processor_seconds"] = time.process_time() - begun[2]
    return row


def kept_index_times(model: Path, known: np.ndarray, seed: int) -> dict[str, float]:
    """Seconds of commands with the index that `apply encode` keeps.

    The first 10,000 training images of MNIST are encoded, then 100 more. Then a
    million codes take their place, and one image is searched; of its files none stand, so the
    contact sheet shows the query alone.
    """
    from PIL import Image

    from kerasunsup.apply import kept_index, result_files
    from kerasunsup.data import splits
    from kerasunsup.settings import TrainingSettings

    pixels = splits.load(TrainingSettings()).train.array(np.arange(10_100))[..., 0]
    row = {}
    with tempfile.TemporaryDirectory() as place:
        images, index = Path(place) / "images", Path(place) / "index"
        images.mkdir()
        for name, numbers in (
            ("encode", range(10_000)),
            ("encode_100_more", range(10_000, 10_100)),
        ):
            for number in numbers:
                picture = Image.fromarray((255.0 * pixels[number] + 0.5).astype(np.uint8))
                picture.save(images / f"{(7919 * number) % 1_000_003:06d}.png")
            row[f"{name}_seconds"] = _apply("encode", model, images, "--output", index)
        kept, count = kept_index.opened(index), 1_000_000
        encoded = kept.encoded()
        encoded = dataclasses.replace(
            encoded, names=[f"{number:07d}.png" for number in range(count)],
            positions=np.arange(count), codes=between(known, count, seed),
        )  # fmt: skip
        stream = dataclasses.replace(kept.stream(), names=encoded.names)
        files = result_files.ResultFiles(index)
        files.write_codes("codes.npz", encoded.codes, encoded.names)
        stamps = np.zeros((count, 2), np.int64)
        opened_model = kept.opened_model(is_trusted=False)
        kept_index.write(index, encoded, stream, opened_model, ApplySettings(), stamps)
        begun = time.perf_counter()
        codes = kept_index.opened(index).codes
        row["open_seconds"] = time.perf_counter() - begun
        begun = time.perf_counter()
        neighbor_index.nearest(codes, known[:1], _NUMBER)
        row["search_seconds"] = time.perf_counter() - begun
        query = next(images.iterdir())
        output = Path(place) / "similar"
        row["similar_seconds"] = _apply("similar", index, "--query", query, "--output", output)
    return row


def _apply(*arguments: object) -> float:
    """Seconds of a whole command, TensorFlow's start too."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "kerasunsup.apply", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _memory() -> int:
    """The most that this process has held in memory so far, KiB.

    `getrusage` would count what the process held that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def exponent(rows: list[dict[str, Any]], name: str) -> float:
    """The power of the number of codes that a number grows with, by least squares of logarithms."""
    sizes, values = zip(*((row["codes"], row[name]) for row in rows), strict=True)
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _in_process(what: str, path: Path, seed: int) -> dict[str, Any]:
    command = [sys.executable, __file__, str(path), "--one", what, "--seed", str(seed)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def _write(path: Path | None, result: dict[str, Any]) -> None:
    for name in KINDS:
        rows = [row for row in result["rows"] if row["kind"] == name]
        if len(rows) > 1:
            names = ("seconds", "processor_seconds")
            result["exponents"][name] = {of: exponent(rows, of) for of in names}
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("codes", type=Path, help="a .npz with codes, as apply encode writes it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(_SIZES))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--index-of", type=Path, metavar="MODEL", help="only time its kept index")
    parser.add_argument("--commit", help="what the result names as its version")
    parser.add_argument("--load", default="not noted", help="what else the machine had to do")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        path, seed = arguments.codes, arguments.seed
        if arguments.one == "groups":
            row = groups(path, seed)
        else:
            row = measure(path, seed, arguments.one == "measure_with_all")
        print(json.dumps(row))
        return
    with np.load(arguments.codes) as archive:
        known = archive["codes"]
    result: dict[str, Any] = {
        "command": "python benchmarks/neighbors_at_scale.py codes/codes.npz",
        "commit": arguments.commit, "seed": arguments.seed, "neighbors": _NUMBER,
        "dim": known.shape[1], "processor": run_folder.processor(), "processors": os.cpu_count(),
        "load": arguments.load,
        "not_tried": "another kind of processor was not tried", "rows": [], "exponents": {},
    }  # fmt: skip
    if arguments.output and arguments.output.exists():  # other kinds or sizes, measured before
        before = json.loads(arguments.output.read_text(encoding="utf-8"))
        result["rows"] = before["rows"]
        result["index"] = before.get("index")
    if arguments.index_of:
        result["index"] = kept_index_times(arguments.index_of, known, arguments.seed)
        result["index"]["load_average"] = os.getloadavg()[0]
        print(result["index"])
    for kind in [] if arguments.index_of else arguments.kinds:
        for size in arguments.sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "codes.npy"
                np.save(path, KINDS[kind](known, size, arguments.seed))
                row = {"kind": kind, "codes": size}
                is_with_all = kind == "codes of digits" and size <= _MOST_WITH_ALL
                what = "measure_with_all" if is_with_all else "measure"
                row |= _in_process(what, path, arguments.seed)
                if kind == "codes of digits" and size == max(_SIZES):
                    row |= _in_process("groups", path, arguments.seed)
            row["load_average"] = os.getloadavg()[0]
            print(row, flush=True)
            kept = [old for old in result["rows"] if (old["kind"], old["codes"]) != (kind, size)]
            result["rows"] = sorted(
                [*kept, row], key=lambda row: (list(KINDS).index(row["kind"]), row["codes"])
            )
            _write(arguments.output, result)
    _write(arguments.output, result)


if __name__ == "__main__":
    main()
