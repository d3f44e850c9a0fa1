"""What the report shows of an embedding: how far apart pairs lie, and the pairs that it takes for the same wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from keras_transfer.evaluation import thumbnails
from keras_transfer.evaluation.embedding import EmbeddingMetrics, Pairs, pairs
from keras_transfer.evaluation.plots import BAD, INK, SERIES, drawing
from keras_transfer.evaluation.report import Evidence
from keras_transfer.specs import EMBEDDING_OUTPUT

SHOWN = 6
"""Pairs shown of either mistake."""

BINS = 50

MARKS = "os^Dv"

MAPPED = len(SERIES) * len(MARKS)
"""Identities on the map at most: more of them than colours and marks are told apart by nobody."""


@dataclass(frozen=True)
class ShownPair:
    """Two pictures side by side."""

    cosine: float
    keys: tuple[str, str]
    images: tuple[str, str]
    """Data addresses."""


def show(evidence: Evidence) -> Mapping[str, Any]:
    """Return what `sections/embedding.html.j2` is given: no picture stands in two pairs of a kind."""
    scored = evidence.scored
    assert isinstance(scored, EmbeddingMetrics)
    found = pairs(np.asarray(evidence.answers[EMBEDDING_OUTPUT], np.float64), evidence.labels)
    wrong = _apart(found.rows_of_different[np.argsort(-found.different, kind="stable")])
    missed = _apart(found.rows_of_same[np.argsort(found.same, kind="stable")])
    rows = sorted({row for pair in (*wrong, *missed) for row in pair})
    images = thumbnails.drawn(rows, evidence.pictures)
    points = evidence.answers[EMBEDDING_OUTPUT]

    def shown(chosen: Sequence[tuple[int, int]]) -> list[ShownPair]:
        return [
            ShownPair(
                cosine=float(points[first] @ points[second]),
                keys=(evidence.keys[first], evidence.keys[second]),
                images=(images[first][0], images[second][0]),
            )
            for first, second in chosen
        ]

    return {
        "histogram": histogram(found, scored.threshold),
        "map": flat_map(np.asarray(points, np.float64), evidence.labels),
        "wrong": shown(wrong),
        "missed": shown(missed),
    }


def histogram(found: Pairs, threshold: float | None) -> str:
    """Return how many pairs of the same one and of different ones lie how near, and where the threshold stands."""
    edges = np.linspace(min(found.different.min(), found.same.min()), 1.0, BINS + 1)
    with drawing("cosines", 2.9, "Cosines of pairs of the same one and of different ones") as (_, axes, out):
        for cosines, colour, name in (
            (found.different, SERIES[1], "different ones"),
            (found.same, SERIES[0], "the same one"),
        ):
            weights = np.full(len(cosines), 1 / len(cosines))
            axes.hist(cosines, edges, weights=weights, color=colour, alpha=0.6, label=name)
        if threshold is not None:
            axes.axvline(threshold, color=BAD, linewidth=1, label="threshold")
        axes.set(xlabel="cosine of two pictures", ylabel="share of the pairs")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(frameon=False, labelcolor=INK)
    return out[0]


def flat(points: np.ndarray) -> np.ndarray:
    """Return where points lie in the plane in which they differ most, float (n, 2).

    >>> flat(np.eye(3)).shape
    (3, 2)

    Principal components and no picture of neighbours: a distance in it is never larger than the true one.
    """
    middle = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(middle, full_matrices=False)
    plane = axes[:2]
    plane = plane * np.sign(plane[np.arange(len(plane)), np.abs(plane).argmax(axis=1)])[:, None]  # else a coin decides
    return middle @ plane.T


def flat_map(points: np.ndarray, labels: np.ndarray) -> str:
    """Return the test pictures in two dimensions, of `MAPPED` identities at most, each with its colour and mark."""
    names = np.unique(labels)[:MAPPED]
    chosen = np.isin(labels, names)
    places, shown = flat(points[chosen]), labels[chosen]
    with drawing("map", 3.6, "The test pictures, flattened to two dimensions") as (_, axes, out):
        for number, name in enumerate(names):
            x, y = places[shown == name].T
            mark = MARKS[number // len(SERIES) % len(MARKS)]
            axes.scatter(x, y, s=14, alpha=0.8, color=SERIES[number % len(SERIES)], marker=mark, linewidths=0)
        axes.set(xticks=[], yticks=[])
        axes.set_aspect("equal", "datalim")
    return out[0]


def _apart(ordered: np.ndarray) -> list[tuple[int, int]]:
    """Return the first pairs of which no two share a picture."""
    chosen: list[tuple[int, int]] = []
    seen: set[int] = set()
    for first, second in ordered.tolist():
        if len(chosen) == SHOWN:
            break
        if not {first, second} & seen:
            chosen.append((first, second))
            seen |= {first, second}
    return chosen
