"""Makes pictures square as training did, to the last bit."""

from __future__ import annotations

import math

import numpy as np

ONE = 256
"""What the weights of the bilinear filter add up to."""
NEAR = 3
"""Bilinear looks at two pixels a side; where a side shrinks by more than this, what it would skip is averaged first."""


def square(pixels: np.ndarray, size: int, aspect: str) -> np.ndarray:
    """Return a picture, uint8 (height, width, 3), as a square: uint8 (size, size, 3).

    aspect: `stretch` ignores the proportions, `crop` keeps the middle, `letterbox` pads with black.
    """
    height, width = pixels.shape[:2]
    if aspect == "letterbox":
        scale = size / max(height, width)
        new_height, new_width = (min(max(round(side * scale), 1), size) for side in (height, width))
        top, left = (size - new_height) // 2, (size - new_width) // 2
        framed = np.zeros((size, size, 3), np.uint8)
        framed[top : top + new_height, left : left + new_width] = resized(pixels, new_height, new_width)
        return framed
    if aspect == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    return resized(pixels, size, size)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture of another size, bilinear in whole numbers, antialiased where it shrinks by much."""
    old_height, old_width = pixels.shape[:2]
    if old_height > NEAR * height or old_width > NEAR * width:
        pixels = _averaged(pixels, min(old_height, NEAR * height), min(old_width, NEAR * width))
    left, right, share = _neighbours(pixels.shape[1], width)
    row = _mixed(pixels[:, left], pixels[:, right], share[:, None])
    above, below, share = _neighbours(pixels.shape[0], height)
    doubled = _mixed(row[above], row[below], share[:, None, None])
    return ((doubled + ONE * ONE // 2) >> 16).astype(np.uint8)


def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel of a side the two old ones it lies between, and the share of the second in ONE."""
    places = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(places).astype(int)
    share = np.rint((places - first) * ONE).astype(np.int32)
    inside = (first >= 0) & (first < old - 1)
    first = np.clip(first, 0, old - 1)
    return first, np.minimum(first + 1, old - 1), np.where(inside, share, 0).astype(np.int32)


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return first.astype(np.int32) * (ONE - share) + second.astype(np.int32) * share


def _averaged(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture made smaller by a triangle as wide as what each new pixel stands for: rows first, then columns."""
    low = _along(pixels.astype(np.float32), height)
    small = _along(low.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return (small + np.float32(0.5)).astype(np.uint8)


def _along(pixels: np.ndarray, new: int) -> np.ndarray:
    """The first side of an array made shorter; sums are taken in the order of pixels, so that they round alike."""
    first, weights = _triangles(len(pixels), new)
    total = np.zeros((new, *pixels.shape[1:]), np.float32)
    for column, weight in enumerate(weights.T):
        total += weight[:, None, None] * pixels[np.minimum(first + column, len(pixels) - 1)]
    return total


def _triangles(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """The first old pixel in each new one, (new,), and the weights from there on, float32 (new, most)."""
    one, half = np.float32(1), np.float32(0.5)
    step = one / (np.float32(new) / np.float32(old))
    most = min(2 * math.ceil(step) + 1, old)
    places = (np.arange(new, dtype=np.float32) + half) * step
    first = np.clip(np.ceil(places - step - half).astype(int), 0, old - 1)
    last = np.clip(np.floor(places + step - half).astype(int), 0, old - 1)
    reached = first[:, None] + np.arange(most)
    distances = np.abs((reached.astype(np.float32) + half - places[:, None]) * (one / step))
    weights = np.where(reached <= last[:, None], np.maximum(one - distances, 0), 0).astype(np.float32)
    total = np.zeros(new, np.float32)
    for column in weights.T:
        total += column
    return first, weights * (one / total)[:, None]
