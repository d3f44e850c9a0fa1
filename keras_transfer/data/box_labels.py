"""What the boxes of a picture are as a label: how they are listed and stored, and what moving a picture does to them.

A stored label is bytes: float32 height and width of the picture, then y1, x1, y2, x2 in shares of them and the class of
each box. So it compares, copies and pickles as one value, and is read without a copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from keras_transfer.drawing import boxed
from keras_transfer.placing import placed

LEFT = 0.4
"""Share of a box that must still be seen where a picture is cut or moved: of less, nobody would say what it shows."""

NOTHING = -1.0
"""Class of the rows of a target that hold no box."""

COLUMNS = 5


class Boxed(NamedTuple):
    """The boxes of a picture as sources list them: a tuple of plain values, so that an index of JSON can hold it."""

    height: int
    width: int
    boxes: tuple[tuple[Any, ...], ...]
    """y1, x1, y2, x2 in shares of height and width, and the class, of each box."""


def listed(height: int, width: int, boxes: Sequence[Sequence[Any]]) -> Boxed:
    """Return boxes, each y1, x1, y2, x2 in shares and its class, as they are listed.

    >>> listed(480, 640, [(0, 0.5, 1, 1, "cat")]).boxes
    ((0.0, 0.5, 1.0, 1.0, 'cat'),)
    """
    rows = tuple((*(float(np.float32(side)) for side in sides), name) for *sides, name in boxes)
    return Boxed(int(height), int(width), rows)


def names(label: Boxed) -> tuple[Any, ...]:
    """Return the classes of which a box is listed."""
    return tuple(dict.fromkeys(box[4] for box in label[2]))


def stored(labels: Sequence[Boxed], positions: Mapping[Any, int]) -> np.ndarray:
    """Return labels as they are stored: an object array of bytes (n,)."""
    made = np.empty(len(labels), object)
    for row, (height, width, boxes) in enumerate(labels):
        flat = [height, width, *(each for *sides, name in boxes for each in (*sides, positions[name]))]
        made[row] = np.array(flat, np.float32).tobytes()
    return made


def from_stored(packed: bytes, class_names: Sequence[Any]) -> Boxed:
    """Return a stored label as it is listed."""
    height, width, boxes = unpacked(packed)
    return listed(height, width, [(*box[:4], class_names[int(box[4])]) for box in boxes.tolist()])


def unpacked(packed: bytes) -> tuple[int, int, np.ndarray]:
    """Return height, width and boxes, float32 (k, 5), of a stored label."""
    values = np.frombuffer(packed, np.float32)
    return int(values[0]), int(values[1]), values[2:].reshape(-1, COLUMNS)


def text(label: Boxed) -> str:
    """Return a name for listed boxes that tells them from others: how many there are, and a digest of them."""
    said = repr((label[0], label[1], sorted(tuple(box) for box in label[2])))
    return f"{len(label[2])} boxes {hashlib.sha256(said.encode()).hexdigest()[:12]}" if label[2] else ""


def counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the pictures that show each class: int64 (classes,)."""
    found = np.zeros(classes, np.int64)
    for packed in labels:
        found[np.unique(unpacked(packed)[2][:, 4].astype(int))] += 1
    return found


def squared(labels: Sequence[bytes] | np.ndarray, side: int, aspect: str) -> list[np.ndarray]:
    """Return the boxes of each picture as its square shows them, float32 (k, 5), in shares of the square's side.

    aspect: as pictures are made square; of a box that a crop cuts, at least `LEFT` must still be there.
    """
    return [_square(*unpacked(packed), side, aspect) for packed in labels]


def _square(height: int, width: int, boxes: np.ndarray, side: int, aspect: str) -> np.ndarray:
    if aspect == "stretch":
        return boxes
    shown, there = (np.array(each) for each in placed(height, width, side, aspect))
    extent = there[2:] / side
    factor, shift = np.array([height, width]) / shown[2:] * extent, there[:2] / side - shown[:2] / shown[2:] * extent
    moved = boxes[:, :4] * np.tile(factor, 2) + np.tile(shift, 2)
    seen = np.clip(moved, 0, 1)
    kept = _areas(seen) >= LEFT * _areas(moved)
    return np.concatenate([seen, boxes[:, 4:]], axis=1)[kept].astype(np.float32)


