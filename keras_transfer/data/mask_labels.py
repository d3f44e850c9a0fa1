"""What a mask is as a label: how it is listed and stored, and what moving a picture does to it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_transfer import masks
from keras_transfer.drawing import overlay
from keras_transfer.masks import VOID


class Masked(NamedTuple):
    """A mask as sources list it: a tuple of plain values, so that an index of JSON can hold it."""

    packed: str
    """`masks.pack` in base 64."""
    names: tuple[Any, ...]
    """Of the classes that pixels hold the positions of."""
    shown: tuple[Any, ...]
    """The classes that at least one pixel has."""


def listed(pixels: np.ndarray, names: Sequence[Any]) -> Masked:
    """Return a mask, uint8 (height, width) of positions among `names`, as it is listed.

    >>> listed(np.array([[1, 255]], np.uint8), ("sky", "road")).shown
    ('road',)
    """
    present = np.flatnonzero(np.bincount(pixels.ravel(), minlength=VOID + 1)[:VOID]).tolist()
    shown = tuple(names[i] for i in present)
    return Masked(base64.b64encode(masks.pack(pixels)).decode(), tuple(names), shown)


def names(label: Masked) -> tuple[Any, ...]:
    """Return the classes that a listed mask shows."""
    return tuple(label[2])


def stored(labels: Sequence[Masked], positions: Mapping[Any, int]) -> np.ndarray:
    """Return packed masks of the positions given: an object array of bytes (n,)."""
    made = np.empty(len(labels), object)
    for row, (packed, own, _) in enumerate(labels):
        made[row] = base64.b64decode(packed)
        places = [positions.get(name, VOID) for name in own]
        made[row] = _renumbered(made[row], places)
    return made


def _renumbered(packed: bytes, places: Sequence[int]) -> bytes:
    if list(places) == list(range(len(places))):
        return packed
    table = np.full(VOID + 1, VOID, np.uint8)
    table[: len(places)] = places
    return masks.pack(table[masks.unpack(packed)])


def from_stored(packed: bytes, class_names: Sequence[Any]) -> Masked:
    """Return a stored mask as it is listed."""
    return listed(masks.unpack(packed), tuple(class_names))


def text(label: Masked) -> str:
    """Return a name for a listed mask that tells it from others: of its pixels' classes, however they are packed."""
    pixels = masks.unpack(base64.b64decode(label[0]))
    facts = f"{pixels.shape} {list(label[1])}".encode()
    return hashlib.sha256(facts + pixels.tobytes()).hexdigest()[:16]


def counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the pictures that show each class: int64 (classes,)."""
    found = np.zeros(classes, np.int64)
    for packed in labels:
        found += np.bincount(masks.unpack(packed).ravel(), minlength=VOID + 1)[:classes] > 0
    return found


def targets(labels: np.ndarray, classes: int, side: int, aspect: str) -> np.ndarray:
    """Return masks as squares, each pixel's class position or `VOID`: float32 (batch, side, side)."""
    return masks.squared(labels, side, aspect).astype(np.float32)


def marked(pixels: np.ndarray, label: Masked, class_names: Sequence[str]) -> np.ndarray:
    """Return a picture, uint8 (height, width, 3), under its listed mask, in the colours of the classes."""
    (packed,) = stored([label], {name: place for place, name in enumerate(class_names)})
    height, width = pixels.shape[:2]
    return overlay(pixels, masks.unsquare(masks.unpack(packed), height, width, "stretch"))


def move(targets: Any, matrices: Any, side: Any) -> Any:
    """Return masks moved as their pictures are, each pixel the nearest of the mask, `VOID` beside it."""
    import keras  # here, because whatever reads labels does without TensorFlow

    moved = keras.ops.image.affine_transform(
        targets[..., None], matrices, interpolation="nearest", fill_mode="constant", fill_value=VOID
    )
    return moved[..., 0]
