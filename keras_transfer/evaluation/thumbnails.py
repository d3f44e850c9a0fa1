"""Pictures as a page shows them: small, inside the page, with where the model looked."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from keras_transfer.evaluation.gradcam import overlay

PIXELS = 112

Pictures = Callable[[Sequence[int]], Mapping[int, np.ndarray]]
"""Takes positions in the test split, gives those pictures: uint8 (height, width, 3) by position."""

Explain = Callable[..., np.ndarray]
"""Takes pictures, uint8 (n, height, width, 3), and perhaps the class asked about for each, int (n,); gives a heat map
of each: float (n, height, width), 0-1."""


def drawn(
    positions: Sequence[int],
    pictures: Pictures,
    explain: Explain | None = None,
    asked: Mapping[int, int] | None = None,
) -> dict[int, tuple[str, str]]:
    """Return each picture, and the same with where the model looked, as data addresses by position.

    All are read at once and explained at once. The second is empty where nothing explains. asked: the class that is
    explained, by position; the one that the model chose where it is left out.
    """
    wanted = sorted({int(position) for position in positions})
    if not wanted:
        return {}
    read = pictures(wanted)
    about = () if asked is None else (np.array([asked[each] for each in wanted]),)
    heat = explain(np.stack([read[each] for each in wanted]), *about) if explain else None
    found = {}
    for number, position in enumerate(wanted):
        image = read[position]
        warm = (
            "" if heat is None else data_address(overlay(image, fitted(heat[number], (image.shape[0], image.shape[1]))))
        )
        found[position] = (data_address(image), warm)
    return found


def fitted(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a heat map, 0-1, at a picture's height and width."""
    if heat.shape == shape:
        return heat
    resized = Image.fromarray(heat.astype(np.float32)).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized), 0, 1)


def data_address(image: np.ndarray) -> str:
    """Return a picture, at most `PIXELS` wide and high, as a `data:` address.

    >>> data_address(np.zeros((4, 4, 3), np.uint8))[:22]
    'data:image/webp;base64'
    """
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((PIXELS, PIXELS))
    buffer = io.BytesIO()
    thumbnail.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
