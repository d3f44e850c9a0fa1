"""Golden answers: what is kept of the answers to a picture, and how far another machine may be from them.

`golden.json`, format 1: `{"version": 1, "tolerance", "pictures": [{"file", "answer": {...}}, ...]}`. An answer is that
of the task: `probabilities` (classes); `embedding` (width); `classes`, the class of every pixel, row by row, as pairs
of (class, how many times in a row); `boxes` as `{"category", "score", "box": [y1, x1, y2, x2]}`, the surest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_transfer.errors import UsageError
from keras_transfer.specs import EMBEDDING_OUTPUT, PROBABILITIES_OUTPUT, Answers, Contract

TOLERANCES: Mapping[str, float] = {"float32": 1e-3, "float16": 1e-2}
"""Of any number in an answer, by precision: floats are added up in another order by other machines, and kernels of
whole numbers round otherwise from one instruction set to the next, by several of their 256 steps at worst."""
WHOLE_NUMBERS = 0.1

DIGITS = 7
"""Behind the point: what a float32 near 1 can tell."""


def tolerance(precision: str) -> float:
    """Return how far any number may be from the golden one."""
    return TOLERANCES.get(precision, WHOLE_NUMBERS)


def kept(answers: Answers, contract: Contract) -> dict[str, Any]:
    """Return what is kept of the answers to one picture, (1, …) each, in numbers and lists.

    Raises UsageError where no bundle knows the task.
    """
    check(contract)
    return _KEPT[contract.task](answers, contract)


def check(contract: Contract) -> None:
    """Raise UsageError where bundles do not know the task of a file."""
    if contract.task not in _KEPT:
        raise UsageError(
            f"Bundles answer single pictures, of {', '.join(_KEPT)}. Received: a file of {contract.task}. "
            f"Use it as it is: keras-transfer predict FILE"
        )


def _probabilities(answers: Answers, contract: Contract) -> dict[str, Any]:
    return {PROBABILITIES_OUTPUT: _rounded(answers[PROBABILITIES_OUTPUT][0])}


def _embedding(answers: Answers, contract: Contract) -> dict[str, Any]:
    return {EMBEDDING_OUTPUT: _rounded(answers[EMBEDDING_OUTPUT][0])}


def _classes(answers: Answers, contract: Contract) -> dict[str, Any]:
    said = answers[PROBABILITIES_OUTPUT][0].argmax(axis=-1).ravel()
    starts = np.flatnonzero(np.r_[True, said[1:] != said[:-1]])
    counts = np.diff(np.r_[starts, len(said)])
    return {"classes": [[int(said[start]), int(count)] for start, count in zip(starts, counts, strict=True)]}


def _boxes(answers: Answers, contract: Contract) -> dict[str, Any]:
    count = round(float(answers["number of detections"][0]))
    rows = zip(*(answers[name][0][:count] for name in ("category", "score", "location")), strict=True)
    thresholds = contract.thresholds or (0.5,) * len(contract.class_names)
    boxes = [(round(float(category)), round(float(score), DIGITS), _rounded(box)) for category, score, box in rows]
    return {
        "boxes": [
            {"category": category, "score": score, "box": box}
            for category, score, box in boxes
            if score >= thresholds[category]
        ]
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(each), DIGITS) for each in values]


_KEPT: Mapping[str, Callable[[Answers, Contract], dict[str, Any]]] = {
    "classification": _probabilities,
    "multilabel": _probabilities,
    "segmentation": _classes,
    "detection": _boxes,
    "embedding": _embedding,
}
"""By task: what of its answers fits on a page and is worth comparing."""
