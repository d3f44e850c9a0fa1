"""The order in which pictures are seen: a function of labels, balance, seed and epoch, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable

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


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return a weight per picture that gives every class the same sum, float32 (n,); their mean is 1.

    >>> class_weights(np.array([0, 0, 0, 1])).astype(float).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(labels) / (len(classes) * counts))[inverse].astype(np.float32)
