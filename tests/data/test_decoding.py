"""Pictures that are decoded ahead, in order and in bounded memory."""

import os
import threading
import time

import numpy as np
import pytest
from image_sources import write_images

from kerasunsup.data import decoding, from_folder, pillow_pixels
from kerasunsup.data import images as data_images


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


def test_outcomes_that_are_held_back_block_no_claim(monkeypatch):
    monkeypatch.setattr(decoding, "_SECONDS_HELD", 60)
    monkeypatch.setattr(decoding, "DECODING_LIMIT", 250)

    def make(item, claim):
        claim(100)
        return np.full(100, item, np.uint8)

    assert [part[0] for part in decoding.in_order(make, range(200))] == list(range(200))


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
