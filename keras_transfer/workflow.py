"""The verbs: the one place where data, backbones, tasks, training, evaluation and export meet."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer import plan as plans
from keras_transfer import runs
from keras_transfer.backbones import blocks, compute, features, registry, weights
from keras_transfer.data import cleaning, decoding, doctor_page, pipeline, sheet, sources, throughput
from keras_transfer.data import doctor as examiner
from keras_transfer.data.doctor import Diagnosis
from keras_transfer.data.throughput import Throughput
from keras_transfer.errors import ArtifactError, RunError, UsageError
from keras_transfer.evaluation import gradcam, metrics, model_card, plots, report
from keras_transfer.evaluation.metrics import Metrics
from keras_transfer.evaluation.report import Evidence
from keras_transfer.evaluation.verdict import labels_saved
from keras_transfer.export import (
    contact_sheet,
    exporters,
    latency,
    memory,
    parity,
    phone,
    precisions,
    runtime,
    temperature,
)
from keras_transfer.export.latency import Latency
from keras_transfer.export.parity import Parity
from keras_transfer.export.precisions import Candidate
from keras_transfer.files import drafted, write_bytes
from keras_transfer.selection import advisor, measuring, pictures
from keras_transfer.selection.findings import Advice, Limits, Measurement, Task
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
    Split,
    Splits,
    Stage,
    StageResult,
    Value,
    silent,
)
from keras_transfer.tasks import classification
from keras_transfer.training import freezing, prefix, recipes, trainer
from keras_transfer.training.stage_data import Settings

CALIBRATION_PICTURES = 200
EVALUATION_BATCH = 128

LOOKED_AT = 1000
"""Training pictures that advice measures: a probe's accuracy is then known to about a point and a half."""

ADVICE = "advice.json"
REPORT = "report.html"
TRANSFER = "transfer.json"


class Prediction(Value):
    """What a model says of one picture."""

    picture: str
    class_name: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class TransferCurve:
    """What labels are worth with transfer, with a linear probe, and from scratch."""

    rows: tuple[Mapping[str, Any], ...]
    sentence: str
    """What transfer saved, as a manager reads it."""


class BlockShape(Value):
    """One block of a backbone, as a person chooses by."""

    index: int
    resolution: int
    """Height in pixels of its output."""
    channels: int
    parameters: int
    multiply_adds: int
    """Per picture."""
    share: float
    """Of the backbone's multiply-adds, as a fraction."""
    storable: bool
    """Whether features can be stored at its end."""


class Verified(Value):
    """One artifact, run in its own runtime and compared with the Keras model."""

    artifact: Artifact
    parity: Parity
    latency: Latency


class Benched(Value):
    """One artifact, timed on this host at one batch size and thread count."""

    artifact: Artifact
    latency: Latency
    peak_memory_bytes: int


def train(
    plan: Plan,
    *,
    folder: Path = runs.DEFAULT_FOLDER,
    name: str | None = None,
    compare: str | None = None,
    engine: str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    advice: Advice | None = None,
    splits: Splits | None = None,
    strict: bool = False,
    data_service: str | None = None,
    listener: Listener = silent,
) -> Run:
    """Train what `plan` says, or go on where an unfinished run of the same plan stopped; return the run.

    >>> train(Plan(data="sample:fashion", backbone="EfficientNetLite0")).record.test["accuracy"]  # doctest: +SKIP
    0.87

    compare: `scratch` also trains the same network from random weights, all of it, for as many seconds.
    engine: who computes frozen parts, see `training.prefix.ENGINES`; `stream` stores nothing.
    advice: what the plan came from; it is kept beside the run, for the report.
    splits: the pictures to take, where they are only some of those the plan names.
    strict: a broken picture ends the run before it begins, where otherwise it is named and weighs nothing.
    data_service: address of a tf.data service that decodes training pictures (`grpc://host:port`).
    """
    if compare not in (None, "scratch"):
        raise UsageError(f"--compare takes 'scratch'. Received: '{compare}'")
    spec = registry.backbone(plan.backbone)
    splits = splits or sources.load(plan.data, seed=plan.seed, listener=listener)
    plan = _resolved(plan, spec, splits, listener)
    place = runs.place_for(plan, folder, name)
    with runs.locked(place):
        write_bytes(place / runs.PLAN, plans.to_toml(plan).encode())
        if advice:
            write_bytes(place / ADVICE, advice.model_dump_json(indent=2).encode())
        began = time.perf_counter()
        feed = pipeline.make_feed(
            splits,
            aspect=plan.aspect,
            seed=plan.seed,
            balance=plan.balance,
            strict=strict,
            service=data_service,
            listener=listener,
        )
        settings = _settings(plan, splits, engine, tuple(callbacks))
        network, built = _network(plan, spec, splits, plan.weights, listener)
        stages = plan.stages or recipes.stages(plan.recipe, len(network.blocks))
        results = trainer.train(network, stages, feed, settings, folder=place, listener=listener)
        seconds = time.perf_counter() - began
        if feed.unreadable:
            named = ", ".join(list(feed.unreadable)[:10])
            listener(
                Event("warning", f"{len(feed.unreadable)} pictures could not be read and counted nothing: {named}")
            )
        with drafted(place / "model.keras") as draft:
            network.model.save(draft)
        run = Run(place, _record(plan, splits, results, built, network, feed, seconds))
        if compare == "scratch":
            run = _with_scratch(run, spec, splits, feed, settings, listener)
        runs.write(Run(place, run.record.model_copy(update={"finished": True})))
    return runs.open_run(place)


