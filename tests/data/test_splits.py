"""Every source of images, bad input of every kind, splits, and the order of batches."""

import errno
import gzip
import io
import itertools
import os
import socket
import struct
import tempfile
import threading
import time
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import image_stream
from kerasunsup.data import batches as data_batches
from kerasunsup.data import (
    decoding,
    from_arrays,
    from_folder,
    from_tfds,
    pillow_pixels,
    pixel_storage,
)
from kerasunsup.data import image_set as data_image_set
from kerasunsup.data import images as data_images
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.settings import TrainingSettings


def settings(source, **options) -> TrainingSettings:
    return TrainingSettings(data=str(source), **options)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_images(folder, pixels, *, start: int = 0, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pixels, start):
        (folder / f"{index:04d}{suffix}").write_bytes(data_images.encode_png(picture))


def refusal(source, **options) -> str:
    """The one line that refuses the data."""
    with pytest.raises(InputError) as caught:
        data_splits.load(settings(source, **options))
    text = str(caught.value)
    assert "\n" not in text
    return text


def open_stream(source) -> image_stream.Stream:
    return image_stream.open_images(str(source), without=None, part="all", limit=None)


@pytest.fixture(scope="module")
def mnist() -> Splits:
    return data_splits.load(settings("mnist"))


# ------------------------------------------------------------------------------------------ MNIST


def test_mnist_is_whole_and_equals_what_tfds_reads(mnist):
    assert [len(mnist.train), len(mnist.validation), len(mnist.test)] == [55_000, 5000, 10_000]
    assert mnist.image_shape == (28, 28, 1)
    assert mnist.class_names == tuple("0123456789")
    assert mnist.train.files is None
    assert mnist.labels.train.dtype == np.int64
    expected = tfds.load(
        "mnist", data_dir=str(from_tfds.PACKAGED), split="test", batch_size=-1, download=False
    )
    assert np.array_equal(mnist.test.array(), data_images.to_unit(expected["image"].numpy()))
    assert np.array_equal(mnist.labels.test, expected["label"].numpy())


def test_mnist_needs_no_network_and_is_silent(monkeypatch, capfd):
    def refuse(*_args, **_kwargs):
        raise OSError("no network here")

    monkeypatch.setattr("socket.socket.connect", refuse)
    start = time.perf_counter()
    data_splits.read("mnist")
    assert time.perf_counter() - start < 20.0  # about 2 s on a machine at rest
    assert capfd.readouterr() == ("", "")


def test_missing_mnist_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(from_tfds, "PACKAGED", tmp_path)
    assert "missing or damaged" in refusal("mnist")


def test_batches_of_mnist_are_fast(mnist):
    batches = iter(data_batches.training_batches(mnist.train, 128, seed=0))
    next(batches)
    start = time.perf_counter()
    for _ in range(200):
        next(batches)
    assert (time.perf_counter() - start) / 200 < 0.005  # 0.3 ms on a machine at rest


# ------------------------------------------------------------------------------------------- TFDS


def test_unknown_name_suggests_the_closest():
    text = refusal("cifar01")
    assert "no such file or folder" in text
    assert "cifar10" in text


def test_missing_path_is_one_line(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "missing")


def test_empty_name_is_one_line():
    assert "--data is empty" in refusal(" ")


