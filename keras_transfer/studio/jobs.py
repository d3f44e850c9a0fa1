"""Runs verbs as processes of their own, which go on where the studio is killed, and tells what became of each."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import ValidationError

from keras_transfer.errors import UsageError
from keras_transfer.files import MOST_TEXT_BYTES, read_bytes, write_bytes
from keras_transfer.journal import VARIABLE
from keras_transfer.specs import Value

RECORD, SAID, LOG, EVENTS = "job.json", "said.json", "log.txt", "events.jsonl"
MOST_RUNNING = 3
"""Verbs at a time: each of them takes a few hundred megabytes, and all share the processor."""
LOG_BYTES = 2**16
"""Of the end of a log, what is read for the page."""
SAME_SECONDS = 2.0
"""By which a process may seem to have begun earlier or later than it was noted, and still be the same."""
ALONE = ("train",)
"""Verbs of which one runs at a time."""

State = Literal["running", "finished", "failed", "stopped", "interrupted"]


class Record(Value):
    """What is kept of a job: enough to know it after the studio was killed."""

    id: str
    verb: str
    words: tuple[str, ...]
    """After `keras-transfer`: what a person could have typed."""
    about: dict[str, Any] = {}
    """What the page needs to place what it says: the run, the pictures."""
    began: float
    pid: int
    born: float
    """When the process began by the system's word: a number of a process is given again, the two together are not."""


@dataclass(frozen=True)
class Job:
    """A verb that was started, and what is known of it."""

    record: Record
    folder: Path
    state: State
    sentence: str = ""
    """Why it failed, in the verb's own words."""

    @property
    def command(self) -> str:
        """What does the same in a terminal."""
        return shlex.join(["keras-transfer", *(word for word in self.record.words if word != "--json")])

    @property
    def events(self) -> Path:
        """The journal of its process."""
        return self.folder / EVENTS

    def said(self) -> Any:
        """Return the document that the verb printed; None while there is none."""
        try:
            return json.loads(read_bytes(self.folder / SAID, MOST_TEXT_BYTES), parse_constant=lambda name: None)
        except (OSError, ValueError):
            return None

    def log(self) -> list[str]:
        """Return the last lines that the verb told people."""
        try:
            with open(self.folder / LOG, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
                return file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []


class Jobs:
    """The verbs that were started from one studio, or from the one before it in the same place."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.folder, self.command = folder, tuple(command)
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[str, Job] = {}
        for path in sorted(folder.glob(f"*/{RECORD}")):
            with suppress(OSError, ValidationError):
                record = Record.model_validate_json(read_bytes(path, MOST_TEXT_BYTES))
                if record.id == path.parent.name:
                    self._records[record.id] = record

    def start(self, verb: str, words: Sequence[str], about: dict[str, Any] | None = None) -> Job:
        """Start a verb; UsageError where too much is under way already."""
        with self._lock:
            self._check_room(verb)
            id = secrets.token_hex(8)
            place = self.folder / id
            place.mkdir(parents=True)
            with open(place / SAID, "wb") as said, open(place / LOG, "wb") as log:
                process = subprocess.Popen(  # no shell: the words are given as they are
                    [*self.command, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=log,
                    env={**os.environ, VARIABLE: str(place / EVENTS)},
                    start_new_session=True,
                )
            record = Record(
                id=id,
                verb=verb,
                words=tuple(words),
                about=about or {},
                began=time.time(),
                pid=process.pid,
                born=_born(process.pid) or time.time(),
            )
            try:
                write_bytes(place / RECORD, record.model_dump_json(indent=1).encode())
            except OSError:  # a full disk: nobody would know of the process any more
                process.kill()
                process.wait()
                raise
            self._records[id], self._started[id] = record, process
            return self._job(record)

    def again(self, id: str) -> Job:
        """Give the same command once more: a training goes on where it was."""
        before = self.get(id)
        if before.state == "running":
            raise UsageError("This is still running.")
        return self.start(before.record.verb, before.record.words, before.record.about)

    def stop(self, id: str) -> Job:
        """Ask a verb to end at its next event, as Ctrl-C does; what it finished is saved."""
        job = self.get(id)
        if job.state == "running":
            with suppress(psutil.NoSuchProcess):
                psutil.Process(job.record.pid).terminate()
        return job

    def get(self, id: str) -> Job:
        """Return a job by its id; UsageError where there is none."""
        with self._lock:
            if id not in self._records:
                raise UsageError("That is no longer known here. Reload the page.")
            return self._job(self._records[id])

    def all(self) -> list[Job]:
        """Return all jobs, the newest first."""
        with self._lock:
            return sorted(map(self._job, self._records.values()), key=lambda job: -job.record.began)

    def latest(self, verb: str, **about: Any) -> Job | None:
        """Return the newest job of a verb, about these things, that has said something."""
        for job in self.all():
            same = all(job.record.about.get(name) == value for name, value in about.items())
            if job.record.verb == verb and same and job.state == "finished":
                return job
        return None

    def _check_room(self, verb: str) -> None:
        running = [each for each in map(self._job, self._records.values()) if each.state == "running"]
        if verb in ALONE and any(each.record.verb == verb for each in running):
            raise UsageError("A training is under way. Stop it, or wait for its end.")
        if len(running) >= MOST_RUNNING:
            raise UsageError(f"{len(running)} commands are running. Wait for one of them to end.")

    def _job(self, record: Record) -> Job:
        if record.id in self._ended:
            return self._ended[record.id]
        process, place = self._started.get(record.id), self.folder / record.id
        code = process.poll() if process else None
        if code is None and (process or _lives(record)):
            return Job(record, place, "running")
        job = _outcome(record, place, code)
        self._ended[record.id] = job
        return job


def _outcome(record: Record, place: Path, code: int | None) -> Job:
    """What became of a verb that is no longer there; code: None where another studio started it."""
    job = Job(record, place, "finished")
    if job.said() is not None:
        return job
    sentence = next((line for line in reversed(job.log()) if line.startswith("Error: ")), "").removeprefix("Error: ")
    if code == 130 or sentence.startswith("Stopped."):
        return Job(record, place, "stopped", sentence)
    if sentence:
        return Job(record, place, "failed", sentence)
    ended = "It was ended from outside." if code is None or code < 0 else "It ended without a word."
    return Job(record, place, "interrupted", f"{ended} The same command goes on from what was saved.")


def _born(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _lives(record: Record) -> bool:
    born = _born(record.pid)
    if born is None or abs(born - record.born) > SAME_SECONDS:
        return False
    with suppress(psutil.Error):
        return bool(psutil.Process(record.pid).status() != psutil.STATUS_ZOMBIE)
    return False
