"""Makes batches of a data set's splits, at the speed of the machine, the same ones for the same seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from keras_transfer import devices
from keras_transfer.calling import numpy_function
from keras_transfer.data import augment as augmentation
from keras_transfer.data import reading, remote, varied
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.reading import PARALLEL, Drawn
from keras_transfer.errors import DataError, UsageError, unknown
from keras_transfer.order import BALANCES, NOTHING, WHOLE, Share, of_epoch
from keras_transfer.specs import Event, Listener, Split, Splits, sample_shape, silent

CACHED_SHARE = 0.5
"""Of the memory that is free when a feed is made, the share that it may fill with decoded pictures."""

ASPECTS = ("stretch", "crop", "letterbox")

_TOLD: set[str] = set()
"""Devices that were said to be no accelerator: once in a process, however many feeds it makes."""


@dataclass(frozen=True)
class FeedOptions:
    """How a feed makes its batches."""

    aspect: str = "stretch"
    seed: int = 0
    device: str | None = None
    cache_bytes: int = 0
    balance: str = "none"
    strict: bool = False
    service: str | None = None


def make_feed(
    splits: Splits,
    *,
    aspect: str = "stretch",
    seed: int = 0,
    device: str | None = None,
    cache_bytes: int | None = None,
    balance: str = "none",
    strict: bool = False,
    service: str | None = None,
    listener: Listener = silent,
) -> PictureFeed:
    """Return a `Feed`: a split's name in, a tf.data.Dataset of (images, targets, weights) out.

    >>> from keras_transfer.data.sources import load
    >>> feed = make_feed(load("sample:fashion"))
    >>> images, targets, weights = next(iter(feed("train", image_size=32, batch_size=8)))
    >>> images.shape, targets.shape, weights.shape
    (TensorShape([8, 32, 32, 3]), TensorShape([8, 10]), TensorShape([8]))

    aspect: `stretch`, `crop` or `letterbox`; device: where batches are put ahead of time, the best one if None;
    cache_bytes: the most that decoded pictures may fill, half of the free memory if None, 0 to keep none;
    balance: of the training split, `none`, `weights`, or, when it is shuffled, `resample` or `pairs`;
    strict: a broken picture raises DataError, where otherwise it is named and weighs nothing;
    service: address of a tf.data service (`grpc://host:port`) that decodes what is shuffled. It reads JPEG alone, by
    the same paths as here; other pictures are then decoded here.
    """
    for kind, received, known in (("aspect", aspect, ASPECTS), ("balance", balance, BALANCES)):
        if received not in known:
            raise UsageError(unknown(kind, received, known))
    annotation = ANNOTATIONS[splits.annotation]
    if (balance in ("resample", "pairs") and not annotation.resamples) or (
        balance == "weights" and annotation.weights is None
    ):
        instead = "balance=weights" if annotation.weights else "balance=none"
        raise UsageError(f"balance={balance} is not possible with {annotation.meaning}. Use {instead}.")
    if cache_bytes is None:
        cache_bytes = int(CACHED_SHARE * psutil.virtual_memory().available)
    device = device or devices.best_device()
    return PictureFeed(splits, FeedOptions(aspect, seed, device, cache_bytes, balance, strict, service), listener)


def tell_device(device: str | None, listener: Listener) -> None:
    """Say, once in a process, where batches are not copied ahead because there is nothing to copy them to."""
    if device and "CPU" in device.upper() and device not in _TOLD:
        _TOLD.add(device)
        listener(Event("note", f"{device} is no accelerator: batches are made ahead but copied nowhere."))


@dataclass(eq=False)
class Cache:
    """The decoded pictures of one split at one size, as they come in."""

    pictures: np.ndarray
    """uint8 (n, size, size, 3), or with frames before; a page of memory is taken when it is first written."""
    there: np.ndarray
    """bool (n,): which rows have come in."""
    readable: np.ndarray
    """bool (n,): which rows are pictures; broken ones are black and weigh nothing."""

    def keep(self, rows: np.ndarray, images: np.ndarray, readable: np.ndarray) -> None:
        """Take in a batch."""
        self.pictures[rows], self.readable[rows] = images, readable
        self.there[rows] = True

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give a batch."""
        return self.pictures[rows], self.readable[rows]


