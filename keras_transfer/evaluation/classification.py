"""What a network is worth that gives a picture one label: how often, how evenly and how honestly it is right.

An undefined figure (the recall of a class without pictures, the precision of a class never predicted) is None, never
a zero that looks measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from keras_transfer.errors import DataError
from keras_transfer.evaluation.agreement import differ_probabilities
from keras_transfer.evaluation.intervals import margin, wilson
from keras_transfer.specs import PROBABILITIES_OUTPUT, Answers, Contract, Scored, Value

CALIBRATION_BINS = 15
"""Bins of equal width over confidence, as Guo et al. (2017) use."""

CONFUSED_PAIRS = 10
"""How many of the most confused pairs are kept."""

FEW_OF_A_CLASS = 20
"""Fewer pictures of a class than this and its recall is known to no better than about 20 points either way."""

HONEST = 0.05
"""Calibration error up to which a threshold on the confidence does what it says."""

WEAK_RECALL = 0.5
RARE_CLASS = 0.1
"""A class with less than this share of the largest class's test pictures is called rare."""


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


class Metrics(Scored):
    """What a classifier scored on one split; fractions are 0-1."""

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
    temperature: float = Field(default=1.0, gt=0)
    """What the logits of these answers were divided by, fitted on validation; 1 where they are as trained."""

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Headline figures, the merit first."""
        return {
            "accuracy": self.accuracy,
            "balanced accuracy": self.balanced_accuracy,
            "top-5 accuracy": self.top5_accuracy,
            "log loss": self.log_loss,
            "calibration error": self.expected_calibration_error,
        }

    def worth(self) -> tuple[str, ...]:
        """What a person who decides reads: how often it is right, on what least, whether its confidence is honest."""
        said = [
            f"On {self.count:,} {self.things} it had never seen, the model names {self.accuracy:.1%} correctly "
            f"(give or take {margin(self.accuracy, self.count):.1%})."
        ]
        judged = [row for row in self.per_class if row.recall is not None]
        # By the upper end of the interval: one miss of two pictures is no weakness that anything is known of.
        weakest = min(judged, key=lambda row: wilson(row.recall or 0.0, row.count)[1])
        if weakest.recall is not None and weakest.recall < 1:
            confused = next((pair for pair in self.most_confused if pair.truth == weakest.name), None)
            mostly = f", mostly taken for {confused.predicted}" if confused else ""
            said.append(
                f"It is weakest on {weakest.name}, where it finds {weakest.recall:.0%} of {weakest.count}{mostly}."
            )
        return (*said, self._honesty())

    def limits(self) -> tuple[str, ...]:
        """What the figures say that the model cannot do."""
        rows = self.per_class
        unseen = [row.name for row in rows if not row.count]
        weak = [f"{row.name} ({row.recall:.0%})" for row in rows if row.recall is not None and row.recall < WEAK_RECALL]
        largest = max(row.count for row in rows)
        rare = [row.name for row in rows if 0 < row.count < RARE_CLASS * largest]
        error = self.expected_calibration_error
        said = {
            f"It knows {len(rows)} classes and calls every {self.things[:-1]} one of them, whatever it shows.": True,
            f"Nothing is known of {', '.join(unseen)}: no test {self.things[:-1]} shows it.": bool(unseen),
            f"It finds fewer than half of: {', '.join(weak)}.": bool(weak),
            f"Rare in the test {self.things}, so their figures are rough: {', '.join(rare)}.": bool(rare),
            f"Do not read its confidence as a probability: it is off by {error * 100:.0f} points.": error > HONEST,
        }
        return tuple(sentence for sentence, holds in said.items() if holds)

    def _honesty(self) -> str:
        error = self.expected_calibration_error
        off = f"The confidence it claims is off by {error * 100:.1f} points on average"
        if error <= HONEST:
            return f"{off}, so a threshold on it can be trusted."
        if self.temperature == 1:
            return f"{off}: calibrate it before relying on a threshold."
        return f"{off}, although it was calibrated: choose a threshold on {self.things} of your own."


def score(answers: Answers, labels: np.ndarray, contract: Contract) -> Metrics:
    """Return what the answers are worth.

    >>> answers = {"probabilities": np.array([[0.9, 0.1], [0.6, 0.4]])}
    >>> score(answers, np.array([0, 1]), Contract(class_names=("cat", "dog"), image_size=96)).accuracy
    0.5

    answers: `probabilities`, float (n, classes), finite, 0-1; a quantized model's rows need not sum to exactly 1.
    labels: class positions, int (n,). contract: names the classes.

    Raises DataError where shapes, values or labels do not fit together.
    Source of the calibration error: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    names = contract.class_names
    probabilities, labels = _checked(answers[PROBABILITIES_OUTPUT], labels, len(names))
    predicted = probabilities.argmax(axis=1)
    confusion = _confusion(labels, predicted, len(names))
    rows = _by_class(confusion, names)
    top5 = float(_among_first(probabilities, labels, 5).mean()) if len(names) > 5 else None
    of_label = probabilities[np.arange(len(labels)), labels]
    return Metrics(
        count=len(labels),
        things="clips" if contract.frames else "pictures",
        accuracy=float((predicted == labels).mean()),
        top5_accuracy=top5,
        balanced_accuracy=float(np.mean([row.recall for row in rows if row.recall is not None])),
        log_loss=float(-np.log(np.clip(of_label, np.finfo(np.float32).eps, 1.0)).mean()),
        expected_calibration_error=calibration_error(calibration(probabilities, labels)),
        per_class=rows,
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        most_confused=_most_confused(confusion, names),
        temperature=contract.temperature,
    )


def read(answers: Answers, contract: Contract) -> Mapping[str, Any]:
    """Return what the answers to one picture, (1, classes), say: its class, how likely, and all probabilities."""
    (row,) = answers[PROBABILITIES_OUTPUT]
    return {
        "class_name": contract.class_names[int(row.argmax())],
        "probability": float(row.max()),
        "probabilities": {name: float(each) for name, each in zip(contract.class_names, row, strict=True)},
    }


def differ(reference: Answers, candidate: Answers, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each picture gets the same class, bool (n,), and its largest difference of a probability."""
    return differ_probabilities(reference, candidate)


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


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean distance between claimed confidence and accuracy, 0-1, over all pictures of the bins.

    >>> calibration_error(calibration(np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1])))
    0.25
    """
    gaps = [
        each.count * abs(each.accuracy - each.confidence)
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    ]
    return float(sum(gaps) / sum(each.count for each in bins))


def _confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many pictures of a class (row) were taken for a class (column).

    What scikit-learn gives, without the second that its import takes of every verb that scores a model.
    """
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _among_first(probabilities: np.ndarray, labels: np.ndarray, first: int) -> np.ndarray:
    """Whether the label is among the `first` most probable classes, bool (n,); of equal ones the last comes first."""
    order = np.argsort(probabilities, axis=1, kind="stable")[:, ::-1][:, :first]
    return (order == labels[:, None]).any(axis=1)


def _by_class(confusion: np.ndarray, names: Sequence[str]) -> tuple[ClassMetrics, ...]:
    count, named, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    with np.errstate(invalid="ignore"):  # a class that no picture shows or that none is taken for
        precision, recall, f1 = right / named, right / count, 2 * right / (count + named)
    return tuple(
        ClassMetrics(
            name=name,
            count=int(count[i]),
            precision=_defined(precision[i]),
            recall=_defined(recall[i]),
            f1=_defined(f1[i]),
        )
        for i, name in enumerate(names)
    )


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