def marked(pixels: np.ndarray, label: Boxed, class_names: Sequence[str]) -> np.ndarray:
    """Return a picture with its listed boxes, in the colours of their classes: uint8 (height, width, 3)."""
    boxes = np.array([box[:4] for box in label[2]], np.float32).reshape(-1, 4)
    return boxed(pixels, boxes, [class_names.index(box[4]) for box in label[2]])


def _areas(boxes: Any) -> Any:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def targets(labels: np.ndarray, classes: int, side: int, aspect: str, *, most: int = 0) -> np.ndarray:
    """Return boxes as float32 (batch, most, 5), class `NOTHING` in the rows behind those of a picture.

    most: rows; as many as the picture of the batch with the most boxes has, at least 1, where it is left out.
    """
    found = squared(labels, side, aspect)
    most = most or max([1, *(len(each) for each in found)])
    padded = np.zeros((len(found), most, COLUMNS), np.float32)
    padded[..., 4] = NOTHING
    for row, boxes in zip(padded, found, strict=True):
        row[: len(boxes)] = boxes
    return padded


def targets_of(labels: np.ndarray) -> Callable[..., np.ndarray]:
    """Return `targets` of any batch of these pictures, with one number of rows for all of them."""
    return partial(targets, most=max([1, *(len(unpacked(packed)[2]) for packed in labels)]))


def move(targets: Any, matrices: Any, side: Any) -> Any:
    """Return boxes moved as their pictures are; of one that leaves its picture, at least `LEFT` must still be there."""
    return _seen(targets, _moved(targets, matrices, side), 0.0, 1.0)


def tile(targets: Sequence[Any], matrices: Sequence[Any], windows: Sequence[Any], side: Any) -> Any:
    """Return the boxes of pictures that are put together of several, (batch, sum of the rows, 5).

    Of each part its targets, how it is moved, and the window it is seen through, float32 (batch, 4) as y1, x1, y2, x2
    in shares of the side: of a box that a window cuts, at least `LEFT` must still be there.
    """
    import tensorflow as tf  # here, because whatever reads labels does without it

    parts = [
        _seen(part, _moved(part, matrix, side), *(tf.tile(corner[:, None], (1, 1, 2)) for corner in corners))
        for part, matrix, corners in zip(
            targets, matrices, (tf.split(each, 2, axis=1) for each in windows), strict=True
        )
    ]
    return tf.concat(parts, axis=1)


def _seen(targets: Any, moved: Any, low: Any, high: Any) -> Any:
    """Targets whose boxes are `moved` and cut to what lies between; those of which too little is left are none."""
    import tensorflow as tf

    seen = tf.minimum(tf.maximum(moved, low), high)
    there = (_areas(seen) >= LEFT * _areas(moved)) & (_areas(seen) > 0) & (targets[..., 4] >= 0)
    boxes = tf.where(there[..., None], seen, 0.0)
    return tf.concat([boxes, tf.where(there, targets[..., 4], NOTHING)[..., None]], axis=2)


def _moved(targets: Any, matrices: Any, side: Any) -> Any:
    """The sides of boxes where a change of geometry puts them, float32 (batch, most, 4), also outside the picture.

    A box that is turned becomes the box around the ellipse in it, not around its corners: things seldom fill corners,
    and boxes would grow with every turn (Kalra et al., Towards Rotation Invariance in Object Detection, ICCV 2021).
    """
    import tensorflow as tf

    a, b, right, c, d, down = tf.unstack(matrices[:, None, :6], axis=2)  # of where a pixel comes from
    middle = (targets[..., :2] + targets[..., 2:4]) / 2 * side - 0.5
    half_high, half_wide = tf.unstack((targets[..., 2:4] - targets[..., :2]) / 2 * side, axis=2)
    y, x = middle[..., 0] - down, middle[..., 1] - right
    spread = a * d - b * c
    across, along = (d * x - b * y) / spread, (a * y - c * x) / spread
    wide = tf.sqrt((d * half_wide) ** 2 + (b * half_high) ** 2) / tf.abs(spread)
    high = tf.sqrt((a * half_high) ** 2 + (c * half_wide) ** 2) / tf.abs(spread)
    return (tf.stack([along - high, across - wide, along + high, across + wide], axis=2) + 0.5) / side
