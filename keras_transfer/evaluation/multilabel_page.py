"""What the report shows of a network that gives several labels: each label by itself, and the pictures to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_transfer.evaluation import multilabel, thumbnails
from keras_transfer.evaluation.report import Evidence
from keras_transfer.specs import PROBABILITIES_OUTPUT, Contract

SHOWN = 12
"""Pictures shown: whole rows of 2, 3, 4 and 6."""

LABELS_IN_SIGHT = 20
"""Rows of the table of labels that stand open, the weakest first; the others are folded."""


@dataclass(frozen=True)
class Shown:
    """A picture of the report and what stands under it."""

    key: str
    missed: tuple[str, ...]
    """Labels it has that the model did not say."""
    invented: tuple[str, ...]
    """Labels the model said that it has not."""
    rest: tuple[str, ...]
    """Labels that are right."""
    image: str
    heat: str
    """The same picture, warm where the model looked for the label `asked`; empty where that is not known."""
    asked: str


def show(evidence: Evidence) -> Mapping[str, Any]:
    """Return what `sections/multilabel.html.j2` is given: labels, weakest first, and the pictures most at odds."""
    scored = evidence.scored
    assert isinstance(scored, multilabel.MultilabelMetrics)
    rows = sorted(scored.per_class, key=lambda row: 2.0 if row.average_precision is None else row.average_precision)
    return {
        "in_sight": rows[:LABELS_IN_SIGHT],
        "folded": rows[LABELS_IN_SIGHT:],
        "rare": multilabel.RARE,
        "worst": _worst(evidence, scored),
    }


def _worst(evidence: Evidence, scored: multilabel.MultilabelMetrics) -> list[Shown]:
    """The pictures whose labels are furthest from what the model says, and where it looked for the worst of them."""
    thresholds = np.array([row.threshold for row in scored.per_class])
    names = np.array(evidence.record.class_names)
    there, scores = evidence.labels.astype(bool), evidence.answers[PROBABILITIES_OUTPUT]
    said = multilabel.decided(
        evidence.answers,
        Contract(class_names=tuple(names), image_size=evidence.record.image_size, thresholds=tuple(thresholds)),
    )
    # By how far the probability is on the wrong side of its threshold, so that near misses come last.
    odds = np.where(said != there, np.abs(scores - thresholds), -1.0)
    wrong = np.flatnonzero((said != there).any(axis=1))
    worst = wrong[np.argsort(-odds[wrong].max(axis=1), kind="stable")][:SHOWN].tolist()
    asked = {row: int(odds[row].argmax()) for row in worst}
    images = thumbnails.drawn(worst, evidence.pictures, evidence.explain, asked)
    return [
        Shown(
            key=evidence.keys[row],
            missed=tuple(names[there[row] & ~said[row]]),
            invented=tuple(names[said[row] & ~there[row]]),
            rest=tuple(names[said[row] & there[row]]),
            image=images[row][0],
            heat=images[row][1],
            asked=str(names[asked[row]]),
        )
        for row in worst
    ]
