"""Measures how fast pictures arrive, how long a training step waits for them, and what holds them up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer import devices
from keras_transfer.data.pipeline import FeedOptions, PictureFeed
from keras_transfer.data.reading import PARALLEL
from keras_transfer.data.records import encoded_pictures
from keras_transfer.specs import Splits, Value, silent

AT_MOST = 2000
"""Pictures that are read for a figure; more says the same."""

Step = Callable[[Any, Any, Any], Any]
"""`step(images, targets, weights)`: one training step."""


class Throughput(Value):
    """How fast pictures arrive, in pictures per second, stage by stage."""

    pictures: int
    image_size: int
    augment: str
    reading: float | None
    """Bytes from disk alone; None where the pictures are in memory already."""
    first_epoch: float
    """Read, decoded, resized and augmented."""
    later_epochs: float
    """From memory, augmented."""
    unaugmented: float
    """From memory, as they are."""
    first_batch_ms: float
    waiting_share: float | None
    """Of the time of a training epoch, the part in which the step waited for its batch; None without a step."""
    limited_by: str
    """`training`, `reading`, `decoding`, `augmentation` or `batching`."""


def measure(
    splits: Splits,
    *,
    image_size: int,
    batch_size: int = 32,
    augment: str = "none",
    aspect: str = "stretch",
    step: Step | None = None,
) -> Throughput:
    """Return how fast the training split arrives; given a training step, also how long that waits for it.

    >>> from keras_transfer.data.sources import load
    >>> measure(load("sample:fashion"), image_size=96).limited_by  # doctest: +SKIP
    'decoding'
    """
    pictures = min(AT_MOST, len(splits.train))
    batches = -(-pictures // batch_size)
    whole = len(splits.train) * image_size * image_size * 3
    feed = PictureFeed(splits, FeedOptions(aspect=aspect, device="/CPU:0", cache_bytes=whole), silent)

    def epoch(number: int, policy: str) -> Any:
        return feed("train", image_size=image_size, batch_size=batch_size, augment=policy, epoch=number, shuffle=True)

    began = time.perf_counter()
    next(iter(epoch(0, augment)))
    first_batch_ms = 1000 * (time.perf_counter() - began)
    first = _rate(epoch(0, augment).take(batches), pictures)
    for _ in epoch(0, "none"):
        pass
    later = _rate(epoch(1, augment).take(batches), pictures)
    plain = _rate(epoch(1, "none").take(batches), pictures)
    reading = _reading(splits, pictures)
    waiting = _waiting_share(epoch(2, augment).take(batches), step) if step else None
    return Throughput(
        pictures=pictures,
        image_size=image_size,
        augment=augment,
        reading=reading,
        first_epoch=first,
        later_epochs=later,
        unaugmented=plain,
        first_batch_ms=first_batch_ms,
        waiting_share=waiting,
        limited_by=_limit(first, later, plain, reading, waiting),
    )


BUSY = 0.1
"""Share of its time that a step may wait before input is said to hold it up."""


def _limit(first: float, later: float, plain: float, reading: float | None, waiting: float | None) -> str:
    if waiting is not None and waiting < BUSY:
        return "training"
    # What a stage costs is the time per picture that is gone without it.
    costs = {
        "reading": 1 / reading if reading else 0.0,
        "decoding": 1 / first - 1 / later - (1 / reading if reading else 0.0),
        "augmentation": 1 / later - 1 / plain,
        "batching": 1 / plain,
    }
    return max(costs, key=lambda stage: costs[stage])


def _rate(batches: Iterable[Any], pictures: int) -> float:
    began = time.perf_counter()
    for _ in batches:
        pass
    return pictures / (time.perf_counter() - began)


def _reading(splits: Splits, pictures: int) -> float | None:
    stored = splits.train.pictures
    if callable(stored):
        began = time.perf_counter()
        for _, _ in zip(range(pictures), encoded_pictures(splits.train), strict=False):
            pass
        return pictures / (time.perf_counter() - began)
    if stored.dtype.kind != "U":
        return None
    paths = tf.data.Dataset.from_tensor_slices(np.asarray(stored[:pictures]))
    contents = paths.map(tf.io.read_file, num_parallel_calls=PARALLEL)
    return _rate(devices.without_autotune(contents), pictures)


def _waiting_share(batches: Iterable[Any], step: Step) -> float:
    waited, arriving = 0.0, iter(batches)
    step(*next(arriving))  # traces
    began = asked = time.perf_counter()
    for batch in arriving:
        waited += time.perf_counter() - asked
        step(*batch)
        asked = time.perf_counter()
    return waited / (asked - began) if asked > began else 0.0