def test_folder_without_permission_is_one_line(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    assert f"no permission to use {tmp_path}" in refusal(tmp_path)


def test_unknown_configuration_is_one_line():
    assert "cannot use this name" in refusal("mnist/nonsense")


def test_missing_network_is_one_line(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise ConnectionError("Failed to resolve\nhost")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    text = refusal("fashion_mnist")
    assert "could not be downloaded (ConnectionError: Failed to resolve host)" in text
    assert "network" in text


def test_full_disk_while_downloading_goes_through(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    with pytest.raises(OSError, match="No space left"):
        data_splits.load(settings("fashion_mnist"))


class FakeInfo:
    def __init__(self, features, counts):
        self.features = tfds.features.FeaturesDict(features)
        self.splits = {
            split: type("Info", (), {"num_examples": count}) for split, count in counts.items()
        }


class FakeBuilder:
    """Stands for a TFDS data set that is on disk already."""

    def __init__(self, features, examples):
        self.info = FakeInfo(features, {split: len(part) for split, part in examples.items()})
        self._examples = examples

    def as_dataset(self, *, split, read_config, decoders):
        del read_config, decoders
        examples = self._examples[split]
        signature = {
            key: tf.TensorSpec(value.shape if key == "label" else (None, None, None), value.dtype)
            for key, value in examples[0].items()
        }
        return tf.data.Dataset.from_generator(lambda: examples, output_signature=signature)


def use_tfds(monkeypatch, features, **examples):
    builder = FakeBuilder(features, examples)
    monkeypatch.setattr(from_tfds, "_prepared_builder", lambda _name: builder)


def tfds_examples(pixels, labels=None):
    labels = range(len(pixels)) if labels is None else labels
    return [
        {"image": picture, "label": np.int64(label % 3)}
        for picture, label in zip(pixels, labels, strict=True)
    ]


LABELLED = {
    "image": tfds.features.Image(),
    "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
}


def test_tfds_test_split_is_the_test_set(monkeypatch):
    pixels = noise(40, 8, 8, 3)
    use_tfds(
        monkeypatch,
        LABELLED,
        train=tfds_examples(pixels[:30]),
        validation=tfds_examples(pixels[:2]),
        test=tfds_examples(pixels[30:]),
    )
    splits = data_splits.load(settings("cifar10"))
    assert np.array_equal(splits.test.array(), data_images.to_unit(pixels[30:]))
    assert splits.class_names == ("ant", "bee", "cat")
    assert splits.labels.test.tolist() == [index % 3 for index in range(10)]
    assert (len(splits.train), len(splits.validation), splits.name) == (27, 3, "cifar10")


def test_tfds_validation_split_takes_the_place_of_a_missing_test_split(monkeypatch):
    pixels = noise(40, 8, 8, 4)
    features = {"image": tfds.features.Image()}
    parts = {"train": pixels[:30], "validation": pixels[30:]}
    use_tfds(
        monkeypatch,
        features,
        **{name: [{"image": picture} for picture in part] for name, part in parts.items()},
    )
    splits = data_splits.load(settings("cifar10"), memory_limit=0)
    assert len(splits.test) == 10
    assert splits.image_shape == (8, 8, 3)  # opacity laid over white
    assert splits.labels is None
    assert splits.class_names is None


def test_tfds_files_on_disk_are_read_in_their_order(monkeypatch, tmp_path):
    pixels = noise(30, 8, 9, 3)
    features = {**LABELLED, "mask": tfds.features.Image(shape=(None, None, 1))}
    examples = [{**example, "mask": noise(5, 5, 1)} for example in tfds_examples(pixels)]
    part = tf.data.Dataset.from_generator(
        lambda: examples,
        output_signature={
            "image": tf.TensorSpec((None, None, 3), tf.uint8),
            "label": tf.TensorSpec((), tf.int64),
            "mask": tf.TensorSpec((None, None, 1), tf.uint8),
        },
    )
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="small",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": part},
        data_dir=str(tmp_path),
        disable_shuffling=True,
    )
    monkeypatch.setattr(from_tfds, "_prepared_builder", lambda _name: builder)
    source = data_splits.read("small")
    assert np.array_equal(source.store.read(np.arange(30)), pixels)
    assert source.labels.tolist() == [index % 3 for index in range(30)]
    assert source.num_test == 0


def test_tfds_images_of_differing_sizes_need_image_size(monkeypatch):
    mixed = tfds_examples([noise(8, 8, 3), noise(9, 8, 3)] * 10)
    use_tfds(monkeypatch, LABELLED, train=mixed)
    assert "--image-size" in refusal("cifar10")
    assert data_splits.load(settings("cifar10", image_size=8)).image_shape == (8, 8, 3)


def test_tfds_without_usable_images_is_one_line(monkeypatch):
    use_tfds(monkeypatch, {"text": tfds.features.Text()}, train=[{"text": "a"}])
    assert "no feature 'image'" in refusal("glue")
    examples = tfds_examples([np.zeros((8, 8, 1), np.uint16)])
    use_tfds(monkeypatch, LABELLED, train=examples)
    assert "uint16" in refusal("cifar10")
    use_tfds(monkeypatch, LABELLED, train=tfds_examples([noise(200, 200, 3)]))
    assert "--image-size" in refusal("cifar10")


# ----------------------------------------------------------------------------------------- folder


def test_flat_folder_has_files_and_no_labels(tmp_path, capsys):
    pixels = noise(30, 10, 12, 1)
    write_images(tmp_path, pixels)
    (tmp_path / ".hidden.png").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("no image")
    source = data_splits.read(str(tmp_path))
    assert source.files == [f"{index:04d}.png" for index in range(30)]
    assert source.labels is None
    everything = ImageSet(source.store, files=source.files)
    assert np.array_equal(everything.array(), data_images.to_unit(pixels))
    splits = data_splits.load(settings(tmp_path))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (25, 2, 3)
    for part in (splits.train, splits.validation, splits.test):
        for name, picture in zip(part.files, part.array(), strict=True):
            assert np.array_equal(picture, data_images.to_unit(pixels[int(name[:4])]))
    assert capsys.readouterr() == ("", 2 * f"kerasunsup: {tmp_path}: left out: 1 .txt\n")


def test_sub_folders_are_classes_with_nested_files(tmp_path):
    write_images(tmp_path / "bee", noise(10, 8, 8, 3))
    write_images(tmp_path / "ant", noise(10, 8, 8, 3))
    write_images(tmp_path / "ant" / "more" / "deep", noise(5, 8, 8, 3))
    write_images(tmp_path / ".cache", noise(1, 99, 99, 3))
    (tmp_path / "empty").mkdir()
    source = data_splits.read(str(tmp_path))
    assert source.class_names == ("ant", "bee")
    assert source.labels.tolist() == [0] * 15 + [1] * 10
    assert source.files == sorted(source.files)
    assert "ant/more/deep/0002.png" in source.files
    splits = data_splits.load(settings(tmp_path))
    for name, label in zip(splits.train.files, splits.labels.train, strict=True):
        assert name.startswith(splits.class_names[label])


def test_images_are_in_the_order_of_their_whole_names(tmp_path):
    """As in older runs: the fingerprint of a set follows from the order."""
    for name in ("a", "a-b"):  # "a-b/" comes before "a/"
        write_images(tmp_path / name, noise(6, 8, 8, 1))
    source = data_splits.read(str(tmp_path))
    assert source.class_names == ("a", "a-b")
    assert source.labels.tolist() == [1] * 6 + [0] * 6
    assert [name.split("/")[0] for name in source.files] == ["a-b"] * 6 + ["a"] * 6


def test_one_sub_folder_separates_nothing(tmp_path):
    write_images(tmp_path / "all", noise(20, 8, 8, 1))
    assert data_splits.load(settings(tmp_path)).labels is None


@pytest.mark.parametrize("memory_limit", [1 << 20, 0])
@pytest.mark.parametrize("colour_at", [0, 5, 19])
def test_grey_and_colour_become_colour(tmp_path, memory_limit, colour_at):
    grey = noise(20, 8, 8, 1)
    write_images(tmp_path, grey)
    colour = noise(8, 8, 3, seed=1)
    (tmp_path / f"{colour_at:04d}.png").write_bytes(data_images.encode_png(colour))
    store = data_splits.read(str(tmp_path), memory_limit=memory_limit).store
    expected = np.repeat(grey, 3, axis=-1)
    expected[colour_at] = colour
    assert np.array_equal(store.read(np.arange(20)), expected)


def test_differing_sizes_name_two_files(tmp_path):
    write_images(tmp_path, noise(10, 8, 9, 1))
    write_images(tmp_path, noise(10, 12, 8, 1), start=10)
    text = refusal(tmp_path)
    assert "0000.png is 8 x 9" in text
    assert "0010.png is 12 x 8" in text
    assert "--image-size" in text
    assert data_splits.load(settings(tmp_path, image_size=16)).image_shape == (16, 16, 1)


@pytest.mark.parametrize("size", [7, 129])
def test_sides_out_of_range_ask_for_image_size(tmp_path, size):
    write_images(tmp_path, noise(20, size, 16, 1))
    text = refusal(tmp_path)
    assert f"{size} x 16" in text
    assert "--image-size" in text
    assert data_splits.load(settings(tmp_path, image_size=32)).image_shape == (32, 32, 1)


def test_one_unreadable_image_is_named_counted_and_skipped(tmp_path, capsys):
    write_images(tmp_path, noise(20, 8, 8, 1))
    (tmp_path / "0007.png").write_bytes(b"damaged")
    source = data_splits.read(str(tmp_path))
    assert len(source.store) == len(source.files) == 19
    assert "0007.png" not in source.files
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "skipped 1 of 20" in error
    assert "0007.png (no PNG" in error


def test_up_to_one_in_ten_unreadable_images_are_named_and_skipped(tmp_path, capsys):
    write_images(tmp_path, noise(30, 8, 8, 1))
    for index in range(3):
        (tmp_path / f"{index:04d}.png").write_bytes(b"damaged")
    assert len(data_splits.read(str(tmp_path)).store) == 27
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(f"000{index}.png (no PNG" in error for index in range(3))
    (tmp_path / "0003.png").write_bytes(b"damaged")
    assert "4 of 30 images cannot be read, more than one in ten" in refusal(tmp_path)


def test_many_unreadable_images_are_counted(tmp_path):
    write_images(tmp_path, noise(20, 8, 8, 1))
    for index in range(12):
        (tmp_path / f"{index:04d}.png").write_bytes(b"damaged")
    text = refusal(tmp_path)
    assert "0009.png" in text
    assert "and 2 more" in text


def test_nothing_but_unreadable_images_is_refused(tmp_path):
    (tmp_path / "only.png").write_bytes(b"damaged")
    assert "1 of 1 images cannot be read" in refusal(tmp_path)


def test_folders_without_images_are_told_apart(tmp_path):
    assert "the folder is empty" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    assert "none of its 1 files is an image" in refusal(tmp_path)


def test_images_beside_class_folders_are_refused(tmp_path):
    write_images(tmp_path, noise(2, 8, 8, 1))
    write_images(tmp_path / "ant", noise(2, 8, 8, 1))
    assert "beside sub-folders" in refusal(tmp_path)


def test_too_few_images_is_one_line(tmp_path):
    write_images(tmp_path, noise(11, 8, 8, 1))
    assert "9 training, 1 validation and 1 test images" in refusal(tmp_path)
    write_images(tmp_path, noise(1, 8, 8, 1), start=11)
    assert len(data_splits.load(settings(tmp_path)).train) == 10
    assert "raise --limit" in refusal(tmp_path, limit=9)


def test_a_file_that_is_no_npz_is_one_line(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    assert "neither a folder nor a .npz" in refusal(path)


def test_memory_and_disk_hold_the_same(tmp_path):
    pixels = noise(70, 8, 10, 3)
    write_images(tmp_path, pixels)
    memory, disk = (
        data_splits.load(settings(tmp_path), memory_limit=limit) for limit in (1 << 30, 1 << 10)
    )
    assert isinstance(memory.train._store, pixel_storage.MemoryStore)
    assert isinstance(disk.train._store, pixel_storage.FileStore)
    assert np.array_equal(memory.train.array(), disk.train.array())
    assert np.array_equal(memory.test.array([2, 0]), disk.test.array(np.array([2, 0])))
    assert memory.fingerprint == disk.fingerprint
    pair = [data_batches.training_batches(part.train, 16, seed=5) for part in (memory, disk)]
    for (from_memory, _), (from_disk, target) in zip(*pair, strict=True):
        assert np.array_equal(from_memory, from_disk)
        assert np.array_equal(from_disk, target)


def test_spooled_images_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    write_images(tmp_path / "images", noise(20, 8, 8, 1))
    store = data_splits.read(str(tmp_path / "images"), memory_limit=0).store
    assert isinstance(store, pixel_storage.FileStore)
    assert not list((tmp_path / "spool").iterdir())
    with pytest.raises(IndexError):
        store.read(np.array([20]))


def test_full_disk_while_spooling_goes_through(tmp_path, monkeypatch):
    class FullDisk(io.BytesIO):
        def write(self, _content):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_options: FullDisk())
    write_images(tmp_path, noise(20, 8, 8, 1))
    with pytest.raises(OSError, match="No space left"):
        data_splits.load(settings(tmp_path), memory_limit=0)


# ----------------------------------------------------------- splits, links and other files in it


def parts_of(splits: Splits) -> list[set[str]]:
    return [set(part.files) for part in (splits.train, splits.validation, splits.test)]


@pytest.mark.parametrize(("training", "testing"), [("train", "test"), ("Training", "TESTING")])
@pytest.mark.parametrize("inside", ["", "unpacked"])
def test_split_folders_are_splits_and_the_classes_lie_below(tmp_path, training, testing, inside):
    for split, number in ((training, 20), (testing, 4)):
        for group in ("cat", "dog"):
            write_images(tmp_path / inside / split / group, noise(number, 8, 8, 3))
    splits = data_splits.load(settings(tmp_path))
    assert splits.class_names == ("cat", "dog")
    assert [len(part) for part in parts_of(splits)] == [36, 4, 8]
    for part, split in zip(parts_of(splits), (training, training, testing), strict=True):
        assert {name.rsplit("/", 3)[-3] for name in part} == {split}
    assert splits.labels.test.tolist() == [0] * 4 + [1] * 4
    assert data_splits.load(settings(tmp_path, test_limit=1)).test.files[0].count(testing) == 1
    stream = open_stream(tmp_path)
    assert stream.labels.sum() == 24  # apply sees the classes, not the splits
    part = image_stream.open_images(str(tmp_path), without=None, part="test", limit=None)
    assert set(part.names) == parts_of(splits)[2]


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_validation_folder_is_the_validation_set(tmp_path, name):
    write_images(tmp_path / "train", noise(20, 8, 8, 1))
    write_images(tmp_path / name, noise(6, 8, 8, 1))
    train, validation, test = parts_of(data_splits.load(settings(tmp_path)))
    assert validation == {f"{name}/{index:04d}.png" for index in range(6)}
    assert (len(train), len(test)) == (18, 2)  # the test set is cut from the training images
    assert {name.split("/")[0] for name in train | test} == {"train"}
    write_images(tmp_path / "test", noise(3, 8, 8, 1))
    splits = data_splits.load(settings(tmp_path))
    assert [len(part) for part in parts_of(splits)] == [20, 6, 3]
    assert splits.labels is None


def test_classes_that_are_called_like_splits_stay_classes(tmp_path):
    for name in ("train", "car", "bus"):
        write_images(tmp_path / name, noise(10, 8, 8, 1))
    assert data_splits.load(settings(tmp_path)).class_names == ("bus", "car", "train")


def test_what_does_not_fit_in_split_folders_is_one_line(tmp_path, capsys):
    write_images(tmp_path / "train" / "good", noise(20, 8, 8, 1))
    write_images(tmp_path / "test" / "good", noise(2, 8, 8, 1))
    write_images(tmp_path / "test" / "crack", noise(2, 8, 8, 1))
    write_images(tmp_path / "ground_truth" / "crack", noise(2, 8, 8, 1))
    (tmp_path / "val").mkdir()
    splits = data_splits.load(settings(tmp_path))
    assert splits.class_names == ("crack", "good")
    assert [len(part) for part in parts_of(splits)] == [18, 2, 4]
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "2 images beside the training and test images are left out" in error
    assert "val/ holds no images" in error
    assert "classes without training images: crack" in error


def test_split_folders_without_training_images_are_refused(tmp_path):
    write_images(tmp_path / "test" / "cat", noise(20, 8, 8, 1))
    (tmp_path / "train" / "cat").mkdir(parents=True)
    assert "holds images for test and none to train on" in refusal(tmp_path)


def test_classes_of_one_split_only_are_left_out_with_a_word(tmp_path, capsys):
    for group in ("cat", "dog"):
        write_images(tmp_path / "train" / group, noise(10, 8, 8, 1))
    write_images(tmp_path / "test", noise(4, 8, 8, 1))
    assert data_splits.load(settings(tmp_path)).labels is None
    assert "no class folders for test: classes are left out" in capsys.readouterr().err
    write_images(tmp_path / "train", noise(1, 8, 8, 1))
    assert "beside sub-folders" in refusal(tmp_path)


def test_links_are_followed_and_every_file_is_read_once(tmp_path, capsys):
    folder, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    write_images(folder / "a", noise(10, 8, 8, 1))
    write_images(elsewhere / "b" / "deep", noise(10, 8, 8, 1, seed=1))
    write_images(elsewhere / "c", noise(2, 8, 8, 1, seed=2))
    (folder / "b").symlink_to(elsewhere / "b")
    (folder / "c").mkdir()
    (folder / "c" / "one.png").symlink_to(elsewhere / "c" / "0000.png")
    (folder / "c" / "again.png").symlink_to(folder / "c" / "one.png")
    (folder / "c" / "zero.png").symlink_to(folder / "a" / "0000.png")  # has its name already
    (folder / "loop").symlink_to(folder)
    (elsewhere / "b" / "deep" / "back").symlink_to(elsewhere / "b")
    source = data_splits.read(str(folder))
    expected = [f"a/{index:04d}.png" for index in range(10)]
    expected += [f"b/deep/{index:04d}.png" for index in range(10)]
    assert source.files == [*expected, "c/again.png"]
    assert source.class_names == ("a", "b", "c")
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "left out: 4 linked to what is read already" in error
    assert open_stream(folder).names == source.files


def test_pipes_sockets_and_other_files_are_left_out_in_one_line(tmp_path, capsys):
    write_images(tmp_path, noise(20, 8, 8, 1))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "s.png"))  # its names may have 107 bytes only
    for name in ("a.txt", "b.TXT", "c.heic", "noending", "Thumbs.db", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    assert len(data_splits.read(str(tmp_path)).store) == 20
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for text in ("2 .txt", "1 .heic", "1 without an ending", "1 named pipe (pipe.png)",
                 "1 socket (s.png)", "1 device (null.png)"):  # fmt: skip
        assert text in error
    assert "humbs" not in error
    assert len(open_stream(tmp_path)) == 20
    assert capsys.readouterr().err == error


def test_a_link_that_leads_nowhere_is_an_unreadable_image(tmp_path, capsys):
    write_images(tmp_path, noise(20, 8, 8, 1))
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    assert len(data_splits.read(str(tmp_path)).store) == 20
    assert "gone.png (No such file or directory)" in capsys.readouterr().err


ODD_NAMES = [b"caf\xe9.png", b"a\rb.png", b"a\nb.png", b"quo\"te'.png", b"\xff\xfe.png"]


def test_any_file_name_is_read_sorted_and_shown_in_one_line(tmp_path, capsys):
    write_images(tmp_path / "caf\udce9", noise(60, 8, 8, 1))
    for raw in ODD_NAMES:
        with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9", raw), "wb") as file:
            file.write(b"damaged")
    source = data_splits.read(str(tmp_path / "caf\udce9"))
    assert len(source.store) == 60
    assert source.name.encode() == b"caf\\xe9"  # fit for titles
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for shown in (
        "caf\\xe9.png (",
        "a\\rb.png (",
        "a\\nb.png (",
        "quo\"te'.png (",
        "\\xff\\xfe.png (",
    ):
        assert shown in error
    assert error.encode()
    stream = open_stream(tmp_path / "caf\udce9")
    assert set(map(os.fsencode, stream.names)) > set(ODD_NAMES)
    assert sum(isinstance(picture, str) for picture in stream.read(range(65))) == 5


def test_classes_with_odd_names_have_names_that_can_be_shown(tmp_path):
    for name in ("caf\udce9", "a\nb"):
        write_images(tmp_path / name, noise(10, 8, 8, 1))
    assert data_splits.read(str(tmp_path)).class_names == ("a\\nb", "caf\\xe9")


@pytest.mark.parametrize("name", ["~nosuchuser/images", "x" * 5000])
def test_what_can_be_no_path_is_one_line(name):
    assert "is no name or path" in refusal(name)


# ------------------------------------------------------------------------- pictures of 16 bits


def write_deep(path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16)).save(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_images_are_scaled_by_what_the_whole_set_uses(tmp_path, capsys, bits, suffix):
    """Only the last of 20 images is bright."""
    values = np.full((20, 8, 8), 3)
    values[-1] = 2**bits - 1
    for index, picture in enumerate(values):
        write_deep(tmp_path / f"{index:02d}{suffix}", picture)
    expected = np.rint(values / ((2**bits - 1) / 255))
    pixels = data_splits.read(str(tmp_path)).store.read(np.arange(20))[..., 0]
    assert np.array_equal(pixels, expected)
    error = capsys.readouterr().err
    assert error.count("\n") == (bits < 16)
    assert bits == 16 or f"taken as {bits} bits, {2**bits - 1} is white" in error
    stream = open_stream(tmp_path)
    assert np.array_equal(np.stack(list(stream.read(range(20))))[..., 0], expected)
    assert np.array_equal(next(stream.read([0]))[..., 0], expected[0])
    capsys.readouterr()
    # A query is scaled as the images that it is compared with.
    query = str(tmp_path / f"00{suffix}")
    alone = image_stream.open_images(query, without=None, part="all", limit=None, like=stream)
    assert np.array_equal(next(alone.read([0]))[..., 0], expected[0])
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------- memory and alike images


def test_pictures_in_memory_are_bounded_by_their_pixels(tmp_path, monkeypatch):
    """Many small files of large pictures: never more at once than the limit, or one alone."""
    write_images(tmp_path, np.zeros((40, 400, 400, 1), np.uint8))
    monkeypatch.setattr(decoding, "DECODING_LIMIT", 3 * 400 * 400 * 4)
    monkeypatch.setattr(decoding, "num_processors", lambda: 8)
    at_work, most = [0], [0]
    lock = threading.Lock()
    original = pillow_pixels.pixels_of

    def watched(picture, white):
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        time.sleep(0.01)
        pixels = original(picture, white)
        with lock:
            at_work[0] -= 1
        return pixels

    monkeypatch.setattr(pillow_pixels, "pixels_of", watched)
    names = sorted(str(path) for path in tmp_path.iterdir())
    assert [picture.shape for picture in from_folder.decoded(names, side=8)] == [(8, 8, 1)] * 40
    assert most[0] == 3
    monkeypatch.setattr(decoding, "DECODING_LIMIT", 1)  # each is too large for it
    most[0] = 0
    assert len(list(from_folder.decoded(names))) == 40
    assert most[0] == 1


def test_pictures_that_wait_to_be_used_count_too(tmp_path, monkeypatch):
    write_images(tmp_path, np.zeros((60, 100, 100, 1), np.uint8))
    monkeypatch.setattr(decoding, "DECODING_LIMIT", 200_000)  # unpacked 40,000 each, waiting 10,000
    num_decoded = []
    original = data_images.decode

    def decode(*arguments, **options):
        num_decoded.append(original(*arguments, **options))
        return num_decoded[-1]

    monkeypatch.setattr(data_images, "decode", decode)
    names = sorted(str(path) for path in tmp_path.iterdir())
    pictures = from_folder.decoded(names)
    next(pictures)
    time.sleep(0.3)
    assert len(num_decoded) <= 1 + 200_000 // 10_000
    pictures.close()  # nobody is left waiting


def test_an_error_in_a_thread_reaches_the_one_who_waits(monkeypatch):
    def fail(item, _claim):
        if item == 20:
            raise KeyError(item)
        return item

    made = decoding.in_order(fail, range(100))
    assert [next(made) for _ in range(20)] == list(range(20))
    with pytest.raises(KeyError):
        next(made)


def test_processors_are_counted_where_the_system_knows_no_affinity(monkeypatch):
    assert decoding.num_processors() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert decoding.num_processors() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert decoding.num_processors() == 1


@pytest.mark.parametrize("level", [0, 255])
def test_images_that_are_all_alike_are_told(tmp_path, capsys, level):
    pixels = np.full((20, 8, 8, 1), level, np.uint8)
    pixels[3, 2, 2] ^= 31
    write_images(tmp_path, pixels)
    assert len(data_splits.load(settings(tmp_path)).train) == 17
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "all images are alike or nearly so" in error


def test_white_icons_on_transparent_ground_are_told(tmp_path, capsys):
    for index in range(20):
        icon = np.full((8, 8, 4), 255, np.uint8)
        icon[..., 3] = noise(8, 8, seed=index)
        Image.fromarray(icon).save(tmp_path / f"{index}.png")
    data_splits.load(settings(tmp_path))
    assert "transparent parts of images are taken as white" in capsys.readouterr().err


def test_different_images_are_not_told_to_be_alike(tmp_path, capsys):
    pixels = np.zeros((20, 28, 28, 1), np.uint8)
    pixels[:, :2, :2] = noise(20, 2, 2, 1)  # 0.5 % of their pixels differ
    write_images(tmp_path, pixels)
    data_splits.load(settings(tmp_path))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", range(12, 25))
def test_small_sets_are_split_whole(tmp_path, number):
    write_images(tmp_path, noise(number, 8, 8, 1))
    for options in ({}, {"test_limit": 1}):
        train, validation, test = parts_of(data_splits.load(settings(tmp_path, **options)))
        assert len(train) >= 10
        assert validation
        assert test
        assert len(train | validation | test) == len(train) + len(validation) + len(test)
    assert (len(validation), len(test)) == (1, 1)


# ------------------------------------------------------------------------------------------- .npz


def test_npz_of_images_and_labels(tmp_path):
    pixels, labels = noise(40, 9, 8), np.arange(40) % 4
    np.savez_compressed(tmp_path / "a.npz", images=pixels, labels=labels)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    assert (splits.name, splits.image_shape) == ("a", (9, 8, 1))
    everything = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
    for image, label in zip(splits.train.array(), splits.labels.train, strict=True):
        assert everything[data_images.to_uint8(image).tobytes()] == label


def test_npz_of_keras_keeps_its_test_set(tmp_path):
    parts = {"x_train": noise(30, 8, 8, 3), "x_test": noise(10, 8, 8, 3, seed=1)}
    labels = {"y_train": np.zeros((30, 1), np.uint8), "y_test": np.ones((10, 1), np.uint8)}
    np.savez(tmp_path / "a.npz", **parts, **labels)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    assert np.array_equal(splits.test.array(), data_images.to_unit(parts["x_test"]))
    assert splits.labels.test.tolist() == [1] * 10
    assert data_splits.load(settings(tmp_path / "a.npz", image_size=16)).image_shape == (16, 16, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_of_floats_stays_float(tmp_path, dtype):
    values = np.random.default_rng(0).random((20, 8, 8, 1)).astype(dtype)
    np.savez(tmp_path / "a.npz", images=values)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    known = {image.tobytes() for image in values.astype(np.float32)}
    batch = next(iter(data_batches.evaluation_batches(splits.train, 4)))[0].numpy()
    assert {image.tobytes() for image in batch} < known
    assert data_splits.load(settings(tmp_path / "a.npz", image_size=16)).train.array().max() <= 1.0


def test_labels_of_one_part_only_are_left_out_with_a_word(tmp_path, capsys):
    parts = {"x_train": noise(30, 8, 8), "x_test": noise(10, 8, 8)}
    np.savez(tmp_path / "a.npz", **parts, y_train=np.zeros(30, np.int64))
    assert data_splits.load(settings(tmp_path / "a.npz")).labels is None
    assert "left out" in capsys.readouterr().err


def test_npz_of_medmnist_has_three_splits(tmp_path, capsys):
    parts = {"train": noise(30, 8, 8, 3), "val": noise(5, 8, 8, 3), "test": noise(7, 8, 8, 3)}
    content = {f"{split}_images": pixels for split, pixels in parts.items()}
    for split, pixels in parts.items():
        content[f"{split}_labels"] = np.arange(len(pixels), dtype=np.uint8)[:, np.newaxis]
    np.savez_compressed(tmp_path / "a.npz", **content)
    splits = data_splits.load(settings(tmp_path / "a.npz"))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 5, 7]
    assert np.array_equal(splits.test.array(), data_images.to_unit(parts["test"]))
    validation = data_images.to_unit(parts["val"])[splits.labels.validation]
    assert np.array_equal(splits.validation.array(), validation)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'train_images' (train) and 'val_images' (validation)" in error
    names = open_stream(tmp_path / "a.npz").names
    assert [names[0], names[30], names[35]] == [
        "train/00000.png", "validation/00000.png", "test/00000.png"
    ]  # fmt: skip


def test_several_labels_an_image_are_left_out_with_a_word(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", images=GOOD, labels=np.ones((20, 14), np.uint8))
    assert data_splits.load(settings(tmp_path / "a.npz")).labels is None
    assert "'labels' has 14 columns, classes are left out" in capsys.readouterr().err


GOOD = noise(20, 8, 8)
GOOD[0, 0, :2] = 0, 255
SPOILT = np.full((20, 8, 8), 0.5)
SPOILT[3, 2, 1] = np.nan
UNIT = data_images.to_unit(GOOD)[..., np.newaxis]
COLOUR = noise(20, 3, 8, 8)


@pytest.mark.parametrize(
    ("content", "expected", "note"),
    [
        ({"pictures": GOOD}, UNIT, "the images are 'pictures'"),
        ({"arr_0": GOOD, "arr_1": np.zeros(20, int)}, UNIT, "the images are 'arr_0'"),
        ({"images": GOOD.astype(np.int64)}, UNIT, "int64 with values up to 255 taken as 8 bits"),
        ({"images": GOOD.astype(np.uint16) * 16}, UNIT, "taken as 12 bits, 4095 is white"),
        ({"images": GOOD.astype(">u2") * 257}, UNIT, "taken as 16 bits, 65535 is white"),
        ({"images": GOOD.astype(np.float32)}, UNIT, "float32 from 0 to 255 taken as [0, 255]"),
        ({"images": GOOD / 127.5 - 1}, UNIT, "float64 from -1 to 1 taken as [-1, 1]"),
        ({"images": GOOD / 255 * 1.0005}, UNIT, ""),
        ({"images": GOOD > 127}, UNIT > 0.5, ""),
        ({"images": (GOOD > 127).astype(np.uint8)}, UNIT > 0.5, "taken as 1 bits, 1 is white"),
        ({"images": COLOUR}, data_images.to_unit(COLOUR).transpose(0, 2, 3, 1), "channels first"),
        ({"images": COLOUR[:, :1]}, data_images.to_unit(COLOUR[:, 0, ..., np.newaxis]), "first"),
        ({"x": np.full((20, 8, 8, 4), [9, 9, 9, 0], np.uint8)}, np.ones((20, 8, 8, 3)), "RGBA"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("memory_limit", [1 << 20, 0])
def test_arrays_of_the_usual_kinds_are_taken_with_a_word(
    tmp_path, capsys, content, expected, note, suffix, memory_limit
):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, **content)
    else:
        np.save(path, next(iter(content.values())))
        note = "" if "the images are" in note else note
    source = data_splits.read(str(path), memory_limit=memory_limit)
    kind = (
        pixel_storage.FileStore
        if suffix == ".npy" and not memory_limit
        else pixel_storage.MemoryStore
    )
    assert isinstance(source.store, kind)
    everything = ImageSet(source.store)
    assert np.abs(everything.array() - expected).max() < 0.005
    gathered = next(iter(data_batches.evaluation_batches(everything, 20)))[0].numpy()
    assert np.array_equal(gathered, everything.array())
    error = capsys.readouterr().err
    assert note in error
    assert error.count("\n") == bool(error) <= 1
    assert bool(note) or suffix == ".npz" or not error
    stream = open_stream(path)
    assert np.array_equal(
        np.stack(list(stream.read(range(20)))), data_images.to_uint8(everything.array())
    )


def test_npy_in_memory_and_on_disk_are_the_same_set(tmp_path):
    np.save(tmp_path / "a.npy", GOOD.astype(np.uint16) * 16)
    memory, disk = (
        data_splits.load(settings(tmp_path / "a.npy"), memory_limit=limit) for limit in (1 << 20, 0)
    )
    assert memory.fingerprint == disk.fingerprint
    assert (disk.name, disk.image_shape) == ("a", (8, 8, 1))
    resized = data_splits.load(settings(tmp_path / "a.npy", image_size=16), memory_limit=0)
    assert resized.image_shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([object()] * 20), "object of shape (20,)"),
        (np.zeros((20, 64), np.uint8), "uint8 of shape (20, 64)"),
        (SPOILT, "NaN"),
        (noise(20, 200, 8), "--image-size"),
    ],
)
@pytest.mark.parametrize("memory_limit", [1 << 30, 0])
def test_bad_npy_is_one_line(tmp_path, values, expected, memory_limit):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(InputError) as caught:
        data_splits.read(str(tmp_path / "a.npy"), memory_limit=memory_limit)
    assert expected in str(caught.value)


def saved(write, *arrays_, **named) -> bytes:
    buffer = io.BytesIO()
    write(buffer, *arrays_, **named)
    return buffer.getvalue()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, or with a few other bytes: anywhere, in the header, or at the end."""
    if rng.random() < 0.2:
        return content[: rng.integers(len(content))]
    spoilt = bytearray(content)
    start, stop = [(0, len(spoilt)), (0, 140), (len(spoilt) - 300, len(spoilt))][rng.integers(3)]
    for _ in range(rng.integers(1, 6)):
        text = rng.choice(list(b"0123456789(),'|<>uifOVS-{}: "))
        spoilt[rng.integers(start, stop)] = text if rng.random() < 0.5 else rng.integers(256)
    return bytes(spoilt)


@pytest.mark.parametrize(
    "name", ["stored.npz", "packed.npz", "a.npy", "f.npy", "train-images", "train-images.gz"]
)
def test_mutated_files_are_refused_or_read(tmp_path, name):
    rng = np.random.default_rng(list(name.encode()))
    named = {"train_images": GOOD, "test_images": GOOD, "train_labels": np.zeros((20, 1), int)}
    content = {
        "stored.npz": lambda: saved(np.savez, **named),
        "packed.npz": lambda: saved(np.savez_compressed, **named),
        "a.npy": lambda: saved(np.save, GOOD),
        "f.npy": lambda: saved(np.save, np.asfortranarray(GOOD.astype(">u2"))),
        "train-images": lambda: idx(GOOD),
        "train-images.gz": lambda: gzip.compress(idx(GOOD), mtime=0),
    }[name]()
    num_refused = 0
    for _ in range(60):
        (tmp_path / name).write_bytes(mutated(content, rng))
        try:
            store = data_splits.read(
                str(tmp_path / name if "." in name[:-3] else tmp_path), memory_limit=0
            )
            store.store.read(np.arange(len(store.store)))
        except InputError:  # all else is a traceback
            num_refused += 1
    assert num_refused > 10


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"pictures": GOOD, "others": GOOD}, "holds pictures, others: it needs 'images'"),
        ({"x_test": GOOD}, "holds x_test: it needs 'images'"),
        ({"x_train": GOOD, "train_images": GOOD}, "both images"),
        ({}, "holds no arrays"),
        ({"images": np.array([object()] * 20)}, "pickled"),
        ({"images": SPOILT}, "NaN"),
        ({"images": np.full((20, 8, 8), np.inf)}, "NaN or infinite"),
        ({"images": GOOD.astype(np.float32) * 4}, "goes from 0 to 1020"),
        ({"images": GOOD.astype(np.float32) / 16}, "goes from 0 to 15"),
        ({"images": GOOD / 255.0 - 0.5}, "goes from -0.5"),
        ({"images": GOOD.astype(np.int64) - 1}, "int64 from -1 to 254"),
        ({"images": GOOD.astype(np.int64) * 1000}, "int64 from 0 to 255000"),
        ({"images": GOOD.astype("U3")}, "<U3"),
        ({"images": GOOD.reshape(20, 64)}, "(20, 64)"),
        ({"images": noise(20, 8, 8, 2)}, "(20, 8, 8, 2)"),
        ({"images": noise(0, 8, 8)}, "(0, 8, 8)"),
        ({"images": GOOD, "labels": np.zeros(19, np.int64)}, "20 images and 19 labels"),
        ({"images": GOOD, "labels": np.zeros(20)}, "integers"),
        ({"images": GOOD, "labels": np.full(20, -1)}, "integers from 0"),
        ({"images": noise(20, 7, 8)}, "--image-size"),
        ({"x_train": GOOD, "x_test": noise(20, 9, 9)}, "differ"),
        ({"x_train": GOOD, "x_test": GOOD / 255.0}, "differ, uint8 and float64"),
    ],
)
def test_bad_npz_is_one_line(tmp_path, content, expected):
    path = tmp_path / "a.npz"
    np.savez(path, **content)
    assert expected in refusal(path)


def test_damaged_npz_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"")
    assert "damaged" in refusal(path)
    np.savez_compressed(path, images=GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refusal(path)
    path.write_bytes(whole[:200] + bytes(50) + whole[250:])
    assert "damaged" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"no array")
    assert "damaged" in refusal(path)


def test_npz_bombs_are_refused_before_reading(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.zeros((2000, 64, 64), np.uint8))
    monkeypatch.setattr(from_arrays, "LIMIT", 1 << 20)
    assert "unpacks to" in refusal(path)
    monkeypatch.undo()
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", buffer.getvalue() + bytes(100))
    assert "declares 784000000000 bytes" in refusal(path)


# -------------------------------------------------------------------------------------- IDX files


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


@pytest.mark.parametrize("suffix", ["-idx{}-ubyte", ".idx{}-ubyte", "-idx{}-ubyte.gz"])
def test_idx_files_as_mnist_has_them(tmp_path, suffix):
    parts = {"train": noise(30, 8, 9), "t10k": noise(10, 8, 9, seed=1)}
    for name, pixels in parts.items():
        labels = np.arange(len(pixels), dtype=np.uint8)
        for kind, values in (("images", pixels), ("labels", labels)):
            content = idx(values)
            path = tmp_path / (f"{name}-{kind}" + suffix.format(values.ndim))
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    splits = data_splits.load(settings(tmp_path))
    assert np.array_equal(splits.test.array()[..., 0], data_images.to_unit(parts["t10k"]))
    assert splits.labels.test.tolist() == list(range(10))
    expected = data_images.to_unit(parts["train"])[splits.labels.train]
    assert np.array_equal(splits.train.array()[..., 0], expected)


@pytest.mark.parametrize("name", ["letters-images-idx3-ubyte", "letters-images", "images.gz"])
def test_any_other_idx_file_of_images_works(tmp_path, name):
    content = idx(noise(30, 8, 8))
    (tmp_path / name).write_bytes(gzip.compress(content) if name[-3:] == ".gz" else content)
    splits = data_splits.load(settings(tmp_path, image_size=12))
    assert (len(splits.test), splits.image_shape) == (3, (12, 12, 1))
    assert splits.labels is None


def test_two_files_of_training_images_are_refused(tmp_path):
    for name in ("a-images", "b-images"):
        (tmp_path / name).write_bytes(idx(noise(30, 8, 8)))
    assert "a-images, b-images" in refusal(tmp_path)


WHOLE = idx(GOOD)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "nothing"),
        (b"text instead", "does not begin as an IDX file"),
        (b"\0\0\x0d\x03" + WHOLE[4:], "does not begin as an IDX file"),
        (idx(np.zeros(20, np.uint8)), "does not begin as an IDX file"),
        (WHOLE[:10], "cut off"),
        (WHOLE[:-1], "truncated"),
        (WHOLE + b"\0", "has more"),
        (struct.pack(">4I", 0x803, 2**31, 2**15, 2**15), "declares"),
        (struct.pack(">4I", 0x803, 0, 8, 8), "at least one"),
        (idx(noise(20, 8, 8, 2)), "(8, 8, 2)"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_idx_file_is_one_line(tmp_path, content, expected, packed):
    path = tmp_path / ("train-images-idx3-ubyte" + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(content) if packed else content)
    assert expected in refusal(tmp_path)


def test_damaged_gzip_is_one_line(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"no gzip")
    assert "damaged" in refusal(tmp_path)
    path.write_bytes(gzip.compress(WHOLE)[:-300])
    assert "damaged" in refusal(tmp_path)


def test_gzip_bomb_is_read_no_further_than_declared(tmp_path, monkeypatch):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(WHOLE + bytes(100 << 20)))
    num_read = []
    original = gzip.GzipFile.read

    def read(self, size=-1):
        content = original(self, size)
        num_read.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    assert "has more" in refusal(tmp_path)
    assert sum(num_read) == len(WHOLE) + 1


def test_mismatched_idx_labels_are_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(WHOLE)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(19, np.uint8)))
    assert "20 images and 19 labels" in refusal(tmp_path)


# ----------------------------------------------------------------------------------------- splits


@pytest.fixture
def numbered(tmp_path):
    """200 images, the number of each in its first two pixels."""
    pixels = np.zeros((200, 8, 8), np.uint8)
    pixels[:, 0, 0] = np.arange(200)
    np.savez(tmp_path / "numbered.npz", images=pixels, labels=np.repeat([0, 1], 100))
    return tmp_path / "numbered.npz"


def numbers(image_set: ImageSet) -> list[int]:
    return data_images.to_uint8(image_set.array())[:, 0, 0, 0].tolist()


def test_splits_are_disjoint_and_complete(numbered):
    splits = data_splits.load(settings(numbered))
    parts = [numbers(part) for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [162, 18, 20]
    assert sorted(itertools.chain(*parts)) == list(range(200))


def test_splits_follow_from_the_seed(numbered):
    first, again, other = (data_splits.load(settings(numbered, seed=seed)) for seed in (1, 1, 2))
    assert numbers(first.test) == numbers(again.test) != numbers(other.test)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_limits_apply_after_the_split(numbered):
    whole = data_splits.load(settings(numbered))
    limited = data_splits.load(settings(numbered, limit=40, test_limit=7))
    assert numbers(limited.train) == numbers(whole.train)[:40]
    assert numbers(limited.validation) == numbers(whole.validation)[:7]
    assert numbers(limited.test) == numbers(whole.test)[:7]
    assert 10 < limited.labels.train.sum() < 30  # both classes are there


def test_subset_of_a_subset_shares_the_store(numbered):
    train = data_splits.load(settings(numbered)).train
    chosen = train.subset(range(10, 20)).subset([3, 1])
    assert numbers(chosen) == [numbers(train)[13], numbers(train)[11]]
    assert chosen._store is train._store
    assert chosen.fingerprint != train.fingerprint
    assert train.array([]).shape == (0, 8, 8, 1)


def test_fingerprint_follows_the_content():
    pixels = noise(20, 8, 8, 1)
    changed = pixels.copy()
    changed[13, 4, 4] ^= 1
    first, same, other = (
        ImageSet(pixel_storage.MemoryStore(values)).fingerprint
        for values in (pixels, pixels.copy(), changed)
    )
    assert first == same != other


# ---------------------------------------------------------------------------------------- batches


def image_set(num_images: int) -> ImageSet:
    pixels = np.zeros((num_images, 8, 8, 1), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(num_images)
    return ImageSet(pixel_storage.MemoryStore(pixels))


def orders(batches: tf.data.Dataset) -> list[list[int]]:
    """The numbers of the images in each batch."""
    return [data_images.to_uint8(inputs.numpy())[:, 0, 0, 0].tolist() for inputs, _ in batches]


def test_an_epoch_is_full_batches_in_a_new_order():
    epochs = [
        orders(data_batches.training_batches(image_set(50), 16, seed=3, epoch=epoch))
        for epoch in (0, 1)
    ]
    assert data_batches.steps_per_epoch(image_set(50), 16) == 3
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[16] * 3] * 2
    assert [len(set(itertools.chain(*epoch))) for epoch in epochs] == [48] * 2
    assert epochs[0] != epochs[1]
    assert int(data_batches.training_batches(image_set(50), 16, seed=3).cardinality()) == 3


def test_order_depends_on_seed_and_epoch_only():
    pool = image_set(50)
    first = orders(data_batches.training_batches(pool, 16, seed=3))
    assert first == orders(data_batches.training_batches(pool, 16, seed=3))
    assert first != orders(data_batches.training_batches(pool, 16, seed=4))
    tf.random.set_seed(99)
    batches = data_batches.training_batches(pool, 16, seed=3)
    assert first == orders(batches) == orders(batches)
    smaller = orders(data_batches.training_batches(pool, 8, seed=3))
    assert smaller[0] + smaller[1] == first[0]


def noisy(inputs, seed):
    return inputs + tf.random.stateless_normal(tf.shape(inputs), seed), seed


def test_going_on_at_an_epoch_gives_the_tail():
    """A variable that counts the epochs, as in a training, and again from the third on."""

    def elements(first_epoch, num_epochs):
        epoch = tf.Variable(first_epoch, dtype=tf.int64)
        batches = data_batches.training_batches(
            image_set(50), 16, seed=3, epoch=epoch, prepare=noisy
        )
        seen = []
        for number in range(first_epoch, first_epoch + num_epochs):
            epoch.assign(number)
            seen += [[part.numpy() for part in element] for element in batches]
        return seen

    whole, tail = elements(0, 4), elements(2, 2)
    assert (len(whole), len(tail)) == (12, 6)
    for (inputs, seed), (again, same_seed) in zip(whole[6:], tail, strict=True):
        assert np.array_equal(inputs, again)
        assert np.array_equal(seed, same_seed)
    assert len({tuple(seed) for _, seed in whole}) == 12
    assert whole[0][1].dtype == np.int32
    fixed = data_batches.training_batches(image_set(50), 16, seed=3, epoch=3, prepare=noisy)
    for (inputs, _), (again, _) in zip(whole[9:], fixed, strict=True):
        assert np.array_equal(inputs, again)


def test_classes_whose_folders_are_no_utf_8_have_names_that_can_be_shown(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8)
    for index, picture in enumerate(pictures):
        place = tmp_path / "data\udce9" / ("caf\udce9" if index % 2 else "tea")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index}.png").write_bytes(data_images.encode_png(picture))
    splits = data_splits.load(AutoencoderSettings(data=str(tmp_path / "data\udce9")))
    assert (splits.name, splits.class_names) == ("data\\xe9", ("caf\\xe9", "tea"))


def test_batches_are_the_same_where_no_map_is_parallel(monkeypatch):
    def batches() -> list[np.ndarray]:
        made = data_batches.training_batches(image_set(50), 16, seed=3, epoch=2)
        return [images.numpy() for images, _ in made]

    usual = batches()
    assert data_batches.map_options(2) == {"num_parallel_calls": 2, "deterministic": True}
    monkeypatch.setattr(tf.data, "AUTOTUNE", None)
    assert data_batches.map_options(2) == {}
    np.testing.assert_array_equal(batches(), usual)


def test_fewer_images_than_a_batch_make_one_batch():
    pool = image_set(5)
    assert data_batches.steps_per_epoch(pool, 16) == 1
    batches = orders(data_batches.training_batches(pool, 16, seed=0))
    assert [sorted(batch) for batch in batches] == [list(range(5))]


def labelled(num_images: int, batch_size: int, num_steps: int, *, seed: int = 3):
    """The batches of numbered images whose labels are a known function of the number."""
    labels = (np.arange(num_images) * 7) % 10
    return data_batches.labelled_batches(
        image_set(num_images), labels, batch_size, seed=seed, num_steps=num_steps
    )


def test_labelled_batches_are_the_training_batches_epoch_by_epoch():
    expected = [
        batch
        for epoch in range(3)
        for batch in orders(data_batches.training_batches(image_set(50), 16, seed=3, epoch=epoch))
    ]
    assert len(expected) == 9
    assert orders(labelled(50, 16, 9)) == expected
    assert orders(labelled(50, 16, 9, seed=4)) != expected
    batches = labelled(50, 16, 9)
    assert orders(batches) == orders(batches)  # a second pass begins at epoch 0 again


def test_each_label_goes_with_its_image():
    for inputs, targets in labelled(50, 16, 6):
        numbers = data_images.to_uint8(inputs.numpy())[:, 0, 0, 0].astype(np.int64)
        assert np.array_equal(targets, (numbers * 7) % 10)
        assert (inputs.dtype, targets.dtype) == (tf.float32, tf.int64)


@pytest.mark.parametrize("num_steps", [1, 3, 4, 7, 200])
def test_labelled_batches_are_as_many_as_asked_for(num_steps):
    batches = labelled(50, 16, num_steps)
    assert int(batches.cardinality()) == num_steps
    assert [len(batch) for batch in orders(batches)] == [16] * num_steps
    assert batches.element_spec[0].shape.as_list() == [16, 8, 8, 1]
    assert batches.element_spec[1].shape.as_list() == [16]


def test_fewer_labelled_images_than_a_batch_are_a_batch_in_new_orders():
    batches = orders(labelled(5, 16, 12))
    assert [sorted(batch) for batch in batches] == [list(range(5))] * 12
    assert len({tuple(batch) for batch in batches}) > 6


@pytest.mark.parametrize("on_disk", [False, True])
def test_batches_have_static_shapes_and_exact_values(on_disk, monkeypatch):
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    if on_disk:
        writer = pixel_storage.Writer(4, 0)
        writer.append(pixels)
        pool = ImageSet(writer.finish())
    else:
        pool = ImageSet(pixel_storage.MemoryStore(pixels))
    training = data_batches.training_batches(pool, 3, seed=0)
    assert training.element_spec[0].shape.as_list() == [3, 8, 8, 1]
    batches = data_batches.evaluation_batches(pool, 3)
    assert batches.element_spec[0].shape.as_list() == [None, 8, 8, 1]
    assert int(batches.cardinality()) == 2
    gathered = np.concatenate([inputs.numpy() for inputs, _ in batches])
    assert gathered.dtype == np.float32
    assert np.array_equal(gathered, data_images.to_unit(pixels))
    assert np.array_equal(pool.array(), data_images.to_unit(pixels))


def test_large_arrays_are_not_copied_into_a_tensor(monkeypatch):
    pool = image_set(20)
    expected = orders(data_batches.training_batches(pool, 4, seed=1))
    monkeypatch.setattr(data_image_set, "_TENSOR_LIMIT", 0)
    assert orders(data_batches.training_batches(pool, 4, seed=1)) == expected


def test_evaluation_is_in_order_and_prepared_alike_every_time():
    batches = data_batches.evaluation_batches(
        image_set(10), 4, prepare=lambda inputs, seed: (inputs, seed)
    )
    first, second = ([seed.numpy().tolist() for _, seed in batches] for _ in range(2))
    assert first == second
    assert len({tuple(seed) for seed in first}) == 3
    assert orders(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
