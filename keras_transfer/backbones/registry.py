"""The one table of backbones, by name."""

from __future__ import annotations

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


def rows() -> tuple[BackboneSpec, ...]:
    """Return every row, in the order of the table."""
    return tuple(BACKBONES.values())
