"""Makes pictures square, by one bilinear filter in whole numbers.

`graph_squaring` is its twin of TensorFlow operations and gives the same pixels to the last bit; this one needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from keras_transfer.placing import placed

ONE = 256
"""What the weights of the bilinear filter add up to (cv2.INTER_LINEAR_EXACT: eight bits behind the point)."""

NEAR = 3
"""Bilinear looks at two pixels a side. Where a side shrinks by more than this, what it would skip over is averaged
first: seldom needed, as decoding has done most of it, and four times the cost of all the rest."""


def square(
    pixels: np.ndarray,
    size: int,
    aspect: str,
    into: np.ndarray | None = None,
    *,
    resize: Callable[..., np.ndarray] | None = None,
) -> np.ndarray:
    """Return a picture as a square: uint8 (size, size, 3).

    >>> square(np.full((2, 4, 3), 9, np.uint8), 4, "letterbox")[:, 0, 0].tolist()
    [0, 9, 9, 0]

    pixels: uint8 (height, width, 3); aspect: `stretch` ignores the proportions, `crop` keeps the middle, `letterbox`
    pads with black; into: where the square is to stand, if it has a place already. Bilinear, and antialiased where a
    side becomes less than a third of what it was, where no other `resize(pixels, height, width, into)` is given.
    """
    resize = resize or resized
    into = np.empty((size, size, 3), np.uint8) if into is None else into
    height, width = pixels.shape[:2]
    (top, left, high, wide), (down, across, new_height, new_width) = placed(height, width, size, aspect)
    shown = pixels[top : top + high, left : left + wide]
    if (new_height, new_width) == (size, size):
        return resize(shown, size, size, into)
    into[:] = 0
    into[down : down + new_height, across : across + new_width] = resize(shown, new_height, new_width)
    return into


def resized(pixels: np.ndarray, height: int, width: int, into: np.ndarray | None = None) -> np.ndarray:
    """Return a picture as another one of height and width in pixels, by the filter that all pictures are read with."""
    old_height, old_width = pixels.shape[:2]
    if old_height > NEAR * height or old_width > NEAR * width:
        pixels = _averaged(pixels, min(old_height, NEAR * height), min(old_width, NEAR * width))
    return cv2.resize(pixels, (width, height), dst=into, interpolation=cv2.INTER_LINEAR_EXACT)


def _averaged(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture made smaller by a triangle as wide as what each new pixel stands for.

    Rows first, then columns, each sum in the order of its pixels: so every number in between is that of
    `tf.image.resize(antialias=True)`, and rounding never tips the other way.
    """
    old_height, old_width = pixels.shape[:2]
    low = _triangles(old_height, height) @ pixels.reshape(old_height, -1).astype(np.float32)
    columns = low.reshape(height, old_width, 3).transpose(1, 0, 2).reshape(old_width, -1)
    small = _triangles(old_width, width) @ columns
    return (small.reshape(width, height, 3).transpose(1, 0, 2) + np.float32(0.5)).astype(np.uint8)


def _triangles(old: int, new: int) -> Any:
    """Return the weights of each old pixel of a side in each new one: a sparse float32 matrix (new, old)."""
    from scipy.sparse import csr_array

    one, half = np.float32(1), np.float32(0.5)
    step = one / (np.float32(new) / np.float32(old))  # not old / new: that would round once less
    most = min(2 * math.ceil(step) + 1, old)
    places = (np.arange(new, dtype=np.float32) + half) * step
    first = np.clip(np.ceil(places - step - half).astype(int), 0, old - 1)
    last = np.clip(np.floor(places + step - half).astype(int), 0, old - 1)
    reached = first[:, None] + np.arange(most)
    distances = np.abs((reached.astype(np.float32) + half - places[:, None]) * (one / step))
    weights = np.where(reached <= last[:, None], np.maximum(one - distances, 0), 0)
    total = np.zeros(new, np.float32)
    for column in weights.T:  # one after another: NumPy's own sum adds in pairs
        total += column
    weights *= (one / total)[:, None]
    starts = np.arange(new + 1) * most
    return csr_array((weights.ravel(), np.minimum(reached, old - 1).ravel(), starts), shape=(new, old))
