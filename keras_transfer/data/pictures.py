"""Reads picture files into arrays on all cores: all that predicting needs of the data, and free of TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from keras_transfer.data import varied
from keras_transfer.data.decoding import square_rgb
from keras_transfer.errors import DataError
from keras_transfer.files import MOST_PICTURE_BYTES, read_bytes

CORES = max(2, len(psutil.Process().cpu_affinity() or ()))

BLOCK = 8
"""Pictures that one thread decodes in a row: enough to make little of the cost of a block, few enough to share."""

ALIGNED = 64
"""Bytes that TensorFlow wants the start of its memory to be a multiple of."""


def read_pictures(paths: Sequence[Path | str], *, image_size: int, aspect: str) -> np.ndarray:
    """Return picture files as a model takes them: uint8 (n, image_size, image_size, 3).

    >>> read_pictures(["cat.jpg"], image_size=96, aspect="stretch").shape  # doctest: +SKIP
    (1, 96, 96, 3)

    aspect: as `squaring.square` takes it. Raises DataError that names the first file which cannot be read.
    """
    pictures, problems = squares(np.array([str(path) for path in paths], dtype=str), content_of, image_size, aspect)
    for path, problem in zip(paths, problems, strict=True):
        if problem:
            raise DataError(f"'{path}' {problem.decode()}.")
    return pictures


def squares(
    sources: np.ndarray, content: Callable[[Any], bytes], size: int, aspect: str, drawn: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the square pictures of some sources, and what is wrong with each: uint8 (n, size, size, 3), bytes (n,).

    content: gives the encoded bytes of a source. drawn: uniform numbers, (n, varied.NUMBERS), by which each is read in
    another way, where it is. All cores work on them; Python is seldom in the way, as decoding and
    resizing let go of its lock.
    """
    images = _aligned((len(sources), size, size, 3))
    problems = np.full(len(sources), b"", object)

    def read(start: int) -> None:
        for place in range(start, min(start + BLOCK, len(sources))):
            try:
                if drawn is None:
                    square_rgb(content(sources[place]), size, aspect, images[place])
                else:
                    varied.square_rgb(content(sources[place]), size, aspect, images[place], drawn[place])
            except DataError as error:
                images[place], problems[place] = 0, str(error).encode()

    for done in [readers().submit(read, start) for start in range(0, len(sources), BLOCK)]:
        done.result()
    return images, problems


@cache
def readers() -> ThreadPoolExecutor:
    """Return the threads that decode, one for each core, the same for all that ask."""
    return ThreadPoolExecutor(CORES, "pictures")


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return memory that TensorFlow takes over as it is: an array that begins elsewhere is copied."""
    size = math.prod(shape)
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].reshape(shape)


def content_of(path: str) -> bytes:
    """Return a picture file's bytes. Raises DataError, in a person's words."""
    try:
        return read_bytes(path, MOST_PICTURE_BYTES)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from None
