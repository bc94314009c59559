"""One command of `apply` at work: its model, its images, and what every verb does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kerasunsup.apply import encoded_images, image_stream, output_folder, training_images
from kerasunsup.apply import settings as apply_settings
from kerasunsup.apply.masks import Masks
from kerasunsup.apply.result_files import ResultFiles
from kerasunsup.apply.settings import Application, ApplySettings
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.figures import style
from kerasunsup.models import loading
from kerasunsup.settings import flag, to_json

_WITHOUT_EFFECT = ("batch_size", "trust_model")  # settings that change no result


class Job:
    """The opened model and images of a command, and the folder that it writes to.

    Args:
        command: the parsed command line.

    Attributes:
        settings: the settings of the command line.
        verb: what is done.
        model: the opened model.
        query: the images of `--query`; None without it.
        reference: the images of `--reference`; None without it.

    Raises:
        InputError: if the model, the images or the masks cannot be used.
    """

    def __init__(self, command: Application) -> None:
        self.settings: ApplySettings = command.config
        self.verb = command.verb
        self.model = loading.open_model(command.model, is_trusted=self.settings.trust_model)
        self._output: output_folder.OutputFolder | None = None
        self._stream: image_stream.Stream | None = None
        self._masks: Masks | None = None
        if command.images is not None:
            self._stream = image_stream.open_images(
                command.images,
                without=command.output,
                part=self.settings.part,
                limit=self.settings.limit,
            )
            self._masks = Masks(self.settings.mask, self._stream)
        self.query = _images_of_flag("query", self.settings.query, self._stream)
        self.reference = _images_of_flag("reference", self.settings.reference, self._stream)

    def identity(self) -> dict[str, Any]:
        """Everything that the results follow from, as plain JSON values."""
        settings = to_json(self.settings)
        identity: dict[str, Any] = {
            "verb": self.verb,
            "model": self.model.fingerprint,
            "images": None if self._stream is None else self._stream.fingerprint,
            **{
                flag(field.name): settings[field.name]
                for field in apply_settings.settings_of(self.verb)
                if field.name not in _WITHOUT_EFFECT
            },
        }
        for name, stream in (("query", self.query), ("reference", self.reference)):
            if stream is not None:
                identity[f"images of --{name}"] = stream.fingerprint
        if self._masks is not None and self._masks.fingerprint is not None:
            identity["mask"] = self._masks.fingerprint
        return identity

    @property
    def output(self) -> output_folder.OutputFolder:
        """The folder that results go to."""
        return _opened(self._output)

    @output.setter
    def output(self, output: output_folder.OutputFolder) -> None:
        self._output = output

    @property
    def files(self) -> ResultFiles:
        """What writes the results."""
        return self.output.files

    @property
    def stream(self) -> image_stream.Stream:
        """The images that the verb is applied to."""
        return _opened(self._stream)

    @property
    def masks(self) -> Masks:
        """Where the images have holes."""
        return _opened(self._masks)

    def encode(
        self,
        stream: image_stream.Stream | None = None,
        *,
        name: str = "images",
        errors: bool = False,
        look: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> encoded_images.EncodedImages:
        """Encodes the readable images of a stream and lists the others in a table.

        Args:
            stream: the images; None takes those that the verb is applied to.
            name: what the stream is called in the names of files.
            errors: whether reconstruction errors are measured too.
            look: what is kept of each picture beside its code; None keeps nothing.
        """
        source = self.stream if stream is None else stream
        encoded = encoded_images.encode_stream(
            self.model, source, self.output.part(name), self.settings, errors=errors, look=look
        )
        table = "unreadable.csv" if stream is None else f"unreadable_{name}.csv"
        self.list_unreadable(encoded.unreadable, source, table)
        if encoded.are_alike():
            print(f"the {len(encoded.codes):,} images of {source.what} are all alike", flush=True)
        return encoded

    def names(self, encoded: encoded_images.EncodedImages) -> list[str]:
        """The names of the images that were encoded."""
        return [self.stream.names[position] for position in encoded.positions]

    def list_unreadable(
        self,
        unreadable: Sequence[tuple[str, str]],
        stream: image_stream.Stream,
        table: str = "unreadable.csv",
    ) -> None:
        """Writes a table of the unreadable images; refuses a stream that holds no others."""
        if not unreadable:
            return
        name, reason = images.shown(unreadable[0][0]), unreadable[0][1]
        if len(unreadable) == len(stream):
            raise InputError(
                f"none of the images of {stream.what} can be read, such as {name} ({reason}): give "
                f"{images.KINDS} images"
            )
        self.files.write_table(table, ("file", "reason"), sorted(unreadable))
        print(
            f"{len(unreadable)} of {len(stream)} images of {stream.what} cannot be read, such as "
            f"{name} ({reason}): all are in {table}",
            flush=True,
        )

    def thumbnails(
        self, positions: Iterable[int], stream: image_stream.Stream | None = None
    ) -> np.ndarray:
        """Reads images once more, to be shown: float32 (n, height, width, channels)."""
        change = encoded_images.to_model_shape(self.model, self.settings)
        shown = list(positions)
        batches = (stream or self.stream).batches(shown, max(1, len(shown)), change)
        return next(pixels for _, pixels, _ in batches)

    def write_sheet(self, name: str, figure: style.Figure) -> None:
        """Writes a figure as the contact sheet `<name>_sheet.png`."""
        self.files.write_png(f"{name}_sheet.png", style.to_png(figure))

    def training_images(self) -> image_stream.Stream | None:
        """The images that the model was trained on; None for a model that stands alone."""
        return training_images.training_images(self.model)


def _opened(value: Any) -> Any:
    if value is None:
        raise RuntimeError("this verb takes no images, or the output is not opened yet")
    return value


def _images_of_flag(
    name: str, what: str | None, like: image_stream.Stream | None
) -> image_stream.Stream | None:
    """The images that `--<name>` names; None without it."""
    if what is None:
        return None
    try:
        return image_stream.open_images(what, without=None, part="all", limit=None, like=like)
    except InputError as error:
        raise InputError(str(error).replace("IMAGES", f"--{name}")) from error


def short(name: str) -> str:
    """The last 14 characters of a name, without characters that cannot be drawn."""
    name = images.shown(name)
    return name if len(name) <= 14 else "…" + name[-13:]
