"""IDX files, usual and damaged ones."""

import gzip
import struct

import numpy as np
import pytest
from image_sources import GOOD, idx, noise, refusal, settings

from kerasunsup.data import images as data_images
from kerasunsup.data import splits as data_splits


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
