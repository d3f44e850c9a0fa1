"""Reads the pictures of a split into batches of (rows, images, readable), from files, arrays or a stream.

`rows` are positions in the split, so that labels and weights can follow whatever the order. A broken picture keeps
its row: it comes black, and `readable` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from keras_transfer.data.decoding import decoded, squared, upright_rgb
from keras_transfer.errors import DataError

PARALLEL = 2 * max(2, len(psutil.Process().cpu_affinity() or ()))
"""Blocks decoded at the same time; explicit, because the autotuner stays off. Blocks come in order, so a core that is
done with its own needs another to begin: with one block per core, pictures of 12 megapixels kept half a core idle."""

BLOCK = 8
"""Pictures that one thread decodes in a row: enough to make little of the cost of a block, few enough to share."""

SHUFFLED = 1024
"""Encoded pictures of a stream that are held to draw from; what has files or fits the memory is shuffled as a whole."""


@lru_cache(maxsize=32)
def decoder(size: int, aspect: str) -> Any:
    """Return the traced function from encoded bytes to the square picture; traced once, because that takes a second."""
    return tf.function(
        lambda encoded: decoded(encoded, size, aspect),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def from_files(paths: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int) -> Any:
    """Return the batches of picture files: paths a str array, order the positions to read."""
    decode = decoder(size, aspect)
    rows_and_paths = tf.data.Dataset.from_tensor_slices((order, paths[order]))
    return _decoded(rows_and_paths, lambda path: decode(tf.io.read_file(path)), size, batch_size)


def from_stream(encoded: Callable[[], Any], size: int, aspect: str, batch_size: int, *, seed: int | None = None) -> Any:
    """Return the batches of a stream of encoded pictures, in its order or, given a seed, stirred within a buffer."""
    rows_and_bytes = encoded().enumerate()
    if seed is not None:
        rows_and_bytes = rows_and_bytes.shuffle(SHUFFLED, seed=seed, reshuffle_each_iteration=False)
    return _decoded(rows_and_bytes, decoder(size, aspect), size, batch_size)


def from_array(pictures: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int) -> Any:
    """Return the batches of pictures that are in memory already: uint8 (n, height, width, 3)."""

    def taken(rows: Any) -> tuple[Any, Any, Any]:
        images = tf.numpy_function(lambda each: pictures[each], [rows], tf.uint8)
        square = squared(tf.ensure_shape(images, (None, *pictures.shape[1:])), size, aspect)
        return rows, tf.ensure_shape(square, (None, size, size, 3)), tf.ones_like(rows, tf.bool)

    rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
    return rows.map(_plain(taken), num_parallel_calls=PARALLEL)


def read_one(path: Path, size: int, aspect: str) -> np.ndarray:
    """Return one picture by Pillow alone: uint8 (size, size, 3). Raises DataError, in a person's words."""
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from None
    return squared(tf.constant(upright_rgb(encoded, size=size, aspect=aspect)), size, aspect).numpy()


def reason(path: Path) -> str:
    """Return why a picture that could not be decoded is broken, in a person's words."""
    try:
        read_one(path, 16, "stretch")
    except DataError as error:
        return str(error)
    return "is damaged"


def _decoded(rows_and_sources: Any, decode: Callable[[Any], Any], size: int, batch_size: int) -> Any:
    def read(row: Any, source: Any) -> tuple[Any, Any]:
        return row, decode(source)

    def read_block(rows: Any, sources: Any) -> Any:
        # An error ends a tf.data pipeline, so each block is a little pipeline of its own. What is missing from it
        # afterwards was broken and gets its place back, black: the rows stay those of the labels.
        pictures = tf.data.Dataset.from_tensor_slices((rows, sources)).map(_plain(read))
        block = pictures.ignore_errors(log_warning=False).batch(BLOCK)
        nothing = tf.data.Dataset.from_tensors((rows[:0], tf.zeros((0, size, size, 3), tf.uint8)))
        return block.concatenate(nothing).take(1).map(_plain(partial(_with_gaps_black, rows)))

    block_size = min(batch_size, BLOCK)
    blocks = rows_and_sources.batch(block_size).interleave(
        _plain(read_block), cycle_length=PARALLEL, num_parallel_calls=PARALLEL, deterministic=True
    )
    return blocks if block_size == batch_size else blocks.rebatch(batch_size)


def _with_gaps_black(rows: Any, found: Any, images: Any) -> tuple[Any, Any, Any]:
    readable = tf.reduce_any(rows[:, None] == found[None, :], axis=1)

    def filled() -> Any:
        places = tf.where(readable)
        return tf.scatter_nd(places, images, tf.concat([tf.shape(rows, tf.int64), tf.shape(images, tf.int64)[1:]], 0))

    whole = tf.cond(tf.shape(found)[0] == tf.shape(rows)[0], lambda: images, filled)
    return rows, tf.ensure_shape(whole, images.shape), readable


def _plain(function: Callable[..., Any]) -> Any:
    return tf.autograph.experimental.do_not_convert(function)
