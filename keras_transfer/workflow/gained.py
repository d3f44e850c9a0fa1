"""Says what labels brought: two runs, the second trained on more of them, judged by the same test pictures."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from keras_transfer import runs
from keras_transfer.errors import UsageError
from keras_transfer.evaluation.intervals import NORMAL_95
from keras_transfer.specs import Listener, Run, Splits, Value, silent
from keras_transfer.workflow.opened import Opened, finished


class Brought(Value):
    """What the second of two runs is worth more than the first."""

    labels: tuple[int, int]
    """Training pictures that somebody labelled, before and after."""
    merit_name: str
    merits: tuple[float, float]
    """On the test pictures, before and after."""
    margin: float
    """Half the width of the 95 % interval of the difference, picture by picture."""
    pictures: int
    """Of the test."""

    @property
    def sentence(self) -> str:
        """It, for a person."""
        more, (before, after) = self.labels[1] - self.labels[0], self.merits
        gained, spread = 100 * (after - before), 100 * self.margin
        told = f"{more:+,} labels ({self.labels[0]:,} before): {self.merit_name} {before:.1%} → {after:.1%}, "
        beyond = "" if abs(gained) > spread else ", no more than chance explains"
        return f"{told}{gained:+.1f} ± {spread:.1f} points on {self.pictures:,} test pictures{beyond}"


def brought(before: Run | Path | str, after: Run | Path | str, *, listener: Listener = silent) -> Brought:
    """Return what a run on more labels is worth more than the one that was there before.

    >>> brought("saved_models/pets", "saved_models/pets-2").sentence  # doctest: +SKIP
    '+50 labels (300 before): accuracy 81.2% → 84.0%, +2.8 ± 2.1 points on 200 test pictures'

    Raises UsageError where the two are not judged by the same test pictures, found by their paths.
    """
    first, second = (
        Opened(finished(each if isinstance(each, Run) else runs.open_run(each)), listener) for each in (before, after)
    )
    if first.record.plan.task != second.record.plan.task:
        tasks = f"{first.record.plan.task} and {second.record.plan.task}"
        raise UsageError(f"What labels brought is told of two runs of the same task. Received: {tasks}")
    paths = [_paths(each.splits) for each in (first, second)]
    orders = [np.argsort(each) for each in paths]
    if paths[0][orders[0]].tolist() != paths[1][orders[1]].tolist():
        raise UsageError(
            f"'{first.run.folder}' and '{second.run.folder}' are not judged by the same test pictures: the table that "
            "suggest writes above all pictures keeps the splits, train on that one."
        )
    right = [_right(each)[order] for each, order in zip((first, second), orders, strict=True)]
    # The same pictures are judged twice, so what counts is how their differences spread.
    spread = float(np.std(right[1] - right[0], ddof=1)) / math.sqrt(len(right[0])) if len(right[0]) > 1 else 1.0
    return Brought(
        labels=(first.record.counts["train"], second.record.counts["train"]),
        merit_name=first.record.merit_name,
        merits=(float(right[0].mean()), float(right[1].mean())),
        margin=NORMAL_95 * spread,
        pictures=len(right[0]),
    )


def _paths(splits: Splits) -> np.ndarray:
    """Where each test picture is; its key, where pictures are no files."""
    told = zip(splits.test.pictures, splits.test.keys, strict=True)
    return np.array([os.path.realpath(each) if isinstance(each, str) else key for each, key in told], object)


def _right(opened: Opened) -> np.ndarray:
    """The merit of each test picture, float (n,)."""
    return opened.task.right(opened.answers("test", opened.contract), opened.labels("test"))
