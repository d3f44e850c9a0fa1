"""Fills in what a plan leaves open, and builds the network that it names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from keras_transfer.backbones import blocks, features
from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import BackboneSpec, Event, Listener, Network, Plan, Splits
from keras_transfer.training.job import Settings
from keras_transfer.training.strategy import Strategy
from keras_transfer.workflow.tasks import check_annotation, task_of

ADVICE = "advice.json"
TRANSFER = "transfer.json"


def resolved(plan: Plan, spec: BackboneSpec, splits: Splits, listener: Listener) -> Plan:
    """Fill in what the plan left to the package, and say so."""
    task = task_of(plan.task)
    own = {name: value for name, value in task.defaults.items() if name not in plan.model_fields_set}
    if own:
        told = ", ".join(f"{name.replace('_', ' ')} {_listed(value)}" for name, value in own.items())
        listener(Event("note", f"for {task.name}: {told}"))
        plan = plan.model_copy(update=own)
    if plan.image_size is None:
        size = fitting_size(spec, splits.typical_size, task.most_side)
        listener(Event("note", f"image size {size}: the pictures are about {splits.typical_size} pixels"))
        plan = plan.model_copy(update={"image_size": size})
    if plan.image_size is not None and plan.image_size < spec.min_size:
        raise UsageError(f"{spec.name} takes pictures of at least {spec.min_size} pixels. Received: {plan.image_size}")
    return plan


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def fitting_size(spec: BackboneSpec, typical: int, most: int = 0) -> int:
    """Three times the pictures' own size, in steps of 32, between 96 pixels and what the backbone was trained at.

    Filters learnt on large pictures need small ones enlarged, but enlarging beyond that only costs time. most: the
    largest side where that is more than the backbone was trained at.
    """
    enlarged = -(-3 * max(typical, 1) // 32) * 32
    return max(spec.min_size, min(max(spec.input_size, most), max(96, enlarged)))


def with_frames(splits: Splits, frames: int | None) -> Splits:
    """Return a data set with that many frames of each clip; UsageError where it holds pictures, which have none."""
    if not frames:
        return splits
    if not splits.frames:
        raise UsageError(f"'{splits.source}' holds pictures, which have no frames. Leave frames={frames} out.")
    return replace(splits, frames=frames)


def settings_of(plan: Plan, splits: Splits, engine: str, **others: Any) -> Settings:
    """Return what all stages of a run of `plan` share; those of its other fields that are None keep their default."""
    given = {name: value for name, value in others.items() if value is not None}
    return Settings(
        image_size=int(plan.image_size or 0),
        counts=splits.counts,
        batch_size=plan.batch_size,
        seed=plan.seed,
        data_digest=splits.digest,
        aspect=plan.aspect,
        balance=plan.balance,
        labels=splits.train.labels,
        engine=engine,
        **given,
    )


def network_of(
    plan: Plan,
    spec: BackboneSpec,
    splits: Splits,
    weights: str,
    listener: Listener,
    strategy: Strategy | None = None,
) -> tuple[Network, features.Features]:
    """Build the network that `plan` names, with `weights` in its backbone; its policy ends with the building.

    strategy: the devices that it learns on, each with its own copy of every variable; one where it is left out.
    """
    task = task_of(plan.task)
    check_annotation(task, splits)
    loss = plan.loss or task.losses[0]
    if loss not in task.losses:
        raise UsageError(unknown(f"loss of {task.name}", loss, task.losses))
    if plan.head and plan.head not in task.heads:
        raise UsageError(unknown(f"head of {task.name}", plan.head, task.heads))
    keras.utils.set_random_seed(plan.seed)
    keras.config.set_dtype_policy(plan.precision)
    try:
        size, frames = int(plan.image_size or 0), splits.frames
        with (strategy or Strategy()).scope():
            built = features.build(spec, image_size=size, weights=weights, frames=frames, listener=listener)
            network = task.attach(
                built.model,
                blocks.cut(built.model, spec),
                classes=len(splits.known_names),
                dropout=plan.dropout,
                seed=plan.seed,
                loss=loss,
                **({"head": plan.head} if plan.head else {}),
            )
    finally:
        keras.config.set_dtype_policy("float32")
    return network, built
