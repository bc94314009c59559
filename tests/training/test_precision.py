"""`--precision auto`: timed once where it is worth while, and kept."""

import dataclasses
import json

import numpy as np
import pytest

from kerasunsup.ae import experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.pixel_storage import MemoryStore
from kerasunsup.data.splits import Splits
from kerasunsup.settings import Command, to_json
from kerasunsup.training import loop, precision

IMAGES = ImageSet(
    MemoryStore(np.random.default_rng(0).integers(0, 255, (64, 16, 16, 1)).astype(np.uint8))
)
SPLITS = Splits(IMAGES, IMAGES, IMAGES, "few", None, None)
LONG = AutoencoderSettings(
    precision="auto", latent_dim=2, filters=(2,), hidden_units=4, batch_size=16, epochs=100_000
)


@pytest.fixture
def timed(monkeypatch):
    """How long steps take on a made-up machine with bfloat16, and how often they are timed."""
    seconds = {"float32": 1.0, "mixed_bfloat16": 0.5, "times": 0}

    def measure(build, element):
        seconds["times"] += 1
        return {name: seconds[name] for name in ("float32", "mixed_bfloat16")}

    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "seconds_a_step", measure)
    return seconds


def decided(settings, logs=None):
    return precision.decided(settings, SPLITS, experiment.build, None, logs).precision


def test_the_faster_one_is_chosen_and_kept_beside_the_logs(timed, tmp_path, capsys):
    assert decided(LONG, tmp_path) == "mixed_bfloat16"
    assert "2.00 times as fast" in capsys.readouterr().out
    for change in ({"seed": 7, "learning_rate": 0.1}, {"noise": 0.4}, {"crop": 8}):
        assert decided(dataclasses.replace(LONG, **change), tmp_path) == "mixed_bfloat16"
    assert timed["times"] == 1
    (measured,) = json.loads((tmp_path / "precision.json").read_text()).values()
    assert measured["seconds"] == {"float32": 1.0, "mixed_bfloat16": 0.5}
    timed["mixed_bfloat16"] = 0.97  # another network, another answer: too little is noise
    assert decided(dataclasses.replace(LONG, hidden_units=8), tmp_path) == "float32"
    assert timed["times"] == 2


def test_what_is_fixed_short_or_repeatable_is_not_timed(timed, tmp_path):
    changes = [{"precision": name} for name in ("float32", "mixed_bfloat16")]
    changes += [{"epochs": 2}, {"deterministic": True}, {"strategy": "mirrored"}]
    chosen = [decided(dataclasses.replace(LONG, **change), tmp_path) for change in changes]
    assert chosen == ["float32", "mixed_bfloat16", "float32", "float32", "float32"]
    assert timed["times"] == 0
    assert list(tmp_path.iterdir()) == []


def test_what_leaves_no_run_is_timed_each_time_it_is_long(timed):
    answers = [precision.fastest(None, None, num_steps) for num_steps in (2999, 3000, 3000)]
    assert answers == ["float32", "mixed_bfloat16", "mixed_bfloat16"]
    assert timed["times"] == 2


def test_without_instructions_float32_stays(timed, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    assert decided(LONG) == "float32"
    assert timed["times"] == 0


def test_both_are_timed_on_the_network_itself():
    element = (IMAGES.array(range(16)),) * 2
    with loop.machine(LONG):
        seconds = precision.seconds_a_step(lambda: experiment.build(LONG, IMAGES.shape), element)
    assert set(seconds) == {"float32", "mixed_bfloat16"}
    assert min(seconds.values()) > 0.0


def test_a_run_that_goes_on_keeps_what_it_began_with(timed, tmp_path):
    run = tmp_path / "ae" / "begun"
    run.mkdir(parents=True)
    begun = dataclasses.replace(LONG, precision="float32")
    (run / "config.json").write_text(json.dumps(to_json(begun)))
    for resume, expected in ((True, "float32"), (False, "mixed_bfloat16")):
        command = Command("ae", LONG, tmp_path, "begun", resume, ())
        found = precision.of_command(command, SPLITS, experiment.build, None)
        assert found.config == dataclasses.replace(LONG, precision=expected)
