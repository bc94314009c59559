"""What TensorBoard finds in a run's folder, read back with TensorBoard's own reader."""

import io

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import plugin_data_pb2

from kerasunsup.training import tensorboard as training_tensorboard


def events(folder) -> event_accumulator.EventAccumulator:
    """Everything in a folder's event files."""
    guidance = {"images": 0, "tensors": 0, "scalars": 0}
    return event_accumulator.EventAccumulator(str(folder), guidance).Reload()


def values(accumulator, tag) -> list[tuple[int, np.ndarray]]:
    return [(e.step, tf.make_ndarray(e.tensor_proto)) for e in accumulator.Tensors(tag)]


def hparams_of(accumulator, tag):
    metadata = accumulator.SummaryMetadata(tag)
    assert metadata.plugin_data.plugin_name == "hparams"
    return plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)


def thumbnails(num_images, height=8, width=8, channels=1):
    shape = (num_images, height, width, channels)
    return np.random.default_rng(0).random(shape).astype(np.float32)


def projected(folder, codes, pictures, labels):
    with training_tensorboard.TensorBoardWriter(folder) as opened:
        opened.projector(codes, pictures, labels)
    settings = projector.ProjectorConfig()
    text_format.Parse((folder / "projector/projector_config.pbtxt").read_text(), settings)
    return settings.embeddings[0]


def rows(folder, name) -> list[str]:
    content = (folder / "projector" / name).read_text()
    assert content.endswith("\n")
    return content[:-1].split("\n")


# ------------------------------------------------------------------- images, text, numbers, hparams


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs") / "ae" / "first"
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[1, 2] = (10, 20, 30)
    with training_tensorboard.TensorBoardWriter(folder) as opened:
        opened.figure("errors", picture, step=3, text="what it shows")
        opened.figure("errors", picture, step=4)
        opened.text("settings", "| a | b |")
        opened.scalars({"test/mse": 0.5, "test/none": float("nan"), "test/far": float("inf")})
        opened.hyperparameters(
            {"latent_dim": 32, "filters": [8, 16], "deterministic": True, "limit": None,
             "noise": 0.5, "data": "mnist"},
            {"test/ssim": 0.75},
        )  # fmt: skip
    return events(folder / "report")


def test_pictures_come_back_as_they_were_drawn(report):
    found = values(report, "errors")
    assert [step for step, _ in found] == [3, 4]
    width, height, png = found[0][1]
    assert (int(width), int(height)) == (6, 4)
    picture = np.asarray(Image.open(io.BytesIO(png)))
    assert picture.shape == (4, 6, 3)
    assert tuple(picture[1, 2]) == (10, 20, 30)
    assert report.SummaryMetadata("errors").plugin_data.plugin_name == "images"
    assert report.SummaryMetadata("errors").summary_description == "what it shows"


def test_text_comes_back(report):
    assert values(report, "settings")[0][1] == b"| a | b |"
    assert report.SummaryMetadata("settings").plugin_data.plugin_name == "text"


def test_numbers_come_back_and_what_is_no_number_is_left_out(report):
    assert values(report, "test/mse") == [(0, np.float32(0.5))]
    assert values(report, "test/ssim") == [(0, np.float32(0.75))]
    assert {"test/none", "test/far"}.isdisjoint(report.Tags()["tensors"])


def test_settings_are_entered_with_the_numbers_that_they_are_compared_by(report):
    start = hparams_of(report, "_hparams_/session_start_info").session_start_info
    found = {
        name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()
    }
    assert found == {
        "latent_dim": 32, "filters": "[8, 16]", "deterministic": True, "noise": 0.5,
        "data": "mnist",
    }  # fmt: skip
    assert start.group_name == "first"
    experiment = hparams_of(report, "_hparams_/experiment").experiment
    assert [info.name for info in experiment.hparam_infos] == [
        "latent_dim", "filters", "deterministic", "noise", "data",
    ]  # fmt: skip
    assert [info.name.tag for info in experiment.metric_infos] == ["test/ssim"]


def test_parts_of_a_trial_share_its_run_and_replace_only_themselves(tmp_path):
    folder = tmp_path / "scratch-0"
    nan = float("nan")
    for part, values_ in (("few", [0.1]), ("many", [0.25, nan, 0.75]), ("few", [0.5])):
        curves = {f"{part}/accuracy": (range(len(values_)), values_)}
        training_tensorboard.write_part(folder, part, {"arm": "scratch", "seed": 0}, curves)
    found = events(folder)
    assert values(found, "few/accuracy") == [(0, np.float32(0.5))]
    assert values(found, "many/accuracy") == [(0, np.float32(0.25)), (2, np.float32(0.75))]
    start = hparams_of(found, "_hparams_/session_start_info").session_start_info
    assert start.hparams["arm"].string_value == "scratch"
    assert start.group_name == "scratch-0"
    with pytest.raises(ValueError, match="shorter"):
        training_tensorboard.write_part(folder, "few", {}, {"few/accuracy": ([0, 1], [0.5])})


