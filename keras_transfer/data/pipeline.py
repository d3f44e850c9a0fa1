"""Makes batches of a data set's splits, at the speed of the machine, the same ones for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from keras_transfer import devices
from keras_transfer.data import augment as augmentation
from keras_transfer.data.decoding import decoded, squared, upright_rgb
from keras_transfer.errors import DataError, UsageError, unknown
from keras_transfer.specs import Event, Listener, Split, Splits, silent

PARALLEL = max(2, tf.config.threading.get_inter_op_parallelism_threads() or len(psutil.Process().cpu_affinity() or []))
"""Pictures decoded at the same time; explicit, because the autotuner stays off."""

CACHED_SHARE = 0.5
"""Of the memory that is free when a feed is made, the share that it may fill with decoded pictures."""


def make_feed(
    splits: Splits,
    *,
    aspect: str = "stretch",
    seed: int = 0,
    device: str | None = None,
    cache_bytes: int | None = None,
    listener: Listener = silent,
) -> PictureFeed:
    """Return a `Feed`: a split's name in, a tf.data.Dataset of (images, targets, weights) out.

    >>> from keras_transfer.data.sources import load
    >>> feed = make_feed(load("sample:fashion"))
    >>> images, targets, weights = next(iter(feed("train", image_size=32, batch_size=8)))
    >>> images.shape, targets.shape, weights.shape
    (TensorShape([8, 32, 32, 3]), TensorShape([8, 10]), TensorShape([8]))

    aspect: `stretch`, `crop` or `letterbox`; device: where batches are put ahead of time, the best one if None;
    cache_bytes: the most that decoded pictures may fill, half of the free memory if None, 0 to keep none.
    """
    if aspect not in ("stretch", "crop", "letterbox"):
        raise UsageError(unknown("aspect", aspect, ("stretch", "crop", "letterbox")))
    if cache_bytes is None:
        cache_bytes = int(CACHED_SHARE * psutil.virtual_memory().available)
    return PictureFeed(splits, aspect=aspect, seed=seed, device=device, cache_bytes=cache_bytes, listener=listener)


def read_pictures(paths: Sequence[Path], *, image_size: int, aspect: str) -> np.ndarray:
    """Return picture files as a model takes them: uint8 (n, image_size, image_size, 3).

    Raises DataError that names the first file which cannot be read.
    """
    names = [str(path) for path in paths]
    pictures = np.empty((len(names), image_size, image_size, 3), np.uint8)
    for rows, images, readable in _from_files(np.array(names, dtype=str), np.arange(len(names)), image_size, aspect):
        _no_broken(names, rows[~readable.numpy()])
        pictures[rows] = images
    return pictures


def _no_broken(names: Sequence[str], rows: Any) -> None:
    for row in np.asarray(rows):
        raise DataError(f"'{names[row]}' {reason(Path(names[row]))}.")


def reason(path: Path) -> str:
    """Return why a picture that could not be decoded is broken, in a person's words."""
    try:
        upright_rgb(path.read_bytes())
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except DataError as error:
        return str(error)
    return "is damaged"


@dataclass(eq=False)
class Cache:
    """The decoded pictures of one split at one size, as they come in."""

    pictures: np.ndarray
    """uint8 (n, size, size, 3); a page of memory is taken when it is first written."""
    there: np.ndarray
    """bool (n,): which rows have come in."""
    readable: np.ndarray
    """bool (n,): which rows are pictures; broken ones are black and weigh nothing."""

    def keep(self, rows: np.ndarray, images: np.ndarray, readable: np.ndarray) -> None:
        """Take in a batch."""
        self.pictures[rows], self.readable[rows] = images, readable
        self.there[rows] = True


