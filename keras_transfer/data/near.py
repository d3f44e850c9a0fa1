"""Finds pictures that a person would take for the same one: a photograph and its smaller or blurred copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

NEAR_BITS = 6
"""Bits of 64 in which the perceptual hashes of near copies may differ, before their pixels are compared."""

NEAR_PIXELS = 6.0
"""Mean difference of two thumbnails, of 255, below which a person takes them for the same picture."""

THUMBNAIL = 32
"""Side in pixels of what pictures are compared by."""

LOW = 8
"""Frequencies a side that the hash keeps: 8 x 8 = 64 bits."""


class Glance(NamedTuple):
    """What pictures are compared by."""

    bits: int
    """Perceptual hash, 64 bits."""
    thumbnail: np.ndarray
    """uint8 (THUMBNAIL, THUMBNAIL, 3)."""


def glance_at(pixels: np.ndarray) -> Glance:
    """Return the hash and the thumbnail of a picture, uint8 (height, width, 3).

    The hash says which of the lowest 64 frequencies of the grey picture are above their median (pHash; Zauner 2010,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", 3.2.1).
    """
    small = cv2.resize(pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = cv2.dct(grey)[:LOW, :LOW]
    # Of a plain picture all but the first are rounding: quantized, they are alike rather than random.
    above = np.round(low, 2) > np.round(np.median(low), 2)
    return Glance(int(np.packbits(above.ravel()).view(">u8")[0]), small)


def pairs_of(glances: Sequence[Glance]) -> Iterator[tuple[int, int]]:
    """Yield the positions (first, second) of each two pictures that look the same, first < second.

    Candidates differ in at most NEAR_BITS bits of their hashes; their thumbnails then decide, because hashes of plain
    pictures are alike by chance.
    """
    hashes = np.array([each.bits for each in glances], np.uint64)
    for position in range(len(glances) - 1):
        distance = np.bitwise_count(hashes[position + 1 :] ^ hashes[position])
        for other in (np.flatnonzero(distance <= NEAR_BITS) + position + 1).tolist():
            if np.abs(np.subtract(glances[position].thumbnail, glances[other].thumbnail, dtype=np.int16)).mean() < (
                NEAR_PIXELS
            ):
                yield position, other


def groups_of(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Return a number for each picture, the same for near copies: int64 (n,).

    >>> plain, other = np.zeros((2, 40, 40, 3), np.uint8)
    >>> other[:20, 10:] = 200
    >>> groups_of([plain, other, plain + 2]).tolist()
    [0, 1, 0]

    pictures: uint8 (height, width, 3) each, of any size. What splits or folds pictures must not part a group: its
    members answer for each other.
    """
    glances = [glance_at(each) for each in pictures]
    return joined(len(glances), pairs_of(glances))


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Return a number for each of `count` things, the same for those that pairs connect, however far: int64 (count,).

    >>> joined(4, [(0, 2), (2, 3)]).tolist()
    [0, 1, 0, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(list(pairs), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
