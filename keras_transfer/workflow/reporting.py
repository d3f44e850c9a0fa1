"""Writes the page that tells a person what a run is worth, from what was kept with it."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_transfer import runs
from keras_transfer.evaluation import report
from keras_transfer.evaluation.report import Evidence
from keras_transfer.evaluation.thumbnails import Explain
from keras_transfer.files import write_bytes
from keras_transfer.selection.findings import Advice
from keras_transfer.specs import Event, Listener, Run, silent
from keras_transfer.workflow import proving
from keras_transfer.workflow.building import ADVICE, TRANSFER
from keras_transfer.workflow.opened import Opened, finished

REPORT = "report.html"


def report_of(opened: Sequence[Run], *, listener: Listener = silent) -> Path:
    """Write the report of a run, or of several side by side, as one HTML file; return its path.

    >>> report_of([runs.latest()])  # doctest: +SKIP
    PosixPath('saved_models/fashion-EfficientNetLite0/report.html')

    It stands in the (first) run's folder, with the model card of that run. Answers and proofs that were kept are read;
    of the pictures only those that are shown.
    """
    every = [Opened(finished(run), listener) for run in opened]
    evidence = [_evidence(each) for each in every]
    first, place = every[0], opened[0].folder
    proving.write_card(place, first, evidence[0].scored, evidence[0].exports)
    task = first.task
    one = len(evidence) == 1
    text = report.render(evidence[0], task.section, task.show) if one else report.render_comparison(evidence)
    path = place / (REPORT if one else "comparison.html")
    write_bytes(path, text.encode())
    return path


def _evidence(opened: Opened) -> Evidence:
    """All that a report tells of a run, from its folder."""
    run, test = opened.run, opened.splits.test
    advice, transfer = run.folder / ADVICE, run.folder / TRANSFER
    return Evidence(
        name=run.folder.name,
        record=run.record,
        scored=opened.scored("test", opened.contract),
        answers=opened.answers("test", opened.contract),
        labels=opened.labels("test"),
        keys=test.keys,
        pictures=functools.partial(opened.pictures, "test"),
        explain=_explaining(opened),
        exports=_exports(opened),
        advice=_figures_of(Advice.model_validate_json(advice.read_bytes())) if advice.exists() else None,
        transfer=json.loads(transfer.read_bytes()) if transfer.exists() else (),
        commands=(
            f"keras-transfer train --plan {run.folder / runs.PLAN}",
            f"keras-transfer report {run.folder}",
        ),
    )


def _explaining(opened: Opened) -> Explain | None:
    explain = opened.task.explain
    return functools.partial(explain, opened.model) if explain else None


def _exports(opened: Opened) -> list[dict[str, Any]]:
    rows = proving.rows_of_exports(opened)
    unproven = [row["name"] for row in rows if "merit" not in row]
    if unproven:
        told = f"not proven on these pictures: {', '.join(unproven)}. Run: keras-transfer verify {opened.run.folder}"
        opened.listener(Event("warning", told))
    return rows


def _figures_of(advice: Advice) -> dict[str, Any]:
    told = advice.model_dump(include={"reasons", "unknown", "seconds", "training_seconds"})
    return told | {"blocks": [block.model_dump() for block in advice.blocks]}
