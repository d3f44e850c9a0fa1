"""Composes clips of one thing that moves: what it does is known, and no single frame of it tells."""

from __future__ import annotations

import numpy as np
from PIL import Image

from keras_transfer.data.samples.composed import SHOWN

SIDE = 64
"""Of a frame, in pixels."""

MOVES = ("left", "right", "up", "down", "grow", "shrink", "turn left", "turn right")

CHANGES = {
    "left": ("across", -1),
    "right": ("across", 1),
    "up": ("along", -1),
    "down": ("along", 1),
    "shrink": ("size", -1),
    "grow": ("size", 1),
    "turn right": ("angle", -1),
    "turn left": ("angle", 1),
}
"""What each move changes, and which way: pixels from the top left, and degrees against the clock."""

REACHES = {"across": 14.0, "along": 14.0, "size": 8.0, "angle": 60.0}
"""How far a change goes either way of the middle: pixels of place and size, degrees of angle."""

SIZES = (24, 31)
"""Sides of a thing in the middle of its change, the second excluded."""


def moving(pictures: np.ndarray, *, count: int, frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return clips uint8 (count, frames, SIDE, SIDE) of one thing each, and the position of its move in `MOVES`.

    >>> clips, moves = moving(np.full((2, 28, 28), 200, np.uint8), count=3, frames=8, seed=0)
    >>> clips.shape, moves.shape
    ((3, 8, 64, 64), (3,))

    pictures: uint8 (n, height, width), black around the thing. Place, size and angle are each somewhere on the same
    ways in every clip; only the order in which a clip goes along one of them is the class. So the frames of all
    classes, each for itself, are drawn from the same distribution. The same arguments give the same bits.
    """
    rng = np.random.default_rng(seed)
    steps = np.linspace(-1, 1, frames)
    moves = rng.permutation(np.arange(count) % len(MOVES))
    clips = np.empty((count, frames, SIDE, SIDE), np.uint8)
    for clip, move in zip(clips, moves.tolist(), strict=True):
        what, way = CHANGES[MOVES[move]]
        picture, side, angle = pictures[rng.integers(len(pictures))], int(rng.integers(*SIZES)), rng.integers(360)
        middle = rng.integers(-4, 5, 2)
        still = {name: float(rng.choice(steps)) for name in REACHES}
        ground = _ground(rng)
        for frame, step in zip(clip, steps.tolist(), strict=True):
            at = {name: reach * (way * step if name == what else still[name]) for name, reach in REACHES.items()}
            _draw(
                frame,
                ground,
                picture,
                side + at["size"],
                angle + at["angle"],
                middle + np.array((at["along"], at["across"])),
            )
    return clips, moves.astype(np.int64)


def _ground(rng: np.random.Generator) -> np.ndarray:
    """Dark patches, the same in all frames of a clip: uint8 (SIDE, SIDE)."""
    patches = Image.fromarray(rng.integers(0, 50, (6, 6)).astype(np.uint8))
    return np.asarray(patches.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _draw(
    frame: np.ndarray, ground: np.ndarray, picture: np.ndarray, side: float, angle: float, middle: np.ndarray
) -> None:
    size = (round(side), round(side))
    thing = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
    turned = np.asarray(thing.rotate(angle, Image.Resampling.BILINEAR, expand=True))
    top, left = np.round(SIDE / 2 + middle - np.array(turned.shape) / 2).astype(int).tolist()
    rows, columns = (slice(max(-start, 0), SIDE - start) for start in (top, left))
    seen = turned[rows, columns]
    frame[:] = ground
    place = frame[max(top, 0) : max(top, 0) + seen.shape[0], max(left, 0) : max(left, 0) + seen.shape[1]]
    place[seen >= SHOWN] = seen[seen >= SHOWN]
