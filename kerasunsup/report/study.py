"""The page's first half: the study's tables and figures, each beside ours, in the study's order.

Every sentence about a result is made from the numbers, and left out where they are missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from kerasunsup.report import page, sources, steps
from kerasunsup.supervised.settings import METHOD_NAMES

_STUDY_EPOCHS = 20


def autoencoder(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """Table 1 and figures 1 to 3."""
    return [
        page.heading("The autoencoder", "autoencoder"),
        known.made_by(("clean", "noise", "crop", "tuned"), places),
        _table_1(known),
        page.paragraph(_error_beside_pca(known)),
        page.heading("Figure 1: the training curve of the best configuration"),
        page.paragraph(_when_training_stops_paying(known)),
        known.figure("clean", "learning_curve", "Training and validation error over the epochs."),
        page.heading("Figure 2: reconstructions while training"),
        known.figure(
            "clean", "reconstructions",
            "One test image of each class, and what the model made of it every second epoch.",
        ),
        page.heading("Figure 3: noise and cut-out parts, restored"),
        page.paragraph(*_gains(known)),
        _gain_table(known),
        known.figure("noise", "restorations", "Trained on noise: input, answer, original."),
        known.figure("crop", "restorations", "Trained on holes: input, answer, original."),
    ]  # fmt: skip


def _setting(known: sources.Evidence, key: str, name: str, form: str = "g") -> page.Text:
    found = known.run(key)
    if found is None:
        return sources.NOTHING
    value = found.settings.get(name)
    return f"{value:{form}}" if isinstance(value, int | float) else str(value)


def _table_1(known: sources.Evidence) -> page.Html:
    ours, found = "clean", "tuned"

    def row(title: str, study: str, name: str, form: str = "g") -> list[page.Text]:
        return [title, study, *(_setting(known, key, name, form) for key in (ours, found))]

    def result(title: str, name: str, form: str) -> list[page.Text]:
        return [title, "not given", *(known.cell(key, name, form) for key in (ours, found))]

    return page.table(
        ["", "the study", "our default", "found by our search"],
        [
            row("code size", "32", "latent_dim"),
            row("epochs at most", str(_STUDY_EPOCHS), "epochs"),
            row("patience, epochs", "held-out loss must fall", "patience"),
            row("learning rate", "0.003", "learning_rate", ".2g"),
            row("learning rate over the epochs", "not given", "schedule"),
            row("weight decay", "1e-05", "weight_decay"),
            ["optimizer", "Adam", "Adam, decoupled decay", "Adam, decoupled decay"],
            ["loss", "not given", "mean squared error", "mean squared error"],
            row("hidden units", "not given", "hidden_units"),
            result("epochs trained", "epochs", ".0f"),
            result("test error (MSE)", "test/mse", ".5f"),
            result("PCA of that size", "pca/mse", ".5f"),
            result("test PSNR, dB", "test/psnr_db", ".2f"),
            result("test SSIM", "test/ssim", ".3f"),
        ],
        words=4,
        caption="Table 1: the best configuration. Errors are means over pixels in [0, 1].",
    )


def _error_beside_pca(known: sources.Evidence) -> str:
    numbers = known.values("clean", "test/mse", "pca/mse")
    if numbers is None:
        return ""
    error, pca = numbers
    sentence = f"The default's test error is {error / pca:.2f} times that of PCA with as many"
    sentence += " numbers an image"
    tuned = known.value("tuned", "test/mse")
    if tuned is None:
        return sentence + "."
    change = 1.0 - tuned / error
    return sentence + (
        f"; the settings found by the search bring it down by {sources.percent(change)}."
        if change > 0
        else f"; the settings found by the search end {sources.percent(-change)} higher."
    )


def _when_training_stops_paying(known: sources.Evidence) -> str:
    best, losses = known.value("clean", "best_epoch"), known.column("clean", "val_loss")
    if best is None or not losses:
        return ""
    if best > len(losses) or min(losses) <= 0.0:
        known.gaps.append("the autoencoder's history.csv does not fit its metrics.json")
        return ""
    text = f"The validation error is lowest at epoch {best:.0f} of {len(losses)}"
    if best > _STUDY_EPOCHS:
        gain = 1.0 - losses[int(best) - 1] / min(losses[:_STUDY_EPOCHS])
        text += (
            f", {sources.percent(gain)} below the best of the first {_STUDY_EPOCHS} epochs, where"
            " the study's table stops"
        )
    end = "; the study saw no gain after about 50 epochs."
    if best == len(losses):
        return text + ", so it still fell when the epochs were over" + end
    left = len(losses) - int(best)
    after = "the epoch" if left == 1 else f"the {left} epochs"
    return f"{text}, and {after} after it brought nothing{end}"


_CORRUPTIONS = {
    "noise_0.2": "noise 0.2", "noise_0.4": "noise 0.4", "noise_0.6": "noise 0.6",
    "crop_8": "holes of 8 px", "crop_12": "holes of 12 px",
}  # fmt: skip
_TRAINED_ON = {"clean": "clean images", "noise": "noise of 0.4", "crop": "holes of 8 px"}


def _gain_table(known: sources.Evidence) -> page.Html:
    return page.table(
        ["trained on", *_CORRUPTIONS.values(), "MSE, clean"],
        [
            [
                title,
                *(known.cell(key, f"{name}/gain_db", "+.1f") for name in _CORRUPTIONS),
                known.cell(key, "test/mse", ".5f"),
            ]
            for key, title in _TRAINED_ON.items()
        ],
        caption="Gain of PSNR over the corrupted input, dB; test images that the corruption"
        " changes.",
    )


def _gains(known: sources.Evidence) -> list[str]:
    sentences = []
    for key, name, what in (
        ("noise", "noise_0.4", "Noise of 0.4"), ("crop", "crop_8", "A hole of 8 pixels"),
    ):  # fmt: skip
        learned, plain = (known.value(k, f"{name}/gain_db") for k in (key, "clean"))
        if learned is None or plain is None:
            continue
        verb = "gains" if learned > 0 else "loses"
        sentences.append(
            f"{what}: a model that was trained to remove it {verb} {abs(learned):.1f} dB over the"
            f" corrupted input, one that never saw it {'gains' if plain > 0 else 'loses'}"
            f" {abs(plain):.1f} dB."
        )
    return sentences


def supervised(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """Figures 4 and 5, and the table of accuracies."""
    return [
        page.heading("From unsupervised to supervised", "supervised"),
        known.made_by(("supervised",), places),
        page.heading("Figure 4: learning speed, with and without the encoder"),
        page.paragraph(_first_batches(known)),
        known.figure(
            "supervised", "learning_speed",
            "Validation error and loss while training with the most labels.",
        ),
        page.paragraph(*_is_it_luck(known)),
        _accuracy_table(known),
        page.paragraph(*sources.chosen_arms(known)),
        page.heading("Figure 5: confusion matrix"),
        page.paragraph(_hardest_class(known)),
        known.figure(
            "supervised", "confusion", "Best classifier: labels in rows, predictions in columns."
        ),
        known.figure("supervised", "mistakes", "The surest mistakes on test images."),
    ]  # fmt: skip


def _accuracy_table(known: sources.Evidence) -> page.Html:
    tried = sources.sizes(known)
    if not tried:
        return known.missing("the accuracies of the comparison")
    rows = []
    for arm, title in METHOD_NAMES.items():
        cells = [
            known.spread_cell("supervised", f"labels_{size}/{arm}_accuracy", ".1f", scale=100.0)
            for size in tried
        ]
        if any(cells):
            rows.append([page.Html(title), *cells])
    return page.table(
        ["test accuracy, %", *(f"{int(s):,} labels" if s != "all" else "all" for s in tried)],
        rows,
        caption="Mean ± standard deviation over seeds.",
    )


def _first_batches(known: sources.Evidence) -> str:
    run = known.run("supervised")
    if run is None or not sources.sizes(known):
        return ""
    labels = sources.sizes(known)[-1]
    points: dict[str, dict[float, list[float]]] = {"finetuned": {}, "scratch": {}}
    seen, right = (known.column("supervised", name) for name in ("images", "accuracy"))
    texts = [run.history.get(name, []) for name in ("arm", "labels")]
    for arm, size, images, accuracy in zip(*texts, seen, right, strict=False):
        if arm in points and size == labels and images > 0:
            points[arm].setdefault(images, []).append(accuracy)
    shared = sorted(set(points["finetuned"]) & set(points["scratch"]))
    if len(shared) < 2:
        return ""

    def at(images: float, digits: int) -> str:
        return " against ".join(
            sources.percent(sum(points[arm][images]) / len(points[arm][images]), digits)
            for arm in ("finetuned", "scratch")
        )

    return (
        f"After the first {shared[0]:,.0f} images, fine-tuning is right in {at(shared[0], 1)} of"
        f" the validation images for the same network from scratch; at the end, after"
        f" {shared[-1]:,.0f}, in {at(shared[-1], 2)}."
    )


def _is_it_luck(known: sources.Evidence) -> list[str]:
    helps: list[str] = []
    luck: list[str] = []
    for size in sources.sizes(known):
        name = f"labels_{size}/finetuned_minus_scratch"
        found = known.values("supervised", name, f"{name}_low", f"{name}_high")
        if found is None:
            continue
        mean, low, high = (100.0 * value for value in found)
        p_value = known.value("supervised", f"{name}_p_holm")
        count = size if size == "all" else f"{int(size):,}"
        text = f"{mean:+.2f} points [{low:+.2f}, {high:+.2f}] with {count} labels"
        # A run before the correction has no such number, and proves nothing.
        (helps if p_value is not None and p_value < 0.05 else luck).append(text)
    sentences = []
    if helps:
        sentences.append(
            "Fine-tuning less scratch, a difference beyond chance (5 %, corrected for all"
            f" comparisons of the run): {', '.join(helps)}."
        )
    if luck:
        sentences.append(
            f"Fine-tuning less scratch, may be chance among so many: {', '.join(luck)}."
        )
    return sentences


def _hardest_class(known: sources.Evidence) -> str:
    run, accuracy = known.run("supervised"), known.value("supervised", "test/accuracy")
    if run is None or accuracy is None:
        return ""
    by_class = {
        name.removeprefix("test/accuracy_"): value
        for name in run.metrics
        if name.startswith("test/accuracy_") and (value := run.number(name)) is not None
    }
    text = f"The classifier that is exported is right in {sources.percent(accuracy, 2)} of all"
    text += " test images"
    if not by_class:
        return text + "."
    worst = min(by_class, key=by_class.__getitem__)
    return text + f"; its hardest class is {worst}, with {sources.percent(by_class[worst])}."


def gan(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """Table 2 and figures 6 and 7."""
    parts = [
        page.heading("The GAN", "gan"),
        known.made_by(("gan_study", "gan"), places),
        _table_2(known),
        page.paragraph(*_two_gans(known)),
    ]
    titles = {"gan_study": "the study's own game", "gan": "our default"}
    for number, name, when in (
        (6, "samples_first_epochs", "first"), (7, "samples_last_epochs", "last"),
    ):  # fmt: skip
        parts.append(page.heading(f"Figure {number}: samples of the {when} epochs"))
        for key, title in titles.items():
            caption = f"Samples of one fixed noise, {when} epochs; {title}."
            parts.append(known.figure(key, name, caption))
    return parts


def _table_2(known: sources.Evidence) -> page.Html:
    keys = ("gan_study", "gan")

    def row(title: str, study: str, name: str) -> list[page.Text]:
        return [title, study, *(_setting(known, key, name) for key in keys)]

    return page.table(
        ["", "the study", "the study's own game", "our default"],
        [
            row("epochs", "100", "epochs"),
            row("batch size", "128", "batch_size"),
            row("learning rate of both", "0.0005", "learning_rate"),
            row("learning rate over the epochs", "not given", "schedule"),
            ["optimizer of both", "Adam", "Adam", "Adam"],
            row("beta 1", "not given", "beta_1"),
            row("generator's loss", "min-max game", "loss"),
            row("noise values", "not given", "noise_dim"),
            row("kinds of images it was given, chosen by the noise", "none", "categories"),
            row("average of weights, decay a step", "none", "averaging"),
            *(
                [title, "not given", *(known.cell(key, name, form) for key in keys)]
                for name, title, form in (
                    ("classifier_score", "classifier score", ".2f"),
                    ("precision", "precision", ".2f"),
                    ("recall", "recall", ".2f"),
                    ("fid", "distance to test images", ".2f"),
                )
            ),
        ],
        words=4,
        caption="Table 2: the GAN's training, and what its samples are worth. Neither saw labels;"
        " the number of kinds is knowledge that the study's game was not given.",
    )


def _told_kinds(known: sources.Evidence) -> str:
    """What our default was given that the study's game was not; empty where it was nothing."""
    run = known.run("gan")
    kinds = 0 if run is None else run.settings.get("categories", 0)
    return f" (which saw no label, but was given that there are {kinds} kinds)" if kinds else ""


