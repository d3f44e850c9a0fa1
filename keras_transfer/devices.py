"""Chooses hardware, names what it computes with, and puts batches there ahead of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

INSTRUCTIONS = {
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "avx": "AVX",
    "sse4_2": "SSE4.2",
    "sve": "SVE",
    "asimd": "NEON",
}
"""The widest instruction sets first, by the names that Linux has for them."""


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the widest instruction set of this machine, empty where it does not say.

    >>> instruction_set()  # doctest: +SKIP
    'AVX-512'

    Sums of floats depend on how many stand beside each other: the same plan gives the same bits on machines that have
    the same, and nearly the same accuracy on others.
    """
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return ""
    return next((name for flag, name in INSTRUCTIONS.items() if flag in words), "")


def best_device() -> str:
    """Return the device that training should use: the first GPU, else the first CPU.

    >>> best_device()  # doctest: +SKIP
    '/CPU:0'
    """
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return f"/{kind}:0"


def all_devices() -> list[str]:
    """Return the devices that can share a batch: all GPUs, else all logical CPUs, of which there is one by itself.

    >>> all_devices()  # doctest: +SKIP
    ['/GPU:0', '/GPU:1']
    """
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return [f"/{kind}:{number}" for number in range(len(tf.config.list_logical_devices(kind)))]


def prefetch(dataset: Any, device: str | None = None, *, batches: int = 2) -> Any:
    """Return `dataset` with `batches` batches held ready on `device`; nothing may come after it.

    On the host CPU there is nothing to copy, so it is a plain prefetch. Elsewhere
    `tf.data.experimental.prefetch_to_device` copies while the step before is still running.
    """
    device = device or best_device()
    if device.upper().lstrip("/").endswith("CPU:0"):
        return dataset.prefetch(batches)
    return dataset.apply(tf.data.experimental.prefetch_to_device(device, buffer_size=batches))


def without_autotune(dataset: Any) -> Any:
    """Return `dataset` with tf.data's autotuner off.

    Under `fit` on few cores the tuner stretches training steps (0.28 s to exactly 0.512 s, by epoch); explicit
    parallelism never does. See `scripts/bench`.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    options.threading.private_threadpool_size = 0
    return dataset.with_options(options)