def advise(
    source: str,
    *,
    names: Sequence[str] = (),
    limits: Limits | None = None,
    image_size: int | None = None,
    seed: int = 0,
    write: Path | None = None,
    listener: Listener = silent,
) -> Advice:
    """Return a plan for the pictures of `source`, measured before anything is trained, and the reason of each choice.

    >>> advise("sample:fashion").plan.backbone  # doctest: +SKIP
    'EfficientNetLite0'

    names: backbones to choose from; all whose weights are at hand where left out. limits: what the device allows.
    image_size: side in pixels; from the pictures and the backbone where it is left out. write: where to put the plan.
    """
    splits = sources.load(source, seed=seed, listener=listener)
    specs = [registry.backbone(name) for name in names] or [row for row in registry.rows() if _at_hand(row)]
    specs = specs or [registry.backbone(str(Plan.model_fields["backbone"].default))]
    feed = pipeline.make_feed(splits, seed=seed, listener=listener)
    look = functools.cache(lambda side: _looked_at(feed, side))
    size = image_size or _fitting_size(specs[0], splits.typical_size)
    images, labels = look(size)
    task = Task(
        source=source,
        labels=labels,
        class_counts=np.bincount(splits.train.labels, minlength=len(splits.class_names)),
        image_size=size,
        shift=pictures.input_shift(images),
        size_is_given=image_size is not None,
        seed=seed,
    )

    def measure(spec: BackboneSpec, side: int) -> Measurement:
        built = features.build(spec, image_size=side, listener=listener)
        return measuring.measure(
            built.model,
            blocks.cut(built.model, spec),
            look(side)[0],
            lambda model, check: prefix.build(model, check=check).compute,
            weights.classifier(spec),
        )

    advice = advisor.advise(task, specs, measure, recipes.RECIPES, limits=limits, listener=listener)
    if write:
        write_bytes(write, plans.to_toml(advice.plan).encode())
    return advice


def report_of(opened: Sequence[Run], *, listener: Listener = silent) -> Path:
    """Write the report of a run, or of several side by side, as one HTML file; return its path.

    >>> report_of([runs.latest()])  # doctest: +SKIP
    PosixPath('saved_models/fashion-EfficientNetLite0/report.html')

    It stands in the (first) run's folder, with the model card of that run.
    """
    evidence = [_evidence(run, listener) for run in opened]
    first, place = evidence[0], opened[0].folder
    _write_card(place, first.name, first.record, first.metrics, first.exports)
    text = report.render(first) if len(evidence) == 1 else report.render_comparison(evidence)
    path = place / (REPORT if len(evidence) == 1 else "comparison.html")
    write_bytes(path, text.encode())
    return path


