"""What the report shows of a segmenter: the best and the worst pictures under their masks, and confused classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_transfer.drawing import colour, overlay
from keras_transfer.evaluation.report import Evidence
from keras_transfer.evaluation.segmentation import CLASSES_ANSWER, AreaMetrics, SegmentationMetrics, keep, right
from keras_transfer.evaluation.thumbnails import data_address

SHOWN = 6
"""Pictures shown of the worst, and as many of the best."""

CONFUSIONS = 12
"""Rows of the table of confused classes, the largest share first."""


@dataclass(frozen=True)
class Shown:
    """A picture of the report, three times: as it is, under its mask, and under what the model says."""

    key: str
    worth: float
    """Its mean IoU."""
    image: str
    truth: str
    said: str


@dataclass(frozen=True)
class Confused:
    """A share of the pixels of one class that are taken for another."""

    truth: str
    said: str
    share: float
    pixels: int


@dataclass(frozen=True)
class ClassRow:
    """One class in the table, with the colour that stands for it."""

    metrics: AreaMetrics
    colour: str


def show(evidence: Evidence) -> Mapping[str, Any]:
    """Return what `sections/segmentation.html.j2` is given."""
    scored = evidence.scored
    assert isinstance(scored, SegmentationMetrics)
    worth = right(evidence.answers, evidence.labels)
    order = [int(row) for row in np.argsort(worth, kind="stable")]
    worst, best = order[:SHOWN], order[SHOWN:][-SHOWN:][::-1]
    pictures = evidence.pictures(sorted([*worst, *best])) if order else {}
    said = keep(evidence.answers)[CLASSES_ANSWER]

    def shown(rows: Sequence[int]) -> list[Shown]:
        return [
            Shown(
                key=evidence.keys[row],
                worth=float(worth[row]),
                image=data_address(pictures[row]),
                truth=data_address(overlay(pictures[row], evidence.labels[row])),
                said=data_address(overlay(pictures[row], said[row])),
            )
            for row in rows
        ]

    rows = [ClassRow(row, "#{:02x}{:02x}{:02x}".format(*colour(i))) for i, row in enumerate(scored.per_class)]
    return {
        "classes": sorted(rows, key=lambda row: 2.0 if row.metrics.iou is None else row.metrics.iou),
        "confused": confused(scored),
        "worst": shown(worst),
        "best": shown(best),
    }


def confused(scored: SegmentationMetrics, most: int = CONFUSIONS) -> list[Confused]:
    """Return which classes are taken for which, the largest share of a class's pixels first."""
    counts = np.array(scored.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    names = [row.name for row in scored.per_class]
    places = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, shares.shape), strict=True)]
    return [Confused(names[i], names[j], float(shares[i, j]), int(counts[i, j])) for i, j in places if shares[i, j] > 0]
