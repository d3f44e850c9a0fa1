"""Decodes picture files inside graphs that run without this package: an exported model, a tf.data service.

JPEG and PNG come out as `decoding` gives them, to the last bit; other files as TensorFlow reads them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from keras_transfer.data.decoding import JPEG_START, SCALES
from keras_transfer.data.graph_squaring import squared

PNG_START = b"\x89PNG\r\n\x1a\n"
SIXTEEN_BIT_GREY, GREY = b"\x10\x00", b"\x00"
"""Depth and colour type of a PNG file, its bytes 24 and 25, and the latter alone (PNG 1.2, 11.2.2)."""

NOTED = (
    r"(?s)\C*?(?:Exif\x00\x00|eXIf)(?:II\*\x00\C*?\x12\x01\x03\x00\x01\x00\x00\x00"
    r"|MM\x00\*\C*?\x01\x12\x00\x03\x00\x00\x00\x01\x00)([\x01-\x08])\C*"
)
"""The first tag Orientation (0x0112, one SHORT) after the start of an Exif block, in either byte order
(Exif 2.32, 4.6.2 and 4.6.4 A). Searched for rather than parsed: TensorFlow has no operation that reads Exif."""
NOTED_WITHIN_BYTES = 65_536
"""An Exif block is one segment of a JPEG file, and no segment is longer."""


def square_rgb(encoded: Any, size: int, aspect: str) -> Any:
    """Return the square picture of an encoded JPEG, PNG, BMP or GIF file, the first two upright: uint8 (size, size, 3).

    encoded: a scalar string tensor; aspect: as `squaring.square` takes it. TensorFlow's errors where it is no picture.
    """
    ways = {
        JPEG_START: lambda: _turned(square_jpeg(encoded, size, aspect), _noted(encoded)),
        PNG_START: lambda: square_png(encoded, size, aspect),
    }
    begins = [(tf.strings.substr(encoded, 0, len(start)) == start, way) for start, way in ways.items()]
    square = tf.case(begins, default=lambda: _square_of_any(encoded, size, aspect))
    return tf.ensure_shape(square, (size, size, 3))


def square_jpeg(encoded: Any, size: int, aspect: str) -> Any:
    """Return the square picture of an encoded JPEG file, as it is stored: uint8 (size, size, 3)."""
    # The same steps as in `decoding`; TensorFlow's own choice of method is a less accurate one.
    decode = partial(tf.io.decode_jpeg, encoded, channels=3, dct_method="INTEGER_ACCURATE")
    way = _way(tf.io.extract_jpeg_shape(encoded), size, aspect)
    return _square(tf.switch_case(way, [partial(decode, ratio=scale) for scale in SCALES]), size, aspect)


def square_png(encoded: Any, size: int, aspect: str) -> Any:
    """Return the square picture of an encoded PNG file, upright and on white: uint8 (size, size, 3)."""
    pixels = _turned(_on_white(_with_alpha(encoded)), _noted(encoded))
    way = _way(tf.shape(pixels), size, aspect)
    return _square(tf.switch_case(way, [partial(_reduced, pixels, scale) for scale in SCALES]), size, aspect)


def _way(shape: Any, size: int, aspect: str) -> Any:
    """The position in SCALES of what `decoding.scale_of` says of a height and a width."""
    side = (tf.maximum if aspect == "letterbox" else tf.minimum)(shape[0], shape[1])
    return sum(tf.cast(side >= scale * size, tf.int32) for scale in SCALES[1:])


def _with_alpha(encoded: Any) -> Any:
    """Pixels of a PNG file with their opacity, whatever it stores: uint8 (height, width, 4)."""
    return tf.cond(
        tf.strings.substr(encoded, 24, 2) == SIXTEEN_BIT_GREY,
        lambda: _of_sixteen_bits(tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)),
        lambda: _seen_through(tf.io.decode_png(encoded, channels=4), tf.strings.substr(encoded, 25, 1) == GREY),
    )


def _seen_through(pixels: Any, grey: Any) -> Any:
    """Pixels with their opacity from 0 to 255: TensorFlow counts it to 1, 3 or 15 in grey of so many shades.

    Grey has no pixel that is partly seen through, unless a channel of the file says so.
    """
    alpha = pixels[..., 3:]
    whole = tf.cast(tf.where(alpha > 0, 255, 0), tf.uint8)
    return tf.concat([pixels[..., :3], tf.where(grey, whole, alpha)], axis=-1)


def _of_sixteen_bits(grey: Any) -> Any:
    """Grey of 16 bits by its upper eight, but by its lower ones where it uses no others."""
    values = tf.cast(grey, tf.int32)
    eight = tf.cast(tf.where(tf.reduce_max(values) > 255, tf.bitwise.right_shift(values, 8), values), tf.uint8)
    return tf.concat([eight, eight, eight, tf.fill(tf.shape(eight), tf.constant(255, tf.uint8))], axis=-1)


def _on_white(pixels: Any) -> Any:
    """Lay pixels with opacity on white, in the whole numbers of Pillow's `alpha_composite`."""
    colour, alpha = tf.cast(pixels[..., :3], tf.int32), tf.cast(pixels[..., 3:], tf.int32)
    mixed = (colour * alpha + 255 * (255 - alpha) + 128) * 128
    divided = tf.bitwise.right_shift(tf.bitwise.right_shift(mixed, 8) + mixed, 8)  # by 255
    return tf.cast(tf.bitwise.right_shift(divided, 7), tf.uint8)


