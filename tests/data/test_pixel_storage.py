"""Pixels in memory and on disk."""

import errno
import io
import tempfile

import numpy as np
import pytest
from image_sources import noise, settings, write_images

from kerasunsup.data import batches as data_batches
from kerasunsup.data import pixel_storage
from kerasunsup.data import splits as data_splits


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


def test_large_images_are_read_a_few_at_a_time():
    class Large:
        shape, dtype, sizes = (2048, 2048, 3), np.dtype(np.uint8), []

        def __len__(self):
            return 12

        def read(self, positions):
            self.sizes.append(len(positions))
            return positions

    read = np.concatenate(list(pixel_storage.chunks(Large())))
    np.testing.assert_array_equal(read, np.arange(12))
    assert max(Large.sizes) == 5  # 64 MB
