"""Chooses the plan that is expected to be best within so many seconds, from what was measured in the first of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keras_transfer.selection.findings import Recipes
from keras_transfer.selection.policy import FEW_PER_CLASS, FORWARD, UNLIKE, learning_share
from keras_transfer.specs import Stage

GAINS = {"head": 0.0, "head_then_top": 9.9, "adapt": 5.9, "full": 10.6, "adapt_then_full": 6.4}
"""Points of accuracy above `head` that a recipe gives with all of its epochs, in the mean of the five tasks of
`scripts/bench advise`; those that take new statistics, of its two tasks of drawings."""

HALVED = 4.0
"""How fast a recipe nears what it gives: with a share s of its epochs it gives 1 - exp(-4 s) of it. Of its 8 epochs
`head_then_top` has 30 % of its gain after one and 66 % after two (`scripts/bench training FOLDER --only full`)."""

SMALLER, LARGER = 16.0, 1.0
"""Points that half the side costs, and that twice the side is worth beyond the size that fits the pictures. From 128 to
64 pixels heads lose 3 points on drawings and 12 on CIFAR-10, and in half a minute `head_then_top` at 64 pixels ended 14
points of validation below `head` at 96: pictures are made small where nothing else fits. A third more than what fits
brings 0 to 2.1."""

POINTS_OF_VIEWS, POINTS_OF_HEAD = 0.3, 0.5
"""Points that half the views cost, and half the epochs of the head: guesses, small beside the others."""

VIEWS = (1, 2, 4)
HEAD_EPOCHS = (5, 10, 20)
SMALLEST = 64
"""Side in pixels below which pictures are not taken to save time."""

START = {"head": 1.2, "blocks": 2.0, "all": 2.5}
"""What a stage takes before its first step, features left out, beside the build of the frozen part that was timed:
guesses, as the next two are; `training.pace` mends while a stage runs what they get wrong."""

FINISH = 1.5
"""What saving, settling and the first batch of the test take, beside the same."""

STEP_SHARE = 1 / 400
"""What a step takes however small its pictures are, beside the same: a call, and a batch put together."""

FILLED = 0.92
"""Share of the time that a plan is to fill, as no measurement of the first seconds holds to the last."""


@dataclass(frozen=True)
class Rates:
    """What was measured in the first seconds, of pictures of one size, on this machine as busy as it is."""

    image_size: int
    look_ms: float
    """Of a picture through the whole frozen backbone, in batches."""
    feed_ms: float
    """Until a picture is there: read, decoded, squared, augmented."""
    learn_ms: float
    """Of a picture in a step in which every weight learns."""
    build_seconds: float
    """To make the frozen part ready on its engine."""
    work: tuple[float, ...]
    """Share of the backbone's multiply-adds of each block."""
    distance: float | None = None
    """Of the first block's activations from the source's, in deviations."""


@dataclass(frozen=True)
class Wanted:
    """What is to be learned in the time, and what a person fixed."""

    counts: Mapping[str, int]
    """Pictures per split."""
    smallest_class: int
    sizes: tuple[int, ...]
    """Sides in pixels to choose from."""
    fitting_size: int
    """The side that fits the pictures."""
    batch_size: int = 32
    recipe: str | None = None
    """Where it is given: no other is thought of."""


@dataclass(frozen=True)
class Choice:
    """A plan for the time, and what it is expected to take and to give."""

    recipe: str
    image_size: int
    stages: tuple[Stage, ...]
    stage_seconds: tuple[float, ...]
    least_seconds: tuple[float, ...]
    """What each stage needs at least: its start, one view, and half an epoch."""
    finish_seconds: float
    points: float
    """Expected, above a head of all its epochs at the size that fits."""

    @property
    def seconds(self) -> float:
        """What all of it takes, the test included."""
        return sum(self.stage_seconds) + self.finish_seconds

    @property
    def sentence(self) -> str:
        """What is done, for a person."""
        told = ", ".join(f"{stage.name} {_times(stage)}" for stage in self.stages)
        return f"{self.recipe} at {self.image_size} pixels ({told}), about {self.seconds / 60:.1f} minutes"


def choose(wanted: Wanted, rates: Rates, recipes: Recipes, seconds: float) -> Choice | None:
    """Return the plan that is expected to be best among those that `seconds` hold; None where they hold none.

    >>> choose(wanted, rates, recipes.ADVISED, seconds=100).recipe  # doctest: +SKIP
    'head_then_top'

    More time never gives a plan that less is expected of: what fits little fits much.
    """
    fitting = [each for each in _plans(wanted, rates, recipes) if each.seconds <= FILLED * seconds]
    return max(fitting, key=lambda each: (round(each.points, 3), -each.seconds), default=None)


def least(wanted: Wanted, rates: Rates, recipes: Recipes) -> float:
    """Return the seconds that the quickest plan needs."""
    return min(each.seconds for each in _plans(wanted, rates, recipes)) / FILLED


def more(now: Choice, then: Choice | None) -> str:
    """Return what a plan of more time would bring over that of less, for a person."""
    if then is None or then.points - now.points < 0.05:
        return "would change nothing: this is all that the recipes hold"
    return f"is expected to bring {then.points - now.points:.1f} points: {then.sentence}"


