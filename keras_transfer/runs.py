"""Run folders: their names, their lock, and the record that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from keras_transfer import plan as plans
from keras_transfer.errors import RunError, UsageError
from keras_transfer.files import MOST_TEXT_BYTES, held, read_bytes, read_text, write_bytes
from keras_transfer.specs import Plan, Run, RunRecord

DEFAULT_FOLDER = Path("saved_models")
RECORD, PLAN, HISTORY = "run.json", "plan.toml", "history.csv"
ASKED = "asked.toml"
"""The plan as it was asked for, where the clock decided a part of `PLAN`: the same command finds the run by it."""
LONGEST = 255
"""Bytes that file systems take in a name."""


def open_run(folder: Path | str) -> Run:
    """Return the run of `folder`; RunError where it is none, or was written by another version."""
    folder = Path(folder)
    try:
        return Run(folder, RunRecord.model_validate_json(read_bytes(folder / RECORD, MOST_TEXT_BYTES)))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"There is no run in '{folder}'. Train one: keras-transfer train SOURCE") from None
    except OSError as error:
        raise RunError(f"'{folder / RECORD}' is not a run record that can be read: {error.strerror}.") from None
    except ValidationError as error:
        raise RunError(f"'{folder / RECORD}' is not a run record of this version: {error.errors()[0]['msg']}") from None


def every(folder: Path = DEFAULT_FOLDER) -> tuple[Run, ...]:
    """Return all runs in `folder` whose record can be read, finished or not, the newest first.

    >>> [run.folder.name for run in every(Path("saved_models"))]  # doctest: +SKIP
    ['pets-EfficientNetLite0', 'fashion-EfficientNetLite0']
    """
    records = sorted(folder.glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return tuple(run for record in records if (run := _readable(record.parent)))


def latest(folder: Path = DEFAULT_FOLDER) -> Run:
    """Return the run that was finished last in `folder`; a record that cannot be read is no reason to find none."""
    for run in every(folder):
        if run.record.finished:
            return run
    raise RunError(f"There is no finished run in '{folder}'. Train one: keras-transfer train SOURCE")


def name_for(plan: Plan) -> str:
    """Return the name of a run of `plan`: what its pictures are called, and its backbone.

    >>> name_for(Plan(data="tfds:cifar10:3.0.2", backbone="MobileNetV2"))
    'cifar10-MobileNetV2'
    """
    kind, colon, rest = plan.data.partition(":")
    named = bool(colon) and kind.isalnum()  # a source of its own, such as tfds:NAME:VERSION, and no path
    source = Path(rest).name.partition(":")[0] if named else Path(plan.data).name
    return f"{source or 'run'}-{plan.backbone}"


def place_for(
    plan: Plan, folder: Path = DEFAULT_FOLDER, name: str | None = None, *, data_digest: str | None = None
) -> Path:
    """Return the folder for a run of `plan`: that of the same plan, finished or not, else a new one.

    A name that was given is taken as it is; RunError where another plan's run is there already. data_digest: of the
    pictures; a finished run of the same plan is another's where it was trained on others. None: whatever they are.
    """
    if name is not None and (name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > LONGEST):
        raise UsageError(
            f"The name of a run is that of its folder, no path, of at most {LONGEST} bytes: --folder and --output say "
            f"where it lies. Received: '{name}'"
        )
    stem = name or name_for(plan)
    number = 1
    while True:
        place = folder / (stem if number == 1 else f"{stem}-{number}")
        if not (place / PLAN).exists():
            return place
        same = any(_plan_in(place / each) == plans.to_toml(plan) for each in (PLAN, ASKED))
        run = _readable(place)
        finished = run is not None and run.record.finished
        elsewhere = run is not None and finished and data_digest not in (None, run.record.data_digest)
        if same and not elsewhere:
            return place
        if name:
            state = "a finished run of other pictures" if same else "another plan"
            raise RunError(f"'{place}' already holds {state}. Choose another name with --run, or delete it.")
        number += 1


def _plan_in(path: Path) -> str | None:
    """The text of a plan; None where there is none, or none that was written here."""
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError):
        return None


def finished(place: Path) -> Run | None:
    """Return the run of `place` where it is finished; None where there is none, or it is under way."""
    run = _readable(place)
    return run if run and run.record.finished else None


def _readable(place: Path) -> Run | None:
    try:
        return open_run(place)
    except RunError:
        return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process; RunError where another process is writing it."""
    with held(
        folder,
        unmade=lambda error: (
            f"No run folder can be made at '{folder}' ({error.strerror}). Name another place with --folder."
        ),
        taken=lambda: f"'{folder}' is being written by another process. Wait for it, or name another run.",
    ):
        yield


def _named(row: Mapping[str, float], record: RunRecord) -> dict[str, float]:
    """A row of a history with its merit under the name of its own, as people read columns."""
    name = record.merit_name.replace(" ", "_").replace("-", "_")
    return {key.replace("merit", name): value for key, value in row.items()}


def write(run: Run) -> None:
    """Write the history and the record of `run`, each under a temporary name first; the record, which says that the run
    is finished, comes last: nobody writes what is missing beside it."""
    rows = [{"stage": stage.name, **_named(row, run.record)} for stage in run.record.stages for row in stage.history]
    if rows:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(run.folder / HISTORY, text.getvalue().encode())
    write_bytes(run.folder / RECORD, run.record.model_dump_json(indent=2).encode())
