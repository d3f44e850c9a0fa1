"""Decodes picture files on other machines, through the tf.data service: a graph that runs without this package.

It reads upright JPEG alone, to the same pixels as `decoding` does here; what it refuses is read here.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer.calling import numpy_function
from keras_transfer.data.decoding import EXIF_WITHIN_BYTES, JPEG_START, MAX_PIXELS
from keras_transfer.data.graph_decoding import square_jpeg
from keras_transfer.data.pictures import BLOCK, content_of, squares
from keras_transfer.data.reading import PARALLEL


def from_service(paths: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int, *, service: str) -> Any:
    """Return the batches of picture files as `reading.from_files` does, in whatever order the workers send them.

    service: address of the dispatcher, `grpc://host:port`; its workers find the files by the same paths.
    """
    decode = _decoder(size, aspect)

    def read(row: Any, path: Any) -> tuple[Any, Any]:
        return row, decode(tf.io.read_file(path))

    def read_block(rows: Any, some: Any) -> Any:
        # An error ends a tf.data pipeline, so each block is a little pipeline of its own. What is missing from it
        # afterwards gets its place back, to be read here.
        pictures = tf.data.Dataset.from_tensor_slices((rows, some)).map(_plain(read))
        block = pictures.ignore_errors(log_warning=False).batch(BLOCK)
        nothing = tf.data.Dataset.from_tensors((rows[:0], tf.zeros((0, size, size, 3), tf.uint8)))
        return block.concatenate(nothing).take(1).map(_plain(partial(_with_gaps_black, rows)))

    def read_here(rows: np.ndarray, images: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, problems, missing = images.copy(), np.full(len(rows), b"", object), ~there
        images[missing], problems[missing] = squares(paths[rows[missing]], content_of, size, aspect)
        return images, problems

    def completed(rows: Any, images: Any, there: Any) -> tuple[Any, Any, Any]:
        # Pictures pass through Python only where one is missing: to and fro they would be copied twice.
        images, problems = tf.cond(
            tf.reduce_all(there),
            lambda: (images, tf.fill(tf.shape(rows), "")),
            lambda: tuple(numpy_function(read_here, [rows, images, there], (tf.uint8, tf.string))),
        )
        return rows, tf.ensure_shape(images, (None, size, size, 3)), tf.ensure_shape(problems, (None,))

    blocks = tf.data.Dataset.from_tensor_slices((order, np.asarray(paths[order]))).batch(BLOCK)
    pictures = blocks.interleave(_plain(read_block), cycle_length=PARALLEL, num_parallel_calls=PARALLEL)
    policy = tf.data.experimental.service.ShardingPolicy.DYNAMIC
    distributed = pictures.apply(tf.data.experimental.service.distribute(policy, service=service))
    return distributed.map(_plain(completed), num_parallel_calls=PARALLEL).rebatch(batch_size)


@lru_cache(maxsize=32)
def _decoder(size: int, aspect: str) -> Any:
    """Return the traced function from encoded bytes to the square picture; traced once, because that takes a second."""
    return tf.function(
        partial(_decoded, size=size, aspect=aspect), input_signature=[tf.TensorSpec((), tf.string)], autograph=False
    )


def _decoded(encoded: Any, size: int, aspect: str) -> Any:
    noted = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, EXIF_WITHIN_BYTES), rb"(?s)\C*Exif\C*")
    jpeg = _only(tf.strings.substr(encoded, 0, 3) == JPEG_START, "is not JPEG", encoded)
    shape = tf.io.extract_jpeg_shape(_only(~noted, "may be turned", jpeg))
    height, width = shape[0], shape[1]
    few = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) <= MAX_PIXELS
    return square_jpeg(_only(tf.logical_and(few, shape[2] < 4), "is CMYK, or too large", jpeg), size, aspect)


def _only(condition: Any, otherwise: str, value: Any) -> Any:
    with tf.control_dependencies([tf.debugging.Assert(condition, [otherwise])]):
        return tf.identity(value)


def _with_gaps_black(rows: Any, found: Any, images: Any) -> tuple[Any, Any, Any]:
    there = tf.reduce_any(rows[:, None] == found[None, :], axis=1)

    def filled() -> Any:
        places = tf.where(there)
        return tf.scatter_nd(places, images, tf.concat([tf.shape(rows, tf.int64), tf.shape(images, tf.int64)[1:]], 0))

    whole = tf.cond(tf.shape(found)[0] == tf.shape(rows)[0], lambda: images, filled)
    return rows, tf.ensure_shape(whole, images.shape), there


def _plain(function: Any) -> Any:
    return tf.autograph.experimental.do_not_convert(function)
