"""The settings of `export` with their defaults, and what each format needs. Start here."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

from kerasunsup.errors import InputError
from kerasunsup.settings import CheckedSettings, setting

# Format -> the packages that it needs beside TensorFlow, by the names that they are imported by;
# they are installed by the same names.
FORMATS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "litert": (),
    "openvino": ("openvino",),
    "savedmodel": (),
}

# On the study's autoencoder 20 to 2,000 images gave a test MSE of 0.00413 to 0.00422, without
# integers 0.00398: see docs/export.md.
_CALIBRATION = 500


@dataclasses.dataclass(frozen=True)
class ExportSettings(CheckedSettings):
    """The settings of an export.

    Raises:
        InputError: if a value is wrong, or two do not go together.
    """

    format: str = setting(dataclasses.MISSING, "the files to write", choices=tuple(FORMATS))
    int8: bool = setting(
        False,
        "for litert: 8-bit integers throughout, calibrated on training images; what is lost by it"
        " is measured on test images",
        switch=True,
    )
    calibration: int | None = setting(
        None, f"calibrate --int8 on N training images ({_CALIBRATION})", least=1, most=60_000
    )

    def __post_init__(self) -> None:
        """Checks each value, then which values go together."""
        super().__post_init__()
        if self.int8 and self.format != "litert":
            raise InputError(
                f"--int8 is for --format litert, received --format {self.format}: leave it out"
            )
        if self.calibration is not None and not self.int8:
            raise InputError("--calibration is for --int8: add --int8, or leave it out")

    @property
    def num_calibration(self) -> int:
        """The number of images that `--int8` is calibrated on."""
        return _CALIBRATION if self.calibration is None else self.calibration

    @property
    def folder_name(self) -> str:
        """What the folder of the files is called where `--output` does not say."""
        return f"{self.format}_int8" if self.int8 else self.format


@dataclasses.dataclass(frozen=True)
class Export:
    """One parsed command line of `export`."""

    model: Path
    output: Path | None  # None: a folder beside the model, named after the format
    config: ExportSettings


def check_installed(file_format: str) -> None:
    """Refuses a format whose packages are not installed.

    Raises:
        InputError: that says what to install.
    """
    needed = FORMATS[file_format]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"--format {file_format} needs {' and '.join(missing)}, not installed here: "
            f"pip install {' '.join(needed)} (or this package with its extra [{file_format}])"
        )
