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
from keras_transfer.training.strategy import Strategy


def save(path: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON-able state as one `.npz` file."""
    write_bytes(path, _packed(arrays, state))


def _packed(arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    named = {**arrays, "__state__": np.frombuffer(json.dumps(state).encode(), np.uint8)}
    np.savez(buffer, allow_pickle=False, **named)
    return buffer.getvalue()


def of_chief(path: Path, strategy: Strategy) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Return what `load` returns in the chief, whose disk alone has it; None where there is no file."""
    if strategy.share.count == 1:
        return load(path) if path.exists() else None
    content = strategy.from_chief(lambda: _packed(*load(path)) if path.exists() else b"")
    if not content:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    return arrays, json.loads(arrays.pop("__state__").tobytes())


def follow_chief(variables: Any, strategy: Strategy) -> None:
    """Give every worker the chief's values, to the last bit.

    All of them computed the same from the same gradients; processors of another kind round some of it otherwise, and
    over many steps that would add up.
    """
    if strategy.share.count == 1:
        return
    content = strategy.from_chief(lambda: b"".join(_value(each).tobytes() for each in variables))
    start = 0
    for variable in variables:
        mine = _value(variable)
        theirs = np.frombuffer(content, mine.dtype, mine.size, start).reshape(mine.shape)
        start += mine.nbytes
        if mine.tobytes() != theirs.tobytes():
            variable.assign(theirs)


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
    return {f"{prefix}{index}": _value(variable) for index, variable in enumerate(variables)}


def _value(variable: Any) -> np.ndarray:
    return np.array(variable.numpy())  # a copy, which later steps leave alone


def assign(variables: Any, arrays: Mapping[str, np.ndarray], prefix: str) -> None:
    """Set Keras variables to what `values` returned; RunError where they do not fit."""
    for index, variable in enumerate(variables):
        array = arrays.get(f"{prefix}{index}")
        if array is None or tuple(array.shape) != tuple(variable.shape):
            raise RunError("The checkpoint belongs to another model or another stage list; begin a new run.")
        variable.assign(array)
