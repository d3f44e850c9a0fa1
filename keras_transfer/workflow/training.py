"""Trains what a plan says, and the same network from scratch to compare."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from keras_transfer import devices, runs, vouching
from keras_transfer import plan as plans
from keras_transfer.backbones import features
from keras_transfer.data import pipeline, sources
from keras_transfer.errors import UsageError
from keras_transfer.export import manifest
from keras_transfer.files import MOST_TEXT_BYTES, drafted, read_bytes, write_bytes
from keras_transfer.selection.findings import Advice
from keras_transfer.specs import (
    BackboneSpec,
    Contract,
    Event,
    Feed,
    Listener,
    Network,
    Plan,
    Run,
    RunRecord,
    Scored,
    Splits,
    Stage,
    StageResult,
    silent,
)
from keras_transfer.training import freezing, recipes, trainer, watchers
from keras_transfer.training.job import Job, Settings
from keras_transfer.training.strategy import Strategy
from keras_transfer.workflow import budgeting, checking, teaching, together, unlabelled, whole_numbers
from keras_transfer.workflow.building import ADVICE, network_of, resolved, settings_of, with_frames
from keras_transfer.workflow.opened import Opened, predicted
from keras_transfer.workflow.tasks import task_of
from keras_transfer.workflow.teaching import Teacher


def train(
    plan: Plan,
    *,
    folder: Path | str = runs.DEFAULT_FOLDER,
    name: str | None = None,
    compare: str | None = None,
    engine: str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    advice: Advice | None = None,
    splits: Splits | None = None,
    strict: bool = False,
    data_service: str | None = None,
    watch: Sequence[str] = (),
    cache_folder: Path | str | None = None,
    cache_limit_bytes: int | None = None,
    spent_seconds: float = 0.0,
    devices: str = "one",
    goes_on: Callable[[tuple[StageResult, ...]], bool] = lambda results: True,
    listener: Listener = silent,
) -> Run:
    """Train what `plan` says, or go on where a run of the same plan stopped; return the run.

    >>> train(Plan(data="sample:fashion", backbone="EfficientNetLite0")).record.test["accuracy"]  # doctest: +SKIP
    0.87

    A run of the same plan and pictures that is finished is returned as it is, with a note. Whatever can be refused
    is refused before there is a run folder.
    compare: `scratch` also trains the same network from random weights, all of it, for as many seconds.
    engine: who computes frozen parts, see `training.prefix.ENGINES`; `stream` stores nothing.
    advice: what the plan came from; it is kept beside the run, for the report.
    splits: the pictures to take, where they are only some of those the plan names.
    strict: a broken picture ends the run before it begins, where otherwise it is named and weighs nothing.
    data_service: address of a tf.data service that decodes training pictures (`grpc://host:port`).
    watch: programs that are told every epoch, see `training.watchers.WATCHERS`; callbacks are the caller's own.
    cache_folder: where features are kept; $KERAS_TRANSFER_CACHE, else the user's cache, where it is left out.
    cache_limit_bytes: what features may take there; 0 stores none.
    spent_seconds: of the plan's minutes, what is gone already: a command counts from its own start.
    devices: `one`, or `all` of this machine, which share every batch. Where TF_CONFIG names several machines, the same
    call on each of them is one run (`training.strategy`): the first one keeps it, and all return its record.
    goes_on: asked before each further stage with what the stages so far reached; False finishes the run with those.
    """
    began = time.perf_counter() - spent_seconds
    if compare not in (None, "scratch"):
        raise UsageError(f"--compare takes 'scratch'. Received: '{compare}'")
    watchers.check(watch)
    strategy = together.begun(devices, plan, compare, listener)  # before anything computes
    listener = strategy.heard(listener)
    with strategy.guarded():
        spec = checking.check(plan, engine=engine)
        budgeting.check(plan, compare=compare)
        splits = splits or sources.load(
            plan.data, annotation=task_of(plan.task).annotation, seed=plan.seed, listener=listener
        )
        splits = with_frames(splits, plan.frames)
        filled = resolved(plan, spec, splits, listener)
        together.check_same(strategy, filled, splits, _environment())
        asked, plan, place = _placed(plan, filled, Path(folder), name, splits, strategy)
        if done := _finished(place, compare, strategy, listener):
            return done
        teacher = teaching.teacher_of(plan, splits, Path(folder), listener)
        budgeting.check_time(plan, began)
        kept = {"cache_folder": Path(cache_folder) if cache_folder else None, "cache_limit_bytes": cache_limit_bytes}
        options = {"strict": strict, "service": data_service}
        others = {"callbacks": tuple(callbacks), **kept}
        ready = prepared(plan, spec, splits, engine, options, others, strategy, listener, teacher)
        if budgeting.is_open(plan):
            budgeting.check_time(plan, began)
            ready = _decided(ready, asked, began, listener)
        # Whatever is refused was refused by now: a folder that no run came of would block its name.
        with together.held(strategy, place, watch, _facts(ready.plan), listener) as listener:
            if strategy.chief:
                _keep_plan(place, ready.plan, advice, asked)
            results = _learned(ready, place, teacher, goes_on, listener)
            record = strategy.from_chief(lambda: _kept(ready, place, results, compare, listener))
        return Run(place, RunRecord.model_validate_json(record))


def _placed(
    given: Plan, plan: Plan, folder: Path, name: str | None, splits: Splits, strategy: Strategy
) -> tuple[Plan, Plan, Path]:
    """Return the plan that names the run, the plan to train by, and where the run goes.

    given: as a person has it; plan: with what was left out. Where the clock has a part to decide, the run is named
    without the size, which is such a part, and what was decided when it began stands.
    """
    if not budgeting.is_open(plan):
        place = strategy.decided(lambda: str(runs.place_for(plan, folder, name, data_digest=splits.digest)))
        return plan, plan, Path(place)
    asked = plan.model_copy(update={"image_size": given.image_size})
    place = runs.place_for(asked, folder, name, data_digest=splits.digest)
    return asked, plans.read(place / runs.PLAN) if (place / runs.PLAN).exists() else plan, place


@dataclass(frozen=True)
class Ready:
    """A training that nothing refuses any more, before its run has a folder."""

    plan: Plan
    spec: BackboneSpec
    splits: Splits
    feed: pipeline.PictureFeed
    settings: Settings
    network: Network
    built: features.Features
    stages: tuple[Stage, ...]
    seconds: float
    """What it took to come this far."""
    strategy: Strategy


def prepared(
    plan: Plan,
    spec: BackboneSpec,
    splits: Splits,
    engine: str,
    options: Mapping[str, Any],
    others: Mapping[str, Any],
    strategy: Strategy,
    listener: Listener,
    teacher: Teacher | None = None,
) -> Ready:
    """Build what a training needs; options: of the feed, others: of the settings."""
    began = time.perf_counter()
    made = {"aspect": plan.aspect, "seed": plan.seed, "balance": plan.balance, "listener": listener, **options}
    if strategy.here > 1:
        made["device"] = "/CPU:0"  # from where each device gets its part
    feed = pipeline.make_feed(splits, **made)
    pipeline.tell_device(feed.options.device, listener)
    network, built = network_of(plan, spec, splits, plan.weights, listener, strategy)
    stages = stages_of(plan, network)
    learned_from = unlabelled.with_labels(plan, spec, splits, network, feed, listener, teacher)
    if learned_from is not splits:
        strategy.check_same({"labels given to pictures without one": learned_from.digest})
        feed = pipeline.make_feed(learned_from, **made)
    settings = settings_of(plan, learned_from, engine, **others)
    seconds = time.perf_counter() - began
    return Ready(plan, spec, splits, feed, settings, network, built, stages, seconds, strategy)


def _decided(ready: Ready, asked: Plan, began: float, listener: Listener) -> Ready:
    """Return a training whose stages the clock decided, with the network that they are for."""
    spec, splits, engine = ready.spec, ready.splits, ready.settings.engine
    asked_at = time.perf_counter()
    found = budgeting.decided(
        asked, spec, ready.feed.splits, ready.network, ready.feed, began=began, engine=engine, listener=listener
    )
    network, built, plan = ready.network, ready.built, found.plan
    if plan.image_size != ready.plan.image_size:
        network, built = network_of(plan, spec, splits, plan.weights, silent)
    settings = replace(ready.settings, image_size=int(plan.image_size or 0), spans=found.spans)
    stages, seconds = stages_of(plan, network), ready.seconds + time.perf_counter() - asked_at
    return replace(ready, plan=plan, settings=settings, network=network, built=built, stages=stages, seconds=seconds)


def _learned(
    ready: Ready,
    place: Path,
    teacher: Teacher | None,
    goes_on: Callable[[tuple[StageResult, ...]], bool],
    listener: Listener,
) -> tuple[StageResult, ...]:
    """Train all stages."""
    job = Job(ready.network, ready.feed, ready.settings, place, listener, goes_on, ready.strategy)
    taught = teaching.taught(job, ready.plan, ready.splits, teacher) if teacher else job
    stages, _ = whole_numbers.parted(ready.stages)
    results = trainer.train(taught, stages)
    if teacher:
        teaching.tell_passed(teacher, results, listener)
    _tell_unreadable(ready.feed.unreadable, listener)
    return results


def _kept(
    ready: Ready, place: Path, results: tuple[StageResult, ...], compare: str | None, listener: Listener
) -> bytes:
    """Keep the model and the record of what it is worth, and return that record as it is written."""
    plan, splits, feed = ready.plan, ready.splits, ready.feed
    seconds = ready.seconds + sum(result.seconds for result in results)  # earlier processes of this run included
    network = _on_its_own(ready)
    _keep_model(place, network)
    run = Run(place, _record(plan, splits, results, ready.built, network, seconds))
    run = _judged(Opened(run, listener, {"splits": splits, "feed": feed, "model": network.model}))
    run = _in_whole_numbers(run, ready, listener)
    if compare == "scratch":
        run = with_scratch(run, ready.spec, splits, feed, ready.settings, listener)
    runs.write(Run(place, run.record.model_copy(update={"finished": True})))
    return read_bytes(place / runs.RECORD, MOST_TEXT_BYTES)


def _in_whole_numbers(run: Run, ready: Ready, listener: Listener) -> Run:
    """Train the stage in whole numbers, where there is one, and note what came of it; the model stays as it is."""
    _, stage = whole_numbers.parted(ready.stages)
    if stage is None:
        return run
    result = whole_numbers.learn(Opened(run, listener, {"splits": ready.splits}), stage)
    return Run(run.folder, run.record.model_copy(update={"stages": (*run.record.stages, result)}))


def _facts(plan: Plan) -> dict[str, Any]:
    """What programs that watch are told of a plan."""
    return plan.model_dump(mode="json", exclude={"stages", "exports"})


def stages_of(plan: Plan, network: Network) -> tuple[Stage, ...]:
    """Return the stages of `plan`, checked against the network they are to train."""
    pretrained = plan.weights != "none"
    stages = plan.stages or recipes.stages(plan.recipe, len(network.blocks), pretrained=pretrained, epochs=plan.epochs)
    trainer.check(network, stages, image_size=int(plan.image_size or 0))
    return stages


def _finished(place: Path, compare: str | None, strategy: Strategy, listener: Listener) -> Run | None:
    """Return the run of `place` where nothing of what is asked for is left to do, and say so."""

    def found() -> bytes:
        done = runs.finished(place)
        return b"" if done is None or (compare and not done.record.scratch) else done.record.model_dump_json().encode()

    record = strategy.from_chief(found)
    if not record:
        return None
    listener(Event("note", f"'{place}' is finished already; train anew with --run NAME, or another seed=NUMBER"))
    return Run(place, RunRecord.model_validate_json(record))


def _keep_model(place: Path, network: Network) -> None:
    with drafted(place / "model.keras") as draft:
        network.model.save(draft)
    vouching.vouch(manifest.digest(place / "model.keras")[1])


def _keep_plan(place: Path, plan: Plan, advice: Advice | None, asked: Plan) -> None:
    if budgeting.is_open(asked):
        write_bytes(place / runs.ASKED, plans.to_toml(asked).encode())
    write_bytes(place / runs.PLAN, plans.to_toml(plan).encode())
    if advice:
        write_bytes(place / ADVICE, advice.model_dump_json(indent=2).encode())


def _tell_unreadable(unreadable: Mapping[str, str], listener: Listener) -> None:
    if unreadable:
        named = ", ".join(list(unreadable)[:10])
        listener(Event("warning", f"{len(unreadable)} pictures could not be read and counted nothing: {named}"))


def _on_its_own(ready: Ready) -> Network:
    """Return the network that computes in whole floats on one device with the same weights: what is scored, saved and
    exported."""
    plan = ready.plan.model_copy(update={"precision": "float32"})
    if plan == ready.plan and ready.strategy.kind == "one":
        return ready.network
    twin, _ = network_of(plan, ready.spec, ready.splits, "none", silent)
    twin.model.set_weights(ready.network.model.get_weights())
    return twin


def _record(
    plan: Plan,
    splits: Splits,
    results: tuple[StageResult, ...],
    built: features.Features,
    network: Network,
    seconds: float,
) -> RunRecord:
    best = next(result for result in reversed(results) if result.kept)
    return RunRecord(
        plan=plan,
        merit_name=task_of(plan.task).merit_name,
        class_names=splits.known_names,
        counts=splits.counts,
        data_digest=splits.digest,
        image_size=int(plan.image_size or 0),
        clip_seconds=splits.clip_seconds,
        weights_digest=freezing.digest(network.model.layers),
        weights_license=built.license,
        weights_source=built.weights_source,
        stages=results,
        best_stage=best.name,
        validation_merit=best.validation_merit,
        seconds=round(seconds, 2),
        environment=_environment(),
        data_folder=str(Path.cwd()),
    )


def _judged(opened: Opened) -> Run:
    """Return the run with what validation settles and what it is then worth on the test pictures."""
    record = opened.record
    settled = dict(opened.fitted.contract) if opened.fitted else {}
    contract = Contract.model_validate({**opened.plain.model_dump(), **settled})
    scored = opened.scored("test", contract)
    return Run(opened.run.folder, record.model_copy(update={"settled": settled, "test": _by_key(scored)}))


def _by_key(scored: Scored) -> dict[str, float]:
    """The headline figures under names that programs read: `log loss` as `log_loss`."""
    named = {name.replace(" ", "_").replace("-", "_"): value for name, value in scored.figures.items()}
    return {name: value for name, value in named.items() if value is not None}


def with_scratch(
    run: Run, spec: BackboneSpec, splits: Splits, feed: Feed, settings: Settings, listener: Listener
) -> Run:
    """Train the same network from random weights for as long as the run took, and note what came of it."""
    record = run.record
    listener(Event("note", f"the same network from scratch, for the same {record.seconds:.0f} s"))
    began = time.perf_counter()
    network, _ = network_of(record.plan, spec, splits, "none", silent)
    stage = Stage(name="scratch", blocks="all", epochs=10_000, learning_rate=1e-3, augment="light")
    spent = time.perf_counter() - began
    job = Job(network, feed, settings, run.folder / "scratch", listener)
    (result,) = trainer.train(job, [stage], seconds=max(record.seconds - spent, 1.0))
    opened = Opened(run, given={"splits": splits})
    contract, apply = opened.plain, opened.task.apply
    said = predicted(network.model.predict_on_batch, opened.trained, feed, "test", contract, len(splits.test), silent)
    worth = opened.task.score(apply(said, contract) if apply else said, opened.labels("test"), contract)
    scratch = {worth.merit_name: worth.merit, "seconds": round(spent + result.seconds, 2)}
    return Run(run.folder, record.model_copy(update={"scratch": scratch}))


def _environment() -> dict[str, str]:
    names = ("tensorflow", "keras", "numpy", "tf2onnx", "ai-edge-litert", "onnxruntime", "keras-transfer")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "instructions": devices.instruction_set(),
        **{name: importlib.metadata.version(name) for name in names},
    }
