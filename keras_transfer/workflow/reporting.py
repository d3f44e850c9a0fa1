"""Writes the page that tells a person what a run is worth."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer import runs
from keras_transfer.errors import RunError
from keras_transfer.evaluation import gradcam, metrics, report
from keras_transfer.evaluation.report import Evidence
from keras_transfer.files import write_bytes
from keras_transfer.selection.findings import Advice
from keras_transfer.specs import (
    Listener,
    Run,
    silent,
)
from keras_transfer.workflow.exporting import shipped, verify, write_card
from keras_transfer.workflow.joints import ADVICE, EVALUATION_BATCH, TRANSFER, data_of, predict_split

REPORT = "report.html"


def report_of(opened: Sequence[Run], *, listener: Listener = silent) -> Path:
    """Write the report of a run, or of several side by side, as one HTML file; return its path.

    >>> report_of([runs.latest()])  # doctest: +SKIP
    PosixPath('saved_models/fashion-EfficientNetLite0/report.html')

    It stands in the (first) run's folder, with the model card of that run.
    """
    evidence = [_evidence(run, listener) for run in opened]
    first, place = evidence[0], opened[0].folder
    write_card(place, first.name, first.record, first.metrics, first.exports)
    text = report.render(first) if len(evidence) == 1 else report.render_comparison(evidence)
    path = place / (REPORT if len(evidence) == 1 else "comparison.html")
    write_bytes(path, text.encode())
    return path


def _evidence(run: Run, listener: Listener) -> Evidence:
    """All that a report tells of a run, from its folder: predictions are made again, exports verified again."""
    record = run.record
    if not record.finished:
        raise RunError(f"The run in '{run.folder}' is not finished. The command that began it goes on with it.")
    splits, feed = data_of(None, run, listener)
    model = keras.models.load_model(run.model_path, compile=False)
    probabilities = predict_split(model.predict_on_batch, feed, "test", record.image_size, len(splits.test), listener)
    of_batch = functools.lru_cache(maxsize=4)(
        lambda number: next(
            iter(feed("test", image_size=record.image_size, batch_size=EVALUATION_BATCH).skip(number).take(1))
        )[0].numpy()
    )

    def picture(position: int) -> np.ndarray:
        return of_batch(position // EVALUATION_BATCH)[position % EVALUATION_BATCH]

    verified = verify(run, listener=listener) if run.exports.is_dir() else ()
    advice, transfer = run.folder / ADVICE, run.folder / TRANSFER
    return Evidence(
        name=run.folder.name,
        record=record,
        metrics=metrics.score(probabilities, splits.test.labels, splits.class_names),
        probabilities=probabilities,
        labels=splits.test.labels,
        keys=splits.test.keys,
        picture=picture,
        explain=lambda positions: gradcam.gradcam(model, np.stack([picture(i) for i in positions])),
        exports=[shipped(each) for each in verified],
        advice=_told(Advice.model_validate_json(advice.read_bytes())) if advice.exists() else None,
        transfer=json.loads(transfer.read_bytes()) if transfer.exists() else (),
        commands=(
            f"keras-transfer train --plan {run.folder / runs.PLAN}",
            f"keras-transfer report {run.folder}",
        ),
    )


def _told(advice: Advice) -> dict[str, Any]:
    told = advice.model_dump(include={"reasons", "unknown", "seconds", "training_seconds"})
    return told | {"blocks": [block.model_dump() for block in advice.blocks]}
