"""Named lists of stages, from the cheapest to the one that moves every weight.

Figures: EfficientNet-Lite0 at 96 px on 5,000 training pictures of CIFAR-10, 15 % of them for validation, two cores, one
seed; `scripts/bench training FOLDER --only full,guide` prints them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import Stage

HEAD = Stage(name="head", epochs=20, learning_rate=3e-3, augment="light", views=2)
"""What every recipe begins with: a random head would send noise through whatever learns below it."""

BESIDE_MOVES = ("narrow", "narrow_norm", "of_mean", "order_in_time", "of_order")
"""Of the head of clips, `tasks.clips.BESIDE_MOVES`: all but what moves (a test holds the two together)."""


def head(blocks: int) -> tuple[Stage, ...]:
    """Train the head alone, on features computed once: 72.0 % in 20 s."""
    return (HEAD,)


def head_then_top(blocks: int) -> tuple[Stage, ...]:
    """Train the head, then the last two fifths of the blocks, from features stored at the cut: 85.5 % in 152 s."""
    return (HEAD, _learning("top", _top(blocks), epochs=8, views=4))


def adapt(blocks: int) -> tuple[Stage, ...]:
    """Train as `head_then_top`, with batch norms that take new statistics: for pictures that are no photographs.

    1,000 grey drawings of `sample:fashion` end at 86.7 %, 1.2 points above `head_then_top`; 1,000 pictures of CIFAR-10
    at 67.6 %, rolled back to the head and 7.1 points below it (`scripts/bench advise`).
    """
    anew = {"batch_norm": "train", "learning_rate": 2e-3, "schedule": "cosine"}
    return (HEAD, _learning("top", _top(blocks), epochs=8, views=4, **anew))


def gradual(blocks: int) -> tuple[Stage, ...]:
    """Unfreeze one more block at a time, from the head down to the third last.

    84.4 % in 261 s (`scripts/bench advise`). Source: Howard & Ruder, Universal Language Model Fine-tuning for Text
    Classification, ACL 2018, section 3.2.
    """
    deepest = min(3, blocks)
    opened = [
        _learning(f"last-{count}", tuple(range(-count, 0)), epochs=4, views=4, block_decay=0.7)
        for count in range(1, deepest + 1)
    ]
    return (HEAD, *opened)


def full(blocks: int) -> tuple[Stage, ...]:
    """Train the head, then every weight, from the pictures themselves."""
    return (HEAD, _learning("all", "all", epochs=10))


def adapt_then_full(blocks: int) -> tuple[Stage, ...]:
    """Train as `adapt`, then every weight as `full` does, on the statistics that the last blocks took.

    1,000 grey drawings of `sample:fashion` end at 87.4 %, 1.5 points above `full`; 130 photographs at 82.0 %, 10 points
    below it and no further than `adapt` (`scripts/bench advise`).
    """
    return (*adapt(blocks), *full(blocks)[1:])


def dense(blocks: int) -> tuple[Stage, ...]:
    """Train the head, then every weight for long: for answers about places, which the last blocks alone do not know."""
    head = HEAD.model_copy(update={"epochs": 5, "augment": "scenes", "views": 1})
    learning = {"augment": "scenes", "label_smoothing": 0.0, "learning_rate": 1.5e-3, "block_decay": 0.8}
    return (head, _learning("all", "all", epochs=36, **learning))


def solved(blocks: int) -> tuple[Stage, ...]:
    """Compute the head from sixteen views of every picture: for heads that can be, and pictures too few to learn by."""
    return (Stage(name="head", solved=True, epochs=1, augment="light", views=16),)


def clips(blocks: int) -> tuple[Stage, ...]:
    """Train what moves alone, then the whole head, means and order of frames beside it, then the last two fifths.

    In this order: numbers of whole frames learn a few hundred clips by heart, and nothing is left to learn from what
    moves. `sample:fashion-clips` ends at 99.0 % on validation by the first stage (`scripts/bench clips`, AVX-512).
    Nothing is mirrored, for a way has a direction.
    """
    common = {"augment": "light_no_flip", "label_smoothing": 0.1}
    slowly = {"learning_rate": 6e-3, "weight_decay": 1e-2, "epochs": 30}
    moves = HEAD.model_copy(update={"name": "moves", "still": BESIDE_MOVES, **common, **slowly})
    return (moves, HEAD.model_copy(update=common), _learning("top", _top(blocks), epochs=10, views=4, **common))


RECIPES: dict[str, Callable[[int], tuple[Stage, ...]]] = {
    "head": head,
    "head_then_top": head_then_top,
    "adapt": adapt,
    "gradual": gradual,
    "full": full,
    "adapt_then_full": adapt_then_full,
    "dense": dense,
    "solved": solved,
    "clips": clips,
}

ADVISED = {name: make for name, make in RECIPES.items() if make not in (solved, clips)}
"""Those that any head can follow."""


WHOLE = "+int8"
"""What the name of a recipe ends with where its network then learns to be right in whole numbers."""

NAMES = (*RECIPES, *(f"{name}{WHOLE}" for name in RECIPES))
"""All that `stages` takes."""


def stages(name: str, blocks: int, *, pretrained: bool = True, epochs: int | None = None) -> tuple[Stage, ...]:
    """Return the stages of recipe `name` for a backbone of `blocks` blocks.

    pretrained: False for random weights, whose batch norms have no statistics yet and must take them; what comes before
    the stage in which all of them learn is left out. epochs: of every stage, in place of the recipe's own.

    >>> [stage.name for stage in stages("head_then_top", 5)]
    ['head', 'top']

    Raises UsageError for a name that is not in `NAMES`.
    """
    if name not in NAMES:
        raise UsageError(unknown("recipe", name, NAMES))
    made = RECIPES[name.removesuffix(WHOLE)](blocks)
    if name.endswith(WHOLE):
        made = (*made, in_whole_numbers(made))
    changes: dict[str, object] = {}
    if not pretrained:
        made, changes["batch_norm"] = _from_the_first_of_all(made), "train"
    if epochs is not None:
        changes["epochs"] = epochs
    return tuple(stage.model_copy(update=changes) for stage in made)


def in_whole_numbers(before: Sequence[Stage]) -> Stage:
    """Return the stage that teaches a network of these stages to be right in whole numbers.

    A few epochs at a tenth of the rate: the network knows its pictures, and each weight has half a step to go at most.
    Source: Jacob et al., CVPR 2018, section 3; Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.
    """
    last = before[-1]
    rate = 1e-4 if last.learning_rate == "auto" else last.learning_rate / 10
    shown = {"augment": last.augment, "label_smoothing": last.label_smoothing}
    return _learning("int8", "all", precision="int8", epochs=4, learning_rate=rate, schedule="cosine", **shown)


def _from_the_first_of_all(made: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages from the one in which all weights learn; every one where none does.

    Random weights are not worth keeping still. A head that learnt from what little they give has large weights, and
    answers wildly as soon as batch norms below it take their statistics.
    """
    of_all = (place for place, stage in enumerate(made) if stage.blocks == "all" and stage.precision is None)
    return made[next(of_all, 0) :]


def _top(blocks: int) -> tuple[int, ...]:
    """Positions of the last two fifths of the blocks."""
    return tuple(range(-max(1, round(0.4 * blocks)), 0))


def _learning(name: str, blocks: object, **settings: object) -> Stage:
    """A stage in which blocks learn.

    Smoothed labels and light augmentation against the few pictures there are. Batch norms keep the statistics of their
    many pictures; without new ones to steady it, the network breaks at a rate that does not rise slowly.
    """
    shared = {"augment": "light", "label_smoothing": 0.1, "batch_norm": "frozen"}
    gently = {"learning_rate": 6e-4, "schedule": "one_cycle"}
    return Stage.model_validate({"name": name, "blocks": blocks, **shared, **gently, **settings})
