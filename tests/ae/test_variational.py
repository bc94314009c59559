"""`ae --variational`: what it leaves beside a plain run, goes on, is searched and is opened."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import killed_runs
import numpy as np
import processes
import pytest
import search_problems
import tensorflow as tf

from kerasunsup.ae import __main__ as ae
from kerasunsup.ae import experiment, results, search
from kerasunsup.models import loading, variational
from kerasunsup.search import session, trials

# Of data of 16 x 16 pixels.
TINY = [
    "--variational", "--filters", "2", "--hidden-units", "4", "--latent-dim", "3",
    "--batch-size", "16", "--num-codes", "10", "--num-samples", "100", "--warm-up", "2",
]  # fmt: skip
SETTINGS = dataclasses.replace(search_problems.SETTINGS, variational=True, beta=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (250, 16, 16, 1), np.uint8)
    pixels[::2, :8] //= 4
    np.savez(path, images=pixels)
    return path


def arguments(data: Path, logs: Path, name: str, *more: str) -> list[str]:
    return ["--data", str(data), "--logs", str(logs), "--name", name, *TINY, *more]


def test_a_run_leaves_its_parts_apart_and_a_model_that_samples(
    data, tmp_path, monkeypatch, small_figures
):
    monkeypatch.setattr(results, "_SIGMAS", (0.4,))
    monkeypatch.setattr(results, "_HOLES", (4,))
    assert ae.main(arguments(data, tmp_path, "one", "--epochs", "2", "--beta", "0.5")) == 0
    run = tmp_path / "ae" / "one"
    numbers = json.loads((run / "metrics.json").read_text())
    assert {"normal/fid", "mixture_100/fid", "variational/reconstruction"} <= set(numbers)
    assert numbers["variational/kl_per_unit"] == pytest.approx(numbers["variational/kl"] / 3)
    assert 0 <= numbers["variational/active_units"] <= 3
    header, *rows = (run / "history.csv").read_text().splitlines()
    history = {
        name: [float(row.split(",")[column]) for row in rows]
        for column, name in enumerate(header.split(","))
    }
    for part in ("", "val_"):
        loss, error, kl = (history[f"{part}{name}"] for name in ("loss", "reconstruction", "kl"))
        np.testing.assert_allclose(loss, np.add(error, np.multiply(0.5, kl)), rtol=1e-5)
    best = int(numbers["best_epoch"]) - 1
    assert numbers["validation/mse"] == pytest.approx(history["val_mse"][best])
    assert numbers["variational/kl"] == pytest.approx(history["val_kl"][best], rel=1e-4)
    assert {"variational", "samples_normal"} <= {path.stem for path in run.glob("figures/*.png")}

    model = keras.models.load_model(run / "model.keras")  # of Keras's own layers alone
    noise = np.random.default_rng(0).standard_normal((5, 3), np.float32)
    loaded = tf.saved_model.load(str(run / "export"))
    sampled = loaded.signatures["sample"](noise=tf.constant(noise))["images"]
    np.testing.assert_allclose(sampled, model.get_layer("decoder")(noise), atol=1e-5)
    posterior = keras.models.load_model(run / "posterior.keras")
    pictures = np.random.default_rng(1).random((4, 16, 16, 1), np.float32)
    means, logs = posterior(pictures)
    codes = loading.open_model(run).function("encode")(pictures)
    np.testing.assert_allclose(codes, means, atol=1e-5)
    assert logs.shape == (4, 3)


def test_a_run_that_goes_on_in_its_warm_up_ends_as_one_that_did_not_stop(
    data, tmp_path, monkeypatch
):
    killed_runs.shorten_reports(monkeypatch, experiment)
    same = ["--deterministic", "--warm-up", "3"]
    assert ae.main(arguments(data, tmp_path, "straight", *same, "--epochs", "4")) == 0
    stop = experiment.loop.callbacks.Checkpoint.on_epoch_end

    def stopped(self, epoch, logs=None):
        stop(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment.loop.callbacks.Checkpoint, "on_epoch_end", stopped)
        assert ae.main(arguments(data, tmp_path, "stopped", *same, "--epochs", "4")) == 130
    assert ae.main(["--resume", "--name", "stopped", "--logs", str(tmp_path)]) == 0
    one, two = (processes.arrays_of(tmp_path / "ae" / name) for name in ("straight", "stopped"))
    assert set(one) == set(two)
    for name, value in one.items():
        np.testing.assert_array_equal(two[name], value, err_msg=name)


def test_a_longer_run_keeps_the_shares_of_beta_that_it_had(data, tmp_path, monkeypatch, capsys):
    killed_runs.shorten_reports(monkeypatch, experiment)
    assert ae.main(arguments(data, tmp_path, "run", "--epochs", "2", "--patience", "0")) == 0
    config = tmp_path / "ae" / "run" / "config.json"
    assert json.loads(config.read_text())["warm_up"] == 2
    longer = ["--resume", "--name", "run", "--logs", str(tmp_path), "--epochs"]
    assert ae.main([*longer, "3"]) == 0
    stored = json.loads(config.read_text())
    assert (stored["epochs"], stored["warm_up"]) == (3, 2)
    # A shorter one would say of itself what it is not.
    assert ae.main([*longer, "2"]) == 2
    assert "this run has 3 epochs already, received --epochs 2" in capsys.readouterr().err
    assert json.loads(config.read_text()) == stored


def test_bfloat16_trains_it_and_what_is_shipped_is_float32(data, tmp_path, monkeypatch):
    killed_runs.shorten_reports(monkeypatch, experiment)
    given = arguments(data, tmp_path, "half", "--epochs", "1", "--precision", "mixed_bfloat16")
    assert ae.main(given) == 0
    assert json.loads((tmp_path / "ae" / "half" / "metrics.json").read_text())["weights"] > 0


def test_trials_are_compared_by_the_loss_beside_that_of_a_linear_model(tmp_path):
    given = search_problems.command(tmp_path, settings=SETTINGS)
    problem = search_problems.problem(given)
    assert problem.objective == "loss in nats"
    plain = search.problem(search_problems.command(tmp_path), search_problems.splits())
    pixels = 8 * 8
    scale = pixels / (2 * variational.PIXEL_VARIANCE)
    assert problem.reference(4) > plain.reference(4) * scale
    runner = search_problems.trial_runner(SETTINGS)
    first = runner.train(trials.Task(SETTINGS, 1, 0, 2))
    other = runner.train(trials.Task(dataclasses.replace(SETTINGS, learning_rate=0.01), 2, 0, 1))
    again = runner.train(trials.Task(SETTINGS, 1, 0, 2))
    assert runner.num_compiled == 1
    assert first.history == again.history != other.history
    # Of noise a network of a few steps is no better than a linear one, but of its size.
    assert 0.5 < first.error / problem.reference(4) < 5.0


def test_a_plain_search_is_the_one_that_it_was_before(tmp_path):
    def settings_of(settings):
        given = search_problems.command(tmp_path, settings=settings)
        return set(session.Search(given, search_problems.problem(given)).fingerprint()["settings"])

    assert settings_of(SETTINGS) - settings_of(search_problems.SETTINGS) == {
        "variational", "beta", "warm_up",
    }  # fmt: skip
