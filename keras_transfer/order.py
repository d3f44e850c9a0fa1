"""The order in which pictures are seen: a function of the seed, the epoch and what is balanced, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_transfer.errors import UsageError, unknown

Order = Callable[[np.random.Generator, np.ndarray], np.ndarray]
"""`order(rng, labels) -> positions`: one epoch, shuffled."""


def of_epoch(
    count: int, *, seed: int, epoch: int, labels: np.ndarray | None = None, balance: str = "none"
) -> np.ndarray:
    """Return the positions of `count` pictures as epoch `epoch` visits them, int64 (count,).

    A resumed run, a stored view and a stream of pictures all ask here, so they see the same order.

    >>> of_epoch(4, seed=0, epoch=1).tolist() == of_epoch(4, seed=0, epoch=1).tolist()
    True

    labels: class positions, int64 (count,); only `resample` asks them. balance: a row of `ORDERS`; UsageError for
    another name.
    """
    if balance not in ORDERS:
        raise UsageError(unknown("balance", balance, ORDERS))
    rng = np.random.default_rng((seed, epoch))
    return ORDERS[balance](rng, np.zeros(count, np.int64) if labels is None else labels)


def shuffled(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return every position once, in random order."""
    return rng.permutation(len(labels))


def resampled(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return as many positions as there are pictures, each class as often as the next (give or take one).

    A small class comes again once all its pictures came; of a large one some wait for another epoch.

    >>> labels = np.array([0] * 90 + [1] * 10)
    >>> np.bincount(labels[resampled(np.random.default_rng(0), labels)]).tolist()
    [50, 50]
    """
    classes = np.unique(labels)
    share, left = divmod(len(labels), len(classes))
    drawn = []
    for position, label in enumerate(rng.permutation(classes)):
        members, wanted = np.flatnonzero(labels == label), share + (position < left)
        rounds = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
        drawn.append(np.concatenate(rounds)[:wanted] if wanted else members[:0])
    return rng.permutation(np.concatenate(drawn))


ORDERS: dict[str, Order] = {"none": shuffled, "weights": shuffled, "resample": resampled}
"""Ways to balance the training split, each with the order of its epochs."""
