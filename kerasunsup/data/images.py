"""Ranges, shapes, grids and image files, and the three contracts that the whole package keeps.

1. Images are float32 (batch, height, width, channels) in [0, 1] at every public border.
2. A network that wants another range, such as [-1, 1], converts inside itself.
3. uint8 exists only where files are read and written; here it becomes float in [0, 1], and back.

Nothing here needs TensorFlow. Pillow is used in this module only.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, features

from kerasunsup.data import bit_depth

logger = logging.getLogger(__name__)

PIXEL_LIMIT = 64_000_000  # a larger image file is refused before it is unpacked
_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF",
    # A Pillow may have been built without these two.
    **({".webp": "WEBP"} if features.check("webp") else {}),
    **({".avif": "AVIF"} if features.check("avif") else {}),
}  # fmt: skip
SUFFIXES = frozenset(_FORMATS)
_READ = tuple(dict.fromkeys(_FORMATS.values()))
KINDS = " or ".join(", ".join(_READ).rsplit(", ", 1)).replace("WEBP", "WebP")

# Neither format has grey: three channels in one of them say nothing about colour.
_ALWAYS_COLOUR = ("WEBP", "AVIF")

# The most bytes that a pixel takes while it is unpacked: the decoder's own, Pillow's picture and
# the array. WebP, AVIF and TIFF are unpacked whole before Pillow copies them.
_BYTES, _BYTES_OF_ONE_CHANNEL, _MOST_BYTES = 10, 4, 16
_UNPACKED_BY_ROWS = ("PNG", "JPEG", "BMP", "GIF")
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "AVIF": {"quality": 95},
    "WEBP": {"lossless": True},
}
_STRIP = 1 << 20  # pixels that become an array at a time

# Is called with the number of bytes that unpacking takes, before it begins; it may wait for memory.
Claim = Callable[[int], object]

# Large pictures are refused here; what else Pillow warns of changes no pixel.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what is wrong with a file is raised as well


def shown(text: str) -> str:
    r"""A text with file names in it as one line that every terminal can show.

    Bytes that are no UTF-8 become `\xe9`, line breaks `\n`; all else stays.
    """
    # Python holds such a byte as one of 128 code points from U+DC80 on.
    readable = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in readable)


def tell(text: str) -> None:
    """Warns in one line of what a user should know of the images; commands show it on stderr."""
    logger.warning(f"kerasunsup: {shown(text)}")


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """Pixels as float32 in [0, 1].

    Args:
        pixels: uint8, any shape.

    Returns:
        float32 of the same shape: the pixels divided by 255.
    """
    return pixels.astype(np.float32) / np.float32(255.0)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Images as pixels: clipped to [0, 1], times 255, rounded to the nearest.

    Args:
        images: float, any shape.

    Returns:
        uint8 of the same shape; the inverse of `to_unit` for what came from it.
    """
    return np.rint(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def deviation(images: np.ndarray) -> float:
    """Root mean square deviation of images from their mean image; 0 where all are alike.

    Args:
        images: float (num_images, height, width, channels) in [0, 1].
    """
    return float(np.sqrt(images.var(axis=0, dtype=np.float64).mean()))


def decode(
    content: bytes | str | Path,
    *,
    side: int | None = None,
    white: float = bit_depth.WHITE,
    claim: Claim | None = None,
) -> np.ndarray:
    """The picture in an image file: its first frame or page.

    It is turned upright by its EXIF orientation; transparent parts become white; more than 8 bits
    are scaled to 8.

    Args:
        content: the file's bytes, or its path.
        side: height and width of the result; None keeps the file's own.
        white: the value that becomes 255 in pictures of more than 8 bits.
        claim: called with the bytes that unpacking takes, before it begins.

    Returns:
        uint8 (height, width, channels): one channel where the file is grey, else three.

    Raises:
        ValueError: if it cannot be read, is truncated or has more than 64 megapixels; the text
            is a short reason.
    """
    with _opened(content) as picture:
        _claim(picture, claim)
        low_mode = bit_depth.LOW_BYTE_MODES.get(_raw_mode(picture))
        if white == bit_depth.WHITE or picture.has_transparency_data:
            low_mode = None
        picture.load()
        _turn_upright(picture)
        pixels = _pixels(picture, white)
    del picture  # before another copy is made
    if low_mode is not None:
        pixels = _with_low_bytes(content, pixels, low_mode, white)
    return pixels if side is None else resize(pixels, side, side)


def largest_value(path: str | Path, claim: Claim | None = None) -> float:
    """The largest value of a picture of more than 8 bits; 0 for all others and for damaged files.

    For pictures of 8 bits only the header is read.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(25)
        if header[:4] == b"\x89PNG" and header[24:] != b"\x10":
            return 0.0
        with _opened(path) as picture:
            if _raw_mode(picture) in bit_depth.LOW_BYTE_MODES:
                _claim(picture, claim)
                return 256.0 * float(np.max(picture.getextrema())) + 255.0
            if not picture.mode.startswith(("I", "F")):
                return 0.0
            _claim(picture, claim)
            return float(np.nan_to_num(np.asarray(picture)).max())
    except (OSError, ValueError):  # the reason is told where the file is decoded
        return 0.0


@contextlib.contextmanager
def _opened(content: bytes | str | Path) -> Iterator[ImageFile.ImageFile]:
    """Opens the file and reads its header; whatever is wrong with it becomes a ValueError."""
    try:
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(source, formats=_READ) as picture:
            width, height = picture.size
            if width * height > PIXEL_LIMIT:
                raise ValueError(f"{width} x {height} is more than 64 megapixels")
            yield picture
    except Image.UnidentifiedImageError:
        raise ValueError(f"no {KINDS} image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError("more than 64 megapixels") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error) or "unreadable") from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise ValueError(str(error) or type(error).__name__) from error


def _with_low_bytes(
    content: bytes | str | Path, high: np.ndarray, low_mode: str, white: float
) -> np.ndarray:
    """Scales 16-bit colour to 8 bits; the file is unpacked once more for the low bytes."""
    with _opened(content) as picture:
        args = picture.tile[0].args
        args = low_mode if isinstance(args, str) else (low_mode, *(args or ())[1:])
        picture.tile = [tile._replace(args=args) for tile in picture.tile]
        picture.load()
        _turn_upright(picture)
        low = _pixels(picture, white)
    rows = (
        bit_depth.to_8_bits(high_row * 256.0 + low_row, white)
        for high_row, low_row in zip(high, low, strict=True)
    )
    return np.stack(list(rows))


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    """Pillow's name for how values are laid out in a file that is not loaded yet."""
    args = picture.tile[0].args if picture.tile else ""
    return str(args if isinstance(args, str) else args[0]) if args else ""


def _claim(picture: Image.Image, claim: Claim | None) -> None:
    if claim is not None:
        bytes_a_pixel = _BYTES_OF_ONE_CHANNEL if picture.mode in ("1", "L", "P") else _BYTES
        if picture.format not in _UNPACKED_BY_ROWS:
            bytes_a_pixel = _MOST_BYTES
        claim(picture.width * picture.height * bytes_a_pixel)


def _turn_upright(picture: Image.Image) -> None:
    """Turns the picture as its EXIF orientation says; damaged EXIF turns nothing."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(picture, in_place=True)


def _pixels(picture: Image.Image, white: float) -> np.ndarray:
    """A loaded picture as uint8 (height, width, 1|3), made in strips to avoid a second copy."""
    width, height = picture.size
    num_rows = max(1, _STRIP // width)
    pixels = _strip(picture.crop((0, 0, width, min(height, num_rows))), white)
    if num_rows < height:
        pixels = np.empty((height, *pixels.shape[1:]), np.uint8)
        for top in range(0, height, num_rows):
            box = (0, top, width, min(height, top + num_rows))
            pixels[top : top + num_rows] = _strip(picture.crop(box), white)
    # A palette says nothing about colour either: grey pictures are often stored with one.
    if pixels.shape[-1] == 3 and (picture.mode in ("P", "PA") or picture.format in _ALWAYS_COLOUR):
        strips = (pixels[top : top + num_rows] for top in range(0, height, num_rows))
        if all(not (strip != strip[..., :1]).any() for strip in strips):
            return pixels[..., :1].copy()
    return pixels


def _strip(picture: Image.Image, white: float) -> np.ndarray:
    """A picture in any of Pillow's modes as uint8 (height, width, 1|3)."""
    mode, is_transparent = picture.mode, picture.has_transparency_data
    if mode.startswith(("I", "F")):  # grey, integers of 16 or 32 bits or floats
        values = np.nan_to_num(np.asarray(picture).astype(np.float64))
        pixels = bit_depth.to_8_bits(values, white)
        key = picture.info.get("transparency")
        if isinstance(key, int):
            pixels[values == key] = 255
        return pixels[..., np.newaxis]
    if mode in ("1", "L", "LA", "La"):
        if is_transparent:
            pixels = np.asarray(picture.convert("LA"))
            return _over_white(pixels[..., :1], pixels[..., 1:])
        return np.asarray(picture.convert("L"))[..., np.newaxis]
    if is_transparent:
        pixels = np.asarray(picture.convert("RGBA"))
        return _over_white(pixels[..., :3], pixels[..., 3:])
    return np.asarray(picture.convert("RGB"))


def _over_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Uint8 (height, width, 1|3) laid over white by its opacity, uint8 (height, width, 1)."""
    opacity = alpha.astype(np.float32) / 255.0
    return np.rint(pixels * opacity + 255.0 * (1.0 - opacity)).astype(np.uint8)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """One picture in another size, bicubic; shrinking averages over all pixels (no aliasing).

    Args:
        pixels: uint8 (height, width, 1|3).
        height: new height; the aspect ratio is not kept.
        width: new width.

    Returns:
        uint8 (height, width, 1|3), the same channels.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    return resized.reshape(height, width, pixels.shape[-1])


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pictures with one (grey) or three (colour) channels.

    Args:
        pixels: uint8 (..., 1|3), or (..., 4) with opacity, which is laid over white.
        channels: 1 or 3. Grey is the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Returns:
        uint8 (..., channels).

    Raises:
        ValueError: if the pictures have, or are to have, another number of channels.
    """
    if channels not in (1, 3) or pixels.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"images have 1 or 3 channels, received {pixels.shape[-1]} to be made {channels}"
        )
    if pixels.shape[-1] == 4:
        pixels = _over_white(pixels[..., :3], pixels[..., 3:])
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(np.uint8)[..., np.newaxis]


def grid(images: np.ndarray, *, columns: int, padding: int = 2) -> np.ndarray:
    """Many images in one picture: rows are filled from the left, on a white ground.

    Args:
        images: (num_images, height, width, 1|3), uint8, or float in [0, 1], which is clipped.
        columns: images a row.
        padding: white pixels around each image; 0 sets them edge to edge.

    Returns:
        uint8 (rows * (height + padding) + padding, columns * (width + padding) + padding, 3);
        cells without an image are white.

    Raises:
        ValueError: if there is no image, no column, or another number of channels.
    """
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3):
        raise ValueError(f"a grid needs images (n, h, w, 1 or 3), received {images.shape}")
    if columns < 1 or padding < 0:
        raise ValueError(f"columns >= 1 and padding >= 0, received {columns} and {padding}")
    num_images, height, width, _ = images.shape
    rows = -(-num_images // columns)
    cells = np.full((rows * columns, height + padding, width + padding, 3), 255, np.uint8)
    pixels = images if images.dtype == np.uint8 else to_uint8(images)
    cells[:num_images, padding:, padding:] = pixels
    picture = cells.reshape(rows, columns, height + padding, width + padding, 3)
    picture = picture.swapaxes(1, 2).reshape(
        rows * (height + padding), columns * (width + padding), 3
    )
    return np.pad(picture, ((0, padding), (0, padding), (0, 0)), constant_values=255)


def encode_png(picture: np.ndarray) -> bytes:
    """A PNG file of a picture, uint8 (height, width, 1|3); grey stays grey.

    Raises:
        ValueError: if the picture is of another shape or dtype.
    """
    return _encode(picture, "PNG")


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """An image file of a picture, in the format that a file name's suffix stands for.

    JPEG and AVIF (quality 95) and GIF (256 colours) lose a little; all others keep every value.

    Args:
        picture: uint8 (height, width, 1|3).
        suffix: one of `SUFFIXES`, in any case.

    Raises:
        ValueError: if the picture is of another shape or dtype, or the suffix is another.
    """
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        raise ValueError(f"images end in {', '.join(_FORMATS)}, received {suffix!r}")
    return _encode(picture, kind, **_OPTIONS.get(kind, {}))


def _encode(picture: np.ndarray, kind: str, **options: Any) -> bytes:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] not in (1, 3):
        raise ValueError(
            f"a picture is uint8 (h, w, 1 or 3), received {picture.dtype} {picture.shape}"
        )
    buffer = io.BytesIO()
    content = picture[..., 0] if picture.shape[-1] == 1 else picture
    Image.fromarray(np.ascontiguousarray(content)).save(buffer, kind, **options)
    return buffer.getvalue()
