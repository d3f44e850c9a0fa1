"""What a stage is fed: stored features of the frozen part where that pays, else the pictures themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.filesize import decimal

from keras_transfer.devices import prefetch, without_autotune
from keras_transfer.order import of_epoch
from keras_transfer.specs import Event, Feed, Listener, Stage, silent
from keras_transfer.training import costs, feature_store
from keras_transfer.training.feature_store import DEFAULT_LIMIT_BYTES, Key, View
from keras_transfer.training.freezing import Freeze
from keras_transfer.training.prefix import Prefix, build
from keras_transfer.training.resizing import resized

CHECK_PICTURES = 16


@dataclass(frozen=True)
class Settings:
    """What all stages of a run share."""

    image_size: int
    counts: Mapping[str, int]
    """Pictures per split."""
    batch_size: int = 32
    seed: int = 0
    data_digest: str = ""
    aspect: str = "stretch"
    engine: str = "auto"
    """Who computes frozen parts: a row of `prefix.ENGINES`, whose features are then stored; `stream` to store nothing;
    `auto` to take the fastest, and to store where that is cheaper (`costs.py`)."""
    store_dtype: str = "float16"
    cache_folder: Path = field(default_factory=feature_store.default_folder)
    cache_limit_bytes: int = DEFAULT_LIMIT_BYTES
    callbacks: tuple[keras.callbacks.Callback, ...] = ()


@dataclass(frozen=True)
class StageData:
    """The batches of one stage: (inputs, targets float32 (batch, classes), weights float32 (batch,))."""

    train: Callable[[int], Any]
    """Epoch number in, tf.data.Dataset out, shuffled as a function of (seed, epoch)."""
    validation: Callable[[], Any]
    steps: int
    """Batches per epoch."""
    cut: Any
    """KerasTensor that the inputs stand for; None where they are pictures."""
    train_shape: tuple[int, ...]
    """Of one training input, batch left out; that of validation is the network's own."""
    engine: str
    reason: str


