"""Computes parts of stored views with Ray Data: each of its processes makes the frozen part ready once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_transfer import journal
from keras_transfer.errors import KerasTransferError, TrainingError
from keras_transfer.files import aside, cache_folder
from keras_transfer.specs import Event, Listener, silent
from keras_transfer.training.stage_data import Way
from keras_transfer.workflow import on_ray, storing
from keras_transfer.workflow.on_ray import Asker, Joined
from keras_transfer.workflow.storing import Asked, Piece


@dataclass(frozen=True)
class Work:
    """What every process is sent."""

    asked: Asked
    ways: Mapping[str, Way]
    """By stage, as they were decided where the command was given."""
    pieces: Sequence[Piece]
    journals: Path
    """Where each process keeps what it tells."""
    asker: Asker


def compute(
    asked: Asked,
    ways: Mapping[str, Way],
    pieces: Sequence[Piece],
    address: str,
    workers: int | None,
    listener: Listener,
) -> None:
    """Compute parts, one process for each core where `workers` is left out; they are in the cache folder then.

    Raises what the first process raised that could not go on; what the others stored stays.
    """
    folder = (asked.kept.get("cache_folder") or cache_folder()).absolute()
    with on_ray.joined(address, workers, a_core_each=True) as found, aside(folder) as place:
        work = Work(asked, ways, pieces, place, Asker(found.cores))
        said = on_ray.heard(lambda: _computed(work, found), found, place, listener)
    if said:
        raise TrainingError(said)


def _computed(work: Work, joined: Joined) -> str:
    """Return what a process ended with that could not compute its part; empty where all are there."""
    import ray.data
    from ray.exceptions import RayError

    ray.data.DataContext.get_current().enable_progress_bars = False
    count = len(work.pieces)
    numbers = ray.data.from_items([{"piece": number} for number in range(count)], override_num_blocks=count)
    parts = numbers.map(
        _Computer,
        fn_constructor_kwargs={"work": work},
        num_cpus=joined.cores,
        compute=ray.data.ActorPoolStrategy(size=min(joined.processes, count)),
    )
    try:
        for done, row in enumerate(parts.iter_rows(), start=1):
            if row["refused"]:
                return str(row["refused"])
            with journal.keeping(work.journals / "asker.jsonl", silent) as listener:  # once a process has begun
                listener(Event("progress", "parts of views", done=done, total=count))
    except RayError as error:
        return f"Ray gave up ({on_ray.said_of(error)}). What was computed is kept: give the same command again."
    return ""


class _Computer:
    """What Ray Data makes once in each of its processes, and calls for each part."""

    def __init__(self, work: Work) -> None:
        self.work, self.refused, self.open = work, "", ExitStack()  # until the process ends
        place = work.journals / f"{os.uname().nodename}-{os.getpid()}.jsonl"
        listener = on_ray.without_bars(self.open.enter_context(journal.keeping(place, silent)))
        try:
            work.asker.taken_over()
            self.job, stages = storing.made(work.asked, listener)
            self.begun = storing.begun_of(self.job, stages, work.ways)
        except KerasTransferError as error:
            self.refused = str(error)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        refused = self.refused
        try:
            if not refused:
                storing.compute(self.job, self.begun, self.work.pieces[row["piece"]])
        except KerasTransferError as error:
            refused = str(error)
        return {"piece": row["piece"], "refused": refused}
