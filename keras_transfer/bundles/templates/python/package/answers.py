"""What answers say, in plain values, and how far they are from the golden ones; a function a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

SAME_PLACE = 0.9
"""Overlap (intersection over union) from which two boxes are the same box."""

Outputs = Mapping[str, np.ndarray]
About = Mapping[str, Any]


def read(outputs: Outputs, about: About) -> dict[str, Any]:
    """Return what the outputs for one picture say, the most important first."""
    return _READ[about["task"]](outputs, about)


def difference(outputs: Outputs, golden: Mapping[str, Any], about: About) -> float:
    """Return how far the outputs for one picture are from the golden answer: 0 where they are the same.

    Of probabilities, embeddings and scores the largest difference; of masks the share of pixels of another class; 1
    where a box has no counterpart.
    """
    return _DIFFERENCE[about["task"]](outputs, golden, about)


def _class(outputs: Outputs, about: About) -> dict[str, Any]:
    row, names = outputs["probabilities"], about["class_names"]
    order = np.argsort(-row, kind="stable")
    return {
        "class_name": names[order[0]],
        "probability": float(row[order[0]]),
        "probabilities": {names[i]: float(row[i]) for i in order},
    }


def _labels(outputs: Outputs, about: About) -> dict[str, Any]:
    row, names = outputs["probabilities"], about["class_names"]
    order = np.argsort(-row, kind="stable")
    return {
        "labels": [names[i] for i in order if row[i] >= np.float32(about["thresholds"][i])],
        "probabilities": {names[i]: float(row[i]) for i in order},
    }


def _areas(outputs: Outputs, about: About) -> dict[str, Any]:
    classes, names = outputs["probabilities"].argmax(axis=-1), about["class_names"]
    shares = np.bincount(classes.ravel(), minlength=len(names)) / classes.size
    order = [i for i in np.argsort(-shares, kind="stable") if shares[i] > 0]
    return {"largest": names[order[0]], "areas": {names[i]: float(shares[i]) for i in order}}


def _found(outputs: Outputs, about: About) -> dict[str, Any]:
    names = about["class_names"]
    boxes = [
        {"class_name": names[each["category"]], "score": each["score"], "box": each["box"]}
        for each in _boxes(outputs)
        if each["score"] >= about["thresholds"][each["category"]]
    ]
    return {"count": len(boxes), "boxes": boxes}


def _place(outputs: Outputs, about: About) -> dict[str, Any]:
    return {"embedding": [float(each) for each in outputs["embedding"]]}


def _boxes(outputs: Outputs) -> list[dict[str, Any]]:
    count = round(float(outputs["number of detections"]))
    rows = zip(*(outputs[name][:count] for name in ("category", "score", "location")), strict=True)
    return [{"category": round(float(kind)), "score": float(score), "box": box.tolist()} for kind, score, box in rows]


def _of_vector(name: str) -> Callable[[Outputs, Mapping[str, Any], About], float]:
    return lambda outputs, golden, about: float(np.abs(outputs[name] - np.float32(golden[name])).max())


def _of_classes(outputs: Outputs, golden: Mapping[str, Any], about: About) -> float:
    kinds, counts = np.array(golden["classes"]).T
    return float((outputs["probabilities"].argmax(axis=-1).ravel() != np.repeat(kinds, counts)).mean())


def _of_boxes(outputs: Outputs, golden: Mapping[str, Any], about: About) -> float:
    """Boxes that lie at their threshold to within the tolerance may be there or not."""
    found, wanted, tolerance = _boxes(outputs), golden["boxes"], about["tolerance"]
    sure = [each for each in found if each["score"] >= about["thresholds"][each["category"]] + tolerance]
    known = [each for each in wanted if each["score"] >= about["thresholds"][each["category"]] + tolerance]
    pairs = [*((each, found) for each in known), *((each, wanted) for each in sure)]
    return max((_nearest(each, others) for each, others in pairs), default=0.0)


def _nearest(box: Mapping[str, Any], others: list[dict[str, Any]]) -> float:
    same = [each for each in others if each["category"] == box["category"]]
    scores = [abs(each["score"] - box["score"]) for each in same if _overlap(each["box"], box["box"]) >= SAME_PLACE]
    return min(scores, default=1.0)


def _overlap(first: list[float], second: list[float]) -> float:
    high = max(min(first[2], second[2]) - max(first[0], second[0]), 0)
    wide = max(min(first[3], second[3]) - max(first[1], second[1]), 0)
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (first, second)]
    return high * wide / max(sum(areas) - high * wide, 1e-12)


_READ: Mapping[str, Callable[[Outputs, About], dict[str, Any]]] = {
    "classification": _class,
    "clips": _class,
    "multilabel": _labels,
    "segmentation": _areas,
    "detection": _found,
    "embedding": _place,
}
_DIFFERENCE: Mapping[str, Callable[[Outputs, Mapping[str, Any], About], float]] = {
    "classification": _of_vector("probabilities"),
    "clips": _of_vector("probabilities"),
    "multilabel": _of_vector("probabilities"),
    "segmentation": _of_classes,
    "detection": _of_boxes,
    "embedding": _of_vector("embedding"),
}