def _two_gans(known: sources.Evidence) -> list[str]:
    study, ours = (known.value(key, "fid") for key in ("gan_study", "gan"))
    real = known.value("gan", "real/fid")
    sentences = []
    if study is not None and ours is not None:
        first, second = (f"our default{_told_kinds(known)}", "the study's own game")
        if ours > study:
            first, second = second, first
        sentences.append(
            f"The distance of {first} to the test images is {min(ours, study):.2f}, that of"
            f" {second} {max(ours, study):.2f}"
            + (f"; training images come to {real:.2f}." if real is not None else ".")
        )
    copied = known.value("gan", "nearest/closer_share")
    ratio = known.value("gan", "nearest/distance_ratio")
    if copied is not None and ratio is not None:
        sentences.append(
            f"Samples are {ratio:.2f} times as far from their nearest training images as test"
            " images are (medians, which do not see a few copies):"
            f" {sources.percent(copied, 1)} of them are nearer than 99 % of the test images are;"
            " of real images it would be 1 %."
        )
    return sentences


def space(known: sources.Evidence, places: steps.Places) -> list[page.Html]:
    """Figures 8 and 9."""
    explained = known.value("clean", "codes/explained_by_two_components")
    sentence = ""
    if explained is not None:
        sentence = (
            f"Two principal components hold {sources.percent(explained)} of the codes' variance;"
            " the labels only colour the points."
        )
    return [
        page.heading("The encoded space, and new samples from it", "space"),
        known.made_by(("clean",), places),
        page.heading("Figure 8: the encoded space"),
        page.paragraph(sentence),
        known.figure("clean", "encoded_space", "Codes of test images by PCA and by t-SNE."),
        page.heading("Figure 9: new samples, the failure and its cure"),
        page.paragraph(*_failure_and_cure(known)),
        known.figure("clean", "samples", "Images decoded from drawn codes, beside real images."),
        known.figure("clean", "drawn_codes", "Where drawn codes lie beside the images' codes."),
        sampling_table(known),
    ]


