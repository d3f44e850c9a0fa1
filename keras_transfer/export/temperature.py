"""Fits one temperature on validation answers and folds it into a model (Guo et al. 2017).

A network trained with cross-entropy is surer than it is right. Dividing its logits by one number fitted on pictures
it did not learn from makes its probabilities mean what they say, and changes no decision.
Source: https://arxiv.org/abs/1706.04599, section 4.2.
"""

from __future__ import annotations

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from keras_transfer.errors import ExportError
from keras_transfer.specs import PROBABILITIES_OUTPUT

RANGE = (0.05, 20.0)
"""Within which a temperature is looked for."""


def fit(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the least log loss.

    >>> sure = np.array([[0.99, 0.01]] * 4)
    >>> fit(sure, np.array([0, 0, 0, 1])) > 1
    True

    probabilities: float (n, classes) of validation pictures, rows sum to 1. labels: class positions (n,).
    Raises ExportError where there are no pictures.
    """
    if not len(labels):
        raise ExportError("A temperature is fitted on validation pictures, and there are none.")
    logits = _logits(probabilities)

    def log_loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log(RANGE), method="bounded").x))


def apply(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities, float32 (n, classes), as a model says them whose logits are divided by `temperature`."""
    return softmax(_logits(probabilities) / temperature, axis=1).astype(np.float32)


def fold(model: keras.Model, temperature: float) -> keras.Model:
    """Return a model that shares the weights of `model` and divides its logits by `temperature`.

    model: ends in a softmax layer named `probabilities`. Raises ExportError where it does not.
    """
    last = model.layers[-1]
    is_softmax = (
        isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax
    )
    if last.weights or not is_softmax:
        raise ExportError(
            f"A temperature is folded in before the last layer, which must be a softmax without weights. "
            f"Received: {type(last).__name__} '{last.name}'."
        )
    cooled = keras.layers.Rescaling(1 / temperature, name="temperature")(last.input)
    softened = keras.layers.Softmax(name=PROBABILITIES_OUTPUT)(cooled)
    return keras.Model(model.inputs, softened, name=model.name)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits up to a constant, which a softmax does not see."""
    return np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
