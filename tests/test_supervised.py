"""The command `supervised`, from the command line to everything that it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import processes
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from kerasunsup import (
    arms,
    comparison,
    config,
    images,
    runs,
    supervised,
    supervised_findings,
)

FIGURES = {"confusion", "label_efficiency", "learning_speed", "mistakes", "reliability"}

SMALL = [
    "--limit", "600", "--test-limit", "200", "--steps", "4", "--epochs", "1",
    "--pseudo-label-steps", "2", "--unlabelled-batch-size", "32", "--repetitions", "2",
    "--graph-steps", "4",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a quick run of every arm, which trains its own encoder."""
    logs = tmp_path_factory.mktemp("logs")
    arguments = ["--quick", "--logs", str(logs), "--name", "first", "--arms", *arms.NAMES]
    assert supervised.main(arguments) == 0
    return logs / "supervised" / "first"


@pytest.fixture(scope="module")
def encoder(finished) -> Path:
    """A finished autoencoder run: the one that the quick run trained."""
    (run,) = (finished.parent.parent / "ae").iterdir()
    return run


def numbers_of(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text())


def test_a_run_leaves_what_the_interface_promises(finished):
    assert {path.name for path in finished.iterdir()} >= {
        "config.json", "environment.json", "history.csv", "metrics.json", "figures",
        "checkpoints", "model.keras", "export", "report", "arms",
    }  # fmt: skip
    assert {path.stem for path in (finished / "figures").glob("*.png")} == FIGURES
    for path in (finished / "figures").glob("*.png"):
        assert min(images.decode(path).shape[:2]) > 150, path
    assert not list(finished.rglob("*.part*"))


def test_numbers_have_the_promised_names(finished):
    numbers = numbers_of(finished)
    assert "test/accuracy" in numbers
    for labels in (10, 100):
        for arm in arms.NAMES:
            assert f"labels_{labels}/{arm}_accuracy" in numbers
            assert f"labels_{labels}/{arm}_accuracy_std" in numbers
        assert f"labels_{labels}/finetuned_minus_scratch_low" in numbers
    assert numbers["labels_100/scratch_accuracy"] > 0.15  # more than a guess


def test_arms_that_learn_from_their_own_answers_are_asked_for_by_name():
    assert {*arms.NAMES} - {*config.SupervisedConfig().arms} == {*arms.PSEUDO_LABELLED}


def test_means_and_deviations_are_those_of_the_cells(finished):
    numbers = numbers_of(finished)
    for arm in ("scratch", "graph"):
        values = [
            float(runs.read_arrays(finished / "checkpoints" / f"{arm}-100-{i}.npz")["accuracy"])
            for i in range(2)
        ]
        assert numbers[f"labels_100/{arm}_accuracy"] == pytest.approx(np.mean(values))
        assert numbers[f"labels_100/{arm}_accuracy_std"] == pytest.approx(np.std(values, ddof=1))


def test_the_usual_encoder_is_trained_once_without_labels(finished, encoder, capsys):
    logs = finished.parent.parent
    assert encoder.name.startswith("encoder-")
    assert "test/mse" in numbers_of(encoder)
    assert not any("fid" in name for name in numbers_of(encoder))  # nothing asks for its samples
    again = ["--quick", "--logs", str(logs), "--name", "again", "--arms", "frozen", "neighbors"]
    assert supervised.main(again) == 0
    output = capsys.readouterr().out
    assert f"encoder: {encoder / 'model.keras'}" in output
    assert "training the usual encoder" not in output
    for arm in ("frozen", "neighbors"):  # an arm does not depend on which others there are
        name = f"labels_100/{arm}_accuracy"
        assert numbers_of(logs / "supervised" / "again")[name] == numbers_of(finished)[name]


