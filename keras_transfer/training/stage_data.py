"""What a stage is fed: stored features of the frozen part where that pays, else the pictures themselves."""

from __future__ import annotations

import functools
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.filesize import decimal

from keras_transfer.calling import numpy_function
from keras_transfer.devices import prefetch, without_autotune
from keras_transfer.order import NOTHING, WHOLE, Share, of_epoch
from keras_transfer.specs import Event, Feed, Listener, Network, Stage, Value
from keras_transfer.training import among_workers, costs, feature_store
from keras_transfer.training.feature_store import Key, View
from keras_transfer.training.freezing import Freeze
from keras_transfer.training.job import Job, Settings
from keras_transfer.training.prefix import Compute, Prefix, build
from keras_transfer.training.resizing import resized

CHECK_PICTURES = 16
STREAMED = "none"
"""The engine of a stage that stores nothing."""

TOGETHER = 16
"""Batches that come at once where the head alone learns: its steps cost less than the calls of them from Python."""

TOGETHER_BYTES = 8 << 20
"""Of features that come at once."""

FOR_VIEWS = 0.6
"""Share of a stage's time, where it has one, by whose end no other view is begun."""

Prefixes = Callable[[int], Prefix]
"""The frozen part, ready for pictures of that side."""


class Way(Value):
    """How a stage comes by its inputs: decided once, when it begins, because a disk that features fill says later that
    they do not fit."""

    engine: str
    """Who computes the frozen part, a row of `prefix.ENGINES`; `STREAMED` where pictures are the inputs."""
    reason: str
    dtype: str = "float32"
    """Of the features in the store."""
    views: int = 1


class Look(Value):
    """One view of one split that a stage takes from the store."""

    split: str
    side: int
    """Of its pictures, in pixels."""
    augment: str
    number: int


@dataclass(frozen=True)
class StageData:
    """The batches of one stage: (inputs, targets float32 (batch, …), weights float32 (batch,)).

    Inputs are pictures, or a tuple with an array for each tensor of the cut. Where several workers learn, a batch holds
    this one's share of the batch of all.
    """

    train: Callable[..., Any]
    """Epoch number in, tf.data.Dataset out, shuffled as a function of (seed, epoch); with a second number up to
    `together`, so many batches lie one behind the other in each element."""
    validation: Callable[[], Any]
    steps: int
    """Batches per epoch."""
    cut: tuple[Any, ...]
    """KerasTensors that the inputs stand for; none where they are pictures."""
    train_shapes: tuple[tuple[int, ...], ...]
    """Of the inputs of one training picture; those of validation are the network's own."""
    train_targets: tuple[int, ...]
    """Shape of the targets of one training picture: masks are as small as their pictures, mosaics have more boxes."""
    engine: str
    reason: str
    views: int = 1
    """Of each training picture, as many as the stage's time allowed."""
    together: int = 1
    """Batches that may come at once."""


def prefixes(job: Job, freeze: Freeze, engine: str) -> Prefixes:
    """Return what makes the frozen part ready on `engine`, once for each side of pictures that is asked for."""

    @functools.cache
    def ready(side: int) -> Prefix:
        frozen = keras.Model(job.network.model.input, list(freeze.cut))
        check = np.asarray(next(iter(job.feed("train", image_size=side, batch_size=CHECK_PICTURES)))[0])
        return build(resized(frozen, [_shape(job.network, side)]), check=check, engine=engine)

    return ready


def decide(job: Job, stage: Stage, freeze: Freeze, ready: Prefixes) -> Way:
    """Return how `stage` comes by its inputs: from the store where that is cheaper than to compute what `freeze` leaves
    frozen anew in each epoch, and where it fits."""
    settings = job.settings
    if not freeze.cut:
        return Way(engine=STREAMED, reason="the first block learns: there is no frozen part to store")
    if settings.engine == "stream":
        return Way(engine=STREAMED, reason="streaming was asked for")
    passes = max(stage.epochs, stage.views) if stage.solved else stage.epochs
    views = min(stage.views, passes) if stage.augment != "none" else 1
    prefix, whole = ready(stage.image_size or settings.image_size), ready(settings.image_size)
    dtype = _safe_dtype(prefix, settings.store_dtype)
    needed = _needed_bytes(job, stage, prefix, whole, dtype, views)
    allowed = min(settings.cache_limit_bytes, _free_bytes(settings.cache_folder))
    if needed > allowed:
        reason = f"{decimal(needed)} of features and targets do not fit the {decimal(allowed)} the cache may take"
        return Way(engine=STREAMED, reason=reason)
    one = feature_store.size_bytes(1, prefix.feature_shapes, dtype)
    work = freeze.prefix_work * math.prod(job.network.model.input.shape[1:-3])  # of all frames, where it is a clip
    share = costs.store_share(work, one, engine=prefix.engine, views=views, epochs=passes)
    if share > 1 and settings.engine == "auto":
        reason = f"{decimal(one)} of features per picture cost {share:.1f} times as much as computing them anew"
        return Way(engine=STREAMED, reason=reason)
    stored = f"{decimal(needed)} of features and targets stored once"
    reason = f"{stored}, {share:.0%} of the cost of streaming; {prefix.reason}"
    return Way(engine=prefix.engine, reason=reason, dtype=dtype, views=views)