def bench_transfer(
    source: str,
    *,
    per_class: Sequence[int | None] = (5, 10, 25, 50, 100, None),
    seeds: Sequence[int] = (0, 1, 2),
    backbone: str = "EfficientNetLite0",
    recipe: str = "head_then_top",
    plot: Path | None = None,
    keep: Run | None = None,
    listener: Listener = silent,
) -> TransferCurve:
    """Return accuracy against labelled pictures for transfer, a linear probe, and from scratch for as long.

    >>> bench_transfer("sample:fashion", per_class=[5, None], seeds=[0]).rows[0]["method"]  # doctest: +SKIP
    'transfer'

    per_class: training pictures of each class, None for all; validation has no more. One row for each method, number
    and seed: method, per_class, seed, accuracy (test), seconds, cpu_seconds. plot: where to put the curve as SVG.
    keep: a run whose report is to tell of it.
    """
    splits = sources.load(source, listener=listener)
    most = int(np.bincount(splits.train.labels).max())
    rows: list[Mapping[str, Any]] = []
    for count in dict.fromkeys(min(each or most, most) for each in per_class):
        for seed in seeds:
            fewer = _fewer(splits, count, seed)
            for method, stages in (("transfer", recipe), ("linear probe", "head")):
                plan = Plan(data=source, backbone=backbone, recipe=stages, seed=seed)
                with tempfile.TemporaryDirectory() as folder:
                    began = time.process_time()
                    run = train(plan, folder=Path(folder), splits=fewer, listener=listener)
                    worth = {"accuracy": run.record.test["accuracy"], "seconds": run.record.seconds}
                    rows.append(_point(method, count, seed, worth, began))
                    if method == "transfer":
                        began = time.process_time()
                        rows.append(_point("scratch", count, seed, _from_scratch(run, fewer, listener), began))
    if plot:
        write_bytes(plot, plots.labels_against_accuracy(rows).encode())
    if keep:
        write_bytes(keep.folder / TRANSFER, json.dumps(rows, indent=2).encode())
    return TransferCurve(tuple(rows), labels_saved(rows))


def doctor(
    source: str,
    *,
    labels: bool = True,
    write: Path | None = None,
    page: Path | None = None,
    augmented: Path | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> Diagnosis:
    """Look at every picture of `source` once and return what is wrong with them.

    >>> doctor("sample:fashion", labels=False).findings  # doctest: +SKIP
    ()

    labels: judge labels too, by a linear probe on ImageNet features. write: a clean manifest (`.csv`, `.parquet`) or,
    under any other name, TFRecord shards. page: an HTML file with thumbnails. augmented: a PNG with what each
    augmentation policy makes of eight pictures.
    """
    splits = sources.load(source, seed=seed, listener=listener)
    described = _described(splits, listener) if labels else None
    examination = examiner.examine(splits, features=described, listener=listener)
    if write:
        cleaning.write(cleaning.cleaned(splits, examination), write, listener=listener)
    if page:
        doctor_page.write(examination, page)
    if augmented:
        images = _pictures(pipeline.make_feed(splits), "train", max(96, min(splits.typical_size, 224)), 8)
        sheet.draw(images, augmented, seed=seed)
    return examination.diagnosis


def bench_input(
    source: str,
    *,
    image_size: int | None = None,
    batch_size: int = 32,
    augment: str = "none",
    backbone: str = "EfficientNetLite0",
    listener: Listener = silent,
) -> Throughput:
    """Return how fast the pictures of `source` arrive, how long a training step of `backbone` waits, and what limits.

    >>> bench_input("sample:fashion").limited_by  # doctest: +SKIP
    'training'
    """
    spec = registry.backbone(backbone)
    splits = sources.load(source, listener=listener)
    size = image_size or _fitting_size(spec, splits.typical_size)
    step = _training_step(spec, size, len(splits.class_names), listener)
    return throughput.measure(splits, image_size=size, batch_size=batch_size, augment=augment, step=step)


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


def predict(model: Path, pictures: Sequence[Path], *, labels: Sequence[str] | None = None) -> tuple[Prediction, ...]:
    """Return what `model` (a run folder or a file of any format) says of each picture file.

    labels: the class names of a model that does not carry them.
    """
    path, run = _model_path(model)
    loaded = runtime.load(path, contract=_contract(run) if run else None, labels=labels)
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
    run: Run,
    formats: Sequence[str] | None = None,
    *,
    check: bool = True,
    calibrate: bool = True,
    max_drop: float | None = None,
    listener: Listener = silent,
) -> tuple[Verified | Artifact, ...]:
    """Export `run` to `formats` (the plan's where left out) and prove each file against the Keras model.

    calibrate: fold a temperature, fitted on the validation split, into every file. max_drop: percentage points of
    accuracy that whole-number files may lose, their precision's own bound where it is left out. A file that is out of
    tolerance is set aside under a `.rejected` name. Returns the artifacts as they are where `check` is False.
    """
    names = tuple(formats or run.record.plan.exports)
    with runs.locked(run.folder):
        artifacts = _exported(run, run.exports, names, calibrate, listener)
    if not check:
        return artifacts
    checked, scored = _judged(run, [artifact.path for artifact in artifacts], max_drop, listener)
    _write_card(run.exports, run.folder.name, run.record, scored, [_shipped(each) for each in checked])
    return checked