def test_the_saved_model_runs_without_the_package(finished):
    script = """
import sys
sys.modules["kerasunsup"] = None
import numpy as np, tensorflow as tf, keras
model = tf.saved_model.load(sys.argv[1] + "/export")
images = np.random.default_rng(0).random((3, 28, 28, 1)).astype(np.float32)
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


def test_the_exported_classifier_is_the_one_that_was_measured(finished):
    from kerasunsup import config, data

    settings = config.SupervisedConfig(
        **config.read(config.SupervisedConfig, finished / "config.json")
    )
    splits = data.load(settings)
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


def test_tensorboard_holds_every_cell_in_one_run_an_arm_and_seed(finished):
    runs_shown = {path.parent.relative_to(finished) for path in finished.rglob("events.*")}
    seeds = {Path("arms") / f"{arm}-{seed}" for arm in arms.NAMES for seed in (0, 1)}
    assert runs_shown == {Path("report"), *seeds}
    for arm, seed, size in (("scratch", 1, 100), ("graph", 0, 10)):
        cell = tensorboard_of(finished / "arms" / f"{arm}-{seed}")
        assert any("session_start" in tag for tag in cell.PluginTagToContent("hparams"))
        stored = runs.read_arrays(finished / "checkpoints" / f"{arm}-{size}-{seed}.npz")
        points = points_of(cell)
        ((step, accuracy),) = points[f"labels_{size}/test_accuracy"]
        assert accuracy == pytest.approx(stored["accuracy"])
        if arm in arms.TRAINED:
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
    missing = [finished / "checkpoints" / f"{arm}-10-1.npz" for arm in ("neighbors", "graph")]
    for path in missing:
        path.unlink()
    shown = {arm: points_of(tensorboard_of(finished / "arms" / f"{arm}-1")) for arm in arms.NAMES}
    # Killed between a cell's file and its curves: these are entered all the same.
    (entered,) = (finished / "arms" / "scratch-1").glob("events.*.labels_100.*")
    entered.unlink()
    logs = str(finished.parent.parent)
    assert supervised.main(["--resume", "--logs", logs, "--name", "first"]) == 0
    assert "2 to come" in capsys.readouterr().out
    after = numbers_of(finished)
    del before["training_seconds"], after["training_seconds"]
    assert after == pytest.approx(before, nan_ok=True, abs=1e-6)
    for arm, points in shown.items():
        assert points_of(tensorboard_of(finished / "arms" / f"{arm}-1")) == points


def test_ctrl_c_saves_and_prints_the_line_that_goes_on(encoder, tmp_path):
    command = [
        sys.executable, "-m", "kerasunsup.supervised", *SMALL, "--encoder", str(encoder),
        "--logs", str(tmp_path), "--name", "stopped", "--labels", "100", "--steps", "100000",
        "--arms", "neighbors", "scratch",
    ]  # fmt: skip
    error = processes.interrupted(command, "1/4 ")
    assert "stopped, 1 trainings are saved" in error
    assert f"python -m kerasunsup.supervised --resume --name stopped --logs {tmp_path}" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "no/such/folder"], ["no/such/folder"]),
        (["--encoder", "none"], ["--encoder none", "no finished autoencoder run"]),
        (["--encoder", __file__], ["--encoder", "cannot be used"]),
        (["--labels", "5"], ["--labels 5", "600", "10 to 599"]),
        (["--arms", "graph", "--labels", "0"], ["--arms graph", "--labels 0"]),
        (["--arms", "svm"], ["--arms", "frozen"]),
        (["--repetitions", "1"], ["--repetitions must be at least 2"]),
        (["--image-size", "20"], ["28 x 28 x 1", "20 x 20 x 1", "--image-size"]),
        (["--resume", "--name", "other"], ["no supervised run"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(encoder, tmp_path, capsys, arguments, words):
    try:
        status = supervised.main(
            [*SMALL, "--logs", str(tmp_path), "--encoder", str(encoder), *arguments]
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


def test_more_labels_than_there_are_images_are_all_of_them(capsys):
    parts = types.SimpleNamespace(
        name="few", class_names=("cat", "dog"), train=range(10), labels=None
    )
    sizes = comparison.sizes_of(config.SupervisedConfig(labels=(10, 100)), parts)
    assert sizes == [0]
    assert "10, 100 labels are left out" in capsys.readouterr().out
    assert comparison.sizes_of(config.SupervisedConfig(labels=(5, 10, 0)), parts) == [5, 0]
    with pytest.raises(config.InputError, match="give numbers from 2 to 9"):
        comparison.sizes_of(config.SupervisedConfig(labels=(1,)), parts)


def test_data_without_labels_is_refused_with_what_to_do(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", images=np.zeros((50, 16, 16), np.uint8))
    assert supervised.main(["--data", str(tmp_path / "x.npz"), "--logs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has no labels" in error
    assert "one sub-folder a class" in error


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


def test_the_best_arm_is_chosen_by_validation_and_not_by_test():
    def outcome(validation, test):
        return arms.Outcome(
            np.zeros(1, np.int64), np.ones(1, np.float32), test, 0.0, validation, {}, 0.0
        )

    outcomes = {
        arms.Cell("scratch", 0, 0): outcome(0.5, 0.9),
        arms.Cell("finetuned", 0, 0): outcome(0.6, 0.1),
        arms.Cell("finetuned", 0, 1): outcome(0.7, 0.9),
        arms.Cell("graph", 100, 0): outcome(1.0, 1.0),
    }
    assert supervised_findings.trained_size(outcomes, [100, 0]) == 0
    assert supervised_findings.best_cell(outcomes, 0) == arms.Cell("finetuned", 0, 0)
    assert supervised_findings.trained_size([arms.Cell("graph", 100, 0)], [100, 0]) is None
    few = [arms.Cell("pseudo_labels", 100, 0), arms.Cell("neighbors", 0, 0)]
    assert supervised_findings.trained_size(few, [100, 0]) == 100


def test_only_probes_leave_a_table_and_no_classifier(encoder, tmp_path):
    arguments = [*SMALL, "--encoder", str(encoder), "--arms", "neighbors", "--labels", "20", "0"]
    assert supervised.main([*arguments, "--logs", str(tmp_path), "--name", "p"]) == 0
    run = tmp_path / "supervised" / "p"
    assert {"labels_20/neighbors_accuracy", "labels_all/neighbors_accuracy"} <= set(numbers_of(run))
    assert not (run / "export").exists()