def prepare(job: Job, stage: Stage, freeze: Freeze, way: Way, ready: Prefixes) -> StageData:
    """Return the batches of `stage`, in the way that was decided; features that are not stored yet are computed."""
    return (_streamed if way.engine == STREAMED else _stored)(job, stage, freeze, way, ready)


def _streamed(job: Job, stage: Stage, freeze: Freeze, way: Way, ready: Prefixes) -> StageData:
    settings, feed = job.settings, _shared(job, _learnt(job, stage))
    judged = _shared(job, _judged(job))
    size, batch = stage.image_size or settings.image_size, settings.batch_size
    return StageData(
        train=lambda epoch, _=1: feed(
            "train", image_size=size, batch_size=batch, augment=stage.augment, epoch=epoch, shuffle=True
        ),
        validation=lambda: judged("validation", image_size=settings.image_size, batch_size=batch),
        steps=_steps(settings),
        cut=(),
        train_shapes=(_shape(job.network, size),),
        train_targets=_target_shape(job, "train", size, stage.augment),
        engine=way.engine,
        reason=way.reason,
    )


def _stored(job: Job, stage: Stage, freeze: Freeze, way: Way, ready: Prefixes) -> StageData:
    settings = job.settings
    size = stage.image_size or settings.image_size
    views = _views(job, stage, way, ready(size), size)
    whole = _view(job, way, ready(settings.image_size), judged_look(settings))
    validation, share = _in_order(whole, settings.batch_size, _judged(job)), _learnt(job, stage)
    return StageData(
        train=lambda epoch, together=1: shuffled(views, settings, epoch, share, together),
        validation=lambda: validation,
        steps=_steps(settings),
        cut=freeze.cut,
        train_shapes=ready(size).feature_shapes,
        train_targets=views[0].targets.shape[1:],
        engine=way.engine,
        reason=way.reason,
        views=len(views),
        together=_together(views[0], settings.batch_size) if share == WHOLE and not freeze.blocks else 1,
    )


