"""The page's sentences about results, each made from the numbers of runs.

A sentence is empty, or left out of its list, where a number that it needs is missing.
"""

from __future__ import annotations

import collections
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from kerasunsup.report.sources import Sources, percent
from kerasunsup.search import figures, record, trial_points
from kerasunsup.supervised.settings import METHOD_NAMES

STUDY_EPOCHS = 20  # that the study's table gives
CODE_SIZE = 32  # at which searches are compared
_NUMBERS_OF_LABELS = ("10", "100", "1000", "10000", "all")


def error_beside_pca(sources: Sources) -> str:
    """The test error of the default as a multiple of PCA's, and what the search changes."""
    numbers = sources.values("clean", "test/mse", "pca/mse")
    if numbers is None:
        return ""
    error, pca = numbers
    sentence = (
        f"The default's test error is {error / pca:.2f} times that of PCA with as many numbers an"
        " image"
    )
    tuned = sources.value("tuned", "test/mse")
    if tuned is None:
        return sentence + "."
    change = 1.0 - tuned / error
    return sentence + (
        f"; the settings found by the search bring it down by {percent(change)}."
        if change >= 0
        else f"; the settings found by the search end {percent(-change)} higher."
    )


def when_training_stops_paying(sources: Sources) -> str:
    """The epoch of the lowest validation error, and what the epochs after it brought."""
    best, losses = sources.value("clean", "best_epoch"), sources.column("clean", "val_loss")
    if best is None or not losses:
        return ""
    if best > len(losses) or min(losses) <= 0.0:
        sources.gaps.append("the autoencoder's history.csv does not fit its metrics.json")
        return ""
    text = f"The validation error is lowest at epoch {best:.0f} of {len(losses)}"
    if best > STUDY_EPOCHS:
        gain = 1.0 - losses[int(best) - 1] / min(losses[:STUDY_EPOCHS])
        text += (
            f", {percent(gain)} below the best of the first {STUDY_EPOCHS} epochs, where"
            " the study's table stops"
        )
    end = "; the study saw no gain after about 50 epochs."
    if best == len(losses):
        return text + ", so it still fell when the epochs were over" + end
    left = len(losses) - int(best)
    after = "the epoch" if left == 1 else f"the {left} epochs"
    return f"{text}, and {after} after it brought nothing{end}"


def restoration_gains(sources: Sources) -> list[str]:
    """What training on corrupted images gains, beside training on clean ones."""
    sentences = []
    for key, name, what in (
        ("noise", "noise_0.4", "Noise of 0.4"), ("crop", "crop_8", "A hole of 8 pixels"),
    ):  # fmt: skip
        learned, plain = (sources.value(k, f"{name}/gain_db") for k in (key, "clean"))
        if learned is None or plain is None:
            continue
        verb = "gains" if learned > 0 else "loses"
        sentences.append(
            f"{what}: a model that was trained to remove it {verb} {abs(learned):.1f} dB over the"
            f" corrupted input, one that never saw it {'gains' if plain > 0 else 'loses'}"
            f" {abs(plain):.1f} dB."
        )
    return sentences


def learning_speed(sources: Sources) -> str:
    """Accuracies after the first images and at the end, fine-tuned and from scratch."""
    run, label_counts = sources.run("supervised"), numbers_of_labels(sources)
    if run is None or not label_counts:
        return ""
    points = collections.defaultdict(list)  # (method, images seen) -> accuracies over seeds
    texts = [run.history.get(name, []) for name in ("arm", "labels")]
    numbers = [sources.column("supervised", name) for name in ("images", "accuracy")]
    for method, count, images, accuracy in zip(*texts, *numbers, strict=False):
        if count == label_counts[-1] and images > 0:
            points[method, images].append(accuracy)
    methods = ("finetuned", "scratch")
    shared = sorted(
        {images for _, images in points if all((method, images) in points for method in methods)}
    )
    if len(shared) < 2:
        return ""

    def at(images: float, digits: int) -> str:
        means = [statistics.fmean(points[method, images]) for method in methods]
        return " against ".join(percent(mean, digits) for mean in means)

    return (
        f"After the first {shared[0]:,.0f} images, fine-tuning is right in {at(shared[0], 1)} of"
        f" the validation images for the same network from scratch; at the end, after"
        f" {shared[-1]:,.0f}, in {at(shared[-1], 2)}."
    )


