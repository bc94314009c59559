"""Pictures of Pillow's to uint8 (height, width, 1 or 3); moving ones and thumbnails back."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, features

from kerasunsup.data import bit_depth

# Neither format has grey: three channels in one of them say nothing about colour.
_ALWAYS_COLOUR = ("WEBP", "AVIF")

# The most bytes that a pixel takes while it is unpacked: the decoder's own, Pillow's picture and
# the array. WebP, AVIF and TIFF are unpacked whole before Pillow copies them.
_BYTES, _BYTES_OF_ONE_CHANNEL, _MOST_BYTES = 10, 4, 16
_UNPACKED_BY_ROWS = ("PNG", "JPEG", "BMP", "GIF")

_STRIP = 1 << 20  # pixels that become an array at a time

_THUMBNAIL_QUALITY = 80  # of 100: at 64 pixels nothing is seen of what is lost

# Is called with the number of bytes that unpacking takes, before it begins; it may wait for memory.
Claim = Callable[[int], object]


class StoredPicture(NamedTuple):
    """A picture, and how its file holds it."""

    pixels: np.ndarray  # uint8 (height, width, 1|3), upright, over white
    kind: str  # the format of the content, such as JPEG, whatever the file is called; "" for none
    mode: str  # Pillow's name: L is grey, P a palette, RGB colour, RGBA colour with opacity, ...
    opacity: np.ndarray | None = None  # uint8 (height, width); None where all of it is opaque
    is_deep: bool = False  # whether the file holds more than 8 bits a value
    is_first_of_many: bool = False  # whether the file holds further frames or pages


def claim_bytes(picture: Image.Image, claim: Claim | None) -> None:
    """Calls `claim`, if there is one, with the bytes that unpacking the picture takes at most."""
    if claim is not None:
        bytes_a_pixel = _BYTES_OF_ONE_CHANNEL if picture.mode in ("1", "L", "P") else _BYTES
        if picture.format not in _UNPACKED_BY_ROWS:
            bytes_a_pixel = _MOST_BYTES
        claim(picture.width * picture.height * bytes_a_pixel)


def is_first_of_many(picture: Image.Image) -> bool:
    """Whether the file holds further frames or pages; previews behind a JPEG file are none."""
    if picture.format == "MPO":
        return False
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # what is damaged behind the first frame is no fault of it
        return False


def turn_upright(picture: Image.Image) -> None:
    """Turns the picture as its EXIF orientation says; damaged EXIF turns nothing."""
    if picture.format == "PNG" and not picture.info:  # a quarter of a small picture's decoding
        return
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(picture, in_place=True)


def pixels_of(picture: Image.Image, white: float) -> np.ndarray:
    """A loaded picture as uint8 (height, width, 1|3), made in strips to avoid a second copy."""
    width, height = picture.size
    num_rows = max(1, _STRIP // width)
    if num_rows >= height:
        pixels = _strip(picture, white)
    else:
        pixels = _strip(picture.crop((0, 0, width, num_rows)), white)
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


def opacity_of(picture: Image.Image) -> np.ndarray | None:
    """The opacity of a loaded picture, uint8 (height, width); None where every pixel is opaque."""
    if not picture.has_transparency_data:
        return None
    if picture.mode.startswith(("I", "F")):  # one value of all may stand for transparent
        is_clear = np.asarray(picture) == picture.info.get("transparency")
        opacity = np.where(is_clear, 0, 255).astype(np.uint8)
    else:
        mode = "LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA"
        opacity = np.asarray(picture.convert(mode).getchannel("A"))
    return opacity if opacity.min() < 255 else None


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
            return over_white(pixels[..., :1], pixels[..., 1:])
        return _values(picture, "L")[..., np.newaxis]
    if is_transparent:
        pixels = np.asarray(picture.convert("RGBA"))
        return over_white(pixels[..., :3], pixels[..., 3:])
    return _values(picture, "RGB")


def _values(picture: Image.Image, mode: str) -> np.ndarray:
    """The values of a picture in a mode; `convert` copies one that is in it already."""
    return np.asarray(picture if picture.mode == mode else picture.convert(mode))


def over_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Uint8 (height, width, 1|3) laid over white by its opacity, uint8 (height, width, 1)."""
    opacity = alpha.astype(np.float32) / 255.0
    return np.rint(pixels * opacity + 255.0 * (1.0 - opacity)).astype(np.uint8)


def encode_gif(frames: np.ndarray, milliseconds: int = 400) -> bytes:
    """A moving picture that begins again at its end; its last frame stands four times as long.

    Args:
        frames: uint8 (num_frames, height, width, 3), one or more.
        milliseconds: that a frame stands.

    Raises:
        ValueError: if the frames are of another shape or dtype.

    Example:
        >>> encode_gif(np.zeros((2, 4, 6, 3), np.uint8))[:3]
        b'GIF'
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise ValueError(
            f"frames are uint8 (n, height, width, 3), received {frames.dtype} {frames.shape}"
        )
    first, *others = (Image.fromarray(frame) for frame in frames)
    buffer = io.BytesIO()
    first.save(
        buffer, "GIF", save_all=True, append_images=others, loop=0,
        duration=[milliseconds] * (len(frames) - 1) + [4 * milliseconds],
    )  # fmt: skip
    return buffer.getvalue()


def encode_thumbnail(picture: np.ndarray) -> bytes:
    """A small file of a picture that need not keep every value: WebP, or JPEG without it.

    Args:
        picture: uint8 (height, width, 3).

    Raises:
        ValueError: if the picture is of another shape or dtype.

    Example:
        >>> encode_thumbnail(np.zeros((4, 6, 3), np.uint8))[8:12]
        b'WEBP'
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(
            f"a picture is uint8 (height, width, 3), received {picture.dtype} {picture.shape}"
        )
    buffer = io.BytesIO()
    kind = "WEBP" if features.check("webp") else "JPEG"
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, kind, quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()
