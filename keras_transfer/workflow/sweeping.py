"""Trains the plans of a grid as the trials of one sweep: who is behind after a stage stops, and all are compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer import runs
from keras_transfer.backbones import registry
from keras_transfer.data import sources
from keras_transfer.errors import RunError, UsageError
from keras_transfer.evaluation import plots
from keras_transfer.export.precisions import beats
from keras_transfer.files import read_text, write_bytes
from keras_transfer.specs import Event, Listener, Plan, Run, Splits, StageResult, Value, silent
from keras_transfer.workflow.building import resolved, with_frames
from keras_transfer.workflow.exporting import export
from keras_transfer.workflow.proving import Verified
from keras_transfer.workflow.tasks import task_of
from keras_transfer.workflow.training import train

KEEP = 0.5
"""Of the trials that reached a stage's end, the share that goes on to their next."""

FORMAT = "tflite"
"""The file by which sizes and times are compared."""


@dataclass(frozen=True)
class Trial:
    """One plan of a sweep, and the run that it becomes."""

    name: str
    plan: Plan


class Tried(Value):
    """What came of a trial: a row of the sweep's table."""

    run: str
    """Name of its folder."""
    backbone: str
    recipe: str
    image_size: int
    seed: int
    stages: tuple[str, ...]
    """Those that were trained."""
    stopped: bool = False
    """Whether it was behind when the next one would have begun, and was finished with those it had."""
    validation_merit: float
    test_merit: float
    size_bytes: int
    latency_ms: float
    seconds: float
    """Of training."""
    pareto: bool = False
    """Whether no other is at least as good in merit on validation, size, time for a picture and seconds of training,
    and better in one of them."""


class Swept(Value):
    """All that a sweep found."""

    merit_name: str
    trials: tuple[Tried, ...]


def sweep(
    source: str,
    *,
    backbones: Sequence[str] = ("EfficientNetLite0",),
    recipes: Sequence[str] = ("head_then_top",),
    sizes: Sequence[int | None] = (None,),
    seeds: Sequence[int] = (0,),
    keep: float = KEEP,
    folder: Path | str = runs.DEFAULT_FOLDER,
    options: Mapping[str, Any] | None = None,
    ray: str | None = None,
    workers: int | None = None,
    listener: Listener = silent,
    **of_training: Any,
) -> Swept:
    """Train every combination as a run of its own, one after another, and compare what they are worth.

    >>> sweep("sample:fashion", backbones=["EfficientNetLite0"], seeds=[0, 1]).trials[0].run  # doctest: +SKIP
    'fashion-EfficientNetLite0-head_then_top-seed0'

    A stage is a rung: a trial goes on to its next stage where it is among the best `keep` of those that ended the same
    one so far; else it is finished with what it has. options: other keys of every plan; of_training: what `train`
    takes. ray: address of a Ray (`on_ray.joined`) that trains so many of them at once (`workers`, else one a machine);
    they are compared here. What was decided stands in `sweep-NAME.json` beside the runs, with the table and
    `sweep-NAME.svg`, so that the same call after a kill goes on, on Ray or without. Raises UsageError for a combination
    that no training could follow, and where two trials would have one name; RunError where another plan's run has the
    name of a trial.

    Method: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", with stages for resources.
    """
    if not 0 < keep <= 1:
        raise UsageError(f"keep is a share above 0 and at most 1. Received: {keep}")
    trials = trials_of(source, backbones, recipes, sizes, seeds, options or {})
    splits = {seed: splits_of(trials[0].plan, seed, listener) for seed in dict.fromkeys(seeds)}
    check_names(trials, Path(folder), splits)
    rungs = Rungs(place_of(source, folder), keep)
    if ray:
        from keras_transfer.workflow import sweeping_on_ray

        sweeping_on_ray.train_all(trials, rungs, Path(folder), ray, workers, listener, **of_training)
    rows = []
    for number, trial in enumerate(trials, start=1):
        listener(Event("note", f"trial {number} of {len(trials)}: {trial.name}"))
        run = tried(trial, splits[trial.plan.seed], folder, rungs.goes_on, listener, **of_training)
        rows.append(row_of(trial, run, rungs, listener))
    return compared(rows, rungs, task_of(trials[0].plan.task).merit_name)


def trials_of(
    source: str,
    backbones: Sequence[str],
    recipes: Sequence[str],
    sizes: Sequence[int | None],
    seeds: Sequence[int],
    options: Mapping[str, Any],
) -> tuple[Trial, ...]:
    """Return every combination by name; UsageError where two have the same."""
    found: dict[str, Trial] = {}
    for backbone, recipe, size, seed in itertools.product(backbones, recipes, sizes, seeds):
        row = registry.backbone(backbone).name
        plan = Plan(**{**options, "data": source, "backbone": row, "recipe": recipe, "image_size": size, "seed": seed})
        name = "-".join([runs.name_for(plan), recipe, *([f"{size}px"] if size else []), f"seed{seed}"])
        if name in found:
            raise UsageError(f"Two trials of this sweep would be the run '{name}'. Name every choice once.")
        found[name] = Trial(name, plan)
    if not found:
        raise UsageError("A sweep needs a backbone, a recipe and a seed at least.")
    return tuple(found.values())


def splits_of(plan: Plan, seed: int, listener: Listener) -> Splits:
    """Return the pictures of the trials of one seed, which draws what the source leaves open: read once for all."""
    return sources.load(plan.data, annotation=task_of(plan.task).annotation, seed=seed, listener=listener)


