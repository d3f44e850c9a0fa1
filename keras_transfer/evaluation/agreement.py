"""Compares two sets of answers to the same pictures, picture by picture, where each picture has one class."""

from __future__ import annotations

import numpy as np

from keras_transfer.errors import UsageError
from keras_transfer.specs import PROBABILITIES_OUTPUT, Answers


def differ_probabilities(reference: Answers, candidate: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each picture gets the same class, bool (n,), and the largest difference of a probability, (n,).

    >>> same, difference = differ_probabilities(
    ...     {"probabilities": np.array([[0.75, 0.25]])}, {"probabilities": np.array([[0.5, 0.5]])}
    ... )
    >>> same.tolist(), difference.tolist()
    ([True], [0.25])

    reference, candidate: `probabilities`, float (n, classes). An answer that is not a number differs by NaN.
    Raises UsageError where the two are not about the same pictures and classes.
    """
    wanted, given = _pair(reference, candidate)
    return wanted.argmax(axis=1) == given.argmax(axis=1), np.abs(wanted - given).max(axis=1)


def divergence(reference: Answers, candidate: Answers) -> np.ndarray:
    """Return how far the candidate's answer to each picture is from the reference's, in nats, float (n,).

    Source: Kullback & Leibler 1951. An 8-bit answer says 0 for whatever is under 1/256; a floor keeps this finite.
    """
    from scipy.special import rel_entr  # a tenth of a second that predicting does without

    floor = np.finfo(np.float32).eps
    wanted, given = (np.maximum(each, floor) for each in _pair(reference, candidate))
    return rel_entr(wanted, given).sum(axis=1)


def right_class(answers: Answers, labels: np.ndarray) -> np.ndarray:
    """Return 1 for each picture whose likeliest class is its label, else 0: float (n,).

    >>> right_class({"probabilities": np.array([[0.9, 0.1], [0.6, 0.4]])}, np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    return (answers[PROBABILITIES_OUTPUT].argmax(axis=1) == labels).astype(np.float64)


def _pair(reference: Answers, candidate: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Both in double precision, so that the comparison itself adds nothing to what it measures."""
    wanted, given = (np.asarray(each[PROBABILITIES_OUTPUT], np.float64) for each in (reference, candidate))
    if wanted.shape != given.shape:
        raise UsageError(
            f"Two sets of answers to the same pictures are compared. Received: {wanted.shape} and {given.shape}."
        )
    return wanted, given
