"""What TensorBoard shows of a run besides its curves: figures, text, HParams, the projector."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import api as hparams

from kerasunsup import tensorflow_startup
from kerasunsup.data import images as images_module
from kerasunsup.data import pillow_pixels
from kerasunsup.figures import style
from kerasunsup.training import files

MOST_SPRITE_SIDE = 8192  # pixels; browsers refuse larger textures


class TensorBoardWriter:
    """Writes into a run's folder, where `tensorboard --logdir logs` finds it (`report/`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = tf.summary.create_file_writer(str(folder / "report"))

    def figure(self, name: str, picture: np.ndarray, *, step: int = 0, text: str = "") -> None:
        """Shows a picture, uint8 (height, width, 3), in the Images tab."""
        with self._writer.as_default():
            tf.summary.image(name, picture[np.newaxis], step=step, description=text)

    def show(self, name: str, figure: style.Figure, text: str) -> None:
        """Writes a figure to `figures/<name>.png` and shows it in the Images tab."""
        files.write_bytes(self.folder / "figures" / f"{name}.png", style.to_png(figure))
        self.figure(name, style.to_pixels(figure), text=text)

    def show_moving(self, name: str, steps: Sequence[int], frames: Sequence[np.ndarray]) -> None:
        """Writes `figures/<name>.gif`, a frame a step, and shows each frame in the Images tab.

        Args:
            name: of the file, and with `_by_epoch` in the Images tab.
            steps: number of each frame, such as its epoch.
            frames: uint8 (height, width, 3) each; smaller ones are filled up with white.
        """
        size = np.max([frame.shape[:2] for frame in frames], axis=0)
        whole = np.full((len(frames), *size, 3), 255, np.uint8)
        for room, frame in zip(whole, frames, strict=True):
            room[: frame.shape[0], size[1] - frame.shape[1] :] = frame
        files.write_bytes(self.folder / "figures" / f"{name}.gif", pillow_pixels.encode_gif(whole))
        for step, frame in zip(steps, whole, strict=True):
            self.figure(f"{name}_by_epoch", frame, step=step)

    def text(self, name: str, markdown: str, *, step: int = 0) -> None:
        """Shows a text in the Text tab."""
        with self._writer.as_default():
            tf.summary.text(name, tensorflow_startup.printable(markdown), step=step)

    def tables(self, settings: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
        """Shows a run's settings and its numbers in the Text tab."""
        self.text("settings", markdown_table(settings, ("setting", "value")))
        self.text("numbers", markdown_table(numbers, ("number", "value")))

    def graph(self, model: Any) -> None:
        """Shows a functional model's operations in the Graphs tab.

        What Keras's own callback writes there TensorBoard 2.21 calls malformed.
        """
        specification = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        function = tf.function(lambda inputs: model(inputs, training=False), autograph=False)
        with self._writer.as_default():
            tf.summary.graph(function.get_concrete_function(specification).graph)

    def scalars(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Shows final numbers in the Scalars tab; those that are not finite are left out."""
        with self._writer.as_default():
            for name, value in values.items():
                if math.isfinite(value):
                    tf.summary.scalar(name, value, step=step)

    def hyperparameters(self, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Enters the run into the HParams tab, with the numbers that it is compared by."""
        printable = tensorflow_startup.printable
        plain = {
            key: value if isinstance(value, bool | int | float) else printable(str(value))
            for key, value in settings.items()
            if value is not None
        }
        with self._writer.as_default():
            hparams.hparams_config(
                hparams=[hparams.HParam(key) for key in plain],
                metrics=[hparams.Metric(name, display_name=name) for name in metrics],
            )
            hparams.hparams(plain, trial_id=self.folder.name)
        self.scalars(metrics)

    def trials(
        self, domains: Mapping[str, Sequence[Any] | tuple[float, float]], metrics: Sequence[str]
    ) -> None:
        """Tells the HParams tab about trials in sub-folders, as `write_domains` does."""
        with self._writer.as_default():
            _describe_trials(domains, metrics)

    def projector(
        self,
        codes: np.ndarray,
        thumbnails: np.ndarray,
        labels: Sequence[str] | None,
    ) -> None:
        """Shows codes in the Projector tab, each with its image and label.

        The tab reads a folder of its own which must itself be a run: it holds an event file too.

        Args:
            codes: (num_codes, latent_dim), float32.
            thumbnails: (num_codes, height, width, channels), as `images.grid` takes them. As many
                are shown as fit into a picture of 8192 pixels a side.
            labels: one a code, or None; then the points are numbered.
        """
        height, width = thumbnails.shape[1:3]
        columns = min(MOST_SPRITE_SIDE // width, math.ceil(math.sqrt(len(codes))))
        shown = min(len(codes), columns * (MOST_SPRITE_SIDE // height))
        codes, thumbnails = codes[:shown], thumbnails[:shown]
        folder = self.folder / "projector"
        # The sprite is read by position: no gaps between the images, rows filled from the left.
        sprite = images_module.grid(thumbnails, columns=columns, padding=0)
        files.write_bytes(folder / "sprite.png", images_module.encode_png(sprite))
        lines = "\n".join("\t".join(f"{value:.6g}" for value in code) for code in codes)
        files.write_bytes(folder / "codes.tsv", (lines + "\n").encode())
        names = [str(index) for index in range(shown)] if labels is None else labels[:shown]
        printable = (tensorflow_startup.printable(str(name)).split() for name in names)
        # One column must have no header row; two must have one.
        cleaned = "".join(f"{' '.join(words) or '-'}\n" for words in printable)
        files.write_bytes(folder / "labels.tsv", cleaned.encode())
        settings = projector.ProjectorConfig()
        embedding = settings.embeddings.add(
            tensor_name="codes", tensor_path="codes.tsv", metadata_path="labels.tsv"
        )
        embedding.sprite.image_path = "sprite.png"
        embedding.sprite.single_image_dim.extend([width, height])
        files.write_bytes(folder / "projector_config.pbtxt", str(settings).encode())
        if not any(folder.glob("events.*")):
            writer = tf.summary.create_file_writer(str(folder))
            with writer.as_default():
                tf.summary.text("projector", f"{shown} codes, each with its image", step=0)
            writer.close()

    def __enter__(self) -> TensorBoardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


def markdown_table(rows: Mapping[str, Any], header: tuple[str, str]) -> str:
    """A two-column table; numbers to four significant digits."""
    lines = [f"| {header[0]} | {header[1]} |", "| --- | --- |"]
    for name, value in rows.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def write_domains(
    folder: Path, domains: Mapping[str, Sequence[Any] | tuple[float, float]], metrics: Sequence[str]
) -> None:
    """Tells the HParams tab of a search what its trials choose from and are compared by.

    Args:
        folder: that holds a folder a trial; what lay there is removed.
        domains: setting -> its values, or (least, most).
        metrics: tags of scalars, each a column.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with tf.summary.create_file_writer(str(folder)).as_default() as writer:
        _describe_trials(domains, metrics)
        writer.close()


def _describe_trials(
    domains: Mapping[str, Sequence[Any] | tuple[float, float]], metrics: Sequence[str]
) -> None:
    hparams.hparams_config(
        hparams=[
            hparams.HParam(
                name,
                hparams.RealInterval(*domain)
                if isinstance(domain, tuple)
                else hparams.Discrete(list(domain)),
            )
            for name, domain in domains.items()
        ],
        metrics=[hparams.Metric(name, display_name=name) for name in metrics],
    )


def write_trial(
    folder: Path,
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
    history: Mapping[str, Sequence[float]],
) -> None:
    """Enters a trial into the HParams tab, and its learning curve under the tags of a run's.

    Args:
        folder: of the trial; what an earlier attempt left there is removed.
        settings: what was chosen; int, float, bool or str.
        metrics: what it is compared by.
        history: `loss` and `val_loss`, a value an epoch.
    """
    shutil.rmtree(folder, ignore_errors=True)
    _write_curves(folder, settings, {name: ([0], [value]) for name, value in metrics.items()})
    for part, column in (("train", "loss"), ("validation", "val_loss")):
        losses = history.get(column, [])
        _write_curves(folder / part, {}, {"epoch_loss": (range(len(losses)), losses)})


def write_part(
    folder: Path,
    part: str,
    settings: Mapping[str, Any],
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
) -> None:
    """Enters a trial into the HParams tab, with what one of its parts gave beside the others.

    The parts share one run: of more than 40 runs TensorBoard shows no picture until one is ticked.

    Args:
        folder: of the trial.
        part: its name; what an earlier attempt left of it is removed.
        settings: of the trial, the same in each part; int, float, bool or str.
        curves: tag -> (steps, values), as many of each; what is not finite is left out.
    """
    ending = f".{part}.v2"
    for earlier in folder.glob(f"events.*{ending}"):
        earlier.unlink()
    _write_curves(folder, settings, curves, ending)


def _write_curves(
    folder: Path,
    settings: Mapping[str, Any],
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    ending: str | None = None,
) -> None:
    """Writes one file of events: a trial's settings, if any, and its curves."""
    writer = tf.summary.create_file_writer(str(folder), filename_suffix=ending)
    with writer.as_default():
        if settings:
            hparams.hparams(dict(settings), trial_id=folder.name)
        for tag, (steps, values) in curves.items():
            for step, value in zip(steps, values, strict=True):
                if math.isfinite(value):
                    tf.summary.scalar(tag, value, step=step)
    writer.close()
