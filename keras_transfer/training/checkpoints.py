"""Arrays and state on disk so that a killed process can go on: written aside, synced, renamed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.errors import RunError
from keras_transfer.files import read_arrays, write_bytes


def save(path: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON-able state as one `.npz` file."""
    buffer = io.BytesIO()
    named = {**arrays, "__state__": np.frombuffer(json.dumps(state).encode(), np.uint8)}
    np.savez(buffer, allow_pickle=False, **named)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what `save` wrote; RunError for a file that is not one."""
    try:
        arrays = read_arrays(path)
        return arrays, json.loads(arrays.pop("__state__").tobytes())
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"The checkpoint '{path}' cannot be read ({error}); delete it to begin the stage anew."
        ) from None


def values(variables: Any, prefix: str) -> dict[str, np.ndarray]:
    """Return the values of Keras variables by position: `prefix` and a number."""
    return {f"{prefix}{index}": np.array(variable) for index, variable in enumerate(variables)}


def assign(variables: Any, arrays: Mapping[str, np.ndarray], prefix: str) -> None:
    """Set Keras variables to what `values` returned; RunError where they do not fit."""
    for index, variable in enumerate(variables):
        array = arrays.get(f"{prefix}{index}")
        if array is None or tuple(array.shape) != tuple(variable.shape):
            raise RunError("The checkpoint belongs to another model or another stage list; begin a new run.")
        variable.assign(array)
