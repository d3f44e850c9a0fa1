"""How a stage begins: what it leaves open is decided once and kept, so that a resumed process follows it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from keras_transfer.files import write_bytes
from keras_transfer.specs import Event, Stage, Value
from keras_transfer.training import rate_finder
from keras_transfer.training.freezing import Freeze
from keras_transfer.training.job import Job
from keras_transfer.training.stage_data import STREAMED, Prefixes, StageData, Way, decide, prefixes, prepare

FILE = "began.json"


class Beginning(Value):
    """`stages/N-NAME/began.json`: what was decided when a stage began."""

    asked: Stage
    """As the plan has it."""
    engine_asked: str
    stage: Stage
    """With its blocks and its rate decided; the rate is the last of the two."""
    way: Way


def kept(job: Job, asked: Stage, place: Path) -> Beginning | None:
    """Return what an earlier process decided for this very stage, in the folder `place`; None where none did.

    Once an epoch is in the checkpoint it holds whatever engine is asked for now, because the checkpoint fits nothing
    else; before that another engine begins the stage anew.
    """
    content = job.strategy.from_chief(lambda: _found(job, asked, place))
    return Beginning.model_validate_json(content) if content else None


def _found(job: Job, asked: Stage, place: Path) -> bytes:
    try:
        found = Beginning.model_validate_json((place / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return b""
    same_engine = found.engine_asked == job.settings.engine or job.checkpoint.exists()
    return found.model_dump_json().encode() if found.asked == asked and same_engine else b""


def begin(
    job: Job, asked: Stage, stage: Stage, freeze: Freeze, place: Path, before: Beginning | None
) -> tuple[Stage, StageData]:
    """Return the stage with everything decided, and its batches.

    asked: the stage of the plan; stage: with its blocks named; place: its folder; before: what `kept` returned.
    """
    ready = prefixes(job, freeze, before.way.engine if before else job.settings.engine)
    way = before.way if before else _decided(job, stage, freeze, ready)
    if not job.strategy.chief:  # whose engines may be others: all take the chief's, where they have it
        ready = prefixes(job, freeze, way.engine)
    engine = job.settings.engine
    # Before features fill the disk:
    _keep(job, place, Beginning(asked=asked, engine_asked=engine, stage=stage, way=way))
    data = prepare(job, stage, freeze, way, ready)
    if data.engine != STREAMED and data.views < way.views:
        way = way.model_copy(update={"views": data.views})
        _keep(job, place, Beginning(asked=asked, engine_asked=engine, stage=stage, way=way))
    if stage.learning_rate == "auto":
        found = rate_finder.search(job, stage, freeze, data).suggestion
        job.listener(Event("note", f"learning rate {found:.2g}: the loss falls fastest there"))
        stage = stage.model_copy(update={"learning_rate": found})
        _keep(job, place, Beginning(asked=asked, engine_asked=engine, stage=stage, way=way))
    return stage, data


def _decided(job: Job, stage: Stage, freeze: Freeze, ready: Prefixes) -> Way:
    """What the chief decides: its clock and the free space of its disk say something else than another's."""
    said = job.strategy.from_chief(lambda: decide(job, stage, freeze, ready).model_dump_json().encode())
    return Way.model_validate_json(said)


def _keep(job: Job, place: Path, beginning: Beginning) -> None:
    if not job.strategy.chief:
        return
    write_bytes(place / FILE, beginning.model_dump_json(indent=1).encode())