def _together(view: View, batch_size: int) -> int:
    one = sum(array[:1].nbytes for array in view.features) * batch_size
    return min(max(TOGETHER_BYTES // one, 1), TOGETHER)


def _learnt(job: Job, stage: Stage) -> Share:
    """What this worker takes of training: where the head is solved, from all pictures at once, each takes all."""
    return WHOLE if stage.solved else job.strategy.share


def _judged(job: Job) -> Share:
    """What this worker takes of validation: all of it where pictures are judged beside all others."""
    return WHOLE if job.network.merit_over == "split" else job.strategy.share


def _shared(job: Job, share: Share) -> Feed:
    return job.feed if share == WHOLE else functools.partial(job.feed, share=share)


def _views(job: Job, stage: Stage, way: Way, prefix: Prefix, size: int) -> list[View]:
    """Return the views of the training pictures, fewer than were decided where the stage's time is needed for steps."""
    span, began = job.settings.spans.get(stage.name), time.perf_counter()
    views: list[View] = []
    for number in range(way.views):
        now = time.perf_counter()
        another = (now - began) / max(number, 1)
        if span and number and now + another > began + FOR_VIEWS * (span.until - began):
            break
        views.append(_view(job, way, prefix, Look(split="train", side=size, augment=stage.augment, number=number)))
    return views


def judged_look(settings: Settings) -> Look:
    """Return the view by which every stage is judged."""
    return Look(split="validation", side=settings.image_size, augment="none", number=0)


def looks(settings: Settings, stage: Stage, way: Way) -> tuple[Look, ...]:
    """Return all views that a stage takes from the store, in the order in which it computes them; none if streamed."""
    if way.engine == STREAMED:
        return ()
    size = stage.image_size or settings.image_size
    several = (Look(split="train", side=size, augment=stage.augment, number=number) for number in range(way.views))
    return (*several, judged_look(settings))


def _shape(network: Network, side: int) -> tuple[int, ...]:
    """Of what the network takes at that side, with the frames of a clip before it."""
    return (*network.model.input.shape[1:-3], side, side, 3)


def key_of(settings: Settings, way: Way, prefix: Prefix, look: Look) -> Key:
    """Return what a view is found by in the store."""
    return Key(
        data_digest=settings.data_digest,
        prefix_digest=prefix.digest,
        engine=prefix.engine,
        split=look.split,
        image_size=look.side,
        aspect=settings.aspect,
        augment=look.augment,
        view=look.number,
        seed=settings.seed,
        dtype=way.dtype,
        weighting=settings.balance if look.split == "train" and settings.balance == "weights" else "none",
    )


def pictures_of(job: Job, look: Look, share: Share = WHOLE, batch_size: int | None = None) -> Any:
    """Return the batches that a view is computed of, or a share of each; batch_size: of whole ones, else the job's."""
    feed = _shared(job, share)
    size = batch_size or job.settings.batch_size
    return feed(look.split, image_size=look.side, batch_size=size, augment=look.augment, epoch=look.number)


def _view(job: Job, way: Way, prefix: Prefix, look: Look) -> View:
    """Return one view of a split from the store, where it is computed first if it is not there."""
    settings, total = job.settings, job.settings.counts[look.split]
    batches = pictures_of(job, look, job.strategy.share)
    parts = computed(batches, prefix.compute)
    whole = among_workers.whole_batches(parts, total, settings.batch_size, job.strategy)
    return among_workers.obtained(
        settings.cache_folder,
        key_of(settings, way, prefix, look),
        count=total,
        feature_shapes=prefix.feature_shapes,
        target_shape=tuple(batches.element_spec[1].shape[1:]),
        batches=_passed_on(whole, f"features of {look.split}, view {look.number + 1}", total, job.listener),
        limit_bytes=settings.cache_limit_bytes,
        strategy=job.strategy,
    )


def computed(batches: Any, compute: Compute) -> Iterator[tuple[Any, Any, Any]]:
    """Give features, targets and weights of each batch of pictures."""
    for images, targets, weights in batches:
        yield compute(np.asarray(images)), np.asarray(targets), np.asarray(weights)


def _needed_bytes(job: Job, stage: Stage, prefix: Prefix, whole: Prefix, dtype: str, views: int) -> int:
    """What all views of training pictures and the one of validation take: a mask is as large as its picture."""
    settings, total = job.settings, 0
    side = stage.image_size or settings.image_size
    for split, part, size, augment, times in (
        ("train", prefix, side, stage.augment, views),
        ("validation", whole, settings.image_size, "none", 1),
    ):
        shape = _target_shape(job, split, size, augment)
        total += times * feature_store.view_bytes(settings.counts[split], part.feature_shapes, dtype, shape)
    return total


def _target_shape(job: Job, split: str, side: int, augment: str) -> tuple[int, ...]:
    batches = job.feed(split, image_size=side, batch_size=job.settings.batch_size, augment=augment)
    return tuple(batches.element_spec[1].shape[1:])


def shuffled(views: list[View], settings: Settings, epoch: int, share: Share = WHOLE, together: int = 1) -> Any:
    """Return batches in the order of the epoch, `together` of them in each element, each picture from the next of its
    views: after as many epochs as views, each view was seen once."""
    count = len(views[0].weights)
    order = of_epoch(count, seed=settings.seed, epoch=epoch, labels=settings.labels, balance=settings.balance)
    first_view = np.random.default_rng(settings.seed).integers(len(views), size=count)

    def gather(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        chosen = (first_view[rows] + epoch) % len(views)
        parts = [np.empty((len(rows), *part.shape[1:]), part.dtype) for part in _arrays(views[0])]
        for number, view in enumerate(views):
            here = chosen == number
            for part, array in zip(parts, _arrays(view), strict=True):
                part[here] = array[rows[here]]
        return tuple(parts)

    return _batches(order, gather, views[0], settings.batch_size * together, share)


def _in_order(view: View, batch_size: int, share: Share) -> Any:
    def gather(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(array[rows] for array in _arrays(view))

    return _batches(np.arange(len(view.weights)), gather, view, max(batch_size, 128), share)


def _batches(order: np.ndarray, gather: Callable[..., Any], like: View, batch_size: int, share: Share) -> Any:
    def weighed(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        *parts, weights = gather(rows)
        return *parts, weights * (rows != NOTHING).astype(weights.dtype)

    def read(rows: Any) -> tuple[Any, ...]:
        dtypes = [array.dtype for array in _arrays(like)]
        parts = numpy_function(gather if share == WHOLE else weighed, [rows], dtypes, stateful=False)
        for part, array in zip(parts, _arrays(like), strict=True):
            part.set_shape((None, *array.shape[1:]))
        *features, targets, weights = parts
        return tuple(features), targets, weights

    dataset = tf.data.Dataset.from_tensor_slices(share.of(order, batch_size)).batch(share.size(batch_size)).map(read)
    return prefetch(without_autotune(dataset))


def _arrays(view: View) -> tuple[np.ndarray, ...]:
    return (*view.features, view.targets, view.weights)


def _steps(settings: Settings) -> int:
    return -(-settings.counts["train"] // settings.batch_size)


def _safe_dtype(prefix: Prefix, wanted: str) -> str:
    """Half precision ends at 65,504: features anywhere near that are stored whole."""
    return "float32" if wanted == "float16" and prefix.largest > 8_000 else wanted


def _free_bytes(folder: Path) -> int:
    existing = next(parent for parent in [folder, *folder.parents] if parent.exists())
    return int(shutil.disk_usage(existing).free * 0.8)


def _passed_on(batches: Any, message: str, total: int, listener: Listener) -> Any:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch[-1])
        listener(Event("progress", message, done=done, total=total))
