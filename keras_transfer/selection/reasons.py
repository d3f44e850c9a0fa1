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
    size = Reason(
        topic="image size",
        sentence=f"{chosen.image_size} pixels a side, at which a picture takes {chosen.picture_ms:.1f} ms here.",
        value=float(chosen.image_size),
    )
    if chosen.probe_accuracy is None:
        return (
            Reason(topic="backbone", sentence=f"{chosen.backbone}, for nothing could be told from its features."),
            size,
        )
    rest = len(ranking) - 1
    among = (
        f", the smallest that chance does not tell from the best of {rest + 1}" if rest else ", the only one measured"
    )
    reasons = [
        Reason(
            topic="backbone",
            sentence=f"{chosen.backbone}{among}: a linear classifier on its frozen features is right in "
            f"{chosen.probe_accuracy:.1%}{'' if chosen.tells else ', no more than chance gives'}.",
            value=chosen.probe_accuracy,
        ),
        Reason(
            topic="how probes are judged",
            sentence=f"A probe is fitted to training pictures and judged {chosen.judged_on}; the standard error of "
            f"what it says is {(chosen.standard_error or 0) * 100:.1f} points.",
            value=chosen.standard_error,
        ),
        size,
    ]
    if chosen.blocks and chosen.tells:
        accuracies = [block.accuracy for block in chosen.blocks]
        peak = int(np.argmax(accuracies))
        place = (
            "the last block" if peak == len(accuracies) - 1 else f"block {peak} of {len(accuracies) - 1}, not the last"
        )
        reasons.append(
            Reason(
                topic="where the knowledge stands",
                sentence=f"What is known of this task stands at the end of {place}: a probe there is right in "
                f"{accuracies[peak]:.1%}.",
                value=float(peak),
            )
        )
    if chosen.intrinsic_dimension is not None:
        reasons.append(
            Reason(
                topic="complexity",
                sentence=f"The features vary in about {chosen.intrinsic_dimension:.0f} directions.",
                value=chosen.intrinsic_dimension,
            )
        )
    return tuple(reasons)
