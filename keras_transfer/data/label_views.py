"""Draws what pictures are labelled with over small copies of them, for a person to look through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.decoding import upright_rgb
from keras_transfer.data.records import encoded_pictures
from keras_transfer.errors import DataError
from keras_transfer.specs import SPLIT_NAMES, Splits

FIRST = 24
"""Training pictures that are drawn whatever was found."""

SIDE = 240
"""Longer side in pixels of what is drawn."""


def views(splits: Splits, names: Iterable[str] = ()) -> Mapping[str, np.ndarray]:
    """Return pictures under their masks or boxes, uint8 (height, width, 3), by the names that findings have for them.

    Those are the first `FIRST` of the training pictures, and the ones named. Empty where labels say nothing of places.
    """
    kind, wanted, drawn = ANNOTATIONS[splits.annotation], set(names), dict[str, np.ndarray]()
    if kind.marked is None:
        return drawn
    for split in SPLIT_NAMES:
        whole = splits[split]
        first = FIRST if split == "train" else 0
        rows = [row for row, key in enumerate(whole.keys) if row < first or f"{split}: {key}" in wanted]
        part = whole.take(np.array(rows, np.int64)) if rows else None
        for row, encoded in enumerate(encoded_pictures(part) if part else ()):
            assert part is not None
            try:
                pixels = _small(upright_rgb(encoded, size=SIDE))
            except DataError:
                continue  # what cannot be read is a finding, and has no view
            label = kind.listed(part.labels[row], splits.class_names)
            drawn[f"{split}: {part.keys[row]}"] = kind.marked(pixels, label, splits.class_names)
    return drawn


def _small(pixels: np.ndarray) -> np.ndarray:
    scale = SIDE / max(pixels.shape[:2])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
