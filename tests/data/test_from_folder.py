"""Folders of images: their splits, classes and files that cannot be read."""

import numpy as np
import pytest
from image_sources import noise, open_stream, parts_of, refusal, settings, write_images

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import image_stream
from kerasunsup.data import images as data_images
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet


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


def test_classes_with_odd_names_have_names_that_can_be_shown(tmp_path):
    for name in ("caf\udce9", "a\nb"):
        write_images(tmp_path / name, noise(10, 8, 8, 1))
    assert data_splits.read(str(tmp_path)).class_names == ("a\\nb", "caf\\xe9")


def test_classes_whose_folders_are_no_utf_8_have_names_that_can_be_shown(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8)
    for index, picture in enumerate(pictures):
        place = tmp_path / "data\udce9" / ("caf\udce9" if index % 2 else "tea")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index}.png").write_bytes(data_images.encode_png(picture))
    splits = data_splits.load(AutoencoderSettings(data=str(tmp_path / "data\udce9")))
    assert (splits.name, splits.class_names) == ("data\\xe9", ("caf\\xe9", "tea"))