def sizes(fitting: int, smallest: int, largest: int) -> tuple[int, ...]:
    """Return the sides to choose from: what fits, a third more, and less in whole strides.

    >>> sizes(96, 32, 224)
    (64, 96, 128)
    """
    more = min(largest, -(-fitting * 4 // 3 // 32) * 32)
    less = range(fitting - 32, max(SMALLEST, smallest) - 1, -32)
    return tuple(sorted({*less, fitting, max(more, fitting)}))


def _plans(wanted: Wanted, rates: Rates, recipes: Recipes) -> Iterator[Choice]:
    """Every plan that is thought of: a recipe, a size, a share of its epochs, views, epochs of the head."""
    for name in _names(wanted, rates, recipes):
        whole = recipes[name](len(rates.work))
        shares = sorted({k / 10 for k in range(1, 11)}) if len(whole) > 1 else [1.0]
        for size in wanted.sizes:
            for share in shares:
                for views in VIEWS:
                    for epochs in HEAD_EPOCHS:
                        yield _plan(wanted, rates, name, size, _shortened(whole, share, views, epochs), whole)


def _names(wanted: Wanted, rates: Rates, recipes: Recipes) -> tuple[str, ...]:
    if wanted.recipe:
        return (wanted.recipe,)
    unlike = rates.distance is not None and rates.distance >= UNLIKE
    names = ("adapt_then_full", "adapt", "head") if unlike else ("full", "head_then_top", "head")
    return tuple(
        name for name in names if name in recipes and (name != "full" or wanted.smallest_class >= FEW_PER_CLASS)
    )


def _shortened(whole: Sequence[Stage], share: float, views: int, epochs: int) -> tuple[Stage, ...]:
    """Return stages with a share of their epochs, the first with a number of its own, and no more views than wanted."""
    made = []
    for number, stage in enumerate(whole):
        wanted = min(stage.epochs, epochs) if number == 0 else max(1, round(share * stage.epochs))
        changes = {"epochs": wanted, "views": min(stage.views, views, wanted)}
        made.append(stage.model_copy(update=changes))
    return tuple(made)


def _plan(
    wanted: Wanted, rates: Rates, recipe: str, size: int, stages: tuple[Stage, ...], whole: Sequence[Stage]
) -> Choice:
    costs = [_seconds(wanted, rates, size, stage) for stage in stages]
    passed = wanted.counts["validation"] + wanted.counts["test"]
    finish = FINISH * rates.build_seconds + passed * (FORWARD * _learn(rates, size) + rates.feed_ms / 1000)
    return Choice(
        recipe=recipe,
        image_size=size,
        stages=stages,
        stage_seconds=tuple(cost for cost, _ in costs),
        least_seconds=tuple(cost for _, cost in costs),
        finish_seconds=finish,
        points=_points(wanted, recipe, size, stages, whole),
    )


def _learn(rates: Rates, size: int) -> float:
    """Seconds of a picture where every weight learns."""
    return rates.learn_ms / 1000 * (size / rates.image_size) ** 2


def _seconds(wanted: Wanted, rates: Rates, size: int, stage: Stage) -> tuple[float, float]:
    """Return what a stage takes, and what it takes at least."""
    train, validation = wanted.counts["train"], wanted.counts["validation"]
    share = learning_share(stage, rates.work)
    look, feed = rates.look_ms / 1000 * (size / rates.image_size) ** 2, rates.feed_ms / 1000
    start = START["head" if share == 0 else "all" if share == 1 else "blocks"] * rates.build_seconds
    a_view = train * ((1 - share) * look + feed)
    of_validation = validation * ((1 - share) * look + feed)
    steps = math.ceil(train / wanted.batch_size)
    epoch = share * _learn(rates, size) * (train + FORWARD * validation) + steps * STEP_SHARE * rates.build_seconds
    if share == 1:  # streamed: pictures are decoded once, and nothing is computed before
        first = a_view + of_validation
        return start + first + stage.epochs * epoch, start + 0.5 * (first + epoch)
    return (
        start + stage.views * a_view + of_validation + stage.epochs * epoch,
        start + a_view + of_validation + epoch / 2,
    )


def _points(wanted: Wanted, recipe: str, size: int, stages: Sequence[Stage], whole: Sequence[Stage]) -> float:
    """Return what is expected of a plan, above a head of all its epochs at the size that fits."""
    octaves = math.log2(size / wanted.fitting_size)
    points = GAINS.get(recipe, 0.0) if len(stages) > 1 else 0.0
    if points:
        share = sum(each.epochs for each in stages[1:]) / sum(each.epochs for each in whole[1:])
        points *= 1 - math.exp(-HALVED * share)
    points += SMALLER * octaves if octaves < 0 else LARGER * octaves
    fewer = sum(math.log2(full.views / stage.views) for stage, full in zip(stages, whole, strict=True))
    return points - POINTS_OF_VIEWS * fewer - POINTS_OF_HEAD * math.log2(whole[0].epochs / stages[0].epochs)


def _times(stage: Stage) -> str:
    epochs = f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}"
    return f"{epochs} of {stage.views} view{'s' * (stage.views != 1)}" if stage.blocks != "all" else epochs
