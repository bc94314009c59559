"""Ranges, decoding of every kind of file, grids."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from kerasunsup.data import bit_depth, images, pillow_pixels


def encoded(picture: Image.Image, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, content: bytes, *, bits: int = 8, kind: int = 0) -> bytes:
    """A PNG with a header of one's own."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(content))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def png_with_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds almost nothing."""
    return png(width, height, bytes(64))


def test_images_work_without_tensorflow():
    code = "import sys, kerasunsup.data.images; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unit_and_back_is_the_identity():
    pixels = np.arange(256, dtype=np.uint8)
    unit = images.to_unit(pixels)
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (0.0, 1.0)
    assert np.array_equal(images.to_uint8(unit), pixels)


def test_to_uint8_clips_and_rounds():
    values = np.array([-1.0, 0.4 / 255, 0.6 / 255, 2.0])
    assert images.to_uint8(values).tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF"])
def test_grey_stays_one_channel(file_format):
    pixels = np.full((9, 12), 77, np.uint8)
    decoded = images.decode(encoded(Image.fromarray(pixels), file_format))
    assert (decoded.shape, decoded.dtype) == ((9, 12, 1), np.uint8)
    assert np.abs(decoded.astype(int) - 77).max() <= 1


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF"])
def test_colour_has_three_channels(file_format):
    decoded = images.decode(encoded(Image.new("RGB", (12, 9), (200, 40, 90)), file_format))
    assert decoded.shape == (9, 12, 3)
    assert np.abs(decoded.astype(int) - (200, 40, 90)).max() <= 4


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("1", (8, 8), 1), [255]),
        (Image.new("LA", (8, 8), (0, 0)), [255]),
        (Image.new("LA", (8, 8), (100, 255)), [100]),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), [255, 255, 255]),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), [255, 127, 127]),
        (Image.new("RGB", (8, 8), (10, 200, 30)).quantize(4), [10, 200, 30]),
        (Image.new("RGB", (8, 8), (60, 60, 60)).quantize(4), [60]),
    ],
)
def test_every_mode_becomes_grey_or_colour(picture, expected):
    decoded = images.decode(encoded(picture))
    assert decoded.shape == (8, 8, len(expected))
    assert decoded[4, 4].tolist() == expected


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_transparent_colour_is_white(mode):
    picture = Image.new(mode, (8, 8), 0)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 0, 0])
    key = (0, 0, 0) if mode == "RGB" else 0
    decoded = images.decode(encoded(picture, transparency=key))
    assert (decoded == 255).all()


def test_cmyk_jpeg_becomes_colour():
    decoded = images.decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert decoded.shape == (8, 8, 3)
    assert decoded[4, 4, 0] > 200 > 60 > decoded[4, 4, 1]


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    decoded = images.decode(encoded(Image.fromarray(values)))
    assert decoded.shape == (8, 8, 1)
    assert np.array_equal(decoded[..., 0], np.rint(values / 257.0))


def test_exif_orientation_is_applied(tmp_path):
    picture = Image.new("L", (16, 8))
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    path = tmp_path / "turned.jpg"
    picture.save(path, exif=exif)
    assert images.decode(path).shape == (16, 8, 1)


def test_first_frame_of_a_gif():
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (images.decode(content) == 10).all()


@pytest.mark.parametrize(("width", "height"), [(9000, 9000), (12000, 10000), (60000, 60000)])
def test_decompression_bombs_are_refused_by_their_header(width, height):
    with pytest.raises(ValueError, match="64 megapixels"):
        images.decode(png_with_header(width, height))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF"])
def test_truncated_files_are_refused(file_format):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = encoded(Image.fromarray(noise), file_format)
    with pytest.raises(ValueError, match=r"."):
        images.decode(content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(ValueError, match=f"no {images.KINDS} image"):
        images.decode(content)


def test_missing_file_and_other_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        images.decode(tmp_path / "missing.png")
    with pytest.raises(ValueError, match="no PNG"):
        images.decode(encoded(Image.new("L", (8, 8)), "PPM"))


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_keeps_mean_and_channels(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, channels), np.uint8)
    resized = images.resize(pixels, 16, 12)
    assert (resized.shape, resized.dtype) == ((16, 12, channels), np.uint8)
    assert abs(resized.mean() - pixels.mean()) < 2.0
    assert resized.std() < 0.5 * pixels.std()  # averaged, not picked
    assert images.resize(pixels, 64, 48) is pixels


def test_with_channels_between_grey_and_colour():
    grey = np.array([[[0], [100], [255]]], np.uint8)
    colour = images.with_channels(grey, 3)
    assert colour.tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    assert np.array_equal(images.with_channels(colour, 1), grey)
    assert images.with_channels(np.array([[[9, 9, 9, 0]]], np.uint8), 3).tolist() == [[[255] * 3]]
    with pytest.raises(ValueError, match="received 2"):
        images.with_channels(np.zeros((1, 1, 2), np.uint8), 3)


def test_grid_fills_rows_from_the_left():
    values = np.linspace(0.2, 0.6, 5).reshape(5, 1, 1, 1) * np.ones((5, 4, 6, 1))
    picture = images.grid(values, columns=3, padding=2)
    assert (picture.shape, picture.dtype) == ((2 * 6 + 2, 3 * 8 + 2, 3), np.uint8)
    assert (picture[2:6, 10:16] == round(0.3 * 255)).all()
    assert (picture[8:12, 2:8] == round(0.5 * 255)).all()
    assert (picture[8:12, 18:24] == 255).all()  # the cell without an image
    assert (picture[:2] == 255).all()
    assert (picture[:, -2:] == 255).all()


