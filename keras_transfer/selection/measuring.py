"""Runs a frozen backbone over pictures once and keeps what advice needs: every block's features and statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from keras_transfer.selection.findings import BlockFeatures, Measurement
from keras_transfer.selection.scores import statistics_distance
from keras_transfer.specs import Block

TIMED_RUNS = 9

LOOKED_SECONDS = 1.0
"""Of looking, after which a rate is known well enough."""

MIRRORED = 300
"""Pictures that are looked at mirrored too: what a probe loses by it is then known to two or three points."""

Engine = Callable[[Any, np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""Takes a keras.Model and a few pictures to prove itself on, gives a fast function from pictures to its output."""


def measure(
    model: Any,
    blocks: Sequence[Block],
    images: np.ndarray,
    engine: Engine,
    classifier: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    validation: np.ndarray | None = None,
) -> Measurement:
    """Return what each block of a frozen backbone says of the pictures, from one pass over them.

    >>> measure(features.model, blocks, images, engine).picture_ms  # doctest: +SKIP
    1.4

    model: flat, `image` uint8 (batch, side, side, 3) to the feature map. images: uint8 (n, side, side, 3).
    classifier: kernel (features, source classes) and bias that the source had behind the pooled feature map.
    validation: uint8 (m, side, side, 3), pictures that probes are judged on.
    """
    norms = [_last_norm(block) for block in blocks]
    pooled = [keras.layers.GlobalAveragePooling2D()(block.output) for block in blocks]
    for norm in filter(None, norms):
        # Mean and second moment of what the norm takes: with its moving statistics, where these pictures stand.
        pooled += [keras.layers.GlobalAveragePooling2D()(each) for each in (norm.input, keras.ops.square(norm.input))]
    widths = [int(each.shape[-1]) for each in pooled]
    compute = engine(keras.Model(model.input, keras.layers.Concatenate()(pooled)), images[:8])

    def parts(pictures: np.ndarray) -> list[np.ndarray]:
        return np.split(compute(pictures), np.cumsum(widths)[:-1], axis=1)

    plain = parts(images)
    mirrored = parts(images[: min(MIRRORED, len(images) // 2), :, ::-1])
    judged = [None] * len(blocks) if validation is None else parts(validation)[: len(blocks)]
    moments = iter(plain[len(blocks) :])
    distances = [None if norm is None else _distance(norm, next(moments), next(moments)) for norm in norms]
    work = np.array([block.multiply_adds for block in blocks], np.float64)
    shares = (work / max(work.sum(), 1)).tolist()
    return Measurement(
        image_size=int(images.shape[1]),
        blocks=tuple(BlockFeatures(*each) for each in zip(plain, distances, mirrored, judged, shares, strict=False)),
        size_bytes=4 * model.count_params(),
        picture_ms=_median_ms(compute, images[:1]),
        source_probabilities=None
        if classifier is None
        else softmax(plain[len(blocks) - 1] @ classifier[0] + classifier[1], axis=1),
    )


def looking_ms(look: Callable[[Any], Any], batches: Iterable[Any]) -> float:
    """Return what a picture of `batches` costs where it is only looked at, the way to it included.

    The first batch wakes engine and input up and is not counted; it stops after `LOOKED_SECONDS`.
    """
    arriving = iter(batches)
    look(next(arriving))
    began, count = time.perf_counter(), 0
    for batch in arriving:
        look(batch)
        count += len(batch)
        if time.perf_counter() - began > LOOKED_SECONDS:
            break
    return (time.perf_counter() - began) * 1000 / max(count, 1)


def first_distance(model: Any, blocks: Sequence[Block], images: np.ndarray) -> float | None:
    """Return how far the first block's activations are from the source's, in deviations; None without batch norm.

    >>> first_distance(features.model, blocks, images)  # doctest: +SKIP
    0.41

    What `measure` says of every block, of one alone, in a second: images, uint8 (n, side, side, 3), may be few.
    """
    norm = _last_norm(blocks[0])
    if norm is None:
        return None
    pooled = [keras.layers.GlobalAveragePooling2D()(each) for each in (norm.input, keras.ops.square(norm.input))]
    mean, second = keras.Model(model.input, pooled)(images, training=False)
    return _distance(norm, np.asarray(mean), np.asarray(second))


def _last_norm(block: Block) -> Any:
    norms = [layer for layer in block.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return norms[-1] if norms else None


def _distance(norm: Any, mean: np.ndarray, second: np.ndarray) -> float:
    centre = mean.mean(axis=0, dtype=np.float64)
    variance = second.mean(axis=0, dtype=np.float64) - centre**2
    return statistics_distance(centre, variance, np.asarray(norm.moving_mean), np.asarray(norm.moving_variance))


def _median_ms(compute: Callable[[np.ndarray], np.ndarray], picture: np.ndarray) -> float:
    compute(picture)
    times = []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        compute(picture)
        times.append(time.perf_counter() - began)
    return float(np.median(times) * 1000)
