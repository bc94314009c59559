"""One command of `apply` at work: its model, its images, and what every verb needs of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import encode, image_stream, output_folder, restore
from kerasunsup.apply import settings as apply_settings
from kerasunsup.apply.settings import Application, ApplySettings
from kerasunsup.data import images
from kerasunsup.data import splits as data_splits
from kerasunsup.errors import InputError
from kerasunsup.figures import style
from kerasunsup.models import loading
from kerasunsup.settings import flag, to_json
from kerasunsup.training import files

_FITTED_CODES = 50_000  # that a mixture is fitted to, at most
_CHANGE_NOTHING = ("batch_size", "trust_model")  # in what comes out


class Job:
    """A command's model and images, opened, and the folder that it writes to.

    Args:
        command: the parsed command line.

    Attributes:
        others: the images of `--query` and of `--reference`, where they are given.
        output: None until the command is known to be right.

    Raises:
        InputError: if the model, the images or the masks cannot be used.
    """

    def __init__(self, command: Application) -> None:
        self.settings: ApplySettings = command.config
        self.verb = command.verb
        self.model = loading.open_model(command.model, is_trusted=self.settings.trust_model)
        self._output: output_folder.Output | None = None
        self._stream: image_stream.Stream | None = None
        self._masks: restore.Masks | None = None
        if command.images is not None:
            self._stream = image_stream.open_images(
                command.images,
                without=command.output,
                part=self.settings.part,
                limit=self.settings.limit,
            )
            self._masks = restore.Masks(self.settings.mask, self._stream)
        self.others = {
            name: _other(name, what, self._stream)
            for name in ("query", "reference")
            if (what := getattr(self.settings, name)) is not None
        }

    def identity(self) -> dict[str, Any]:
        """All that the results follow from, as plain JSON values."""
        settings = to_json(self.settings)
        identity: dict[str, Any] = {
            "verb": self.verb,
            "model": self.model.fingerprint,
            "images": None if self._stream is None else self._stream.fingerprint,
            **{
                flag(field.name): settings[field.name]
                for field in apply_settings.settings_of(self.verb)
                if field.name not in _CHANGE_NOTHING
            },
            **{f"images of --{name}": other.fingerprint for name, other in self.others.items()},
        }
        if self._masks is not None and self._masks.fingerprint is not None:
            identity["mask"] = self._masks.fingerprint
        return identity

    @property
    def output(self) -> output_folder.Output:
        """Where results go."""
        return _there(self._output)

    @output.setter
    def output(self, output: output_folder.Output) -> None:
        self._output = output

    @property
    def stream(self) -> image_stream.Stream:
        """The images."""
        return _there(self._stream)

    @property
    def masks(self) -> restore.Masks:
        """Where the images have holes."""
        return _there(self._masks)

    def describe(
        self,
        stream: image_stream.Stream | None = None,
        *,
        name: str = "images",
        errors: bool = False,
        look: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> encode.Descriptions:
        """Codes, and what else is wanted, of the readable images of a stream."""
        wanted = self.stream if stream is None else stream
        found = encode.describe(
            self.model, wanted, self.output.part(name), self.settings, errors=errors, look=look
        )
        table = "unreadable.csv" if stream is None else f"unreadable_{name}.csv"
        self.list_unreadable(found.unreadable, wanted, table)
        if found.are_alike():
            print(f"the {len(found.codes):,} images of {wanted.what} are all alike", flush=True)
        return found

    def names(self, found: encode.Descriptions) -> list[str]:
        """Of the readable images."""
        return [self.stream.names[position] for position in found.positions]

    def list_unreadable(
        self,
        unreadable: Sequence[tuple[str, str]],
        stream: image_stream.Stream,
        table: str = "unreadable.csv",
    ) -> None:
        """Writes which images cannot be read; refuses where none can."""
        if not unreadable:
            return
        name, reason = images.shown(unreadable[0][0]), unreadable[0][1]
        if len(unreadable) == len(stream):
            raise InputError(
                f"none of the images of {stream.what} can be read, such as {name} ({reason}): give "
                f"{images.KINDS} images"
            )
        self.output.table(table, ("file", "reason"), sorted(unreadable))
        print(
            f"{len(unreadable)} of {len(stream)} images of {stream.what} cannot be read, such as "
            f"{name} ({reason}): all are in {table}",
            flush=True,
        )

    def thumbnails(
        self, positions: Iterable[int], stream: image_stream.Stream | None = None
    ) -> np.ndarray:
        """Images read once more to be shown, float32 (n, height, width, channels)."""
        change = encode.change(self.model, self.settings)
        wanted = list(positions)
        batches = (stream or self.stream).batches(wanted, max(1, len(wanted)), change)
        return next(pixels for _, pixels, _ in batches)

    def show(self, name: str, figure: style.Figure) -> None:
        """Writes a contact sheet."""
        self.output.sheet(f"{name}_sheet.png", style.to_png(figure))

    def training_images(self) -> image_stream.Stream | None:
        """The images that the model was trained on; None for a model that stands alone.

        Raises:
            InputError: if they are not there, or others have taken their place.
        """
        settings = self.model.settings(AutoencoderSettings)
        if settings is None or self.model.run is None:
            return None
        record = self.model.run / "environment.json"
        recorded = files.read_json(record) if record.is_file() else {}
        places = list(dict.fromkeys([recorded.get("data_path") or settings.data, settings.data]))
        reason = f"{' and '.join(places)} holds other images"
        if recorded.get("data") is None:
            places, reason = [], "its run has no fingerprint of them"
        for place in places:
            try:
                splits = data_splits.load(dataclasses.replace(settings, data=place))
            except InputError as error:
                reason = str(error).replace("--data ", "")
                continue
            if splits.fingerprint == recorded["data"]:
                chosen = splits.train.subset(np.arange(min(_FITTED_CODES, len(splits.train))))
                return image_stream.of_set(splits.name, chosen)
        raise InputError(
            f"the images that MODEL {self.model.path} was trained on are not to be had ({reason}): "
            "put them back, or give clean images by --reference"
        )


def _there(value: Any) -> Any:
    if value is None:
        raise RuntimeError("this verb has none of it, or it is not there yet")
    return value


def _other(name: str, what: str, like: image_stream.Stream | None) -> image_stream.Stream:
    """The images of a flag."""
    try:
        return image_stream.open_images(what, without=None, part="all", limit=None, like=like)
    except InputError as error:
        raise InputError(str(error).replace("IMAGES", f"--{name}")) from error


def short(name: str) -> str:
    """The end of a name that may be long, without what cannot be drawn."""
    name = images.shown(name)
    return name if len(name) <= 14 else "…" + name[-13:]
