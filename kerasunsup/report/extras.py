"""The page's second half: results that the study has none of, and where every number comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasunsup.errors import InputError
from kerasunsup.figures import style
from kerasunsup.novelty.settings import OUTLIER_SCORES
from kerasunsup.report import sentences, steps
from kerasunsup.report.page import (
    Block,
    Cell,
    Figure,
    Section,
    Table,
    paragraph,
)  # fmt: skip
from kerasunsup.report.sources import Sources, duration, percent
from kerasunsup.search import figures, record
from kerasunsup.training import files

_DEEP_SVDD = 0.948  # Ruff et al. 2018, mean over the ten classes of MNIST

_CLUSTERINGS = {
    "pixels/kmeans": "k-means on pixels",
    "latent/kmeans": "k-means on codes",
    "latent/graph": "graph of codes (apply cluster)",
    "latent/student": "self-labelling student (ae --student)",
}
# Name in metrics.json -> what it is, and its format.
_VARIATIONAL = {
    "test/mse": ("test error (MSE)", ".5f"),
    "test/psnr_db": ("test PSNR, dB", ".2f"),
    "reconstructed/fid": ("distance of reconstructions", ".1f"),
    "mixture_100/fid": ("distance of samples, mixture of 100", ".1f"),
    "normal/fid": ("distance of samples, standard normal codes", ".1f"),
    "normal/classifier_score": ("their score", ".2f"),
    "normal/precision": ("their precision", ".2f"),
    "normal/recall": ("their recall", ".2f"),
    "variational/kl": ("divergence of codes from the normal distribution, nats", ".2f"),
    "variational/kl_per_unit": ("the same, mean over units", ".3f"),
    "variational/active_units": ("units that depend on the image", ".0f"),
}


def variational(sources: Sources) -> Section | None:
    """The variational autoencoder beside the plain one; None where it was not run."""
    if sources.run("variational") is None:
        return None
    own = ("normal/", "variational/")
    rows: list[list[str | Cell]] = [
        [
            title,
            "" if name.startswith(own) else sources.cell("clean", name, form),
            sources.cell("variational", name, form),
        ]
        for name, (title, form) in _VARIATIONAL.items()
    ]
    blocks: list[Block] = [
        sources.commands("variational"),
        paragraph(sentences.normal_samples(sources)),
        Table(
            ["", "plain", f"variational, beta {sources.setting('variational', 'beta')}"],
            rows,
            caption="Distances as in the table of samples; divergence and units on validation"
            " images.",
        ),
        sources.figure("variational", "samples_normal", "Images decoded from normal codes."),
        sources.figure(
            "variational", "variational", "Parts of the validation loss; divergence by unit."
        ),
    ]
    return Section("variational", "Variational", "The variational autoencoder", blocks)


def search(sources: Sources) -> Section:
    """What searching cost, and the error over the code size."""
    blocks: list[Block] = [sources.commands("search")]
    run = sources.run("search")
    if run is None:
        blocks.append(sources.missing("the search's record"))
    else:
        folder = sources.places.searches / "ae"
        records = _search_records(sources, run, folder)
        blocks += [
            _search_table(sources, records, folder),
            paragraph(sentences.lowest_errors(records)),
            *_search_figures(records, sources.address(folder)),
            paragraph(sentences.importance(records["hyperband"])),
        ]
    return Section("search", "Search", "Searching for settings", blocks)


def _search_records(
    sources: Sources, run: steps.FinishedRun, folder: Path
) -> dict[str, Mapping[str, Any]]:
    """Kind of search -> its record, of all that are of the same data and settings."""
    records: dict[str, Mapping[str, Any]] = {"hyperband": run.metrics}
    for kind in ("random", "grid"):
        path = folder / kind / "record.json"
        if not path.exists():
            continue
        try:
            other = files.read_json(path)
            record.check(path, other)
        except (OSError, InputError) as error:
            sources.gaps.append(str(error))
            continue
        theirs, ours = other["fingerprint"], run.metrics["fingerprint"]
        if all(theirs.get(key) == ours.get(key) for key in ("settings", "data")):
            records[kind] = other
    return records


def _search_table(
    sources: Sources, records: Mapping[str, Mapping[str, Any]], folder: Path
) -> Table:
    rows: list[list[str | Cell]] = []
    for kind, search in records.items():
        best = record.best_of_each(search["trials"], "latent_dim").get(sentences.CODE_SIZE)
        address = sources.address(folder if kind == "hyperband" else folder / kind)
        numbers = {"epochs": search["epochs"], "seconds": search["seconds"]}
        if best is not None:
            numbers["validation_mse"] = best["validation_mse"]
        sources.used.setdefault(address, {}).update(numbers)
        texts = [
            f"{len(search['trials'])}",
            f"{search['epochs']:,}",
            duration(search["seconds"]),
            f"{best['validation_mse']:.5f}" if best else "none ended",
            f"{best['last_epoch']}" if best else "",
        ]
        rows.append([figures.TITLES[kind], *(Cell(text, f"{address}/") for text in texts)])
    error = f"validation error, code {sentences.CODE_SIZE}"
    return Table(
        ["search", "trials", "epochs", "time", error, "at epoch"],
        rows,
        caption="What each search spent, and the best that it found.",
    )


def _search_figures(records: Mapping[str, Mapping[str, Any]], address: str) -> list[Block]:
    drawn = {
        "Best error at this code size over the epochs that all trials together have trained.": (
            figures.progress(records, sentences.CODE_SIZE)
        ),
        "Validation error over the code size: every trial, the best of each size, and PCA.": (
            figures.code_size(records["hyperband"])
        ),
        "How much of the errors of Hyperband's trials each setting explains alone: main effects of"
        " a random forest on their logarithms, over the space that was searched; lines reach from"
        " the first tenth of the trees to the last.": figures.importance(records["hyperband"]),
    }
    return [
        Figure(style.to_png(figure), caption, address, is_drawn_here=True)
        for caption, figure in drawn.items()
        if figure is not None
    ]


def corruption_sweeps(sources: Sources) -> Section:
    """PSNR and SSIM over the strength of noise and holes."""
    titles = {
        "clean": "Trained on clean images",
        "noise": "Trained on noise of 0.4",
        "crop": "Trained on holes of 8 pixels",
    }
    caption = "PSNR and SSIM of the input and of the output."
    blocks = [
        sources.figure(key, "corruption_sweep", f"{title}: {caption}")
        for key, title in titles.items()
    ]
    return Section("sweeps", "Noise and holes", "Noise and holes of every strength", blocks)


def labels(sources: Sources) -> Section:
    """Accuracy over the number of labels, and calibration."""
    blocks = [
        sources.figure("supervised", "label_efficiency", "Test error over the number of labels."),
        sources.figure(
            "supervised", "reliability", "Accuracy of classifiers over their confidence."
        ),
    ]
    return Section("labels", "Labels", "How many labels are enough", blocks)


def outliers(sources: Sources) -> Section:
    """One class against the rest, by every score."""
    blocks: list[Block] = [sources.commands("novelty")]
    run = sources.run("novelty")
    ours, pca = (sources.value("novelty", f"{name}/auroc_mean") for name in ("outliers", "pca"))
    if run is None or ours is None or pca is None:
        blocks.append(sources.missing("the numbers of outliers"))
    else:
        prefix = "outliers/auroc_"
        classes = [name.removeprefix(prefix) for name in run.metrics if name.startswith(prefix)]
        classes.remove("mean")
        published = ""
        if len(classes) == 10 and not sources.places.quick:
            published = f" and Deep SVDD's published {percent(_DEEP_SVDD)} (Ruff et al. 2018)"
        blocks += [
            paragraph(
                "An autoencoder that saw one class alone finds the others, sorted by its error and"
                " the density of its codes, with a mean area under the ROC curve of"
                f" {percent(ours)}, beside {percent(pca)} by the residual of PCA{published}."
            ),
            _outlier_table(sources, classes),
            sources.figure("novelty", "auroc", "Area under the ROC curve by class and score."),
            sources.figure(
                "novelty", "overlooked", "The images of other classes with the lowest scores."
            ),
        ]
    return Section("outliers", "Outliers", "Outliers", blocks)


def _outlier_table(sources: Sources, classes: list[str]) -> Table:
    run = sources.run("novelty")
    measured = set() if run is None else {name.split("/")[0] for name in run.metrics}
    forms = {f"auroc_{column}": ".1f" for column in ("mean", *classes)}
    return Table(
        ["area under the ROC curve, %", "mean", *classes],
        [
            [title, *sources.cells("novelty", forms, f"{name}/", scale=100.0)]
            for name, title in OUTLIER_SCORES.items()
            if name in measured  # a run of an earlier version has fewer
        ],
        caption="By the class taken for clean; apply outliers sorts by the first score.",
    )


def clusters(sources: Sources) -> Section:
    """Groups made without labels."""
    names = ("latent/kmeans_accuracy", "latent/graph_accuracy")
    measured = {
        key: numbers for key in ("clean", "tuned") if (numbers := sources.values(key, *names))
    }
    blocks: list[Block] = []
    if not measured:
        blocks.append(sources.missing("the agreement of groups with classes"))
    else:
        best, (plain, graph) = list(measured.items())[-1]
        change = "brings" if graph > plain else "does not bring"
        blocks += [
            sources.commands(*measured),
            paragraph(
                f"On the codes of the {sources.title(best)}, cutting their graph {change} more than"
                f" k-means: {percent(graph)} of the test images in the right group against"
                f" {percent(plain)}."
            ),
            _cluster_table(sources, list(measured)),
        ]
    return Section("clusters", "Groups", "Groups without labels", blocks)


def _cluster_table(sources: Sources, keys: list[str]) -> Table:
    forms = {"accuracy": ".3f", "nmi": ".3f", "ari": ".3f"}
    return Table(
        ["", "of the", "accuracy", "NMI", "ARI"],
        [
            [title, sources.title(key), *sources.cells(key, forms, f"{name}_")]
            for key in keys
            for name, title in _CLUSTERINGS.items()
            if key == keys[0] or name != "pixels/kmeans"
            if sources.value(key, f"{name}_accuracy") is not None  # a student must be asked for
        ],
        words=2,
        names=2,
        caption="As many groups of test images as classes, beside the labels.",
    )


def gan_numbers(sources: Sources) -> Section:
    """Every number of the GANs beside that of real images."""
    is_there = sources.run("gan") or sources.run("gan_study")
    blocks: list[Block] = [
        _gan_table(sources) if is_there else sources.missing("the GANs' numbers")
    ]
    for name, text in (
        ("adversarial_curves", "Losses, accuracies and distance over the epochs"),
        ("nearest_training_images", "Samples and the training images nearest to them"),
    ):
        for key, title in (("gan", "our default"), ("gan_study", "the study's own game")):
            blocks.append(sources.figure(key, name, f"{text}; {title}."))
    caption = (
        "A column a category, a row a noise; our default. The number of categories was given to"
        " it, not found."
    )
    blocks.append(sources.figure("gan", "categories", caption))
    return Section("gan-numbers", "GAN in numbers", "The GAN in numbers", blocks)


def _gan_table(sources: Sources) -> Table:
    forms = {
        "fid": ".2f", "kid": ".3f", "classifier_score": ".2f", "precision": ".2f",
        "recall": ".2f", "smallest_class_share": ".3f",
    }  # fmt: skip
    rows = (
        ("gan", "real/", "real images"),
        ("gan", "", "our default"),
        ("gan", "last_weights/", "its last weights, statistics settled"),
        ("gan", "running_statistics/", "its last weights as trained"),
        ("gan_study", "", "the study's own game"),
    )
    return Table(
        ["", "distance", "kernel distance", "score", "precision", "recall", "smallest class"],
        [[title, *sources.cells(key, forms, prefix)] for key, prefix, title in rows],
        caption="10,000 samples beside the test images; the first row is what a generator"
        " can reach.",
    )
