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

from kerasunsup.data import images, pixel_storage
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Labels
from kerasunsup.errors import InputError
from kerasunsup.settings import read_config
from kerasunsup.supervised import __main__ as supervised
from kerasunsup.supervised import cells, experiment, results
from kerasunsup.supervised.settings import (
    METHOD_NAMES,
    PSEUDO_LABELLED,
    TRAINED,
    SupervisedSettings,
)
from kerasunsup.training import files

FIGURES = {"confusion", "label_efficiency", "learning_speed", "mistakes", "reliability"}

SMALL = [
    "--limit", "600", "--test-limit", "200", "--steps", "4", "--epochs", "1",
    "--pseudo-label-steps", "2", "--unlabelled-batch-size", "32", "--repetitions", "2",
    "--graph-steps", "4",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a quick run of every method, which trains its own encoder."""
    logs = tmp_path_factory.mktemp("logs")
    arguments = ["--quick", "--logs", str(logs), "--name", "first", "--arms", *METHOD_NAMES]
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
        "checkpoints", "model.keras", "export", "report", "arms", "README.md",
    }  # fmt: skip
    assert {path.stem for path in (finished / "figures").glob("*.png")} == FIGURES
    for path in (finished / "figures").glob("*.png"):
        assert min(images.decode(path).shape[:2]) > 150, path
    assert not list(finished.rglob("*.part*"))


def test_numbers_have_the_promised_names(finished):
    numbers = numbers_of(finished)
    assert "test/accuracy" in numbers
    for labels in (10, 100):
        for method in METHOD_NAMES:
            assert f"labels_{labels}/{method}_accuracy" in numbers
            assert f"labels_{labels}/{method}_accuracy_std" in numbers
            assert 0.0 <= numbers[f"labels_{labels}/{method}_validation_accuracy"] <= 1.0
        assert f"labels_{labels}/finetuned_minus_scratch_low" in numbers
        assert 0.0 <= numbers[f"labels_{labels}/finetuned_minus_scratch_p_holm"] <= 1.0
    assert numbers["labels_100/scratch_accuracy"] > 0.15  # more than a guess
    assert numbers["validation/images"] == 300


def test_methods_that_learn_from_their_own_answers_are_asked_for_by_name():
    assert {*METHOD_NAMES} - {*SupervisedSettings().arms} == {*PSEUDO_LABELLED}


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
    for method in ("frozen", "neighbors"):  # a method does not depend on which others there are
        name = f"labels_100/{method}_accuracy"
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
    settings = SupervisedSettings(**read_config(SupervisedSettings, finished / "config.json"))
    splits = data_splits.load(settings)
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
    seeds = {Path("arms") / f"{method}-{seed}" for method in METHOD_NAMES for seed in (0, 1)}
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
        method: points_of(tensorboard_of(finished / "arms" / f"{method}-1"))
        for method in METHOD_NAMES
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
        name="few",
        class_names=("cat", "dog"),
        train=range(10),
        labels=Labels(np.array([0, 1] * 5), np.array([0]), np.array([1])),
    )
    sizes = cells.label_counts(SupervisedSettings(labels=(10, 100)), parts)
    assert sizes == [0]
    assert "10, 100 labels are left out" in capsys.readouterr().out
    assert cells.label_counts(SupervisedSettings(labels=(5, 10, 0)), parts) == [5, 0]
    with pytest.raises(InputError, match="give numbers from 2 to 9"):
        cells.label_counts(SupervisedSettings(labels=(1,)), parts)


def test_data_without_labels_is_refused_with_what_to_do(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 16, 16), np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels)
    assert supervised.main(["--data", str(tmp_path / "x.npz"), "--logs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has no labels" in error
    assert "one sub-folder a class" in error


def splits_of(
    train: list[int], test: list[int], names: tuple[str, ...] | None
) -> data_splits.Splits:
    pixels = np.zeros((len(train) + len(test) + 1, 8, 8, 1), np.uint8)
    pool = ImageSet(pixel_storage.MemoryStore(pixels))
    end = len(train) + 1
    labels = Labels(*(np.array(part, np.int64) for part in (train, train[:1], test)))
    parts = range(len(train)), range(len(train), end), range(end, len(pixels))
    return data_splits.Splits(*map(pool.subset, parts), "odd", names, labels)


@pytest.mark.parametrize("names", [None, ("cat", "dog", "owl")])
def test_classes_that_training_lacks_are_named_and_take_no_label(names, capsys):
    odd = splits_of([0, 1] * 10, [0, 1, 2, 2], names)
    experiment.check(odd)
    assert capsys.readouterr().out == (
        f"odd has no training image of {'owl' if names else 2}: 2 of its 4 test images count as "
        "mistakes\n"
    )
    settings = SupervisedSettings(labels=(2, 30, 0))
    assert cells.label_counts(settings, odd) == [2, 0]
    assert capsys.readouterr().out == (
        "30 labels are left out: odd has 20 training images of 2 classes\n"
    )
    experiment.check(splits_of([0, 1] * 10, [0], names))
    assert capsys.readouterr().out == ""


def test_few_images_and_one_test_image_leave_numbers(encoder, tmp_path, capsys):
    labels = np.array([3, 8] * 14 + [9])  # one image of the last class
    pixels = np.random.default_rng(0).integers(0, 256, (29, 28, 28, 1), np.uint8)
    np.savez(tmp_path / "few.npz", images=pixels, labels=labels)
    arguments = [
        *SMALL[4:], "--data", str(tmp_path / "few.npz"), "--encoder", str(encoder),
        "--test-limit", "1", "--labels", "4", "0", "--logs", str(tmp_path), "--name", "few",
        "--arms", "frozen", "linear_probe", "neighbors", "mixture", "graph",
    ]  # fmt: skip
    assert supervised.main(arguments) == 0
    numbers = numbers_of(tmp_path / "supervised" / "few")
    for method in ("frozen", "linear_probe", "neighbors", "mixture", "graph"):
        assert numbers[f"labels_4/{method}_accuracy"] in (0.0, 0.5, 1.0)
    assert numbers["validation/images"] == 1


@pytest.mark.parametrize("change", [None, "predictions", "confidence", "accuracy", "loss"])
def test_a_damaged_cell_is_named(finished, capsys, change):
    path = finished / "checkpoints" / "scratch-10-0.npz"
    content = path.read_bytes()
    if change is None:
        path.write_bytes(content[:100])
    else:
        cell = files.read_arrays(path)
        senseless = {"predictions": 99, "confidence": np.nan, "accuracy": 1.5, "loss": "low"}
        cell[change] = np.full_like(
            cell[change], senseless[change], np.array(senseless[change]).dtype
        )
        files.write_arrays(path, cell)
    try:
        logs = str(finished.parent.parent)
        assert supervised.main(["--resume", "--logs", logs, "--name", "first"]) == 2
        assert str(path) in capsys.readouterr().err
    finally:
        path.write_bytes(content)


def test_the_best_method_is_chosen_by_validation_and_not_by_test():
    def result(validation, test):
        return cells.CellResult(
            np.zeros(1, np.int64), np.ones(1, np.float32), test, 0.0, validation, {}, 0.0
        )

    cell_results = {
        cells.Cell("scratch", 0, 0): result(0.5, 0.9),
        cells.Cell("finetuned", 0, 0): result(0.6, 0.1),
        cells.Cell("finetuned", 0, 1): result(0.7, 0.9),
        cells.Cell("graph", 100, 0): result(1.0, 1.0),
    }
    assert results.exported_label_count(cell_results, [100, 0]) == 0
    assert results.best_cell(cell_results, 0) == cells.Cell("finetuned", 0, 0)
    assert results.exported_label_count([cells.Cell("graph", 100, 0)], [100, 0]) is None
    few = [cells.Cell("pseudo_labels", 100, 0), cells.Cell("neighbors", 0, 0)]
    assert results.exported_label_count(few, [100, 0]) == 100


def test_only_probes_leave_a_table_and_no_classifier(encoder, tmp_path):
    arguments = [*SMALL, "--encoder", str(encoder), "--arms", "neighbors", "--labels", "20", "0"]
    assert supervised.main([*arguments, "--logs", str(tmp_path), "--name", "p"]) == 0
    run = tmp_path / "supervised" / "p"
    assert {"labels_20/neighbors_accuracy", "labels_all/neighbors_accuracy"} <= set(numbers_of(run))
    assert not (run / "export").exists()
