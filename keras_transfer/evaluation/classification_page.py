"""What the report shows of a classifier: the classes it confuses, how honest it is, and the pictures to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from keras_transfer.errors import DataError
from keras_transfer.evaluation import thumbnails
from keras_transfer.evaluation.classification import (
    FEW_OF_A_CLASS,
    CalibrationBin,
    ClassMetrics,
    ConfusedPair,
    Metrics,
    calibration,
)
from keras_transfer.evaluation.intervals import wilson
from keras_transfer.evaluation.plots import INK, SERIES, drawing, short
from keras_transfer.evaluation.report import Evidence
from keras_transfer.specs import PROBABILITIES_OUTPUT

SHOWN = 12
"""Pictures shown of the worst mistakes, and as many of the most uncertain ones: whole rows of 2, 3, 4 and 6."""

PAIRS_WITH_PICTURES = 4
PICTURES_OF_A_PAIR = 3

CLASSES_IN_SIGHT = 20
"""Rows of the table of classes that stand open, the weakest first; the others are folded."""

CLASSES_OF_A_PICTURE = 16
"""More classes than this and the confusion picture shows only those that are confused most, so that all have names."""

CELLS_WITH_NUMBERS = 12
"""More classes than this and the numbers no longer fit their cells."""


@dataclass(frozen=True)
class Shown:
    """A picture of the report and what stands under it."""

    key: str
    truth: str
    predicted: str
    probability: float
    looks: tuple[str, ...]
    """Data addresses: the picture and, where that is known, the same picture warm where the model looked; of a clip
    its frames, in their order."""


Looks = Callable[[Evidence, Sequence[int]], Mapping[int, tuple[str, ...]]]
"""`looks(evidence, rows)`: what is shown of the pictures at some positions, by position."""


@dataclass(frozen=True)
class ClassRow:
    """One class in the table, with how well its recall is known."""

    metrics: ClassMetrics
    interval: tuple[float, float]
    rough: bool
    """So few pictures that the recall is a guess."""


def of_pictures(evidence: Evidence, rows: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return each picture and, where something explains it, where the model looked, as data addresses."""
    drawn = thumbnails.drawn(rows, evidence.pictures, evidence.explain)
    return {row: tuple(each for each in both if each) for row, both in drawn.items()}


def show(
    evidence: Evidence, *, looks: Looks = of_pictures, most: int = SHOWN, of_pair: int = PICTURES_OF_A_PAIR
) -> Mapping[str, Any]:
    """Return what `sections/classification.html.j2` is given.

    looks: what is shown of a picture; most: how many of the worst, and as many of the most uncertain; of_pair: how many
    of each pair of classes. No picture stands twice among the worst and the most uncertain. Raises DataError where the
    answers are not those of the run's classes.
    """
    probabilities, scored = _checked(evidence), evidence.scored
    assert isinstance(scored, Metrics)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    worst, uncertain = _worth_a_look(probabilities, predicted != evidence.labels, most)
    pairs = [
        (pair, _of_pair(evidence, pair, predicted, confidence, worst)[:of_pair])
        for pair in scored.most_confused[:PAIRS_WITH_PICTURES]
    ]
    drawn = looks(evidence, [*worst, *uncertain, *(row for _, rows in pairs for row in rows)])
    names = evidence.record.class_names

    def shown(rows: Iterable[int]) -> list[Shown]:
        return [
            Shown(
                key=evidence.keys[row],
                truth=names[evidence.labels[row]],
                predicted=names[int(predicted[row])],
                probability=float(confidence[row]),
                looks=drawn[int(row)],
            )
            for row in rows
        ]

    rows = class_rows(scored)
    pictured = confused_classes(scored)
    return {
        "confusion": confusion(scored, pictured),
        "pictured": len(pictured),
        "reliability": reliability(calibration(probabilities, evidence.labels)),
        "in_sight": rows[:CLASSES_IN_SIGHT],
        "folded": rows[CLASSES_IN_SIGHT:],
        "few": FEW_OF_A_CLASS,
        "pairs": [(pair, shown(rows)) for pair, rows in pairs],
        "worst": shown(worst),
        "uncertain": shown(uncertain),
    }