def export_model(
    path: Path,
    folder: Path,
    labels: Sequence[str],
    formats: Sequence[str] = ("saved_model", "tflite", "onnx"),
    *,
    force: bool = False,
    listener: Listener = silent,
) -> tuple[Verified, ...]:
    """Export a `.keras` model made elsewhere to a folder, and compare each file with it on pictures of noise.

    labels: its class names, in order. force: write into a folder that holds something already.
    """
    if folder.exists() and any(folder.iterdir()) and not force:
        raise UsageError(f"'{folder}' is there already and not empty. Choose another folder, or add --force.")
    if path.suffix != ".keras":
        raise UsageError(f"A model to export is a run folder or a .keras file. Received: '{path}'")
    reference_model = runtime.load(path, labels=labels)
    contract = reference_model.artifact.contract
    noise = np.random.default_rng(0).integers(0, 256, (64, contract.image_size, contract.image_size, 3), np.uint8)
    reference = reference_model.predict(noise)
    model = keras.models.load_model(path, compile=False)
    checked = []
    for artifact in exporters.export(model, folder, formats, contract, square=decoding.squared, listener=listener):
        opened = runtime.load(artifact.path)
        compared = parity.compare(
            reference,
            opened.predict(noise),
            reference.argmax(axis=1),
            [f"noise {number}" for number in range(len(noise))],
            precision=artifact.precision,
        )
        checked.append(Verified(artifact=artifact, parity=compared, latency=latency.measure(opened, noise)))
    return tuple(map(_set_aside, checked))


def choose_precision(
    run: Run, *, max_drop: float, calibrate: bool = True, listener: Listener = silent
) -> tuple[Candidate, ...]:
    """Measure every TFLite precision that runs fast, and mark the smallest that loses little.

    max_drop: percentage points of accuracy on the test split. The table and its plot are kept in the exports as
    `precisions.json` and `precisions.png`.
    """
    names = precisions.CANDIDATES
    with tempfile.TemporaryDirectory() as folder:
        artifacts = _exported(run, Path(folder), names, calibrate, listener)
        checked, _ = _judged(run, [artifact.path for artifact in artifacts], max_drop, listener)
    measured = precisions.choose(
        [
            Candidate(
                name=name,
                size_bytes=each.artifact.size_bytes,
                accuracy=each.parity.accuracy,
                drop_points=each.parity.accuracy_drop_points,
                median_ms=each.latency.median_ms,
            )
            for name, each in zip(names, checked, strict=True)
        ],
        max_drop=max_drop,
    )
    rows = json.dumps([each.model_dump() for each in measured], indent=2)
    write_bytes(run.exports / "precisions.json", rows.encode())
    write_bytes(run.exports / "precisions.png", precisions.plot(measured))
    return measured


def verify(
    run: Run, paths: Sequence[Path] | None = None, *, max_drop: float | None = None, listener: Listener = silent
) -> tuple[Verified, ...]:
    """Run each exported file of `run` in its own runtime on the test split and compare it with the Keras model."""
    return _judged(run, paths or exporters.exported(run.exports), max_drop, listener)[0]


def bench_latency(
    paths: Sequence[Path],
    *,
    batch_sizes: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    repeats: int = 100,
    contract: Contract | None = None,
) -> tuple[Benched, ...]:
    """Time each file at every batch size and thread count on this host, and how much memory it takes.

    A TFLite file takes one picture a call: a larger batch is as many calls.
    """
    found = []
    for path in paths:
        for count in threads:
            opened = runtime.load(path, threads=count, contract=contract)
            side = opened.artifact.contract.image_size
            noise = np.random.default_rng(0).integers(0, 256, (max(batch_sizes), side, side, 3), np.uint8)
            timed = [latency.measure(opened, noise, repeats=repeats, batch_size=size) for size in batch_sizes]
            peak = memory.peak_bytes(path, opened.artifact.contract)
            found += [Benched(artifact=opened.artifact, latency=each, peak_memory_bytes=peak) for each in timed]
    return tuple(found)


