"""Writes the model card that goes with every exported model: what it is, what it is for, where it stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from keras_transfer.evaluation.metrics import Metrics
from keras_transfer.evaluation.templates import template
from keras_transfer.evaluation.verdict import margin, verdict
from keras_transfer.specs import RunRecord, Value

FEW_TEST_PICTURES = 200
"""Fewer test pictures than this and an accuracy is a rough guess, which the card says."""

WEAK_RECALL = 0.5
RARE_CLASS = 0.1
"""A class with less than this share of the largest class's test pictures is called rare."""


class ModelCard(Value):
    """`model_card.json`: what a person or a program must know before relying on the model.

    Sections follow Mitchell et al., Model Cards for Model Reporting, FAccT 2019.
    """

    version: int = 1
    name: str
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
    """Pictures per split."""
    environment: dict[str, str]
    metrics: dict[str, float | None]
    accuracy_margin: float
    """Half the width of the accuracy's 95 % interval."""
    per_class: tuple[dict[str, Any], ...]
    exports: tuple[dict[str, Any], ...]
    limits: tuple[str, ...]


def card(name: str, record: RunRecord, metrics: Metrics, exports: Sequence[Mapping[str, Any]] = ()) -> ModelCard:
    """Return the card of a run.

    >>> card("shirts", record, metrics).limits[0]  # doctest: +SKIP
    'It knows 10 classes and calls every picture one of them, whatever it shows.'

    metrics: on the test split. exports: rows with name, size_bytes, accuracy and, where measured, latency_ms.
    """
    scalars = ("accuracy", "balanced_accuracy", "top5_accuracy", "log_loss", "expected_calibration_error")
    return ModelCard(
        name=name,
        summary=verdict(metrics, record, exports),
        class_names=record.class_names,
        backbone=record.plan.backbone,
        image_size=record.image_size,
        weights_source=record.weights_source,
        weights_license=record.weights_license,
        run_digest=record.digest,
        data=record.plan.data,
        data_digest=record.data_digest,
        counts=record.counts,
        environment=record.environment,
        metrics={key: getattr(metrics, key) for key in scalars},
        accuracy_margin=margin(metrics),
        per_class=tuple(row.model_dump() for row in metrics.per_class),
        exports=tuple(dict(row) for row in exports),
        limits=_limits(record, metrics),
    )


def markdown(card: ModelCard) -> str:
    """Return the card as `MODEL_CARD.md`."""
    return template("model_card.md.j2").render(card=card)


def _limits(record: RunRecord, metrics: Metrics) -> tuple[str, ...]:
    rows = metrics.per_class
    unseen = [row.name for row in rows if not row.count]
    weak = [f"{row.name} ({row.recall:.0%})" for row in rows if row.recall is not None and row.recall < WEAK_RECALL]
    largest = max(row.count for row in rows)
    rare = [row.name for row in rows if 0 < row.count < RARE_CLASS * largest]
    said = {
        f"It knows {len(rows)} classes and calls every picture one of them, whatever it shows.": True,
        f"Its accuracy was measured on {metrics.count} pictures only, so it is known to within "
        f"{margin(metrics):.1%}.": metrics.count < FEW_TEST_PICTURES,
        "Its figures hold for pictures like those of its data; other cameras, light or places were not measured.": True,
        f"Nothing is known of {', '.join(unseen)}: no test picture shows it.": bool(unseen),
        f"It finds fewer than half of: {', '.join(weak)}.": bool(weak),
        f"Rare in the test pictures, so their figures are rough: {', '.join(rare)}.": bool(rare),
        "Do not read its confidence as a probability: it is off by "
        f"{metrics.expected_calibration_error * 100:.0f} points.": metrics.expected_calibration_error > 0.05,
        "The licence of the weights that training began from is not known.": not record.weights_license,
    }
    return tuple(sentence for sentence, holds in said.items() if holds)
