"""Writes the report of a run: one HTML file, for a person who decides, that needs nothing else to be read."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from keras_transfer.errors import DataError
from keras_transfer.evaluation import plots
from keras_transfer.evaluation.gradcam import overlay
from keras_transfer.evaluation.metrics import Metrics, calibration
from keras_transfer.evaluation.templates import template
from keras_transfer.evaluation.verdict import labels_saved, margin, verdict
from keras_transfer.specs import RunRecord

THUMBNAIL_PIXELS = 112
MISTAKES = 12
"""Pictures shown of the worst mistakes, and as many of the most uncertain ones."""

PAIRS_WITH_PICTURES = 5
PICTURES_OF_A_PAIR = 3

Picture = Callable[[int], np.ndarray]
"""Takes a position in the test split, gives that picture: uint8 (height, width, 3)."""

Explain = Callable[[Sequence[int]], np.ndarray]
"""Takes positions in the test split, gives a heat map of each: float (n, height, width), 0-1."""


@dataclass(frozen=True)
class Evidence:
    """All that a report tells of one run."""

    name: str
    record: RunRecord
    metrics: Metrics
    """On the test split."""
    probabilities: np.ndarray
    """float (n, classes), on the test split in its order."""
    labels: np.ndarray
    keys: Sequence[str]
    """A name for each test picture."""
    picture: Picture
    explain: Explain | None = None
    exports: Sequence[Mapping[str, Any]] = ()
    """Rows with name, size_bytes, accuracy and, where measured, agreement, largest_difference, latency_ms, accepted."""
    advice: Mapping[str, Any] | None = None
    """What was advised before training: `reasons` (topic, sentence), `blocks` (accuracy, standard_error), `unknown`; in
    seconds what advice took and what it expected of training (`seconds`, `training_seconds`)."""
    transfer: Sequence[Mapping[str, Any]] = ()
    """Rows with method, per_class, accuracy, cpu_seconds: accuracy against the number of labels."""
    commands: Sequence[str] = field(default_factory=tuple)
    """What to type to make the run again."""


@dataclass(frozen=True)
class Shown:
    """A picture as the report shows it."""

    key: str
    truth: str
    predicted: str
    probability: float
    image: str
    """A data address."""
    heat: str = ""


def render(evidence: Evidence) -> str:
    """Return the report of a run as HTML text.

    >>> pathlib.Path("report.html").write_text(render(evidence))  # doctest: +SKIP

    The file loads nothing from anywhere, follows the reader's light or dark theme, prints, and fits 390 pixels.

    Raises DataError where the predictions are not those of the run's classes.
    """
    if evidence.probabilities.shape != (len(evidence.labels), len(evidence.record.class_names)):
        raise DataError(
            f"A report needs one row of probabilities per test picture and one column per class. "
            f"Received: shape {evidence.probabilities.shape} for {len(evidence.labels)} pictures and "
            f"{len(evidence.record.class_names)} classes."
        )
    predicted = evidence.probabilities.argmax(axis=1)
    confidence = evidence.probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != evidence.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    top_two = np.sort(evidence.probabilities, axis=1)[:, -2:]
    uncertain = np.argsort(top_two[:, 1] - top_two[:, 0], kind="stable")[:MISTAKES]
    return template("report.html.j2").render(
        evidence=evidence,
        record=evidence.record,
        metrics=evidence.metrics,
        verdict=verdict(evidence.metrics, evidence.record, evidence.exports),
        figures=_figures(evidence),
        worst=_shown(evidence, worst),
        uncertain=_shown(evidence, uncertain),
        pairs=_pairs(evidence, predicted, confidence),
        saved=labels_saved(evidence.transfer),
    )


def render_comparison(runs: Sequence[Evidence]) -> str:
    """Return several runs side by side as HTML text, in the order given.

    >>> render_comparison([first, second])  # doctest: +SKIP
    """
    if len(runs) < 2:
        raise DataError(f"A comparison needs at least two runs. Received: {len(runs)}.")
    same_data = len({each.record.data_digest for each in runs}) == 1
    best = max(runs, key=lambda each: each.metrics.accuracy)
    return template("comparison.html.j2").render(
        runs=runs,
        same_data=same_data,
        best=best,
        margin=margin(best.metrics),
        curves=[plots.learning_curves(each.record.stages) for each in runs],
        names=[row.name for row in best.metrics.per_class] if same_data else [],
    )


def _figures(evidence: Evidence) -> dict[str, str]:
    figures = {
        "confusion": plots.confusion(evidence.metrics),
        "reliability": plots.reliability(calibration(evidence.probabilities, evidence.labels)),
    }
    if evidence.record.stages:
        figures["learning"] = plots.learning_curves(evidence.record.stages)
    if evidence.exports:
        figures["pareto"] = plots.pareto(evidence.exports)
    if evidence.transfer:
        figures["transfer"] = plots.labels_against_accuracy(evidence.transfer)
    blocks = (evidence.advice or {}).get("blocks", ())
    if blocks:
        learned = {block for stage in evidence.record.stages if stage.kept for block in stage.learned_blocks}
        figures["probes"] = plots.block_probes(
            [row["accuracy"] for row in blocks],
            [row["standard_error"] for row in blocks],
            sorted(block for block in learned if block < len(blocks)),
        )
    return figures


def _pairs(evidence: Evidence, predicted: np.ndarray, confidence: np.ndarray) -> list[tuple[Any, list[Shown]]]:
    names = {name: i for i, name in enumerate(evidence.record.class_names)}
    shown = []
    for pair in evidence.metrics.most_confused[:PAIRS_WITH_PICTURES]:
        of_pair = np.flatnonzero((evidence.labels == names[pair.truth]) & (predicted == names[pair.predicted]))
        surest = of_pair[np.argsort(-confidence[of_pair], kind="stable")][:PICTURES_OF_A_PAIR]
        shown.append((pair, _shown(evidence, surest)))
    return shown


def _shown(evidence: Evidence, positions: np.ndarray) -> list[Shown]:
    heat = evidence.explain([int(i) for i in positions]) if evidence.explain and len(positions) else None
    names = evidence.record.class_names
    shown = []
    for n, i in enumerate(positions):
        image = evidence.picture(int(i))
        shown.append(
            Shown(
                key=evidence.keys[i],
                truth=names[evidence.labels[i]],
                predicted=names[int(evidence.probabilities[i].argmax())],
                probability=float(evidence.probabilities[i].max()),
                image=_data_address(image),
                heat="" if heat is None else _data_address(overlay(image, _fitted(heat[n], image.shape[:2]))),
            )
        )
    return shown


def _fitted(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if heat.shape == shape:
        return heat
    resized = Image.fromarray(heat.astype(np.float32)).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized), 0, 1)


def _data_address(image: np.ndarray) -> str:
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    thumbnail.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
