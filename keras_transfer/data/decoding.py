"""Turns an encoded picture into the upright square RGB that a model sees.

Common JPEG files are decoded and resized by TensorFlow alone; everything else (and the orientation that a camera
noted) is read by Pillow, which knows what a person would see.
"""

from __future__ import annotations

import io
from collections.abc import Callable
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

SCALES = (8, 4, 2)
"""By how much JPEG can be decoded smaller than it is, at a fraction of the work."""


def upright_rgb(encoded: bytes, *, at_least: int | None = None) -> np.ndarray:
    """Return a picture of any kind as a person sees it: uint8 (height, width, 3).

    Turned as the camera noted, transparent parts on white, the first frame of an animation, 16-bit grey as 8-bit.
    at_least: side in pixels below which neither side is shrunk while decoding; None decodes in full.
    Raises DataError, in a person's words, where it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(f"declares {picture.width} x {picture.height} pixels, more than any photograph")
            if at_least:
                picture.draft("RGB", (at_least, at_least))
            turned = ImageOps.exif_transpose(picture)
            return np.asarray(_FROM_MODE.get(turned.mode, _plain)(turned))
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
    hold it. Shrinking averages the pixels that fall together, growing is bilinear.
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
    batched = pictures if pictures.shape.rank == 4 else pictures[None]
    shrinks = tf.logical_and(height <= tf.shape(batched)[1], width <= tf.shape(batched)[2])
    # Averaging over areas costs half of a triangle filter with antialiasing; where a side grows there is nothing to
    # average, and areas would repeat pixels.
    floats = tf.cond(
        shrinks,
        lambda: tf.image.resize(batched, (height, width), method="area"),
        lambda: tf.image.resize(batched, (height, width), method="bilinear", antialias=True),
    )
    rounded = tf.cast(tf.clip_by_value(tf.round(floats), 0, 255), tf.uint8)
    return rounded if pictures.shape.rank == 4 else rounded[0]


def decoded(encoded: Any, size: int, aspect: str) -> Any:
    """Return the square picture of encoded bytes: uint8 (size, size, 3), as a TensorFlow operation.

    encoded: scalar string. A broken picture raises InvalidArgumentError or UnknownError where it is evaluated.
    """
    is_jpeg = tf.strings.substr(encoded, 0, 3) == JPEG_START
    square = tf.cond(
        is_jpeg, lambda: _jpeg(encoded, size, aspect), lambda: squared(_by_pillow(encoded, size), size, aspect)
    )
    return tf.ensure_shape(square, (size, size, 3))


def _jpeg(encoded: Any, size: int, aspect: str) -> Any:
    shape = tf.io.extract_jpeg_shape(encoded)
    # Four components are CMYK, which is told apart from its inverse by marks that only Pillow reads.
    return tf.cond(
        shape[2] == 4,
        lambda: squared(_by_pillow(encoded, size), size, aspect),
        lambda: _turned(_jpeg_square(encoded, shape, size, aspect), encoded),
    )


def _jpeg_square(encoded: Any, shape: Any, size: int, aspect: str) -> Any:
    height, width = tf.cast(shape[0], tf.int64), tf.cast(shape[1], tf.int64)
    tf.debugging.assert_less_equal(height * width, tf.constant(MAX_PIXELS, tf.int64))
    needed = tf.minimum(height, width) if aspect != "letterbox" else tf.maximum(height, width)

    def at(scale: int) -> Callable[[], Any]:
        return lambda: tf.io.decode_jpeg(encoded, channels=3, ratio=scale)

    pixels = tf.case([(needed >= scale * size, at(scale)) for scale in SCALES], default=at(1))
    return squared(tf.ensure_shape(pixels, (None, None, 3)), size, aspect)


def _turned(square: Any, encoded: Any) -> Any:
    head = tf.strings.substr(encoded, 0, EXIF_WITHIN_BYTES)
    noted = tf.strings.regex_full_match(head, rb"(?s)\C*Exif\C*")
    orientation = tf.cond(
        noted, lambda: tf.numpy_function(_orientation, [encoded], tf.int32), lambda: tf.constant(1, tf.int32)
    )
    orientation = tf.ensure_shape(orientation, ())
    turns = {position: (lambda turn=turn: turn(square)) for position, turn in enumerate(_TURNS)}
    return tf.switch_case(tf.clip_by_value(orientation, 1, 8) - 1, turns)


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


def _by_pillow(encoded: Any, size: int) -> Any:
    pixels = tf.numpy_function(lambda each: upright_rgb(each, at_least=size), [encoded], tf.uint8)
    return tf.ensure_shape(pixels, (None, None, 3))
