"""The page's summary: ten numbers, each with what is published, and whether ours is ahead."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path

from kerasunsup.report import benchmarks, sentences
from kerasunsup.report.page import MISSING, Block, Cell, Table
from kerasunsup.report.sources import Sources


@dataclasses.dataclass(frozen=True)
class Published:
    """A number from elsewhere, in the unit in which the page shows it."""

    value: float
    source: str


@dataclasses.dataclass(frozen=True)
class _Number:
    """One line of the summary: the first of its places that has a number counts."""

    title: str
    places: tuple[tuple[str, str], ...]  # (step, name in metrics.json)
    form: str
    scale: float = 1.0
    is_less_better: bool = False
    beside: tuple[str, str, str] | None = None  # (words, step, name) where nothing is published


_NUMBERS: Mapping[str, _Number] = {
    "error": _Number(
        "reconstruction error (MSE), 32 numbers an image",
        (("tuned", "test/mse"), ("clean", "test/mse")), ".5f", is_less_better=True,
    ),
    "noise": _Number(
        "noise of sigma 0.4 removed, gain in dB", (("noise", "noise_0.4/gain_db"),), ".1f",
        beside=("never saw noise", "clean", "noise_0.4/gain_db"),
    ),
    "codes": _Number(
        "distance of samples from codes",
        (("tuned", "neighbors/fid"), ("tuned", "mixture_100/fid"), ("clean", "mixture_100/fid")),
        ".1f", is_less_better=True, beside=("real images", "clean", "real/fid"),
    ),
    "gan": _Number(
        "distance of samples of the GAN", (("gan", "fid"),), ".2f",
        is_less_better=True, beside=("real images", "gan", "real/fid"),
    ),
    "outliers": _Number(
        "outliers, one class against the rest, mean AUROC, %",
        (("novelty", "outliers/auroc_mean"),), ".1f", scale=100.0,
    ),
    "groups": _Number(
        "ten groups without labels, % right",
        (
            ("tuned", "latent/student_accuracy"), ("tuned", "latent/graph_accuracy"),
            ("clean", "latent/graph_accuracy"),
        ),
        ".1f", scale=100.0,
    ),
}  # fmt: skip
_LABELS = {"10": "10 labels", "100": "100 labels", "1000": "1,000 labels", "all": "all labels"}
_LADDER = "Ladder, arXiv:1507.02672"
_PUBLISHED: Mapping[str, Mapping[str, Published]] = {
    "mnist": {
        "error": Published(0.00383, "30 numbers, far larger: Hinton & Salakhutdinov 2006"),
        "outliers": Published(97.5, "OCGAN, arXiv:1903.08550"),
        "groups": Published(98.3, "DEC-DA, test images: Guo et al. 2018"),
        "100": Published(99.2, "BadGAN, arXiv:1705.09783"),
        "1000": Published(99.16, _LADDER),
        "all": Published(99.43, _LADDER),
    },
    "fashionmnist": {
        "outliers": Published(93.6, "ARAE, arXiv:2003.05669"),
        "groups": Published(67.2, "N2D, arXiv:1908.05968"),
    },
}


def ten_numbers(sources: Sources) -> list[Block]:
    """The table; numbers of another size or other data have nothing published beside them."""
    published = {} if sources.places.quick else published_for(sources.places.data)
    rows = [_row(sources, key, number, published.get(key)) for key, number in _NUMBERS.items()]
    rows += [_labels(sources, labels, published.get(labels)) for labels in _LABELS]
    return [
        Table(
            ["", "published, or beside it", "ours"],
            rows,
            words=3,  # words beside each number: they wrap, so that a phone shows all columns
            caption="Ten numbers, of test images. Distances are comparable on this page alone;"
            " where nothing is published, a comparison of our own stands beside.",
        )
    ]


def published_for(data: str) -> Mapping[str, Published]:
    """What is published for a data set; empty where we know of nothing.

    Example:
        >>> published_for("mnist")["1000"].value
        99.16
        >>> published_for("pictures/Fashion-MNIST") == published_for("fashion_mnist")
        True
    """
    name = "".join(filter(str.isalnum, Path(data).name.lower()))
    return _PUBLISHED.get(name, {})


def _row(
    sources: Sources, key: str, number: _Number, published: Published | None
) -> list[str | Cell]:
    for step, name in number.places:
        value = sources.value(step, name)
        if value is None:
            continue
        ours = sources.cell(step, name, number.form, scale=number.scale)
        if published is not None:
            known = f"{published.value:{number.form}} ({published.source})"
            verdict = _verdict(number.scale * value, published.value, number.is_less_better)
            return [number.title, known, _with(ours, verdict)]
        if number.beside is None:
            return [number.title, "", ours]
        words, other_step, other_name = number.beside
        other = sources.cell(other_step, other_name, number.form, scale=number.scale)
        return [number.title, _with(other, words), ours]
    return [number.title, "", MISSING]


def _labels(sources: Sources, labels: str, published: Published | None) -> list[str | Cell]:
    title = f"{_LABELS[labels]}, best way, % right"
    student, address = benchmarks.student_accuracies(sources, labels)
    best = sentences.best_method(sources, labels)
    words: list[str] = []
    if student:  # far better than what `supervised` compares by default, and far slower
        value = statistics.fmean(student)
        ours = Cell(f"{100 * value:.2f}", address)
        words.append(f"student, {len(student)} seed{'s' if len(student) > 1 else ''}")
    elif best is not None:
        name = f"labels_{labels}/{best[0]}_accuracy"
        value = sources.value("supervised", name) or 0.0
        ours = sources.cell("supervised", name, ".2f", scale=100.0)
    else:
        return [title, "", MISSING]
    known = ""
    if published is not None:
        known = f"{published.value:.2f} ({published.source})"
        words.append(_verdict(100.0 * value, published.value, False))
    return [title, known, _with(ours, "; ".join(words)) if words else ours]


def _with(cell: Cell, words: str) -> Cell:
    return dataclasses.replace(cell, text=f"{cell.text} ({words})")


def _verdict(ours: float, published: float, is_less_better: bool) -> str:
    lead = published - ours if is_less_better else ours - published
    return "ahead" if lead > 0 else "behind" if lead < 0 else "alike"
