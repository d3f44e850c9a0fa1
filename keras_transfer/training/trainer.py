"""Runs the stages: each from where the last one ended, gated, audited, and resumable after any epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_transfer.errors import RunError, TrainingError
from keras_transfer.files import write_bytes
from keras_transfer.specs import Event, Feed, Listener, Network, Stage, StageResult, silent
from keras_transfer.training import checkpoints, freezing, resizing
from keras_transfer.training.batch_norm import fused
from keras_transfer.training.fit import Reached, fit
from keras_transfer.training.learning_rates import optimizer
from keras_transfer.training.stage_data import Settings, prepare
from keras_transfer.training.surgery import chosen


def train(
    network: Network,
    stages: Sequence[Stage],
    feed: Feed,
    settings: Settings,
    *,
    folder: Path,
    seconds: float | None = None,
    listener: Listener = silent,
) -> tuple[StageResult, ...]:
    """Train `network` in place, stage by stage, and return what each did.

    folder: where `stages/` and the checkpoint are; what is found there of the same stages is not done again, and its
    seconds are in the results as if this process had spent them.
    seconds: a budget of wall-clock time for the last stage, which then replaces its number of epochs.
    Raises TrainingError where a stage diverges or a frozen tensor moved; what was reached before is on disk.
    """
    for stage in stages:
        _check(network, stage, settings)  # all mistakes in the list show before the first hour, not after it
    results = _finished(network, stages, folder)
    epochs = {stage.name: 0 if seconds and stage is stages[-1] else stage.epochs for stage in stages}
    listener(Event("stages", ", ".join(epochs), total=len(stages), values=epochs))
    for result in results:
        listener(_told(result))
    for index in range(len(results), len(stages)):
        budget = seconds if index == len(stages) - 1 else None
        result = _run(network, stages[index], index, _reached(results), feed, settings, folder, budget, listener)
        results.append(result)
        listener(_told(result))
    return tuple(results)


def _run(
    network: Network,
    stage: Stage,
    index: int,
    before: StageResult | None,
    feed: Feed,
    settings: Settings,
    folder: Path,
    seconds: float | None,
    listener: Listener,
) -> StageResult:
    began = time.perf_counter()
    asked, stage = stage, chosen(network, stage, feed, settings)
    freeze = freezing.decide(network, stage)
    freezing.apply(freeze)
    told = {"budget_seconds": seconds} if seconds else {}
    listener(Event("stage", f"{stage.name}: {_learns(freeze)}", done=index, values=told))
    start = checkpoints.values(network.model.variables, "v")
    digest_before = freezing.digest(freeze.frozen)
    data = prepare(network.model, freeze, stage, feed, settings, listener)
    listener(Event("note", data.reason))
    with fused(freeze.learning, momentum=stage.batch_norm_momentum):
        reached = fit(
            network,
            freeze,
            stage,
            data,
            settings,
            checkpoint=folder / "checkpoint.npz",
            began=began,
            seconds=seconds,
            listener=listener,
        )
    digest_after = freezing.digest(freeze.frozen)
    if digest_after != digest_before:
        raise TrainingError(f"Stage '{stage.name}' moved a frozen tensor; the model before it is kept in '{folder}'.")
    kept, reason = _gate(reached, before)
    if not kept:
        checkpoints.assign(network.model.variables, start, "v")
    rows = reached.history
    place = _place(folder, index, stage)
    checkpoints.save(place / "weights.npz", checkpoints.values(network.model.variables, "v"), {"stage": stage.name})
    result = StageResult(
        name=stage.name,
        index=index,
        learned_blocks=freeze.blocks,
        epochs=len(rows),
        best_epoch=reached.best_epoch,
        seconds=round(reached.earlier_seconds + time.perf_counter() - began, 3),
        pictures_per_second=round(settings.counts["train"] * len(rows) / _passing(rows), 1),
        engine=data.engine,
        engine_reason=data.reason,
        validation_merit=reached.merit,
        validation_loss=reached.loss,
        kept=kept,
        reason=reason,
        frozen_tensors=sum(len(layer.weights) for layer in freeze.frozen),
        frozen_digest_before=digest_before,
        frozen_digest_after=digest_after,
        history=rows,
    )
    listener(Event("note" if kept else "warning", f"{stage.name}: {reason}"))
    write_bytes(
        place / "result.json",
        json.dumps({"stage": asked.model_dump(mode="json"), "result": result.model_dump(mode="json")}).encode(),
    )
    (folder / "checkpoint.npz").unlink(missing_ok=True)
    return result


def _told(result: StageResult) -> Event:
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


def _check(network: Network, stage: Stage, settings: Settings) -> None:
    if stage.blocks != "surgical":
        freezing.decide(network, stage)
    if stage.image_size:
        resizing.check(stage.image_size, stage=stage.name, full_size=settings.image_size)
    optimizer(stage, {})


def _gate(reached: Reached, before: StageResult | None) -> tuple[bool, str]:
    """A stage stands only where it beat what it began from: by accuracy, or by loss at equal accuracy."""
    now = f"{reached.merit:.1%} on validation"
    if before is None:
        return True, now
    then = f"{before.validation_merit:.1%} of '{before.name}'"
    better = (reached.merit, -reached.loss) > (before.validation_merit, -before.validation_loss)
    return better, f"{now}, after {then}" if better else f"rolled back: {now} did not beat the {then}"


def _reached(results: Sequence[StageResult]) -> StageResult | None:
    return next((result for result in reversed(results) if result.kept), None)


def _finished(network: Network, stages: Sequence[Stage], folder: Path) -> list[StageResult]:
    """Load what earlier processes finished of this very list of stages."""
    results: list[StageResult] = []
    for index, stage in enumerate(stages):
        place = _place(folder, index, stage)
        if not (place / "result.json").exists():
            break
        found = json.loads((place / "result.json").read_text())
        if Stage.model_validate(found["stage"]) != stage:
            raise RunError(f"Stage '{stage.name}' in '{folder}' was trained with other settings; begin a new run.")
        results.append(StageResult.model_validate(found["result"]))
    if results:
        arrays, _ = checkpoints.load(_place(folder, len(results) - 1, stages[len(results) - 1]) / "weights.npz")
        checkpoints.assign(network.model.variables, arrays, "v")
    return results


def _place(folder: Path, index: int, stage: Stage) -> Path:
    return folder / "stages" / f"{index}-{stage.name}"


def _learns(freeze: freezing.Freeze) -> str:
    return "the head learns" if not freeze.blocks else f"the head and blocks {', '.join(map(str, freeze.blocks))} learn"
