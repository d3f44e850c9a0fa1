"""Says, with the number behind it, what was found of a task and of the backbone that suits it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_transfer.selection.findings import Question, Ranked, Reason


def about_question(question: Question) -> tuple[Reason, ...]:
    """Return what there is to learn from."""
    counts = question.class_counts
    shift = question.shift
    return (
        Reason(
            topic="pictures",
            sentence=f"{len(counts)} classes with {counts.min()} to {counts.max()} training pictures each, "
            f"{question.pictures} in all.",
            value=float(question.pictures),
        ),
        Reason(
            topic="input",
            sentence=f"The pictures are about {question.typical_size} pixels a side; {shift.grey_share:.0%} of them "
            f"are grey, and at {question.image_size} pixels {shift.fine_detail:.2%} of their variation is fine detail "
            f"(sharp photographs: 2 to 10 %).",
            value=shift.fine_detail,
        ),
    )


def about_backbone(chosen: Ranked | None, ranking: Sequence[Ranked]) -> tuple[Reason, ...]:
    """Return why this backbone, at this size, and where in it the knowledge stands; nothing where none was measured."""
    if chosen is None:
        return ()
    if chosen.probe_accuracy is None:
        sentence = f"{chosen.backbone}, for nothing could be told from its features."
        return Reason(topic="backbone", sentence=sentence), _size(chosen)
    return (*_probed(chosen, chosen.probe_accuracy, len(ranking)), _size(chosen), *_place(chosen), *_complexity(chosen))


def _size(chosen: Ranked) -> Reason:
    return Reason(
        topic="image size",
        sentence=f"{chosen.image_size} pixels a side, at which a picture takes {chosen.picture_ms:.1f} ms here.",
        value=float(chosen.image_size),
    )


def _probed(chosen: Ranked, accuracy: float, measured: int) -> tuple[Reason, Reason]:
    """What a probe says of the backbone, and how far that can be trusted."""
    smallest = f", the smallest that chance does not tell from the best of {measured}"
    among = smallest if measured > 1 else ", the only one measured"
    return (
        Reason(
            topic="backbone",
            sentence=f"{chosen.backbone}{among}: a linear classifier on its frozen features is right in "
            f"{accuracy:.1%}{'' if chosen.tells else ', no more than chance gives'}.",
            value=accuracy,
        ),
        Reason(
            topic="how probes are judged",
            sentence=f"A probe is fitted to training pictures and judged {chosen.judged_on}; the standard error of "
            f"what it says is {(chosen.standard_error or 0) * 100:.1f} points.",
            value=chosen.standard_error,
        ),
    )


def _place(chosen: Ranked) -> list[Reason]:
    """Where in the backbone most is known, if anything is."""
    if not (chosen.blocks and chosen.tells):
        return []
    accuracies = [block.accuracy for block in chosen.blocks]
    peak, last = int(np.argmax(accuracies)), len(accuracies) - 1
    place = "the last block" if peak == last else f"block {peak} of {last}, not the last"
    sentence = (
        f"What is known of this task stands at the end of {place}: a probe there is right in {accuracies[peak]:.1%}."
    )
    return [Reason(topic="where the knowledge stands", sentence=sentence, value=float(peak))]


def _complexity(chosen: Ranked) -> list[Reason]:
    directions = chosen.intrinsic_dimension
    if directions is None:
        return []
    sentence = f"The features vary in about {directions:.0f} directions."
    return [Reason(topic="complexity", sentence=sentence, value=directions)]
