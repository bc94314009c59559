"""The page's first half: the study's tables and figures, each beside ours, in the study's order."""

from __future__ import annotations

from kerasunsup.report import sentences
from kerasunsup.report.page import Block, Cell, Heading, Notice, Points, Section, Table, paragraph
from kerasunsup.report.sources import Sources, percent
from kerasunsup.supervised.settings import METHOD_NAMES

_CORRUPTIONS = {
    "noise_0.2": "noise 0.2", "noise_0.4": "noise 0.4", "noise_0.6": "noise 0.6",
    "crop_8": "holes of 8 px", "crop_12": "holes of 12 px",
}  # fmt: skip
_TRAINED_ON = {"clean": "clean images", "noise": "noise of 0.4", "crop": "holes of 8 px"}
_GANS = {"gan_study": "the study's own game", "gan": "our default"}
_SAMPLED = {
    "real/": "real images",
    "reconstructed/": "reconstructions",
    "integers/": "codes of random integers (the study)",
    "gaussian/": "one Gaussian",
    "mixture_10/": "mixture of 10",
    "mixture_100/": "mixture of 100",
}


def at_a_glance(sources: Sources) -> list[Block]:
    """The results in a few sentences."""
    texts = [
        sentences.error_beside_pca(sources),
        *sentences.samples_of_codes(sources)[-1:],
        *sentences.two_gans(sources)[:1],
        *sentences.best_methods(sources, ["100"]),
    ]
    texts = [text for text in texts if text]
    return [Points(texts)] if texts else []


def autoencoder(sources: Sources) -> Section:
    """Table 1 and figures 1 to 3."""
    blocks: list[Block] = [
        sources.commands("clean", "noise", "crop", "tuned"),
        _table_1(sources),
        paragraph(sentences.error_beside_pca(sources)),
        Heading("Figure 1: the training curve of the best configuration"),
        paragraph(sentences.when_training_stops_paying(sources)),
        sources.figure("clean", "learning_curve", "Training and validation error over the epochs."),
        Heading("Figure 2: reconstructions while training"),
        sources.figure(
            "clean", "reconstructions",
            "One test image of each class, and what the model made of it every second epoch.",
        ),
        Heading("Figure 3: noise and cut-out parts, restored"),
        paragraph(*sentences.restoration_gains(sources)),
        _gain_table(sources),
        sources.figure("noise", "restorations", "Trained on noise: input, answer, original."),
        sources.figure("crop", "restorations", "Trained on holes: input, answer, original."),
    ]  # fmt: skip
    return Section("autoencoder", "Autoencoder", "The autoencoder", blocks)


def _table_1(sources: Sources) -> Table:
    keys = ("clean", "tuned")

    def setting(title: str, study: str, name: str, form: str = "g") -> list[str | Cell]:
        return [title, study, *(sources.setting(key, name, form) for key in keys)]

    def result(title: str, name: str, form: str) -> list[str | Cell]:
        return [title, "not given", *(sources.cell(key, name, form) for key in keys)]

    return Table(
        ["", "the study", "our default", "found by our search"],
        [
            setting("code size", "32", "latent_dim"),
            setting("epochs at most", str(sentences.STUDY_EPOCHS), "epochs"),
            setting("patience, epochs", "held-out loss must fall", "patience"),
            setting("learning rate", "0.003", "learning_rate", ".2g"),
            setting("learning rate over the epochs", "not given", "schedule"),
            setting("weight decay", "1e-05", "weight_decay"),
            ["optimizer", "Adam", "Adam, decoupled decay", "Adam, decoupled decay"],
            ["loss", "not given", "mean squared error", "mean squared error"],
            setting("hidden units", "not given", "hidden_units"),
            result("epochs trained", "epochs", ".0f"),
            result("test error (MSE)", "test/mse", ".5f"),
            result("PCA of that size", "pca/mse", ".5f"),
            result("test PSNR, dB", "test/psnr_db", ".2f"),
            result("test SSIM", "test/ssim", ".3f"),
        ],
        words=4,
        names=2,
        caption="Table 1: the best configuration. Errors are means over pixels in [0, 1].",
    )


def _gain_table(sources: Sources) -> Table:
    forms = {f"{name}/gain_db": "+.1f" for name in _CORRUPTIONS} | {"test/mse": ".5f"}
    trained_on = dict(_TRAINED_ON)
    if sources.run("skip") is not None:
        trained_on["skip"] = "noise of up to 0.5, with skips and no code"
    return Table(
        ["trained on", *_CORRUPTIONS.values(), "MSE, clean"],
        [[title, *sources.cells(key, forms)] for key, title in trained_on.items()],
        caption="Gain of PSNR over the corrupted input, dB; test images that the corruption"
        " changes.",
    )


def supervised(sources: Sources) -> Section:
    """Figures 4 and 5, and the table of accuracies."""
    blocks: list[Block] = [
        sources.commands("supervised"),
        Heading("Figure 4: learning speed, with and without the encoder"),
        paragraph(sentences.learning_speed(sources)),
        sources.figure(
            "supervised", "learning_speed",
            "Validation error and loss while training with the most labels.",
        ),
        paragraph(*sentences.fine_tuning_less_scratch(sources)),
        _accuracy_table(sources),
        paragraph(*sentences.best_methods(sources)),
        Heading("Figure 5: confusion matrix"),
        paragraph(sentences.hardest_class(sources)),
        sources.figure(
            "supervised", "confusion", "Best classifier: labels in rows, predictions in columns."
        ),
        sources.figure("supervised", "mistakes", "The most confident mistakes on test images."),
    ]  # fmt: skip
    return Section("supervised", "Supervised", "From unsupervised to supervised", blocks)


