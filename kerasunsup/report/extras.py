"""The page's second half: what goes beyond the study, and where every number comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasunsup.errors import InputError
from kerasunsup.figures import style
from kerasunsup.novelty.settings import OUTLIER_SCORES
from kerasunsup.report import page, sources, steps
from kerasunsup.search import figures, record
from kerasunsup.training import files

_DEEP_SVDD = 0.948  # Ruff et al. 2018, mean over the ten classes of MNIST
_CODE_SIZE = 32  # that searches are compared at

_GROUPINGS = {
    "pixels/kmeans": "k-means on pixels",
    "latent/kmeans": "k-means on codes",
    "latent/graph": "graph of codes (apply cluster)",
}


def search(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """What searching cost, and the error over the code size."""
    found = known.run("search")
    parts = [page.heading("Searching for settings", "search"), known.made_by(("search",), places)]
    if found is None:
        return [*parts, known.missing("the search's record")]
    records = {"hyperband": dict(found.metrics)}
    folder = places.searches / "ae"
    for kind in ("random", "grid"):
        other = _comparable(known, folder / kind / "record.json", found)
        if other is not None:
            records[kind] = other
    rows: list[list[page.Text]] = []
    for kind, searched in records.items():
        ended = record.front(searched["trials"], "latent_dim").get(_CODE_SIZE)
        place = folder if kind == "hyperband" else folder / kind
        address = known.address(place)
        numbers = {"epochs": searched["epochs"], "seconds": searched["seconds"]}
        if ended is not None:
            numbers["validation_mse"] = ended["validation_mse"]
        known.used.setdefault(address, {}).update(numbers)
        texts = [
            f"{len(searched['trials'])}",
            f"{searched['epochs']:,}",
            sources.minutes(searched["seconds"]),
            f"{ended['validation_mse']:.5f}" if ended else "none ended",
            f"{ended['last_epoch']}" if ended else "",
        ]
        title = figures.TITLES[kind]
        rows.append([title, *(page.link(text, f"{address}/") for text in texts)])
    parts.append(
        page.table(
            [
                "search",
                "trials",
                "epochs",
                "time",
                f"validation error, code {_CODE_SIZE}",
                "at epoch",
            ],
            rows,
            caption="What each search spent, and the best that it found.",
        )
    )
    parts.append(page.paragraph(_who_won(records)))
    pictures = {
        "Best error at this code size over the epochs that all trials together have trained.": (
            figures.progress(records, _CODE_SIZE)
        ),
        "Validation error over the code size: every trial, the best of each size, and PCA.": (
            figures.code_size(records["hyperband"])
        ),
    }
    address = known.address(folder)
    for text, picture in pictures.items():
        if picture is not None:
            source = page.joined([text, " Drawn from ", page.link(address, f"{address}/"), "."])
            parts.append(page.figure(style.to_png(picture), text, source))
    return parts


def _comparable(
    known: sources.Evidence, path: Path, found: steps.Standing
) -> dict[str, Any] | None:
    """Another search's record, where it is of the same data and settings and can be read."""
    if not path.exists():
        return None
    try:
        other = files.read_json(path)
        record.check(path, other)
    except (OSError, InputError) as error:
        known.gaps.append(str(error))
        return None
    same = all(
        other["fingerprint"].get(key) == found.metrics["fingerprint"].get(key)
        for key in ("settings", "data")
    )
    return other if same else None


def _who_won(records: Mapping[str, Mapping[str, Any]]) -> str:
    best: dict[str, tuple[float, float]] = {}
    for kind, found in records.items():
        epochs, _, errors = record.best_so_far(found["trials"], latent_dim=_CODE_SIZE)
        if errors:
            near = next(place for place, error in enumerate(errors) if error < 1.01 * errors[-1])
            best[kind] = errors[-1], epochs[near]
    if len(best) < 2:
        return ""
    listed = "; ".join(
        f"{figures.TITLES[kind]}: {error:.5f}, after {spent:.0f} epochs"
        for kind, (error, spent) in sorted(best.items(), key=lambda item: item[1])
    )
    return f"Lowest validation error, and when a search was within 1 % of it: {listed}."


