"""What `--data` may name, and how images are split."""

import errno
import itertools

import numpy as np
import pytest
from image_sources import noise, numbers, parts_of, refusal, settings, write_images
from PIL import Image

from kerasunsup.data import splits as data_splits


def test_missing_path_is_one_line(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "missing")


def test_empty_name_is_one_line():
    assert "--data is empty" in refusal(" ")


def test_folder_without_permission_is_one_line(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    assert f"no permission to use {tmp_path}" in refusal(tmp_path)


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


@pytest.mark.parametrize("name", ["~nosuchuser/images", "x" * 5000])
def test_what_can_be_no_path_is_one_line(name):
    assert "is no name or path" in refusal(name)


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


@pytest.fixture
def numbered(tmp_path):
    """200 images, the number of each in its first two pixels."""
    pixels = np.zeros((200, 8, 8), np.uint8)
    pixels[:, 0, 0] = np.arange(200)
    np.savez(tmp_path / "numbered.npz", images=pixels, labels=np.repeat([0, 1], 100))
    return tmp_path / "numbered.npz"


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
