"""Reads the pictures of a split into batches of (rows, images, problems), from files, arrays or a stream.

`rows` are positions in the split, so that labels and weights can follow whatever the order. `problems` holds a text
per picture, empty where there is none: a broken picture keeps its row, comes black, and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer.calling import numpy_function
from keras_transfer.data import clips, varied
from keras_transfer.data.pictures import CORES, content_of, squares
from keras_transfer.data.squaring import square
from keras_transfer.order import NOTHING, WHOLE, Share

PARALLEL = 2 * CORES
"""Elements of a tf.data pipeline worked on at the same time; explicit, because the autotuner stays off."""

Drawn = Callable[[np.ndarray], np.ndarray]
"""`drawn(rows)`: uniform numbers in [0, 1) for the pictures at some positions of a split, float32 (n, …)."""

BATCHES = 2
"""Batches decoded at the same time: while the last blocks of one are waited for, the next keeps the cores busy."""

SHUFFLED = 1024
"""Encoded pictures of a stream that are held to draw from; what has files or fits the memory is shuffled as a whole.
Shards of `records` and prepared TensorFlow data sets stand in an order that was stirred when they were written."""


def from_files(
    paths: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int, drawn: Drawn | None = None
) -> Any:
    """Return the batches of picture files: paths a str array, order the positions to read.

    drawn: uniform numbers for the paths at some positions, (n, varied.NUMBERS), where pictures are read in other ways
    than always.
    """

    def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return squares(paths[rows], content_of, size, aspect, None if drawn is None else drawn(rows))

    return _read(_rows_of(order, batch_size), read, (size, size, 3))


def from_clips(
    sources: np.ndarray,
    order: np.ndarray,
    size: int,
    aspect: str,
    batch_size: int,
    *,
    frames: int,
    moments: np.ndarray | None = None,
) -> Any:
    """Return the batches of clips, `frames` of each: sources a str array of addresses, or their frames in memory,
    uint8 (n, frames or more, height, width, 3).

    moments: where in its part each frame is taken, float (n, frames) in [0, 1); in the middle where left out.
    """

    def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if sources.dtype.kind == "U":
            return clips.squares(sources[rows], frames, size, aspect, None if moments is None else moments[rows])
        images = np.empty((len(rows), frames, size, size, 3), np.uint8)
        for place, row in zip(images, rows, strict=True):
            taken = clips.chosen(sources[row], frames, None if moments is None else moments[row])
            for square_of, each in zip(place, taken, strict=True):
                square(each, size, aspect, square_of)
        return images, np.full(len(rows), b"", object)

    return _read(_rows_of(order, batch_size), read, (frames, size, size, 3))


def from_stream(
    encoded: Callable[[], Any],
    size: int,
    aspect: str,
    batch_size: int,
    *,
    seed: int | None = None,
    times: np.ndarray | None = None,
    share: Share = WHOLE,
) -> Any:
    """Return the batches of a stream of encoded pictures, in its order or, given a seed, stirred within a buffer.

    times: how often each picture comes, int (n,), where that is not once: in the place that it has in the stream.
    share: what is decoded of each batch; all of it is read.
    """

    def read(contents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return squares(contents, bytes, size, aspect)

    rows_and_bytes = encoded().enumerate()
    if times is not None and (times != 1).any():
        often = tf.constant(times, tf.int64)
        again = tf.autograph.experimental.do_not_convert(
            lambda row, each: tf.data.Dataset.from_tensors((row, each)).repeat(often[row])
        )
        rows_and_bytes = rows_and_bytes.flat_map(again)
    if seed is not None:
        rows_and_bytes = rows_and_bytes.shuffle(SHUFFLED, seed=seed, reshuffle_each_iteration=False)
    batches = rows_and_bytes.batch(batch_size)
    if share != WHOLE:
        batches = batches.map(tf.autograph.experimental.do_not_convert(partial(_share_of, share)))
    return _read(batches, read, (size, size, 3))


def _share_of(share: Share, rows: Any, sources: Any) -> tuple[Any, Any]:
    mine, theirs = rows[share.index :: share.count], sources[share.index :: share.count]
    nothing = tf.constant([NOTHING], rows.dtype)
    return tf.cond(tf.size(mine) > 0, lambda: (mine, theirs), lambda: (nothing, sources[:1]))


def from_array(
    pictures: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int, drawn: Drawn | None = None
) -> Any:
    """Return the batches of pictures that are in memory already, uint8 (n, height, width, 3); drawn: as of files."""

    def read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((len(rows), size, size, 3), np.uint8)
        numbers = None if drawn is None else drawn(rows)
        for place, row in enumerate(rows):
            if numbers is None:
                square(pictures[row], size, aspect, images[place])
            else:
                varied.square_of(pictures[row], size, aspect, images[place], numbers[place])
        return images, np.full(len(rows), b"", object)

    return _read(_rows_of(order, batch_size), read, (size, size, 3))


def _rows_of(order: np.ndarray, batch_size: int) -> Any:
    """Batches of positions, each of them what is read and its own row."""
    rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)  # once: of a million, two would take 8 MB more
    return rows.map(lambda each: (each, each))


def _read(batches: Any, read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], shape: tuple[int, ...]) -> Any:
    def read_batch(rows: Any, sources: Any) -> tuple[Any, Any, Any]:
        images, problems = numpy_function(read, [sources], (tf.uint8, tf.string))
        return rows, tf.ensure_shape(images, (None, *shape)), tf.ensure_shape(problems, (None,))

    plain = tf.autograph.experimental.do_not_convert(read_batch)
    return batches.map(plain, num_parallel_calls=BATCHES, deterministic=True)
