"""A stored view that is computed in parts, each written whole, by any number of processes; then it is put together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_transfer.order import Share
from keras_transfer.training import feature_store
from keras_transfer.training.among_workers import Parts, as_they_are
from keras_transfer.training.feature_store import Key, View
from keras_transfer.training.job import Job
from keras_transfer.training.prefix import Prefix
from keras_transfer.training.stage_data import Look, Way, computed, key_of, pictures_of

FOLDER = "parts"
"""Beside the store, until its view is whole."""

MOST, LEAST_PICTURES = 32, 64
"""Parts that a view has, and what each of them holds at least: the more, the less is lost with a process."""


def shares_of(count: int) -> tuple[Share, ...]:
    """Return the parts of a view of so many pictures: the same whoever computes them, so that others go on with them.

    >>> [len(shares_of(count)) for count in (1_000_000, 100, 10)]
    [32, 2, 1]
    """
    number = min(MOST, -(-count // LEAST_PICTURES))
    return tuple(Share(index, number) for index in range(number))


def obtain(job: Job, way: Way, prefix: Prefix, look: Look, share: Share) -> View:
    """Return one part of a view, from its folder where it is there, else computed and stored: whole or not at all.

    share: one of `shares_of`; its batches are as large as the job's. A part is a view of its own in a store of its own.
    """
    count, batch_size = job.settings.counts[look.split], job.settings.batch_size * share.count
    key = key_of(job.settings, way, prefix, look)
    batches = pictures_of(job, look, share, batch_size)
    return feature_store.obtain(
        _place(job.settings.cache_folder, key) / f"{share.index + 1}-of-{share.count}",
        key,
        count=len(share.of(np.arange(count), batch_size)),
        feature_shapes=prefix.feature_shapes,
        target_shape=tuple(batches.element_spec[1].shape[1:]),
        compute=as_they_are,
        batches=computed(batches, prefix.compute),
        limit_bytes=job.settings.cache_limit_bytes,
    )


def is_whole(job: Job, way: Way, prefix: Prefix, look: Look) -> bool:
    """Return whether a view is in the store already."""
    return feature_store.holds(job.settings.cache_folder, key_of(job.settings, way, prefix, look))


def put_together(job: Job, way: Way, prefix: Prefix, look: Look) -> View:
    """Return a view whose parts are there, written to the store; its parts are deleted. What lacks is computed here."""
    settings, count = job.settings, job.settings.counts[look.split]
    key = key_of(settings, way, prefix, look)
    missing = () if is_whole(job, way, prefix, look) else shares_of(count)
    there = [obtain(job, way, prefix, look, share) for share in missing]
    view = feature_store.obtain(
        settings.cache_folder,
        key,
        count=count,
        feature_shapes=prefix.feature_shapes,
        target_shape=tuple(pictures_of(job, look).element_spec[1].shape[1:]),
        compute=as_they_are,
        batches=_whole_batches(there, count, settings.batch_size * len(there)),
        limit_bytes=settings.cache_limit_bytes,
    )
    shutil.rmtree(_place(settings.cache_folder, key), ignore_errors=True)
    return view


def _place(folder: Path, key: Key) -> Path:
    return folder / FOLDER / key.name


def _whole_batches(parts: list[View], count: int, batch_size: int) -> Iterator[Parts]:
    """Give batches as one process would have computed them: picture p of a batch is of part p mod n (`order.Share`)."""
    sizes = [Share(index, len(parts)).size(batch_size) for index in range(len(parts))]
    for number, start in enumerate(range(0, count, batch_size)):
        size = min(batch_size, count - start)
        arrays = []
        for those in zip(*((*part.features, part.targets, part.weights) for part in parts), strict=True):
            whole = np.empty((size, *those[0].shape[1:]), those[0].dtype)
            for index, mine in enumerate(those):
                rows = len(range(index, size, len(parts)))
                whole[index :: len(parts)] = mine[number * sizes[index] :][:rows]
            arrays.append(whole)
        yield tuple(arrays[:-2]), arrays[-2], arrays[-1]