def prepare(
    model: keras.Model, freeze: Freeze, stage: Stage, feed: Feed, settings: Settings, listener: Listener = silent
) -> StageData:
    """Return the batches of `stage`: features of what `freeze` leaves frozen, from the store, where that is cheaper
    than to compute it anew in each epoch; else pictures.

    model: the whole network.
    """
    cut, views = freeze.cut, min(stage.views, stage.epochs) if stage.augment != "none" else 1
    steps = -(-settings.counts["train"] // settings.batch_size)
    if cut is None:
        return _streamed(stage, feed, settings, steps, "the first block learns: there is no frozen part to store")
    if settings.engine == "stream":
        return _streamed(stage, feed, settings, steps, "streaming was asked for")
    frozen = keras.Model(model.input, cut)
    size = stage.image_size or settings.image_size

    def prefix_at(side: int) -> tuple[Prefix, str]:
        check = np.asarray(next(iter(feed("train", image_size=side, batch_size=CHECK_PICTURES)))[0])
        made = build(resized(frozen, (side, side, 3)), check=check, engine=settings.engine)
        return made, _safe_dtype(made, check, settings.store_dtype)

    prefix, dtype = prefix_at(size)
    whole = prefix if size == settings.image_size else prefix_at(settings.image_size)[0]
    needed = feature_store.size_bytes(
        settings.counts["train"], prefix.feature_shape, dtype, views=views
    ) + feature_store.size_bytes(settings.counts["validation"], whole.feature_shape, dtype)
    allowed = min(settings.cache_limit_bytes, _free_bytes(settings.cache_folder))
    if needed > allowed:
        reason = f"{decimal(needed)} of features do not fit the {decimal(allowed)} the cache may take"
        return _streamed(stage, feed, settings, steps, reason)
    one = feature_store.size_bytes(1, prefix.feature_shape, dtype)
    share = costs.store_share(freeze.prefix_work, one, engine=prefix.engine, views=views, epochs=stage.epochs)
    if share > 1 and settings.engine == "auto":
        reason = f"{decimal(one)} of features per picture cost {share:.1f} times as much as computing them anew"
        return _streamed(stage, feed, settings, steps, reason)

    def view(split: str, prefix: Prefix, side: int, number: int, augment: str) -> View:
        key = Key(
            data_digest=settings.data_digest,
            prefix_digest=prefix.digest,
            engine=prefix.engine,
            split=split,
            image_size=side,
            aspect=settings.aspect,
            augment=augment,
            view=number,
            seed=settings.seed,
            dtype=dtype,
        )
        batches = feed(split, image_size=side, batch_size=settings.batch_size, augment=augment, epoch=number)
        return feature_store.obtain(
            settings.cache_folder,
            key,
            count=settings.counts[split],
            feature_shape=prefix.feature_shape,
            compute=prefix.compute,
            batches=_told(batches, f"features of {split}, view {number + 1}", settings.counts[split], listener),
            limit_bytes=settings.cache_limit_bytes,
        )

    stored = [view("train", prefix, size, number, stage.augment) for number in range(views)]
    validation = _in_order(view("validation", whole, settings.image_size, 0, "none"), settings.batch_size)
    return StageData(
        train=lambda epoch: shuffled(stored, settings.batch_size, settings.seed, epoch),
        validation=lambda: validation,
        steps=steps,
        cut=cut,
        train_shape=prefix.feature_shape,
        engine=prefix.engine,
        reason=f"{decimal(needed)} of features stored once, {share:.0%} of the cost of streaming; {prefix.reason}",
    )


def _streamed(stage: Stage, feed: Feed, settings: Settings, steps: int, reason: str) -> StageData:
    size, batch = stage.image_size or settings.image_size, settings.batch_size
    return StageData(
        train=lambda epoch: feed(
            "train", image_size=size, batch_size=batch, augment=stage.augment, epoch=epoch, shuffle=True
        ),
        validation=lambda: feed("validation", image_size=settings.image_size, batch_size=batch),
        steps=steps,
        cut=None,
        train_shape=(size, size, 3),
        engine="none",
        reason=reason,
    )


def shuffled(views: list[View], batch_size: int, seed: int, epoch: int) -> Any:
    """Return batches of each picture in a new order, from the next of its views: after as many epochs as views, each
    view was seen once."""
    count = len(views[0].features)
    order = of_epoch(count, seed=seed, epoch=epoch)
    first_view = np.random.default_rng(seed).integers(len(views), size=count)

    def gather(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = (first_view[rows] + epoch) % len(views)
        parts = [np.empty((len(rows), *part.shape[1:]), part.dtype) for part in _arrays(views[0])]
        for number, view in enumerate(views):
            here = chosen == number
            for part, array in zip(parts, _arrays(view), strict=True):
                part[here] = array[rows[here]]
        return parts[0], parts[1], parts[2]

    return _batches(order, gather, views[0], batch_size)


def _in_order(view: View, batch_size: int) -> Any:
    def gather(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return view.features[rows], view.targets[rows], view.weights[rows]

    return _batches(np.arange(len(view.features)), gather, view, max(batch_size, 128))


def _batches(order: np.ndarray, gather: Callable[..., Any], like: View, batch_size: int) -> Any:
    def read(rows: Any) -> tuple[Any, ...]:
        dtypes = [array.dtype for array in _arrays(like)]
        parts = tf.numpy_function(gather, [rows], dtypes, stateful=False)
        for part, array in zip(parts, _arrays(like), strict=True):
            part.set_shape((None, *array.shape[1:]))
        return tuple(parts)

    dataset = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).map(read)
    return prefetch(without_autotune(dataset))


def _arrays(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return view.features, view.targets, view.weights


def _safe_dtype(prefix: Prefix, check: np.ndarray, wanted: str) -> str:
    """Half precision ends at 65,504: features anywhere near that are stored whole."""
    return "float32" if wanted == "float16" and np.abs(prefix.compute(check)).max(initial=0) > 8_000 else wanted


def _free_bytes(folder: Path) -> int:
    existing = next(parent for parent in [folder, *folder.parents] if parent.exists())
    return int(shutil.disk_usage(existing).free * 0.8)


def _told(batches: Any, message: str, total: int, listener: Listener) -> Any:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch[0])
        listener(Event("progress", message, done=done, total=total))
