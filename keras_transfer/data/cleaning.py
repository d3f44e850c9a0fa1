"""Writes the clean data set that a diagnosis leaves: as a manifest of paths, or as shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data import records
from keras_transfer.data.annotations import ANNOTATIONS, BAR
from keras_transfer.data.doctor import Examination, Look, near_pairs
from keras_transfer.data.splitting import digest_of
from keras_transfer.errors import DataError
from keras_transfer.files import aside, put
from keras_transfer.specs import SPLIT_NAMES, Listener, Split, Splits, silent


def cleaned(splits: Splits, examination: Examination) -> Splits:
    """Return the data set without what is unreadable, is there twice, or is called by two names.

    Of copies within a split the first stays. Of copies and near copies across splits the one that judges stays and
    the training picture goes. Nothing else is left out: odd sizes and suspicious labels are for a person to decide.
    """
    gone = {name: set[int]() for name in SPLIT_NAMES}
    for look in _to_leave_out(examination.looks):
        gone[look.split].add(look.position)
    if not any(gone.values()):
        return splits
    parts = {name: _without(splits[name], gone[name]) for name in SPLIT_NAMES}
    kept = (look for look in examination.looks if look.position not in gone[look.split])
    return replace(
        splits,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        digest=digest_of(_row(splits, look) for look in kept),
    )


def _row(splits: Splits, look: Look) -> tuple[str, str, str, float]:
    weights = splits[look.split].weights
    weight = 1.0 if weights is None else float(weights[look.position])
    return look.split, ANNOTATIONS[splits.annotation].text(look.label), look.content, weight


def check(splits: Splits, path: Path) -> None:
    """Raise DataError where a table at `path` cannot hold what pictures are labelled with; shards hold anything."""
    things = {"mask": "masks", "boxes": "boxes"}.get(splits.annotation)
    if things and path.suffix.lower() in _TABLES:
        raise DataError(f"A table like '{path}' holds no {things}. Name a folder, and shards are written.")


def write(splits: Splits, path: Path, *, listener: Listener = silent) -> Path:
    """Write a data set as a manifest (`.csv`, `.parquet`) or, to a name without such an ending, as shards.

    A manifest's paths are relative to it, so it must stand beside or above the pictures. Raises DataError otherwise.
    """
    if path.suffix.lower() not in _TABLES:
        return records.write(splits, path, listener=listener)
    check(splits, path)
    import pyarrow

    kind = ANNOTATIONS[splits.annotation]
    path_column, label_column = kind.columns
    columns: dict[str, list[Any]] = {path_column: [], label_column: [], "split": [], "weight": [], "group": []}
    barred = [name for name in splits.class_names if BAR in name]
    if barred and splits.annotation == "classes":
        raise DataError(f"Label '{barred[0]}' has a '{BAR}' in it, which parts labels in a table. Rename it.")
    for name in SPLIT_NAMES:
        part = splits[name]
        if callable(part.pictures) or part.pictures.dtype.kind != "U":
            raise DataError(f"'{splits.source}' has no picture files to list. Name a folder, and shards are written.")
        weights = np.ones(len(part)) if part.weights is None else part.weights
        columns[path_column] += [_relative(Path(each), path) for each in part.pictures]
        columns[label_column] += [kind.text(kind.listed(label, splits.class_names)) for label in part.labels]
        columns["split"] += [name] * len(part)
        columns["weight"] += [float(weight) for weight in weights]
        columns["group"] += [""] * len(part) if part.groups is None else part.groups.tolist()
    try:
        with aside(path.parent) as place:
            _TABLES[path.suffix.lower()](pyarrow.table(columns), place / path.name)
            put(place / path.name, path)
    except OSError as error:
        raise DataError(f"'{path}' cannot be written: {error.strerror}.") from None
    return path


def _write_csv(table: Any, path: Path) -> None:
    from pyarrow import csv

    csv.write_csv(table, path)


def _write_parquet(table: Any, path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(table, path)


_TABLES: dict[str, Callable[[Any, Path], None]] = {".csv": _write_csv, ".parquet": _write_parquet}


def _to_leave_out(looks: Sequence[Look]) -> list[Look]:
    leave = [look for look in looks if look.problem]
    readable = [look for look in looks if not look.problem]
    held_out = {look.content for look in readable if look.split != "train"}
    labels: dict[str, set[Any]] = {}
    for look in readable:
        labels.setdefault(look.content, set()).add(look.label)
    seen: set[str] = set()
    for look in sorted(readable, key=lambda look: look.split == "train"):
        leaked = look.split == "train" and look.content in held_out
        if leaked or look.content in seen or len(labels[look.content]) > 1:
            leave.append(look)
        seen.add(look.content)
    leave += [
        first if first.split == "train" else second
        for first, second in near_pairs(readable)
        if "train" in (first.split, second.split) and first.split != second.split
    ]
    return leave


def _without(part: Split, gone: set[int]) -> Split:
    return part.take(np.array([row for row in range(len(part)) if row not in gone], np.int64))


def _relative(picture: Path, manifest: Path) -> str:
    inside = os.path.relpath(picture.absolute(), manifest.parent.absolute())
    if inside.startswith(".."):
        raise DataError(
            f"The manifest '{manifest}' must stand beside or above its pictures, but '{picture}' lies elsewhere."
        )
    return Path(inside).as_posix()
