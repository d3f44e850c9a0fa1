"""Draws where a model looked in a picture, as a file of its own."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from keras_transfer.evaluation.gradcam import overlay
from keras_transfer.evaluation.thumbnails import fitted

LEAST = 320
"""Pixels a side that a person sees something in; models take less."""


def png(image: np.ndarray, heat: np.ndarray) -> bytes:
    """Return a square picture, uint8 (side, side, 3), warm where the heat, float (n, n) in 0-1, is high, as a PNG.

    >>> png(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2)))[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    Image.fromarray(overlay(image, fitted(heat, image.shape[:2]))).save(buffer, "PNG")
    return buffer.getvalue()