def _reduced(pixels: Any, scale: int) -> Any:
    """Average squares of `scale` pixels a side, in the whole numbers of Pillow's `Image.reduce`."""
    if scale == 1:
        return pixels
    height, width = tf.unstack(tf.shape(pixels)[:2])
    rows, columns = (height + scale - 1) // scale, (width + scale - 1) // scale
    filled = tf.pad(tf.cast(pixels, tf.int32), ((0, rows * scale - height), (0, columns * scale - width), (0, 0)))
    total = tf.reduce_sum(tf.reshape(filled, (rows, scale, columns, scale, 3)), (1, 3))
    down, across = (
        tf.minimum(scale, side - scale * tf.range(count)) for side, count in ((height, rows), (width, columns))
    )  # the last squares may hang over the edge
    count = tf.cast(down[:, None, None] * across[None, :, None], tf.int64)
    share = 2**24 // count
    return tf.cast(tf.bitwise.right_shift((tf.cast(total, tf.int64) + count // 2) * share, 24), tf.uint8)


def _square_of_any(encoded: Any, size: int, aspect: str) -> Any:
    return _square(tf.image.decode_image(encoded, channels=3, expand_animations=False), size, aspect)


def _square(pixels: Any, size: int, aspect: str) -> Any:
    return tf.ensure_shape(squared(tf.ensure_shape(pixels, (None, None, 3)), size, aspect), (size, size, 3))


def _noted(encoded: Any) -> Any:
    """What the camera noted of how a picture is to be turned, 1-8 (1: not at all), from the encoded file."""
    head = tf.strings.substr(encoded, 0, NOTED_WITHIN_BYTES)
    note = tf.where(tf.strings.regex_full_match(head, NOTED), tf.strings.regex_replace(head, NOTED, r"\1"), b"\x01")
    return tf.cast(tf.io.decode_raw(note, tf.uint8)[0], tf.int32)


def _turned(picture: Any, orientation: Any) -> Any:
    """Turn a picture as the camera noted."""
    picture = tf.cond(orientation >= 5, lambda: tf.transpose(picture, (1, 0, 2)), lambda: picture)
    picture = tf.cond(tf.reduce_any(orientation == [3, 4, 7, 8]), lambda: picture[::-1], lambda: picture)
    return tf.cond(tf.reduce_any(orientation == [2, 3, 6, 7]), lambda: picture[:, ::-1], lambda: picture)
