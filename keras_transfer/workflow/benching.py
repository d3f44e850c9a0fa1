"""Times exported files, on this host or on a plugged-in phone, and says what delegates of phones take of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_transfer.export import delegates, latency, memory, phone, profiler, runtime
from keras_transfer.export.delegates import Readiness
from keras_transfer.export.latency import Latency
from keras_transfer.export.profiler import Operator
from keras_transfer.specs import DTYPES, Artifact, Contract, Value


class Benched(Value):
    """One artifact, timed on this host at one batch size and thread count."""

    artifact: Artifact
    latency: Latency
    peak_memory_bytes: int


def bench_latency(
    paths: Sequence[Path],
    *,
    batch_sizes: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    repeats: int = 100,
    contract: Contract | None = None,
) -> tuple[Benched, ...]:
    """Time each file at every batch size and thread count on this host, and how much memory it takes.

    A TFLite file takes one picture a call: a larger batch is as many calls.
    """
    found = []
    for path in paths:
        for count in threads:
            opened = runtime.load(path, threads=count, contract=contract)
            given = opened.artifact.contract
            noise = np.random.default_rng(0).integers(0, 256, (max(batch_sizes), *given.shape), np.uint8)
            noise = noise.astype(DTYPES[given.takes])
            timed = [latency.measure(opened, noise, repeats=repeats, batch_size=size) for size in batch_sizes]
            peak = memory.peak_bytes(path, opened.artifact.contract)
            found += [Benched(artifact=opened.artifact, latency=each, peak_memory_bytes=peak) for each in timed]
    return tuple(found)


def profile(path: Path, *, threads: int = 1, repeats: int = 100) -> tuple[Operator, ...]:
    """Return the operators of a `.tflite` file in the order in which they run on this host, each with its time."""
    runtime.load(path, threads=threads)  # says what is wrong with a file, which the profiler's own library does not
    return profiler.profile(path, threads=threads, repeats=repeats)


def delegated(path: Path) -> tuple[Readiness, ...]:
    """Return what each delegate of a phone takes of a file, and what it leaves to the CPU, by published lists.

    Raises ArtifactError where no delegate takes any of it.
    """
    runtime.load(path)  # as above
    found = delegates.told(path)
    delegates.check(path, found)
    return found


def bench_on_phone(path: Path, binary: Path, *, threads: int = 1, repeats: int = 100) -> str:
    """Return what TensorFlow's `benchmark_model` says of a `.tflite` file on the phone that is plugged in."""
    return phone.benchmark(path, binary, threads=threads, repeats=repeats)