def fine_tuning_less_scratch(sources: Sources) -> list[str]:
    """The differences that are significant, then those that are not."""
    significant: list[str] = []
    others: list[str] = []
    for labels in numbers_of_labels(sources):
        name = f"labels_{labels}/finetuned_minus_scratch"
        numbers = sources.values("supervised", name, f"{name}_low", f"{name}_high")
        if numbers is None:
            continue
        mean, low, high = (100.0 * value for value in numbers)
        p_value = sources.value("supervised", f"{name}_p_holm")
        count = labels if labels == "all" else f"{int(labels):,}"
        text = f"{mean:+.2f} points [{low:+.2f}, {high:+.2f}] with {count} labels"
        # A run before the correction has no such number, and proves nothing.
        (significant if p_value is not None and p_value < 0.05 else others).append(text)
    kinds = {
        "a significant difference (5 %, corrected for all comparisons of the run)": significant,
        "may be chance among so many": others,
    }
    return [
        f"Fine-tuning less scratch, {kind}: {', '.join(texts)}."
        for kind, texts in kinds.items()
        if texts
    ]


def hardest_class(sources: Sources) -> str:
    """The exported classifier's accuracy, in all and on its hardest class."""
    run, accuracy = sources.run("supervised"), sources.value("supervised", "test/accuracy")
    if run is None or accuracy is None:
        return ""
    by_class = {
        name.removeprefix("test/accuracy_"): value
        for name in run.metrics
        if name.startswith("test/accuracy_") and (value := run.number(name)) is not None
    }
    text = f"The classifier that is exported is right in {percent(accuracy, 2)} of all test images"
    if not by_class:
        return text + "."
    worst = min(by_class, key=by_class.__getitem__)
    return text + f"; its hardest class is {worst}, with {percent(by_class[worst])}."


def numbers_of_labels(sources: Sources) -> list[str]:
    """The numbers of labels that classifiers were made with."""
    return [
        labels
        for labels in _NUMBERS_OF_LABELS
        if sources.value("supervised", f"labels_{labels}/scratch_accuracy") is not None
    ]


def best_method(sources: Sources, labels: str) -> tuple[str, bool] | None:
    """The best method with so many labels, and whether test images had no say.

    It is chosen by its accuracy on validation images; runs of older versions kept none.
    """
    for kind, is_fair in (("validation_accuracy", True), ("accuracy", False)):
        accuracies = {
            method: value
            for method in METHOD_NAMES
            if (value := sources.value("supervised", f"labels_{labels}/{method}_{kind}"))
            is not None
        }
        if len(accuracies) < 2:
            continue
        best = max(accuracies, key=accuracies.__getitem__)
        if sources.value("supervised", f"labels_{labels}/{best}_accuracy") is not None:
            return best, is_fair
    return None


def best_methods(sources: Sources, only: Sequence[str] | None = None) -> list[str]:
    """The best method of making a classifier, with each number of labels or with some."""
    asked = only or numbers_of_labels(sources)
    best = {labels: found for labels in asked if (found := best_method(sources, labels))}
    texts = []
    for labels, (method, _) in best.items():
        accuracy = sources.value("supervised", f"labels_{labels}/{method}_accuracy") or 0.0
        count = "all labels" if labels == "all" else f"{int(labels):,} labels"
        texts.append(
            f"with {count} “{METHOD_NAMES[method]}”, right in {percent(accuracy)} of the test"
            " images"
        )
    if not texts:
        return []
    if not all(is_fair for _, is_fair in best.values()):
        return [
            f"The best of all ways: {'; '.join(texts)}. It was chosen on these same test images,"
            " since the run kept no accuracy on validation images: that favours it."
        ]
    images = sources.value("supervised", "validation/images")
    number = "the" if images is None else f"{images:,.0f}"
    sentence = f"The best of all ways, chosen by {number} validation images: {'; '.join(texts)}."
    if only:
        return [sentence]
    return [
        sentence,
        "Their labels come on top of those that a column counts, and the settings of the ways were"
        " chosen by the labels of MNIST's 5,000 validation images, as settings of published results"
        " with few labels were.",
    ]


