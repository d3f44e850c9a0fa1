"""Lists the runs of a folder, and the files that a run has exported, without loading anything."""

from __future__ import annotations

import shlex
from pathlib import Path

from keras_transfer import runs
from keras_transfer.errors import ArtifactError, KerasTransferError, RunError
from keras_transfer.evaluation.intervals import spread_of
from keras_transfer.export import manifest
from keras_transfer.specs import Run, Value


class Listed(Value):
    """One run folder, as a person chooses among them."""

    folder: Path
    state: str
    """`finished`, the command that goes on with it, or what is wrong with it."""
    task: str = ""
    backbone: str = ""
    image_size: int | None = None
    merit_name: str = ""
    merit: float | None = None
    """On the test pictures, 0-1."""
    spread: float | None = None
    """Half the width of its 95 % interval."""
    seconds: float | None = None
    """Of training, on the machine that trained it."""
    instructions: str = ""
    """The widest instruction set of that machine; empty of runs from before that was kept."""
    exports: tuple[str, ...] = ()


def listed(folder: Path | str = runs.DEFAULT_FOLDER) -> tuple[Listed, ...]:
    """Return the runs of `folder`, the newest first, unfinished and unreadable ones included.

    >>> [each.folder.name for each in listed("saved_models")]  # doctest: +SKIP
    ['fashion-EfficientNetLite0']
    """
    places = {path.parent for name in (runs.RECORD, runs.PLAN) for path in Path(folder).glob(f"*/{name}")}
    return tuple(map(_listed, sorted(places, key=_written, reverse=True)))


def exported_files(run: Run) -> tuple[Path, ...]:
    """Return the files that `run` has exported, in the order of their manifest; RunError where there are none."""
    found = tuple(run.exports / artifact.path for artifact in manifest.read(run.exports).artifacts)
    if not found:
        raise RunError(f"'{run.folder}' has no exported files. Make them: keras-transfer export {run.folder}")
    return found


def _written(place: Path) -> float:
    return max((place / name).stat().st_mtime for name in (runs.RECORD, runs.PLAN) if (place / name).exists())


def _listed(place: Path) -> Listed:
    if not (place / runs.RECORD).exists():
        return Listed(folder=place, state=_resumed_by(place))
    try:
        run = runs.open_run(place)
    except KerasTransferError as error:
        return Listed(folder=place, state=str(error))
    record = run.record
    test = next(iter(record.test.values()), None)
    return Listed(
        folder=place,
        state="finished" if record.finished else _resumed_by(place),
        task=record.plan.task,
        backbone=record.plan.backbone,
        image_size=record.image_size,
        merit_name=record.merit_name,
        merit=test,
        spread=spread_of(record.test, record.counts.get("test", 0)) if record.test else None,
        seconds=record.seconds,
        instructions=record.environment.get("instructions", ""),
        exports=_names(run),
    )


def _names(run: Run) -> tuple[str, ...]:
    try:
        return tuple(artifact.path.name for artifact in manifest.read(run.exports).artifacts)
    except ArtifactError:
        return ()


def _resumed_by(place: Path) -> str:
    plan, folder = shlex.quote(str(place / runs.PLAN)), shlex.quote(str(place.parent))
    return f"keras-transfer train --plan {plan} --run {shlex.quote(place.name)} --folder {folder}"
