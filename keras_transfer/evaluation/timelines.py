"""What happens when in a video: what is said of its windows, and neighbours of one class joined."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np

from keras_transfer.specs import Value


class Span(Value):
    """What happens from one second of a video to another."""

    start: float
    end: float
    class_name: str
    probability: float


def spans(probabilities: np.ndarray, class_names: Sequence[str], *, spacing: float, seconds: float) -> tuple[Span, ...]:
    """Return what is said of each window of a video.

    >>> spans(np.array([[0.1, 0.9]]), ("fall", "walk"), spacing=0.25, seconds=2)
    (Span(start=0.0, end=2.0, class_name='walk', probability=0.9),)

    probabilities: float (windows, classes). spacing: seconds from the start of one window to that of the next; seconds:
    how long each lasts.
    """
    best = probabilities.argmax(axis=1)
    return tuple(
        Span(
            start=round(number * spacing, 3),
            end=round(number * spacing + seconds, 3),
            class_name=class_names[chosen],
            probability=float(row[chosen]),
        )
        for number, (row, chosen) in enumerate(zip(probabilities, best, strict=True))
    )


def segments(windows: Sequence[Span], seconds: float) -> tuple[Span, ...]:
    """Return windows with neighbours of one class joined: they follow one another without a gap, from 0 to the end.

    >>> said = spans(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), ("sit", "run"), spacing=1, seconds=2)
    >>> [(each.start, each.end, each.class_name) for each in segments(said, seconds=4)]
    [(0.0, 2.5, 'sit'), (2.5, 4.0, 'run')]

    A window speaks of its middle, so that one segment ends half way from its last middle to the first of the next.
    probability: the mean of what the windows give their class. seconds: of the whole video.
    """
    joined = [list(each) for _, each in groupby(windows, key=lambda span: span.class_name)]
    ends = [
        round((before[-1].start + before[-1].end + after[0].start + after[0].end) / 4, 3)
        for before, after in pairwise(joined)
    ]
    return tuple(
        Span(
            start=start,
            end=end,
            class_name=group[0].class_name,
            probability=float(np.mean([each.probability for each in group])),
        )
        for group, start, end in zip(joined, [0.0, *ends], [*ends, round(seconds, 3)], strict=True)
    )