def check_names(trials: Sequence[Trial], folder: Path, splits: Mapping[int, Splits]) -> None:
    """Raise what one of the trials would end the sweep with: a run of that name is there, of another plan."""
    for trial in trials:
        spec = registry.backbone(trial.plan.backbone)
        pictures = with_frames(splits[trial.plan.seed], trial.plan.frames)
        plan = resolved(trial.plan, spec, pictures, silent)
        runs.place_for(plan, folder, trial.name, data_digest=pictures.digest)


def place_of(source: str, folder: Path | str) -> Path:
    """Return where a sweep keeps what it decided: beside its runs."""
    return Path(folder) / f"sweep-{runs.name_for(Plan(data=source, backbone='all')).removesuffix('-all')}.json"


@dataclass
class Rungs:
    """What every trial reached at the end of each stage, on disk before anybody acts on it."""

    place: Path
    keep: float
    _reached: dict[str, list[list[Any]]] = field(init=False)
    """By trial: [merit on validation, whether it went on] of each of its stages."""

    def __post_init__(self) -> None:
        self._reached = self._read()

    def goes_on(self, trial: str, results: Sequence[StageResult]) -> bool:
        """Whether a trial that ended so many stages begins the next."""
        return self.decided(trial, len(results) - 1, merit_of(results))

    def decided(self, trial: str, rung: int, merit: float) -> bool:
        """Whether a trial with that merit after its stage number `rung` goes on; what was decided once stands."""
        known = self._reached.setdefault(trial, [])
        if rung >= len(known):
            others = [each[rung][0] for name, each in self._reached.items() if name != trial and len(each) > rung]
            known.append([merit, is_ahead(merit, others, self.keep)])
            self.write({})
        return bool(known[rung][1])

    def said(self, trial: str, rung: int) -> bool | None:
        """What was decided of a trial after that stage; None where that is open."""
        known = self._reached.get(trial, ())
        return bool(known[rung][1]) if rung < len(known) else None

    def stopped(self, trial: str) -> bool:
        """Whether a trial was behind at the end of one of its stages."""
        return any(not on for _, on in self._reached.get(trial, ()))

    def write(self, more: Mapping[str, Any]) -> None:
        """Keep what was decided, and `more` beside it."""
        content = {"version": 1, "keep": self.keep, "rungs": self._reached, **more}
        write_bytes(self.place, json.dumps(content, indent=1).encode())

    def _read(self) -> dict[str, list[list[Any]]]:
        if not self.place.exists():
            return {}
        try:
            found = json.loads(read_text(self.place))
            return {str(name): [[float(m), bool(on)] for m, on in each] for name, each in found["rungs"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise RunError(f"'{self.place}' holds no sweep that can be read. Delete it to decide anew.") from None


def merit_of(results: Sequence[StageResult]) -> float:
    """Return what a model is worth on validation after those stages: what the last one reached that was kept."""
    return next(result.validation_merit for result in reversed(results) if result.kept)


def is_ahead(merit: float, others: Sequence[float], keep: float) -> bool:
    """Return whether `merit` is among the best `keep` of all, its own included, as asynchronous halving asks.

    >>> is_ahead(0.7, [0.9, 0.6, 0.5], keep=0.5), is_ahead(0.7, [0.9, 0.8], keep=0.5), is_ahead(0.7, [], keep=0.5)
    (True, False, True)
    """
    return merit >= float(np.quantile([merit, *others], 1 - keep))


def tried(
    trial: Trial,
    splits: Splits | None,
    folder: Path | str,
    goes_on: Callable[[str, Sequence[StageResult]], bool],
    listener: Listener,
    **of_training: Any,
) -> Run:
    """Train a trial as far as it is worth it, or go on with it; return its run, finished with the stages it has.

    splits: its pictures; None reads them. goes_on: asked by its name after each stage, as `Rungs.goes_on`.
    """
    return train(
        trial.plan,
        folder=folder,
        name=trial.name,
        splits=splits,
        goes_on=lambda results: goes_on(trial.name, results),
        listener=listener,
        **of_training,
    )


def row_of(trial: Trial, run: Run, rungs: Rungs, listener: Listener) -> Tried:
    """Return the row of a trial; its file is exported where that was not done, because size and time are the file's."""
    record = run.record
    (file,) = export(run, [FORMAT], listener=listener)
    assert isinstance(file, Verified)  # what is checked, as it is by itself
    return Tried(
        run=trial.name,
        backbone=record.plan.backbone,
        recipe=record.plan.recipe,
        image_size=record.image_size,
        seed=record.plan.seed,
        stages=tuple(stage.name for stage in record.stages),
        stopped=rungs.stopped(trial.name),
        validation_merit=record.validation_merit,
        test_merit=next(iter(record.test.values())),
        size_bytes=file.artifact.size_bytes,
        latency_ms=file.latency.median_ms,
        seconds=record.seconds,
    )


def compared(rows: Sequence[Tried], rungs: Rungs, merit_name: str) -> Swept:
    """Return the rows, those that nothing beats marked, and keep them as JSON and as a drawing."""
    front = [not any(beats(_costs(other), _costs(row)) for other in rows) for row in rows]
    marked = (row.model_copy(update={"pareto": best}) for row, best in zip(rows, front, strict=True))
    swept = Swept(merit_name=merit_name, trials=tuple(marked))
    rungs.write(swept.model_dump(mode="json"))
    drawn = plots.trials([row.model_dump() for row in swept.trials], merit_name)
    write_bytes(rungs.place.with_suffix(".svg"), drawn.encode())
    return swept


def _costs(row: Tried) -> tuple[float, ...]:
    """What is chosen by, the smaller the better. Test pictures have no say: they tell what the choice is worth."""
    return -row.validation_merit, row.size_bytes, row.latency_ms, row.seconds
