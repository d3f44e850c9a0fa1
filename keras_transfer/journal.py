"""Keeps the events of a verb in a file, a line of JSON each, so that another program can follow it while it runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from keras_transfer.files import MOST_TEXT_BYTES, regular
from keras_transfer.specs import Event, Listener

JOURNAL = "events.jsonl"
"""The file of a run folder: each line holds `at` (seconds since 1970) and the fields of an `Event`."""

VARIABLE = "KERAS_TRANSFER_EVENTS"
"""Environment variable that names a file: every verb of the command line keeps its events there, too."""

APART = 0.5
"""Seconds between two lines of progress: steps of training come by the hundred."""


class Told(NamedTuple):
    """An event and when it was told."""

    at: float
    """Seconds since 1970."""
    event: Event


@contextmanager
def keeping(path: Path, listener: Listener) -> Iterator[Listener]:
    """Give a listener that passes everything on to `listener` and appends it to the file.

    >>> with keeping(Path("saved_models/pets") / JOURNAL, print) as listener:  # doctest: +SKIP
    ...     trainer.train(job, stages)

    A file that cannot be written is left alone: who follows a training is no reason to end it.
    """
    try:
        file = open(path, "ab", buffering=0)  # noqa: SIM115  # closed below; nothing waits to be written by then
        if _is_cut(path):
            file.write(b"\n")
    except OSError:
        yield listener
        return
    told = 0.0

    def hear(event: Event) -> None:
        nonlocal told
        listener(event)
        now = time.time()
        if event.kind == "progress" and now - told < APART and event.done != event.total:
            return
        told = now
        try:
            file.write(json.dumps({"at": round(now, 3), **_plain(event)}).encode() + b"\n")
        except OSError:
            return

    with file:
        yield hear


def _is_cut(path: Path) -> bool:
    """Whether a killed process left half a line at the end."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        return file.read(1) not in (b"", b"\n")


@contextmanager
def asked_for(listener: Listener) -> Iterator[Listener]:
    """Give a listener that keeps events where the environment asks for it, else `listener` itself."""
    path = os.environ.get(VARIABLE)
    if not path:
        yield listener
        return
    with keeping(Path(path), listener) as kept:
        yield kept


class Reader:
    """Reads a journal as it grows: each call gives what was told since the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._rest = b""

    def new(self) -> list[Told]:
        """Return the events that were added; none where there is no file. A half-written line waits for its end."""
        try:
            with regular(self.path, MOST_TEXT_BYTES) as file:
                file.seek(self._read)
                content = file.read()
        except OSError:
            return []
        self._read += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [told for line in lines if (told := _told(line))]


def _plain(event: Event) -> dict[str, Any]:
    values = {name: value for name, value in vars(event).items() if value is not None}
    return {**values, "values": {name: float(value) for name, value in event.values.items()}}


def _told(line: bytes) -> Told | None:
    """An event of a line; None of one that a killed process left half."""
    try:
        read = json.loads(line)
        values = {str(name): float(value) for name, value in read["values"].items()}
        return Told(
            float(read["at"]),
            Event(read["kind"], str(read["message"]), _count(read.get("done")), _count(read.get("total")), values),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _count(value: Any) -> int | None:
    return None if value is None else int(value)
