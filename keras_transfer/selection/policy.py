"""Decides how to train from what was measured: one decision a function, each with its reason and number.

The thresholds come from measured runs (EfficientNet-Lite0, two CPU cores; `scripts/bench advise` makes them again).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_transfer.selection.findings import Alternative, Question, Ranked, Reason, Recipes
from keras_transfer.specs import Stage

SOLVED = 0.98
"""Balanced accuracy of a probe from which the head is all there is to gain from."""

ORDER = ("adapt_then_full", "full", "head_then_top", "head")
"""Recipes, deepest first; the gate of a stage makes depth cost time and never accuracy."""

UNLIKE = 0.33
"""Distance of the first block's activations, in deviations, from which batch norms take new statistics before every
weight learns. At 96 and 128 px grey drawings are at 0.40 to 0.47 and CIFAR-10 at 0.16 to 0.27, photographs at 224 px at
0.04 (`keras-transfer advise SOURCE --json`); CIFAR-10 enlarged to 224 px is beyond it too, at 0.37. Of three kinds that
had no part in it, at 224 px, coloured drawings are at 0.42, where `adapt_then_full` gave 88.7 % and `full` 85.6 % (one
seed, 97 test pictures); faces at 0.53 and blood cells at 0.80 are known by whatever learns: 100 % and 99.6 %
(`scripts/bench advise`)."""

FEWEST_IN_A_BATCH = 16
"""Pictures whose statistics are worth taking."""

FEW_PER_CLASS = 10
"""Below this many in the smallest class the first blocks are left alone, in half the time. On the one such task that
was measured, 130 photographs, letting them learn was as accurate: 88.3 % of 100 test pictures in the mean of three
seeds."""

LEARNING_LOOKS = 6
"""Frozen looks in LiteRT that a picture costs in each epoch in which every weight learns, where no step of training was
timed. Two AVX-512 cores need 4.1 at 96 px and 5.5 at 224 px, in CPU-seconds of the step alone; two AVX2 cores train 10
to 14 pictures a second at 224 px, which is several times as many looks. No one figure fits both: where it matters a
step is timed."""

FORWARD = 0.3
"""Of what a picture costs where every weight learns, the share of the way forward: what a validation picture costs, and
one on its way to the first block that learns. 0.27 to 0.32 at 96 to 224 px."""

GIVES = {
    "full": "every weight can move",
    "head_then_top": "on five measured tasks 0.0 to 1.4 points less than full; the last blocks learn",
}
"""What a recipe is expected to give, for a person (`scripts/bench advise`); of the head alone the probe says it."""

WITHOUT_FLIP = {"light": "light_no_flip"}
"""Augmentation that leaves left and right where they are, for each that does not."""

NOISY = 0.08
"""Share of doubtful labels from which training should not be sure of any."""


@dataclass(frozen=True)
class Choice:
    """What training should do, and why."""

    recipe: str
    stages: tuple[Stage, ...]
    reasons: tuple[Reason, ...]


def choose(
    question: Question, best: Ranked | None, label_noise: float | None, recipes: Recipes, batch_size: int
) -> Choice:
    """Return the stages for a task and the backbone that suits it best.

    >>> choose(question, ranked, 0.02, {"head": head, "full": full}, 32).recipe  # doctest: +SKIP
    'full'

    best: None where nothing could be measured; then the choice rests on counts alone. recipes: `head` must be among
    them; of those in `ORDER` the deepest that is justified and known is taken.
    """
    blocks = len(best.blocks) if best and best.blocks else 5
    name, depth = _depth(question, best, recipes, blocks)
    stages, reasons = recipes[name](blocks), [depth]
    for decide in (_epochs, _rates, _augmentation, _batch_norm, _labels):
        stages, reason = decide(stages, question, best, label_noise, batch_size)
        reasons.append(reason)
    return Choice(name, stages, tuple(reasons))


def training_seconds(question: Question, stages: Sequence[Stage], ranked: Ranked) -> float:
    """Return roughly how long stages take, validation after each epoch included.

    >>> training_seconds(question, recipes["full"](5), ranked)  # doctest: +SKIP
    2520.0

    Where the head learns a picture is looked at once a view; where blocks learn each epoch goes forward and back
    through them. What stands before them is computed once a view, unless every block learns.
    """
    learning_ms = ranked.learning_ms or LEARNING_LOOKS * ranked.picture_ms
    every = question.pictures + question.validation_pictures
    ms = 0.0
    for stage in stages:
        share = learning_share(stage, [block.work for block in ranked.blocks])
        ms += stage.views * (1 - share) * ranked.picture_ms * every
        passes = question.pictures + FORWARD * question.validation_pictures
        ms += stage.epochs * share * learning_ms * passes
    return ms / 1000


def learning_share(stage: Stage, work: Sequence[float]) -> float:
    """Return the share of the backbone's work from the first block that learns onwards, 0-1.

    work: of each block, 0-1; empty where it is not known, and then all of it counts.

    >>> learning_share(Stage(name="top", blocks=(-2, -1)), [0.5, 0.25, 0.25])
    0.5
    """
    if not stage.blocks:
        return 0.0
    if isinstance(stage.blocks, str) or not work:
        return 1.0
    first = min(each % len(work) for each in stage.blocks)
    return float(sum(work[first:]))


def alternatives(question: Question, choice: Choice, best: Ranked, recipes: Recipes) -> tuple[Alternative, ...]:
    """Return what the chosen recipe takes, and what each that takes less would take and is expected to give.

    >>> [each.recipe for each in alternatives(question, choice, ranked, recipes)]  # doctest: +SKIP
    ['full', 'head_then_top', 'head']
    """
    chosen = training_seconds(question, choice.stages, best)
    told = [Alternative(recipe=choice.recipe, seconds=chosen, sentence=f"{choice.recipe} takes {about(chosen)}")]
    for name in ORDER[ORDER.index(choice.recipe) + 1 :]:
        if name not in recipes:
            continue
        seconds = training_seconds(question, recipes[name](len(best.blocks) or 5), best)
        if seconds >= told[-1].seconds:
            continue
        gives = _head_gives(best) if name == "head" else GIVES[name]
        told.append(Alternative(recipe=name, seconds=seconds, sentence=f"{name} {about(seconds)}, {gives}"))
    return tuple(told)


def _head_gives(best: Ranked) -> str:
    if best.probe_accuracy is None:
        return "at what could not be measured"
    return f"at about what the probe says: {best.probe_accuracy:.1%}"


def about(seconds: float) -> str:
    """Return a time as a person says it.

    >>> about(42.4), about(2520)
    ('about 42 s', 'about 42 min')
    """
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} hours"


def _depth(question: Question, best: Ranked | None, recipes: Recipes, blocks: int) -> tuple[str, Reason]:
    pictures, smallest = question.pictures, int(question.class_counts.min())
    probe = best.probe_accuracy if best else None
    balanced = best.balanced_accuracy if best else None
    if balanced is not None and balanced >= SOLVED:
        wish, value = "head", balanced
        why = f"a linear classifier on the frozen features is already right in {balanced:.1%}, class by class"
    elif smallest < FEW_PER_CLASS:
        wish, value = "head_then_top", float(pictures)
        why = f"{pictures} pictures, {smallest} in the smallest class, are too few to move the first blocks"
    elif (distance := best.blocks[0].distance if best and best.blocks else None) is not None and distance >= UNLIKE:
        wish, value = "adapt_then_full", distance
        why = (
            f"the first block's activations are {distance:.2f} deviations from those of the pictures the backbone "
            f"learned from, so batch norms take new statistics before every weight learns"
        )
    else:
        wish, value = "full", probe if probe is not None else float(pictures)
        why = (
            f"a linear classifier on the frozen features is right in {probe:.1%} only, "
            f"and {pictures} pictures can move what it rests on"
            if probe is not None
            else f"{pictures} pictures can move more than the head; a stage that does not help is rolled back"
        )
    name = next(each for each in ORDER[ORDER.index(wish) :] if each in recipes)
    order = ", then ".join(stage.name for stage in recipes[name](blocks))
    return name, Reason(topic="which blocks learn", sentence=f"Recipe {name} ({order}): {why}.", value=value)


Adapted = tuple[tuple[Stage, ...], Reason]


def _epochs(
    stages: Sequence[Stage], question: Question, best: Ranked | None, label_noise: float | None, batch_size: int
) -> Adapted:
    per_epoch = max(1, int(np.ceil(question.pictures / batch_size)))
    epochs = sum(stage.epochs for stage in stages if stage.blocks) or sum(stage.epochs for stage in stages)
    what = "where blocks learn" if any(stage.blocks for stage in stages) else "of the head"
    sentence = f"{epochs} epochs {what}, as the recipe has them: {epochs * per_epoch} steps."
    return tuple(stages), Reason(topic="epochs", sentence=sentence, value=float(epochs))


def _rates(
    stages: Sequence[Stage], question: Question, best: Ranked | None, label_noise: float | None, batch_size: int
) -> Adapted:
    rates = ", ".join(f"{stage.name} {stage.learning_rate:g}" for stage in stages)
    distances = [block.distance for block in best.blocks if block.distance is not None] if best else []
    mean = float(np.mean(distances)) if distances else None
    unlike = (
        "how unlike the pictures are could not be measured"
        if mean is None
        else f"activations are {mean:.2f} deviations from those of the pictures the backbone learned from"
    )
    sentence = f"Peak rates as the recipe has them ({rates}); {unlike} (0: alike)."
    return tuple(stages), Reason(topic="learning rates", sentence=sentence, value=mean)


def _augmentation(
    stages: Sequence[Stage], question: Question, best: Ranked | None, label_noise: float | None, batch_size: int
) -> Adapted:
    loss, error = (best.mirror_loss, best.mirror_error) if best else (None, None)
    if loss is None or error is None:
        seen = "whether mirrored pictures still show the same could not be measured"
    else:
        seen = (
            f"a probe is right in {abs(loss) * 100:.1f} points {'less' if loss > 0 else 'more'} of mirrored pictures "
            f"(standard error {error * 100:.1f})"
        )
        if loss > 2 * error:
            stages = [
                stage.model_copy(update={"augment": WITHOUT_FLIP.get(stage.augment, stage.augment)}) for stage in stages
            ]
            seen += ", so left and right stay where they are"
    names = ", ".join(dict.fromkeys(stage.augment for stage in stages))
    return tuple(stages), Reason(topic="augmentation", sentence=f"Augmentation {names}: {seen}.", value=loss)


def _batch_norm(
    stages: Sequence[Stage], question: Question, best: Ranked | None, label_noise: float | None, batch_size: int
) -> Adapted:
    pictures = question.pictures
    policies = {stage.batch_norm for stage in stages if stage.blocks}
    if min(pictures, batch_size) < FEWEST_IN_A_BATCH and "train" in policies:
        stages = [stage.model_copy(update={"batch_norm": "frozen"}) if stage.blocks else stage for stage in stages]
        policy = "frozen, since that is too few to take statistics from"
    else:
        policy = f"{', '.join(sorted(policies)) or 'frozen'}, as the recipe has it"
    sentence = f"Batch norm of learning blocks, with {pictures} pictures in batches of {batch_size}: {policy}."
    return tuple(stages), Reason(topic="batch norm", sentence=sentence, value=float(pictures))


def _labels(
    stages: Sequence[Stage], question: Question, best: Ranked | None, label_noise: float | None, batch_size: int
) -> Adapted:
    if label_noise is None or label_noise < NOISY:
        known = "not known" if label_noise is None else f"{label_noise:.1%}"
        sentence = f"Labels are taken as they are: the share a probe doubts is {known}."
        return tuple(stages), Reason(topic="label noise", sentence=sentence, value=label_noise)
    changed = tuple(stage.model_copy(update={"label_smoothing": 0.1}) if stage.blocks else stage for stage in stages)
    wrong = (
        ""
        if best is None or best.probe_accuracy is None
        else f", which is itself wrong in {1 - best.probe_accuracy:.0%}"
    )
    sentence = (
        f"Labels are smoothed by 0.1: a probe{wrong}, doubts {label_noise:.1%} of them; no more than that are wrong."
    )
    return changed, Reason(topic="label noise", sentence=sentence, value=label_noise)
