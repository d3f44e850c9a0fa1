"""Measures pictures on the backbones at hand, before anything is trained, and advises a plan."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer import order
from keras_transfer import plan as plans
from keras_transfer.backbones import blocks, features, registry, weights
from keras_transfer.data import near, pipeline, sources
from keras_transfer.errors import UsageError
from keras_transfer.files import write_bytes
from keras_transfer.selection import advisor, alike, measuring, pictures
from keras_transfer.selection.findings import Advice, Limits, Measurement, Question
from keras_transfer.specs import (
    BackboneSpec,
    Feed,
    Listener,
    Plan,
    Splits,
    silent,
)
from keras_transfer.training import prefix, recipes, timing
from keras_transfer.workflow import advising_clips
from keras_transfer.workflow.building import fitting_size
from keras_transfer.workflow.tasks import task_of

LOOKED_AT = 1000
"""Training pictures that advice measures: a probe's accuracy is then known to about a point and a half."""

JUDGED_ON = 500
"""Validation pictures of the source's own that probes are judged on: known to two points, for half the looks."""

MEASURED = ("class", "classes")
"""What pictures may be labelled with for probes to measure them."""


def advise(
    source: str,
    *,
    task: str = "classification",
    names: Sequence[str] = (),
    limits: Limits | None = None,
    image_size: int | None = None,
    seed: int = 0,
    write: Path | None = None,
    splits: Splits | None = None,
    listener: Listener = silent,
) -> Advice:
    """Return a plan for the pictures of `source`, measured before anything is trained, and the reason of each choice.

    >>> advise("sample:fashion").plan.backbone  # doctest: +SKIP
    'EfficientNetLite0'

    task: what is to be learned. names: backbones to choose from; where left out, those whose weights are at hand, as
    many as can be measured in a share of the training's time. limits: what the device allows. image_size: side in
    pixels; from the pictures and the backbone where it is left out. write: where to put the plan. splits: the pictures
    of `source`, where they are read already. Of clips nothing is measured but whether they may be mirrored.
    Raises UsageError for pictures that are labelled with other things.
    """
    began = time.perf_counter()
    splits = splits or sources.load(source, annotation=task_of(task).annotation, seed=seed, listener=listener)
    if splits.frames:
        return _written(_of_clips(source, splits, task, names, limits, image_size, seed, listener), write)
    if splits.annotation not in MEASURED:
        recipe, evidence = task_of(task).defaults.get("recipe", "head_then_top"), task_of(task).evidence
        raise UsageError(
            f"Advice measures pictures that have one class, or several labels. Received: '{source}', which is labelled "
            f"with {splits.annotation}. {f'{evidence} ' if evidence else ''}Train by a recipe instead: "
            f"keras-transfer train {source} --task {task} --recipe {recipe}"
        )
    specs = _to_choose_from(names)
    feed = pipeline.make_feed(splits, seed=seed, listener=listener)
    look = functools.cache(functools.partial(_looked_at, splits, feed, seed))
    size = image_size or fitting_size(specs[0], splits.typical_size)
    question = _question(source, task, splits, look(size), size, seed)
    question = replace(question, size_is_given=image_size is not None, seconds=time.perf_counter() - began)
    measure = functools.partial(_measured, look, listener)
    share = None if names else advisor.ADVICE_SHARE
    advice = advisor.advise(question, specs, measure, recipes.ADVISED, limits=limits, share=share, listener=listener)
    return _written(advice, write)


def _written(advice: Advice, place: Path | None) -> Advice:
    if place:
        write_bytes(place, plans.to_toml(advice.plan).encode())
    return advice


def _of_clips(
    source: str,
    splits: Splits,
    task: str,
    names: Sequence[str],
    limits: Limits | None,
    image_size: int | None,
    seed: int,
    listener: Listener,
) -> Advice:
    """Advice on clips, of one backbone; UsageError for what is asked of it that is not measured."""
    if len(names) > 1 or (limits and limits != Limits()):
        raise UsageError(
            "Of clips only mirroring is measured, on one backbone: leave --max-mb, --max-ms and --int8 out, and name "
            f"one --backbone at most. Received: {', '.join(names) or 'limits'}"
        )
    backbone = names[0] if names else str(Plan.model_fields["backbone"].default)
    return advising_clips.advise_clips(
        source,
        splits,
        task=task,
        backbone=backbone,
        image_size=image_size,
        seed=seed,
        engine=_computed,
        listener=listener,
    )


