"""Makes a plan of minutes: measures what training costs here and decides, once, what fits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_transfer.errors import UsageError
from keras_transfer.selection import budget, measuring, policy
from keras_transfer.specs import BackboneSpec, Event, Feed, Listener, Network, Plan, Splits
from keras_transfer.training import prefix, recipes, timing
from keras_transfer.training.pace import Span
from keras_transfer.workflow.advising import MEASURED
from keras_transfer.workflow.building import fitting_size
from keras_transfer.workflow.opened import some_pictures
from keras_transfer.workflow.tasks import task_of

TIMED = 0.05
"""Share of the time that timing a step of training may take."""

BUILDS_OF_A_STEP = 5
"""What timing a step takes, beside making the frozen part ready."""

SEVERAL = 4
"""Times what loading takes, the least that is worth asking for where nothing was measured yet."""

CHECKED, LOOKED_AT = 16, 32
"""Pictures that the frozen part is proven on, and in a batch of those that are looked at."""


@dataclass(frozen=True)
class Decided:
    """A plan whose stages the clock decided, and when each of them has to be over."""

    plan: Plan
    spans: Mapping[str, Span]


def is_open(plan: Plan) -> bool:
    """Whether the clock has to decide a part of `plan`: it has minutes, and no stages that fill them."""
    return plan.minutes is not None and not plan.stages


def check(plan: Plan, *, compare: str | None) -> None:
    """Raise UsageError for a budget that the clock has no part to decide of."""
    if not is_open(plan):
        return
    task = task_of(plan.task)
    if "recipe" in task.defaults or task.annotation not in MEASURED:
        raise UsageError(
            f"minutes choose among recipes that were measured against each other, which those of {plan.task} were not. "
            "Say how long by epochs=NUMBER."
        )
    if plan.epochs:
        raise UsageError(f"minutes decide how many epochs there are: leave epochs={plan.epochs} out, or minutes.")
    if plan.weights == "none":
        raise UsageError("minutes choose what of trained weights learns, and weights=none has none: leave one out.")
    if "recipe" in plan.model_fields_set and plan.recipe not in budget.GAINS:
        known = ", ".join(budget.GAINS)
        raise UsageError(f"In minutes one of these recipes is shortened: {known}. Received: '{plan.recipe}'")
    if compare:
        raise UsageError("--compare scratch trains as long again, which the minutes do not hold: leave one out.")


def check_time(plan: Plan, began: float) -> None:
    """Raise UsageError where the minutes are over before anything was measured: whoever waits is told at once."""
    gone = time.perf_counter() - began
    if is_open(plan) and gone >= 60 * float(plan.minutes or 0):
        raise UsageError(
            f"{plan.minutes:g} minutes are too few here: {gone:.0f} s went by before anything could be measured. "
            f"Give at least {_minutes(SEVERAL * gone):g}."
        )


def decided(
    asked: Plan,
    spec: BackboneSpec,
    splits: Splits,
    network: Network,
    feed: Feed,
    *,
    began: float,
    engine: str = "auto",
    listener: Listener,
) -> Decided:
    """Return the plan that is expected to be best within its minutes, and say what it is before it begins.

    asked: as a person has it, its size left out where no other is to be kept. network: of that plan at the size that
    fits, whose weights stay as they are. began: `time.perf_counter()` from which the minutes count. engine: who is to
    compute frozen parts. Raises UsageError where nothing fits.
    """
    plan, until = asked, began + 60 * float(asked.minutes or 0)
    rates = _rates(network, feed, until, engine if engine in prefix.ENGINES else "auto")
    wanted = _wanted(plan, spec, splits)
    left = until - time.perf_counter()
    choice = budget.choose(wanted, rates, recipes.ADVISED, left)
    if choice is None:
        needed = time.perf_counter() - began + budget.least(wanted, rates, recipes.ADVISED)
        raise UsageError(
            f"{plan.minutes:g} minutes are too few to train on {wanted.counts['train']:,} pictures here, as busy as "
            f"this machine is. Give at least {_minutes(needed):g}."
        )
    twice = budget.choose(wanted, rates, recipes.ADVISED, left + 60 * float(plan.minutes or 0))
    spent = time.perf_counter() - began
    listener(Event("note", f"{plan.minutes:g} minutes, of which {spent:.0f} s are gone: {choice.sentence}"))
    listener(Event("note", f"twice the time {budget.more(choice, twice)}"))
    made = {"recipe": choice.recipe, "stages": choice.stages, "image_size": choice.image_size}
    return Decided(plan.model_copy(update=made), _spans(choice, until))


def _rates(network: Network, feed: Feed, until: float, engine: str) -> budget.Rates:
    """Measure what pictures cost on this machine."""
    began, size = time.perf_counter(), int(network.model.input.shape[1])
    images = some_pictures(feed, "train", size, CHECKED)
    frozen = keras.Model(network.model.input, list(network.features))
    ready = time.perf_counter()
    compute = prefix.build(frozen, check=images, engine=engine).compute
    build = time.perf_counter() - ready
    look = measuring.looking_ms(compute, [images, images, images, images])
    arriving = feed("train", image_size=size, batch_size=LOOKED_AT, augment="light", shuffle=True)
    whole = measuring.looking_ms(compute, (np.asarray(each) for each, *_ in arriving))
    learn = policy.LEARNING_LOOKS * look
    if BUILDS_OF_A_STEP * build < TIMED * (until - began):
        learn = timing.learning_ms(_backbone(network), some_pictures(feed, "train", size, timing.PICTURES))
    work = np.array([block.multiply_adds for block in network.blocks], np.float64)
    return budget.Rates(
        image_size=size,
        look_ms=look,
        feed_ms=max(whole - look, 0.0),
        learn_ms=learn,
        build_seconds=build,
        work=tuple((work / max(work.sum(), 1)).tolist()),
        distance=measuring.first_distance(network.model, network.blocks, images),
    )


def _backbone(network: Network) -> Any:
    return keras.Model(network.model.input, network.blocks[-1].output)


def _wanted(plan: Plan, spec: BackboneSpec, splits: Splits) -> budget.Wanted:
    fitting = plan.image_size or fitting_size(spec, splits.typical_size)
    labels = splits.train.labels
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(splits.known_names))
    return budget.Wanted(
        counts=splits.counts,
        smallest_class=int(counts.min()),
        sizes=(fitting,) if plan.image_size else budget.sizes(fitting, spec.min_size, spec.input_size),
        fitting_size=fitting,
        batch_size=plan.batch_size,
        recipe=plan.recipe if "recipe" in plan.model_fields_set else None,
    )


def _spans(choice: budget.Choice, until: float) -> dict[str, Span]:
    """When each stage has to be over, so that what comes after it has its time."""
    spans: dict[str, Span] = {}
    end = until - choice.finish_seconds
    told = zip(choice.stages, choice.stage_seconds, choice.least_seconds, strict=True)
    for stage, seconds, least in reversed(list(told)):
        spans[stage.name] = Span(until=end, least=least, expected=seconds)
        end -= seconds
    return spans


def _minutes(seconds: float) -> float:
    """Minutes that hold so many seconds, to a tenth and a little more."""
    return float(np.ceil(seconds / 6 * 1.1) / 10)
