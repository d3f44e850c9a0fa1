"""Features of the frozen part on disk: computed once per view, shared between stages and runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from keras_transfer.errors import TrainingError
from keras_transfer.files import aside, put, read_text

if TYPE_CHECKING:
    from keras_transfer.training.prefix import Compute  # which loads TensorFlow

Shapes = Sequence[tuple[int, ...]]
"""Of the features of one picture, one for each tensor."""

DEFAULT_LIMIT_BYTES = 20 * 1024**3
VERSION = 2
KEY = "key.json"
"""Stands beside the arrays of a view and says what they are of."""


@dataclass(frozen=True)
class Key:
    """All that features depend on; two views with equal keys hold equal features."""

    data_digest: str
    prefix_digest: str
    engine: str
    split: str
    image_size: int
    aspect: str
    augment: str
    view: int
    seed: int
    dtype: str
    weighting: str
    """How the weights of pictures were made; they stay with the view, because which pictures can be read, and so count,
    is known only once they were."""

    @property
    def name(self) -> str:
        """The folder of this view."""
        text = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class View:
    """One stored view of a split, in the order of the split, memory-mapped but for the weights."""

    features: tuple[np.ndarray, ...]
    """One array (n, …) for each tensor that crosses the cut, in the store's dtype."""
    targets: np.ndarray
    """float32 (n, …): of this view, because augmentation may move or mix them."""
    weights: np.ndarray
    """float32 (n,)."""


def size_bytes(count: int, feature_shapes: Shapes, dtype: str) -> int:
    """Return the bytes that the features of `count` pictures take, all tensors together."""
    return count * sum(map(math.prod, feature_shapes)) * np.dtype(dtype).itemsize


def view_bytes(count: int, feature_shapes: Shapes, dtype: str, target_shape: tuple[int, ...]) -> int:
    """Return the bytes that a view of `count` pictures takes: features, targets and weights.

    Of masks most may be targets: one of 352 pixels a side takes half a megabyte.

    >>> view_bytes(10, [(6, 6, 320)], "float16", target_shape=(192, 192))
    1705000
    """
    beside = count * (math.prod(target_shape) + 1) * np.dtype(np.float32).itemsize
    return size_bytes(count, feature_shapes, dtype) + beside