def bench_on_phone(path: Path, binary: Path, *, threads: int = 1, repeats: int = 100) -> str:
    """Return what TensorFlow's `benchmark_model` says of a `.tflite` file on the phone that is plugged in."""
    return phone.benchmark(path, binary, threads=threads, repeats=repeats)


def _exported(
    run: Run, folder: Path, names: Sequence[str], calibrate: bool, listener: Listener
) -> tuple[Artifact, ...]:
    splits, feed = _data(None, run, listener)
    contract = _contract(run)
    pictures = _pictures(feed, "train", contract.image_size, CALIBRATION_PICTURES)
    model = keras.models.load_model(run.model_path, compile=False)
    if calibrate:
        total = len(splits.validation)
        answers = _predict_split(model.predict_on_batch, feed, "validation", contract.image_size, total, listener)
        found = temperature.fit(answers, splits.validation.labels)
        before, after = found.error_before, found.error_after
        listener(Event("note", f"temperature {found.temperature:.2f}: calibration error {before:.1%} -> {after:.1%}"))
        contract = contract.model_copy(update={"temperature": found.temperature})
        model = temperature.fold(model, found.temperature)
    return exporters.export(
        model, folder, names, contract, calibration=pictures, square=decoding.squared, listener=listener
    )


def _judged(
    run: Run, paths: Sequence[Path], max_drop: float | None, listener: Listener
) -> tuple[tuple[Verified, ...], Metrics]:
    """Return what became of each file, and what the Keras model they are compared with is worth."""
    splits, feed = _data(None, run, listener)
    contract = _contract(run)
    reference_model = runtime.load(run.model_path, contract=contract)
    reference = _predict_split(reference_model.predict, feed, "test", contract.image_size, len(splits.test), listener)
    images = _pictures(feed, "test", contract.image_size, 32)
    checked, answers = [], []
    for path in paths:
        listener(Event("note", f"running {path.name} on the test split"))
        loaded = runtime.load(path)
        if loaded.artifact.contract.class_names != contract.class_names:
            raise ArtifactError(f"'{path}' names other classes than the run in '{run.folder}'. Export it again.")
        candidate = _predict_split(loaded.predict, feed, "test", contract.image_size, len(splits.test), listener)
        wanted = temperature.apply(reference, loaded.artifact.contract.temperature)
        bound = max_drop if parity.TOLERANCES[loaded.artifact.precision].drop_points is not None else None
        compared = parity.compare(
            wanted,
            candidate,
            splits.test.labels,
            splits.test.keys,
            precision=loaded.artifact.precision,
            tolerance=parity.tolerance(loaded.artifact.precision, drop_points=bound),
        )
        checked.append(Verified(artifact=loaded.artifact, parity=compared, latency=latency.measure(loaded, images)))
        answers.append((wanted, candidate))
    _draw_differences(run, splits.test, feed, checked, answers)
    return tuple(map(_set_aside, checked)), metrics.score(reference, splits.test.labels, splits.class_names)


def _set_aside(verified: Verified) -> Verified:
    path = verified.artifact.path
    if verified.parity.passed or path.name.endswith(exporters.REJECTED):
        return verified
    aside = verified.artifact.model_copy(update={"path": exporters.reject(path)})
    return verified.model_copy(update={"artifact": aside})


