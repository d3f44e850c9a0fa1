"""What several verbs need: a run's data, network and contract, and answers over a whole split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer import runs
from keras_transfer.backbones import blocks, features
from keras_transfer.data import pipeline, sources
from keras_transfer.errors import UsageError
from keras_transfer.evaluation import metrics
from keras_transfer.export.runtime import Runtime
from keras_transfer.specs import (
    PROBABILITIES_OUTPUT,
    BackboneSpec,
    Contract,
    Event,
    Feed,
    Listener,
    Network,
    Plan,
    Run,
    Splits,
    silent,
)
from keras_transfer.tasks import classification
from keras_transfer.training.stage_data import Settings

CALIBRATION_PICTURES = 200
EVALUATION_BATCH = 128
ADVICE = "advice.json"
TRANSFER = "transfer.json"


def resolved(plan: Plan, spec: BackboneSpec, splits: Splits, listener: Listener) -> Plan:
    """Fill in what the plan left to the package, and say so."""
    if plan.image_size is None:
        size = fitting_size(spec, splits.typical_size)
        listener(Event("note", f"image size {size}: the pictures are about {splits.typical_size} pixels"))
        plan = plan.model_copy(update={"image_size": size})
    if plan.image_size is not None and plan.image_size < spec.min_size:
        raise UsageError(f"{spec.name} takes pictures of at least {spec.min_size} pixels. Received: {plan.image_size}")
    return plan


def fitting_size(spec: BackboneSpec, typical: int) -> int:
    """Three times the pictures' own size, in steps of 32, between 96 pixels and what the backbone was trained at.

    Filters learnt on large pictures need small ones enlarged, but enlarging beyond that only costs time.
    """
    enlarged = -(-3 * max(typical, 1) // 32) * 32
    return max(spec.min_size, min(spec.input_size, max(96, enlarged)))


def settings_of(plan: Plan, splits: Splits, engine: str, **others: Any) -> Settings:
    """Return what all stages of a run of `plan` share; those of its other fields that are None keep their default."""
    given = {name: value for name, value in others.items() if value is not None}
    return Settings(
        image_size=int(plan.image_size or 0),
        counts=splits.counts,
        batch_size=plan.batch_size,
        seed=plan.seed,
        data_digest=splits.digest,
        aspect=plan.aspect,
        engine=engine,
        **given,
    )


def network_of(
    plan: Plan, spec: BackboneSpec, splits: Splits, weights: str, listener: Listener
) -> tuple[Network, features.Features]:
    """Build the classifier that `plan` names, with `weights` in its backbone; its policy ends with the building."""
    keras.utils.set_random_seed(plan.seed)
    keras.config.set_dtype_policy(plan.precision)
    try:
        built = features.build(spec, image_size=int(plan.image_size or 0), weights=weights, listener=listener)
        model = classification.attach(
            built.model, classes=len(splits.class_names), dropout=plan.dropout, seed=plan.seed
        )
    finally:
        keras.config.set_dtype_policy("float32")
    return classification.network(model, blocks.cut(built.model, spec)), built


def scores_on_test(network: Network, feed: Feed, splits: Splits, size: int) -> dict[str, float]:
    """Return accuracy and log loss of `network` on the test split."""
    probabilities = predict_split(network.model.predict_on_batch, feed, "test", size, len(splits.test), silent)
    score = metrics.score(probabilities, splits.test.labels, splits.class_names)
    return {"accuracy": score.accuracy, "log_loss": score.log_loss}


def predict_split(predict_batch: Any, feed: Feed, split: str, size: int, total: int, listener: Listener) -> np.ndarray:
    """Return the answers to all `total` pictures of a split, float32 (total, classes), in its order."""
    parts, done = [], 0
    for images, *_ in feed(split, image_size=size, batch_size=EVALUATION_BATCH):
        parts.append(np.asarray(predict_batch(np.asarray(images))))
        done += len(parts[-1])
        listener(Event("progress", f"{split} split", done=done, total=total))
    return np.concatenate(parts)


def probabilities_of(opened: Runtime) -> Callable[[np.ndarray], np.ndarray]:
    """Return what asks an open file for its probabilities alone."""
    return lambda images: opened.predict(images)[PROBABILITIES_OUTPUT]


def some_pictures(feed: Feed, split: str, size: int, count: int) -> np.ndarray:
    """Up to `count` pictures of a split, chosen by the seed, uint8 (n, size, size, 3)."""
    batch = next(iter(feed(split, image_size=size, batch_size=count, shuffle=True)))
    return np.asarray(batch[0])


def data_of(source: str | None, run: Run | None, listener: Listener) -> tuple[Splits, Feed]:
    """Return the splits and the feed of `source`, or of `run` where no source is named."""
    if source is None and run is None:
        raise UsageError("Which pictures? Name a SOURCE: a file outside of a run does not know its data.")
    plan = run.record.plan if run else Plan(data=source or "")
    splits = sources.load(source or plan.data, seed=plan.seed, listener=listener)
    if run and source is None and splits.digest != run.record.data_digest:
        listener(Event("warning", f"the pictures in '{plan.data}' are no longer those the run was trained on"))
    return splits, pipeline.make_feed(splits, aspect=plan.aspect, seed=plan.seed, listener=listener)


def located(model: Path | str) -> tuple[Path, Run | None]:
    """Return the file to load and the run it belongs to, for a run folder or any file in one."""
    model = Path(model)
    if (model / runs.RECORD).exists():
        run = runs.open_run(model)
        return run.model_path, run
    for parent in list(model.parents)[:3]:
        if (parent / runs.RECORD).exists():
            return model, runs.open_run(parent)
    return model, None


def contract_of(run: Run) -> Contract:
    """Return what every file exported from `run` promises and carries."""
    record = run.record
    return Contract(
        class_names=record.class_names,
        image_size=record.image_size,
        aspect=record.plan.aspect,
        task=record.plan.task,
        backbone=record.plan.backbone,
        license=record.weights_license,
        run_digest=record.digest,
    )