# ---------------------------------------------------------------------------------------- projector


def test_projector_folder_is_a_run_of_its_own_with_relative_names(tmp_path):
    codes = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    pictures = thumbnails(7, height=8, width=10)
    labels = ["a", "two words", "tab\tand\nline", "", " ", "f", "g"]
    embedding = projected(tmp_path, codes, pictures, labels)
    assert embedding.tensor_path == "codes.tsv"
    assert embedding.metadata_path == "labels.tsv"
    assert embedding.sprite.image_path == "sprite.png"
    assert list(embedding.sprite.single_image_dim) == [10, 8]  # width first
    found = np.array([[float(x) for x in row.split("\t")] for row in rows(tmp_path, "codes.tsv")])
    np.testing.assert_allclose(found, codes, rtol=1e-5)
    # One column: no header row, and no tab that would make it two.
    expected = ["a", "two words", "tab and line", "-", "-", "f", "g"]
    assert rows(tmp_path, "labels.tsv") == expected
    assert len(list((tmp_path / "projector").glob("events.*"))) == 1
    sprite = np.asarray(Image.open(tmp_path / "projector" / "sprite.png"))
    assert sprite.shape == (3 * 8, 3 * 10, 3)
    fifth = sprite[8:16, 10:20, 0].astype(int)  # second row, second column
    assert np.abs(fifth - 255 * pictures[4, :, :, 0]).max() <= 0.5 + 1e-4


def test_projector_can_be_written_again(tmp_path):
    projected(tmp_path, np.zeros((7, 3), np.float32), thumbnails(7), None)
    projected(tmp_path, np.ones((4, 3), np.float32), thumbnails(4), None)
    assert rows(tmp_path, "codes.tsv") == ["1\t1\t1"] * 4
    assert len(list((tmp_path / "projector").glob("events.*"))) == 1


def test_codes_without_labels_are_numbered(tmp_path):
    projected(tmp_path, np.zeros((11, 2), np.float32), thumbnails(11, channels=3), None)
    assert rows(tmp_path, "labels.tsv") == [str(index) for index in range(11)]


def test_codes_that_do_not_fit_into_the_sprite_are_cut(tmp_path):
    # 128 x 128: at most 64 x 64 = 4096 thumbnails in 8192 x 8192 pixels. Views of one image.
    pictures = np.broadcast_to(thumbnails(1, 128, 128), (70, 128, 128, 1))
    codes = np.arange(70, dtype=np.float32)[:, np.newaxis]
    labels = [f"label {index}" for index in range(70)]
    limit = training_tensorboard.MOST_SPRITE_SIDE
    assert limit == 8192
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_tensorboard, "MOST_SPRITE_SIDE", 8 * 128 + 100)
        projected(tmp_path, codes, pictures, labels)
    assert rows(tmp_path, "labels.tsv") == labels[:64]
    assert rows(tmp_path, "codes.tsv") == [str(index) for index in range(64)]
    with Image.open(tmp_path / "projector" / "sprite.png") as sprite:
        assert sprite.size == (8 * 128, 8 * 128)


def test_names_that_are_no_utf_8_are_shown_with_backslashes(tmp_path):
    projected(tmp_path, np.zeros((7, 3), np.float32), thumbnails(7), ["caf\udce9"] * 7)
    assert rows(tmp_path, "labels.tsv") == ["caf\\udce9"] * 7
    with training_tensorboard.TensorBoardWriter(tmp_path) as tensorboard:
        tensorboard.text("settings", "data caf\udce9")
        tensorboard.hyperparameters({"data": "caf\udce9", "filters": (4,)}, {"mse": 0.5})
    events = b"".join(path.read_bytes() for path in (tmp_path / "report").glob("events.*"))
    assert events.count(b"caf\\udce9") == 2


# ------------------------------------------------------------------------------------------- tables


def test_table_rounds_floats_and_leaves_the_rest():
    table = training_tensorboard.markdown_table(
        {"mse": 0.00412345, "n": 10000, "data": "mnist"}, ("name", "value")
    )
    assert table.splitlines() == [
        "| name | value |",
        "| --- | --- |",
        "| mse | 0.004123 |",
        "| n | 10000 |",
        "| data | mnist |",
    ]
