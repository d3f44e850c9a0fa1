"""Programs that show how training goes, by name: each is told every epoch and is never allowed to stop it."""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_transfer.errors import UsageError, first_line, unknown
from keras_transfer.files import write_bytes
from keras_transfer.specs import Event, Listener

Record = Callable[[str, int, Mapping[str, float]], None]
"""(stage, epoch from 1, values of that epoch by the names of `StageResult.history`)."""


@dataclass(frozen=True)
class Watcher:
    """One row of the table: what it needs and how it is started."""

    module: str
    """What must be importable; the extra named like the row brings it."""
    start: Callable[[Path, Mapping[str, Any]], AbstractContextManager[Record]]
    """(run folder, what the run is made from) to something that records until it is closed."""


def check(names: Sequence[str]) -> None:
    """Raise UsageError for a watcher that nobody knows or whose package is not installed."""
    for name in names:
        if name not in WATCHERS:
            raise UsageError(unknown("watcher", name, WATCHERS))
        if importlib.util.find_spec(WATCHERS[name].module) is None:
            raise UsageError(f"--watch {name} needs a package: pip install 'keras-transfer[{name}]'")


@contextmanager
def watching(names: Sequence[str], folder: Path, facts: Mapping[str, Any], listener: Listener) -> Iterator[Listener]:
    """Give a listener that passes everything on to `listener` and each epoch to the watchers of those names.

    >>> with watching(["tensorboard"], Path("saved_models/pets"), {}, print) as listener:  # doctest: +SKIP
    ...     trainer.train(network, stages, feed, settings, folder=folder, listener=listener)

    folder: of the run; what watchers keep on disk goes there. facts: what the run is made from, plain values by name.
    Raises UsageError where a watcher cannot start. One that fails later is left behind with a warning, because an
    unreachable server is no reason to lose an hour of training.
    """
    check(names)
    with ExitStack() as stack:
        records = {name: _started(name, folder, facts, stack) for name in names}

        def hear(event: Event) -> None:
            listener(event)
            if event.kind != "epoch":
                return
            values = {name: value for name, value in event.values.items() if name != "epoch"}
            for name, record in list(records.items()):
                try:
                    record(event.message, int(event.done or 0), values)
                except Exception as error:  # of whatever kind the package has
                    del records[name]
                    listener(Event("warning", f"{name} no longer watches ({first_line(error)}); training goes on"))

        yield hear


def _started(name: str, folder: Path, facts: Mapping[str, Any], stack: ExitStack) -> Record:
    try:
        return stack.enter_context(WATCHERS[name].start(folder, facts))
    except Exception as error:  # of whatever kind the package has
        raise UsageError(f"--watch {name} could not start: {first_line(error)}") from error


@contextmanager
def _tensorboard(folder: Path, facts: Mapping[str, Any]) -> Iterator[Record]:
    """Event files in RUN/tensorboard, a sub-folder per stage: `tensorboard --logdir saved_models` shows all runs."""
    import tensorflow as tf

    with ExitStack() as stack:
        writers: dict[str, Any] = {}

        def record(stage: str, epoch: int, values: Mapping[str, float]) -> None:
            if stage not in writers:
                writers[stage] = tf.summary.create_file_writer(str(folder / "tensorboard" / stage))
                stack.callback(writers[stage].close)
            with writers[stage].as_default():
                for name, value in values.items():
                    tf.summary.scalar(name, value, step=epoch)
            writers[stage].flush()

        yield record


@contextmanager
def _mlflow(folder: Path, facts: Mapping[str, Any]) -> Iterator[Record]:
    """A run at $MLFLOW_TRACKING_URI, else in `mlruns` beside the run folders: metrics `STAGE/NAME` by epoch."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder.absolute().parent / "mlruns").as_uri())
    found = client.get_experiment_by_name("keras-transfer")
    experiment = found.experiment_id if found else client.create_experiment("keras-transfer")

    def create() -> str:
        made = client.create_run(experiment, run_name=folder.name)
        for name, value in facts.items():
            client.log_param(made.info.run_id, name, value)
        return made.info.run_id

    run = _remembered(folder / "mlflow-run", create)
    client.update_run(run, status="RUNNING")

    def record(stage: str, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            client.log_metric(run, f"{stage}/{name}", value, step=epoch)

    try:
        yield record
    except BaseException:
        client.set_terminated(run, status="FAILED")
        raise
    client.set_terminated(run)


@contextmanager
def _wandb(folder: Path, facts: Mapping[str, Any]) -> Iterator[Record]:
    """A run of the project `keras-transfer`; $WANDB_MODE=offline keeps it in RUN/wandb for `wandb sync`."""
    import wandb

    run = wandb.init(
        project="keras-transfer",
        name=folder.name,
        id=_remembered(folder / "wandb-run", lambda: uuid.uuid4().hex),
        resume="allow",
        dir=str(folder),
        config=dict(facts),
        settings=wandb.Settings(console="off", silent=True),
    )

    def record(stage: str, epoch: int, values: Mapping[str, float]) -> None:
        if epoch == 1:
            run.define_metric(f"{stage}/*", step_metric=f"{stage}/epoch")
        run.log({f"{stage}/epoch": epoch, **{f"{stage}/{name}": value for name, value in values.items()}})

    try:
        yield record
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def _remembered(file: Path, make: Callable[[], str]) -> str:
    """Return the name that an earlier process of the run left in `file`, else make one and leave it there."""
    if not file.exists():
        write_bytes(file, make().encode())
    return file.read_text(encoding="utf-8")


WATCHERS: dict[str, Watcher] = {
    "tensorboard": Watcher("tensorboard", _tensorboard),
    "mlflow": Watcher("mlflow", _mlflow),
    "wandb": Watcher("wandb", _wandb),
}
