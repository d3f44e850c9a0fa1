"""Writes the model card that goes with every exported model: what it is, what it is for, where it stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from keras_transfer.evaluation.intervals import spread_of
from keras_transfer.evaluation.shipping import judged
from keras_transfer.evaluation.templates import template
from keras_transfer.evaluation.verdict import verdict
from keras_transfer.specs import Output, RunRecord, Scored, Value

FEW_TEST_PICTURES = 200
"""Fewer test pictures than this and its merit is a rough guess, which the card says."""


class ModelCard(Value):
    """`model_card.json`: what a person or a program must know before relying on the model.

    Sections follow Mitchell et al., Model Cards for Model Reporting, FAccT 2019.
    """

    version: int = 2
    """Version 1 named the figures of classification and called the interval's half `accuracy_margin`."""
    name: str
    task: str
    summary: str
    class_names: tuple[str, ...]
    backbone: str
    image_size: int = Field(ge=1)
    weights_source: str
    weights_license: str
    run_digest: str
    data: str
    data_digest: str
    counts: dict[str, int]
    """Pictures, or clips, per split."""
    things: str = "pictures"
    """What was counted: `pictures` or `clips`."""
    environment: dict[str, str]
    merit_name: str
    """What the task judges pictures by: the first of the metrics."""
    metrics: dict[str, float | None]
    """Headline figures on the test pictures by name."""
    margin: float
    """Half the width of the 95 % interval of the merit."""
    per_class: tuple[dict[str, Any], ...]
    per_group: tuple[dict[str, Any], ...] = ()
    """Of groups of pictures, where the task tells them apart: what the threshold wrongly accepts and refuses."""
    exports: tuple[dict[str, Any], ...]
    """Files with name, size_bytes, advice and, where measured, merit, lost_points, agreement, latency_ms, accepted."""
    outputs: tuple[str, ...]
    """What the files give, by name."""
    limits: tuple[str, ...]


def card(
    name: str,
    record: RunRecord,
    scored: Scored,
    exports: Sequence[Mapping[str, Any]] = (),
    outputs: Sequence[Output] = (),
) -> ModelCard:
    """Return the card of a run.

    >>> card("shirts", record, scored).limits[0]  # doctest: +SKIP
    'It knows 10 classes and calls every picture one of them, whatever it shows.'

    scored: on the test split, as the files answer. exports: rows with name, size_bytes and, where measured, merit,
    lost_points, agreement, latency_ms, accepted. outputs: of the files' contract.
    """
    rows = judged(exports)
    return ModelCard(
        name=name,
        task=record.plan.task,
        summary=verdict(scored, record, rows),
        class_names=record.class_names,
        backbone=record.plan.backbone,
        image_size=record.image_size,
        weights_source=record.weights_source,
        weights_license=record.weights_license,
        run_digest=record.digest,
        data=record.plan.data,
        data_digest=record.data_digest,
        counts=record.counts,
        things=scored.things,
        environment=record.environment,
        merit_name=scored.merit_name,
        metrics=dict(scored.figures),
        margin=spread_of(scored.figures, scored.count),
        per_class=tuple(row.model_dump() for row in getattr(scored, "per_class", ())),
        per_group=tuple(row.model_dump() for row in getattr(scored, "per_group", ())),
        exports=tuple(dict(row) for row in rows),
        outputs=tuple(output.name for output in outputs),
        limits=_limits(record, scored),
    )


def markdown(card: ModelCard) -> str:
    """Return the card as `MODEL_CARD.md`."""
    return template("model_card.md.j2").render(card=card)


def _limits(record: RunRecord, scored: Scored) -> tuple[str, ...]:
    known = spread_of(scored.figures, scored.count)
    said = {
        f"Its {scored.merit_name} was measured on {scored.count} {scored.things} only, so it is known to within "
        f"{known:.1%}.": scored.count < FEW_TEST_PICTURES,
        f"Its figures hold for {scored.things} like those of its data; other cameras, light or places were not "
        "measured.": True,
        "The licence of the weights that training began from is not known.": not record.weights_license,
    }
    return (*scored.limits(), *(sentence for sentence, holds in said.items() if holds))
