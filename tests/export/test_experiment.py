"""`export`: every format is loaded in its runtime and compared; a failure leaves nothing."""

import importlib.util
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from apply_command import SHAPE, parts

from kerasunsup.errors import InputError
from kerasunsup.export import __main__ as export
from kerasunsup.export import experiment, formats, run_images
from kerasunsup.export import parts as export_parts
from kerasunsup.export import settings as export_settings
from kerasunsup.models import export as models_export

NEEDS = [("savedmodel", ()), ("litert", ()), ("onnx", ("onnxruntime", "tf2onnx")),
         ("openvino", ("openvino",))]  # fmt: skip


def run(*arguments):
    return export.main([str(argument) for argument in arguments])


def complaint(capsys, *arguments):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("kerasunsup export: ")
    return line


def record(folder):
    return json.loads((folder / "export.json").read_text(encoding="utf-8"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def model(supervised, tmp_path):
    """A copy of the run with one part, to write into."""
    return shutil.copytree(supervised, tmp_path / "supervised" / "run")


# ------------------------------------------------------------------------------------------ formats


@pytest.mark.parametrize("which", ["ae", "gan", "supervised"])
@pytest.mark.parametrize(("file_format", "needed"), NEEDS)
def test_every_part_runs_in_its_runtime_as_in_keras(
    request, tmp_path, capsys, which, file_format, needed
):
    for package in needed:
        pytest.importorskip(package)
    output = tmp_path / "new" / "files"
    source = request.getfixturevalue(which)
    assert run(source, "--format", file_format, "--output", output) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    written = record(output)["parts"]
    expected = {
        "ae": ["encoder", "decoder", "autoencoder"],
        "gan": ["generator", "discriminator"],
        "supervised": ["classifier"],
    }[which]
    assert list(written) == expected
    endings = {"openvino": (".bin", ".xml")}.get(file_format, (formats.ENDINGS[file_format],))
    files = {f"{name}{ending}" for name in expected for ending in endings}
    assert set(names(output)) == {*files, "export.json"}
    for name, part in written.items():
        assert max(part["difference"].values()) < 1e-5
        assert set(part["difference"]) == {"batch_1", "batch_64"}
        assert part["bytes"] > 1000
        assert f"{part['files'][-1]}: " in shown.out or f"{name}.xml: " in shown.out
    assert record(output)["compared_on"] == "test images of training"
    # Written anew by a stranger's hand: other rows, another batch.
    for part in export_parts.open_parts(source).parts:
        path = output / f"{part.name}{formats.ENDINGS[file_format]}"
        values = np.random.default_rng(7).random((5, *part.input_shape), np.float32)
        result = formats.load(part, file_format, path)(values)
        np.testing.assert_allclose(result, part.reference(values), atol=1e-5)


def test_saved_models_have_the_signatures_of_a_run(ae, tmp_path):
    assert run(ae, "--format", "savedmodel", "--output", tmp_path / "files") == 0
    images = tf.zeros((2, *SHAPE))
    for name, function, output in (
        ("encoder", "encode", "codes"),
        ("autoencoder", "reconstruct", "images"),
    ):
        loaded = tf.saved_model.load(str(tmp_path / "files" / name))
        for signature in (function, "serving_default"):
            assert list(loaded.signatures[signature](images=images)) == [output]


def test_a_category_of_the_noise_is_chosen_by_operations_that_every_runtime_has(gan):
    part = export_parts.open_parts(gan).get("generator")
    kinds = {type(operation).__name__ for operation in part.model.operations}
    assert not kinds & {"Argmax", "OneHot"}
    noise = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    result = np.asarray(part.model(noise, training=False)["images"])
    np.testing.assert_array_equal(result, part.reference(noise))


def test_layers_in_bfloat16_are_written_in_float32(tmp_path, classifier_in_bfloat16):
    models_export.write_keras(tmp_path / "half.keras", classifier_in_bfloat16)
    assert run(tmp_path / "half.keras", "--format", "litert") == 0
    assert record(tmp_path / "half_litert")["parts"]["classifier"]["difference"]["batch_64"] < 1e-5


# ------------------------------------------------------------------------------------ what is taken


def test_files_go_into_the_run_or_beside_the_keras_file(model, capsys):
    assert run(model, "--format", "litert") == 0
    shutil.copytree(model / "litert", model / "export")  # any folder of that name
    (model / "export" / "saved_model.pb").write_bytes(b"")
    assert run(model / "export", "--format", "litert") == 0
    assert "litert is done already" in capsys.readouterr().out
    encoder, _ = parts()
    models_export.write_keras(model / "small.keras", encoder)
    assert run(model / "small.keras", "--format", "litert") == 0
    assert names(model / "small_litert") == ["encoder.tflite", "export.json"]
    assert [name for name in names(model) if name.startswith(".")] == []


def test_a_model_without_its_images_is_compared_on_random_ones(model, tmp_path):
    (model / "environment.json").unlink()
    assert run(model, "--format", "litert") == 0
    assert record(model / "litert")["compared_on"] == "random images"
    shutil.move(model / "model.keras", tmp_path / "alone.keras")
    assert run(tmp_path / "alone.keras", "--format", "litert", "--output", tmp_path / "b") == 0
    assert record(tmp_path / "b")["compared_on"] == "random images"


def test_fewer_images_than_compared_are_repeated(ae):
    part = export_parts.open_parts(ae).get("encoder")
    images = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    inputs = run_images.inputs_for(part, images, None, 64)
    np.testing.assert_array_equal(inputs[60:63], images)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "is not there"),
        (lambda path: path.write_text("hello"), "is no model"),
        (lambda path: path.mkdir(), "a folder without a model"),
        (lambda path: (path.mkdir(), (path / "config.json").write_text("{}")), "has not come to"),
        (
            lambda path: (path.mkdir(), (path / "saved_model.pb").write_bytes(b"")),
            "a SavedModel without the .keras file",
        ),
        (
            lambda path: (path.mkdir(), (path / "model.keras").write_bytes(b"PK")),
            "cannot be loaded",
        ),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path, capsys, make, words):
    make(tmp_path / "given")
    line = complaint(
        capsys, tmp_path / "given", "--format", "litert", "--output", tmp_path / "output"
    )
    assert words in line
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "onnx", "--int8"], "--int8 is for --format litert"),
        (["--format", "litert", "--calibration", "5"], "--calibration is for --int8"),
        (["--format", "litert", "--int8", "--calibration", "0"], "at least 1, received 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(ae, capsys, arguments, words):
    assert words in complaint(capsys, ae, *arguments)


@pytest.mark.parametrize("arguments", [[], ["--format", "tensorrt"]])
def test_a_format_must_be_given(ae, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        run(ae, *arguments)
    assert ended.value.code == 2
    assert "--format" in capsys.readouterr().err


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_a_missing_package_is_named_with_what_to_install(ae, capsys, monkeypatch, file_format):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    needed = export_settings.FORMATS[file_format]
    line = complaint(capsys, ae, "--format", file_format)
    assert f"pip install {' '.join(needed)} " in line
    assert f"[{file_format}]" in line
    assert not (ae / file_format).exists()


# ------------------------------------------------------------------------------- nothing half-done


def test_an_output_that_stands_there_is_never_overwritten(model, tmp_path, capsys):
    other = tmp_path / "other"
    assert run(model, "--format", "litert", "--output", other) == 0
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    capsys.readouterr()
    assert run(model, "--format", "litert", "--output", other) == 0
    assert "done already" in capsys.readouterr().out
    line = complaint(capsys, model, "--format", "savedmodel", "--output", other)
    assert "holds another export and is never overwritten" in line
    line = complaint(capsys, model, "--format", "litert", "--output", model)
    assert "holds files that are no export" in line
    (tmp_path / "file").write_text("mine")
    line = complaint(capsys, model, "--format", "litert", "--output", tmp_path / "file")
    assert "is no folder" in line
    line = complaint(capsys, model, "--format", "litert", "--output", tmp_path / "file" / "x")
    assert "cannot be a folder" in line
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before
    (other / "classifier.tflite").unlink()
    line = complaint(capsys, model, "--format", "litert", "--output", other)
    assert "an export that has lost files and is never overwritten" in line
    stored = record(other)
    for parts_of_it in ([1], {"classifier": {}}, {"classifier": None}):
        (other / "export.json").write_text(json.dumps({**stored, "parts": parts_of_it}))
        line = complaint(capsys, model, "--format", "litert", "--output", other)
        assert "export.json is damaged (its parts have no files): remove it" in line


@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_a_file_that_differs_leaves_nothing_behind(gan, capsys, monkeypatch, wrong):
    loaded = formats.load

    def load(part, *more):
        function = loaded(part, *more)
        return function if part.name == "generator" else lambda values: function(values) + wrong

    monkeypatch.setattr(formats, "load", load)
    before = names(gan)
    line = complaint(capsys, gan, "--format", "litert")
    assert "the discriminator as litert differs from the Keras model by" in line
    assert names(gan) == before


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            ValueError("no such operation\nat all"),
            2,
            "as litert (ValueError: no such operation at all)",
        ),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_a_conversion_that_fails_is_one_line_and_leaves_nothing(
    model, capsys, monkeypatch, error, status, words
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(keras.Model, "export", fail)
    before = names(model)
    output = ["--output", model / "new" / "folder"]
    assert run(model, "--format", "litert", *output) == status
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert names(model) == before


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path):
    output = tmp_path / "output"

    def write_beside_another():
        with experiment._whole_folder(output) as folder:
            (folder / "mine").write_text("mine")
            output.mkdir()
            (output / "theirs").write_text("theirs")

    with pytest.raises(InputError, match="made by another process"):
        write_beside_another()
    assert names(tmp_path) == ["output"]
    assert names(output) == ["theirs"]


def test_a_file_of_another_shape_is_one_line(model, capsys, monkeypatch):
    monkeypatch.setattr(formats, "load", lambda *_: lambda values: values[:, 0])
    line = complaint(capsys, model, "--format", "litert")
    assert "the classifier gives (1, 16, 1) for 1 rows, the Keras model (1, 3)" in line
    assert not (model / "litert").exists()


def test_the_folder_that_one_stands_in_may_be_filled(model, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert run(model, "--format", "savedmodel", "--output", ".") == 0
    assert names(tmp_path / "empty") == ["classifier", "export.json"]


# ------------------------------------------------------------------------------------------- codes


def test_large_values_are_compared_in_proportion():
    expected = np.array([[100.0, -400.0]], np.float32)
    assert models_export.largest_difference(expected + 0.004, expected) == pytest.approx(1e-5, 0.1)
    assert models_export.largest_difference(expected / 1e3 + 0.25, expected / 1e3) == 0.25
    assert np.isnan(models_export.largest_difference(expected * np.nan, expected))
    with pytest.raises(ValueError, match="shapes differ"):
        models_export.largest_difference(expected[0], expected)


def test_an_encoder_of_large_codes_is_exported(tmp_path):
    encoder, _ = parts()
    weights = encoder.get_weights()
    encoder.set_weights([*weights[:-2], 1000 * weights[-2], weights[-1]])
    models_export.write_keras(tmp_path / "large.keras", encoder)
    assert run(tmp_path / "large.keras", "--format", "savedmodel") == 0
