"""Keeps what stands beside a split of shards, labels, keys, weights and groups, in files that are mapped, not read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data.annotations import Annotation
from keras_transfer.data.texts import Texts
from keras_transfer.errors import first_line
from keras_transfer.files import MOST_TEXT_BYTES, regular
from keras_transfer.specs import Split

NAMES = ("key", "group")
"""Columns of texts; groups where the data set has some."""

MOST_BYTES = 64 * MOST_TEXT_BYTES
"""Of a file of columns: 64 GB. It is never in memory as a whole."""


def write(split: Split, folder: Path) -> dict[str, str]:
    """Write the columns of a split into a folder and return the files' names, for `read`.

    Labels are written where they are plain numbers; those of masks and boxes are none, and stay with the caller.
    """
    import pyarrow

    names = {"names": f"{split.name}-names.arrow"}
    columns = [Texts.of(split.keys), *([] if split.groups is None else [Texts.of(split.groups.tolist())])]
    table = pyarrow.table([each.column() for each in columns], names=NAMES[: len(columns)])
    with pyarrow.ipc.new_file(str(folder / names["names"]), table.schema) as file:
        file.write_table(table.combine_chunks())
    for name, array in (("labels", split.labels), ("weights", split.weights)):
        if array is not None and array.dtype != object:
            names[name] = f"{split.name}-{name}.npy"
            np.save(folder / names[name], array, allow_pickle=False)
    return names


def read(folder: Path, names: dict[str, str], kind: Annotation, classes: int) -> dict[str, Any]:
    """Return the columns that `write` wrote, by the names that `Split` has for them.

    Raises ValueError, or OSError, for files that are none such or do not fit each other.
    """
    columns = _texts(_inside(folder, names["names"]))
    found: dict[str, Any] = {"keys": columns["key"], "weights": None, "groups": None}
    if "group" in columns:
        found["groups"] = np.asarray(columns["group"])
    for name in ("labels", "weights"):
        if name in names:
            found[name] = _mapped(_inside(folder, names[name]), len(columns["key"]))
    if "labels" in found:
        _check_labels(found["labels"], kind, classes)
    return found


def _inside(folder: Path, name: str) -> Path:
    return folder / os.path.basename(name)


def _texts(path: Path) -> dict[str, Texts]:
    import pyarrow

    with regular(path, MOST_BYTES):
        pass
    try:
        table = pyarrow.ipc.open_file(pyarrow.memory_map(str(path))).read_all().combine_chunks()
        table.validate(full=True)  # what is mapped is followed later, wherever it points
    except pyarrow.ArrowException as error:
        raise ValueError(f"'{path.name}': {first_line(error)}") from None
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    if "key" not in kinds or set(kinds.values()) != {pyarrow.large_binary()}:
        raise ValueError(f"'{path.name}' holds no column of keys")
    return {name: Texts("", table[name].combine_chunks()) for name in kinds}


def _mapped(path: Path, count: int) -> np.ndarray:
    with regular(path, MOST_BYTES):
        pass
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.shape[:1] != (count,):
        raise ValueError(f"'{path.name}' has not a row for each of {count} pictures")
    return array


def _check_labels(labels: np.ndarray, kind: Annotation, classes: int) -> None:
    like = kind.stored([], {position: position for position in range(classes)})
    if labels.dtype != like.dtype or labels.shape[1:] != like.shape[1:]:
        raise ValueError(f"labels are {labels.dtype} {labels.shape}, and {kind.name} has others")
    if labels.dtype != bool and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels are positions of {classes} classes. Received: {labels.min()} to {labels.max()}")