def _accuracy_table(sources: Sources) -> Table | Notice:
    columns = sentences.numbers_of_labels(sources)
    if not columns:
        return sources.missing("the accuracies of the comparison")
    rows: list[list[str | Cell]] = []
    for method, title in METHOD_NAMES.items():
        cells = [
            sources.cell_with_deviation(
                "supervised", f"labels_{labels}/{method}_accuracy", ".1f", scale=100.0
            )
            for labels in columns
        ]
        if any(cell.text for cell in cells):
            rows.append([title, *cells])
    return Table(
        ["test accuracy, %", *(f"{int(n):,} labels" if n != "all" else "all" for n in columns)],
        rows,
        caption="Mean ± standard deviation over seeds.",
    )


def gan(sources: Sources) -> Section:
    """Table 2 and figures 6 and 7."""
    blocks: list[Block] = [
        sources.commands(*_GANS),
        _table_2(sources),
        paragraph(*sentences.two_gans(sources)),
    ]
    for number, name, when in (
        (6, "samples_first_epochs", "first"), (7, "samples_last_epochs", "last"),
    ):  # fmt: skip
        blocks.append(Heading(f"Figure {number}: samples of the {when} epochs"))
        for key, title in _GANS.items():
            caption = f"Samples of one fixed noise, {when} epochs; {title}."
            blocks.append(sources.figure(key, name, caption))
    return Section("gan", "GAN", "The GAN", blocks)


def _table_2(sources: Sources) -> Table:
    def setting(title: str, study: str, name: str) -> list[str | Cell]:
        return [title, study, *(sources.setting(key, name) for key in _GANS)]

    def result(title: str, name: str) -> list[str | Cell]:
        return [title, "not given", *(sources.cell(key, name, ".2f") for key in _GANS)]

    return Table(
        ["", "the study", *_GANS.values()],
        [
            setting("epochs", "100", "epochs"),
            setting("batch size", "128", "batch_size"),
            setting("learning rate of both", "0.0005", "learning_rate"),
            setting("learning rate over the epochs", "not given", "schedule"),
            ["optimizer of both", "Adam", "Adam", "Adam"],
            setting("beta 1", "not given", "beta_1"),
            setting("generator's loss", "min-max game", "loss"),
            setting("noise values", "not given", "noise_dim"),
            setting("kinds of images it was given, chosen by the noise", "none", "categories"),
            setting("average of weights, decay a step", "none", "averaging"),
            result("classifier score", "classifier_score"),
            result("precision", "precision"),
            result("recall", "recall"),
            result("distance to test images", "fid"),
        ],
        words=4,
        names=2,
        caption="Table 2: the GAN's training, and what its samples are worth. Neither saw labels;"
        " the number of kinds is knowledge that the study's game was not given.",
    )


def encoded_space(sources: Sources) -> Section:
    """Figures 8 and 9."""
    explained = sources.value("clean", "codes/explained_by_two_components")
    sentence = ""
    if explained is not None:
        sentence = (
            f"Two principal components hold {percent(explained)} of the codes' variance;"
            " the labels only colour the points."
        )
    blocks: list[Block] = [
        sources.commands("clean"),
        Heading("Figure 8: the encoded space"),
        paragraph(sentence),
        sources.figure("clean", "encoded_space", "Codes of test images by PCA and by t-SNE."),
        sources.figure(
            "clean",
            "code_plane",
            "Codes along their first two principal components, and what codes of such a plane,"
            " evenly by their share of images, decode to.",
        ),
        Heading("Figure 9: new samples, the failure and its cure"),
        paragraph(*sentences.samples_of_codes(sources)),
        sources.figure("clean", "samples", "Images decoded from drawn codes, beside real images."),
        sources.figure("clean", "drawn_codes", "Where drawn codes lie beside the images' codes."),
        _sampling_table(sources),
        Heading("Walks between images"),
        paragraph(*sentences.walks(sources)),
        sources.figure("clean", "walks", "From one test image to another, straight and bent."),
        sources.figure("clean", "walk_confidence", "Certainty of the classifier along the way."),
        sources.figure("gan", "noise_walks", "The GAN, from one noise to another."),
    ]
    title = "The encoded space, and new samples from it"
    return Section("space", "Encoded space", title, blocks)


def _sampling_table(sources: Sources) -> Table:
    """The same measures for every way of making samples, the GANs included."""
    rows = [("clean", prefix, title) for prefix, title in _SAMPLED.items()]
    for prefix, title in {
        "mixture_100/": "mixture of 100", "flow/": "flow", "neighbors/": "around neighbors",
    }.items():  # fmt: skip
        if sources.value("tuned", f"{prefix}fid") is not None:
            rows.append(("tuned", prefix, f"settings found, {title}"))
    if sources.run("variational") is not None:
        rows.append(("variational", "normal/", "variational, standard normal codes"))
    rows += [(key, "", f"GAN, {title}") for key, title in _GANS.items()]
    forms = {"fid": ".1f", "classifier_score": ".2f", "precision": ".2f", "recall": ".2f"}
    return Table(
        ["", "distance", "score", "precision", "recall"],
        [[title, *sources.cells(key, forms, prefix)] for key, prefix, title in rows],
        caption="Samples beside the test images, in the features of a classifier of these images;"
        " the Fréchet distance is comparable only within it.",
    )
