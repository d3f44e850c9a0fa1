"""Named lists of stages, from the cheapest to the one that moves every weight."""

from __future__ import annotations

from collections.abc import Callable

from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import Stage


def head(blocks: int) -> tuple[Stage, ...]:
    """Train the head alone, on features computed once."""
    return (Stage(name="head", epochs=20, learning_rate=3e-3, augment="light", views=2),)


def head_then_top(blocks: int) -> tuple[Stage, ...]:
    """Train the head, then the head and the last two fifths of the blocks, from features stored at the cut."""
    top = tuple(range(-max(1, round(0.4 * blocks)), 0))
    return (
        *head(blocks),
        Stage(name="top", blocks=top, epochs=8, learning_rate=2e-3, augment="light", views=4, label_smoothing=0.1),
    )


RECIPES: dict[str, Callable[[int], tuple[Stage, ...]]] = {"head": head, "head_then_top": head_then_top}


def stages(name: str, blocks: int) -> tuple[Stage, ...]:
    """Return the stages of recipe `name` for a backbone of `blocks` blocks.

    >>> [stage.name for stage in stages("head_then_top", 5)]
    ['head', 'top']

    Raises UsageError for a name that is not in `RECIPES`.
    """
    if name not in RECIPES:
        raise UsageError(unknown("recipe", name, RECIPES))
    return RECIPES[name](blocks)
