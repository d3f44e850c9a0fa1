"""Scores a classifier's probabilities against the labels: how often, how evenly and how honestly it is right.

An undefined figure (the recall of a class without pictures, the precision of a class never predicted) is None, never
a zero that looks measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

from keras_transfer.errors import DataError
from keras_transfer.specs import Value

CALIBRATION_BINS = 15
"""Bins of equal width over confidence, as Guo et al. (2017) use."""

CONFUSED_PAIRS = 10
"""How many of the most confused pairs are kept."""


class ClassMetrics(Value):
    """How one class fares; None where the figure is undefined."""

    name: str
    count: int = Field(ge=0)
    """Pictures of the class."""
    precision: float | None
    recall: float | None
    f1: float | None


class ConfusedPair(Value):
    """Pictures of one class that were taken for another."""

    truth: str
    predicted: str
    count: int = Field(ge=1)
    share: float = Field(gt=0, le=1)
    """Of the pictures of `truth`."""


class CalibrationBin(Value):
    """The predictions of one range of confidence: what the model claimed and what came true."""

    low: float
    high: float
    count: int = Field(ge=0)
    confidence: float | None
    """Mean of the largest probability; None in an empty bin."""
    accuracy: float | None


class Metrics(Value):
    """What a model scored on one split; fractions are 0-1."""

    count: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    top5_accuracy: float | None
    """None with five classes or fewer, where it says nothing."""
    balanced_accuracy: float = Field(ge=0, le=1)
    """Mean recall over the classes that have pictures."""
    log_loss: float = Field(ge=0)
    """Mean of -ln p(label), natural logarithm."""
    expected_calibration_error: float = Field(ge=0, le=1)
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Row: true class; column: predicted class."""
    most_confused: tuple[ConfusedPair, ...]
    """Largest count first."""


def score(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Metrics:
    """Return what the predictions are worth.

    >>> score(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), ["cat", "dog"]).accuracy
    0.5

    probabilities: float (n, classes), finite, 0-1; a quantized model's rows need not sum to exactly 1.
    labels: class positions, int (n,).

    Raises DataError where shapes, values or labels do not fit together.
    Source of the calibration error: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    probabilities, labels = _checked(probabilities, labels, len(class_names))
    positions = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=positions)
    precision, recall, f1, count = precision_recall_fscore_support(
        labels, predicted, labels=positions, zero_division=np.nan
    )
    top5 = top_k_accuracy_score(labels, probabilities, k=5, labels=positions) if len(class_names) > 5 else None
    of_label = probabilities[np.arange(len(labels)), labels]
    return Metrics(
        count=len(labels),
        accuracy=float((predicted == labels).mean()),
        top5_accuracy=top5,
        balanced_accuracy=float(np.nanmean(recall)),
        log_loss=float(-np.log(np.clip(of_label, np.finfo(np.float32).eps, 1.0)).mean()),
        expected_calibration_error=_expected_error(calibration(probabilities, labels)),
        per_class=tuple(
            ClassMetrics(
                name=name,
                count=int(count[i]),
                precision=_defined(precision[i]),
                recall=_defined(recall[i]),
                f1=_defined(f1[i]),
            )
            for i, name in enumerate(class_names)
        ),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        most_confused=_most_confused(confusion, class_names),
    )


def calibration(
    probabilities: np.ndarray, labels: np.ndarray, *, bins: int = CALIBRATION_BINS
) -> tuple[CalibrationBin, ...]:
    """Return the reliability diagram's bins, of equal width over the confidence 0-1.

    >>> calibration(np.array([[0.9, 0.1]]), np.array([0]), bins=2)[1].accuracy
    1.0
    """
    probabilities, labels = _checked(probabilities, labels, probabilities.shape[-1])
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    position = np.minimum((confidence * bins).astype(int), bins - 1)
    count, claimed, came_true = (
        np.bincount(position, weights=weights, minlength=bins) for weights in (None, confidence, right)
    )
    return tuple(
        CalibrationBin(
            low=i / bins,
            high=(i + 1) / bins,
            count=int(count[i]),
            confidence=claimed[i] / count[i] if count[i] else None,
            accuracy=came_true[i] / count[i] if count[i] else None,
        )
        for i in range(bins)
    )


def _checked(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or probabilities.shape != (len(labels), classes) or not len(labels):
        raise DataError(
            f"Probabilities must be one row per label and one column per class, for at least one picture. "
            f"Received: shape {probabilities.shape} for {len(labels)} labels and {classes} classes."
        )
    bad = ~(np.isfinite(probabilities) & (probabilities >= 0)).all(axis=1)
    if bad.any():
        raise DataError(
            f"Probabilities must be finite and not negative. Received: {int(bad.sum())} of {len(bad)} rows that are "
            f"not, the first at {int(bad.argmax())}. The model diverged in training or its file is broken."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"Labels must be class positions 0-{classes - 1}. Received: {int(labels.min())}-{int(labels.max())}."
        )
    # Dequantized rows may exceed 1 by a quantization step.
    return np.minimum(probabilities, 1.0), labels.astype(np.int64)


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _expected_error(bins: tuple[CalibrationBin, ...]) -> float:
    gaps = [
        each.count * abs(each.accuracy - each.confidence)
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    ]
    return float(sum(gaps) / sum(each.count for each in bins))


def _most_confused(confusion: np.ndarray, class_names: Sequence[str]) -> tuple[ConfusedPair, ...]:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    truth, predicted = np.nonzero(wrong)
    order = np.argsort(-wrong[truth, predicted], kind="stable")[:CONFUSED_PAIRS]
    return tuple(
        ConfusedPair(
            truth=class_names[truth[i]],
            predicted=class_names[predicted[i]],
            count=int(wrong[truth[i], predicted[i]]),
            share=float(wrong[truth[i], predicted[i]] / confusion[truth[i]].sum()),
        )
        for i in order
    )
