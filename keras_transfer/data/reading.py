"""Reads the pictures of a split into batches of (rows, images, problems), from files, arrays or a stream.

`rows` are positions in the split, so that labels and weights can follow whatever the order. `problems` holds a text
per picture, empty where there is none: a broken picture keeps its row, comes black, and says what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from keras_transfer.data.decoding import square_rgb
from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError

CORES = max(2, len(psutil.Process().cpu_affinity() or ()))
PARALLEL = 2 * CORES
"""Elements of a tf.data pipeline worked on at the same time; explicit, because the autotuner stays off."""

BLOCK = 8
"""Pictures that one thread decodes in a row: enough to make little of the cost of a block, few enough to share."""

BATCHES = 2
"""Batches decoded at the same time: while the last blocks of one are waited for, the next keeps the cores busy."""

ALIGNED = 64
"""Bytes that TensorFlow wants the start of its memory to be a multiple of."""

SHUFFLED = 1024
"""Encoded pictures of a stream that are held to draw from; what has files or fits the memory is shuffled as a whole.
Shards of `records` and prepared TensorFlow data sets stand in an order that was stirred when they were written."""


def from_files(paths: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int) -> Any:
    """Return the batches of picture files: paths a str array, order the positions to read."""

    def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return squares(paths[rows], content_of, size, aspect)

    blocks = tf.data.Dataset.from_tensor_slices((order, order)).batch(batch_size)
    return _read(blocks, read, size)


def from_stream(encoded: Callable[[], Any], size: int, aspect: str, batch_size: int, *, seed: int | None = None) -> Any:
    """Return the batches of a stream of encoded pictures, in its order or, given a seed, stirred within a buffer."""

    def read(contents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return squares(contents, bytes, size, aspect)

    rows_and_bytes = encoded().enumerate()
    if seed is not None:
        rows_and_bytes = rows_and_bytes.shuffle(SHUFFLED, seed=seed, reshuffle_each_iteration=False)
    return _read(rows_and_bytes.batch(batch_size), read, size)


def from_array(pictures: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int) -> Any:
    """Return the batches of pictures that are in memory already: uint8 (n, height, width, 3)."""

    def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((len(rows), size, size, 3), np.uint8)
        for place, row in enumerate(rows):
            square(pictures[row], size, aspect, images[place])
        return images, np.full(len(rows), b"", object)

    return _read(tf.data.Dataset.from_tensor_slices((order, order)).batch(batch_size), read, size)


def squares(
    sources: np.ndarray, content: Callable[[Any], bytes], size: int, aspect: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the square pictures of some sources, and what is wrong with each: uint8 (n, size, size, 3), bytes (n,).

    content: gives the encoded bytes of a source. All cores work on them; Python is seldom in the way, as decoding and
    resizing let go of its lock.
    """
    images = _aligned((len(sources), size, size, 3))
    problems = np.full(len(sources), b"", object)

    def read(start: int) -> None:
        for place in range(start, min(start + BLOCK, len(sources))):
            try:
                square_rgb(content(sources[place]), size, aspect, images[place])
            except DataError as error:
                images[place], problems[place] = 0, str(error).encode()

    for done in [_readers().submit(read, start) for start in range(0, len(sources), BLOCK)]:
        done.result()
    return images, problems


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CORES, "pictures")


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return memory that TensorFlow takes over as it is: an array that begins elsewhere is copied."""
    size = math.prod(shape)
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].reshape(shape)


def content_of(path: str) -> bytes:
    """Return a file's bytes. Raises DataError, in a person's words."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from None


def _read(batches: Any, read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], size: int) -> Any:
    def read_batch(rows: Any, sources: Any) -> tuple[Any, Any, Any]:
        images, problems = tf.numpy_function(read, [sources], (tf.uint8, tf.string))
        return rows, tf.ensure_shape(images, (None, size, size, 3)), tf.ensure_shape(problems, (None,))

    plain = tf.autograph.experimental.do_not_convert(read_batch)
    return batches.map(plain, num_parallel_calls=BATCHES, deterministic=True)
