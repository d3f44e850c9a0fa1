"""Composes pictures of several things from pictures of one: what is where is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 64
"""Of a composed picture, in pixels."""

SIZES = (26, 33)
"""Sides that a thing is scaled to, the second excluded: about a quarter of the canvas each, four fit with little
overlap."""

SHOWN = 12
"""Grey level from which a pixel belongs to a thing; the pictures it comes from are black around it."""


@dataclass(frozen=True)
class Placed:
    """One thing in a composed picture."""

    label: int
    box: tuple[int, int, int, int]
    """left, top, right, bottom in pixels, the last two excluded; tight around the mask."""
    mask: np.ndarray
    """bool (SIDE, SIDE): its pixels, those included that a later thing covers."""


def composed(
    pictures: np.ndarray, labels: np.ndarray, *, count: int, seed: int, most: int = 4
) -> tuple[np.ndarray, list[tuple[Placed, ...]]]:
    """Return pictures uint8 (count, SIDE, SIDE), each with 1 to `most` things, and what was placed in each.

    >>> things = np.full((2, 28, 28), 200, np.uint8)
    >>> images, placed = composed(things, np.array([0, 1]), count=3, seed=0)
    >>> images.shape, len(placed)
    ((3, 64, 64), 3)

    pictures: uint8 (n, height, width), black around the thing; labels: int (n,); most: at most 4. Every thing has a
    quarter of the canvas to itself, give or take two pixels, before a dark ground with a little noise. The same
    arguments give the same bits: all is drawn and scaled in whole numbers.
    """
    rng = np.random.default_rng(seed)
    images, placed = np.empty((count, SIDE, SIDE), np.uint8), []
    for image in images:
        image[:] = rng.integers(20, 60) + rng.integers(-6, 7, (SIDE, SIDE))
        quarters = rng.permutation(4)[: rng.integers(1, most + 1)]
        placed.append(
            tuple(
                _place(image, pictures[which], int(labels[which]), int(quarter), rng)
                for quarter, which in zip(quarters, rng.integers(len(pictures), size=len(quarters)), strict=True)
            )
        )
    return images, placed


def _place(image: np.ndarray, picture: np.ndarray, label: int, quarter: int, rng: np.random.Generator) -> Placed:
    side, half = int(rng.integers(*SIZES)), SIDE // 2
    thing = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))
    corner = half * np.array(divmod(quarter, 2)) + rng.integers(-2, half - side + 3, 2)
    top, left = np.clip(corner, 0, SIDE - side).tolist()
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + side, left : left + side] = thing >= SHOWN
    image[mask] = thing[thing >= SHOWN]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Placed(label, box, mask)
