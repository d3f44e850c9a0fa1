"""Uses a model of any format: evaluates it on a split, predicts from picture files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keras_transfer.data import pipeline
from keras_transfer.evaluation import metrics
from keras_transfer.evaluation.metrics import Metrics
from keras_transfer.export import (
    runtime,
)
from keras_transfer.specs import (
    PROBABILITIES_OUTPUT,
    Listener,
    Value,
    silent,
)
from keras_transfer.workflow.joints import contract_of, data_of, located, predict_split, probabilities_of


class Prediction(Value):
    """What a model says of one picture."""

    picture: str
    class_name: str
    probability: float
    probabilities: dict[str, float]


def evaluate(
    model: Path | str, source: str | None = None, *, split: str = "test", listener: Listener = silent
) -> Metrics:
    """Return what `model` (a run folder or a file of any format) is worth on a split of `source`.

    source: the data of its run where it is left out.
    """
    path, run = located(model)
    splits, feed = data_of(source, run, listener)
    contract = contract_of(run) if run else None
    loaded = runtime.load(path, contract=contract)
    size = loaded.artifact.contract.image_size
    probabilities = predict_split(probabilities_of(loaded), feed, split, size, len(splits[split]), listener)
    return metrics.score(probabilities, splits[split].labels, splits.class_names)


def predict(
    model: Path | str, pictures: Sequence[Path | str], *, labels: Sequence[str] | None = None
) -> tuple[Prediction, ...]:
    """Return what `model` (a run folder or a file of any format) says of each picture file.

    labels: the class names of a model that does not carry them.
    """
    path, run = located(model)
    loaded = runtime.load(path, contract=contract_of(run) if run else None, labels=labels)
    contract = loaded.artifact.contract
    images = pipeline.read_pictures(pictures, image_size=contract.image_size, aspect=contract.aspect)
    return tuple(
        Prediction(
            picture=str(picture),
            class_name=contract.class_names[int(row.argmax())],
            probability=float(row.max()),
            probabilities={name: float(p) for name, p in zip(contract.class_names, row, strict=True)},
        )
        for picture, row in zip(pictures, loaded.predict(images)[PROBABILITIES_OUTPUT], strict=True)
    )
