"""Small pictures for the page, decoded as training decodes them, and kept while the studio runs."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from keras_transfer.errors import DataError
from keras_transfer.files import MOST_PICTURE_BYTES, read_bytes

SIDE = 176
"""Pixels of the longer side in the grid."""
LARGE = 1024
"""The same of a picture that is looked at alone."""
KEPT_BYTES = 2**26
"""Of thumbnails in memory: some 10,000 of them."""


class Thumbnails:
    """Thumbnails by file, size and time of change."""

    def __init__(self, decode: Callable[..., np.ndarray]) -> None:
        self._decode, self._lock = decode, threading.Lock()
        self._kept: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()
        self._bytes = 0

    def of(self, path: str, side: int = SIDE) -> bytes:
        """Return a picture as a JPEG of at most `side` pixels; DataError for a file that is none."""
        try:
            status = os.stat(path)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}") from None
        key = (path, status.st_size, status.st_mtime_ns, side)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = encoded(self._decoded(path, side), side)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made)
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made

    def _decoded(self, path: str, side: int) -> np.ndarray:
        try:
            return self._decode(read_bytes(Path(path), MOST_PICTURE_BYTES), size=side)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}") from None


def encoded(pixels: np.ndarray, side: int) -> bytes:
    """Return pixels, uint8 (height, width, 3), as a JPEG whose sides are at most `side`."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
