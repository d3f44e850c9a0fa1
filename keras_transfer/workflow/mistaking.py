"""Lists the pictures that a run is wrong about, the surest mistakes first: wrong labels and weak spots stand there."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.errors import UsageError
from keras_transfer.specs import Listener, Run, Value, silent
from keras_transfer.workflow.opened import Opened, finished

CERTAIN = "probability"
"""What a task says of how sure it is of an answer, where it says that."""


WORDED = ("class", "classes", "identity", "clip")
"""What pictures are labelled with where a label is a word or a few."""


class Mistake(Value):
    """A picture that did not get the answer of its label."""

    picture: str
    """Its key in the source."""
    truth: str
    """What it is labelled with."""
    merit: float
    """What the answer is worth, 0-1, by the measure of the task."""
    says: dict[str, Any]
    """What the model says, as `predict` has it."""


def mistakes(run: Run, split: str = "test", *, most: int = 100, listener: Listener = silent) -> tuple[Mistake, ...]:
    """Return the pictures of a split whose answers are worth less than 1, the least worth and then the surest first.

    >>> mistakes(runs.latest(), "validation")[0].truth  # doctest: +SKIP
    'shirt'

    Answers that were kept with the run are read; nothing is predicted again. Raises UsageError for labels that are no
    words (masks, boxes), which a list cannot show.
    """
    opened = Opened(finished(run), listener)
    contract, task, splits = opened.contract, opened.task, opened.splits
    part, kind = splits[split], ANNOTATIONS[splits.annotation]
    if splits.annotation not in WORDED:
        raise UsageError(
            f"Mistakes are listed where a label is a word, and {task.name} has others. See: keras-transfer report"
        )
    answers = opened.answers(split, contract)
    merits = np.asarray(task.right(answers, opened.labels(split)), np.float64)
    wrong = np.flatnonzero(merits < 1)
    said = {
        row: dict(task.read({name: each[row : row + 1] for name, each in answers.items()}, contract))
        for row in wrong.tolist()
    }

    def worst(row: int) -> tuple[float, float, int]:
        return float(merits[row]), -float(said[row].get(CERTAIN) or 0.0), row

    return tuple(
        Mistake(
            picture=part.keys[row],
            truth=kind.text(kind.listed(part.labels[row], splits.class_names)),
            merit=float(merits[row]),
            says=_brief(said[row]),
        )
        for row in sorted(said, key=worst)[:most]
    )


def _brief(says: dict[str, Any]) -> dict[str, Any]:
    """What a list shows of an answer: the many numbers behind it stand in what `predict` says."""
    return {name: value for name, value in says.items() if isinstance(value, str | int | float | list | tuple)}
