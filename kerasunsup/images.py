"""Ranges, shapes, grids, image files: the one place where uint8 becomes float in [0, 1] and back.

Images are float32 (batch, height, width, channels) in [0, 1] at every public border; uint8 exists
only where files are read and written. Nothing here needs TensorFlow; Pillow is used only here.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

PIXEL_LIMIT = 64_000_000  # of one image file; a larger one is refused before it is unpacked
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF"}
SUFFIXES = frozenset(_FORMATS)

# Pillow warns between 89 and 179 megapixels; both are refused here, by name and in one line.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


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


def decode(content: bytes | Path) -> np.ndarray:
    """The picture in a PNG, JPEG, BMP or GIF file (its first frame).

    Turned upright by its EXIF orientation; transparent parts are white; 16 bits are scaled to 8.

    Args:
        content: the file's bytes, or its path.

    Returns:
        uint8 (height, width, channels): one channel where the file is grey, else three.

    Raises:
        ValueError: if it cannot be read, is truncated or has more than 64 megapixels; the text
            is a short reason.
    """
    try:
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(source, formats=("PNG", "JPEG", "BMP", "GIF")) as picture:
            width, height = picture.size
            if width * height > PIXEL_LIMIT:
                raise ValueError(f"{width} x {height} is more than 64 megapixels")
            picture.load()
            return _pixels(_upright(picture))
    except Image.UnidentifiedImageError:
        raise ValueError("no PNG, JPEG, BMP or GIF image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError("more than 64 megapixels") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error) or "unreadable") from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise ValueError(str(error) or type(error).__name__) from error


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; damaged EXIF turns nothing."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _pixels(picture: Image.Image) -> np.ndarray:
    """uint8 (height, width, 1|3) of a loaded picture in any of Pillow's modes."""
    mode, is_transparent = picture.mode, picture.has_transparency_data
    if mode.startswith(("I", "F")):  # grey with 16 bits (or more in one file format, unused)
        values = np.asarray(picture).astype(np.float64)
        pixels = np.rint(np.clip(values, 0, 65535) / 257.0).astype(np.uint8)
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
        pixels = _over_white(pixels[..., :3], pixels[..., 3:])
    else:
        pixels = np.asarray(picture.convert("RGB"))
    # A palette says nothing about colour: grey pictures are often stored with one.
    if mode in ("P", "PA") and not (pixels != pixels[..., :1]).any():
        return pixels[..., :1]
    return pixels


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
        ValueError: if either number of channels is another.
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
    """Many images in one picture: rows filled from the left, white around and between them.

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
        ValueError: if it is of another shape or dtype.
    """
    return _encode(picture, "PNG")


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """An image file of a picture in the format of a file name's suffix.

    JPEG (quality 95) and GIF (256 colours) keep less than the picture has; PNG and BMP keep all.

    Args:
        picture: uint8 (height, width, 1|3).
        suffix: one of `SUFFIXES`, in any case.

    Raises:
        ValueError: if the picture is of another shape or dtype, or the suffix is another.
    """
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        raise ValueError(f"images end in {', '.join(_FORMATS)}, received {suffix!r}")
    return _encode(picture, kind, **({"quality": 95} if kind == "JPEG" else {}))


def _encode(picture: np.ndarray, kind: str, **options: Any) -> bytes:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] not in (1, 3):
        raise ValueError(
            f"a picture is uint8 (h, w, 1 or 3), received {picture.dtype} {picture.shape}"
        )
    buffer = io.BytesIO()
    content = picture[..., 0] if picture.shape[-1] == 1 else picture
    Image.fromarray(np.ascontiguousarray(content)).save(buffer, kind, **options)
    return buffer.getvalue()
