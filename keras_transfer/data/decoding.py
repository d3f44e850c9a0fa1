"""Turns an encoded picture into the upright square RGB that a model sees.

Common JPEG files are decoded and resized by TensorFlow alone; everything else (and the orientation that a camera
noted) is read by Pillow, which knows what a person would see.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from keras_transfer.errors import DataError

MAX_PIXELS = 178_956_970
"""A picture that declares more is taken for a decompression bomb (Pillow's own limit, 512 MB of RGB)."""

JPEG_START = b"\xff\xd8\xff"
EXIF_WITHIN_BYTES = 4096
"""Where the Exif block of a JPEG file begins, if there is one: before anything else of size."""

SCALES = (1, 2, 4, 8)
"""By how much pictures can be decoded smaller than they are; for JPEG at a fraction of the work."""


def upright_rgb(encoded: bytes, *, size: int | None = None, aspect: str = "stretch") -> np.ndarray:
    """Return a picture of any kind as a person sees it: uint8 (height, width, 3).

    Turned as the camera noted, transparent parts on white, the first frame of an animation, 16-bit grey as 8-bit.
    size, aspect: the square that it is meant for; it may come smaller than it is but not below that. None: in full.
    Raises DataError, in a person's words, where it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(f"declares {picture.width} x {picture.height} pixels, more than any photograph")
            scale = 1
            if size:
                side = (max if aspect == "letterbox" else min)(picture.size)
                scale = max(each for each in SCALES if side >= each * size or each == 1)
            if picture.format == "JPEG":
                picture.draft(None, (picture.width // scale, picture.height // scale))
                scale = 1
            seen = _FROM_MODE.get(picture.mode, _plain)(ImageOps.exif_transpose(picture))
            return np.asarray(seen.reduce(scale) if scale > 1 else seen)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError("declares more pixels than any photograph") from None
    except Exception as error:  # Pillow's decoders raise nearly every type on a broken file
        raise DataError(f"is not a picture that can be read ({error})") from None


def _plain(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    seen = picture.convert("RGBA")
    white = Image.new("RGBA", seen.size, "white")
    return Image.alpha_composite(white, seen).convert("RGB")


def _palette(picture: Image.Image) -> Image.Image:
    return _on_white(picture) if "transparency" in picture.info else _plain(picture)


def _sixteen_bit(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    eight = values >> 8 if values.max(initial=0) > 255 else values
    return _plain(Image.fromarray(np.clip(eight, 0, 255).astype(np.uint8)))


_FROM_MODE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "RGBA": _on_white,
    "RGBa": _on_white,
    "LA": _on_white,
    "La": _on_white,
    "PA": _on_white,
    "P": _palette,
    "L": _palette,
    "RGB": _palette,
    "I": _sixteen_bit,
    "I;16": _sixteen_bit,
    "I;16L": _sixteen_bit,
    "I;16B": _sixteen_bit,
}
"""How each of Pillow's modes becomes RGB; the others say it themselves. Grey and RGB may name a transparent colour."""


def squared(pictures: Any, size: int, aspect: str) -> Any:
    """Return pictures as squares: uint8 (…, size, size, 3).

    pictures: uint8 (height, width, 3) or (batch, height, width, 3); size: side in pixels; aspect: `stretch` ignores
    the proportions, `crop` keeps the middle, `letterbox` pads with black. Plain TensorFlow operations, so a graph can
    hold it. Bilinear, and antialiased where a side becomes less than a third of what it was.
    """
    return _ASPECTS[aspect](pictures, size)


def _stretch(pictures: Any, size: int) -> Any:
    return _resized(pictures, size, size)


def _crop(pictures: Any, size: int) -> Any:
    height, width = tf.unstack(tf.shape(pictures)[-3:-1])
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resized(pictures[..., top : top + side, left : left + side, :], size, size)


def _letterbox(pictures: Any, size: int) -> Any:
    height, width = tf.unstack(tf.shape(pictures)[-3:-1])
    scale = size / tf.maximum(height, width)
    new_height, new_width = (
        tf.clip_by_value(tf.cast(tf.round(tf.cast(side, tf.float64) * scale), tf.int32), 1, size)
        for side in (height, width)
    )
    resized = _resized(pictures, new_height, new_width)
    return tf.image.pad_to_bounding_box(resized, (size - new_height) // 2, (size - new_width) // 2, size, size)


_ASPECTS: dict[str, Callable[[Any, int], Any]] = {"stretch": _stretch, "crop": _crop, "letterbox": _letterbox}


def _resized(pictures: Any, height: Any, width: Any) -> Any:
    old_height, old_width = tf.unstack(tf.shape(pictures)[-3:-1])
    least_height, least_width = tf.minimum(old_height, 3 * height), tf.minimum(old_width, 3 * width)
    # Down to a third, bilinear looks at two of three pixels or more. What it would skip over is averaged first, which
    # is seldom needed (decoding has done most of it) and costs four times as much as all the rest.
    near = tf.cond(
        tf.logical_and(old_height <= least_height, old_width <= least_width),
        lambda: pictures,
        lambda: _rounded(tf.image.resize(pictures, (least_height, least_width), antialias=True)),
    )
    return _rounded(tf.image.resize(near, (height, width)))


def _rounded(floats: Any) -> Any:
    return tf.cast(floats + 0.5, tf.uint8)


def decoded(encoded: Any, size: int, aspect: str) -> Any:
    """Return the square picture of encoded bytes: uint8 (size, size, 3), as a TensorFlow operation.

    encoded: scalar string. A broken picture raises InvalidArgumentError or UnknownError where it is evaluated.
    """
    is_jpeg = tf.strings.substr(encoded, 0, 3) == JPEG_START
    ways: list[Callable[[], Any]] = [lambda: _by_pillow(encoded, size, aspect)]
    ways += [partial(tf.io.decode_jpeg, encoded, channels=3, ratio=scale) for scale in SCALES]
    way = tf.cond(is_jpeg, lambda: _jpeg_way(encoded, size, aspect), lambda: 0)
    square = squared(tf.ensure_shape(tf.switch_case(way, ways), (None, None, 3)), size, aspect)
    # Exif in other formats is Pillow's business, which has turned those pictures already.
    noted = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, EXIF_WITHIN_BYTES), rb"(?s)\C*Exif\C*")
    turned = tf.cond(tf.logical_and(way > 0, noted), lambda: _turned(square, encoded), lambda: square)
    return tf.ensure_shape(turned, (size, size, 3))


