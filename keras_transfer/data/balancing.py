"""Makes up for classes of different size, by weights or by how often their pictures come."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Order = Callable[[np.random.Generator, np.ndarray], np.ndarray]
"""`order(rng, labels) -> positions`: one epoch, shuffled."""


def balancing_weights(labels: np.ndarray) -> np.ndarray:
    """Return a weight per picture that gives every class the same sum; their mean is 1.

    >>> balancing_weights(np.array([0, 0, 0, 1])).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(labels) / (len(classes) * counts))[inverse].astype(np.float32)


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
