"""Ranges, shapes, grids and image files, and the three contracts that the whole package keeps.

1. Images are float32 (batch, height, width, channels) in [0, 1] at every public border.
2. A network that wants another range, such as [-1, 1], converts inside itself.
3. uint8 exists only where files are read and written; here it becomes float in [0, 1], and back.

Nothing here needs TensorFlow. Pillow is used here and in `pillow_pixels` only.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, features

from kerasunsup.data import bit_depth, pillow_pixels

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

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "AVIF": {"quality": 95},
    "WEBP": {"lossless": True},
}

# Large pictures are refused here; what else Pillow warns of changes no pixel.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what is wrong with a file is raised as well


def shown(text: str) -> str:
    r"""A text with file names in it as one line that every terminal can show.

    Bytes that are no UTF-8 become `\xe9`, line breaks `\n`; all else stays.

    Example:
        >>> print(shown("photo\udce9.png"))
        photo\xe9.png
    """
    # Python holds such a byte as one of 128 code points from U+DC80 on.
    readable = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in readable)


def tell(text: str) -> None:
    """Warns in one line of what a user should know of the images; commands show it on stderr.

    Example:
        >>> tell('3 files are no images')
    """
    logger.warning(f"kerasunsup: {shown(text)}")


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """Pixels as float32 in [0, 1].

    Args:
        pixels: uint8, any shape.

    Returns:
        float32 of the same shape: the pixels divided by 255.

    Example:
        >>> to_unit(np.array([0, 255], np.uint8))
        array([0., 1.], dtype=float32)
    """
    return pixels.astype(np.float32) / np.float32(255.0)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Images as pixels: clipped to [0, 1], times 255, rounded to the nearest.

    Args:
        images: float, any shape.

    Returns:
        uint8 of the same shape; the inverse of `to_unit` for what came from it.

    Example:
        >>> to_uint8(np.array([0.0, 0.5, 1.2]))
        array([  0, 128, 255], dtype=uint8)
    """
    return np.rint(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def deviation(images: np.ndarray) -> float:
    """Root mean square deviation of images from their mean image; 0 where all are alike.

    Args:
        images: float (num_images, height, width, channels) in [0, 1].

    Example:
        >>> deviation(np.stack([np.zeros((2, 2, 1)), np.ones((2, 2, 1))]))
        0.5
    """
    return float(np.sqrt(images.var(axis=0, dtype=np.float64).mean()))


def decode(
    content: bytes | str | Path,
    *,
    side: int | None = None,
    white: float = bit_depth.WHITE,
    claim: pillow_pixels.Claim | None = None,
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

    Example:
        >>> decode(encode_png(np.zeros((4, 6, 3), np.uint8))).shape
        (4, 6, 3)
    """
    pixels = _stored(content, white, claim, with_opacity=False).pixels
    return pixels if side is None else resize(pixels, side, side)


def stored(
    content: bytes | str | Path,
    *,
    white: float = bit_depth.WHITE,
    claim: pillow_pixels.Claim | None = None,
) -> pillow_pixels.StoredPicture:
    """The picture in an image file as `decode` returns it, and how the file holds it.

    The arguments and errors are those of `decode`.

    Example:
        >>> stored(encode_png(np.zeros((4, 6, 3), np.uint8))).kind
        'PNG'
    """
    return _stored(content, white, claim, with_opacity=True)


def kind_of_ending(name: str) -> str | None:
    """The format that the ending of a file's name promises; None for an ending of no image.

    Example:
        >>> kind_of_ending("photo.JPG")
        'JPEG'
    """
    return _FORMATS.get(Path(name).suffix.lower())


def _stored(
    content: bytes | str | Path,
    white: float,
    claim: pillow_pixels.Claim | None,
    *,
    with_opacity: bool,
) -> pillow_pixels.StoredPicture:
    with _opened(content) as picture:
        pillow_pixels.claim_bytes(picture, claim)
        kind, mode = str(picture.format), picture.mode
        is_first_of_many = pillow_pixels.is_first_of_many(picture)
        low_mode = bit_depth.LOW_BYTE_MODES.get(_raw_mode(picture))
        is_deep = ";16" in _raw_mode(picture) or mode.startswith(("I", "F"))
        if white == bit_depth.WHITE or picture.has_transparency_data:
            low_mode = None
        picture.load()
        pillow_pixels.turn_upright(picture)
        opacity = pillow_pixels.opacity_of(picture) if with_opacity else None
        pixels = pillow_pixels.pixels_of(picture, white)
    del picture  # before another copy is made
    if low_mode is not None:
        pixels = _with_low_bytes(content, pixels, low_mode, white)
    # What cameras call MPO is a JPEG file with further pictures behind the first.
    kind = "JPEG" if kind == "MPO" else kind
    return pillow_pixels.StoredPicture(pixels, kind, mode, opacity, is_deep, is_first_of_many)


def value_range(path: str | Path, claim: pillow_pixels.Claim | None = None) -> tuple[float, float]:
    """The smallest and largest value of a picture of more than 8 bits; 0 for all others.

    For pictures of 8 bits only the header is read; damaged files count as such.

    Example:
        >>> value_range("no such file.png")
        (0.0, 0.0)
    """
    try:
        with open(path, "rb", buffering=0) as file:
            header = file.read(25)
        if header[:4] == b"\x89PNG" and header[24:] != b"\x10":
            return 0.0, 0.0
        with _opened(path) as picture:
            if _raw_mode(picture) in bit_depth.LOW_BYTE_MODES:
                pillow_pixels.claim_bytes(picture, claim)
                return 0.0, 256.0 * float(np.max(picture.getextrema())) + 255.0
            if not picture.mode.startswith(("I", "F")):
                return 0.0, 0.0
            pillow_pixels.claim_bytes(picture, claim)
            values = np.nan_to_num(np.asarray(picture))
            return float(values.min()), float(values.max())
    except (OSError, ValueError):  # the reason is told where the file is decoded
        return 0.0, 0.0


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
        pillow_pixels.turn_upright(picture)
        low = pillow_pixels.pixels_of(picture, white)
    rows = zip(high, low, strict=True)  # one at a time, as floats take eight times the memory
    return np.stack([bit_depth.to_8_bits(high * 256.0 + low, white) for high, low in rows])


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    """Pillow's name for how values are laid out in a file that is not loaded yet."""
    args = picture.tile[0].args if picture.tile else ""
    return str(args if isinstance(args, str) else args[0]) if args else ""


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """One picture in another size, bicubic; shrinking averages over all pixels (no aliasing).

    Args:
        pixels: uint8 (height, width, 1|3).
        height: new height; the aspect ratio is not kept.
        width: new width.

    Returns:
        uint8 (height, width, 1|3), the same channels.

    Example:
        >>> resize(np.zeros((4, 6, 3), np.uint8), height=2, width=3).shape
        (2, 3, 3)
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

    Example:
        >>> with_channels(np.full((1, 1, 3), 255, np.uint8), 1)
        array([[[255]]], dtype=uint8)
    """
    if channels not in (1, 3) or pixels.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"images have 1 or 3 channels, received {pixels.shape[-1]} to be made {channels}"
        )
    if pixels.shape[-1] == 4:
        pixels = pillow_pixels.over_white(pixels[..., :3], pixels[..., 3:])
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

    Example:
        >>> grid(np.zeros((5, 8, 8, 1), np.uint8), columns=3).shape
        (22, 32, 3)
    """
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3):
        raise ValueError(f"a grid needs images (n, h, w, 1 or 3), received {images.shape}")
    if columns < 1 or padding < 0:
        raise ValueError(f"columns >= 1 and padding >= 0, received {columns} and {padding}")
    height, width = images.shape[1] + padding, images.shape[2] + padding
    rows = -(-len(images) // columns)
    cells = np.full((rows * columns, height, width, 3), 255, np.uint8)
    pixels = images if images.dtype == np.uint8 else to_uint8(images)
    cells[: len(images), padding:, padding:] = pixels
    picture = cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    picture = picture.reshape(rows * height, columns * width, 3)
    return np.pad(picture, ((0, padding), (0, padding), (0, 0)), constant_values=255)


def encode_png(picture: np.ndarray) -> bytes:
    """A PNG file of a picture, uint8 (height, width, 1|3); grey stays grey.

    Raises:
        ValueError: if the picture is of another shape or dtype.

    Example:
        >>> encode_png(np.zeros((4, 6, 1), np.uint8))[1:4]
        b'PNG'
    """
    return encode(picture, ".png")


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """An image file of a picture, in the format that a file name's suffix stands for.

    JPEG and AVIF (quality 95) and GIF (256 colours) lose a little; all others keep every value.

    Args:
        picture: uint8 (height, width, 1|3).
        suffix: one of `SUFFIXES`, in any case.

    Raises:
        ValueError: if the picture is of another shape or dtype, or the suffix is another.

    Example:
        >>> encode(np.zeros((4, 6, 3), np.uint8), ".bmp")[:2]
        b'BM'
    """
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        raise ValueError(f"images end in {', '.join(_FORMATS)}, received {suffix!r}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] not in (1, 3):
        raise ValueError(
            f"a picture is uint8 (h, w, 1 or 3), received {picture.dtype} {picture.shape}"
        )
    buffer = io.BytesIO()
    content = picture[..., 0] if picture.shape[-1] == 1 else picture
    Image.fromarray(np.ascontiguousarray(content)).save(buffer, kind, **_OPTIONS.get(kind, {}))
    return buffer.getvalue()
