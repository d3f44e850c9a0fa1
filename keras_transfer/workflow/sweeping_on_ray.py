"""Trains the trials of a sweep as trials of Ray Tune: who goes on after a stage is decided as ever, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_transfer import journal, runs
from keras_transfer.errors import KerasTransferError, TrainingError
from keras_transfer.files import aside
from keras_transfer.specs import Event, Listener, StageResult, silent
from keras_transfer.workflow import on_ray
from keras_transfer.workflow.on_ray import Asker
from keras_transfer.workflow.sweeping import Rungs, Trial, merit_of, tried


@dataclass(frozen=True)
class Work:
    """What every trial is sent."""

    trials: Mapping[str, Trial]
    """By name."""
    rungs: Rungs
    """As they were when the sweep began: what is decided since is read from their file."""
    folder: Path
    """Of runs."""
    journals: Path
    """Where each trial keeps what it tells."""
    asker: Asker
    options: Mapping[str, Any]
    """What else `train` takes."""


def train_all(
    trials: Sequence[Trial],
    rungs: Rungs,
    folder: Path,
    address: str,
    workers: int | None,
    listener: Listener,
    **options: Any,
) -> None:
    """Train every trial that is not finished, so many at once (`workers`, else one a machine); folder: of runs.

    Tune's scheduler asks `rungs`, here: one process decides, and its file is the sweep's, so that the same call goes on
    whether on Ray or not, with the runs that are there under the trials' names. A trial that is behind is not ended by
    Tune: it reads so in that file, and finishes its run with the stages that it has. Raises what a trial raised first,
    when all the others are done.
    """
    open_ones = {trial.name: trial for trial in trials if not runs.finished(folder / trial.name)}
    if not open_ones:
        return
    with on_ray.joined(address, workers) as found, aside(folder.absolute()) as place:
        work = Work(open_ones, rungs, folder, place, Asker(found.cores), options)
        ended = on_ray.heard(lambda: _fitted(work, found.processes, found.resources), found, place, listener)
    if ended:
        name, sentence = next(iter(ended.items()))
        raise TrainingError(f"{name}: {sentence}")


def _fitted(work: Work, at_once: int, resources: Mapping[str, float]) -> dict[str, str]:
    """Return what trials ended with that did not finish their run, by name."""
    from ray import tune

    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, work=work), dict(resources)),
        param_space={"trial": tune.grid_search(list(work.trials))},
        tune_config=tune.TuneConfig(scheduler=_by_stages(work.rungs), max_concurrent_trials=at_once),
        run_config=tune.RunConfig(name="sweep", storage_path=str(work.journals), verbose=0),
    )
    ended = {}
    for result in tuner.fit():
        refused = f"{on_ray.said_of(result.error)}. The same command goes on with it." if result.error else ""
        refused = (result.metrics or {}).get("refused", refused)
        if refused:
            ended[(result.config or {}).get("trial", "a trial")] = refused
    return ended


def _by_stages(rungs: Rungs) -> Any:
    """Return a scheduler of Tune for which a stage is a rung."""
    from ray.tune.schedulers import FIFOScheduler

    class ByStages(FIFOScheduler):
        def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
            if "merit" in result:  # and the trial waits in its `report` until this returns
                rungs.decided(trial.config["trial"], result["rung"], result["merit"])
            return str(FIFOScheduler.CONTINUE)

    return ByStages()


def _trial(config: Mapping[str, str], work: Work) -> None:
    """Train one trial, in a process of Tune."""
    from ray import tune

    trial = work.trials[config["trial"]]
    with journal.keeping(work.journals / f"{trial.name}.jsonl", silent) as kept:
        listener = on_ray.without_bars(kept, trial.name)

        def goes_on(name: str, results: Sequence[StageResult]) -> bool:
            rung, merit = len(results) - 1, merit_of(results)
            said = _said(work, name, rung)
            if said is None:
                tune.report({"rung": rung, "merit": merit})
                said = _said(work, name, rung)
            listener(Event("note", f"{results[-1].name} reached {merit:.1%}{', and goes on' if said else ''}"))
            return bool(said)

        try:
            work.asker.taken_over()
            tried(trial, None, work.folder, goes_on, listener, **work.options)
        except KerasTransferError as error:
            tune.report({"refused": str(error)})


def _said(work: Work, name: str, rung: int) -> bool | None:
    """What the driver decided, as it stands on the disk."""
    return Rungs(work.rungs.place, work.rungs.keep).said(name, rung)
