"""What the README says is what the program takes and what was measured."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from kerasunsup import config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = json.loads((ROOT / "docs" / "ae_reference.json").read_text(encoding="utf-8"))["runs"]
SPEED = json.loads((ROOT / "docs" / "training_speed.json").read_text(encoding="utf-8"))["rows"]


def row(start: str) -> list[str]:
    """The cells of the one table row that begins so."""
    (line,) = [line for line in README.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_two_commands_come_first():
    blocks = re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    assert blocks[0].splitlines() == [
        "pip install -e . && python -m kerasunsup.ae",
        "pip install -e '.[test]' && python -m pytest",
    ]


@pytest.mark.parametrize(
    "line",
    sorted(set(re.findall(r"python -m kerasunsup\.ae(?: [^`\n]*)?", README))),
)
def test_every_command_line_is_understood(line, tmp_path):
    arguments = shlex.split(line)[3:]
    resumes = "--resume" in arguments
    if resumes:  # it needs a run that stands there
        folder = tmp_path / "ae" / "RUN"
        folder.mkdir(parents=True)
        stored = config.to_json(config.AutoencoderConfig())
        (folder / "config.json").write_text(json.dumps(stored))
        arguments += ["--logs", str(tmp_path)]
    if "--help" in arguments:
        with pytest.raises(SystemExit) as ended:
            parse(arguments)
        assert ended.value.code == 0
    else:
        assert parse(arguments).resume is resumes


def parse(arguments: list[str]) -> config.Command:
    return config.parse(
        "ae", config.AutoencoderConfig, description="", quick={}, search={}, argv=arguments
    )


def test_every_picture_is_there():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert len(pictures) >= 7
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture


def test_result_table_is_the_reference_run():
    numbers = REFERENCE["reference"]
    assert row("mean squared error")[:2] == [
        f"{numbers['test/mse']:.5f}",
        f"{numbers['pca/mse']:.5f}",
    ]
    assert row("PSNR, dB")[0] == f"{numbers['test/psnr_db']:.2f}"
    assert row("SSIM")[0] == f"{numbers['test/ssim']:.3f}"


def test_restoration_table_is_the_reference_runs():
    names = ("noise_0.2", "noise_0.4", "noise_0.6", "crop_8", "crop_12")
    for start, run in (
        ("clean images", "reference"), ("`--noise 0.4`", "noise"), ("`--crop 8`", "crop"),
    ):  # fmt: skip
        numbers = REFERENCE[run]
        gains = [f"{numbers[f'{name}/gain_db']:.1f}" for name in names]
        assert row(start) == [*gains, f"{numbers['test/mse']:.5f}"]


def test_sample_table_is_the_reference_run():
    numbers = REFERENCE["reference"]
    for start, name in (
        ("real training images", "real"), ("reconstructions", "reconstructed"),
        ("random integers (the study)", "integers"), ("one Gaussian", "gaussian"),
        ("mixture of 10", "mixture_10"), ("mixture of 100", "mixture_100"),
    ):  # fmt: skip
        assert row(start) == [
            f"{numbers[f'{name}/fid']:.1f}", f"{numbers[f'{name}/classifier_score']:.2f}",
            f"{numbers[f'{name}/precision']:.2f}", f"{numbers[f'{name}/recall']:.2f}",
        ]  # fmt: skip


def test_reference_run_meets_what_the_study_led_us_to_expect():
    assert REFERENCE["reference"]["test/mse"] <= 0.0043
    assert REFERENCE["noise"]["noise_0.4/gain_db"] >= 8.0
    assert REFERENCE["reference"]["mixture_100/fid"] < REFERENCE["reference"]["integers/fid"] / 10


def test_speed_table_is_the_measurement():
    for name, measured in SPEED.items():
        assert row(name) == [f"{measured['images_per_second']:,.0f}", f"{measured['ratio']:.2f}"]
