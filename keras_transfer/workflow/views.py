"""Looks at a picture several times, mirrored and nearer, and answers with the mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_transfer.data.squaring import resized
from keras_transfer.errors import UsageError
from keras_transfer.selection.policy import WITHOUT_FLIP
from keras_transfer.specs import Answers, Run, Task

MOST, UNMIRRORED = 4, 2
"""Looks there are at a picture, and where its mirror image means something else."""

NEARER = 1 / 16
"""Share of a side that is left away at each edge of a picture seen from nearer."""

NEVER_MIRRORED = ("none", *WITHOUT_FLIP.values())


def check(views: int, task: Task, *, mirrored: bool) -> None:
    """Raise UsageError for a number of views that there are not, or of a task whose answers have no mean."""
    if views != 1 and not task.averaged:
        raise UsageError(f"Of {task.name} the answers to several views have no mean: leave --views out.")
    most = MOST if mirrored else UNMIRRORED
    if not 1 <= views <= most:
        why = "" if mirrored else ", as this model never learned mirrored ones"
        raise UsageError(f"There are 1 to {most} views of a picture{why}. Received: --views {views}")


def averaged(
    answers: Callable[[np.ndarray], Answers], images: np.ndarray, views: int, *, mirrored: bool = True
) -> Answers:
    """Return the mean of the answers to `views` looks at each picture (Krizhevsky et al. 2012, section 4.1).

    >>> averaged(model.predict, images, views=2)["probabilities"].shape  # doctest: +SKIP
    (8, 10)

    images: uint8 (n, side, side, 3). views: 1 is the picture; then its mirror image, where the model learned such;
    then the middle of each from a little nearer.
    """
    said = [answers(each) for each in looks(images, views, mirrored=mirrored)]
    if len(said) == 1:  # no copy of what may be a mask of every picture
        return {name: np.asarray(each, np.float32) for name, each in said[0].items()}
    return {name: np.stack([each[name] for each in said]).mean(axis=0, dtype=np.float32) for name in said[0]}


def mirrored_by(run: Run | None) -> bool:
    """Return whether a run learned mirrored pictures; of a file without its run it is taken for granted."""
    return run is None or any(each.augment.split("+")[0] not in NEVER_MIRRORED for each in run.record.plan.stages)


def looks(images: np.ndarray, views: int, *, mirrored: bool = True) -> list[np.ndarray]:
    """Return the looks at each picture that `averaged` asks, each uint8 (n, side, side, 3).

    >>> len(looks(images, 3))  # doctest: +SKIP
    3
    """
    side = images.shape[1]
    edge = max(1, round(NEARER * side))
    seen = [images]
    if views > (2 if mirrored else 1):
        seen.append(np.stack([resized(each[edge:-edge, edge:-edge], side, side) for each in images]))
    if mirrored:
        seen = [np.ascontiguousarray(way) for each in seen for way in (each, each[:, :, ::-1])]
    return seen[:views]
