"""Follows a training by the journals that it and its process keep, for as many pages as look."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from keras_transfer.following import Seen, StageSeen, after, seconds_left
from keras_transfer.journal import JOURNAL, Reader, Told
from keras_transfer.studio.results import plain

CURVES = ("epoch", "loss", "validation_loss", "validation_merit")
"""Of each epoch, what curves are drawn of."""
NOTES = 12
"""The last notes and warnings that are shown."""


class Following:
    """What is known of one run folder so far; asked again, it reads only what was added."""

    def __init__(self, place: Path) -> None:
        self._reader, self._lock = Reader(place / JOURNAL), threading.Lock()
        self._seen, self._notes = Seen(), list[Told]()

    def now(self) -> dict[str, Any]:
        """Return the stages and the last notes, as the page shows them."""
        with self._lock:
            for told in self._reader.new():
                self._seen = after(self._seen, told.event, told.at)
                if told.event.kind in ("note", "warning"):
                    self._notes = [*self._notes, told][-NOTES:]
            stages = [self._stage(name, stage) for name, stage in self._seen.stages.items()]
            notes = [{"kind": each.event.kind, "text": each.event.message} for each in self._notes]
            return {"stages": stages, "notes": notes}

    def _stage(self, name: str, stage: StageSeen) -> dict[str, Any]:
        left = seconds_left(stage, time.time()) if stage.state == "learns" else None
        return {
            "name": name,
            "state": stage.state,
            "epochs": stage.epochs,
            "done": stage.done,
            "part": round(stage.part, 3),
            "left": None if left is None else round(left),
            "merit": plain(stage.result.get("validation_merit")),
            "seconds": plain(stage.result.get("seconds")),
            "reason": self._reason(name),
            "rows": [[plain(row.get(column)) for column in CURVES] for row in stage.rows],
        }

    def _reason(self, name: str) -> str:
        """The gate's own sentence: what validation said, and of what it was better or not."""
        start = f"{name}: "
        said = (each.event.message for each in reversed(self._notes) if each.event.message.startswith(start))
        return next(said, "").removeprefix(start)


class Doing:
    """What one process is busy with, by its own journal."""

    def __init__(self, path: Path) -> None:
        self._reader, self._lock = Reader(path), threading.Lock()
        self._told: dict[str, Any] = {}

    def now(self) -> dict[str, Any]:
        """Return the last thing it told: a sentence, and how far it is where that is known."""
        with self._lock:
            for told in self._reader.new():
                event = told.event
                if event.kind in ("progress", "note", "warning", "stage"):
                    self._told = {"text": event.message, "done": event.done, "total": event.total}
            return self._told
