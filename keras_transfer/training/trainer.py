"""Runs the stages: each from where the last one ended, gated, audited, and resumable after any epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.errors import RunError, TrainingError
from keras_transfer.files import write_bytes
from keras_transfer.specs import Event, Network, Stage, StageResult
from keras_transfer.training import beginning, checkpoints, freezing, resizing, solving
from keras_transfer.training.fit import Reached, fit
from keras_transfer.training.freezing import Freeze
from keras_transfer.training.job import Job
from keras_transfer.training.learning_rates import optimizer, peak_of
from keras_transfer.training.stage_data import StageData
from keras_transfer.training.steps import evaluation, suffix_of
from keras_transfer.training.whole_batch import learning


@dataclass(frozen=True)
class Begun:
    """A stage that is ready to learn, and what must be as before should it not be kept."""

    index: int
    asked: Stage
    """As the plan has it."""
    stage: Stage
    """With its blocks and its rate decided."""
    freeze: Freeze
    data: StageData
    weights: Mapping[str, np.ndarray]
    """Of the whole network when the stage began."""
    frozen_digest: str
    began: float
    """`time.perf_counter` when the stage was asked for."""


@dataclass(frozen=True)
class Bar:
    """What a stage has to beat to be kept."""

    of: str
    """Whose it is, for a person."""
    merit: float
    loss: float


def train(job: Job, stages: Sequence[Stage], *, seconds: float | None = None) -> tuple[StageResult, ...]:
    """Train the network of `job` in place, stage by stage, and return what each did.

    What is found in the job's folder of the same stages is not done again, and its seconds are in the results as if
    this process had spent them.
    seconds: a budget of wall-clock time for the last stage, which then replaces its number of epochs.
    Raises TrainingError where a stage diverges or a frozen tensor moved; what was reached before is on disk.
    """
    check(job.network, stages, image_size=job.settings.image_size)
    results = _finished(job, stages)
    epochs = {stage.name: 0 if seconds and stage is stages[-1] else stage.epochs for stage in stages}
    job.listener(Event("stages", ", ".join(epochs), total=len(stages), values=epochs))
    for result in results:
        job.listener(_finished_event(result))
    for index in range(len(results), len(stages)):
        if _too_late(job, stages, results) or _behind(job, stages, results):
            break
        budget = seconds if index == len(stages) - 1 else None
        result = _run(job, index, stages[index], _reached(results), budget)
        results.append(result)
        job.listener(_finished_event(result))
    return tuple(results)


def _too_late(job: Job, stages: Sequence[Stage], results: Sequence[StageResult]) -> bool:
    """Whether too little is left of the run's minutes to begin the next stage; a model is there by then."""
    name, span = stages[len(results)].name, job.settings.spans.get(stages[len(results)].name)
    if span is None or not results:
        return False
    given = job.settings.spans.get(results[-1].name)
    slower = max(1.0, results[-1].seconds / given.expected) if given else 1.0
    least, left = slower * span.least, span.until - time.perf_counter()
    if left < least:
        sentence = f"{name} is left out: it takes {least:.0f} s at least, and {max(left, 0):.0f} s are left for it"
        job.listener(Event("warning", sentence))
    return left < least


def _behind(job: Job, stages: Sequence[Stage], results: Sequence[StageResult]) -> bool:
    """Whether whoever compares this run with others leaves the rest of its stages out."""
    if not results or job.strategy.decided(lambda: job.goes_on(tuple(results))):
        return False
    left = ", ".join(stage.name for stage in stages[len(results) :])
    job.listener(Event("note", f"{left} is left out: others are ahead after {results[-1].name}"))
    return True


def check(network: Network, stages: Sequence[Stage], *, image_size: int) -> None:
    """Raise UsageError for a mistake in any of the stages: they show before the first hour, not after it."""
    for stage in stages:
        freezing.decide(network, stage)
        if stage.image_size:
            clips = len(network.model.input.shape) > 4
            resizing.check(stage.image_size, stage=stage.name, full_size=image_size, clips=clips)
        optimizer(stage, {})
        if stage.solved:
            solving.check(network, stage)


def _run(job: Job, index: int, asked: Stage, before: StageResult | None, seconds: float | None) -> StageResult:
    begun = _begun(job, index, asked, seconds)
    bar = _bar(job, begun, before)
    with learning(job.strategy, job.network, begun.freeze, begun.stage):
        reached = fit(job, begun.stage, begun.freeze, begun.data, began=begun.began, seconds=seconds)
    if freezing.digest(begun.freeze.frozen) != begun.frozen_digest:
        raise TrainingError(
            f"Stage '{asked.name}' moved a frozen tensor; the model before it is kept in '{job.folder}'."
        )
    kept, reason = _gate(reached, bar)
    if not kept:
        checkpoints.assign(job.network.model.variables, begun.weights, "v")
    result = _result(job, begun, reached, kept, reason)
    job.listener(Event("note" if kept else "warning", f"{asked.name}: {reason}"))
    _keep(job, begun, result)
    return result


