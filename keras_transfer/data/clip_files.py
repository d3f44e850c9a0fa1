"""Checks the clips that sources list, and gathers them: what folders and tables of videos have in common."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_transfer.data import clips
from keras_transfer.data.clips import Clip, clip_of
from keras_transfer.data.gathering import Listing, gather
from keras_transfer.errors import DataError
from keras_transfer.specs import SPLIT_NAMES, Listener, Splits, silent

SIZED = 64
"""Videos that are asked for their size and length, evenly spaced."""

TIMES = ("start", "end")
"""Columns of a table: seconds from the beginning of the video."""


def gather_clips(
    source: str,
    listings: Sequence[Listing],
    *,
    passed: tuple[str, ...] = (),
    seed: int = 0,
    listener: Listener = silent,
) -> Splits:
    """Return the splits of the clips a source lists, `clips.FRAMES` of each; takes and raises what `gather` does.

    Parts of one video without a group are a group, so that no split parts them. Raises DataError too for parts that
    overlap on both sides of a split.
    """
    parts = Counter(each.path for each in listings)
    grouped = [
        each
        if each.group or parts[each.path] == 1
        else each._replace(group=f"video {each.key.removesuffix(each.part)}")
        for each in listings
    ]
    splits = gather(source, grouped, annotation="clip", passed=passed, seed=seed, listener=listener)
    _check_apart(splits)
    few = [clip_of(str(each)) for each in splits.train.pictures[:: max(1, len(splits.train) // SIZED)]]
    facts = [clips.facts_of(each.path) for each in few]
    seconds = [min(clip.end, of.seconds) - clip.start for clip, of in zip(few, facts, strict=True)]
    return replace(
        splits, typical_size=int(np.median([of.side for of in facts])), clip_seconds=float(np.median(seconds))
    )


def of_table(where: str, listings: Sequence[Listing], columns: Mapping[str, Sequence[Any]]) -> Iterator[Listing]:
    """Yield the listings of a table with the part of the video that `start` and `end` name, in seconds.

    An empty cell is the beginning, or the end, of the video. Raises DataError for times that are no times.
    """
    nothing = [None] * len(listings)
    times = zip(*(columns.get(name, nothing) for name in TIMES), strict=True)
    for number, (row, (start, end)) in enumerate(zip(listings, times, strict=True), start=1):
        here = f"{where}, row {number}"
        clip = Clip(row.path, _seconds(here, "start", start, 0.0), _seconds(here, "end", end, math.inf))
        if clip.start >= clip.end:
            raise DataError(f"{here}: a clip ends after it starts. Received: start {clip.start:g}, end {clip.end:g}")
        part = clip.address[len(row.path) :]
        yield row._replace(part=part, key=row.key + part)


def _seconds(where: str, name: str, written: Any, empty: float) -> float:
    if written is None or not str(written).strip():
        return empty
    try:
        seconds = float(written)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise DataError(f"{where}: '{name}' is a number of seconds, 0 or more. Received: '{written}'")
    return seconds


def _check_apart(splits: Splits) -> None:
    """Raise DataError where a moment of a video stands in two splits: its score would be learned by heart."""
    placed: dict[str, list[tuple[Clip, str, str]]] = {}
    for name in SPLIT_NAMES:
        for address, key in zip(splits[name].pictures, splits[name].keys, strict=True):
            clip = clip_of(str(address))
            placed.setdefault(clip.path, []).append((clip, name, key))
    for of_video in placed.values():
        for (one, split, key), (other, others_split, others_key) in itertools.combinations(of_video, 2):
            if split != others_split and one.start < other.end and other.start < one.end:
                raise DataError(
                    f"'{splits.source}' has '{key}' in {split} and '{others_key}' in {others_split}, which overlap: "
                    "what is tested would have been trained on. Keep the parts of a video in one split, or apart."
                )
