"""What the report shows of clips: what it shows of a classifier, with strips of frames in place of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_transfer.evaluation import classification_page
from keras_transfer.evaluation.report import Evidence
from keras_transfer.evaluation.thumbnails import data_address

SHOWN = 6
"""Clips shown of the worst mistakes, and as many of the most uncertain ones: each takes the width of the page."""

CLIPS_OF_A_PAIR = 1


def show(evidence: Evidence) -> Mapping[str, Any]:
    """Return what `sections/clips.html.j2` is given; raises what `classification_page.show` does."""
    return classification_page.show(evidence, looks=of_frames, most=SHOWN, of_pair=CLIPS_OF_A_PAIR)


def of_frames(evidence: Evidence, rows: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return the frames of each clip as data addresses; `evidence.pictures` gives them side by side, as squares."""
    strips = evidence.pictures(sorted({int(row) for row in rows})) if len(rows) else {}
    return {
        row: tuple(map(data_address, np.split(strip, strip.shape[1] // strip.shape[0], axis=1)))
        for row, strip in strips.items()
    }
