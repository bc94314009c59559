"""What `apply` does, one function a verb: from a model and images to a folder of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kerasunsup import (
    board,
    config,
    data,
    descriptions,
    drawing,
    grouping,
    images,
    latent,
    outliers,
    outputs,
    restoration,
    sheets,
    streams,
    trained,
)

_SHOWN = 40  # images on a contact sheet
_SHOWN_QUERIES = 12
_SHOWN_A_GROUP = 60
# How much nearer than usual near-duplicates are, where nearness is the distance to another image as
# a share of that to the tenth neighbor: some kinds of images lie closer together than others, and a
# limit for all alike names either few copies or many strokes of 1 (see `benchmarks/`).
_NEAR = 0.5
_TENTH = 10
_FITTED_CODES = 50_000  # that a mixture is fitted to, at most
_COMPONENTS = 100  # of the mixture that new codes are drawn from
_DRAWN = 256  # images that follow from one seed
_MOST_SPRITES = 10_000


def run(command: config.Application) -> None:
    """Does what a command line of `apply` says.

    Raises:
        config.InputError: for everything that a user can mend.
        config.Interrupted: on Ctrl-C; the same command goes on.
    """
    began = time.perf_counter()
    model = trained.open_model(command.model)
    stream = None if command.images is None else _stream(command, command.images)
    others = {
        name: streams.open_images(what, without=None, part="all", limit=None)
        for name in ("query", "reference")
        if (what := getattr(command.config, name)) is not None
    }
    settings = config.to_json(command.config)
    identity: dict[str, Any] = {
        "verb": command.verb,
        "model": model.fingerprint,
        "images": None if stream is None else stream.fingerprint,
        # How many images the model gets at once changes nothing in what comes out.
        **{
            config.flag(field.name): settings[field.name]
            for field in config.settings_of(command.verb)
            if field.name != "batch_size"
        },
        **{f"images of --{name}": other.fingerprint for name, other in others.items()},
    }
    _check(command, model, stream)
    with outputs.Output(command.output, identity) as output:
        if output.is_done:
            print(f"{command.output} is done already: there is nothing to do", flush=True)
            return
        job = _Job(command, model, stream, others, output)
        try:
            numbers = _VERBS[command.verb](job)
        except KeyboardInterrupt:
            raise config.Interrupted(
                "stopped; what is finished is kept, the same command goes on"
            ) from None
        numbers["seconds"] = round(time.perf_counter() - began, 1)
        output.finish(**numbers)
    print("\n".join(f"  {name.replace('_', ' ')}: {value}" for name, value in numbers.items()))
    print(f"\neverything is in {command.output}", flush=True)


class _Job:
    """One command at work."""

    def __init__(
        self,
        command: config.Application,
        model: trained.Trained,
        stream: streams.Stream | None,
        others: dict[str, streams.Stream],
        output: outputs.Output,
    ) -> None:
        self.model, self.others, self.output = model, others, output
        self.settings: config.ApplyConfig = command.config
        self._stream, self._verb = stream, command.verb

    @property
    def stream(self) -> streams.Stream:
        """The images."""
        if self._stream is None:
            raise RuntimeError("this verb takes no images")
        return self._stream

    def describe(
        self, stream: streams.Stream | None = None, *, name: str = "images", errors: bool = False
    ) -> descriptions.Descriptions:
        """Codes, and reconstruction errors, of the readable images of a stream."""
        wanted = self.stream if stream is None else stream
        found = descriptions.describe(
            self.model, wanted, self.output.part(name), self.settings, errors=errors
        )
        table = "unreadable.csv" if stream is None else f"unreadable_{name}.csv"
        self.list_unreadable(found.unreadable, wanted, table)
        return found

    def list_unreadable(
        self,
        unreadable: Sequence[tuple[str, str]],
        stream: streams.Stream,
        table: str = "unreadable.csv",
    ) -> None:
        """Writes which images cannot be read; refuses where none can."""
        if not unreadable:
            return
        name, reason = unreadable[0]
        if len(unreadable) == len(stream):
            raise config.InputError(
                f"none of the images of {stream.what} can be read, such as {name} ({reason}): give "
                "PNG, JPEG, BMP or GIF images"
            )
        self.output.table(table, ("file", "reason"), sorted(unreadable))
        print(
            f"{len(unreadable)} of {len(stream)} images of {stream.what} cannot be read, such as "
            f"{name} ({reason}): all are in {table}",
            flush=True,
        )

    def thumbnails(
        self, positions: Iterable[int], stream: streams.Stream | None = None
    ) -> np.ndarray:
        """Images read once more to be shown, float32 (n, height, width, channels)."""
        change = descriptions.change(self.model, self.settings)
        wanted = list(positions)
        batches = (stream or self.stream).batches(wanted, max(1, len(wanted)), change)
        return next(pixels for _, pixels, _ in batches)

    def show(self, name: str, figure: drawing.Figure) -> None:
        """Writes a contact sheet."""
        self.output.sheet(f"{name}_sheet.png", drawing.to_png(figure))

    def training_images(self) -> streams.Stream | None:
        """The images that the model was trained on; None where they are not known.

        Raises:
            config.InputError: if they are known and not there any more.
        """
        settings = self.model.settings(config.AutoencoderConfig)
        if settings is None:
            return None
        try:
            splits = data.load(settings)
        except config.InputError as error:
            advice = ", or give clean images by --reference"
            raise config.InputError(
                f"the images that MODEL {self.model.path} was trained on cannot be read ({error}): "
                f"put them back{advice if self._verb == 'outliers' else ''}"
            ) from error
        chosen = splits.train.subset(np.arange(min(_FITTED_CODES, len(splits.train))))
        return streams.of_set(splits.name, chosen)


def _stream(command: config.Application, what: str) -> streams.Stream:
    settings = command.config
    return streams.open_images(
        what, without=command.output, part=settings.part, limit=settings.limit
    )


def _check(
    command: config.Application, model: trained.Trained, stream: streams.Stream | None
) -> None:
    """Refuses a model that cannot do what is wanted, before anything is written."""
    if command.verb == "generate":
        model.function("generate" if model.offers("generate") else "decode")
        return
    model.function("reconstruct" if command.verb in ("restore", "outliers") else "encode")
    if command.verb == "outliers":
        model.function("encode")
    if command.verb == "restore" and stream is not None:
        sheet = "restore_sheet.png"
        if sheet in stream.names:
            raise config.InputError(f"{sheet} is the name of the contact sheet: rename that image")


def _restore(job: _Job) -> dict[str, Any]:
    numbers, unreadable, pairs = restoration.restore(
        job.model, job.stream, job.output, job.settings
    )
    job.list_unreadable(unreadable, job.stream)
    if pairs:
        before, after = np.stack(pairs, axis=1)
        rows = [sheets.SampleRow("input", before, {}), sheets.SampleRow("restored", after, {})]
        job.show("restore", sheets.sampled_images(rows))
    return dict(numbers) | {"unreadable": len(unreadable)}


def _encode(job: _Job) -> dict[str, Any]:
    found = job.describe()
    names = [job.stream.names[position] for position in found.positions]
    job.output.arrays("codes.npz", {"codes": found.codes, "files": np.array(names)})
    header = ["file", *(f"code_{index}" for index in range(found.codes.shape[1]))]
    rows = ([name, *code] for name, code in zip(names, found.codes, strict=True))
    job.output.table("codes.csv", header, rows)
    if job.settings.projector:
        shown = min(_MOST_SPRITES, len(names))
        with board.Board(job.output.folder) as tensorboard:
            pictures = job.thumbnails(found.positions[:shown])
            tensorboard.projector(found.codes[:shown], pictures, names[:shown])
    return {"images": len(names), "code_size": int(found.codes.shape[1])}


def _similar(job: _Job) -> dict[str, Any]:
    found = job.describe()
    names = np.array(job.stream.names)[found.positions]
    queries = job.others.get("query")
    if queries is None:
        return _near_duplicates(job, found, names)
    asked = job.describe(queries, name="queries")
    number = min(job.settings.neighbors, len(names))
    distances, nearest = latent.nearest(found.codes, asked.codes, number)
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
        rows.append(sheets.SampleRow(_short(query_names[row]), pictures, {}))
    job.show("similar", sheets.sampled_images(rows))
    return {"queries": len(query_names), "images": len(names)}


def _near_duplicates(
    job: _Job, found: descriptions.Descriptions, names: np.ndarray
) -> dict[str, Any]:
    """Pairs that lie far nearer than images around them do, nearest first."""
    if len(names) < 2:
        raise config.InputError("near-duplicates need two images: give more, or --query")
    wanted = job.settings.neighbors
    number = min(max(wanted, _TENTH), len(names) - 1)
    distances, nearest = latent.nearest(found.codes, None, number)
    tenth = distances[:, min(_TENTH, number) - 1]
    usual = np.median(distances[:, 0] / np.maximum(tenth, np.finfo(tenth.dtype).tiny))
    limits = _NEAR * usual * np.minimum(tenth[:, np.newaxis], tenth[nearest])
    rows, ranks = np.nonzero(distances[:, :wanted] <= limits[:, :wanted])
    pairs = {
        (min(row, other), max(row, other)): distance
        for row, other, distance in zip(
            rows, nearest[rows, ranks], distances[rows, ranks], strict=True
        )
    }
    ordered = sorted(pairs.items(), key=lambda item: (item[1], item[0]))
    job.output.table(
        "similar.csv",
        ("query", "rank", "file", "distance"),
        ((names[a], 1, names[b], distance) for (a, b), distance in ordered),
    )
    shown = [position for pair, _ in ordered[: _SHOWN // 2] for position in pair]
    if shown:
        texts = [_short(names[position]) for position in shown]
        below = [f"{distance:.3g}" for _, distance in ordered[: _SHOWN // 2] for _ in range(2)]
        pictures = job.thumbnails(found.positions[shown])
        job.show("similar", sheets.captioned_images(pictures, texts, below))
    return {"images": len(names), "near_duplicates": len(ordered)}


def _outliers(job: _Job) -> dict[str, Any]:
    settings = job.settings
    found = job.describe(errors=True)
    names = np.array(job.stream.names)[found.positions]
    reference, known = found, "the images themselves"
    if "reference" in job.others:
        reference = job.describe(job.others["reference"], name="reference", errors=True)
        known = job.others["reference"].what
    else:
        training = job.training_images()
        if training is not None:
            reference = job.describe(training, name="reference", errors=True)
            known = "the images that the model was trained on"
    if len(reference.codes) < 4:
        raise config.InputError(
            f"outliers need four images to compare with, received {len(reference.codes)}: give more"
        )
    print(f"compared with {len(reference.codes):,} images: {known}", flush=True)
    detector = outliers.fit(reference.errors, reference.codes, settings.seed)
    scores = detector.scores(found.errors, found.codes)
    if settings.reference is not None:
        limit = outliers.threshold(reference.errors, reference.codes, settings.share, settings.seed)
    else:
        limit = outliers.limit(scores, settings.share)
    order = np.argsort(-scores, kind="stable")
    is_outlier = scores > limit if settings.reference is not None else scores >= limit
    job.output.table(
        "outliers.csv",
        ("file", "score", "outlier"),
        ((names[index], scores[index], int(is_outlier[index])) for index in order),
    )
    worst = order[:_SHOWN]
    job.show(
        "outliers",
        sheets.captioned_images(
            job.thumbnails(found.positions[worst]),
            [_short(names[index]) for index in worst],
            [f"{scores[index]:.3g}" for index in worst],
        ),
    )
    return {
        "images": len(names), "outliers": int(is_outlier.sum()), "threshold": round(limit, 4),
    }  # fmt: skip


def _cluster(job: _Job) -> dict[str, Any]:
    found = job.describe()
    names = np.array(job.stream.names)[found.positions]
    try:
        groups = grouping.groups(found.codes, job.settings.clusters, job.settings.seed)
    except ValueError as error:
        raise config.InputError(
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
        compared = grouping.agreement(groups, labels[found.positions])
        numbers |= {f"{name}_by_labels": round(value, 4) for name, value in compared.items()}
    return numbers


def _generate(job: _Job) -> dict[str, Any]:
    settings = job.settings
    draw, make = _maker(job)
    names = [f"images/{number:05d}.png" for number in range(settings.count)]
    shown: list[np.ndarray] = []
    with outputs.Progress(settings.count, "image") as progress:
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


def _maker(job: _Job) -> tuple[Draw, trained.Function]:
    """(number, block) -> what the model makes images of, and the function that makes them."""
    seed = job.settings.seed
    if job.model.offers("generate"):
        (dim,) = job.model.input_shape("generate")

        def noise(number: int, block: int) -> np.ndarray:
            return np.random.default_rng([seed, block]).standard_normal((number, dim), np.float32)

        return noise, job.model.function("generate")
    training = job.training_images()
    if training is None:
        raise config.InputError(
            f"MODEL {job.model.path} does not tell which images it was trained on, and new codes "
            "are drawn like theirs: give the folder of its run"
        )
    print("fitting a mixture to the codes of the training images", flush=True)
    codes = job.describe(training, name="reference").codes
    mixture = latent.fit_mixture(codes, _COMPONENTS, seed)
    # A seed a block: (seed, block) -> one number.
    return (
        lambda number, block: mixture.sample(
            number, int(np.random.default_rng([seed, block]).integers(2**31))
        ),
        job.model.function("decode"),
    )


def _short(name: str) -> str:
    """The end of a name that may be long."""
    return name if len(name) <= 14 else "…" + name[-13:]


_VERBS: dict[str, Callable[[_Job], dict[str, Any]]] = {
    "restore": _restore,
    "encode": _encode,
    "similar": _similar,
    "outliers": _outliers,
    "cluster": _cluster,
    "generate": _generate,
}
