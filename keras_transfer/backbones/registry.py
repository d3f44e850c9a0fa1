"""The one table of backbones, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras_transfer.backbones import catalogue, efficientnet_lite
from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import BackboneSpec

BACKBONES: dict[str, BackboneSpec] = {spec.name: spec for spec in (*efficientnet_lite.ROWS, *catalogue.ROWS)}


def backbone(name: str) -> BackboneSpec:
    """Return the row of that name, spelt exactly so.

    >>> backbone("MobileNetV2").input_size
    224

    Raises UsageError, with the nearest name, where there is none.
    """
    try:
        return BACKBONES[name]
    except KeyError:
        raise UsageError(unknown("backbone", name, BACKBONES, see="keras-transfer backbones")) from None


SORTS: dict[str, Callable[[BackboneSpec], Any]] = {
    "name": lambda row: row.name,
    "input": lambda row: row.input_size,
    "parameters": lambda row: row.parameters,
    "top1": lambda row: -(row.top1 or 0),
}
"""By column: the key that puts the smallest, the most accurate or the first in the alphabet on top."""


def select(
    having: Sequence[str] = (), lacking: Sequence[str] = (), sort: str | None = None
) -> tuple[BackboneSpec, ...]:
    """Return the rows that have every word of `having` and none of `lacking`, sorted by a column.

    >>> [row.name for row in select(having=["mobilenet"], lacking=["squeeze-excite"], sort="top1")]
    ['MobileNetV2', 'MobileNet']

    A word is a trait, a licence, or a part of the name or of the family. Raises UsageError for an unknown column, and
    where no row is left.
    """
    if sort is not None and sort not in SORTS:
        raise UsageError(unknown("column", sort, SORTS))
    found = (row for row in rows() if all(_has(row, word) for word in having))
    kept = [row for row in found if not any(_has(row, word) for word in lacking)]
    if not kept:
        asked = " ".join([*having, *(f"without {word}" for word in lacking)])
        raise UsageError(f"No backbone is '{asked}'. See: keras-transfer backbones")
    return tuple(sorted(kept, key=SORTS[sort]) if sort else kept)


def _has(row: BackboneSpec, word: str) -> bool:
    folded = word.casefold()
    exact = {trait.casefold() for trait in row.traits} | {source.license.casefold() for source in row.weights}
    return folded in exact or folded in row.name.casefold() or folded in row.family


def rows() -> tuple[BackboneSpec, ...]:
    """Return every row, in the order of the table."""
    return tuple(BACKBONES.values())
