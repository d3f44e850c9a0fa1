"""Measures how long an open artifact takes for a picture on this host."""

from __future__ import annotations

import time

import numpy as np

from keras_transfer.errors import UsageError
from keras_transfer.export.runtime import Runtime
from keras_transfer.specs import Value


class Latency(Value):
    """Time per call of one artifact on the machine it was measured on."""

    median_ms: float
    p90_ms: float
    p99_ms: float
    pictures_per_second: float
    load_ms: float
    threads: int
    batch_size: int = 1
    repeats: int


def measure(
    runtime: Runtime, images: np.ndarray, *, repeats: int = 100, warm_up: int = 10, batch_size: int = 1
) -> Latency:
    """Time `repeats` calls with `batch_size` pictures each, after `warm_up` calls that do not count.

    >>> measure(runtime, images, repeats=100, warm_up=10).median_ms  # doctest: +SKIP
    0.41

    images: uint8 (n, side, side, 3), taken in turn. Raises UsageError where there is nothing to measure with.
    """
    if repeats < 1 or warm_up < 0 or batch_size < 1 or not len(images):
        raise UsageError(
            f"A measurement takes at least one picture, one repeat and a batch of one. Received: {len(images)} "
            f"pictures, {repeats} repeats, {warm_up} warm-up calls, batch {batch_size}."
        )
    milliseconds = []
    for call in range(-warm_up, repeats):
        batch = images[np.arange(call * batch_size, (call + 1) * batch_size) % len(images)]
        started = time.perf_counter()
        runtime.predict(batch)
        if call >= 0:
            milliseconds.append((time.perf_counter() - started) * 1000)
    median_ms, p90_ms, p99_ms = (float(value) for value in np.percentile(milliseconds, [50, 90, 99]))
    return Latency(
        median_ms=median_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        pictures_per_second=1000 * batch_size / median_ms,
        load_ms=runtime.load_ms,
        threads=runtime.threads,
        batch_size=batch_size,
        repeats=repeats,
    )
