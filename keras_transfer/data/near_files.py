"""Looks once at picture files for near copies, and remembers what it saw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from keras_transfer.data.decoding import upright_rgb
from keras_transfer.data.near import THUMBNAIL, Glance, glance_at, joined, pairs_of
from keras_transfer.data.pictures import CORES, content_of
from keras_transfer.errors import DataError, RunError
from keras_transfer.files import cache_folder, write_bytes
from keras_transfer.specs import Event, Listener, silent

MOST = 20_000
"""Pictures above which near copies are not looked for: each has to be decoded, and compared with every other."""


def near_copies(paths: Sequence[str], contents: Sequence[str], listener: Listener = silent) -> np.ndarray | None:
    """Return a number for each file, the same for near copies, int64 (n,); None where there are too many to compare.

    contents: the SHA-256 of each. What was found among the same contents before is remembered in the cache folder.
    """
    if len(paths) > MOST:
        listener(
            Event("note", f"Near copies are not looked for among {len(paths)} pictures; up to {MOST} are compared.")
        )
        return None
    path_of = dict(zip(contents, paths, strict=True))
    different = sorted(path_of)
    place = cache_folder() / "near" / (hashlib.sha256("\n".join(different).encode()).hexdigest()[:32] + ".json")
    pairs = _remembered(place)
    if pairs is None:
        pairs = _found([path_of[content] for content in different], listener)
        _remember(place, pairs)
    number = dict(zip(different, joined(len(different), pairs).tolist(), strict=True))
    return np.array([number[content] for content in contents], np.int64)


def _found(paths: Sequence[str], listener: Listener) -> list[tuple[int, int]]:
    seen: list[tuple[int, Glance]] = []
    with ThreadPoolExecutor(CORES) as lookers:
        for done, glance in enumerate(lookers.map(_glance, paths)):
            if glance:
                seen.append((done, glance))
            if done % 1000 == 999:
                listener(Event("progress", "Looking for near copies", done=done + 1, total=len(paths)))
    positions = [position for position, _ in seen]
    return [(positions[first], positions[second]) for first, second in pairs_of([glance for _, glance in seen])]


def _glance(path: str) -> Glance | None:
    try:
        return glance_at(upright_rgb(content_of(path), size=THUMBNAIL))
    except DataError:
        return None  # decoding will name it


def _remembered(place: Path) -> list[tuple[int, int]] | None:
    try:
        return [(int(first), int(second)) for first, second in json.loads(place.read_bytes())]
    except (OSError, ValueError, TypeError):
        return None


def _remember(place: Path, pairs: list[tuple[int, int]]) -> None:
    with suppress(RunError):  # it would only have saved time
        write_bytes(place, json.dumps(pairs).encode())
