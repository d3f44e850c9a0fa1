"""Golden answers: what is kept of the answers to a picture, and how far another machine may be from them.

`golden.json`, format 1: `{"version": 1, "tolerance", "pictures": [{"file", "answer": {...}}, ...]}`. An answer is that
of the task: `probabilities` (classes); `embedding` (width); `classes`, the class of every pixel, row by row, as pairs
of (class, how many times in a row); `boxes` as `{"category", "score", "box": [y1, x1, y2, x2]}`, the surest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

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

    contract: of one of `TASKS`.
    """
    return _KEPT[contract.task](answers, contract)


def _probabilities(answers: Answers, contract: Contract) -> dict[str, Any]:
    return {PROBABILITIES_OUTPUT: rounded(answers[PROBABILITIES_OUTPUT][0])}


def _embedding(answers: Answers, contract: Contract) -> dict[str, Any]:
    return {EMBEDDING_OUTPUT: rounded(answers[EMBEDDING_OUTPUT][0])}


def _classes(answers: Answers, contract: Contract) -> dict[str, Any]:
    said = answers[PROBABILITIES_OUTPUT][0].argmax(axis=-1).ravel()
    starts = np.flatnonzero(np.r_[True, said[1:] != said[:-1]])
    counts = np.diff(np.r_[starts, len(said)])
    return {"classes": [[int(said[start]), int(count)] for start, count in zip(starts, counts, strict=True)]}


def _boxes(answers: Answers, contract: Contract) -> dict[str, Any]:
    count = round(float(answers["number of detections"][0]))
    rows = zip(*(answers[name][0][:count] for name in ("category", "score", "location")), strict=True)
    thresholds = contract.thresholds or (0.5,) * len(contract.class_names)
    boxes = [(round(float(category)), round(float(score), DIGITS), rounded(box)) for category, score, box in rows]
    return {
        "boxes": [
            {"category": category, "score": score, "box": box}
            for category, score, box in boxes
            if score >= thresholds[category]
        ]
    }


def rounded(values: np.ndarray) -> list[float]:
    """Return numbers with as many digits as a float32 near 1 has."""
    return [round(float(each), DIGITS) for each in values]


_KEPT: Mapping[str, Callable[[Answers, Contract], dict[str, Any]]] = {
    "classification": _probabilities,
    "multilabel": _probabilities,
    "segmentation": _classes,
    "detection": _boxes,
    "embedding": _embedding,
    "clips": _probabilities,
}
"""By task: what of its answers fits on a page and is worth comparing."""
TASKS = tuple(_KEPT)
PICTURES = tuple(task for task in TASKS if task != "clips")
"""Tasks whose models look at pictures one by one."""
