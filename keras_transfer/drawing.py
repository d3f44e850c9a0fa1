"""Draws masks and boxes over pictures, in colours that the colour-blind tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from keras_transfer.masks import VOID

PALETTE = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (68, 68, 68),
    (136, 34, 85),
    (153, 221, 255),
    (17, 119, 51),
    (221, 204, 119),
    (51, 34, 136),
    (170, 68, 153),
    (187, 204, 51),
    (255, 170, 187),
)
"""RGB by class position, from the start again where there are more classes: the eight of Okabe & Ito (2008), with grey
in place of black, then those of Tol's `muted` and `light` schemes (2021) that are unlike them."""

SHARE = 0.55
"""Of the colour in a pixel of an overlay; the picture is the rest."""


def colour(position: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class.

    >>> colour(0)
    (0, 114, 178)
    """
    return PALETTE[position % len(PALETTE)]


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a picture with the classes of its pixels over it: uint8 (height, width, 3).

    image: uint8 (height, width, 3); mask: class positions, uint8 (height, width); void stays as the picture is.
    """
    colours = np.array([colour(i) for i in range(VOID + 1)], np.float32)[mask]
    share = np.where(mask == VOID, 0.0, SHARE).astype(np.float32)[..., None]
    return np.rint(image * (1 - share) + colours * share).astype(np.uint8)


def palette_bytes() -> bytes:
    """Return the palette of a mask's PNG, 256 RGB triples: index images show their classes in any viewer."""
    return b"".join(bytes(colour(i)) for i in range(VOID)) + b"\xff\xff\xff"


def boxed(picture: np.ndarray, boxes: np.ndarray, kinds: Sequence[int], names: Sequence[str] = ()) -> np.ndarray:
    """Return a picture with boxes, (k, 4) in shares of its sides, and their names if they have any: uint8."""
    drawn = np.ascontiguousarray(picture)
    drawn = drawn.copy() if drawn is picture else drawn
    height, width = picture.shape[:2]
    thick = max(1, round(max(height, width) / 320))
    for number, (box, kind) in enumerate(zip(boxes, kinds, strict=True)):
        top, left, bottom, right = (
            np.rint(box[:4] * (height - 1, width - 1, height - 1, width - 1)).astype(int).tolist()
        )
        cv2.rectangle(drawn, (left, top), (right, bottom), colour(int(kind)), thick)
        if names:
            place, size = (left + thick, max(top - 3 * thick, 12 * thick)), 0.4 * thick
            cv2.putText(drawn, names[number], place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 2 * thick + 1)
            cv2.putText(drawn, names[number], place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thick)
    return drawn
