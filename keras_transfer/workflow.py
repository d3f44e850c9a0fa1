"""The verbs: the one place where data, backbones, tasks, training, evaluation and export meet."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer import plan as plans
from keras_transfer import runs
from keras_transfer.backbones import blocks, features, registry
from keras_transfer.data import pipeline, sources
from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.evaluation import metrics
from keras_transfer.evaluation.metrics import Metrics
from keras_transfer.export import exporters, latency, parity, runtime
from keras_transfer.export.latency import Latency
from keras_transfer.export.parity import Parity
from keras_transfer.files import drafted, write_bytes
from keras_transfer.specs import (
    Artifact,
    BackboneSpec,
    Contract,
    Event,
    Feed,
    Listener,
    Network,
    Plan,
    Run,
    RunRecord,
    Splits,
    Stage,
    StageResult,
    Value,
    silent,
)
from keras_transfer.tasks import classification
from keras_transfer.training import freezing, recipes, trainer
from keras_transfer.training.stage_data import Settings

CALIBRATION_PICTURES = 200
EVALUATION_BATCH = 128


class Prediction(Value):
    """What a model says of one picture."""

    picture: str
    class_name: str
    probability: float
    probabilities: dict[str, float]


class Verified(Value):
    """One artifact, run in its own runtime and compared with the Keras model."""

    artifact: Artifact
    parity: Parity
    latency: Latency


def train(
    plan: Plan,
    *,
    folder: Path = runs.DEFAULT_FOLDER,
    name: str | None = None,
    compare: str | None = None,
    engine: str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    listener: Listener = silent,
) -> Run:
    """Train what `plan` says, or go on where an unfinished run of the same plan stopped; return the run.

    >>> train(Plan(data="sample:fashion", backbone="EfficientNetLite0")).record.test["accuracy"]  # doctest: +SKIP
    0.87

    compare: `scratch` also trains the same network from random weights, all of it, for as many seconds.
    engine: who computes frozen parts, see `training.prefix.ENGINES`; `stream` stores nothing.
    """
    if compare not in (None, "scratch"):
        raise UsageError(f"--compare takes 'scratch'. Received: '{compare}'")
    spec = registry.backbone(plan.backbone)
    splits = sources.load(plan.data, seed=plan.seed, listener=listener)
    plan = _resolved(plan, spec, splits, listener)
    place = runs.place_for(plan, folder, name)
    with runs.locked(place):
        write_bytes(place / runs.PLAN, plans.to_toml(plan).encode())
        began = time.perf_counter()
        feed = pipeline.make_feed(splits, aspect=plan.aspect, seed=plan.seed, listener=listener)
        settings = _settings(plan, splits, engine, tuple(callbacks))
        network, built = _network(plan, spec, splits, plan.weights, listener)
        stages = plan.stages or recipes.stages(plan.recipe, len(network.blocks))
        results = trainer.train(network, stages, feed, settings, folder=place, listener=listener)
        seconds = time.perf_counter() - began
        with drafted(place / "model.keras") as draft:
            network.model.save(draft)
        run = Run(place, _record(plan, splits, results, built, network, feed, seconds))
        if compare == "scratch":
            run = _with_scratch(run, spec, splits, feed, settings, listener)
        runs.write(Run(place, run.record.model_copy(update={"finished": True})))
    return runs.open_run(place)


def evaluate(model: Path, source: str | None = None, *, split: str = "test", listener: Listener = silent) -> Metrics:
    """Return what `model` (a run folder or a file of any format) is worth on a split of `source`.

    source: the data of its run where it is left out.
    """
    path, run = _model_path(model)
    splits, feed = _data(source, run, listener)
    contract = _contract(run) if run else None
    loaded = runtime.load(path, contract=contract)
    size = loaded.artifact.contract.image_size
    probabilities = _predict_split(loaded.predict, feed, split, size, len(splits[split]), listener)
    return metrics.score(probabilities, splits[split].labels, splits.class_names)


def predict(model: Path, pictures: Sequence[Path]) -> tuple[Prediction, ...]:
    """Return what `model` (a run folder or a file of any format) says of each picture file."""
    path, run = _model_path(model)
    loaded = runtime.load(path, contract=_contract(run) if run else None)
    contract = loaded.artifact.contract
    images = pipeline.read_pictures(pictures, image_size=contract.image_size, aspect=contract.aspect)
    return tuple(
        Prediction(
            picture=str(picture),
            class_name=contract.class_names[int(row.argmax())],
            probability=float(row.max()),
            probabilities={name: float(p) for name, p in zip(contract.class_names, row, strict=True)},
        )
        for picture, row in zip(pictures, loaded.predict(images), strict=True)
    )


def export(
    run: Run, formats: Sequence[str] | None = None, *, check: bool = True, listener: Listener = silent
) -> tuple[Verified | Artifact, ...]:
    """Export `run` to `formats` (the plan's where left out) and prove each file against the Keras model.

    Returns the artifacts as they are where `check` is False.
    """
    names = tuple(formats or run.record.plan.exports)
    _, feed = _data(None, run, listener)
    contract = _contract(run)
    calibration = _pictures(feed, "train", contract.image_size, CALIBRATION_PICTURES)
    model = keras.models.load_model(run.model_path, compile=False)
    with runs.locked(run.folder):
        artifacts = exporters.export(model, run.exports, names, contract, calibration=calibration, listener=listener)
    if not check:
        return artifacts
    return verify(run, [artifact.path for artifact in artifacts], listener=listener)


def verify(run: Run, paths: Sequence[Path] | None = None, *, listener: Listener = silent) -> tuple[Verified, ...]:
    """Run each exported file of `run` in its own runtime on the test split and compare it with the Keras model."""
    paths = list(paths) if paths else exporters.exported(run.exports)
    splits, feed = _data(None, run, listener)
    contract = _contract(run)
    reference_model = runtime.load(run.model_path, contract=contract)
    reference = _predict_split(reference_model.predict, feed, "test", contract.image_size, len(splits.test), listener)
    images = _pictures(feed, "test", contract.image_size, 32)
    checked = []
    for path in paths:
        listener(Event("note", f"running {path.name} on the test split"))
        loaded = runtime.load(path)
        if loaded.artifact.contract.class_names != contract.class_names:
            raise ArtifactError(f"'{path}' names other classes than the run in '{run.folder}'. Export it again.")
        candidate = _predict_split(loaded.predict, feed, "test", contract.image_size, len(splits.test), listener)
        checked.append(
            Verified(
                artifact=loaded.artifact,
                parity=parity.compare(
                    reference,
                    candidate,
                    splits.test.labels,
                    splits.test.keys,
                    precision=loaded.artifact.precision,
                ),
                latency=latency.measure(loaded, images),
            )
        )
    return tuple(checked)


def backbones() -> tuple[BackboneSpec, ...]:
    """Return the catalogue."""
    return registry.rows()


def _resolved(plan: Plan, spec: BackboneSpec, splits: Splits, listener: Listener) -> Plan:
    """Fill in what the plan left to the package, and say so."""
    if plan.image_size is None:
        size = _fitting_size(spec, splits.typical_size)
        listener(Event("note", f"image size {size}: the pictures are about {splits.typical_size} pixels"))
        plan = plan.model_copy(update={"image_size": size})
    if plan.image_size is not None and plan.image_size < spec.min_size:
        raise UsageError(f"{spec.name} takes pictures of at least {spec.min_size} pixels. Received: {plan.image_size}")
    return plan


def _fitting_size(spec: BackboneSpec, typical: int) -> int:
    """Three times the pictures' own size, in steps of 32, between 96 pixels and what the backbone was trained at.

    Filters learnt on large pictures need small ones enlarged, but enlarging beyond that only costs time.
    """
    enlarged = -(-3 * max(typical, 1) // 32) * 32
    return max(spec.min_size, min(spec.input_size, max(96, enlarged)))


def _settings(plan: Plan, splits: Splits, engine: str, callbacks: tuple[Any, ...]) -> Settings:
    return Settings(
        image_size=int(plan.image_size or 0),
        counts=splits.counts,
        batch_size=plan.batch_size,
        seed=plan.seed,
        data_digest=splits.digest,
        aspect=plan.aspect,
        engine=engine,
        callbacks=callbacks,
    )


def _network(
    plan: Plan, spec: BackboneSpec, splits: Splits, weights: str, listener: Listener
) -> tuple[Network, features.Features]:
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


def _record(
    plan: Plan,
    splits: Splits,
    results: tuple[StageResult, ...],
    built: features.Features,
    network: Network,
    feed: Feed,
    seconds: float,
) -> RunRecord:
    best = next(result for result in reversed(results) if result.kept)
    return RunRecord(
        plan=plan,
        class_names=splits.class_names,
        counts=splits.counts,
        data_digest=splits.digest,
        image_size=int(plan.image_size or 0),
        weights_digest=freezing.digest(network.model.layers),
        weights_license=built.license,
        weights_source=built.weights_source,
        stages=results,
        best_stage=best.name,
        validation_accuracy=best.validation_accuracy,
        seconds=round(seconds, 2),
        environment=_environment(),
        test=_tested(network, feed, splits, int(plan.image_size or 0)),
    )


def _with_scratch(
    run: Run, spec: BackboneSpec, splits: Splits, feed: Feed, settings: Settings, listener: Listener
) -> Run:
    """Train the same network from random weights for as long as the run took, and note what came of it."""
    record = run.record
    listener(Event("note", f"the same network from scratch, for the same {record.seconds:.0f} s"))
    began = time.perf_counter()
    network, _ = _network(record.plan, spec, splits, "none", silent)
    stage = Stage(name="scratch", blocks="all", epochs=10_000, learning_rate=1e-3, augment="light")
    spent = time.perf_counter() - began
    trainer.train(
        network,
        [stage],
        feed,
        settings,
        folder=run.folder / "scratch",
        seconds=max(record.seconds - spent, 1.0),
        listener=listener,
    )
    tested = _tested(network, feed, splits, record.image_size)
    scratch = {"accuracy": tested["accuracy"], "seconds": round(time.perf_counter() - began, 2)}
    return Run(run.folder, record.model_copy(update={"scratch": scratch}))


def _tested(network: Network, feed: Feed, splits: Splits, size: int) -> dict[str, float]:
    probabilities = _predict_split(network.model.predict_on_batch, feed, "test", size, len(splits.test), silent)
    score = metrics.score(probabilities, splits.test.labels, splits.class_names)
    return {"accuracy": score.accuracy, "log_loss": score.log_loss}


def _predict_split(predict_batch: Any, feed: Feed, split: str, size: int, total: int, listener: Listener) -> np.ndarray:
    parts, done = [], 0
    for images, *_ in feed(split, image_size=size, batch_size=EVALUATION_BATCH):
        parts.append(np.asarray(predict_batch(np.asarray(images))))
        done += len(parts[-1])
        listener(Event("progress", f"{split} split", done=done, total=total))
    return np.concatenate(parts)


def _pictures(feed: Feed, split: str, size: int, count: int) -> np.ndarray:
    """Up to `count` pictures of a split, chosen by the seed, uint8 (n, size, size, 3)."""
    batch = next(iter(feed(split, image_size=size, batch_size=count, shuffle=True)))
    return np.asarray(batch[0])


def _data(source: str | None, run: Run | None, listener: Listener) -> tuple[Splits, Feed]:
    if source is None and run is None:
        raise UsageError("Which pictures? Name a SOURCE: a file outside of a run does not know its data.")
    plan = run.record.plan if run else Plan(data=source or "")
    splits = sources.load(source or plan.data, seed=plan.seed, listener=listener)
    if run and source is None and splits.digest != run.record.data_digest:
        listener(Event("warning", f"the pictures in '{plan.data}' are no longer those the run was trained on"))
    return splits, pipeline.make_feed(splits, aspect=plan.aspect, seed=plan.seed, listener=listener)


def _model_path(model: Path) -> tuple[Path, Run | None]:
    """Return the file to load and the run it belongs to, for a run folder or any file in one."""
    if (model / runs.RECORD).exists():
        run = runs.open_run(model)
        return run.model_path, run
    for parent in list(model.parents)[:3]:
        if (parent / runs.RECORD).exists():
            return model, runs.open_run(parent)
    return model, None


def _contract(run: Run) -> Contract:
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


def _environment() -> dict[str, str]:
    names = ("tensorflow", "keras", "numpy", "tf2onnx", "ai-edge-litert", "onnxruntime", "keras-transfer")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **{name: importlib.metadata.version(name) for name in names},
    }
