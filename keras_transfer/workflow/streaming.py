"""Asks a model of clips about frames that come one after another; each goes through the backbone once.

None of it needs TensorFlow where the model is a TFLite or ONNX file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError, UsageError
from keras_transfer.specs import Answers
from keras_transfer.workflow.tasks import task_of
from keras_transfer.workflow.using import Asked, Halves, asked, located


def stream(
    model: Path | str,
    frames: Iterable[np.ndarray],
    *,
    per_second: float | None = None,
    labels: Sequence[str] | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Yield what a model says of the latest frames, each time that it has looked at one more.

    >>> for said in stream("exports/stream-tflite", camera, per_second=30):  # doctest: +SKIP
    ...     print(said["class_name"], said["probability"])

    model: a folder `stream-tflite` or `stream-onnx`, or a run, which all look at each frame once; a file of whole clips
    looks at it again in every window. frames: uint8 RGB (height, width, 3) of any size; they may never end. per_second:
    how many of them come in a second; then those are taken that are as far apart as in a training clip, and all of them
    where it is left out. labels: the class names of a model that does not carry them.
    Raises UsageError for a model of pictures, or a speed that nothing can be measured by; DataError for a frame that
    is none.
    """
    ask = asked(*located(model), labels)
    if not ask.contract.frames:
        raise UsageError(
            f"'{model}' looks at pictures one by one: ask it by predict. A stream is for a model of clips."
        )
    return _said(ask, spaced(frames, _step(ask, per_second)))


def spaced(frames: Iterable[np.ndarray], step: float) -> Iterator[np.ndarray]:
    """Yield every `step`-th of some frames, from the first on; a step between whole ones is kept on average.

    >>> list(spaced(range(8), 2.5))
    [0, 3, 5]
    """
    taken = 0
    for number, frame in enumerate(frames):
        if number >= taken * step:
            taken += 1
            yield frame


def answers_of(halves: Halves, batches: Iterable[np.ndarray], length: int) -> Iterator[Answers]:
    """Yield what is said of the windows that each batch of frames completes: of all `length` frames up to one of them.

    batches: uint8 (n, side, side, 3), one after another. Of frames that were looked at, the latest `length` are kept.
    """
    ring: deque[np.ndarray] = deque(maxlen=length)
    for batch in batches:
        windows = []
        for row in halves.describe(batch):
            ring.append(row)
            if len(ring) == length:
                windows.append(np.stack(ring))
        if windows:
            yield halves.judge(np.stack(windows))


def _step(ask: Asked, per_second: float | None) -> float:
    if per_second is None:
        return 1.0
    if not per_second > 0:
        raise UsageError(f"A camera gives more than 0 frames a second. Received: {per_second:g}")
    if not ask.contract.spacing:
        raise UsageError(
            "The model does not say how far apart the frames of its training clips were: leave per_second out and give "
            f"the frames that it is to look at. Received: {per_second:g}"
        )
    return max(1.0, ask.contract.spacing * per_second)


def _said(ask: Asked, frames: Iterable[np.ndarray]) -> Iterator[Mapping[str, Any]]:
    contract, read = ask.contract, task_of(ask.contract.task).read
    squares = (square(_checked(frame), contract.image_size, contract.aspect)[None] for frame in frames)
    for answers in answers_of(ask.halves(), squares, contract.frames):
        yield dict(read(answers, contract))


def _checked(frame: np.ndarray) -> np.ndarray:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise DataError(f"A frame is uint8 RGB of shape (height, width, 3). Received: {frame.dtype} {frame.shape}.")
    return frame
