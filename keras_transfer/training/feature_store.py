"""Features of the frozen part on disk: computed once per view, shared between stages and runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.errors import TrainingError
from keras_transfer.training.prefix import Compute

DEFAULT_LIMIT_BYTES = 20 * 1024**3
VERSION = 1


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

    @property
    def name(self) -> str:
        """The folder of this view."""
        text = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class View:
    """One stored view of a split, in the order of the split, memory-mapped."""

    features: np.ndarray
    """(n, …) in the store's dtype."""
    targets: np.ndarray
    """float32 (n, classes)."""
    weights: np.ndarray
    """float32 (n,)."""


def default_folder() -> Path:
    """Return where features are kept: `$KERAS_TRANSFER_CACHE`, else the user's cache folder."""
    base = os.environ.get("KERAS_TRANSFER_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "keras_transfer"


def size_bytes(count: int, feature_shape: tuple[int, ...], dtype: str, *, views: int = 1) -> int:
    """Return the bytes that `views` views of `count` pictures take."""
    return views * count * int(np.prod(feature_shape)) * np.dtype(dtype).itemsize


def obtain(
    folder: Path,
    key: Key,
    *,
    count: int,
    feature_shape: tuple[int, ...],
    compute: Compute,
    batches: Iterable[tuple[Any, Any, Any]],
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> View:
    """Return the view of `key`, from disk where it is there, else computed from `batches` and stored.

    batches: (images uint8, targets float32, weights float32) in the order of the split, `count` pictures in all.
    A view is written under a temporary name and renamed, so that a reader never sees half of one. Least recently
    used views are evicted above `limit_bytes`. Raises TrainingError where the folder cannot take the view.
    """
    place = folder / "features" / key.name
    if not (place / "key.json").exists():
        needed = size_bytes(count, feature_shape, key.dtype)
        try:
            _evict(folder / "features", limit_bytes - needed, keep=key.prefix_digest)
            _write(place, key, count, feature_shape, compute, batches)
        except OSError as error:
            raise TrainingError(
                f"The feature cache '{folder}' cannot take {needed / 1e6:.0f} MB ({error.strerror or error}). "
                "Free some space, or name another folder with --cache-folder or KERAS_TRANSFER_CACHE; "
                "the run can be resumed."
            ) from error
    os.utime(place / "key.json")
    return _open(place, key)


def _write(
    place: Path,
    key: Key,
    count: int,
    feature_shape: tuple[int, ...],
    compute: Compute,
    batches: Iterable[tuple[Any, Any, Any]],
) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{key.name}-"))
    try:
        features = np.lib.format.open_memmap(
            draft / "features.npy", mode="w+", dtype=key.dtype, shape=(count, *feature_shape)
        )
        targets, weights, done = [], [], 0
        for images, target, weight in batches:
            batch = compute(np.asarray(images))
            features[done : done + len(batch)] = batch
            targets.append(np.asarray(target))
            weights.append(np.asarray(weight))
            done += len(batch)
        if done != count:
            raise TrainingError(f"The {key.split} split gave {done} pictures where {count} were counted.")
        features.flush()
        np.save(draft / "targets.npy", np.concatenate(targets))
        np.save(draft / "weights.npy", np.concatenate(weights))
        (draft / "key.json").write_text(json.dumps({"version": VERSION, **asdict(key)}, indent=1))
        try:
            draft.rename(place)
        except OSError:
            if not (place / "key.json").exists():  # another run may have stored the same view meanwhile
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _open(place: Path, key: Key) -> View:
    stored = json.loads((place / "key.json").read_text())
    if stored != {"version": VERSION, **asdict(key)}:
        raise TrainingError(f"The stored features in '{place}' are of other data or another version: delete them.")
    return View(
        features=np.load(place / "features.npy", mmap_mode="r"),
        targets=np.load(place / "targets.npy"),
        weights=np.load(place / "weights.npy"),
    )


def _evict(folder: Path, allowed_bytes: int, *, keep: str) -> None:
    """Delete least recently used views until `allowed_bytes` suffice; those of the prefix in use stay."""
    views = sorted(folder.glob("*/key.json"), key=lambda path: path.stat().st_mtime) if folder.exists() else []
    sizes = {path: sum(file.stat().st_size for file in path.parent.iterdir()) for path in views}
    total = sum(sizes.values())
    for path in views:
        if total <= max(allowed_bytes, 0):
            return
        if json.loads(path.read_text()).get("prefix_digest") != keep:
            total -= sizes[path]
            shutil.rmtree(path.parent, ignore_errors=True)