def _begun(job: Job, index: int, asked: Stage, seconds: float | None) -> Begun:
    """Decide what the stage leaves open, or follow what was decided before this process, and get its batches."""
    began = time.perf_counter()
    place = _place(job.folder, index, asked)
    before = beginning.kept(job, asked, place)
    stage = before.stage if before else asked
    freeze = freezing.decide(job.network, stage)
    freezing.apply(freeze)
    told = {"budget_seconds": seconds} if seconds else {}
    job.listener(Event("stage", f"{stage.name}: {_learns(freeze)}", done=index, values=told))
    weights = checkpoints.values(job.network.model.variables, "v")
    digest = freezing.digest(freeze.frozen)
    stage, data = beginning.begin(job, asked, stage, freeze, place, before)
    job.listener(Event("note", data.reason))
    return Begun(index, asked, stage, freeze, data, weights, digest, began)


def _result(job: Job, begun: Begun, reached: Reached, kept: bool, reason: str) -> StageResult:
    rows = reached.history
    return StageResult(
        name=begun.stage.name,
        index=begun.index,
        precision=begun.stage.precision,
        learned_blocks=begun.freeze.blocks,
        epochs=len(rows),
        best_epoch=reached.best_epoch,
        seconds=round(reached.earlier_seconds + time.perf_counter() - begun.began, 3),
        pictures_per_second=round(job.settings.counts["train"] * reached.passes(begun.data.steps) / _passing(rows), 1),
        engine=begun.data.engine,
        engine_reason=begun.data.reason,
        validation_merit=reached.merit,
        validation_loss=reached.loss,
        learning_rate=peak_of(begun.stage),
        kept=kept,
        reason=reason,
        frozen_tensors=sum(len(layer.weights) for layer in begun.freeze.frozen),
        frozen_digest_before=begun.frozen_digest,
        frozen_digest_after=freezing.digest(begun.freeze.frozen),
        history=rows,
    )


def _keep(job: Job, begun: Begun, result: StageResult) -> None:
    """Put weights and result on disk, the result last: it is what says that the stage is done."""
    if not job.strategy.chief:
        return
    place, model = _place(job.folder, begun.index, begun.asked), job.network.model
    checkpoints.save(place / "weights.npz", checkpoints.values(model.variables, "v"), {"stage": begun.asked.name})
    done = {"stage": begun.asked.model_dump(mode="json"), "result": result.model_dump(mode="json")}
    write_bytes(place / "result.json", json.dumps(done).encode())
    job.checkpoint.unlink(missing_ok=True)


def _finished_event(result: StageResult) -> Event:
    rows = result.history
    values = {
        "epochs": result.epochs,
        "loss": rows[result.best_epoch - 1]["loss"],
        "validation_merit": result.validation_merit,
        "pictures_per_second": result.pictures_per_second,
        "waiting_share": sum(row["waiting_share"] * row["seconds"] for row in rows) / _passing(rows),
        "seconds": result.seconds,
        "kept": result.kept,
    }
    return Event("finished", result.name, done=result.index + 1, values=values)


def _passing(history: Sequence[Mapping[str, float]]) -> float:
    """Seconds that the epochs of `history` took, without what came before the first of them."""
    return max(sum(row["seconds"] for row in history), 1e-9)


def _bar(job: Job, begun: Begun, before: StageResult | None) -> Bar | None:
    """What the network was worth when the stage began; None where nothing was learnt yet.

    In whole numbers that is what rounding alone left of it: how good it was in floats is no measure of what it learns.
    """
    if begun.stage.precision:
        loss, merit = evaluation(suffix_of(job.network, begun.data), job.network, begun.data, job.strategy)()
        return Bar("rounding alone", merit, loss)
    return Bar(f"'{before.name}'", before.validation_merit, before.validation_loss) if before else None


def _gate(reached: Reached, bar: Bar | None) -> tuple[bool, str]:
    """A stage stands only where it beat what it began from: by accuracy, or by loss at equal accuracy."""
    now = f"{reached.merit:.1%} on validation"
    if bar is None:
        return True, now
    then = f"{bar.merit:.1%} of {bar.of}"
    better = (reached.merit, -reached.loss) > (bar.merit, -bar.loss)
    return better, f"{now}, after {then}" if better else f"rolled back: {now} did not beat the {then}"


def _reached(results: Sequence[StageResult]) -> StageResult | None:
    return next((result for result in reversed(results) if result.kept), None)


def _finished(job: Job, stages: Sequence[Stage]) -> list[StageResult]:
    """Load what earlier processes finished of this very list of stages."""
    told = job.strategy.decided(lambda: _results(job.folder, stages))
    results = [StageResult.model_validate(each) for each in told]
    if results:
        last = _place(job.folder, len(results) - 1, stages[len(results) - 1]) / "weights.npz"
        arrays, _ = checkpoints.of_chief(last, job.strategy) or checkpoints.load(last)
        checkpoints.assign(job.network.model.variables, arrays, "v")
    return results


def _results(folder: Path, stages: Sequence[Stage]) -> list[Any]:
    results = []
    for index, stage in enumerate(stages):
        place = _place(folder, index, stage)
        if not (place / "result.json").exists():
            break
        found = json.loads((place / "result.json").read_text())
        if Stage.model_validate(found["stage"]) != stage:
            raise RunError(f"Stage '{stage.name}' in '{folder}' was trained with other settings; begin a new run.")
        results.append(found["result"])
    return results


def _place(folder: Path, index: int, stage: Stage) -> Path:
    return folder / "stages" / f"{index}-{stage.name}"


def _learns(freeze: freezing.Freeze) -> str:
    return "the head learns" if not freeze.blocks else f"the head and blocks {', '.join(map(str, freeze.blocks))} learn"