class PictureFeed:
    """Batches of a data set: see `Feed` for the call, `make_feed` for the options."""

    def __init__(
        self, splits: Splits, *, aspect: str, seed: int, device: str | None, cache_bytes: int, listener: Listener
    ):
        self.splits = splits
        self.aspect = aspect
        self.seed = seed
        self.device = device
        self.cache_bytes = cache_bytes
        self.unreadable: dict[str, str] = {}
        """Broken pictures met so far: key, and what is wrong with it."""
        self._listener = listener
        self._caches: dict[tuple[str, int], Cache] = {}
        self._tensors = {name: self._targets_and_weights(splits[name]) for name in splits.counts}

    def __call__(
        self,
        split: str,
        *,
        image_size: int,
        batch_size: int,
        augment: str = "none",
        epoch: int = 0,
        shuffle: bool = False,
    ) -> Any:
        """Return a tf.data.Dataset of (images, targets, weights), as `Feed` says."""
        part = self.splits[split]
        policy = augmentation.policy(augment)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(part)) if shuffle else np.arange(len(part))
        pictures = self._pictures(part, order, image_size, batch_size)
        targets_of, weights_of = self._tensors[split]

        @tf.autograph.experimental.do_not_convert
        def finish(rows: Any, images: Any, readable: Any) -> tuple[Any, Any, Any]:
            targets = tf.gather(targets_of, rows)
            weights = tf.gather(weights_of, rows) * tf.cast(readable, tf.float32)
            images, targets = policy(images, targets, lambda: augmentation.noise(self.seed, epoch, rows))
            return images, targets, weights

        batches = devices.without_autotune(pictures.map(finish, num_parallel_calls=PARALLEL))
        return devices.prefetch(batches.apply(_counted(len(part), batch_size)), self.device)

    def _pictures(self, part: Split, order: np.ndarray, size: int, batch_size: int) -> Any:
        cache = self._cache(part, size)
        if cache is not None and cache.there.all():
            return _from_cache(cache, order, size, batch_size)
        if not isinstance(part.pictures, np.ndarray):
            raise UsageError(f"Pictures of {self.splits.source} cannot be read.")
        read = _from_files if part.pictures.dtype.kind == "U" else _from_array
        return self._noted(part, read(part.pictures, order, size, self.aspect, batch_size), cache)

    def _noted(self, part: Split, pictures: Any, cache: Cache | None) -> Any:
        def note(rows: np.ndarray, images: np.ndarray, readable: np.ndarray) -> np.ndarray:
            for row in rows[~readable]:
                self._note_broken(part, row)
            if cache is not None:
                cache.keep(rows, images, readable)
            return readable

        @tf.autograph.experimental.do_not_convert
        def noted(rows: Any, images: Any, readable: Any) -> tuple[Any, Any, Any]:
            same = tf.numpy_function(note, [rows, images, readable], tf.bool)
            return rows, images, tf.ensure_shape(same, (None,))

        return pictures.map(noted)

    def _note_broken(self, part: Split, row: int) -> None:
        key = part.keys[row]
        if key not in self.unreadable:
            self.unreadable[key] = reason(Path(part.pictures[row]))
            self._listener(Event("warning", f"Left out {key}, which {self.unreadable[key]}"))

    def _cache(self, part: Split, size: int) -> Cache | None:
        place = (part.name, size)
        if place not in self._caches:
            n, needed = len(part), len(part) * size * size * 3
            others = [each for each in self._caches if each[1] != size]
            while others and self._cached_bytes() + needed > self.cache_bytes:
                del self._caches[others.pop(0)]
            if self._cached_bytes() + needed > self.cache_bytes:
                return None
            self._caches[place] = Cache(np.empty((n, size, size, 3), np.uint8), np.zeros(n, bool), np.ones(n, bool))
        return self._caches[place]

    def _cached_bytes(self) -> int:
        return sum(cache.pictures.nbytes for cache in self._caches.values())

    def _targets_and_weights(self, part: Split) -> tuple[Any, Any]:
        targets = np.eye(len(self.splits.class_names), dtype=np.float32)[part.labels]
        weights = np.ones(len(part), np.float32) if part.weights is None else part.weights
        return tf.constant(targets), tf.constant(weights, tf.float32)


def _counted(pictures: int, batch_size: int) -> Any:
    batches = -(-pictures // batch_size)
    return lambda dataset: dataset.apply(tf.data.experimental.assert_cardinality(batches))


def _from_cache(cache: Cache, order: np.ndarray, size: int, batch_size: int) -> Any:
    def take(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return cache.pictures[rows], cache.readable[rows]

    @tf.autograph.experimental.do_not_convert
    def taken(rows: Any) -> tuple[Any, Any, Any]:
        images, readable = tf.numpy_function(take, [rows], (tf.uint8, tf.bool))
        return rows, tf.ensure_shape(images, (None, size, size, 3)), tf.ensure_shape(readable, (None,))

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(taken)


def _from_array(pictures: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int = 32) -> Any:
    def take(rows: np.ndarray) -> np.ndarray:
        return pictures[rows]

    @tf.autograph.experimental.do_not_convert
    def taken(rows: Any) -> tuple[Any, Any, Any]:
        images = tf.ensure_shape(tf.numpy_function(take, [rows], tf.uint8), (None, *pictures.shape[1:]))
        return rows, tf.ensure_shape(squared(images, size, aspect), (None, size, size, 3)), tf.ones_like(rows, tf.bool)

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(taken, num_parallel_calls=PARALLEL)


def _from_files(paths: np.ndarray, order: np.ndarray, size: int, aspect: str, batch_size: int = 32) -> Any:
    @tf.autograph.experimental.do_not_convert
    def read(row: Any, path: Any) -> tuple[Any, Any, Any]:
        return row, decoded(tf.io.read_file(path), size, aspect), True

    @tf.autograph.experimental.do_not_convert
    def blank(row: Any) -> tuple[Any, Any, Any]:
        return row, tf.zeros((size, size, 3), tf.uint8), False

    @tf.autograph.experimental.do_not_convert
    def read_or_blank(row: Any, path: Any) -> Any:
        # An error ends a tf.data pipeline, so each picture is a little pipeline of its own with a black picture
        # behind it: broken files keep their place, and the rows stay those of the labels.
        picture = tf.data.Dataset.from_tensors((row, path)).map(read).ignore_errors(log_warning=False)
        return picture.concatenate(tf.data.Dataset.from_tensors(row).map(blank)).take(1)

    return (
        tf.data.Dataset.from_tensor_slices((order, paths[order]))
        .interleave(read_or_blank, cycle_length=2 * PARALLEL, num_parallel_calls=PARALLEL, deterministic=True)
        .batch(batch_size)
    )
