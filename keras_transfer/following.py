"""What is known of a training from its events so far: what each stage reached, and how long it still takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keras_transfer.specs import Event


@dataclass(frozen=True)
class StageSeen:
    """What is known of one stage so far."""

    epochs: int
    """How many it was asked for; 0 where seconds decide."""
    state: str = "to come"
    began: float = 0.0
    budget_seconds: float | None = None
    rows: tuple[Mapping[str, float], ...] = ()
    """The epochs whose end is told, each once, in their order."""
    done: int = 0
    """Epochs behind it, those of earlier processes included."""
    part: float = 0.0
    """Of the epoch that runs."""
    result: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What is known of a training so far."""

    stages: Mapping[str, StageSeen] = field(default_factory=dict)
    doing: str = ""
    done: int = 0
    total: int | None = None


def after(seen: Seen, event: Event, now: float) -> Seen:
    """Return what is known after `event`; now: seconds by the clock that `seconds_left` is given.

    >>> after(Seen(), Event("stages", "head", total=1, values={"head": 20}), 0.0).stages["head"].epochs
    20
    """
    learn = LEARNT_FROM.get(event.kind)
    return learn(seen, event, now) if learn else seen


def _stages(seen: Seen, event: Event, now: float) -> Seen:
    """A process begins: what an earlier one told of the epochs of its stages stands."""
    told = {name: stage.rows for name, stage in seen.stages.items()}
    return Seen({name: StageSeen(int(epochs), rows=told.get(name, ())) for name, epochs in event.values.items()})


def _stage(seen: Seen, event: Event, now: float) -> Seen:
    name = next((name for name, stage in seen.stages.items() if stage.state == "to come"), None)
    if name is None:
        return seen
    return _with(seen, name, state="learns", began=now, budget_seconds=event.values.get("budget_seconds"))


def _progress(seen: Seen, event: Event, now: float) -> Seen:
    seen = replace(seen, doing=event.message, done=event.done or 0, total=event.total)
    name = running(seen)
    if name is None or "epoch" not in event.values:
        return seen
    return _with(seen, name, done=int(event.values["epoch"]) - 1, part=(event.done or 0) / (event.total or 1))


def _epoch(seen: Seen, event: Event, now: float) -> Seen:
    if event.message not in seen.stages:
        return seen
    earlier = (row for row in seen.stages[event.message].rows if row["epoch"] < event.values["epoch"])
    return _with(seen, event.message, rows=(*earlier, event.values), done=int(event.done or 0), part=0.0)


def _finished(seen: Seen, event: Event, now: float) -> Seen:
    if event.message not in seen.stages:
        return seen
    state = "kept" if event.values["kept"] else "rolled back"
    seen = replace(seen, doing="")
    return _with(seen, event.message, state=state, done=int(event.values["epochs"]), result=event.values)


LEARNT_FROM = {"stages": _stages, "stage": _stage, "progress": _progress, "epoch": _epoch, "finished": _finished}


def _with(seen: Seen, name: str, **changes: object) -> Seen:
    return replace(seen, stages={**seen.stages, name: replace(seen.stages[name], **changes)})  # type: ignore[arg-type]


def running(seen: Seen) -> str | None:
    """Return the name of the stage that learns; None between stages."""
    return next((name for name, stage in seen.stages.items() if stage.state == "learns"), None)


def seconds_left(stage: StageSeen, now: float) -> float | None:
    """Return how long the running stage takes at most, by its epochs so far; None where nothing is known yet."""
    if stage.budget_seconds is not None:
        return max(stage.began + stage.budget_seconds - now, 0.0)
    if not stage.rows:
        return None
    each = sum(row["seconds"] for row in stage.rows) / len(stage.rows)
    return max(stage.epochs - stage.done - stage.part, 0.0) * each
