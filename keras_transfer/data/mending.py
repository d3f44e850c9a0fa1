"""Lists the pictures of a source that a person can mend: those whose labels a table of paths can hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keras_transfer.data import folders, manifests
from keras_transfer.data.gathering import Listing
from keras_transfer.data.sources import recognised
from keras_transfer.errors import UsageError
from keras_transfer.files import expanded

LISTERS: dict[str, Callable[[Path], list[Listing]]] = {
    "class folders": folders.listings,
    "split folders": folders.listings,
    "manifest": manifests.listings,
}
"""How the pictures of a source are listed, by its row of `data.sources.SOURCES`."""


def listed(source: str) -> list[Listing]:
    """Return the pictures of a folder or a table, one class each, without reading any of them.

    >>> listed("sample:fashion")
    Traceback (most recent call last):
    keras_transfer.errors.UsageError: Labels are mended in folders and tables of files. Received: 'sample:fashion'

    Raises UsageError for a source of another kind, and DataError as loading it does.
    """
    return LISTERS[check(source)](expanded(source))


def check(source: str) -> str:
    """Return the row of a source that can be mended; raises as `listed` does where it cannot."""
    row = recognised(source)
    if row.name not in LISTERS:
        raise UsageError(f"Labels are mended in folders and tables of files. Received: '{source}'")
    return row.name
