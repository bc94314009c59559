"""One command of `apply` at work: its model, its images, and what every verb does with them."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasunsup.apply import (
    encoded_images,
    given_codes,
    image_stream,
    kept_index,
    output_folder,
)
from kerasunsup.apply.masks import Masks
from kerasunsup.apply.output_folder import OutputFolder
from kerasunsup.apply.parts import Parts
from kerasunsup.apply.result_files import ResultFiles
from kerasunsup.apply.settings import Application, ApplySettings, settings_of
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.models import loading
from kerasunsup.settings import flag, path_of, to_json

if TYPE_CHECKING:
    from kerasunsup.figures import style

logger = logging.getLogger(__name__)

# Settings that change no result.
_WITHOUT_EFFECT = ("batch_size", "trust_model", "shard", "ray", "codes", "move_to", "undo")

_MORE_IMAGES = ("query", "reference", "against")  # flags that name images beside IMAGES


class Job:
    """The opened model and images of a command, and the folder that it writes to.

    Args:
        command: the parsed command line.

    Attributes:
        settings: the settings of the command line.
        verb: what is done.
        model: the opened model; none where the command names none.
        vectors: those of `--codes FILE`; None without them.
        has_pictures: whether the images can be shown: vectors may come without them.
        stream: the images that the verb is applied to; none for `generate`.
        masks: where the images have holes.
        query: the images of `--query`; None without it, or with vectors.
        reference: the images of `--reference`; None without it, or with vectors.
        against: the images of `--against`; None without it.
        output: the folder for the results; `experiment` sets it.
        files: what writes the results; `experiment` sets it.
        parts: what was made of the images in parts; None where nothing was.
        index: that is searched in the place of images; None without it.

    Raises:
        InputError: if the model, the images or the masks cannot be used.
    """

    model: loading.LoadedModel
    output: OutputFolder
    files: ResultFiles

    def __init__(self, command: Application) -> None:
        self.settings: ApplySettings = command.config
        self.verb = command.verb
        self.has_model = command.model is not None or command.index is not None
        self._made_by: dict[str, Any] = {}
        self.index = None if command.index is None else kept_index.opened(command.index)
        if command.model is not None:
            self.model = loading.open_model(command.model, is_trusted=self.settings.trust_model)
        elif self.index is not None:
            self.model = self.index.opened_model(is_trusted=self.settings.trust_model)
            self.settings = self.index.with_its_settings(self.settings)
        if self.has_model:
            self._made_by["model"] = self.model.fingerprint
        self.stream = _stream_of(command) if self.index is None else self.index.stream()
        self.masks = Masks(self.settings.mask, self.stream)
        self.parts: Parts | None = None
        self._shape: tuple[int, ...] = ()
        self.vectors = given_codes.taken(self.settings, self.stream)
        shown = self.index if self.vectors is None else self.vectors.images
        self.has_pictures = shown is None or shown.has_pictures
        if self.vectors is not None:
            self.stream = self.vectors.images.stream
            self.query = self.reference = self.against = None
            self._made_by |= self.vectors.made_by
            return
        self.query, self.reference, self.against = (
            _images_of_flag(name, getattr(self.settings, name), self.stream, command.output)
            for name in _MORE_IMAGES
        )
        if self.settings.codes is not None:
            self.open_parts(path_of("--codes", self.settings.codes, is_written=False)).check_whole()

    def identity(self) -> dict[str, Any]:
        """Everything that the results follow from, as plain JSON values."""
        settings = to_json(self.settings)
        identity: dict[str, Any] = {
            "verb": self.verb,
            **dict.fromkeys(output_folder.SOURCES),
            **self._made_by,
            output_folder.FOLDER: _place(self),
            "images": self.stream.fingerprint or None,
            **{
                flag(field.name): settings[field.name]
                for field in settings_of(self.verb)
                if field.name not in _WITHOUT_EFFECT
            },
        }
        return identity | _identity_of_more(self)

    def identity_of_parts(self) -> dict[str, Any]:
        """What each part of the results follows from, beside its images: plain JSON values."""
        names = ("resize", "grey", "passes")
        settings = {f"--{name}": getattr(self.settings, name) for name in names}
        return {**self._made_by, **settings, "mask": self.masks.fingerprint}

    def open_parts(self, folder: Path) -> Parts:
        """Takes what is done of the images in parts from a folder."""
        self.parts = Parts(folder, self.identity_of_parts(), self.stream)
        self.stream = self.parts.stream
        return self.parts

    def encode(
        self,
        stream: image_stream.Stream | None = None,
        *,
        name: str = "images",
        errors: bool = False,
        look: encoded_images.Look | None = None,
    ) -> encoded_images.EncodedImages:
        """Encodes the readable images of a stream and lists the others in a table.

        Args:
            stream: the images; None takes those that the verb is applied to.
            name: what the stream is called in the names of files.
            errors: whether reconstruction errors are measured too.
            look: what is kept of each picture beside its code; None keeps nothing.
        """
        source = self.stream if stream is None else stream
        encoded = _encoded(self, stream, name, errors=errors, look=look)
        self._shape = encoded.lowest.shape
        table = "unreadable.csv" if stream is None else f"unreadable_{name}.csv"
        self.list_unreadable(encoded.unreadable, source, table)
        if encoded.are_alike():
            logger.info(f"the {len(encoded.codes):,} images of {source.what} are all alike")
        return encoded

    def list_unreadable(
        self,
        unreadable: Sequence[tuple[str, str]],
        stream: image_stream.Stream,
        table: str = "unreadable.csv",
        cannot: str = "be read",
    ) -> None:
        """Writes a table of the unreadable images; refuses a stream that holds no others."""
        if not unreadable:
            return
        example = f"such as {images.shown(unreadable[0][0])} ({unreadable[0][1]})"
        if len(unreadable) == len(stream):
            raise InputError(
                f"none of the images of {stream.what} can {cannot}, {example}: give "
                f"{images.KINDS} images"
            )
        self.files.write_table(table, ("file", "reason"), sorted(unreadable))
        all_of_them = f"images of {stream.what} cannot {cannot}, {example}: all are in {table}"
        logger.info(f"{len(unreadable)} of {len(stream)} {all_of_them}")

    def thumbnails(
        self, positions: Iterable[int], stream: image_stream.Stream | None = None
    ) -> np.ndarray:
        """Reads encoded images once more, to be shown: float32 (n, height, width, channels)."""
        source, shown = stream or self.stream, list(positions)
        if self.vectors is not None or self.index is not None:
            return given_codes.thumbnails(source, shown)
        return _thumbnails(source, shown, self._shape, self.settings)

    def write_sheet(self, name: str, figure: style.Figure) -> None:
        """Writes a figure as the contact sheet `<name>_sheet.png`."""
        from kerasunsup.figures import style  # loads slowly

        self.files.write(f"{name}_sheet.png", style.to_png(figure))


def _encoded(
    job: Job,
    stream: image_stream.Stream | None,
    name: str,
    *,
    errors: bool,
    look: encoded_images.Look | None,
) -> encoded_images.EncodedImages:
    """What `Job.encode` returns: from vectors, parts or an index, or made by the model."""
    if job.vectors is not None:
        return job.vectors.images.encoded(look)
    if stream is None and job.parts is not None:
        return _of_parts(job.parts, errors=errors, look=look is not None)
    if stream is None and job.index is not None:
        return job.index.encoded()
    output, source = job.output, job.stream if stream is None else stream
    if stream is None and job.verb == "encode":
        return kept_index.encode_new(output.folder, output.part, source, job.model, job.settings)
    return encoded_images.encode_stream(
        job.model, source, output.part(name), job.settings, errors=errors, look=look
    )


def _thumbnails(
    stream: image_stream.Stream,
    positions: Sequence[int],
    shape: tuple[int, ...],
    settings: ApplySettings,
) -> np.ndarray:
    """Pictures of one shape; one that is gone since it was encoded, or became another, is white."""
    # What was encoded fits, and what a model from elsewhere takes is resized.
    change = encoded_images.change_to(shape, settings, resize=True)
    pictures = np.full((len(positions), *shape), 255, np.uint8)
    for at, picture in enumerate(stream.read(positions)):
        with contextlib.suppress(InputError):
            if not isinstance(picture, str):
                pictures[at] = change(picture)
    return images.to_unit(pictures)


def _place(job: Job) -> str | None:
    """Where the images of an index lie; other verbs go by the images alone."""
    is_of_files = job.verb == "encode" and job.stream.root is not None
    return os.path.abspath(os.path.expanduser(job.stream.what)) if is_of_files else None


def _identity_of_more(job: Job) -> dict[str, Any]:
    """What results follow from beside the model, the images and the settings."""
    streams = zip(_MORE_IMAGES, (job.query, job.reference, job.against), strict=True)
    identity = {f"images of --{name}": s.fingerprint for name, s in streams if s is not None}
    if job.verb == "generate" and job.reference is None and job.model.sampler_file:
        identity["sampler"] = loading.digest([job.model.sampler_file])
    if job.masks.fingerprint is not None:
        identity["mask"] = job.masks.fingerprint
    return identity


def _of_parts(made: Parts, *, errors: bool, look: bool) -> encoded_images.EncodedImages:
    names = encoded_images.arrays_of(errors=errors, look=look)
    return encoded_images.joined(made.stream, list(made.arrays(*names)))


def _stream_of(command: Application) -> image_stream.Stream:
    """The images that a verb is applied to; none where the command names none."""
    if command.images is None:
        return image_stream.EMPTY
    settings: ApplySettings = command.config
    return image_stream.open_images(
        command.images, without=command.output, part=settings.part, limit=settings.limit
    )


def _images_of_flag(
    name: str, what: str | None, stream: image_stream.Stream, output: Path
) -> image_stream.Stream | None:
    if what is None:
        return None
    like = stream if len(stream) else None
    try:
        return image_stream.open_images(what, without=output, part="all", limit=None, like=like)
    except InputError as error:
        raise InputError(str(error).replace("IMAGES", f"--{name}")) from error


def short(name: str) -> str:
    """The last 14 characters of a name, without characters that cannot be drawn."""
    name = images.shown(name)
    return name if len(name) <= 14 else "…" + name[-13:]