def _jpeg_way(encoded: Any, size: int, aspect: str) -> Any:
    shape = tf.io.extract_jpeg_shape(encoded)
    pixels = tf.reduce_prod(tf.cast(shape[:2], tf.int64))
    with tf.control_dependencies([tf.debugging.assert_less_equal(pixels, tf.constant(MAX_PIXELS, tf.int64))]):
        whole = decoding_scale_side(shape[0], shape[1], aspect) // size
    # Four components are CMYK, which is told apart from its inverse by marks that only Pillow reads.
    scales = 1 + sum(tf.cast(whole >= scale, tf.int32) for scale in SCALES[1:])
    return tf.where(shape[2] == 4, 0, scales)


def decoding_scale_side(height: Any, width: Any, aspect: str) -> Any:
    """Return the side in pixels that decoding may not shrink below the size asked for."""
    return tf.maximum(height, width) if aspect == "letterbox" else tf.minimum(height, width)


def _turned(square: Any, encoded: Any) -> Any:
    orientation = tf.ensure_shape(tf.numpy_function(_orientation, [encoded], tf.int32), ())
    turns = [partial(turn, square) for turn in _TURNS]
    return tf.switch_case(orientation - 1, turns)


_TURNS: tuple[Callable[[Any], Any], ...] = (
    lambda x: x,
    lambda x: x[:, ::-1],
    lambda x: x[::-1, ::-1],
    lambda x: x[::-1],
    lambda x: tf.transpose(x, (1, 0, 2)),
    lambda x: tf.transpose(x[::-1], (1, 0, 2)),
    lambda x: tf.transpose(x[::-1, ::-1], (1, 0, 2)),
    lambda x: tf.transpose(x, (1, 0, 2))[::-1],
)
"""What undoes each value 1-8 of the Exif tag Orientation (Exif 2.32, 4.6.4 A)."""


def _orientation(encoded: bytes) -> np.int32:
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            noted = picture.getexif().get(0x0112, 1)
    except Exception:  # a broken note does not make the picture unreadable
        return np.int32(1)
    return np.int32(noted if isinstance(noted, int) and 1 <= noted <= 8 else 1)


def _by_pillow(encoded: Any, size: int, aspect: str) -> Any:
    return tf.numpy_function(lambda each: upright_rgb(each, size=size, aspect=aspect), [encoded], tf.uint8)