SAMPLED = {
    "real/": "real images",
    "reconstructed/": "reconstructions",
    "integers/": "codes of random integers (the study)",
    "gaussian/": "one Gaussian",
    "mixture_10/": "mixture of 10",
    "mixture_100/": "mixture of 100",
}


def sampling_table(known: sources.Evidence) -> page.Html:
    """Every way of making samples in the same numbers, the GANs too."""
    rows = [("clean", prefix, title) for prefix, title in SAMPLED.items()]
    rows += [("gan_study", "", "GAN, the study's own game"), ("gan", "", "GAN, our default")]
    columns = (
        ("fid", ".1f"), ("classifier_score", ".2f"), ("precision", ".2f"), ("recall", ".2f"),
    )  # fmt: skip
    return page.table(
        ["", "distance", "score", "precision", "recall"],
        [
            [title, *(known.cell(key, prefix + name, form) for name, form in columns)]
            for key, prefix, title in rows
        ],
        caption="Samples beside the test images, in the features of a classifier of these images;"
        " the Fréchet distance is comparable only within it.",
    )


def _failure_and_cure(known: sources.Evidence) -> list[str]:
    names = [f"{name}/fid" for name in ("integers", "mixture_100", "real")]
    numbers = known.values("clean", *names)
    if numbers is None:
        return []
    integers, mixture, real = numbers
    sentences = [
        f"Decoded from random integers, as in the study, samples lie at a distance of"
        f" {integers:.1f} from the test images, where training images come to {real:.1f}: such"
        " codes lie where no image's code is."
    ]
    if mixture < integers:
        sentences.append(
            f"Drawn from a mixture of 100 Gaussians fitted to the training codes, samples come to"
            f" {mixture:.1f}, {integers / mixture:.1f} times nearer than those of random integers."
        )
    else:
        sentences.append(f"A mixture of 100 Gaussians does not cure it here: {mixture:.1f}.")
    return sentences


def at_a_glance(known: sources.Evidence) -> list[page.Html]:
    """The results in a few sentences."""
    items: Sequence[str] = [
        _error_beside_pca(known),
        *_failure_and_cure(known)[-1:],
        *_two_gans(known)[:1],
        *sources.chosen_arms(known, ["100"]),
    ]
    listed = "".join(f"<li>{page.escaped(text)}</li>" for text in items if text)
    return [page.Html(f"<ul>{listed}</ul>")] if listed else []
