"""Takes pictures from the browser: of known kinds, decoded before they are kept, under names of the studio's own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from keras_transfer.errors import DataError
from keras_transfer.files import write_bytes

MOST_BYTES = 2**25
"""Of a picture that is sent: 32 MB."""
LOOKED_AT = 256
"""Side in pixels up to which a new picture is decoded, to know that it is one."""
MOST_TRIED = 500
"""Pictures to try a model with that are kept; the oldest go first."""

KINDS = (
    (b"\xff\xd8\xff", 0, ".jpg"),
    (b"\x89PNG\r\n\x1a\n", 0, ".png"),
    (b"GIF8", 0, ".gif"),
    (b"WEBP", 8, ".webp"),
    (b"BM", 0, ".bmp"),
    (b"II*\0", 0, ".tif"),
    (b"MM\0*", 0, ".tif"),
    (b"ftypavif", 4, ".avif"),
    (b"ftyphei", 4, ".heic"),
    (b"ftypmif1", 4, ".heic"),
)
"""What a picture that is sent must begin with, from which byte on, and how its file is called."""


def file_name_of(encoded: bytes, decode: Callable[..., np.ndarray]) -> str:
    """Return the name that a picture gets, by its content; DataError, in a person's words, for what is none.

    decode: the reader that training reads pictures with.
    """
    suffix = next((end for start, at, end in KINDS if encoded[at : at + len(start)] == start), None)
    if suffix is None:
        kinds = ", ".join(sorted({end[1:].upper() for *_, end in KINDS}))
        raise DataError(f"is of none of the kinds that are taken: {kinds}")
    decode(encoded, size=LOOKED_AT)
    return hashlib.sha256(encoded).hexdigest()[:32] + suffix


def keep_tried(folder: Path, encoded: bytes, decode: Callable[..., np.ndarray]) -> Path:
    """Keep a picture to try a model with; return where it lies."""
    place = folder / file_name_of(encoded, decode)
    if not place.exists():
        write_bytes(place, encoded)
    os.utime(place)
    kept = sorted(folder.iterdir(), key=lambda each: -each.stat().st_mtime)
    for old in kept[MOST_TRIED:]:
        with suppress(OSError):
            old.unlink()
    return place