def two_gans(sources: Sources) -> list[str]:
    """The better GAN before the other, and whether ours copies training images."""
    study, ours = (sources.value(key, "fid") for key in ("gan_study", "gan"))
    real = sources.value("gan", "real/fid")
    sentences = []
    run = sources.run("gan")
    if study is not None and ours is not None and run is not None:
        kinds = run.settings.get("categories", 0)
        given = f" (which saw no label, but was given that there are {kinds} kinds)"
        first, second = "our default" + (given if kinds else ""), "the study's own game"
        if ours > study:
            first, second = second, first
        sentences.append(
            f"The distance of {first} to the test images is {min(ours, study):.2f}, that of"
            f" {second} {max(ours, study):.2f}"
            + (f"; validation images come to {real:.2f}." if real is not None else ".")
        )
    copies = sources.values("gan", "nearest/closer_share", "nearest/distance_ratio")
    if copies is not None:
        copied, ratio = copies
        sentences.append(
            f"Samples are {ratio:.2f} times as far from their nearest training images as test"
            " images are (medians, which do not see a few copies):"
            f" {percent(copied, 1)} of them are nearer than 99 % of the test images are;"
            " of real images it would be 1 %."
        )
    return sentences


def samples_of_codes(sources: Sources) -> list[str]:
    """How far samples of random integers lie from test images, and those of a mixture."""
    names = [f"{name}/fid" for name in ("integers", "mixture_100", "real")]
    numbers = sources.values("clean", *names)
    if numbers is None:
        return []
    integers, mixture, real = numbers
    sentences = [
        f"Decoded from random integers, as in the study, samples lie at a distance of"
        f" {integers:.1f} from the test images, where validation images come to {real:.1f}: such"
        " codes lie where no image's code is."
    ]
    if mixture < integers:
        sentences.append(
            f"Drawn from a mixture of 100 Gaussians fitted to the training codes, samples come to"
            f" {mixture:.1f}, a distance {mixture / integers:.2f} times that of random integers."
        )
    else:
        sentences.append(f"A mixture of 100 Gaussians does not cure it here: {mixture:.1f}.")
    return sentences


def normal_samples(sources: Sources) -> str:
    """What codes near the standard normal distribution bring to samples, and cost in error."""
    ours = sources.values("variational", "normal/fid", "test/mse")
    plain = sources.values("clean", "mixture_100/fid", "test/mse")
    if ours is None or plain is None:
        return ""
    return (
        f"Decoded from standard normal codes, without a look at any image's code, samples lie at a"
        f" distance of {ours[0]:.1f} from the test images; those of the plain autoencoder's mixture"
        f" of 100 Gaussians at {plain[0]:.1f}. The test error is {ours[1] / plain[1]:.2f} times"
        " that of the plain autoencoder."
    )


def lowest_errors(records: Mapping[str, Mapping[str, Any]]) -> str:
    """The searches by their lowest validation error, and how soon each was near its own."""
    best: dict[str, tuple[float, float]] = {}
    for kind, search in records.items():
        epochs, _, errors = record.best_so_far(search["trials"], latent_dim=CODE_SIZE)
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


def importance(search: Mapping[str, Any]) -> str:
    """Which setting matters most, and how sure that is, or why it is not known."""
    found = search.get("importance")
    if found:
        parts = []
        for part in ("error", "score"):
            shares = found[part]["settings"]
            first = max(shares, key=lambda name: shares[name][0])
            mean, low, high = map(percent, shares[first])
            parts.append(f"{first.replace('_', ' ')} with {mean} ({low} to {high} over the trees)")
        return (
            f"Alone, most of the variance of the validation error follows from {parts[0]}; of the"
            f" error as a share of the reference from {parts[1]}."
        )
    number = trial_points.num_combinations(search)
    if number < trial_points.LEAST:
        return (
            f"The importance of each setting is not estimated: {number} combinations were trained,"
            f" {trial_points.LEAST} are needed."
        )
    return (
        "The record holds no importance of settings; the search's own command adds it, and trains"
        " nothing again."
    )


def walks(sources: Sources) -> list[str]:
    """Whether walks between codes, and between noises of the GAN, leave the images."""
    names = {
        "the straight line between two codes": ("clean", "walks/straight_confidence"),
        "the path along the codes' density": ("clean", "walks/density_confidence"),
        "the GAN's way between two noises": ("gan", "walks/noise_confidence"),
    }
    found = {
        name: value
        for name, (key, number) in names.items()
        if (value := sources.value(key, number)) is not None
    }
    if not found:
        return []
    listed = ", ".join(f"{percent(value)} on {name}" for name, value in found.items())
    return [
        "A classifier that is sure all the way sees images of its classes all the way. Where it is"
        f" least sure, mean over many walks, it is so by {listed}."
    ]
