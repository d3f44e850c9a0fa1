"""Measures whether it matters which way clips go: what a probe says of clips and of their mirror images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_transfer.errors import DataError
from keras_transfer.selection import scores
from keras_transfer.selection.findings import Reason
from keras_transfer.selection.measuring import Engine
from keras_transfer.specs import Block

CELLS = 3
"""Places a side that are told apart: which way something goes shows as what is left and what is entered."""

DEEP = 3
"""From the end, the block whose maps are looked at: the last ones have few places and little of where things are."""

MIRRORED_SHARE = 0.5
"""Of the clips, those that are looked at mirrored too; the probe is fitted on the others."""


@dataclass(frozen=True)
class Mirroring:
    """What mirroring does to clips; figures are None where they could not be had."""

    accuracy: float | None
    """Of the probe on clips it was not fitted on, 0-1."""
    loss: float | None
    """How much less often it is right about mirrored clips, -1 to 1."""
    error: float | None
    """Standard error of `loss`."""

    @property
    def matters(self) -> bool:
        """Whether left and right stay where they are: also where that is in doubt, for the recipe mirrors nothing."""
        return self.loss is None or self.error is None or self.loss > self.error

    @property
    def reason(self) -> Reason:
        """The decision and the figure behind it, in one sentence."""
        if self.loss is None or self.error is None:
            seen = "nothing is mirrored, for it could not be measured whether mirrored clips still show the same"
            return Reason(topic="mirroring", sentence=f"Augmentation: {seen}.")
        seen = (
            f"a probe of what moves, which is right about {self.accuracy or 0:.0%} of the clips, is right in "
            f"{abs(self.loss) * 100:.1f} points {'less' if self.loss > 0 else 'more'} of mirrored ones (standard "
            f"error {self.error * 100:.1f})"
        )
        drawn = "left and right stay where they are" if self.matters else "half of the clips are mirrored"
        return Reason(topic="mirroring", sentence=f"Augmentation: {seen}, so {drawn}.", value=self.loss)


def mirroring(
    model: Any,
    blocks: Sequence[Block],
    clips: np.ndarray,
    labels: np.ndarray,
    engine: Engine,
    *,
    groups: np.ndarray | None = None,
) -> Mirroring:
    """Return what a linear probe loses on mirrored clips, from one pass of a frozen backbone over their frames.

    >>> mirroring(features.model, blocks, clips, labels, engine).matters  # doctest: +SKIP
    True

    model: flat, of pictures, uint8 (batch, side, side, 3). clips: uint8 (n, frames, side, side, 3); labels: int (n,);
    groups: int (n,), clips that are left out together.
    """
    maps = blocks[max(0, len(blocks) - DEEP)].output
    step = -(-int(maps.shape[1]) // CELLS)
    places = keras.layers.AveragePooling2D(step, padding="same")(maps)
    compute = engine(keras.Model(model.input, keras.layers.Flatten()(places)), clips[0][:8])
    frames = clips.shape[1]

    def features(some: np.ndarray) -> np.ndarray:
        return moved(compute(some.reshape(-1, *some.shape[2:])).reshape(len(some), frames, -1))

    first, count = _whole_groups(len(labels), groups)
    clips, labels, groups = clips[first], labels[first], None if groups is None else groups[first]
    plain, turned = features(clips), features(clips[:count, :, :, ::-1])
    try:
        probe = scores.linear_probe(plain, labels, groups=groups)
        lost = scores.lost_by(turned, plain, labels, groups=groups) if probe.tells else (None, None)
    except DataError:
        return Mirroring(None, None, None)
    return Mirroring(probe.accuracy, *lost)


def _whole_groups(clips: int, groups: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Return an order in which the clips of a group follow each other, and how many of the first to mirror.

    Those are whole groups: what a probe is fitted on must share none with what it judges.
    """
    wanted = int(MIRRORED_SHARE * clips)
    if groups is None:
        return np.arange(clips), wanted
    _, appears, group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes[np.argsort(appears)])
    return np.argsort(appears[group], kind="stable"), int(ends[np.abs(ends - wanted).argmin()])


def moved(maps: np.ndarray) -> np.ndarray:
    """Return what a linear probe reads of clips, float32 (n, 2 * numbers): their mean, and how they end otherwise than
    they begin.

    >>> moved(np.arange(4.0).reshape(1, 4, 1)).tolist()
    [[1.5, 2.0]]

    maps: float (n, frames, numbers).
    """
    half = maps.shape[1] // 2
    return np.concatenate([maps.mean(axis=1), maps[:, -half:].mean(axis=1) - maps[:, :half].mean(axis=1)], axis=1)