def _draw_differences(
    run: Run, split: Split, feed: Feed, checked: Sequence[Verified], answers: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Keep, for each file, a contact sheet of the pictures it differs on most from the Keras model."""
    positions = {key: position for position, key in enumerate(split.keys)}
    worst = [[positions[key] for key, _ in each.parity.worst] for each in checked]
    wanted = set().union(*worst)
    seen: dict[int, np.ndarray] = {}
    start = 0
    for images, *_ in feed(split.name, image_size=run.record.image_size, batch_size=EVALUATION_BATCH):
        here = [position for position in wanted if start <= position < start + len(images)]
        seen |= {position: np.asarray(images[position - start]) for position in here}
        start += len(images)
    names = run.record.class_names
    for each, rows, pair in zip(checked, worst, answers, strict=True):
        captions = [
            "\n".join([split.keys[row][-28:], *(f"{names[p[row].argmax()]} {p[row].max():.3f}" for p in pair)])
            for row in rows
        ]
        sheet = contact_sheet.draw(np.stack([seen[row] for row in rows]), captions)
        write_bytes(run.exports / "differences" / f"{each.artifact.path.name}.png", sheet)


def backbones(
    *, having: Sequence[str] = (), lacking: Sequence[str] = (), sort: str | None = None
) -> tuple[BackboneSpec, ...]:
    """Return the rows of the catalogue that have and lack these words; see `registry.select`."""
    return registry.select(having, lacking, sort)


def fetch(backbone: str) -> str:
    """Make sure that the ImageNet weights of `backbone` are on this machine and whole; return where they came from."""
    spec = registry.backbone(backbone)
    return features.build(spec, image_size=spec.min_size).weights_source


def backbone_blocks(backbone: str, image_size: int | None = None) -> tuple[BlockShape, ...]:
    """Return what each block of `backbone` is at `image_size` pixels (its native side where left out)."""
    spec = registry.backbone(backbone)
    built = features.build(spec, image_size=image_size or spec.input_size, weights="none")
    cut = blocks.cut(built.model, spec)
    work = [compute.multiply_adds(block) for block in cut]
    return tuple(
        BlockShape(
            index=block.index,
            resolution=block.resolution,
            channels=block.output.shape[-1],
            parameters=block.parameters,
            multiply_adds=count,
            share=count / sum(work),
            storable=block.alone,
        )
        for block, count in zip(cut, work, strict=True)
    )


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


def _point(method: str, per_class: int, seed: int, worth: Mapping[str, float], began: float) -> Mapping[str, Any]:
    """One point of a transfer curve; `began` is the process time at which its training did."""
    spent = {"cpu_seconds": round(time.process_time() - began, 2)}
    return {"method": method, "per_class": per_class, "seed": seed, **worth, **spent}


def _from_scratch(run: Run, splits: Splits, listener: Listener) -> dict[str, float]:
    """Train the network of `run` from random weights for as long as the run took."""
    plan = run.record.plan
    feed = pipeline.make_feed(splits, aspect=plan.aspect, seed=plan.seed, listener=listener)
    settings = _settings(plan, splits, "stream", ())
    return _with_scratch(run, registry.backbone(plan.backbone), splits, feed, settings, listener).record.scratch


def _fewer(splits: Splits, per_class: int, seed: int) -> Splits:
    """The same test pictures, with at most `per_class` of each class to train on, and to validate with."""
    rng = np.random.default_rng(seed)
    kept = {}
    for split in (splits.train, splits.validation):
        if not isinstance(split.pictures, np.ndarray):
            raise UsageError("A part of the pictures can be taken of folders, manifests and samples only.")
        order = rng.permutation(len(split))
        rank = np.empty(len(split), int)
        for each in np.unique(split.labels):
            rank[order[split.labels[order] == each]] = np.arange((split.labels == each).sum())
        chosen = np.flatnonzero(rank < per_class)
        kept[split.name] = Split(
            name=split.name,
            pictures=split.pictures[chosen],
            labels=split.labels[chosen],
            keys=tuple(split.keys[i] for i in chosen),
            weights=None if split.weights is None else split.weights[chosen],
        )
    digest = hashlib.sha256(f"{splits.digest} {per_class} {seed}".encode()).hexdigest()
    return replace(splits, train=kept["train"], validation=kept["validation"], digest=digest)


def _at_hand(spec: BackboneSpec) -> bool:
    """Whether the backbone's weights are on this machine: a package that is installed, or Keras' own cache."""
    cached = [path.name.lower().replace("_", "") for path in weights.cache().glob("*top*")]
    held = {
        "package": lambda source: importlib.util.find_spec(source.file.split("/")[0]) is not None,
        "keras": lambda source: any(name.startswith(spec.name.lower()) for name in cached),
    }
    return any(held[source.kind](source) for source in spec.weights)


def _described(splits: Splits, listener: Listener) -> dict[str, np.ndarray] | None:
    """What the default backbone makes of every picture, averaged over its feature map; None without its weights."""
    spec = registry.backbone(str(Plan.model_fields["backbone"].default))
    if not _at_hand(spec):
        listener(Event("note", f"Labels are not judged: the weights of {spec.name} are not on this machine."))
        return None
    size = _fitting_size(spec, splits.typical_size)
    built = features.build(spec, image_size=size, listener=listener)
    pooled = keras.Model(built.model.input, keras.layers.GlobalAveragePooling2D()(built.model.output))
    feed = pipeline.make_feed(splits)
    images, _, _ = next(iter(feed("train", image_size=size, batch_size=16)))
    compute = prefix.build(pooled, check=np.asarray(images)).compute
    rows: dict[str, list[np.ndarray]] = {name: [] for name in splits.counts}
    done, total = 0, sum(splits.counts.values())
    for name, parts in rows.items():
        for images, _, _ in feed(name, image_size=size, batch_size=EVALUATION_BATCH):
            parts.append(compute(np.asarray(images)))
            done += len(images)
            listener(Event("progress", "Describing pictures", done=done, total=total))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _training_step(spec: BackboneSpec, size: int, classes: int, listener: Listener) -> throughput.Step:
    """One step of training everything, from random weights: what a picture costs does not depend on them."""
    built = features.build(spec, image_size=size, weights="none", listener=listener)
    pooled = keras.layers.GlobalAveragePooling2D()(built.model.output)
    model = keras.Model(built.model.input, keras.layers.Dense(classes, activation="softmax")(pooled))
    model.compile("sgd", "categorical_crossentropy")
    return lambda images, targets, weights: model.train_on_batch(images, targets, sample_weight=weights)


def _looked_at(feed: Feed, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to `LOOKED_AT` training pictures, chosen by the seed, and their labels."""
    images, targets, _ = next(iter(feed("train", image_size=size, batch_size=LOOKED_AT, shuffle=True)))
    return np.asarray(images), np.asarray(targets).argmax(axis=1)


def _evidence(run: Run, listener: Listener) -> Evidence:
    """All that a report tells of a run, from its folder: predictions are made again, exports verified again."""
    record = run.record
    if not record.finished:
        raise RunError(f"The run in '{run.folder}' is not finished. The command that began it goes on with it.")
    splits, feed = _data(None, run, listener)
    model = keras.models.load_model(run.model_path, compile=False)
    probabilities = _predict_split(model.predict_on_batch, feed, "test", record.image_size, len(splits.test), listener)
    of_batch = functools.lru_cache(maxsize=4)(
        lambda number: next(
            iter(feed("test", image_size=record.image_size, batch_size=EVALUATION_BATCH).skip(number).take(1))
        )[0].numpy()
    )

    def picture(position: int) -> np.ndarray:
        return of_batch(position // EVALUATION_BATCH)[position % EVALUATION_BATCH]

    verified = verify(run, listener=listener) if run.exports.is_dir() else ()
    advice, transfer = run.folder / ADVICE, run.folder / TRANSFER
    return Evidence(
        name=run.folder.name,
        record=record,
        metrics=metrics.score(probabilities, splits.test.labels, splits.class_names),
        probabilities=probabilities,
        labels=splits.test.labels,
        keys=splits.test.keys,
        picture=picture,
        explain=lambda positions: gradcam.gradcam(model, np.stack([picture(i) for i in positions])),
        exports=[_shipped(each) for each in verified],
        advice=_told(Advice.model_validate_json(advice.read_bytes())) if advice.exists() else None,
        transfer=json.loads(transfer.read_bytes()) if transfer.exists() else (),
        commands=(
            f"keras-transfer train --plan {run.folder / runs.PLAN}",
            f"keras-transfer report {run.folder}",
        ),
    )


def _shipped(verified: Verified) -> dict[str, Any]:
    """An exported file as reports and model cards tell of it."""
    return {
        "name": verified.artifact.path.name,
        "size_bytes": verified.artifact.size_bytes,
        "accuracy": verified.parity.accuracy,
        "agreement": verified.parity.agreement,
        "latency_ms": verified.latency.median_ms,
        "accepted": verified.parity.passed,
    }


def _write_card(
    folder: Path, name: str, record: RunRecord, scored: Metrics, exports: Sequence[Mapping[str, Any]]
) -> None:
    card = model_card.card(name, record, scored, exports)
    write_bytes(folder / "model_card.json", card.model_dump_json(indent=2).encode())
    write_bytes(folder / "MODEL_CARD.md", model_card.markdown(card).encode())


def _told(advice: Advice) -> dict[str, Any]:
    blocks = [block.model_dump() for block in advice.blocks]
    return {"reasons": [each.model_dump() for each in advice.reasons], "blocks": blocks, "unknown": advice.unknown}


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
