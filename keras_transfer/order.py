"""The order in which pictures are seen: a function of labels, balance, seed and epoch, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOGETHER = 4
"""Pictures of a class that come side by side with `pairs`: a batch of 32 then shows about eight classes."""

Order = Callable[[np.random.Generator, int, "np.ndarray | None"], np.ndarray]
"""`order(rng, count, labels) -> positions`: one epoch, shuffled."""


def of_epoch(
    count: int, *, seed: int, epoch: int, labels: np.ndarray | None = None, balance: str = "none"
) -> np.ndarray:
    """Return the positions that epoch `epoch` visits, in turn, int64 (count,).

    A resumed run, a stored view and a stream of pictures all ask here, so they see the same order.

    >>> of_epoch(4, seed=0, epoch=1).tolist() == of_epoch(4, seed=0, epoch=1).tolist()
    True
    >>> labels = np.array([0] * 90 + [1] * 10)
    >>> np.bincount(labels[of_epoch(100, seed=0, epoch=0, labels=labels, balance="resample")]).tolist()
    [50, 50]

    count: pictures; labels: a class position for each, int (count,), read where classes are balanced; balance: a row
    of BALANCES. With `resample` each class comes as often as the next (give or take one): a small class comes again
    once all its pictures came, and of a large one some wait for another epoch. All others visit every position once;
    with `pairs`, pictures of a class come in runs of `TOGETHER`.
    """
    return BALANCES[balance](np.random.default_rng((seed, epoch)), count, labels)


def _shuffled(rng: np.random.Generator, count: int, labels: np.ndarray | None) -> np.ndarray:
    return rng.permutation(count)


def _resampled(rng: np.random.Generator, count: int, labels: np.ndarray | None) -> np.ndarray:
    shape = None if labels is None else labels.shape
    if labels is None or shape != (count,):
        raise ValueError(f"Resampling needs one class a picture, ({count},). Received: {shape}")
    classes = np.unique(labels)
    share, left = divmod(count, len(classes))
    drawn = []
    for position, label in enumerate(rng.permutation(classes)):
        members, wanted = np.flatnonzero(labels == label), share + (position < left)
        rounds = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
        drawn.append(np.concatenate(rounds)[:wanted] if wanted else members[:0])
    return rng.permutation(np.concatenate(drawn))


def _in_pairs(rng: np.random.Generator, count: int, labels: np.ndarray | None) -> np.ndarray:
    """Lay each class's pictures, shuffled, into runs of `TOGETHER`, and shuffle the runs."""
    if labels is None or labels.shape != (count,):
        shape = None if labels is None else labels.shape
        raise ValueError(f"Pairs need one class a picture, ({count},). Received: {shape}")
    runs = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        # Rounded down, so that runs are of TOGETHER or a few more: a run of one would have nothing to be compared with.
        runs += np.array_split(members, max(1, len(members) // TOGETHER))
    return np.concatenate([runs[position] for position in rng.permutation(len(runs))])


BALANCES: dict[str, Order] = {"none": _shuffled, "weights": _shuffled, "resample": _resampled, "pairs": _in_pairs}
"""Ways to make up for classes of different size, each with the order of its epochs; `weights` changes what pictures
weigh (`class_weights`), not how often they come, and `pairs` only what comes beside what."""


NOTHING = -1
"""A position that stands for no picture: a worker for whom a batch has none takes the last one and weighs it 0."""


@dataclass(frozen=True)
class Share:
    """What one of several workers takes of every batch: each `count`-th picture, from `index` on.

    So that batch k of all of them together is the batch k that one alone would see, whatever their number.
    """

    index: int = 0
    count: int = 1

    def size(self, batch_size: int) -> int:
        """Return how many pictures of a full batch are this worker's; ValueError where some worker would have none.

        >>> [Share(index, 3).size(32) for index in range(3)]
        [11, 11, 10]
        """
        if batch_size < self.count:
            raise ValueError(f"{self.count} workers share batches of at least as many pictures. Received: {batch_size}")
        return len(range(self.index, batch_size, self.count))

    def of(self, order: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the positions of `order` that are this worker's, in turn, to be batched by `size(batch_size)`.

        >>> Share(1, 2).of(np.arange(10), batch_size=4).tolist()
        [1, 3, 5, 7, 9]
        >>> Share(1, 2).of(np.arange(9), batch_size=4).tolist()
        [1, 3, 5, 7, -1]

        Every worker has as many batches as the next, or they would wait for each other: where the last one has no
        picture for this worker, `NOTHING` stands in it.
        """
        if self.count == 1:
            return order
        self.size(batch_size)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        nothing = np.array([NOTHING], order.dtype)
        return np.concatenate([mine if len(mine := batch[self.index :: self.count]) else nothing for batch in batches])


WHOLE = Share()
"""Of one worker, who takes every batch as it is."""


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return a weight per picture that gives every class the same sum, float32 (n,); their mean is 1.

    >>> class_weights(np.array([0, 0, 0, 1])).astype(float).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(labels) / (len(classes) * counts))[inverse].astype(np.float32)
