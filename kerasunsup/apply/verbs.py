"""What `apply` does, one function a verb: from a model and images to a folder of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from kerasunsup.apply import duplicates, encode, output_folder, restore
from kerasunsup.apply import job as apply_job
from kerasunsup.apply.settings import Application, ApplySettings
from kerasunsup.data import images
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.evaluation import clustering, latent_space, outlier_detector
from kerasunsup.figures import image_grids
from kerasunsup.models import loading
from kerasunsup.training import tensorboard as training_tensorboard

_SHOWN = 40  # images on a contact sheet
_SHOWN_QUERIES = 12
_SHOWN_A_GROUP = 60
_COMPONENTS = 100  # of the mixture that new codes are drawn from
_DRAWN = 256  # images that follow from one seed
_MOST_SPRITES = 10_000


def run(command: Application) -> None:
    """Does what a command line of `apply` says.

    Raises:
        InputError: for everything that a user can mend.
        Interrupted: on Ctrl-C; the same command goes on.
    """
    began = time.perf_counter()
    job = apply_job.Job(command)
    _check(job)
    with output_folder.Output(command.output, job.identity()) as output:
        if output.is_done:
            print(f"{command.output} is done already: there is nothing to do", flush=True)
            return
        job.output = output
        try:
            numbers = _VERBS[command.verb](job)
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; what is finished is kept, the same command goes on"
            ) from None
        numbers["seconds"] = round(time.perf_counter() - began, 1)
        output.finish(**numbers)
    print("\n".join(f"  {name.replace('_', ' ')}: {value}" for name, value in numbers.items()))
    print(f"\neverything is in {command.output}", flush=True)


def _check(job: apply_job.Job) -> None:
    """Refuses a model that cannot do what is wanted, before anything is written."""
    model, verb = job.model, job.verb
    if verb == "generate":
        is_generator = model.offers("generate")
        model.function("generate" if is_generator else "decode")
        if is_generator and "reference" in job.others:
            raise InputError(
                f"--reference is for autoencoders, MODEL {model.path} is a generator: leave it out"
            )
        return
    model.function("reconstruct" if verb in ("restore", "outliers") else "encode")
    if verb == "outliers":
        model.function("encode")
    sheet = "restore_sheet.png"
    if verb == "restore" and sheet in job.stream.names:
        raise InputError(f"{sheet} is the name of the contact sheet: rename that image")


def _restore(job: apply_job.Job) -> dict[str, Any]:
    numbers, unreadable = restore.restore(
        job.model, job.stream, job.masks, job.output, job.settings
    )
    job.list_unreadable(unreadable, job.stream)
    before, after = restore.shown(job.model, job.stream, job.output)
    if len(before):
        rows = [
            image_grids.SampleRow("input", before, {}),
            image_grids.SampleRow("restored", after, {}),
        ]
        job.show("restore", image_grids.sampled_images(rows))
    return dict(numbers) | {"unreadable": len(unreadable)}


def _encode(job: apply_job.Job) -> dict[str, Any]:
    found = job.describe()
    names = job.names(found)
    job.output.codes("codes.npz", found.codes, names)
    header = ["file", *(f"code_{index}" for index in range(found.codes.shape[1]))]
    rows = ([name, *code] for name, code in zip(names, found.codes, strict=True))
    job.output.table("codes.csv", header, rows)
    if job.settings.projector:
        shown = min(_MOST_SPRITES, len(names))
        with training_tensorboard.Board(job.output.folder) as tensorboard:
            pictures = job.thumbnails(found.positions[:shown])
            labels = [images.shown(name) for name in names[:shown]]
            tensorboard.projector(found.codes[:shown], pictures, labels)
    return {"images": len(names), "code_size": int(found.codes.shape[1])}


def _similar(job: apply_job.Job) -> dict[str, Any]:
    queries = job.others.get("query")
    if queries is None:
        return _near_duplicates(job)
    found = job.describe()
    names = job.names(found)
    asked = job.describe(queries, name="queries")
    number = min(job.settings.neighbors, len(names))
    distances, nearest = latent_space.nearest(found.codes, asked.codes, number)
    query_names = [queries.names[position] for position in asked.positions]
    job.output.table(
        "similar.csv",
        ("query", "rank", "file", "distance"),
        (
            (query, rank, names[index], distance)
            for query, row, away in zip(query_names, nearest, distances, strict=True)
            for rank, (index, distance) in enumerate(zip(row, away, strict=True), start=1)
        ),
    )
    rows = []
    for row in range(min(_SHOWN_QUERIES, len(query_names))):
        shown = found.positions[nearest[row, :_SHOWN_QUERIES]]
        query = job.thumbnails([asked.positions[row]], queries)
        pictures = np.concatenate([query, job.thumbnails(shown)])
        rows.append(image_grids.SampleRow(apply_job.short(query_names[row]), pictures, {}))
    job.show("similar", image_grids.sampled_images(rows))
    return {"queries": len(query_names), "images": len(names)}


def _near_duplicates(job: apply_job.Job) -> dict[str, Any]:
    """Pairs of copies, nearest first."""
    found = job.describe(look=duplicates.look)
    names = job.names(found)
    if len(names) < 2:
        raise InputError("near-duplicates need two images: give more, or --query")

    def read(rows: Iterable[int]) -> Iterator[np.ndarray | str]:
        return job.stream.read(found.positions[list(rows)])

    pairs = duplicates.pairs(found.codes, found.looks, read, job.settings.neighbors)
    job.output.table(
        "similar.csv",
        ("query", "rank", "file", "distance"),
        ((names[one], 1, names[other], distance) for one, other, distance in pairs),
    )
    shown = [row for one, other, _ in pairs[: _SHOWN // 2] for row in (one, other)]
    if shown:
        texts = [apply_job.short(names[row]) for row in shown]
        below = [f"{distance:.3g}" for *_, distance in pairs[: _SHOWN // 2] for _ in range(2)]
        pictures = job.thumbnails(found.positions[shown])
        job.show("similar", image_grids.captioned_images(pictures, texts, below))
    return {"images": len(names), "near_duplicates": len(pairs)}


def _outliers(job: apply_job.Job) -> dict[str, Any]:
    settings = job.settings
    found = job.describe(errors=True)
    names = job.names(found)
    given = job.others.get("reference")
    clean = job.training_images() if given is None else given
    known = "the images themselves" if clean is None else "the images that the model was trained on"
    if given is not None:
        known = given.what
    reference = found if clean is None else job.describe(clean, name="reference", errors=True)
    print(f"compared with {len(reference.codes):,} images: {known}", flush=True)
    if found.are_alike(None if given is None else reference):
        scores, limit = np.zeros(len(names)), 0.0
        is_outlier = np.zeros(len(names), bool)
    else:
        scores, limit, is_outlier = _scores(found, reference, settings)
    order = np.argsort(-scores, kind="stable")
    job.output.table(
        "outliers.csv",
        ("file", "score", "outlier"),
        ((names[index], scores[index], int(is_outlier[index])) for index in order),
    )
    worst = order[:_SHOWN]
    job.show(
        "outliers",
        image_grids.captioned_images(
            job.thumbnails(found.positions[worst]),
            [apply_job.short(names[index]) for index in worst],
            [f"{scores[index]:.3g}" for index in worst],
        ),
    )
    return {
        "images": len(names), "outliers": int(is_outlier.sum()), "threshold": round(limit, 4),
    }  # fmt: skip


def _scores(
    found: encode.Descriptions,
    reference: encode.Descriptions,
    settings: ApplySettings,
) -> tuple[np.ndarray, float, np.ndarray]:
    """(scores, the score of an outlier, which images are outliers)."""
    if len(reference.codes) < 4:
        raise InputError(
            f"outliers need four images to compare with, received {len(reference.codes)}: give "
            "more, or clean ones by --reference"
        )
    detector = outlier_detector.fit(reference.errors, reference.codes, settings.seed)
    scores = detector.scores(found.errors, found.codes)
    if settings.reference is not None:
        limit = outlier_detector.threshold(
            reference.errors, reference.codes, settings.share, settings.seed
        )
        return scores, limit, scores > limit
    limit = outlier_detector.limit(scores, settings.share)
    return scores, limit, scores >= limit


def _cluster(job: apply_job.Job) -> dict[str, Any]:
    found = job.describe()
    names = job.names(found)
    try:
        groups = (
            np.zeros(len(names), np.int64)
            if found.are_alike()
            else clustering.groups(found.codes, job.settings.clusters, job.settings.seed)
        )
    except ValueError as error:
        raise InputError(
            f"{error}: give more images" + (" or fewer --clusters" if job.settings.clusters else "")
        ) from error
    job.output.table("clusters.csv", ("file", "cluster"), zip(names, groups.tolist(), strict=True))
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        chosen = np.random.default_rng(job.settings.seed).permutation(members)[:_SHOWN_A_GROUP]
        pictures = job.thumbnails(found.positions[np.sort(chosen)])
        job.output.sheet(
            f"cluster_{group:03d}_sheet.png",
            images.encode_png(images.grid(pictures, columns=min(10, len(pictures)))),
        )
    numbers: dict[str, Any] = {"images": len(names), "clusters": int(groups.max()) + 1}
    labels = job.stream.labels
    if labels is not None:
        compared = clustering.agreement(groups, labels[found.positions])
        numbers |= {f"{name}_by_labels": round(value, 4) for name, value in compared.items()}
    return numbers


def _generate(job: apply_job.Job) -> dict[str, Any]:
    settings = job.settings
    draw, make = _maker(job)
    names = [f"images/{number:05d}.png" for number in range(settings.count)]
    shown: list[np.ndarray] = []
    with output_folder.Progress(settings.count, "image") as progress:
        for start in range(0, settings.count, _DRAWN):
            wanted = names[start : start + _DRAWN]
            is_shown = len(shown) < 100
            if is_shown or not all(job.output.path(name).exists() for name in wanted):
                # A whole block is drawn, so that a larger --count begins with the same images.
                drawn = draw(_DRAWN, start // _DRAWN)[: len(wanted)]
                pictures = np.concatenate(
                    [
                        make(drawn[first : first + settings.batch_size])
                        for first in range(0, len(drawn), settings.batch_size)
                    ]
                )
                shown.extend(pictures[: 100 - len(shown)])
                for name, picture in zip(wanted, images.to_uint8(pictures), strict=True):
                    if not job.output.path(name).exists():
                        job.output.picture(name, picture)
            progress.advance(len(wanted))
    sheet = images.grid(np.stack(shown), columns=min(10, len(shown)))
    job.output.sheet("generate_sheet.png", images.encode_png(sheet))
    return {"images": settings.count}


Draw = Callable[[int, int], np.ndarray]


def _maker(job: apply_job.Job) -> tuple[Draw, loading.Function]:
    """(number, block) -> what the model makes images of, and the function that makes them."""
    seed = job.settings.seed
    if job.model.offers("generate"):
        (dim,) = job.model.input_shape("generate")

        def noise(number: int, block: int) -> np.ndarray:
            return np.random.default_rng([seed, block]).standard_normal((number, dim), np.float32)

        return noise, job.model.function("generate")
    given = job.others.get("reference")
    training = job.training_images() if given is None else given
    if training is None:
        raise InputError(
            f"MODEL {job.model.path} does not tell which images it was trained on, and new codes "
            "are drawn like theirs: give the folder of its run, or such images by --reference"
        )
    like = "the images that the model was trained on" if given is None else given.what
    print(f"fitting a mixture to the codes of {like}", flush=True)
    codes = job.describe(training, name="reference").codes
    mixture = latent_space.fit_mixture(codes, _COMPONENTS, seed)
    # A seed a block: (seed, block) -> one number.
    return (
        lambda number, block: mixture.sample(
            number, int(np.random.default_rng([seed, block]).integers(2**31))
        ),
        job.model.function("decode"),
    )


_VERBS: dict[str, Callable[[apply_job.Job], dict[str, Any]]] = {
    "restore": _restore,
    "encode": _encode,
    "similar": _similar,
    "outliers": _outliers,
    "cluster": _cluster,
    "generate": _generate,
}
