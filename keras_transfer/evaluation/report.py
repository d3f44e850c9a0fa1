"""Writes the report of a run: one HTML file, for a person who decides, that needs nothing else to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_transfer.errors import DataError
from keras_transfer.evaluation import plots
from keras_transfer.evaluation.intervals import spread_of
from keras_transfer.evaluation.shipping import judged
from keras_transfer.evaluation.templates import template
from keras_transfer.evaluation.thumbnails import Explain, Pictures
from keras_transfer.evaluation.verdict import labels_saved, verdict
from keras_transfer.specs import Answers, RunRecord, Scored


@dataclass(frozen=True)
class Evidence:
    """All that a report tells of one run."""

    name: str
    record: RunRecord
    scored: Scored
    """On the test split."""
    answers: Answers
    """On the test split in its order, with what was settled applied."""
    labels: np.ndarray
    keys: Sequence[str]
    """A name for each test picture."""
    pictures: Pictures
    explain: Explain | None = None
    exports: Sequence[Mapping[str, Any]] = ()
    """Rows with name, size_bytes and, where measured, merit, lost_points, agreement, latency_ms, accepted, and clients:
    the merit that is left in each, by its name."""
    advice: Mapping[str, Any] | None = None
    """What was advised before training: `reasons` (topic, sentence), `blocks` (accuracy, standard_error), `unknown`; in
    seconds what advice took and what it expected of training (`seconds`, `training_seconds`)."""
    transfer: Sequence[Mapping[str, Any]] = ()
    """Rows with method, per_class, accuracy, cpu_seconds: accuracy against the number of labels."""
    commands: Sequence[str] = field(default_factory=tuple)
    """What to type to make the run again."""


Show = Callable[[Evidence], Mapping[str, Any]]


def render(evidence: Evidence, section: str, show: Show | None = None) -> str:
    """Return the report of a run as HTML text.

    >>> text = render(evidence, "sections/classification.html.j2", classification_page.show)  # doctest: +SKIP

    section: the template of what only its task has to tell; show: what that template is given beside the evidence.
    The file loads nothing from anywhere, follows the reader's light or dark theme, prints, and fits 390 pixels.
    """
    exports = judged(evidence.exports)
    return template("report.html.j2").render(
        evidence=evidence,
        record=evidence.record,
        scored=evidence.scored,
        margin=spread_of(evidence.scored.figures, evidence.scored.count),
        exports=exports,
        clients=list(dict.fromkeys(name for row in exports for name in row.get("clients", ()))),
        verdict=verdict(evidence.scored, evidence.record, exports),
        figures=_figures(evidence),
        moved=[
            stage.name for stage in evidence.record.stages if stage.frozen_digest_before != stage.frozen_digest_after
        ],
        section=section,
        shown=show(evidence) if show else {},
        saved=labels_saved(evidence.transfer),
    )


def render_comparison(runs: Sequence[Evidence]) -> str:
    """Return several runs side by side as HTML text, in the order given.

    >>> render_comparison([first, second])  # doctest: +SKIP

    Raises DataError for fewer than two, or for runs whose tasks are judged by different figures.
    """
    if len(runs) < 2:
        raise DataError(f"A comparison needs at least two runs. Received: {len(runs)}.")
    merits = list(dict.fromkeys(each.scored.merit_name for each in runs))
    if len(merits) > 1:
        raise DataError(f"Runs that are compared must be judged by one figure. Received: {', '.join(merits)}.")
    same_data = len({each.record.data_digest for each in runs}) == 1
    best = max(runs, key=lambda each: each.scored.merit)
    rows = [{row.name: row for row in getattr(each.scored, "per_class", ())} for each in runs]
    return template("comparison.html.j2").render(
        runs=runs,
        same_data=same_data,
        best=best,
        margin=spread_of(best.scored.figures, best.scored.count),
        curves=[plots.learning_curves(each.record.stages, each.record.merit_name) for each in runs],
        rows=rows,
        names=best.record.class_names if same_data and all(rows) else [],
    )


def _figures(evidence: Evidence) -> dict[str, str]:
    figures = dict.fromkeys(("learning", "pareto", "transfer", "probes"), "")
    record = evidence.record
    if record.stages:
        figures["learning"] = plots.learning_curves(record.stages, record.merit_name)
    measured = [row for row in evidence.exports if row.get("merit") is not None]
    if measured:
        figures["pareto"] = plots.pareto(measured, record.merit_name)
    if evidence.transfer:
        figures["transfer"] = plots.labels_against_accuracy(evidence.transfer)
    blocks = (evidence.advice or {}).get("blocks", ())
    if blocks:
        learned = {
            block for stage in record.stages if stage.kept and not stage.precision for block in stage.learned_blocks
        }
        figures["probes"] = plots.block_probes(
            [row["accuracy"] for row in blocks],
            [row["standard_error"] for row in blocks],
            sorted(block for block in learned if block < len(blocks)),
        )
    return figures
