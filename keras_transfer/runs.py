"""Run folders: their names, their lock, and the record that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from keras_transfer import plan as plans
from keras_transfer.errors import RunError
from keras_transfer.files import write_bytes
from keras_transfer.specs import Plan, Run, RunRecord

DEFAULT_FOLDER = Path("saved_models")
RECORD, PLAN, HISTORY = "run.json", "plan.toml", "history.csv"


def open_run(folder: Path | str) -> Run:
    """Return the run of `folder`; RunError where it is none, or was written by another version."""
    folder = Path(folder)
    try:
        return Run(folder, RunRecord.model_validate_json((folder / RECORD).read_bytes()))
    except OSError:
        raise RunError(f"There is no run in '{folder}'. Train one: keras-transfer train SOURCE") from None
    except ValidationError as error:
        raise RunError(f"'{folder / RECORD}' is not a run record of this version: {error.errors()[0]['msg']}") from None


def latest(folder: Path = DEFAULT_FOLDER) -> Run:
    """Return the run that was finished last in `folder`."""
    records = sorted(folder.glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for record in records:
        run = open_run(record.parent)
        if run.record.finished:
            return run
    raise RunError(f"There is no finished run in '{folder}'. Train one: keras-transfer train SOURCE")


def place_for(plan: Plan, folder: Path = DEFAULT_FOLDER, name: str | None = None) -> Path:
    """Return the folder for a run of `plan`: the unfinished one of the same plan, else a new one.

    A name that was given is taken as it is; RunError where another plan's run is there already.
    """
    stem = name or f"{Path(plan.data.replace(':', '/').rstrip('/')).name}-{plan.backbone}"
    number = 1
    while True:
        place = folder / (stem if number == 1 else f"{stem}-{number}")
        if not (place / PLAN).exists():
            return place
        unfinished = not (place / RECORD).exists() or not open_run(place).record.finished
        same = (place / PLAN).read_text(encoding="utf-8") == plans.to_toml(plan)
        if unfinished and same:
            return place
        if name:
            state = "another plan" if not same else "a finished run"
            raise RunError(f"'{place}' already holds {state}. Choose another name with --run, or delete it.")
        number += 1


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process; RunError where another process is writing it."""
    from filelock import FileLock, Timeout  # here, because it brings asyncio along and most verbs lock nothing

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"No run folder can be made at '{folder}' ({error.strerror}). Name another place with --folder."
        ) from None
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunError(f"'{folder}' is being written by another process. Wait for it, or name another run.") from None


def write(run: Run) -> None:
    """Write the record and the history of `run`, each under a temporary name first."""
    write_bytes(run.folder / RECORD, run.record.model_dump_json(indent=2).encode())
    rows = [{"stage": stage.name, **row} for stage in run.record.stages for row in stage.history]
    if rows:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(run.folder / HISTORY, text.getvalue().encode())
