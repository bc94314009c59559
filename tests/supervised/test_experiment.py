"""The command `supervised`, from the command line to everything that it leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from kerasunsup.data import images
from kerasunsup.data import splits as data_splits
from kerasunsup.errors import InputError
from kerasunsup.settings import read_config
from kerasunsup.supervised import __main__ as supervised
from kerasunsup.supervised import cells, network_trainer, results
from kerasunsup.supervised.settings import (
    METHOD_NAMES,
    TRAINED,
    SupervisedSettings,
)
from kerasunsup.training import files, tensorboard
from kerasunsup.training.run_folder import Run

FIGURES = {"confusion", "label_efficiency", "learning_speed", "mistakes", "reliability"}

# Each step of the way once: no network that is trained like another one.
METHODS = ("frozen", "finetuned", "scratch", "neighbors", "graph")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    """Arguments of a small run: 400 images of 16 x 16 with a bright bar, whose row is the class."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    labels = np.arange(400) % 10
    pixels = np.random.default_rng(0).integers(0, 120, (400, 16, 16), np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        picture[label + 2 : label + 5] += 40
    np.savez(path, images=pixels, labels=labels)
    return [
        "--data", str(path), "--encoder-epochs", "2", "--labels", "10", "100", "--epochs", "1",
        "--steps", "8", "--repetitions", "2",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small) -> Path:
    """The folder of a run which trains its own encoder."""
    logs = tmp_path_factory.mktemp("logs")
    arguments = [*small, "--logs", str(logs), "--name", "first", "--arms", *METHODS]
    assert supervised.main(arguments) == 0
    return logs / "supervised" / "first"


@pytest.fixture(scope="module")
def encoder(finished) -> Path:
    """A finished autoencoder run: the one that the run trained."""
    (run,) = (finished.parent.parent / "ae").iterdir()
    return run


@pytest.fixture(scope="module")
def splits(finished) -> data_splits.Splits:
    settings = SupervisedSettings(**read_config(SupervisedSettings, finished / "config.json"))
    return data_splits.load(settings)


def numbers_of(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text())


def test_a_run_leaves_what_the_interface_promises(finished):
    assert {path.name for path in finished.iterdir()} >= {
        "config.json", "environment.json", "history.csv", "metrics.json", "figures",
        "checkpoints", "model.keras", "export", "report", "arms", "README.md",
    }  # fmt: skip
    assert {path.stem for path in (finished / "figures").glob("*.png")} == FIGURES
    for path in (finished / "figures").glob("*.png"):
        assert min(images.decode(path).shape[:2]) > 40, path
    assert not list(finished.rglob("*.part*"))


def test_numbers_have_the_promised_names(finished, splits):
    numbers = numbers_of(finished)
    assert "test/accuracy" in numbers
    for labels in (10, 100):
        for method in METHODS:
            assert f"labels_{labels}/{method}_accuracy" in numbers
            assert f"labels_{labels}/{method}_accuracy_std" in numbers
            assert 0.0 <= numbers[f"labels_{labels}/{method}_validation_accuracy"] <= 1.0
        assert f"labels_{labels}/finetuned_minus_scratch_low" in numbers
        assert 0.0 <= numbers[f"labels_{labels}/finetuned_minus_scratch_p_holm"] <= 1.0
    assert numbers["labels_100/scratch_accuracy"] > 0.15  # more than a guess
    assert numbers["validation/images"] == len(splits.validation)


def test_a_smoke_run_has_the_settings_of_one():
    settings = supervised.parse(["--quick"]).config
    assert (settings.limit, settings.encoder_epochs, settings.labels) == (1000, 2, (10, 100))


def test_means_and_deviations_are_those_of_the_cells(finished):
    numbers = numbers_of(finished)
    for method in ("scratch", "graph"):
        values = [
            float(files.read_arrays(finished / "checkpoints" / f"{method}-100-{i}.npz")["accuracy"])
            for i in range(2)
        ]
        assert numbers[f"labels_100/{method}_accuracy"] == pytest.approx(np.mean(values))
        assert numbers[f"labels_100/{method}_accuracy_std"] == pytest.approx(np.std(values, ddof=1))
        seen = [
            float(files.read_arrays(path)["validation_accuracy"])
            for path in (finished / "checkpoints").glob(f"{method}-100-*.npz")
        ]
        assert numbers[f"labels_100/{method}_validation_accuracy"] == pytest.approx(np.mean(seen))


def test_the_usual_encoder_is_trained_once_without_labels_and_probes_leave_no_classifier(
    finished, encoder, small, capsys
):
    logs = finished.parent.parent
    assert encoder.name.startswith("encoder-")
    assert "test/mse" in numbers_of(encoder)
    assert not any("fid" in name for name in numbers_of(encoder))  # nothing asks for its samples
    again = ["--logs", str(logs), "--name", "again", "--labels", "100", "0", "--arms", "neighbors"]
    assert supervised.main([*small, *again]) == 0
    output = capsys.readouterr().out
    assert f"encoder: {encoder / 'model.keras'}" in output
    assert "training the usual encoder" not in output
    numbers = numbers_of(logs / "supervised" / "again")
    assert "labels_all/neighbors_accuracy" in numbers
    # A method does not depend on which others there are.
    name = "labels_100/neighbors_accuracy"
    assert numbers[name] == numbers_of(finished)[name]
    assert not (logs / "supervised" / "again" / "export").exists()


def test_the_saved_model_runs_without_the_package(finished):
    script = """
import sys
sys.modules["kerasunsup"] = None
import numpy as np, tensorflow as tf, keras
model = tf.saved_model.load(sys.argv[1] + "/export")
images = np.random.default_rng(0).random((3, 16, 16, 1)).astype(np.float32)
found = model.signatures["classify"](images=tf.constant(images))["probabilities"].numpy()
default = model.signatures["serving_default"](images=tf.constant(images))["probabilities"]
assert found.shape == (3, 10) and found.dtype == np.float32
np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
np.testing.assert_array_equal(found, default.numpy())
loaded = keras.models.load_model(sys.argv[1] + "/model.keras")
np.testing.assert_allclose(loaded.predict(images, verbose=0), found, atol=1e-5)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(finished)], capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr


def test_the_exported_classifier_is_the_one_that_was_measured(finished, splits):
    model = keras.models.load_model(finished / "model.keras")
    predictions = model.predict(splits.test.array(), verbose=0).argmax(axis=1)
    accuracy = float(np.mean(predictions == splits.labels.test))
    assert accuracy == pytest.approx(numbers_of(finished)["test/accuracy"])


def tensorboard_of(folder: Path) -> event_accumulator.EventAccumulator:
    return event_accumulator.EventAccumulator(str(folder)).Reload()


def points_of(events: event_accumulator.EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar, by tag."""
    return {
        tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def test_tensorboard_holds_every_cell_in_one_run_a_method_and_seed(finished):
    runs_shown = {path.parent.relative_to(finished) for path in finished.rglob("events.*")}
    seeds = {Path("arms") / f"{method}-{seed}" for method in METHODS for seed in (0, 1)}
    assert runs_shown == {Path("report"), *seeds}
    for method, seed, size in (("scratch", 1, 100), ("graph", 0, 10)):
        cell = tensorboard_of(finished / "arms" / f"{method}-{seed}")
        assert any("session_start" in tag for tag in cell.PluginTagToContent("hparams"))
        stored = files.read_arrays(finished / "checkpoints" / f"{method}-{size}-{seed}.npz")
        points = points_of(cell)
        ((step, accuracy),) = points[f"labels_{size}/test_accuracy"]
        assert accuracy == pytest.approx(stored["accuracy"])
        if method in TRAINED:
            assert step == stored["curve/images"][-1]
            for name in ("accuracy", "loss"):
                curve = zip(stored["curve/images"], stored[f"curve/{name}"], strict=True)
                assert points[f"labels_{size}/validation_{name}"] == [
                    pytest.approx(point) for point in curve
                ]
        else:
            assert not any("validation" in tag for tag in points)


def test_tensorboard_holds_figures_and_the_columns_of_the_hparams_tab(finished):
    report = tensorboard_of(finished / "report")
    assert (FIGURES | {"settings", "numbers", "test/accuracy"}) <= set(report.Tags()["tensors"])
    content = report.SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert [info.name for info in experiment.hparam_infos] == ["arm", "seed"]
    assert [info.name.tag for info in experiment.metric_infos] == [
        "labels_10/test_accuracy", "labels_100/test_accuracy",
    ]  # fmt: skip


def test_a_run_goes_on_with_what_is_missing_to_the_same_numbers(finished, capsys):
    before = numbers_of(finished)
    (finished / "metrics.json").unlink()
    missing = [finished / "checkpoints" / f"{method}-10-1.npz" for method in ("neighbors", "graph")]
    for path in missing:
        path.unlink()
    shown = {
        method: points_of(tensorboard_of(finished / "arms" / f"{method}-1")) for method in METHODS
    }
    # Killed between a cell's file and its curves: these are entered all the same.
    (entered,) = (finished / "arms" / "scratch-1").glob("events.*.labels_100.*")
    entered.unlink()
    logs = str(finished.parent.parent)
    assert supervised.main(["--resume", "--logs", logs, "--name", "first"]) == 0
    assert "2 to come" in capsys.readouterr().out
    after = numbers_of(finished)
    del before["training_seconds"], after["training_seconds"]
    assert after == pytest.approx(before, nan_ok=True, abs=1e-6)
    for method, points in shown.items():
        assert points_of(tensorboard_of(finished / "arms" / f"{method}-1")) == points


def test_ctrl_c_saves_and_prints_the_line_that_goes_on(
    small, encoder, tmp_path, capsys, monkeypatch
):
    measured = network_trainer.LearningCurve.on_train_batch_end

    def interrupted(curve, batch, logs=None):
        measured(curve, batch, logs)
        if batch == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(network_trainer.LearningCurve, "on_train_batch_end", interrupted)
    # Whatever pytest was started with: a shell's background job ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        arguments = ["--encoder", str(encoder), "--logs", str(tmp_path), "--name", "stopped"]
        methods = ["--labels", "100", "--arms", "neighbors", "scratch"]
        assert supervised.main([*small, *arguments, *methods]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "stopped, 1 trainings are saved" in error
    assert f"python -m kerasunsup.supervised --resume --name stopped --logs {tmp_path}" in error
    run = tmp_path / "supervised" / "stopped"
    assert [path.name for path in run.glob("checkpoints/*.npz")] == ["neighbors-100-0.npz"]
    assert not list(run.rglob("*.part*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "no/such/folder"], ["no/such/folder"]),
        (["--encoder", "none"], ["--encoder none", "no finished autoencoder run"]),
        (["--encoder", __file__], ["--encoder", "cannot be used"]),
        (["--labels", "5"], ["--labels 5", "training images of 10 classes", "from 10 to"]),
        (["--arms", "graph", "--labels", "0"], ["--arms graph", "--labels 0"]),
        (["--arms", "svm"], ["--arms", "frozen"]),
        (["--repetitions", "1"], ["--repetitions must be at least 2"]),
        (["--image-size", "20"], ["16 x 16 x 1", "20 x 20 x 1", "--image-size"]),
        (["--resume", "--name", "other"], ["no supervised run"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(small, encoder, tmp_path, capsys, arguments, words):
    try:
        status = supervised.main(
            [*small, "--logs", str(tmp_path), "--encoder", str(encoder), *arguments]
        )
    except SystemExit as error:  # argparse's own
        status = error.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("kerasunsup supervised: ")
    for word in words:
        assert word in error
    assert not (tmp_path / "supervised").exists()


def test_data_without_labels_is_refused_with_what_to_do(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 16, 16), np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels)
    assert supervised.main(["--data", str(tmp_path / "x.npz"), "--logs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has no labels" in error
    assert "one sub-folder a class" in error


def test_few_images_and_one_test_image_leave_numbers(small, encoder, tmp_path):
    labels = np.array([3, 8] * 14 + [9])  # one image of the last class
    pixels = np.random.default_rng(0).integers(0, 256, (29, 16, 16, 1), np.uint8)
    np.savez(tmp_path / "few.npz", images=pixels, labels=labels)
    arguments = [
        *small, "--data", str(tmp_path / "few.npz"), "--encoder", str(encoder),
        "--test-limit", "1", "--labels", "4", "0", "--logs", str(tmp_path), "--name", "few",
        "--arms", "frozen", "linear_probe", "neighbors", "mixture", "graph",
    ]  # fmt: skip
    assert supervised.main(arguments) == 0
    numbers = numbers_of(tmp_path / "supervised" / "few")
    for method in ("frozen", "linear_probe", "neighbors", "mixture", "graph"):
        assert numbers[f"labels_4/{method}_accuracy"] in (0.0, 0.5, 1.0)
    assert numbers["validation/images"] == 1


def test_a_damaged_cell_is_named(finished, capsys):
    path = finished / "checkpoints" / "scratch-10-0.npz"
    content = path.read_bytes()
    path.write_bytes(content[:100])
    try:
        logs = str(finished.parent.parent)
        assert supervised.main(["--resume", "--logs", logs, "--name", "first"]) == 2
        assert str(path) in capsys.readouterr().err
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [("predictions", 99), ("confidence", np.nan), ("accuracy", 1.5), ("loss", "low")],
)
def test_a_senseless_cell_is_named(finished, splits, tmp_path, name, value):
    cell = files.read_arrays(finished / "checkpoints" / "scratch-10-0.npz")
    cell[name] = np.full_like(cell[name], value, np.array(value).dtype)
    files.write_arrays(tmp_path / "checkpoints" / "scratch-10-0.npz", cell)
    with pytest.raises(InputError, match=r"scratch-10-0\.npz is damaged"):
        cells.read_result(Run(tmp_path), cells.Cell("scratch", 10, 0), splits)


def test_each_method_has_its_numbers_and_its_place_in_the_figures(finished, splits, tmp_path):
    arms, counts = tuple(METHOD_NAMES), (10, 100)
    stored = {
        method: files.read_arrays(finished / "checkpoints" / f"{method}-10-0.npz")
        for method in ("scratch", "graph")
    }
    cell_results = {
        cells.Cell(method, size, repetition): cells.CellResult.from_arrays(
            stored["scratch" if method in TRAINED else "graph"]
        )
        for method in arms for size in counts for repetition in (0, 1)
    }  # fmt: skip
    with tensorboard.TensorBoardWriter(tmp_path) as writer:
        comparison = results.Comparison(
            splits, np.arange(10), SupervisedSettings(arms=arms), counts, Run(tmp_path), writer
        )
        numbers = results.measure_and_draw(comparison, cell_results)
    for method in arms:
        accuracy = stored["scratch" if method in TRAINED else "graph"]["accuracy"]
        assert numbers[f"labels_10/{method}_accuracy"] == accuracy
    assert numbers["labels_100/pseudo_labels_minus_finetuned_p_holm"] == 1.0
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == FIGURES
