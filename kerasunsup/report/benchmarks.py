"""The page's section of what `benchmarks/` measured: speed, several machines, optimizers, folders.

These are no runs of the study: each was measured by a script of its own, which wrote a JSON file
with its command, commit and processor. Files that are not there are left out.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.errors import InputError
from kerasunsup.figures import curves, style
from kerasunsup.report.page import Block, Cell, Figure, Heading, Section, Table, paragraph
from kerasunsup.report.sources import Sources
from kerasunsup.training import files

Result = Mapping[str, Any]  # a file's content

_SPEEDS = {
    "training_speed": "autoencoder",
    "training_speed_with_bfloat16": "autoencoder",
    "adversarial_speed": "GAN",
    "adversarial_speed_with_bfloat16": "GAN",
}
_TOOLS = {"ours": "apply duplicates", "imagededup PHash": "PHash", "imagededup DHash": "DHash"}
_PICTURES = {"digits": "digits", "64": "colour, 64 px", "256": "colour, 256 px"}
_STUDENTS = {
    "mnist_10": "10", "mnist_100": "100", "mnist_1000": "1,000", "mnist_all": "all",
}  # fmt: skip


def measured_apart(sources: Sources) -> Section | None:
    """All that is there; None where nothing is, and on quick pages, whose size it is not of."""
    if sources.places.quick or sources.places.data != "mnist":
        return None
    blocks: list[Block] = []
    for title, make in _PARTS.items():
        try:
            made = make(sources, sources.places.benchmarks)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            sources.gaps.append(
                f"{title}: a file in {sources.places.benchmarks} is damaged ({error!r:.80})"
            )
            continue
        if made:
            blocks += [Heading(title), *made]
    if not blocks:
        return None
    opening = paragraph(
        "Measured by the scripts in benchmarks/, each by itself, at the commits and on the"
        " processors that stand below."
    )
    return Section("benchmarks", "Measured apart", "Measured apart", [opening, *blocks])


def _read(sources: Sources, folder: Path, name: str) -> Result | None:
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    try:
        found = files.read_json(path)
    except (OSError, InputError) as error:
        sources.gaps.append(str(error))
        return None
    return found if isinstance(found, dict) else None


def _origin(result: Result) -> str:
    machine = result.get("machine", {})
    told = (
        ("Commit", result.get("commit") or ", ".join(result.get("commits", []))),
        ("", result.get("processor") or machine.get("processor") or "processor not recorded"),
        ("", result.get("date")),
    )
    return ", ".join(f"{name} {value}".strip() for name, value in told if value)


def _table(
    header: list[str], rows: list[list[str]], caption: str, address: str, words: int = 1
) -> list[Block]:
    """A table whose numbers lead to the file that they come from; nothing without rows."""
    cells: list[list[str | Cell]] = [
        [*row[:words], *(Cell(text, address) for text in row[words:])] for row in rows
    ]
    return [Table(header, cells, caption, words=words, names=words)] if rows else []


def _speed(sources: Sources, folder: Path) -> list[Block]:
    blocks: list[Block] = []
    for name, model in _SPEEDS.items():
        result = _read(sources, folder, name)
        if result is None:
            continue
        rows = [
            [title, f"{row['images_per_second']:,.0f}", _ratio(row)]
            for title, row in result["rows"].items()
        ]
        caption = (
            f"The {model}: images a second in training, and the ratio to PyTorch's best mode there,"
            f" {result['reference']}: median and range of {result['rounds']} rounds."
            f" {_origin(result)}."
        )
        address = sources.address(folder / f"{name}.json")
        blocks += _table(["", "images/s", "ratio"], rows, caption, address)
    return blocks


def _ratio(row: Result) -> str:
    """The median, and the range where a file has it."""
    if "least_ratio" not in row:
        return f"{row['ratio']:.2f}"
    return f"{row['ratio']:.2f} ({row['least_ratio']:.2f} to {row['most_ratio']:.2f})"


def _several_machines(sources: Sources, folder: Path) -> list[Block]:
    result = _read(sources, folder, "several_workers")
    if result is None:
        return []
    rows = [
        [name, f"{row['one']:,.0f}", f"{row['two']:,.0f}", _ratio(row)]
        for name, row in result["rows"].items()
    ]
    caption = (
        "Images a second of one process, and of two on the same machine, which shows what talking"
        f" costs and no gain. {_origin(result)}."
    )
    address = sources.address(folder / "several_workers.json")
    return _table(["command", "one process", "two workers", "ratio"], rows, caption, address)


def _optimizers(sources: Sources, folder: Path) -> list[Block]:
    result = _read(sources, folder, "optimizers")
    if result is None:
        return []
    rows: list[list[str]] = []
    for title, part in result["rows"].items():
        for name, row in part.items():
            errors = (row["training_error"], row["validation_error"], row["test_error"])
            rows.append([title, name, *(f"{statistics.fmean(values):.5f}" for values in errors)])
    caption = (
        f"Mean squared errors, means over {len(result['seeds'])} seeds; rates and strengths chosen"
        f" on validation images. {_origin(result)}."
    )
    address = sources.address(folder / "optimizers.json")
    return [
        *_table(["", "", "training", "validation", "test"], rows, caption, address, words=2),
        Figure(
            style.to_png(curves.compared_errors(panels_of(result["rows"]))),
            "Validation errors over the epochs; bands reach from seed to seed.",
            address,
            is_drawn_here=True,
        ),
    ]


def panels_of(
    rows: Mapping[str, Mapping[str, Result]],
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The curves of the comparison of optimizers, as `curves.compared_errors` takes them.

    Args:
        rows: title -> row -> its numbers, as `benchmarks/optimizers.py` writes them.

    Example:
        >>> row = {"curve_epochs": [1, 2], "curves": [[0.02, 0.01]]}
        >>> list(panels_of({"optimizers": {"Adam": row}})["optimizers"])
        ['Adam']
    """
    return {
        title: {
            name: (np.array(row["curve_epochs"]), np.array(row["curves"], float))
            for name, row in part.items()
        }
        for title, part in rows.items()
    }


