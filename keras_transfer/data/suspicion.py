"""Finds labels that the other pictures speak against, and knows when it knows nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

STRENGTHS = (1e-4, 1e-3, 1e-2)
"""Regularization of the probe (scikit-learn's C), from strong to weak: the most likely on held-out pictures is taken.
With more channels than pictures any labels can be separated; a weak probe then says 100 % of everything."""

UNLIKELY = 0.05
"""Probability of the given label from which on it is not doubted: right labels of hard pictures seldom get less."""

BEYOND = 2.0
"""Standard errors by which the probe must beat chance before it may doubt any label."""


def suspicious(features: np.ndarray, labels: np.ndarray, *, folds: int = 5) -> list[tuple[int, int, float]]:
    """Return (position, label that is more likely, its probability), the surest first.

    A logistic regression on the features says what it thinks of each picture without having seen it. A label is
    suspicious where it is UNLIKELY and another class is at least as probable as that class is, on average, for its own
    pictures (confident learning; Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, equation 1). Its strength and
    temperature are those that make held-out pictures most likely (Guo et al. 2017, arXiv:1706.04599), so that it is no
    surer than it is right. Where it does not beat chance by two standard errors it knows nothing: no label is doubted.

    features: float (n, channels); labels: int (n,). Classes with fewer pictures than folds are not judged.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    judged = np.flatnonzero((counts >= folds)[inverse])
    names, given = np.unique(labels[judged], return_inverse=True)
    if len(names) < 2:
        return []
    logits = _held_out_logits(features[judged], given, folds)
    if not _beats_chance(logits.argmax(axis=1), given):
        return []
    probabilities = _calibrated(logits, given)
    own = probabilities[np.arange(len(given)), given]
    usual = np.array([own[given == each].mean() for each in range(len(names))])
    best = np.where(probabilities >= usual, probabilities, 0).argmax(axis=1)
    other = probabilities[np.arange(len(given)), best]
    found = np.flatnonzero((own < UNLIKELY) & (other >= usual[best]) & (best != given))
    order = found[np.argsort(-(other[found] - own[found]))]
    return [(int(judged[each]), int(names[best[each]]), float(other[each])) for each in order]


def _held_out_logits(features: np.ndarray, given: np.ndarray, folds: int) -> np.ndarray:
    """Return what probes that have not seen a picture say of it, of the strength that is most often right about it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parts = StratifiedKFold(folds, shuffle=True, random_state=0)  # files come in series: unshuffled, a fold is one

    def said(strength: float) -> np.ndarray:
        probe: Any = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        return cross_val_predict(probe, features, given, cv=parts, method="predict_log_proba")

    return min((said(strength) for strength in STRENGTHS), key=lambda logits: log_loss(given, _softmax(logits)))


def _beats_chance(answers: np.ndarray, given: np.ndarray) -> bool:
    """Return whether balanced accuracy exceeds 1 / classes by BEYOND standard errors of guessing."""
    counts = np.bincount(given)
    recalls = np.bincount(given, weights=answers == given) / counts
    chance = 1 / len(counts)
    error = np.sqrt((chance * (1 - chance) / counts).sum()) / len(counts)
    return bool(recalls.mean() > chance + BEYOND * error)


def _calibrated(logits: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return probabilities at the temperature under which the given labels are most likely."""
    from scipy.optimize import minimize_scalar

    def surprise(log_temperature: float) -> float:
        likely = _softmax(logits / np.exp(log_temperature))[np.arange(len(given)), given]
        return float(-np.log(np.maximum(likely, 1e-12)).mean())

    return _softmax(logits / np.exp(minimize_scalar(surprise, bounds=(-3, 3), method="bounded").x))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