def sweeps(known: sources.Evidence) -> list[page.Html]:
    """PSNR and SSIM over the strength of noise and holes."""
    titles = {
        "clean": "Trained on clean images",
        "noise": "Trained on noise of 0.4",
        "crop": "Trained on holes of 8 pixels",
    }
    return [
        page.heading("Noise and holes of every strength", "sweeps"),
        *(
            known.figure(
                key, "corruption_sweep", f"{title}: PSNR and SSIM of the input and of the output."
            )
            for key, title in titles.items()
        ),
    ]


def labels(known: sources.Evidence) -> list[page.Html]:
    """Accuracy over the number of labels, and calibration."""
    return [
        page.heading("How many labels are enough", "labels"),
        known.figure("supervised", "label_efficiency", "Test error over the number of labels."),
        known.figure(
            "supervised", "reliability", "How often classifiers are right over how sure they are."
        ),
    ]


def outliers(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """One class against the rest, by every score."""
    parts = [page.heading("Outliers", "outliers"), known.made_by(("novelty",), places)]
    ours, pca = (known.value("novelty", f"{name}/auroc_mean") for name in ("outliers", "pca"))
    if ours is None or pca is None:
        return [*parts, known.missing("the numbers of outliers")]
    run = known.run("novelty")
    classes = [
        name.removeprefix("outliers/auroc_")
        for name in (run.metrics if run else {})
        if name.startswith("outliers/auroc_") and not name.endswith("_mean")
    ]
    published = ""
    if len(classes) == 10 and not places.quick:
        published = f" and Deep SVDD's published {sources.percent(_DEEP_SVDD)} (Ruff et al. 2018)"
    parts += [
        page.paragraph(
            f"An autoencoder that saw one class alone finds the others, sorted by its error and the"
            f" density of its codes, with a mean area under the ROC curve of"
            f" {sources.percent(ours)}, beside {sources.percent(pca)} by the residual of"
            f" PCA{published}."
        ),
        page.table(
            ["area under the ROC curve, %", "mean", *classes],
            [
                [
                    title,
                    *(
                        known.cell("novelty", f"{name}/auroc_{label}", ".1f", scale=100.0)
                        for label in ("mean", *classes)
                    ),
                ]
                for name, title in OUTLIER_SCORES.items()
            ],
            caption="By the class taken for clean; apply outliers sorts by the first score.",
        ),
        known.figure("novelty", "auroc", "Area under the ROC curve by class and score."),
        known.figure("novelty", "overlooked", "The least odd images of other classes."),
    ]
    return parts


def clusters(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """Groups made without labels."""
    keys = [key for key in ("clean", "tuned") if known.value(key, "latent/graph_accuracy")]
    parts = [page.heading("Groups without labels", "clusters")]
    if not keys:
        return [*parts, known.missing("the agreement of groups with classes")]
    parts.append(known.made_by(keys, places))
    plain, graph = known.values(keys[-1], "latent/kmeans_accuracy", "latent/graph_accuracy") or (
        0.0, 0.0,
    )  # fmt: skip
    change = "brings" if graph > plain else "does not bring"
    parts.append(
        page.paragraph(
            f"On the codes of the {known.states[keys[-1]].step.title}, cutting their graph {change}"
            f" more than k-means: {sources.percent(graph)} of the test images in the right group"
            f" against {sources.percent(plain)}."
        )
    )
    parts.append(
        page.table(
            ["", "of the", "accuracy", "NMI", "ARI"],
            [
                [
                    title,
                    known.states[key].step.title,
                    *(
                        known.cell(key, f"{name}_{measure}", ".3f")
                        for measure in ("accuracy", "nmi", "ari")
                    ),
                ]
                for key in keys
                for name, title in _GROUPINGS.items()
                if key == keys[0] or name != "pixels/kmeans"
            ],
            words=2,
            caption="As many groups of test images as classes, beside the labels.",
        )
    )
    return parts


def gan_numbers(known: sources.Evidence) -> list[page.Html]:
    """Every number of the GANs beside that of real images."""
    columns = {
        "fid": ".2f", "kid": ".3f", "classifier_score": ".2f", "precision": ".2f",
        "recall": ".2f", "smallest_class_share": ".3f",
    }  # fmt: skip
    rows: list[list[page.Text]] = []
    for key, prefix, title in (
        ("gan", "real/", "real images"),
        ("gan", "", "our default"),
        ("gan", "last_weights/", "its last weights, statistics settled"),
        ("gan", "running_statistics/", "its last weights as trained"),
        ("gan_study", "", "the study's own game"),
    ):
        cells = [known.cell(key, prefix + name, form) for name, form in columns.items()]
        rows.append([title, *cells])
    shown = [
        known.figure(key, name, f"{text}; {title}.")
        for name, text in (
            ("adversarial_curves", "Losses, accuracies and distance over the epochs"),
            ("nearest_training_images", "Samples and the training images nearest to them"),
        )
        for key, title in (("gan", "our default"), ("gan_study", "the study's own game"))
    ]
    return [
        page.heading("The GAN in numbers", "gan-numbers"),
        page.table(
            ["", "distance", "kernel distance", "score", "precision", "recall", "smallest class"],
            rows,
            caption="10,000 samples beside the test images; the first row is what a generator"
            " can reach.",
        )
        if known.run("gan") or known.run("gan_study")
        else known.missing("the GANs' numbers"),
        *shown,
        known.figure(
            "gan",
            "categories",
            "A column a category, a row a noise; our default. The number of categories was given to"
            " it, not found.",
        ),
    ]


def runs_and_machine(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """Every run with its command, settings, seed, versions and machine."""
    rows: list[list[page.Text]] = []
    machines: dict[str, list[str]] = {}
    seconds = 0.0
    settings = []
    for state in known.states.values():
        found = state.standing
        if found is None:
            rows.append([state.step.title, sources.NOTHING, "", "", ""])
            continue
        spent = found.number("seconds" if state.step.is_search else "training_seconds") or 0.0
        seconds += spent
        address = known.address(found.folder)
        rows.append(
            [
                state.step.title,
                page.link(address, f"{address}/"),
                str(found.environment.get("seed", "")),
                page.code(str(found.environment.get("git_commit") or "unknown")[:10]),
                page.link(sources.minutes(spent), f"{address}/"),
            ]
        )
        machines.setdefault(_machine(found.environment), []).append(state.step.title)
        listed = page.table(
            ["setting", "value"],
            [[name, str(value)] for name, value in found.settings.items()],
            words=2,
        )
        settings.append(page.details(f"Settings: {state.step.title}", listed))
    return [
        page.heading("Runs, settings and machine", "runs"),
        page.table(
            ["", "run", "seed", "commit", "training"],
            rows,
            words=4,
            caption="Training alone; measuring and drawing come on top.",
        ),
        page.paragraph(
            f"Training and searching took {sources.minutes(seconds)} in all"
            + (", in the small sizes of --quick." if places.quick else ".")
        ),
        *(
            page.paragraph(f"{text} ({', '.join(titles)})." if len(machines) > 1 else f"{text}.")
            for text, titles in machines.items()
        ),
        *settings,
    ]


def _machine(environment: Mapping[str, Any]) -> str:
    versions = environment.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{environment.get('processors', '?')} processor cores"
        f" ({environment.get('processor', 'unknown')}), Python {environment.get('python', '?')},"
        f" {environment.get('platform', '')}; {listed}"
    )


def problems(known: sources.Evidence) -> list[page.Html]:
    """Everything that is missing or damaged; called last, when the page knows."""
    lines = [text for state in known.states.values() for text in state.problems]
    others = steps.other_images(known.states)
    if others:
        titles = ", ".join(known.states[key].step.title for key in others)
        lines.append(f"made from other images than the rest: {titles}")
    lines += [
        f"the {state.step.title} has not been run"
        for state in known.states.values()
        if state.standing is None
    ]
    lines += [*known.gaps, *known.absent]
    if not lines:
        return []
    listed = "".join(f"<li>{page.escaped(line)}</li>" for line in dict.fromkeys(lines))
    return [page.heading("What is missing or damaged", "missing"), page.Html(f"<ul>{listed}</ul>")]
