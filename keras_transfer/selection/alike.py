"""Says which pictures belong together: those of a named group, and those that a backbone finds alike."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

ALIKE = 0.9
"""Cosine of two pictures' features from which they look alike. Between shop photographs of different vegetables it
reaches 0.889, between drawings of different clothes 0.899 (EfficientNet-Lite0, 634 photographs at 224 px and the 1,000
of `sample:fashion` at 96 px), so that beyond it nothing of different classes is joined."""

MOST_OF_A_CLASS = 0.9
"""Share of a class above which what is alike is what the class looks like, and no picture taken twice."""


def look_alikes(features: np.ndarray, labels: np.ndarray, copies: np.ndarray | None = None) -> np.ndarray:
    """Return the number of each picture's group of look-alikes, int (n,); a picture without any is a group of its own.

    >>> look_alikes(np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.2]]), np.zeros(5)).tolist()
    [0, 0, 1, 2, 3]

    features: float (n, d), not negative as a rule; labels: int (n,), or bool (n, classes); copies: int (n,), the same
    number for pictures whose pixels are nearly the same: features of a blurred or a shrunk copy are far from those of
    the sharp picture, while pixels know nothing of a shot from a step aside, so that each sees what the other misses.
    Whatever looks like a look-alike belongs with it. A group that holds more than `MOST_OF_A_CLASS` of a class is
    dissolved: were it left out whole, nothing would be left to know the class by.
    """
    rows = np.asarray(features, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    alike = rows @ rows.T >= ALIKE
    if copies is not None:
        alike |= copies[:, None] == copies
    _, groups = connected_components(alike, directed=False)
    members = labels if labels.ndim == 2 else labels[:, None] == np.unique(labels)
    shares = np.eye(groups.max() + 1)[groups].T @ members / np.maximum(members.sum(axis=0), 1)
    dissolved = (shares.max(axis=1) > MOST_OF_A_CLASS)[groups]
    groups[dissolved] = groups.max() + 1 + np.arange(dissolved.sum())
    return np.unique(groups, return_inverse=True)[1]


def numbered(groups: np.ndarray) -> np.ndarray:
    """Return a number for each named group, int (n,); what has no name of a group is alone.

    >>> numbered(np.array(["monday", "", "monday", ""])).tolist()
    [1, 2, 1, 3]
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    alone = groups == ""
    numbers[alone] = numbers.max() + 1 + np.arange(alone.sum())
    return numbers