def _student(sources: Sources, folder: Path) -> list[Block]:
    alone = _read(sources, folder, "student") or {}
    labelled = _read(sources, folder, "student_labels") or {}
    parts = {("student", "none"): alone}
    parts |= {("student_labels", _STUDENTS[key]): labelled.get(key, {}) for key in _STUDENTS}
    rows: list[list[str | Cell]] = []
    for (file, labels), part in parts.items():
        runs = [run for found in part.get("rows", {}).values() for run in found]
        if runs:
            right = ", ".join(f"{100 * run['test_accuracy']:.2f}" for run in runs)
            address = sources.address(folder / f"{file}.json")
            rows.append([labels, Cell(f"{len(runs)}", address), Cell(right, address)])
    caption = (
        "Test images of MNIST in the right one of ten groups, %, by the self-labelling student; one"
        f" encoder. {_origin(alone or labelled)}."
    )
    return [Table(["labels", "seeds", "right"], rows, caption)] if rows else []


def student_accuracies(sources: Sources, labels: str) -> tuple[list[float], str]:
    """What the self-labelling student makes of so many labels of MNIST.

    Args:
        sources: of a page; a quick one, and one of other data, has no such numbers.
        labels: `10`, `100`, `1000` or `all`.

    Returns:
        Test accuracies in [0, 1], one a seed, and the address of the file that has them; none
        where it is missing or damaged, which the page's section of measurements says.

    Example:
        >>> from pathlib import Path
        >>> from kerasunsup.report.steps import Places
        >>> places = Places(Path("logs"), Path("tuning"), quick=True)
        >>> student_accuracies(Sources({}, places, Path()), "10")
        ([], '')
    """
    places = sources.places
    path = places.benchmarks / "student_labels.json"
    if places.quick or places.data != "mnist" or not path.is_file():
        return [], ""
    with contextlib.suppress(InputError, LookupError, TypeError, ValueError, AttributeError):
        rows = files.read_json(path)[f"mnist_{labels}"]["rows"]
        found = [float(run["test_accuracy"]) for runs in rows.values() for run in runs]
        return found, sources.address(path)
    return [], ""


def _copies(sources: Sources, folder: Path) -> list[Block]:
    result = _read(sources, folder, "duplicates")
    if result is None:
        return []
    rows: list[list[str]] = []
    for key, pictures in _PICTURES.items():
        different = result["rows"].get(key, {}).get("different", {})
        for tool, title in _TOOLS.items():
            if tool in different:
                found = different[tool]["found"]
                rows.append(
                    [
                        f"{different['images']:,} {pictures}",
                        title,
                        f"{sum(found.values()):,}",
                        f"{different[tool]['false_pairs']:,}",
                    ]
                )
    commits = [part["commit"] for part in result["rows"].values() if "commit" in part]
    origin = _origin({**result, "commits": commits})
    caption = f"Changed copies of all kinds, hidden among different images. {origin}."
    address = sources.address(folder / "duplicates.json")
    header = ["among", "by", "copies found", "false pairs"]
    return _table(header, rows, caption, address, words=2)


def _maps(sources: Sources, folder: Path) -> list[Block]:
    result = _read(sources, folder, "oddity_maps")
    if result is None:
        return []
    of_kind: dict[str, list[Result]] = {}
    for row in result["rows"]:
        if row.get("way") == "maps":
            of_kind.setdefault(str(row["patches"]), []).append(row)
    rows = [
        [
            kind,
            f"{len(found)}",
            f"{statistics.fmean(row['pixel_auroc'] for row in found):.3f}",
            f"{statistics.fmean(row['hottest_inside'] for row in found):.2f}",
        ]
        for kind, found in of_kind.items()
    ]
    header = ["patches pasted", "seeds", "pixel AUROC", "hottest point inside"]
    caption = f"Where an image is odd: maps of apply outliers. {_origin(result)}."
    return _table(header, rows, caption, sources.address(folder / "oddity_maps.json"))


# Title -> what makes its blocks; empty where its file is not there.
_PARTS: Mapping[str, Callable[[Sources, Path], list[Block]]] = {
    "Optimizers, and what keeps a network from learning by heart": _optimizers,
    "A student that begins from groups": _student,
    "Copies in a folder": _copies,
    "Where an image is odd": _maps,
    "Speed": _speed,
    "Several machines": _several_machines,
}
