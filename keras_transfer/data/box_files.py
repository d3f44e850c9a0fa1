"""Checks the boxes that sources list, and gathers their pictures: what VOC, YOLO, COCO and tables have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from keras_transfer.data import box_labels
from keras_transfer.data.decoding import upright_size
from keras_transfer.data.gathering import Listing, gather
from keras_transfer.data.pictures import CORES
from keras_transfer.errors import DataError
from keras_transfer.specs import Event, Listener, Splits, silent

MOST_BOXES = 1000
"""Of one picture: more are a mistake in the file, and every step of training would carry as many rows."""

OVER = 2.0
"""Pixels that a box may reach over the edge of its picture, where it is cut: VOC counts from 1, and people round."""

CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Found:
    """The boxes of one picture as a file has them."""

    path: str
    key: str
    where: str
    """For a person: the file that says so, and the place in it."""
    boxes: Sequence[tuple[float, float, float, float, str]]
    """x1, y1, x2, y2 in pixels, or in shares of width and height, and the class."""
    size: tuple[int, int] | None = None
    """Width and height that the file says its picture has; None where it says nothing."""
    split: str | None = None
    weight: float = 1.0
    group: str = ""
    shares: bool = False


def gather_boxes(
    source: str,
    found: Sequence[Found],
    *,
    declared: Sequence[str] = (),
    passed: tuple[str, ...] = (),
    seed: int = 0,
    listener: Listener = silent,
) -> Splits:
    """Return the splits of pictures with boxes; boxes without area are left out and told.

    Raises DataError, in one sentence, for reversed corners, a box outside its picture, a picture of another size than
    its file says, more than `MOST_BOXES` in one picture, and for what `gather` refuses.
    """
    listings, flat = [], []
    with ThreadPoolExecutor(CORES) as readers:
        sizes = readers.map(lambda each: upright_size(each.path), found)
        for number, (each, size) in enumerate(zip(found, sizes, strict=True), start=1):
            label, without = _label(each, size)
            flat += without
            listings.append(Listing(each.path, each.key, label, split=each.split, weight=each.weight, group=each.group))
            if number % 500 == 0:
                listener(Event("progress", "Reading boxes", done=number, total=len(found)))
    if flat:
        first = "; ".join(flat[:3]) + (" …" if len(flat) > 3 else "")
        listener(Event("warning", f"Left out {len(flat)} boxes without area: {first}"))
    splits = gather(
        source, listings, annotation="boxes", declared=declared, passed=passed, seed=seed, listener=listener
    )
    return replace(splits, skipped=splits.skipped + tuple(flat))


def _label(found: Found, size: tuple[int, int] | None) -> tuple[box_labels.Boxed, list[str]]:
    if len(found.boxes) > MOST_BOXES:
        raise DataError(
            f"{found.where} has {len(found.boxes):,} boxes in one picture; at most {MOST_BOXES:,} are taken. "
            "Cut the picture into parts, or remove boxes."
        )
    if size and found.size and size != found.size:
        raise DataError(
            f"{found.where} says its picture is {found.size[0]} x {found.size[1]} pixels, but it is "
            f"{size[0]} x {size[1]}. Write the boxes in the pixels of the picture as it is."
        )
    width, height = size or found.size or (1, 1)  # a picture that cannot be read is left out by whoever gathers it
    scale = (1, 1) if found.shares else (width, height)
    kept, flat = [], []
    for number, (*corners, name) in enumerate(found.boxes, start=1):
        x1, y1, x2, y2 = (side / full for side, full in zip(corners, (*scale, *scale), strict=True))
        where = f"{found.where}, box {number} ({name})"
        _check(where, (x1, y1, x2, y2), (width, height))
        x1, y1, x2, y2 = (min(max(side, 0.0), 1.0) for side in (x1, y1, x2, y2))
        if x2 > x1 and y2 > y1:
            kept.append((y1, x1, y2, x2, name))
        else:
            flat.append(f"{where} has no area")
    return box_labels.listed(height, width, kept), flat


def _check(where: str, shares: tuple[float, ...], size: tuple[int, int]) -> None:
    x1, y1, x2, y2 = (side * full for side, full in zip(shares, (*size, *size), strict=True))
    said = f"x {x1:.6g} to {x2:.6g}, y {y1:.6g} to {y2:.6g}"
    if not all(abs(side) < float("inf") for side in (x1, y1, x2, y2)):
        raise DataError(f"{where}: corners must be numbers. Received: {said}")
    if x2 < x1 or y2 < y1:
        raise DataError(f"{where}: its corners are reversed, left before right and top before bottom. Received: {said}")
    if min(x1, y1) < -OVER or x2 > size[0] + OVER or y2 > size[1] + OVER:
        raise DataError(
            f"{where} reaches outside its picture of {size[0]} x {size[1]} pixels. Cut it at the edge. Received: {said}"
        )


def of_table(table: Any, listed: Callable[[Mapping[str, Sequence[Any]]], Iterator[Listing]], name: str) -> list[Found]:
    """Return the boxes of a table of one row each: path, label, x1, y1, x2, y2 in pixels, and what listings have.

    listed: makes checked listings of columns, `label` among them. A row whose corners are all empty is a picture
    without objects. Raises DataError for corners that are no numbers or only partly there, and for a picture whose
    rows are of two splits.
    """
    columns = {each: table[each].to_pylist() for each in table.column_names}
    labels = columns.get("label", [None] * table.num_rows)
    named = {**columns, "label": ["nothing" if each in (None, "") else each for each in labels]}
    pictures: dict[str, tuple[Listing, list[tuple[float, float, float, float, str]]]] = {}
    corners = zip(*(columns[each] for each in CORNERS), strict=True)
    for number, (row, sides, label) in enumerate(zip(listed(named), corners, labels, strict=True), start=1):
        first, boxes = pictures.setdefault(row.path, (row, []))
        if first.split != row.split:
            raise DataError(f"'{name}', row {number}: '{row.key}' stands in two splits. Give all its rows one.")
        if box := _box(f"'{name}', row {number}", sides, label):
            boxes.append(box)
    return [
        Found(row.path, row.key, f"'{name}', '{row.key}'", boxes, None, row.split, row.weight, row.group)
        for row, boxes in pictures.values()
    ]


def _box(where: str, sides: Sequence[Any], label: Any) -> tuple[float, float, float, float, str] | None:
    empty = [side is None or str(side).strip() == "" for side in sides]
    unnamed = label is None or not str(label).strip()
    if all(empty) and unnamed:
        return None
    said = ", ".join("" if side is None else str(side) for side in sides)
    try:
        x1, y1, x2, y2 = map(float, () if unnamed else sides)
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: a box needs a label and {', '.join(CORNERS)} in pixels; a picture without objects has none of "
            f"them. Received: '{label or ''}', {said}"
        ) from None
    return x1, y1, x2, y2, str(label).strip()
