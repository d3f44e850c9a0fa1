"""Trains a plan on workers that Ray Train starts: each runs the training that TF_CONFIG would start by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_transfer import journal, runs
from keras_transfer.errors import KerasTransferError, TrainingError
from keras_transfer.files import aside
from keras_transfer.specs import Listener, Plan, Run, RunRecord, silent
from keras_transfer.workflow import on_ray, together
from keras_transfer.workflow.on_ray import Asker


@dataclass(frozen=True)
class Work:
    """What every worker is sent."""

    plan: Plan
    folder: Path
    """Of runs."""
    journals: Path
    """Where each worker keeps what it tells."""
    asker: Asker
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else `train` takes."""


def train_on_ray(
    plan: Plan,
    *,
    address: str,
    workers: int,
    folder: Path | str = runs.DEFAULT_FOLDER,
    listener: Listener = silent,
    **options: Any,
) -> Run:
    """Train what `plan` says as one run on so many workers, and return it; the same call goes on with a run.

    >>> train_on_ray(Plan(data="pictures"), address="local", workers=2).record.test["accuracy"]  # doctest: +SKIP
    0.87

    Ray Train starts the workers, sets their TF_CONFIG and ends all where one of them ended; what they learn is what one
    device learns (`training.strategy`). address: see `on_ray.joined`. folder: of runs, which all machines must see, as
    what was asked of Ray lies there meanwhile. options: what `workflow.training.train` takes. Raises what that raises
    in the first worker that says why, TrainingError where a worker is gone or has no place.
    """
    on_ray.check(address)
    if workers > 1:
        together.check_clock(f"the {workers} workers of --ray", plan, options.get("compare"))
    with on_ray.joined(address, workers) as found, aside(Path(folder).absolute()) as place:
        work = Work(plan, Path(folder), place, Asker(found.cores), options)
        trained_in, record = on_ray.heard(lambda: _fitted(work, workers, found.resources), found, place, listener)
    return Run(Path(trained_in), RunRecord.model_validate_json(record))


def _fitted(work: Work, workers: int, resources: Mapping[str, float]) -> tuple[str, str]:
    """Return what the first worker gives, when all are done."""
    from ray import train
    from ray.exceptions import RayError
    from ray.train.tensorflow import TensorflowTrainer

    trainer = TensorflowTrainer(
        _worker,
        train_loop_config={"work": work},
        scaling_config=train.ScalingConfig(
            num_workers=workers,
            use_gpu="GPU" in resources,
            resources_per_worker=dict(resources),
            placement_strategy="SPREAD",  # one machine each as long as there are some
        ),
        run_config=train.RunConfig(name="train", storage_path=str(work.journals)),
    )
    try:
        return trainer.fit().return_value
    except train.TrainingFailedError as error:
        raise in_a_sentence(getattr(error, "worker_failures", {}), workers, error) from None
    except RayError as error:
        raise TrainingError(f"Ray gave up the training ({on_ray.said_of(error)}). {_KEPT}") from None


_KEPT = "The run is kept up to its last epoch: give the same command again."


def in_a_sentence(failures: Mapping[int, BaseException], workers: int, error: BaseException) -> KerasTransferError:
    """Return the one error that people hear of those of several workers.

    failures: by the number of the worker, the chief's 0. Where one is gone, the others only say that it is; where the
    chief ended them, it says why, and they repeat it.
    """
    said = [failures[rank] for rank in sorted(failures) if isinstance(failures[rank], KerasTransferError)]
    gone = [rank for rank in sorted(failures) if not isinstance(failures[rank], KerasTransferError)]
    why = [each for each in said if not isinstance(each, TrainingError)]
    if why or (said and not gone):
        return (why or said)[0]  # type: ignore[return-value]
    if not gone:
        return TrainingError(f"Ray Train gave up the training ({on_ray.said_of(error)}). {_KEPT}")
    names = ", ".join(f"worker {rank + 1} of {workers}" for rank in gone)
    return TrainingError(f"{names} ended ({on_ray.said_of(failures[gone[0]])}). {_KEPT}")


def _worker(given: Mapping[str, Work]) -> tuple[str, str]:
    """Train as one worker; the folder and the record of the run."""
    from ray import train as ray_train

    work = given["work"]
    rank = ray_train.get_context().get_world_rank()
    with journal.keeping(work.journals / f"{rank}.jsonl", silent) as kept:
        listener = on_ray.without_bars(kept) if rank else kept
        work.asker.taken_over()
        from keras_transfer.workflow.training import train

        run = train(work.plan, folder=work.folder, listener=listener, **work.options)
    return str(run.folder), run.record.model_dump_json()
