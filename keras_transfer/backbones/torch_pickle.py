"""Reads the tensors of a PyTorch weights file in its older format, without PyTorch and without running what it holds.

The file is five parts in a row: three small pickles (a magic number, the protocol, the machine's byte order), one
pickle of the state dict that names its storages, one pickle that lists them; then each storage as a count of items
(int64) and the items. A pickle can name any function to be called while it is read, so the unpickler here admits
the few names that a state dict needs and refuses all others.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_transfer.errors import WeightsError
from keras_transfer.files import MOST_MODEL_BYTES, regular

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


@dataclass(frozen=True)
class _Storage:
    dtype: np.dtype
    key: str


@dataclass(frozen=True)
class _View:
    """One tensor as the file describes it: a strided window on a storage (offset and strides count items)."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _view(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _View:
    return _View(storage, offset, tuple(shape), tuple(strides))


ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    **{("torch", name): np.dtype(code) for name, code in DTYPES.items()},
}


class _Unpickler(pickle._Unpickler):  # in Python: the one in C takes as much memory as a file numbers its memo
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a weights file does not need") from None

    def persistent_load(self, reference: Any) -> _Storage:
        _kind, dtype, key, _device, _items, _view_metadata = reference
        return _Storage(dtype, key)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file that `torch.save(state_dict)` wrote before PyTorch 1.6, by name.

    >>> read(Path("efficientnet-lite0.pth"))["_conv_stem.weight"].shape  # doctest: +SKIP
    (32, 3, 3, 3)

    Raises WeightsError where the file is not of that format or names anything but tensors.
    """
    try:
        with regular(path, MOST_MODEL_BYTES) as file:
            return _tensors(file)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"'{path}' was refused as a PyTorch state dict: {error}.") from error
    except Exception as error:  # an unpickler raises nearly every type on a broken file
        raise WeightsError(f"'{path}' cannot be read as a PyTorch state dict: {error}.") from error


def _tensors(file: IO[bytes]) -> dict[str, np.ndarray]:
    if _Unpickler(file).load() != MAGIC_NUMBER:
        raise ValueError("it does not begin with the magic number of that format")
    _protocol, system, state = (_Unpickler(file).load() for _ in range(3))
    if not system["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    dtypes = {view.storage.key: view.storage.dtype for view in state.values()}
    storages = {key: _items(file, dtypes[key]) for key in _Unpickler(file).load()}
    return {name: _array(storages[view.storage.key], view) for name, view in state.items()}


def _items(file: IO[bytes], dtype: np.dtype) -> np.ndarray:
    count = int(np.frombuffer(file.read(8), "<i8")[0])
    if not 0 <= count <= MOST_MODEL_BYTES // dtype.itemsize:
        raise ValueError(f"a storage declares {count} items")
    return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)


def _array(items: np.ndarray, view: _View) -> np.ndarray:
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if min(view.offset, *view.strides, 0) < 0 or max(last, math.prod(view.shape) - 1) >= len(items):
        raise ValueError("a tensor reaches outside its storage")
    strides = [stride * items.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(items[view.offset :], view.shape, strides).copy()
