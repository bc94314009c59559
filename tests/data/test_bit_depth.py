"""Pictures of more than 8 bits."""

import numpy as np
import pytest
from image_sources import open_stream
from PIL import Image

from kerasunsup.apply import image_stream
from kerasunsup.data import bit_depth
from kerasunsup.data import splits as data_splits


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


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(0.5, (1.0, 1)), (2, (255.0, 8)), (1023, (1023.0, 10)), (3984, (4095.0, 12)),
     (4096, (16383.0, 14)), (16384, (65535.0, 16)), (1e6, (1048575.0, 20)),
     (2**32 - 1, (2.0**32 - 1, 32)), (1e30, (65535.0, 16))],
)  # fmt: skip
def test_white_is_the_largest_value_of_as_many_bits_as_are_used(largest, expected):
    assert bit_depth.white_of(largest) == expected


def test_values_above_white_and_below_black_are_clipped():
    values = np.array([-5.0, 0.0, 2047.5, 4095.0, 5000.0])
    assert bit_depth.to_8_bits(values, 4095.0).tolist() == [0, 0, 128, 255, 255]


def test_values_below_black_in_files_are_told_of(tmp_path, capsys):
    for index in range(3):
        values = np.linspace(-0.75, 1.0, 64, dtype=np.float32).reshape(8, 8)
        Image.fromarray(values).save(tmp_path / f"{index}.tif")
    stream = open_stream(tmp_path)
    assert next(stream.read([0])).min() == 0
    error = capsys.readouterr().err
    assert "values down to -0.75: all below 0 become black" in error
