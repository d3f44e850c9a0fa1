"""The page of pictures that are worth a label: each with its name, what the model takes it for, and why it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_transfer.evaluation.templates import template
from keras_transfer.evaluation.thumbnails import data_address


def page(folder: str, sentence: str, rows: Sequence[Mapping[str, Any]], pictures: Sequence[np.ndarray]) -> str:
    """Return one HTML file that needs no other.

    >>> page("new", "typical pictures", [], [])[:15]
    '<!doctype html>'

    folder, sentence: where the pictures are and how they were chosen. rows: of each picture `name`, `class_name`,
    `probability` (0-1) and `why`. pictures: uint8 (height, width, 3) of each, in the same order.
    """
    shown = [{**row, "image": data_address(picture)} for row, picture in zip(rows, pictures, strict=True)]
    return template("suggestions.html.j2").render(folder=folder, sentence=sentence, rows=shown)
