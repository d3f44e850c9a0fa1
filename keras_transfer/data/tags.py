"""Reads which labels each row of a table has: from a column `labels`, or from a column of 0 and 1 for each label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_transfer.data.annotations import BAR
from keras_transfer.errors import DataError

BESIDE = (
    "path",
    "label",
    "labels",
    "mask",
    "identity",
    "split",
    "weight",
    "group",
    "sha256",
    "x1",
    "y1",
    "x2",
    "y2",
    "start",
    "end",
)
"""Columns that are no labels themselves."""

_TRUTH = {"0": False, "1": True, "False": False, "True": True, "false": False, "true": True}


def columns_of(table: Any) -> list[str]:
    """Return the columns that are a label each: all beside the known ones, where there is no `labels`."""
    if "labels" in table.column_names:
        return []
    return [name for name in table.column_names if name not in BESIDE]


def held(table: Any, asked: str) -> str:
    """Return the annotation that a pyarrow table holds; the one that was asked for where it holds both or none."""
    has = set(table.column_names)
    if {"x1", "y1", "x2", "y2"} <= has:
        return "boxes"
    if (asked == "identity" and {"label", "identity"} & has) or (asked == "clip" and "label" in has):
        return asked
    if "mask" in has and (asked == "mask" or not {"label", "labels"} & has):
        return "mask"
    if {"label", "labels"} & has:
        return asked if {"label", "labels"} <= has else "class" if "label" in has else "classes"
    cells = [str(cell) for name in columns_of(table) for cell in table[name].to_pylist()]
    return "classes" if cells and set(cells) <= set(_TRUTH) else asked


def read(path: Path, table: Any) -> list[tuple[str, ...]]:
    """Return the labels of each row of a pyarrow table; an empty cell of `labels` is a picture without one.

    Raises DataError for a cell with an empty label in it, or that is neither 0 nor 1.
    """
    if "labels" in table.column_names:
        return [_of_cell(f"'{path}', row {row}", cell) for row, cell in enumerate(table["labels"].to_pylist(), start=1)]
    names = columns_of(table)
    if not names:
        raise DataError(f"'{path}' has no column 'labels' and no column of 0 and 1 for each label. Write: path,labels")
    truth = {name: _of_column(path, name, table[name].to_pylist()) for name in names}
    return [tuple(name for name in names if truth[name][row]) for row in range(table.num_rows)]


def _of_cell(where: str, cell: Any) -> tuple[str, ...]:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return ()
    labels = [str(each).strip() for each in (cell if isinstance(cell, list) else str(cell).split(BAR))]
    if not all(labels):
        raise DataError(f"{where}: one of the labels is empty. Write them as cat{BAR}dog. Received: '{cell}'")
    return tuple(sorted(set(labels)))


def _of_column(path: Path, name: str, cells: Sequence[Any]) -> list[bool]:
    for row, cell in enumerate(cells, start=1):
        if str(cell) not in _TRUTH:
            raise DataError(
                f"'{path}', row {row}: column '{name}' is taken for a label and must be 0 or 1. "
                f"Received: '{'' if cell is None else cell}'"
            )
    return [_TRUTH[str(cell)] for cell in cells]