class PictureFeed:
    """Batches of a data set: see `Feed` for the call, `make_feed` for the options."""

    def __init__(self, splits: Splits, options: FeedOptions, listener: Listener):
        self.splits = splits
        self.options = options
        self.unreadable: dict[str, str] = {}
        """Broken pictures met so far: key, and what is wrong with it."""
        self._listener = listener
        self._caches: dict[tuple[str, int], Cache] = {}
        self._proven: set[str] = set()
        self._annotation = ANNOTATIONS[splits.annotation]
        self._targets = self._annotation.targets
        if self._annotation.targets_of:
            self._targets = self._annotation.targets_of(np.concatenate([splits[name].labels for name in splits.counts]))
        self._weights = {name: self._weights_of(splits[name]) for name in splits.counts}

    def __call__(
        self,
        split: str,
        *,
        image_size: int,
        batch_size: int,
        augment: str = "none",
        epoch: int = 0,
        shuffle: bool = False,
        share: Share = WHOLE,
    ) -> Any:
        """Return a tf.data.Dataset of (images, targets, weights), as `Feed` says."""
        part = self.splits[split]
        policy = augmentation.policy(augment, self._annotation)
        policy = augmentation.of_clips(policy, self.splits.frames) if self.splits.frames else policy
        shape = sample_shape(self.splits.frames, image_size)
        order = self._order(part, epoch) if shuffle else np.arange(len(part))
        if self.options.strict and split not in self._proven:
            self._prove(part, image_size, batch_size)
        frames = self.splits.frames
        moments = augmentation.moments(augment, self.options.seed, epoch, len(part), frames) if frames else None
        noise_of = partial(augmentation.noise_at, self.options.seed, epoch)
        if augmentation.parted(augment)[1]:
            mine, size = share.of(order, batch_size), share.size(batch_size)
            pictures = self._varied(part, mine, image_size, size, noise_of)
        else:
            pictures = self._pictures(
                part, order, image_size, batch_size, shuffle=shuffle, moments=moments, share=share
            )
        targets_of, weights_of = self._targets_of(part, image_size), self._weights[split]

        def finish(rows: Any, images: Any, readable: Any) -> tuple[Any, Any, Any]:
            if share != WHOLE:  # what stands for no picture weighs nothing
                readable &= rows != NOTHING
                rows = tf.where(rows == NOTHING, tf.cast(len(part) - 1, rows.dtype), rows)
            targets = targets_of(rows)
            weights = tf.gather(weights_of, rows) * tf.cast(readable, tf.float32)
            if augment != "none":
                noise = tf.ensure_shape(numpy_function(noise_of, [rows], tf.float32), (None, augmentation.NOISE))
                images, targets = policy(images, targets, noise)
            return tf.ensure_shape(images, (None, *shape)), targets, weights

        finished = pictures.map(tf.autograph.experimental.do_not_convert(finish), num_parallel_calls=PARALLEL)
        batches = -(-len(part) // batch_size)
        counted = finished.apply(tf.data.experimental.assert_cardinality(batches))
        return devices.prefetch(devices.without_autotune(counted), self.options.device)

    def _order(self, part: Split, epoch: int) -> np.ndarray:
        balance = self.options.balance if part.name == "train" else "none"
        return of_epoch(len(part), seed=self.options.seed, epoch=epoch, labels=part.labels, balance=balance)

    def _pictures(
        self,
        part: Split,
        order: np.ndarray,
        size: int,
        batch_size: int,
        *,
        shuffle: bool,
        moments: np.ndarray | None = None,
        share: Share = WHOLE,
    ) -> Any:
        # The frames of other moments are others every time: there is nothing to keep.
        cache, aspect = self._cache(part, size) if moments is None else None, self.options.aspect
        if callable(part.pictures) and cache is not None and shuffle and not cache.there.all():
            self._run_through(part, size, batch_size)  # a stream has no other way to a shuffle of the whole
        mine, of_batch = share.of(order, batch_size), share.size(batch_size)
        if cache is not None and cache.there.all():
            return _from_cache(cache, mine, of_batch)
        if callable(part.pictures):
            seed, times = int(order[0]) if shuffle else None, np.bincount(order, minlength=len(part))
            stream = reading.from_stream(part.pictures, size, aspect, batch_size, seed=seed, times=times, share=share)
            return self._noted(part, stream, cache)
        read: Any = reading.from_files if part.pictures.dtype.kind == "U" else reading.from_array
        if self.splits.frames:
            read = partial(reading.from_clips, frames=self.splits.frames, moments=moments)
        if shuffle and self.options.service and read is reading.from_files:
            read = partial(remote.from_service, service=self.options.service)
        return self._noted(part, read(part.pictures, mine, size, aspect, of_batch), cache)

    def _varied(self, part: Split, order: np.ndarray, size: int, batch_size: int, noise_of: Drawn) -> Any:
        """The pictures read in other ways than always: they are kept nowhere, for the next epoch reads them anew."""
        if self.splits.frames or callable(part.pictures):
            these = "clips" if self.splits.frames else "shards or a stream"
            raise UsageError(
                f"Augmentation with '{augmentation.CLIENTS}' reads picture files in other ways, and these are {these}. "
                f"Leave '{augmentation.CLIENTS}' out."
            )
        read = reading.from_files if part.pictures.dtype.kind == "U" else reading.from_array

        def drawn(rows: np.ndarray) -> np.ndarray:
            return noise_of(np.where(rows == NOTHING, len(part) - 1, rows))[:, -varied.NUMBERS :]

        pictures = read(part.pictures, order, size, self.options.aspect, batch_size, drawn)
        return self._noted(part, pictures, None)

    def _noted(self, part: Split, pictures: Any, cache: Cache | None) -> Any:
        shape = pictures.element_spec[1].shape[1:]

        def note(rows: np.ndarray, problems: np.ndarray) -> np.ndarray:
            for row, problem in zip(rows, problems, strict=True):
                if problem and part.keys[row] not in self.unreadable:
                    self.unreadable[part.keys[row]] = problem.decode()
                    self._listener(Event("warning", f"Left out {part.keys[row]}, which {problem.decode()}"))
            return problems == b""

        def keep(rows: np.ndarray, images: np.ndarray, readable: np.ndarray) -> np.ndarray:
            assert cache is not None
            there = rows != NOTHING
            cache.keep(*((rows, images, readable) if there.all() else (rows[there], images[there], readable[there])))
            return readable

        def noted(rows: Any, images: Any, problems: Any) -> tuple[Any, Any, Any]:
            fine = problems == ""
            readable = tf.cond(
                tf.reduce_all(fine), lambda: fine, lambda: numpy_function(note, [rows, problems], tf.bool)
            )
            if cache is not None:
                readable = numpy_function(keep, [rows, images, readable], tf.bool)
            return rows, tf.ensure_shape(images, (None, *shape)), tf.ensure_shape(readable, (None,))

        return pictures.map(tf.autograph.experimental.do_not_convert(noted))

    def _prove(self, part: Split, size: int, batch_size: int) -> None:
        self._run_through(part, size, batch_size)
        keys = set(part.keys)
        broken = {key: why for key, why in self.unreadable.items() if key in keys}
        if broken:
            key, why = next(iter(broken.items()))
            raise DataError(f"{len(broken)} of {len(part)} {part.name} pictures cannot be used: {key} {why}.")
        self._proven.add(part.name)

    def _run_through(self, part: Split, size: int, batch_size: int) -> None:
        batches = -(-len(part) // batch_size)
        pictures = self._pictures(part, np.arange(len(part)), size, batch_size, shuffle=False)
        for done, _ in enumerate(devices.without_autotune(pictures), start=1):
            self._listener(Event("progress", "Decoding pictures", done=done, total=batches))

    def _cache(self, part: Split, size: int) -> Cache | None:
        place = (part.name, size)
        if place not in self._caches:
            shape = (len(part), *sample_shape(self.splits.frames, size))
            needed, limit = math.prod(shape), self.options.cache_bytes
            others = [each for each in self._caches if each[1] != size]
            while others and self._cached_bytes() + needed > limit:
                del self._caches[others.pop(0)]
            if self._cached_bytes() + needed > limit:
                return None
            self._caches[place] = Cache(np.empty(shape, np.uint8), np.zeros(shape[0], bool), np.ones(shape[0], bool))
        return self._caches[place]

    def _cached_bytes(self) -> int:
        return sum(cache.pictures.nbytes for cache in self._caches.values())

    def _targets_of(self, part: Split, size: int) -> Callable[[Any], Any]:
        """Return what makes targets of rows, a batch at a time: those of all pictures at once may fill the memory."""
        classes, aspect = len(self.splits.class_names), self.options.aspect

        def of_rows(rows: np.ndarray) -> np.ndarray:
            return self._targets(part.labels[rows], classes, size, aspect)

        shape = of_rows(np.arange(0)).shape[1:]
        return lambda rows: tf.ensure_shape(numpy_function(of_rows, [rows], tf.float32), (None, *shape))

    def _weights_of(self, part: Split) -> Any:
        weights = np.ones(len(part), np.float32) if part.weights is None else part.weights
        if self.options.balance == "weights" and part.name == "train":
            assert self._annotation.weights is not None
            weights = weights * self._annotation.weights(part.labels)
        return tf.constant(weights, tf.float32)


def _from_cache(cache: Cache, order: np.ndarray, batch_size: int) -> Any:
    def taken(rows: Any) -> tuple[Any, Any, Any]:
        images, readable = numpy_function(cache.take, [rows], (tf.uint8, tf.bool))
        shape = (None, *cache.pictures.shape[1:])
        return rows, tf.ensure_shape(images, shape), tf.ensure_shape(readable, (None,))

    rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
    return rows.map(tf.autograph.experimental.do_not_convert(taken))