def _to_choose_from(names: Sequence[str]) -> list[BackboneSpec]:
    """The backbones that were named, else those at hand, smallest first: the first to be looked at costs least."""
    if names:
        return [registry.backbone(name) for name in names]
    at_hand = sorted(filter(weights.at_hand, registry.rows()), key=lambda row: row.parameters)
    return at_hand or [registry.backbone(str(Plan.model_fields["backbone"].default))]


def _question(source: str, task: str, splits: Splits, looked_at: LookedAt, size: int, seed: int) -> Question:
    return Question(
        source=source,
        labels=looked_at.labels,
        class_counts=_class_counts(splits),
        pictures=len(splits.train),
        image_size=size,
        typical_size=splits.typical_size,
        shift=pictures.input_shift(looked_at.images),
        validation_labels=looked_at.validation_labels,
        validation_pictures=len(splits.validation),
        groups=looked_at.groups,
        copies=near.groups_of(looked_at.images) if looked_at.groups is None else None,
        task=task,
        seed=seed,
    )


def _measured(look: Callable[[int], LookedAt], listener: Listener, spec: BackboneSpec, side: int) -> Measurement:
    """What one backbone makes of the pictures at one size."""
    built = features.build(spec, image_size=side, listener=listener)
    looked_at = look(side)
    measured = measuring.measure(
        built.model,
        blocks.cut(built.model, spec),
        looked_at.images,
        _computed,
        weights.classifier(spec),
        validation=looked_at.validation,
    )
    step = looked_at.images[: timing.PICTURES]
    return replace(measured, learning_ms=lambda: timing.learning_ms(built.model, step))


def _computed(model: Any, check: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The one output of `model`, on the fastest engine that agrees with Keras on `check`."""
    compute = prefix.build(model, check=check).compute
    return lambda images: compute(images)[0]


@dataclass(frozen=True)
class LookedAt:
    """The pictures that advice measures, at one size."""

    images: np.ndarray
    """Of the training split, uint8 (n, side, side, 3)."""
    labels: np.ndarray
    """int (n,), or bool (n, classes)."""
    groups: np.ndarray | None
    """int (n,), where the source says which pictures belong together."""
    validation: np.ndarray | None
    """uint8 (m, side, side, 3), where the source brought a validation split."""
    validation_labels: np.ndarray | None


def _looked_at(splits: Splits, feed: Feed, seed: int, size: int) -> LookedAt:
    """Up to `LOOKED_AT` training pictures and `JUDGED_ON` validation pictures, chosen by the seed."""
    images, labels = _first(feed, "train", size, LOOKED_AT, splits.annotation)
    groups = None
    if splits.train.groups is not None:
        rows = order.of_epoch(len(splits.train), seed=seed, epoch=0)[: len(labels)]
        # A stream that does not fit the memory comes in an order of its own, in which no group can be told.
        same = np.array_equal(splits.train.labels[rows], labels)
        groups = alike.numbered(splits.train.groups[rows]) if same else None
    if "validation" not in splits.given:
        return LookedAt(images, labels, groups, None, None)
    return LookedAt(images, labels, groups, *_first(feed, "validation", size, JUDGED_ON, splits.annotation))


def _first(feed: Feed, split: str, size: int, count: int, annotation: str) -> tuple[np.ndarray, np.ndarray]:
    images, targets, _ = next(iter(feed(split, image_size=size, batch_size=count, shuffle=True)))
    targets = np.asarray(targets)
    return np.asarray(images), targets > 0.5 if annotation == "classes" else targets.argmax(axis=1)


def _class_counts(splits: Splits) -> np.ndarray:
    """Training pictures of each class, int (classes,)."""
    if splits.annotation == "classes":
        return splits.train.labels.sum(axis=0)
    return np.bincount(splits.train.labels, minlength=len(splits.class_names))