def _worth_a_look(probabilities: np.ndarray, wrong: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that were wrong and surest, and of the others those between whose two likeliest least lies."""
    rows = np.flatnonzero(wrong)
    worst = rows[np.argsort(-probabilities.max(axis=1)[rows], kind="stable")][:most]
    top_two = np.sort(probabilities, axis=1)[:, -2:]
    by_doubt = np.argsort(top_two[:, 1] - top_two[:, 0], kind="stable")
    return worst, by_doubt[~np.isin(by_doubt, worst)][:most]


def class_rows(metrics: Metrics) -> list[ClassRow]:
    """Return the classes, the weakest first; those without test pictures come last."""
    rows = [
        ClassRow(row, wilson(row.recall or 0.0, row.count), row.count < FEW_OF_A_CLASS) for row in metrics.per_class
    ]
    return sorted(rows, key=lambda row: 2.0 if row.metrics.recall is None else row.metrics.recall)


def confused_classes(metrics: Metrics, most: int = CLASSES_OF_A_PICTURE) -> list[int]:
    """Return the positions of the classes to picture: all, or with many those with the most mistakes, in their order.

    A class counts the pictures of it that were taken for others and those of others that were taken for it.
    """
    counts = np.array(metrics.confusion)
    if len(counts) <= most:
        return list(range(len(counts)))
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return sorted(int(i) for i in np.argsort(-mistakes, kind="stable")[:most])


def confusion(metrics: Metrics, classes: Sequence[int]) -> str:
    """Return the confusion matrix of some classes as shares of all pictures of each true class."""
    counts = np.array(metrics.confusion, float)
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(classes, classes)]
    shown = counts[np.ix_(classes, classes)]
    names = [short(metrics.per_class[i].name) for i in classes]
    title = f"Confusion of {len(classes)} of {len(counts)} classes" if len(classes) < len(counts) else "Confusion"
    with drawing("confusion", 4.2, title) as (_, axes, out):
        axes.grid(False)
        # Transparent at zero, so that the page shows through in both themes.
        rgba = np.zeros((*shares.shape, 4))
        rgba[..., :3] = np.array([0x3B, 0x82, 0xC4]) / 255
        rgba[~np.eye(len(names), dtype=bool), :3] = np.array([0xD1, 0x49, 0x5B]) / 255
        rgba[..., 3] = np.sqrt(shares) * 0.85
        axes.imshow(rgba, interpolation="nearest")
        few = len(names) <= CELLS_WITH_NUMBERS
        for i, j in zip(*np.nonzero(shown), strict=True) if few else ():
            axes.text(j, i, f"{shown[i, j]:.0f}", ha="center", va="center", fontsize=7.5)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8 if few else 7)
        axes.set_yticks(range(len(names)), names, fontsize=8 if few else 7)
        axes.set(xlabel="what the model says", ylabel="what it is")
    return out[0]


def reliability(bins: Sequence[CalibrationBin]) -> str:
    """Return claimed confidence against what came true; the diagonal is honest."""
    filled = [(each.confidence, each.accuracy, each.count) for each in bins if each.count]
    claimed, came_true, count = np.array(filled, float).T
    with drawing("reliability", 2.9, "Reliability diagram") as (_, axes, out):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8, linestyle="--", label="honest")
        axes.plot(claimed, came_true, color=SERIES[0], linewidth=1, alpha=0.6)
        axes.scatter(claimed, came_true, s=12 + 120 * count / count.max(), color=SERIES[0], alpha=0.8, label="model")
        axes.set(xlabel="confidence it claims", ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.04))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return out[0]


def _checked(evidence: Evidence) -> np.ndarray:
    probabilities = evidence.answers[PROBABILITIES_OUTPUT]
    if probabilities.shape != (len(evidence.labels), len(evidence.record.class_names)):
        raise DataError(
            f"A report needs one row of probabilities per test picture and one column per class. "
            f"Received: shape {probabilities.shape} for {len(evidence.labels)} pictures and "
            f"{len(evidence.record.class_names)} classes."
        )
    return probabilities


def _of_pair(
    evidence: Evidence, pair: ConfusedPair, predicted: np.ndarray, confidence: np.ndarray, worst: np.ndarray
) -> list[int]:
    """Return the surest mistakes of a pair; those that stand among the worst only where there are no others."""
    names = {name: i for i, name in enumerate(evidence.record.class_names)}
    rows = np.flatnonzero((evidence.labels == names[pair.truth]) & (predicted == names[pair.predicted]))
    order = np.lexsort((-confidence[rows], np.isin(rows, worst)))
    return [int(row) for row in rows[order]]
