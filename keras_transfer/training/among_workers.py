"""Views that several workers compute together: each its share of every batch, and all of them have the whole."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.files import write_bytes
from keras_transfer.training import feature_store
from keras_transfer.training.feature_store import Key, View
from keras_transfer.training.strategy import Strategy

Parts = tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]
"""Of a batch: features, an array for each tensor of the cut, targets and weights."""


def obtained(folder: Path, key: Key, *, batches: Iterable[Parts], strategy: Strategy, **how: Any) -> View:
    """Return what `feature_store.obtain` does; what one worker lacks all of them compute, each its share.

    batches: whole ones, as `whole_batches` gives them. A folder that all workers see is written by the chief alone;
    where each has a disk of its own, each keeps the whole view there.
    """
    there = feature_store.holds(folder, key)
    if strategy.share.count > 1 and not strategy.of_all(np.array([there])).all():
        writes = not _is_the_chiefs(folder, strategy) or strategy.chief
        if writes and not there:
            feature_store.obtain(folder, key, compute=as_they_are, batches=batches, **how)
        else:
            for _ in batches:  # the others need this worker's share of each
                pass
        strategy.wait()
    return feature_store.obtain(folder, key, compute=as_they_are, batches=batches, **how)


def whole_batches(parts: Iterable[Parts], count: int, batch_size: int, strategy: Strategy) -> Iterator[Parts]:
    """Give whole batches of a split of `count` pictures, where each worker has its share of every one."""
    if strategy.share.count == 1:
        yield from parts
        return
    for start, (features, targets, weights) in zip(range(0, count, batch_size), parts, strict=True):
        size = min(batch_size, count - start)
        whole = [_whole(each, size, strategy) for each in (*features, targets, weights)]
        yield tuple(whole[:-2]), whole[-2], whole[-1]


def _whole(mine: np.ndarray, size: int, strategy: Strategy) -> np.ndarray:
    """Return the `size` rows that all workers have together, in the order of the batch (`order.Share`)."""
    most = -(-size // strategy.share.count)
    padded = np.zeros((most, *mine.shape[1:]), mine.dtype)
    padded[: len(mine)] = mine
    return strategy.of_all(padded).swapaxes(0, 1).reshape(-1, *mine.shape[1:])[:size]


def as_they_are(features: Any) -> tuple[np.ndarray, ...]:
    """Return features that were computed already: what the store asks for in place of pictures."""
    return features


def _is_the_chiefs(folder: Path, strategy: Strategy) -> bool:
    """Whether this worker sees the folder of the chief at that path, and not one of its own."""

    def left() -> str:
        token = f".{uuid.uuid4().hex}"
        write_bytes(folder / token, b"")
        return token

    token = strategy.decided(left)
    seen = (folder / token).exists()
    strategy.wait()
    if strategy.chief:
        (folder / token).unlink()
    return seen
