"""Finds labels that the other pictures speak against."""

from __future__ import annotations

import numpy as np


def suspicious(features: np.ndarray, labels: np.ndarray, *, folds: int = 5) -> list[tuple[int, int, float]]:
    """Return (position, label that is more likely, its probability), the surest first.

    A logistic regression on the features says what it thinks of each picture without having seen it. A label is
    suspicious where another class is at least as probable as that class is, on average, for its own pictures
    (confident learning; Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, equation 1).

    features: float (n, channels); labels: int (n,). Classes with fewer pictures than folds are not judged.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    judged = np.flatnonzero((counts >= folds)[inverse])
    if len(np.unique(labels[judged])) < 2:
        return []
    given = labels[judged]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    probabilities = cross_val_predict(probe, features[judged], given, cv=folds, method="predict_proba")
    names = np.unique(given)
    own = probabilities[names[None, :] == given[:, None]]
    usual = np.array([own[given == name].mean() for name in names])
    best = np.where(probabilities >= usual, probabilities, 0).argmax(axis=1)
    confident = probabilities[np.arange(len(given)), best] >= usual[best]
    found = np.flatnonzero(confident & (names[best] != given))
    order = found[np.argsort(-(probabilities[found, best[found]] - own[found]))]
    return [(int(judged[each]), int(names[best[each]]), float(probabilities[each, best[each]])) for each in order]