def test_grid_without_padding_has_no_gaps():
    values = np.random.default_rng(0).random((4, 5, 7, 3))
    picture = images.grid(values, columns=2, padding=0)
    assert picture.shape == (10, 14, 3)
    assert np.array_equal(picture[5:, :7], images.to_uint8(values[2]))


def test_grid_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="received"):
        images.grid(np.zeros((0, 4, 4, 1)), columns=2)
    with pytest.raises(ValueError, match="columns >= 1"):
        images.grid(np.zeros((1, 4, 4, 1)), columns=0)


@pytest.mark.parametrize("suffix", sorted(images.SUFFIXES))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_that_is_read_is_written_too(suffix, channels):
    """An image that is restored goes back into a file of its own name."""
    smooth = np.linspace(40, 200, 32 * 32 * channels).reshape(32, 32, channels).astype(np.uint8)
    decoded = images.decode(images.encode(smooth, suffix.upper()))
    assert decoded.shape == smooth.shape
    loss = np.abs(decoded.astype(int) - smooth).max()
    lossless = (".png", ".bmp", ".tif", ".tiff", ".webp")
    assert loss == 0 if suffix in lossless else loss < 24
    assert {".webp", ".avif", ".jfif", ".jpe", ".tif"} <= images.SUFFIXES


def test_first_page_of_a_tiff():
    pages = [Image.new("L", (8, 8), value) for value in (10, 200)]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert (images.decode(content) == 10).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_strips_make_the_same_pixels_as_the_whole(mode, monkeypatch):
    values = np.random.default_rng(0).integers(0, 256, (30, 20, 4), np.uint8)
    picture = Image.fromarray(values)
    if mode == "I;16":
        picture = Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    elif mode == "P":
        picture = picture.convert("RGB").quantize(64)
    else:
        picture = picture.convert(mode)
    content = encoded(picture, transparency=3) if mode == "P" else encoded(picture)
    whole = images.decode(content)
    monkeypatch.setattr(pillow_pixels, "_STRIP", 7 * 20)
    assert np.array_equal(images.decode(content), whole)


def test_values_above_white_are_white():
    values = np.array([[0, 2048, 4095, 9000]] * 8, np.uint16)
    decoded = images.decode(encoded(Image.fromarray(values)), white=4095)
    assert decoded[0, :, 0].tolist() == [0, 128, 255, 255]


def test_twelve_bits_in_a_colour_png_are_scaled_too(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (9, 11, 3)).astype(">u2")
    values[0, 0] = 4095
    content = png(11, 9, b"".join(b"\0" + row.tobytes() for row in values), bits=16, kind=2)
    (tmp_path / "a.png").write_bytes(content)
    assert bit_depth.white_of(images.value_range(tmp_path / "a.png")[1]) == (4095.0, 12)
    expected = np.rint(values.astype(float) / (4095 / 255))
    assert np.array_equal(images.decode(content, white=4095.0), expected)
    assert np.array_equal(images.decode(content), values // 256)


def test_pictures_of_eight_bits_have_no_large_values(tmp_path):
    for name, kind in (("a.png", "PNG"), ("a.tif", "TIFF"), ("b.png", "JPEG")):
        (tmp_path / name).write_bytes(encoded(Image.new("RGB", (8, 8), (9, 9, 255)), kind))
        assert images.value_range(tmp_path / name) == (0.0, 0.0)
    (tmp_path / "c.png").write_bytes(b"damaged")
    assert images.value_range(tmp_path / "c.png") == (0.0, 0.0)
    assert images.value_range(tmp_path / "missing.png") == (0.0, 0.0)


def test_floats_in_a_tiff_become_grey():
    values = np.full((8, 8), 0.5, np.float32)
    values[0, :2] = np.nan, 1.0
    decoded = images.decode(encoded(Image.fromarray(values), "TIFF"), white=1.0)
    assert decoded[0, :3, 0].tolist() == [0, 255, 128]


def test_memory_is_claimed_between_header_and_pixels():
    claimed = []
    assert images.decode(encoded(Image.new("RGB", (30, 20))), claim=claimed.append).shape[0] == 20
    assert claimed == [30 * 20 * 10]
    with pytest.raises(ValueError, match=r"."):
        images.decode(png_with_header(300, 200), claim=claimed.append)
    assert claimed[1:] == [300 * 200 * 4]


def test_a_picture_is_resized_as_it_is_decoded():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    expected = images.resize(pixels, 8, 8)
    assert np.array_equal(images.decode(images.encode_png(pixels), side=8), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain.png", "plain.png"),
        ("\u65e5\u672c 1.png", "\u65e5\u672c 1.png"),
        ("caf\udce9.png", "caf\\xe9.png"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\ud800", "\\ud800"),
        ("quo\"te'", "quo\"te'"),
    ],
)
def test_every_name_is_shown_in_one_line(text, expected):
    assert images.shown(text) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_png_and_back_is_the_identity(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, channels), np.uint8)
    assert np.array_equal(images.decode(images.encode_png(pixels)), pixels)


def test_png_refuses_other_arrays():
    with pytest.raises(ValueError, match="float64"):
        images.encode_png(np.zeros((4, 4, 3)))


@pytest.mark.parametrize("channels", [2, 4])
def test_colour_of_16_bits_with_opacity_is_told_to_hold_more(channels):
    kind = {2: 4, 4: 6}[channels]
    values = np.full((8, 8, channels), 0x0102, ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(name, content):
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    header = struct.pack(">IIBBBBB", 8, 8, 16, kind, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert images.stored(content).is_deep
