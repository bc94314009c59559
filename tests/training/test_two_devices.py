"""Training on two devices: one process, whose processor is split into two logical ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import processes
import pytest

_SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
assert len(tf.config.list_logical_devices("CPU")) == 2
import importlib, killed_runs, pytest
experiment = importlib.import_module(f"kerasunsup.{sys.argv[2]}.experiment")
command = importlib.import_module(f"kerasunsup.{sys.argv[2]}.__main__")
with pytest.MonkeyPatch.context() as patch:
    killed_runs.shorten_reports(patch, experiment)
    for arguments in json.loads(sys.argv[3]):
        assert command.main(arguments) == 0
"""


def on_two_devices(folder: Path, experiment: str, *runs: list[str]) -> None:
    """Runs a command, without its report, so often on two devices, with data of 16 x 16 pixels.

    Of the 27 validation images two devices cannot take equal shares.

    TensorFlow mixes the collectives of two mirrored runs in one process up: one at most.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 1), np.uint8)
    pixels[::2, :8] //= 4
    np.savez(folder / "images.npz", images=pixels)
    shared = [
        "--data", str(folder / "images.npz"), "--test-limit", "27", "--logs", str(folder),
        "--epochs", "2", "--batch-size", "64", "--hidden-units", "8", "--num-samples", "100",
    ]  # fmt: skip
    commands = json.dumps([[*shared, *arguments] for arguments in runs])
    tests = str(Path(processes.__file__).parent)
    processes.finished([sys.executable, "-c", _SCRIPT, tests, experiment, commands])


@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        pytest.param("variational", marks=pytest.mark.slow("kerasunsup/models/variational.py")),
    ],
)
def test_two_devices_train_as_one_does(tmp_path, kind):
    same = ["--filters", "2", "--latent-dim", "2", "--noise", "0.3", "--deterministic"]
    same += ["--variational"] if kind == "variational" else []
    mirrored = ["--name", "two", "--strategy", "mirrored"]
    on_two_devices(tmp_path, "ae", [*same, "--name", "one"], [*same, *mirrored])
    one, two = (processes.arrays_of(tmp_path / "ae" / name) for name in ("one", "two"))
    for name in ("history/loss", "history/val_loss"):
        np.testing.assert_allclose(two[name], one[name], rtol=2e-3)


# Without it `tests/models/test_gan.py` compares one update on two devices with that on one.
@pytest.mark.slow("kerasunsup/gan/", "kerasunsup/models/gan.py", "kerasunsup/training/loop.py")
def test_a_gan_on_two_devices_reaches_the_end(tmp_path):
    small = ["--base-filters", "2", "--noise-dim", "3", "--measure-every", "2"]
    on_two_devices(tmp_path, "gan", [*small, "--name", "two", "--strategy", "mirrored"])
    state = processes.arrays_of(tmp_path / "gan" / "two")
    assert (state["history/discriminator_loss"] < 3.0).all()  # a mean, not a sum over replicas
    assert np.isfinite(state["history/kid"][-1])
