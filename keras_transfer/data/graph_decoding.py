"""Decodes picture files inside graphs that run without this package: an exported model, a tf.data service.

JPEG comes out as `decoding` gives it, to the last bit; other files as TensorFlow reads them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from keras_transfer.data.decoding import JPEG_START, SCALES
from keras_transfer.data.graph_squaring import squared

NOTED = (
    r"(?s)\C*?Exif\x00\x00(?:II\*\x00\C*?\x12\x01\x03\x00\x01\x00\x00\x00"
    r"|MM\x00\*\C*?\x01\x12\x00\x03\x00\x00\x00\x01\x00)([\x01-\x08])\C*"
)
"""The first tag Orientation (0x0112, one SHORT) after the start of an Exif block, in either byte order
(Exif 2.32, 4.6.2 and 4.6.4 A). Searched for rather than parsed: TensorFlow has no operation that reads Exif."""
NOTED_WITHIN_BYTES = 65_536
"""An Exif block is one segment of a JPEG file, and no segment is longer."""


def square_rgb(encoded: Any, size: int, aspect: str) -> Any:
    """Return the square picture of an encoded JPEG, PNG, BMP or GIF file, JPEG upright: uint8 (size, size, 3).

    encoded: a scalar string tensor; aspect: as `squaring.square` takes it. TensorFlow's errors where it is no picture.
    """
    return tf.cond(
        tf.strings.substr(encoded, 0, len(JPEG_START)) == JPEG_START,
        lambda: _upright(square_jpeg(encoded, size, aspect), encoded),
        lambda: _square_of_any(encoded, size, aspect),
    )


def square_jpeg(encoded: Any, size: int, aspect: str) -> Any:
    """Return the square picture of an encoded JPEG file, as it is stored: uint8 (size, size, 3)."""
    shape = tf.io.extract_jpeg_shape(encoded)
    side = (tf.maximum if aspect == "letterbox" else tf.minimum)(shape[0], shape[1])
    way = sum(tf.cast(side >= scale * size, tf.int32) for scale in SCALES[1:])
    # The same steps as in `decoding`; TensorFlow's own choice of method is a less accurate one.
    decode = partial(tf.io.decode_jpeg, encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return _square(tf.switch_case(way, [partial(decode, ratio=scale) for scale in SCALES]), size, aspect)


def _square_of_any(encoded: Any, size: int, aspect: str) -> Any:
    return _square(tf.image.decode_image(encoded, channels=3, expand_animations=False), size, aspect)


def _square(pixels: Any, size: int, aspect: str) -> Any:
    return tf.ensure_shape(squared(tf.ensure_shape(pixels, (None, None, 3)), size, aspect), (size, size, 3))


def _upright(picture: Any, encoded: Any) -> Any:
    """Turn a square picture as the camera noted in the encoded file that it was decoded from."""
    head = tf.strings.substr(encoded, 0, NOTED_WITHIN_BYTES)
    note = tf.where(tf.strings.regex_full_match(head, NOTED), tf.strings.regex_replace(head, NOTED, r"\1"), b"\x01")
    orientation = tf.cast(tf.io.decode_raw(note, tf.uint8)[0], tf.int32)
    picture = tf.where(orientation >= 5, tf.transpose(picture, (1, 0, 2)), picture)
    picture = tf.where(tf.reduce_any(orientation == [3, 4, 7, 8]), picture[::-1], picture)
    return tf.where(tf.reduce_any(orientation == [2, 3, 6, 7]), picture[:, ::-1], picture)
