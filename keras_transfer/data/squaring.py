"""Makes pictures square, by one bilinear filter in whole numbers: the same pixels from memory and in a graph.

`square` is the fast one. `squared` is its twin of TensorFlow operations, for graphs that run without this package
(an exported model, a data service), and gives the same pixels to the last bit: 0 of 255 apart, whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

ONE = 256
"""What the weights of the bilinear filter add up to (cv2.INTER_LINEAR_EXACT: eight bits behind the point)."""

NEAR = 3
"""Bilinear looks at two pixels a side. Where a side shrinks by more than this, what it would skip over is averaged
first: seldom needed, as decoding has done most of it, and four times the cost of all the rest."""


def square(pixels: np.ndarray, size: int, aspect: str, into: np.ndarray | None = None) -> np.ndarray:
    """Return a picture as a square: uint8 (size, size, 3).

    >>> square(np.full((2, 4, 3), 9, np.uint8), 4, "letterbox")[:, 0, 0].tolist()
    [0, 9, 9, 0]

    pixels: uint8 (height, width, 3); aspect: `stretch` ignores the proportions, `crop` keeps the middle, `letterbox`
    pads with black; into: where the square is to stand, if it has a place already. Bilinear, and antialiased where a
    side becomes less than a third of what it was.
    """
    into = np.empty((size, size, 3), np.uint8) if into is None else into
    height, width = pixels.shape[:2]
    if aspect == "letterbox":
        scale = size / max(height, width)
        new_height, new_width = (min(max(round(side * scale), 1), size) for side in (height, width))
        top, left = (size - new_height) // 2, (size - new_width) // 2
        into[:] = 0
        into[top : top + new_height, left : left + new_width] = _resized(pixels, new_height, new_width)
        return into
    if aspect == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    return _resized(pixels, size, size, into)


def _resized(pixels: np.ndarray, height: int, width: int, into: np.ndarray | None = None) -> np.ndarray:
    old_height, old_width = pixels.shape[:2]
    if old_height > NEAR * height or old_width > NEAR * width:
        pixels = _averaged(pixels, min(old_height, NEAR * height), min(old_width, NEAR * width)).numpy()
    return cv2.resize(pixels, (width, height), dst=into, interpolation=cv2.INTER_LINEAR_EXACT)


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
