"""Makes pictures square inside graphs that run without this package: the twin of `squaring`, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_transfer.data.squaring import NEAR, ONE


def squared(pictures: Any, size: int, aspect: str) -> Any:
    """Return pictures as squares, as plain TensorFlow operations: uint8 (…, size, size, 3).

    pictures: uint8 (height, width, 3) or (batch, height, width, 3); size and aspect: as `square` takes them.
    """
    return _ASPECTS[aspect](pictures, size)


def _stretch(pictures: Any, size: int) -> Any:
    return _resized_in_graph(pictures, size, size)


def _crop(pictures: Any, size: int) -> Any:
    height, width = tf.unstack(tf.shape(pictures)[-3:-1])
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resized_in_graph(pictures[..., top : top + side, left : left + side, :], size, size)


def _letterbox(pictures: Any, size: int) -> Any:
    height, width = tf.unstack(tf.shape(pictures)[-3:-1])
    scale = size / tf.maximum(height, width)
    new_height, new_width = (
        tf.clip_by_value(tf.cast(tf.round(tf.cast(side, tf.float64) * scale), tf.int32), 1, size)
        for side in (height, width)
    )
    resized = _resized_in_graph(pictures, new_height, new_width)
    return tf.image.pad_to_bounding_box(resized, (size - new_height) // 2, (size - new_width) // 2, size, size)


_ASPECTS: dict[str, Callable[[Any, int], Any]] = {"stretch": _stretch, "crop": _crop, "letterbox": _letterbox}


def _resized_in_graph(pictures: Any, height: Any, width: Any) -> Any:
    old_height, old_width = tf.unstack(tf.shape(pictures)[-3:-1])
    least_height, least_width = tf.minimum(old_height, NEAR * height), tf.minimum(old_width, NEAR * width)
    near = tf.cond(
        tf.logical_and(old_height <= least_height, old_width <= least_width),
        lambda: pictures,
        lambda: _averaged(pictures, least_height, least_width),
    )
    left, right, share = _neighbours(least_width, width)
    row = _mixed(tf.gather(near, left, axis=-2), tf.gather(near, right, axis=-2), share[:, None])
    above, below, share = _neighbours(least_height, height)
    doubled = _mixed(tf.gather(row, above, axis=-3), tf.gather(row, below, axis=-3), share[:, None, None])
    return tf.cast(tf.bitwise.right_shift(doubled + ONE * ONE // 2, 16), tf.uint8)


def _neighbours(old: Any, new: Any) -> tuple[Any, Any, Any]:
    """Return for each new pixel of a side the two old ones it lies between, and the share of the second in ONE."""
    places = (tf.range(tf.cast(new, tf.float64), dtype=tf.float64) + 0.5) * (old / new) - 0.5
    first = tf.cast(tf.floor(places), tf.int32)
    share = tf.cast(tf.round((places - tf.floor(places)) * ONE), tf.int32)
    inside = tf.logical_and(first >= 0, first < old - 1)
    first = tf.clip_by_value(first, 0, old - 1)
    return first, tf.minimum(first + 1, old - 1), tf.where(inside, share, 0)


def _mixed(first: Any, second: Any, share: Any) -> Any:
    return tf.cast(first, tf.int32) * (ONE - share) + tf.cast(second, tf.int32) * share


def _averaged(pictures: Any, height: Any, width: Any) -> Any:
    return tf.cast(tf.image.resize(pictures, (height, width), antialias=True) + 0.5, tf.uint8)
