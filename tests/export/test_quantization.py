"""`export --int8`: 8-bit integers throughout, calibrated, and their loss in numbers."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from kerasunsup.errors import InputError
from kerasunsup.export import __main__ as export
from kerasunsup.export import experiment, formats, quantization, run_images
from kerasunsup.export import parts as export_parts


def run(*arguments):
    return export.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def written(ae, gan, supervised, tmp_path_factory):
    """Name of a run -> its integer files and what is recorded of them."""
    found = {}
    for name, folder in (("ae", ae), ("gan", gan), ("supervised", supervised)):
        output = tmp_path_factory.mktemp(name) / "files"
        arguments = [folder, "--format", "litert", "--int8", "--calibration", 20]
        assert run(*arguments, "--output", output) == 0
        found[name] = output, json.loads((output / "export.json").read_text(encoding="utf-8"))
    return found


def test_input_output_and_weights_are_integers(written):
    for output, record in written.values():
        assert record["calibration"] == 20
        for name, part in record["parts"].items():
            assert part["calibrated_on"] == 20
            path = output / f"{name}.tflite"
            found = formats.quantization_of(path)
            assert {key: list(value) for key, value in found.items()} == part["quantization"]
            interpreter = formats._interpreter()
            with pytest.warns(UserWarning, match="deprecated"):
                model = interpreter(str(path))
            for tensor in (*model.get_input_details(), *model.get_output_details()):
                assert tensor["dtype"] == np.int8


def test_loss_of_an_autoencoder_is_that_of_its_images(written, ae):
    output, record = written["ae"]
    parts = export_parts.open_parts(ae)
    images = run_images.splits_of_run(parts).test.array()
    part = parts.get("autoencoder")
    quality = record["parts"]["autoencoder"]["quality"]
    assert quality["float32/test/mse"] == pytest.approx(
        np.mean(np.square(part.reference(images) - images)), rel=1e-5
    )
    function = formats.load(part, "litert", output / "autoencoder.tflite")
    assert quality["int8/test/mse"] == pytest.approx(
        np.mean(np.square(function(images) - images)), rel=1e-5
    )
    assert np.max(np.abs(function(images) - part.reference(images))) < 0.05
    for name in ("encoder", "decoder"):
        quality = record["parts"][name]["quality"]
        assert quality["int8/test/mse"] == pytest.approx(quality["float32/test/mse"], rel=0.05)


def test_loss_of_a_classifier_is_its_accuracy(written, supervised):
    quality = written["supervised"][1]["parts"]["classifier"]["quality"]
    parts = export_parts.open_parts(supervised)
    splits = run_images.splits_of_run(parts)
    answers = parts.get("classifier").reference(splits.test.array()).argmax(axis=1)
    assert quality["float32/test/accuracy"] == np.mean(answers == splits.labels.test)
    assert set(quality) == {"float32/test/accuracy", "int8/test/accuracy"}


def test_a_category_survives_integers(written):
    """LiteRT's own one-hot gives one value everywhere: the images were others, 0.04 apart."""
    parts = written["gan"][1]["parts"]
    assert parts["generator"]["quality"]["int8/difference_mse"] < 1e-3
    assert 0.8 < parts["discriminator"]["quality"]["int8/same_answer"] <= 1


def test_a_classifier_without_labels_is_compared_with_itself(supervised):
    parts = export_parts.open_parts(supervised)
    splits = dataclasses.replace(run_images.splits_of_run(parts), labels=None)
    part = parts.get("classifier")
    numbers = quantization.loss_of(part, lambda x: part.reference(x) + 0.5, parts, splits)
    assert numbers == pytest.approx(
        {"int8/difference_mse": 0.25, "int8/difference_largest": 0.5}, rel=1e-5
    )


def test_the_folder_is_another_than_that_of_floats_and_the_default_number_is_said(
    supervised, tmp_path, capsys
):
    copy = shutil.copytree(supervised, tmp_path / "supervised" / "copy")
    assert run(copy, "--format", "litert", "--int8") == 0
    assert run(copy, "--format", "litert", "--int8") == 0
    assert "litert_int8 is done already" in capsys.readouterr().out
    assert run(copy, "--format", "litert", "--int8", "--calibration", "20") == 2
    assert "holds another export" in capsys.readouterr().err
    record = json.loads((copy / "litert_int8" / "export.json").read_text(encoding="utf-8"))
    training = len(run_images.splits_of_run(export_parts.open_parts(copy)).train)
    assert record["calibration"] == 500
    assert record["parts"]["classifier"]["calibrated_on"] == training  # there are no more


@pytest.mark.parametrize("case", ["alone", "gone", "others"])
def test_without_training_images_one_line_says_why(ae, tmp_path, capsys, case):
    copy = shutil.copytree(ae, tmp_path / "ae" / "copy")
    config = json.loads((copy / "config.json").read_text())
    model = copy
    if case == "alone":
        model = tmp_path / "alone.keras"
        shutil.copy(copy / "model.keras", model)
        words = "belongs to no run"
    elif case == "gone":
        config["data"] = str(tmp_path / "gone.npz")
        words = "cannot be found"
    else:
        config["seed"] = 1
        words = "holds other images"
    (copy / "config.json").write_text(json.dumps(config))
    assert run(model, "--format", "litert", "--int8", "--output", tmp_path / "files") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--int8 is calibrated on training images" in line
    assert words in line
    assert not (tmp_path / "files").exists()


def test_integers_that_depend_on_the_batch_are_refused(ae):
    part = export_parts.open_parts(ae).get("encoder")
    inputs = np.zeros((64, *part.input_shape), np.float32)
    experiment._check_batches(part, lambda values: np.zeros(len(values)), inputs, 0.1)
    experiment._check_batches(part, lambda values: np.full(len(values), len(values)), inputs, 63.0)
    with pytest.raises(InputError, match="differs from itself by 63 between batches of 1 and 64"):
        experiment._check_batches(
            part, lambda values: np.full(len(values), len(values)), inputs, 40.0
        )


def test_integers_stand_for_the_nearest_floats():
    values = np.array([-9.0, -0.26, 0.0, 0.24, 9.0])
    integers = formats.to_integers(values, 0.5, -3)
    assert integers.tolist() == [-21, -4, -3, -3, 15]
    assert formats.from_integers(integers, 0.5, -3).tolist() == [-9, -0.5, 0, 0, 9]
    assert formats.to_integers(np.array([1e6, -1e6]), 0.5, 0).tolist() == [127, -128]
