"""Opens `.keras` files as what they should be, layers and numbers: nothing in them is run, and nothing leaves them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from keras_transfer.errors import ArtifactError, first_line
from keras_transfer.files import MOST_MODEL_BYTES, regular

if TYPE_CHECKING:
    import keras

MOST_CONFIG_BYTES = 2**26
"""Of the description of the layers; those of the largest backbones take half a megabyte."""

REFUSED = {
    "Lambda": "runs code that the file holds",
    "__lambda__": "runs code that the file holds",
    "TFSMLayer": "runs a SavedModel that the file names",
    "TorchModuleWrapper": "unpickles what the file holds, which can run anything",
    "JaxLayer": "runs code that the file names",
    "FlaxLayer": "runs code that the file names",
    "StringLookup": "reads other files",
    "IntegerLookup": "reads other files",
    "TextVectorization": "reads other files",
}
"""Layers of Keras that no model of pictures needs, and what each can do when a file is opened."""


def load(path: Path) -> keras.Model:
    """Return the model in a `.keras` file, not compiled.

    >>> load(Path("saved_models/pets/model.keras")).name  # doctest: +SKIP
    'classifier'

    Raises ArtifactError, in one sentence, where it is none, holds a layer that could run code or read files, or holds
    members that would be unpacked elsewhere or to more than `MOST_MODEL_BYTES`.
    """
    check(path)
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras and HDF5 raise nearly every type on a broken file
        raise ArtifactError(
            f"'{path}' is not a keras model that can be opened; it may be damaged or incomplete: "
            f"{first_line(error, 200)}"
        ) from error


def check(path: Path) -> None:
    """Raise what `load` raises for what can be told without Keras."""
    try:
        with regular(path, MOST_MODEL_BYTES) as file, zipfile.ZipFile(file) as packed:
            members = packed.infolist()
            _check_members(path, members)
            config = packed.getinfo("config.json")
            if config.file_size > MOST_CONFIG_BYTES:
                raise ArtifactError(f"'{path}' describes its layers in {config.file_size:,} bytes, which is no model.")
            described = json.loads(packed.read(config))
            for name, module in _classes(described):
                _check_class(path, name, module)
    except ArtifactError:
        raise
    except OSError as error:
        raise ArtifactError(f"'{path}' cannot be read: {error.strerror}.") from None
    except Exception:  # zipfile raises nearly every type on a broken file
        raise ArtifactError(f"'{path}' is no whole .keras file: it was cut short, or is something else.") from None


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for each in members:
        place = PurePosixPath(each.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or (each.external_attr >> 16) & 0o170000 == 0o120000:
            raise ArtifactError(f"'{path}' holds '{each.filename}', which would lie outside of it; it is not opened.")
    total = sum(each.file_size for each in members)
    if total > MOST_MODEL_BYTES:
        raise ArtifactError(f"'{path}' would unpack to {total:,} bytes, and at most {MOST_MODEL_BYTES:,} are.")


def _check_class(path: Path, name: str, module: str) -> None:
    if name in REFUSED:
        raise ArtifactError(f"'{path}' holds a layer '{name}', which {REFUSED[name]}; it is not opened.")
    if module.split(".")[0] not in ("keras", "builtins", ""):
        raise ArtifactError(f"'{path}' holds '{name}' of '{module}', and only Keras' own layers are opened.")


def _classes(described: Any) -> Iterator[tuple[str, str]]:
    """The name and the module of every object in a description, however deep."""
    waiting = [described]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if "class_name" in each:
                yield str(each["class_name"]), str(each.get("module") or "")
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
