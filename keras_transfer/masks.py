"""Masks: a class for each pixel of a picture, packed small, and made square as their picture is.

A packed mask is a PNG of class positions, `VOID` where nothing is said: a hundredth of the pixels' own size, so that
those of a whole data set stay in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from keras_transfer.placing import placed

VOID = 255
"""Of pixels that nothing is said of: they count in no loss and no figure."""


def pack(pixels: np.ndarray) -> bytes:
    """Return a mask, uint8 (height, width), as a PNG; the same pixels give the same bytes on one machine.

    >>> unpack(pack(np.array([[0, 1], [255, 1]], np.uint8))).tolist()
    [[0, 1], [255, 1]]
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise ValueError(f"A mask is uint8 (height, width). Received: {pixels.dtype} {pixels.shape}")
    _, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return encoded.tobytes()


def unpack(packed: bytes) -> np.ndarray:
    """Return the pixels of a packed mask: uint8 (height, width)."""
    return np.asarray(cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_GRAYSCALE))


def square(pixels: np.ndarray, size: int, aspect: str) -> np.ndarray:
    """Return a mask as a square, uint8 (size, size), each pixel the nearest of the mask, `VOID` beside it.

    >>> square(np.array([[7, 8, 9, 9]] * 2, np.uint8), 4, "letterbox")[:, 0].tolist()
    [255, 7, 7, 255]

    aspect: as pictures are made square, `stretch`, `crop` or `letterbox`, with the same corners to the pixel.
    """
    height, width = pixels.shape
    (top, left, high, wide), (down, across, new_height, new_width) = placed(height, width, size, aspect)
    into = np.full((size, size), VOID, np.uint8)
    shown = pixels[top : top + high, left : left + wide]
    into[down : down + new_height, across : across + new_width] = _resized(shown, new_height, new_width)
    return into


def unsquare(square: np.ndarray, height: int, width: int, aspect: str) -> np.ndarray:
    """Return a square mask, uint8 (size, size), over the picture it was made of: uint8 (height, width).

    >>> unsquare(square(np.array([[7, 8, 9, 9]] * 2, np.uint8), 4, "letterbox"), 2, 4, "letterbox").tolist()
    [[7, 8, 9, 9], [7, 8, 9, 9]]

    What a cropped square does not show is `VOID`.
    """
    (top, left, high, wide), (down, across, inner_height, inner_width) = placed(height, width, len(square), aspect)
    into = np.full((height, width), VOID, np.uint8)
    inner = square[down : down + inner_height, across : across + inner_width]
    into[top : top + high, left : left + wide] = _resized(inner, high, wide)
    return into


def squared(packed: Sequence[bytes] | np.ndarray, size: int, aspect: str) -> np.ndarray:
    """Return packed masks as squares: uint8 (n, size, size); see `square`."""
    made = [square(unpack(each), size, aspect) for each in packed]
    return np.stack(made) if made else np.zeros((0, size, size), np.uint8)


def _resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    # EXACT looks from the middle of each pixel, as the filter of pictures does; plain nearest is half a pixel off.
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
