"""One export from its start to its end: opened, converted, compared, put in its place."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.export import formats, quantization, run_images
from kerasunsup.export import parts as export_parts
from kerasunsup.export.parts import Part, Parts
from kerasunsup.export.settings import FORMATS, Export, ExportSettings
from kerasunsup.models import export as models_export
from kerasunsup.models.loading import Function
from kerasunsup.settings import path_of
from kerasunsup.training import files

RECORD = "export.json"
_BATCHES = (1, run_images.COMPARED)


@dataclasses.dataclass(frozen=True)
class Job:
    """What every part of an export is made with.

    Attributes:
        parts: of the model.
        settings: the settings of the command line.
        splits: the images of the model's run; None where they are not at hand.
        folder: where files are written until all are.
    """

    parts: Parts
    settings: ExportSettings
    splits: Splits | None
    folder: Path


def run(command: Export) -> None:
    """Does what a command line of `export` says, and prints sizes and differences.

    Raises:
        InputError: if the model or the output cannot be used, or a file differs from its model.
    """
    settings = command.config
    parts = export_parts.open_parts(command.model)
    default = str(parts.default_output(settings.folder_name))
    output = command.output or path_of("MODEL", default)
    identity = {
        "model": parts.fingerprint,
        "format": settings.format,
        "int8": settings.int8,
        "calibration": settings.num_calibration if settings.int8 else None,
    }
    if _is_done(output, identity):
        print(f"{output} is done already: there is nothing to do", flush=True)
        return
    if settings.int8:
        try:
            splits: Splits | None = run_images.splits_of_run(parts)
        except InputError as error:
            raise InputError(f"--int8 is calibrated on training images: {error}") from error
    else:
        splits = run_images.splits_at_hand(parts)
    with _whole_folder(output) as folder:
        job = Job(parts, settings, splits, folder)
        write = _write_int8 if settings.int8 else _write_float
        written = {part.name: write(part, job) for part in parts.parts}
        record = {**identity, **_record(job), "parts": written}
        files.write_json(folder / RECORD, record)
    print(f"\neverything is in {output}", flush=True)


def _is_done(output: Path, identity: dict[str, Any]) -> bool:
    """Whether the output holds this very export.

    Raises:
        InputError: if it holds something else.
    """
    if not output.is_dir():
        if output.exists() or output.is_symlink():
            raise InputError(f"--output {output} is no folder: choose another")
        return False
    if not any(output.iterdir()):
        return False
    path = output / RECORD
    record = files.read_json(path) if path.is_file() else {}
    if isinstance(record, dict) and record.keys() >= {*identity, "parts"}:
        is_same = all(record[key] == value for key, value in identity.items())
        try:
            names = [name for part in record["parts"].values() for name in part["files"]]
        except (AttributeError, LookupError, TypeError) as error:
            raise InputError(f"{path} is damaged (its parts have no files): remove it") from error
        if is_same and all((output / name).exists() for name in names):
            return True
        what = "another export" if not is_same else "an export that has lost files"
    else:
        what = "files that are no export"
    raise InputError(
        f"--output {output} holds {what} and is never overwritten: choose another folder, or "
        "remove it"
    )


@contextlib.contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """A temporary folder beside the output that takes its name when all went well, or goes."""
    output = Path(os.path.abspath(output))  # `.` has no name to put another beside
    temporary = output.with_name(files.part_name(output.name))
    new_parents = [parent for parent in output.parents if not parent.exists()]
    try:
        temporary.mkdir(parents=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"--output {output} cannot be a folder ({error.strerror}): choose another"
        ) from None
    try:
        yield temporary
        try:
            os.rename(temporary, output)  # never replaces a folder that holds something
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise InputError(
                f"--output {output} was made by another process meanwhile: look at it, or choose "
                "another"
            ) from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in new_parents:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _write_float(part: Part, job: Job) -> dict[str, Any]:
    """Writes one part and compares it; returns what the record says of it."""
    inputs = _compared_inputs(part, job)
    path = formats.write(part, job.settings.format, job.folder, inputs[:4])
    function = formats.load(part, job.settings.format, path)
    differences = {
        f"batch_{number}": _difference(part, function, inputs[:number]) for number in _BATCHES
    }
    said = _said(part, path, job)
    for name, difference in differences.items():
        if not difference < models_export.TOLERANCE:
            raise InputError(
                f"the {part.name} as {job.settings.format} differs from the Keras model by "
                f"{difference:.2g} at {name.replace('_', ' ')}, less than "
                f"{models_export.TOLERANCE:g} is allowed: nothing was written; choose another "
                "--format"
            )
    told = ", ".join(
        f"{value:.1e} at {name.replace('_', ' ')}" for name, value in differences.items()
    )
    print(f"{path.name}: {_size(said['bytes'])}, differs by {told}", flush=True)
    return {**said, "difference": differences}


def _difference(part: Part, function: Function, inputs: np.ndarray) -> float:
    result, expected = function(inputs), part.reference(inputs)
    if result.shape != expected.shape:
        raise InputError(
            f"the {part.name} gives {result.shape} for {len(inputs)} rows, the Keras model "
            f"{expected.shape}: nothing was written; choose another --format"
        )
    return models_export.largest_difference(result, expected)


def _write_int8(part: Part, job: Job) -> dict[str, Any]:
    """Writes one part in integers and measures what it loses; returns what the record says."""
    if job.splits is None:
        raise ValueError("integers are calibrated on images")
    number = job.settings.num_calibration
    calibration = quantization.calibration_of(part, job.parts, job.splits, number)
    path = formats.write_int8(part, job.folder, calibration)
    function = formats.load(part, "litert", path)
    ranges = formats.quantization_of(path)
    _check_batches(part, function, _compared_inputs(part, job), ranges["output"][0])
    loss = quantization.loss_of(part, function, job.parts, job.splits)
    if not all(np.isfinite(value) for value in loss.values()):
        raise InputError(f"the {part.name} in integers gives no finite numbers: leave --int8 out")
    said = _said(part, path, job)
    told = ", ".join(f"{name} {value:.4g}" for name, value in loss.items())
    print(f"{path.name}: {_size(said['bytes'])}, {told}", flush=True)
    return {
        **said,
        "calibrated_on": len(calibration),
        "quantization": ranges,
        "quality": loss,
    }


def _check_batches(part: Part, function: Function, inputs: np.ndarray, step: float) -> None:
    """Refuses integers that depend on the size of the batch; one step of rounding is allowed."""
    difference = float(np.max(np.abs(function(inputs[:1]) - function(inputs)[:1])))
    if not difference < 1.5 * step:
        raise InputError(
            f"the {part.name} in integers differs from itself by {difference:.2g} between batches "
            f"of 1 and {len(inputs)}: nothing was written; leave --int8 out"
        )


def _compared_inputs(part: Part, job: Job) -> np.ndarray:
    images = None
    if job.splits is not None:
        test = job.splits.test
        images = test.array(np.arange(min(len(test), run_images.COMPARED)))
    return run_images.inputs_for(part, images, job.parts.get("encoder"), run_images.COMPARED)


def _said(part: Part, path: Path, job: Job) -> dict[str, Any]:
    """What the record says of every part."""
    written = sorted(job.folder.glob(f"{part.name}{'' if path.is_dir() else '.*'}"))
    output_shape = part.model.outputs[0].shape[1:]
    return {
        "files": [file.name for file in written],
        "bytes": sum(_bytes_of(file) for file in written),
        "input": {"name": part.input, "shape": [None, *part.input_shape]},
        "output": {"name": part.output, "shape": [None, *output_shape]},
    }


def _bytes_of(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())


def _size(number: int) -> str:
    return f"{number / 1e6:.2f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB"


def _record(job: Job) -> dict[str, Any]:
    """What the record says of the whole export."""
    splits = job.splits
    compared = "random images" if splits is None else f"test images of {splits.name}"
    packages = ("kerasunsup", "keras", "tensorflow", *FORMATS[job.settings.format])
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "compared_on": compared,
        "tolerance": None if job.settings.int8 else models_export.TOLERANCE,
        "versions": versions,
    }
