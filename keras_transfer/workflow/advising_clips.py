"""Measures clips before anything is trained: whether it matters which way they go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_transfer import order
from keras_transfer.backbones import blocks, features, registry
from keras_transfer.data import pipeline
from keras_transfer.selection import alike, moving
from keras_transfer.selection.findings import Advice
from keras_transfer.specs import Listener, Plan, Splits
from keras_transfer.training import recipes
from keras_transfer.workflow.tasks import task_of

LOOKED_AT = 400
"""Training clips that are measured, half of them mirrored: what a probe loses is then known to four points or so."""

WITH_FLIP = {"light_no_flip": "light"}
"""What the recipe's policies are with half of the clips mirrored."""

NOT_MEASURED = (
    "Of clips nothing is measured but whether they may be mirrored: backbone, size and stages are those of "
    "recipe 'clips'.",
)


def advise_clips(
    source: str,
    splits: Splits,
    *,
    task: str,
    backbone: str,
    image_size: int | None,
    seed: int,
    engine: Callable[[Any, np.ndarray], Callable[[np.ndarray], np.ndarray]],
    listener: Listener,
) -> Advice:
    """Return the plan of the recipe for clips, with mirroring where it changes nothing that clips show.

    engine: makes the one output of a model fast to compute.
    """
    began = time.perf_counter()
    size = image_size or int(task_of(task).defaults["image_size"])
    spec = registry.backbone(backbone)
    feed = pipeline.make_feed(splits, seed=seed, cache_bytes=0, listener=listener)
    images, targets, weights = next(iter(feed("train", image_size=size, batch_size=LOOKED_AT, shuffle=True)))
    there = np.asarray(weights) > 0
    rows = order.of_epoch(len(splits.train), seed=seed, epoch=0)[: len(there)][there]
    built = features.build(spec, image_size=size, listener=listener)
    cut = blocks.cut(built.model, spec)
    found = moving.mirroring(
        built.model,
        cut,
        np.asarray(images)[there],
        np.asarray(targets)[there].argmax(axis=1),
        engine,
        groups=None if splits.train.groups is None else alike.numbered(splits.train.groups[rows]),
    )
    plan = Plan(data=source, task=task, backbone=spec.name, recipe="clips", image_size=size, seed=seed)
    if not found.matters:
        stages = recipes.stages("clips", len(cut))
        plan = plan.model_copy(
            update={"stages": tuple(s.model_copy(update={"augment": WITH_FLIP[s.augment]}) for s in stages)}
        )
    return Advice(
        plan=plan,
        reasons=(found.reason,),
        ranking=(),
        label_noise=None,
        suspects=(),
        unknown=NOT_MEASURED,
        seconds=time.perf_counter() - began,
        training_seconds=None,
    )
