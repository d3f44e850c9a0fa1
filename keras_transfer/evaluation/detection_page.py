"""What the report shows of a detector: precision and recall of each class, sizes that are missed, worst pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_transfer.drawing import boxed, colour
from keras_transfer.evaluation.detection import (
    RECALLS,
    BoxMetrics,
    DetectionMetrics,
    coco_precision,
    right,
    sure_boxes,
)
from keras_transfer.evaluation.report import Evidence
from keras_transfer.evaluation.thumbnails import data_address
from keras_transfer.specs import Contract

SHOWN = 8
"""Pictures shown of the worst."""

WIDE, HIGH = 320, 200
"""Of the plot of precision against recall, in units of its drawing."""


@dataclass(frozen=True)
class Shown:
    """A picture of the report under its own boxes and under those that were found."""

    key: str
    worth: float
    """Its best F1."""
    truth: str
    said: str


@dataclass(frozen=True)
class ClassRow:
    """One class in the table, with the colour and the curve that stand for it."""

    metrics: BoxMetrics
    colour: str
    curve: str
    """Points of an SVG line: recall to the right, precision up."""


def show(evidence: Evidence) -> Mapping[str, Any]:
    """Return what `sections/detection.html.j2` is given."""
    scored = evidence.scored
    assert isinstance(scored, DetectionMetrics)
    worth = right(evidence.answers, list(evidence.labels))
    worst = [int(row) for row in np.argsort(worth, kind="stable")[:SHOWN]]
    pictures = evidence.pictures(sorted(worst)) if worst else {}
    precision = coco_precision(evidence.answers, list(evidence.labels), len(scored.per_class))[0]
    rows = [
        ClassRow(row, "#{:02x}{:02x}{:02x}".format(*colour(i)), _curve(precision[:, i]))
        for i, row in enumerate(scored.per_class)
    ]
    return {
        "classes": sorted(rows, key=lambda row: 2.0 if row.metrics.ap50 is None else row.metrics.ap50),
        "missed": scored.missed,
        "wide": WIDE,
        "high": HIGH,
        "worst": [_shown(evidence, scored, row, float(worth[row]), pictures[row]) for row in worst],
    }


def _curve(precision: np.ndarray) -> str:
    points = zip(RECALLS, precision, strict=True)
    return " ".join(f"{WIDE * x:.1f},{HIGH * (1 - y):.1f}" for x, y in points if y > -1)


def _shown(evidence: Evidence, scored: DetectionMetrics, row: int, worth: float, picture: np.ndarray) -> Shown:
    truth = np.asarray(evidence.labels[row])
    settled = Contract(
        class_names=tuple(each.name for each in scored.per_class),
        image_size=len(picture),
        thresholds=tuple(each.threshold for each in scored.per_class),
    )
    boxes, kinds, scores = sure_boxes(evidence.answers, row, settled)
    return Shown(
        key=evidence.keys[row],
        worth=worth,
        truth=data_address(boxed(picture, truth, truth[:, 4].astype(int).tolist())),
        said=data_address(boxed(picture, boxes, kinds.tolist(), [f"{value:.2f}" for value in scores])),
    )
