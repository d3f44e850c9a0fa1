"""Computes what the stages of a plan will take from the feature store, ahead of training, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from keras_transfer.data import sources
from keras_transfer.errors import UsageError
from keras_transfer.order import Share
from keras_transfer.specs import Event, Listener, Plan, Stage, Value, silent
from keras_transfer.training import freezing, in_parts, stage_data
from keras_transfer.training.feature_store import Key
from keras_transfer.training.job import Job
from keras_transfer.training.stage_data import STREAMED, Look, Prefixes, Way
from keras_transfer.training.strategy import Strategy
from keras_transfer.workflow import checking
from keras_transfer.workflow.building import resolved, with_frames
from keras_transfer.workflow.tasks import task_of
from keras_transfer.workflow.training import prepared


class Stored(Value):
    """A view that is in the store."""

    stage: str
    """The first that takes it."""
    split: str
    view: int
    """Which of the augmented copies, from 1 on."""
    pictures: int
    size_bytes: int
    engine: str


@dataclass(frozen=True)
class Asked:
    """Of what plan the views are, and how they are computed: what every process is told."""

    plan: Plan
    engine: str = "auto"
    kept: Mapping[str, Any] = field(default_factory=dict)
    """Where the store is and what it may take, as `Settings` names it."""
    strict: bool = False


@dataclass(frozen=True)
class Begun:
    """A stage whose views are computed."""

    stage: Stage
    way: Way
    ready: Prefixes


@dataclass(frozen=True)
class Piece:
    """One part of one view: what a process computes at a time."""

    stage: str
    look: Look
    share: Share


def features(
    plan: Plan,
    *,
    engine: str = "auto",
    ray: str | None = None,
    workers: int | None = None,
    strict: bool = False,
    cache_folder: Path | str | None = None,
    cache_limit_bytes: int | None = None,
    listener: Listener = silent,
) -> tuple[Stored, ...]:
    """Compute the views that training `plan` takes from the store, and return them; what is there stays.

    >>> [(each.stage, each.split) for each in features(Plan(data="sample:fashion", recipe="head"))]  # doctest: +SKIP
    [('head', 'train'), ('head', 'train'), ('head', 'validation')]

    A view is computed in parts that are each written whole, so that the same call goes on after a kill, and then put
    together. ray: address of a Ray (`on_ray.joined`) whose machines see the cache folder: so many `workers` compute
    parts at once, one for each core where that is left out. engine, strict, cache_folder and cache_limit_bytes as of
    `workflow.training.train`. Stages that stream, or whose frozen part is learnt by one before them, are noted and left
    to training. Raises UsageError for a plan whose views depend on more than pictures: on a teacher, or on a clock.
    """
    if plan.teacher or (plan.minutes is not None and not plan.stages):
        named = "a teacher's answers" if plan.teacher else "what fits into its minutes"
        raise UsageError(f"The views of this plan depend on {named}, which training alone knows: leave it out here.")
    kept = {"cache_folder": Path(cache_folder) if cache_folder else None, "cache_limit_bytes": cache_limit_bytes}
    asked = Asked(plan, engine, kept, strict)
    job, stages = made(asked, listener)
    begun = begun_of(job, stages)
    pieces = pieces_of(job, begun)
    if not ray:
        for done, piece in enumerate(pieces, start=1):
            compute(job, begun, piece)
            listener(Event("progress", "parts of views", done=done, total=len(pieces)))
    elif pieces:
        from keras_transfer.workflow import storing_on_ray

        storing_on_ray.compute(asked, {each.stage.name: each.way for each in begun}, pieces, ray, workers, listener)
    return tuple(_stored(job, each, look) for each, look in views_of(job, begun))


def made(asked: Asked, listener: Listener) -> tuple[Job, tuple[Stage, ...]]:
    """Return the network and the pictures of a plan as a job without a run, and its stages."""
    plan, spec = asked.plan, checking.check(asked.plan, engine=asked.engine)
    splits = sources.load(plan.data, annotation=task_of(plan.task).annotation, seed=plan.seed, listener=listener)
    splits = with_frames(splits, plan.frames)
    plan = resolved(plan, spec, splits, listener)
    options = {"strict": asked.strict, "service": None}
    ready = prepared(plan, spec, splits, asked.engine, options, asked.kept, Strategy(), listener)
    return Job(ready.network, ready.feed, ready.settings, Path(), listener), ready.stages


def begun_of(job: Job, stages: Sequence[Stage], ways: Mapping[str, Way] | None = None) -> tuple[Begun, ...]:
    """Return the stages whose views can be computed before training; ways: by name, where others decided them."""
    found, learned = [], set[int]()
    for stage in stages:
        freeze = freezing.decide(job.network, stage)
        frozen = keras.Model(job.network.model.input, list(freeze.cut)).layers if freeze.cut else ()
        if learned & {id(layer) for layer in frozen}:
            job.listener(Event("note", f"{stage.name}: a stage before it learns what it leaves frozen"))
        elif ways is None or stage.name in ways:
            ready = stage_data.prefixes(job, freeze, ways[stage.name].engine if ways else job.settings.engine)
            way = ways[stage.name] if ways else stage_data.decide(job, stage, freeze, ready)
            if way.engine == STREAMED:
                job.listener(Event("note", f"{stage.name}: {way.reason}"))
            else:
                found.append(Begun(stage, way, ready))
        learned |= {id(layer) for layer in freeze.learning}
    return tuple(found)


def views_of(job: Job, begun: Sequence[Begun]) -> list[tuple[Begun, Look]]:
    """Return each view once, with the first stage that takes it."""
    found: dict[Key, tuple[Begun, Look]] = {}
    for each in begun:
        for look in stage_data.looks(job.settings, each.stage, each.way):
            key = stage_data.key_of(job.settings, each.way, each.ready(look.side), look)
            found.setdefault(key, (each, look))
    return list(found.values())


def pieces_of(job: Job, begun: Sequence[Begun]) -> list[Piece]:
    """Return all parts of the views that are not in the store."""
    return [
        Piece(each.stage.name, look, share)
        for each, look in views_of(job, begun)
        if not in_parts.is_whole(job, each.way, each.ready(look.side), look)
        for share in in_parts.shares_of(job.settings.counts[look.split])
    ]


def compute(job: Job, begun: Sequence[Begun], piece: Piece) -> None:
    """Compute a part and store it, where it is not there."""
    (stage,) = (each for each in begun if each.stage.name == piece.stage)
    in_parts.obtain(job, stage.way, stage.ready(piece.look.side), piece.look, piece.share)


def _stored(job: Job, begun: Begun, look: Look) -> Stored:
    view = in_parts.put_together(job, begun.way, begun.ready(look.side), look)
    return Stored(
        stage=begun.stage.name,
        split=look.split,
        view=look.number + 1,
        pictures=len(view.weights),
        size_bytes=sum(each.nbytes for each in (*view.features, view.targets, view.weights)),
        engine=begun.way.engine,
    )