def obtain(
    folder: Path,
    key: Key,
    *,
    count: int,
    feature_shapes: Shapes,
    target_shape: tuple[int, ...] = (),
    compute: Compute,
    batches: Iterable[tuple[Any, Any, Any]],
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> View:
    """Return the view of `key`, from disk where it is there, else computed from `batches` and stored.

    batches: (images uint8, targets float32, weights float32) in the order of the split, `count` pictures in all.
    target_shape: of the targets of one picture, which decide with the features how much room is made.
    A view is written under a temporary name and renamed, so that a reader never sees half of one. Least recently
    used views are evicted above `limit_bytes`. Raises TrainingError where the folder cannot take the view.
    """
    place = _place(folder, key)
    needed = view_bytes(count, feature_shapes, key.dtype, target_shape)
    try:
        if not holds(folder, key):
            _evict(folder / "features", limit_bytes - needed, keep=key.prefix_digest)
            _write(place, key, count, feature_shapes, compute, batches)
        os.utime(place / KEY)
    except OSError as error:
        raise TrainingError(
            f"The feature cache '{folder}' cannot take {needed / 1e6:.0f} MB ({error.strerror or error}). "
            "Free some space, or name another folder with --cache-folder or KERAS_TRANSFER_CACHE; "
            "the run can be resumed."
        ) from error
    return _open(place, key, [(count, *shape) for shape in feature_shapes])


def holds(folder: Path, key: Key) -> bool:
    """Return whether the view of `key` is in the store already."""
    return (_place(folder, key) / KEY).exists()


def _place(folder: Path, key: Key) -> Path:
    return folder / "features" / key.name


def _write(
    place: Path,
    key: Key,
    count: int,
    feature_shapes: Shapes,
    compute: Compute,
    batches: Iterable[tuple[Any, Any, Any]],
) -> None:
    with aside(place.parent) as drafts:
        draft = drafts / place.name
        draft.mkdir()
        done = _write_arrays(draft, key, count, feature_shapes, compute, batches)
        if done != count:
            raise TrainingError(f"The {key.split} split gave {done} pictures where {count} were counted.")
        (draft / KEY).write_text(json.dumps({"version": VERSION, **asdict(key)}, indent=1))
        try:
            put(draft, place)
        except OSError:
            if not (place / KEY).exists():  # another run may have stored the same view meanwhile
                raise


def _write_arrays(
    draft: Path,
    key: Key,
    count: int,
    feature_shapes: Shapes,
    compute: Compute,
    batches: Iterable[tuple[Any, Any, Any]],
) -> int:
    """Write the arrays of a view batch by batch; how many pictures there were.

    Not into memory-mapped files: where a disk is full, or a quota is used up, those end the process by SIGBUS.
    """
    done = 0
    with ExitStack() as opened:
        arrays: list[tuple[BinaryIO, str]] = []
        for images, targets, weights in batches:
            parts = [*compute(images), np.asarray(targets), np.asarray(weights)]
            if not arrays:  # the shape of targets is the task's, and known from the first of them
                kinds = [key.dtype] * len(feature_shapes) + [str(part.dtype) for part in parts[-2:]]
                for name, part, kind in zip(_files(len(feature_shapes)), parts, kinds, strict=True):
                    file = opened.enter_context(open(draft / name, "wb"))
                    _begin(file, (count, *part.shape[1:]), kind)
                    arrays.append((file, kind))
            for (array, kind), part in zip(arrays, parts, strict=True):
                array.write(np.ascontiguousarray(part[: max(count - done, 0)], kind).data)
            done += len(parts[-1])
    return done


def _files(tensors: int) -> list[str]:
    return [*(f"features-{number}.npy" for number in range(tensors)), "targets.npy", "weights.npy"]


def _begin(file: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
    """Write the header of an array whose numbers follow."""
    kind = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})


def _open(place: Path, key: Key, shapes: Sequence[tuple[int, ...]]) -> View:
    try:
        stored = json.loads(read_text(place / KEY))
        *features, targets, weights = (np.load(place / name, mmap_mode="r") for name in _files(len(shapes)))
    except Exception as error:  # numpy's memory maps raise nearly every type on a broken file
        raise TrainingError(f"The stored features in '{place}' cannot be read ({error}): delete them.") from None
    if stored != {"version": VERSION, **asdict(key)}:
        raise TrainingError(f"The stored features in '{place}' are of other data or another version: delete them.")
    whole = [each.shape for each in features] == list(shapes) and {len(targets), len(weights)} == {shapes[0][0]}
    if not whole or any(each.dtype != key.dtype for each in features):
        raise TrainingError(f"The stored features in '{place}' are not whole: delete them.")
    return View(tuple(features), targets, np.array(weights))


def _evict(folder: Path, allowed_bytes: int, *, keep: str) -> None:
    """Delete least recently used views until `allowed_bytes` suffice; those of the prefix in use stay."""
    if not folder.exists():
        return
    used: list[tuple[float, Path, int]] = []
    for path in folder.glob(f"*/{KEY}"):
        with suppress(FileNotFoundError):  # another run evicts, too
            size = sum(file.stat().st_size for file in path.parent.iterdir())
            used.append((path.stat().st_mtime, path, size))
    total = sum(size for _, _, size in used)
    with aside(folder) as gone:
        for _, path, size in sorted(used):
            if total <= max(allowed_bytes, 0):
                return
            with suppress(FileNotFoundError, ValueError):
                if json.loads(path.read_text()).get("prefix_digest") != keep:
                    path.parent.rename(gone / path.parent.name)  # at once: half a view would stand in the way
                    total -= size
