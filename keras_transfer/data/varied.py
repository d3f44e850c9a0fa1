"""Reads pictures as programs that use a model might: by another filter, or from a file that was stored once more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from keras_transfer.data.decoding import upright_rgb
from keras_transfer.data.squaring import resized, square

NUMBERS = 3
"""Uniform numbers that a picture is read by: which filter, whether it is stored once more, how well."""

STORED = 0.5
"""Share of the pictures that go through JPEG once more."""
QUALITIES = (50, 95)
"""Of JPEG, drawn evenly: what messengers and pages store pictures with."""


def _by_opencv(
    pixels: np.ndarray, height: int, width: int, into: np.ndarray | None = None, *, interpolation: int
) -> np.ndarray:
    return cv2.resize(pixels, (width, height), dst=into, interpolation=interpolation)


def _antialiased(pixels: np.ndarray, height: int, width: int, into: np.ndarray | None = None) -> np.ndarray:
    made = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    if into is None:
        return made
    into[:] = made
    return into


FILTERS: dict[str, Callable[..., np.ndarray]] = {
    "own": resized,
    "antialiased": _antialiased,
    "area": partial(_by_opencv, interpolation=cv2.INTER_AREA),
    "bilinear": partial(_by_opencv, interpolation=cv2.INTER_LINEAR),
}
"""What makes a picture smaller, `filter(pixels, height, width, into)`; `bilinear` looks at two pixels a side, however
many there are."""


def square_rgb(encoded: bytes, size: int, aspect: str, into: np.ndarray, drawn: np.ndarray) -> Any:
    """Write the square of an encoded picture to `into`, uint8 (size, size, 3), decoded in full, by a filter drawn.

    drawn: uniform numbers in [0, 1), (NUMBERS,). Raises DataError, in a person's words, where it cannot be read.
    """
    return square_of(upright_rgb(encoded), size, aspect, into, drawn)


def square_of(pixels: np.ndarray, size: int, aspect: str, into: np.ndarray, drawn: np.ndarray) -> Any:
    """Write the square of a picture's pixels, as `square_rgb` does that of a file."""
    which, stored, quality = drawn.tolist()
    made = square(pixels, size, aspect, into, resize=list(FILTERS.values())[int(which * len(FILTERS))])
    if stored < STORED:
        low, high = QUALITIES
        again = simplejpeg.encode_jpeg(np.ascontiguousarray(made), quality=int(low + quality * (high - low)))
        made[:] = simplejpeg.decode_jpeg(again)
    return made
