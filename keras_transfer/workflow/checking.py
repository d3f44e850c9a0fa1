"""Checks a plan whole: what no pictures are needed to refuse is refused before any are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keras_transfer.backbones import registry
from keras_transfer.data import augment
from keras_transfer.errors import UsageError, unknown
from keras_transfer.export.formats import FORMATS, check_halves
from keras_transfer.specs import BackboneSpec, Plan
from keras_transfer.training import learning_rates, prefix, recipes
from keras_transfer.workflow import whole_numbers
from keras_transfer.workflow.tasks import TASKS

ENGINES = ("auto", "stream", *prefix.ENGINES)


def check(plan: Plan, *, engine: str = "auto") -> BackboneSpec:
    """Return the backbone's row; UsageError for the first thing in `plan` that no training could follow.

    >>> check(Plan(data="sample:fashion", recipe="heads"))
    Traceback (most recent call last):
    keras_transfer.errors.UsageError: Unknown recipe 'heads'. Did you mean 'head'?

    engine: who is to compute frozen parts. Whether weights can be had shows when the network is built, and whether
    stages fit it too; both come before there is a run folder.
    """
    spec = registry.backbone(plan.backbone)
    for kind, received, known in _names(plan, engine):
        if received not in known:
            raise UsageError(unknown(kind, received, known))
    _check_strides(plan, spec)
    whole_numbers.check(plan)
    check_halves(plan.exports, TASKS[plan.task].halve)
    for stage in plan.stages:
        learning_rates.optimizer(stage, {})
    if plan.image_size is not None and plan.image_size < spec.min_size:
        raise UsageError(f"{spec.name} takes pictures of at least {spec.min_size} pixels. Received: {plan.image_size}")
    return spec


def _check_strides(plan: Plan, spec: BackboneSpec) -> None:
    """Raise UsageError where the head of the plan's task takes features that its backbone does not have."""
    strides = TASKS[plan.task].strides
    lacking = [str(stride) for stride in strides if f"no-stride-{stride}" in spec.traits]
    if lacking:
        others = " ".join(f"--without no-stride-{stride}" for stride in strides)
        raise UsageError(
            f"{plan.task} takes features of strides {', '.join(map(str, strides))}, and no block of {spec.name} ends "
            f"at {', '.join(lacking)}. Take a backbone of: keras-transfer backbones {others}"
        )


def _names(plan: Plan, engine: str) -> Iterator[tuple[str, str, Iterable[str]]]:
    """What each name is of, the name, and the table that must have it."""
    yield "task", plan.task, TASKS
    if plan.loss and plan.task in TASKS:
        yield f"loss of {plan.task}", plan.loss, TASKS[plan.task].losses
    if plan.head and plan.task in TASKS:
        yield f"head of {plan.task}", plan.head, TASKS[plan.task].heads
    yield "engine", engine, ENGINES
    if not plan.stages:
        yield "recipe", plan.recipe, recipes.NAMES
    for name in plan.exports:
        yield "export", name, FORMATS
    for stage in plan.stages:
        yield "augmentation", stage.augment, augment.NAMES
