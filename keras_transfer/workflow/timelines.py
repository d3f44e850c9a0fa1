"""Says what happens when in videos: a window slides over each, and every frame goes through the backbone once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data import clips
from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError, UsageError
from keras_transfer.evaluation import timelines
from keras_transfer.files import write_bytes
from keras_transfer.specs import PROBABILITIES_OUTPUT, Answers, Contract, Event, Listener
from keras_transfer.workflow.streaming import answers_of
from keras_transfer.workflow.tasks import batch_of, task_of
from keras_transfer.workflow.using import Asked

ALONE = 2
"""A video shorter than so many windows is one clip, whose frames are as far apart as it wants: two actions that each
last as long as a training clip do not fit into it."""

BATCH = 32
"""Frames that are in memory at a time."""


def of_videos(
    ask: Asked, videos: Sequence[Path | str], window: float | None, listener: Listener
) -> list[dict[str, Any]]:
    """Return what a model says of each video, in plain values: of all of it as of one clip, and of its `segments`.

    window: seconds that one answer is of, those of a training clip where it is left out. `windows` are the answers one
    by one; what is said of all of a video is their mean. Raises UsageError for a window that is none, DataError for a
    video that cannot be read, or is longer than a clip where nobody knows how long a window is.
    """
    check_window(window)
    contract, facts = ask.contract, [_facts(video) for video in videos]
    lasts = contract.frames * contract.spacing if window is None else window
    fewest = ALONE if window is None else 1
    alone = [row for row, each in enumerate(facts) if not lasts or each.seconds < fewest * lasts]
    for row in alone:
        _check_short(videos[row], facts[row], window)
    said = dict(zip(alone, _of_clips(ask, [(videos[row], facts[row]) for row in alone]), strict=True))
    return [
        said[row] if row in said else _slid_over(ask, video, facts[row], lasts, listener)
        for row, video in enumerate(videos)
    ]


def draw(path: Path | str, said: Mapping[str, Any], contract: Contract, file: Path) -> str:
    """Write a PNG of a video and its segments to `file`, over what is there; return its path."""
    from keras_transfer.evaluation import timeline_drawing

    segments = [timelines.Span(**each) for each in said["segments"]]
    size = {"width": timeline_drawing.WIDTH, "height": timeline_drawing.HEIGHT}
    seen = clips.thumbnails(path, said["seconds"], **size)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, timeline_drawing.draw(segments, contract.class_names, seen))
    return str(file)


def check_window(window: float | None) -> None:
    """Raise UsageError for a window of no time, or of more than one action."""
    if window is not None and not 0 < window <= clips.MOST_SECONDS:
        raise UsageError(f"A window lasts more than 0 and at most {clips.MOST_SECONDS} seconds. Received: {window:g}")


def _facts(path: Path | str) -> clips.Facts:
    try:
        return clips.facts_of(path)
    except DataError as error:
        raise DataError(f"'{path}' {error}.") from None


def _check_short(path: Path | str, facts: clips.Facts, window: float | None) -> None:
    if window is None and facts.seconds > clips.MOST_SECONDS:
        raise DataError(
            f"'{path}' lasts {clips.lasting(facts.seconds)}, and the model does not say how long its training clips "
            "were. Say how many seconds one answer is to be of: --window SECONDS"
        )


def _of_clips(ask: Asked, videos: Sequence[tuple[Path | str, clips.Facts]]) -> Iterator[dict[str, Any]]:
    """Yield what is said of videos that are one clip each; many of them are read at a time, by all cores."""
    contract, step = ask.contract, batch_of(ask.contract)
    square_of: dict[str, Any] = {"image_size": contract.image_size, "aspect": contract.aspect}
    for start in range(0, len(videos), step):
        some = videos[start : start + step]
        answers = ask.answers(clips.read_clips([video for video, _ in some], frames=contract.frames, **square_of))
        for row, (_, facts) in enumerate(some):
            one = {name: each[row : row + 1] for name, each in answers.items()}
            yield _said(one, contract, spacing=0.0, lasts=facts.seconds, seconds=facts.seconds)


def _slid_over(ask: Asked, path: Path | str, facts: clips.Facts, lasts: float, listener: Listener) -> dict[str, Any]:
    """What is said of a video of several windows, each `lasts` seconds long; a warning where it breaks off."""
    contract, spacing = ask.contract, lasts / ask.contract.frames
    answers = _of_windows(ask, path, facts, spacing, listener)
    shown = (len(answers[PROBABILITIES_OUTPUT]) + contract.frames - 1) * spacing
    seconds = facts.seconds if facts.seconds - shown < lasts else shown
    if seconds < facts.seconds:
        told = f"'{path}' breaks off after {clips.lasting(seconds)} of {clips.lasting(facts.seconds)}"
        listener(Event("warning", told))
    return _said(answers, contract, spacing=spacing, lasts=lasts, seconds=seconds)


def _of_windows(ask: Asked, path: Path | str, facts: clips.Facts, spacing: float, listener: Listener) -> Answers:
    """What is said of each window that slides over a video, frame by frame."""
    contract, total = ask.contract, clips.parts_of(facts, spacing)
    if ask.opened_halves is None:
        told = f"this file looks at each frame {contract.frames} times, the pair of an export to tflite-stream once"
        listener(Event("note", told))

    def squares() -> Iterator[np.ndarray]:
        frames = (square(each, contract.image_size, contract.aspect) for each in clips.stepped(path, spacing))
        for done, batch in _batches(frames):
            yield batch
            listener(Event("progress", str(path), done=done, total=total))

    parts = list(answers_of(ask.halves(), squares(), contract.frames))
    if not parts:
        raise DataError(f"'{path}' breaks off before its first {contract.frames * spacing:g} seconds are over.")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _batches(frames: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield some frames at a time, and how many there were so far."""
    source, done = iter(frames), 0
    while batch := list(itertools.islice(source, BATCH)):
        done += len(batch)
        yield done, np.stack(batch)


def _said(answers: Answers, contract: Contract, *, spacing: float, lasts: float, seconds: float) -> dict[str, Any]:
    windows = timelines.spans(answers[PROBABILITIES_OUTPUT], contract.class_names, spacing=spacing, seconds=lasts)
    joined: Sequence[timelines.Span] = timelines.segments(windows, seconds)
    mean = {name: each.mean(axis=0, keepdims=True) for name, each in answers.items()}
    return {
        **task_of(contract.task).read(mean, contract),
        "seconds": round(seconds, 3),
        "segments": [each.model_dump() for each in joined],
        "windows": [each.model_dump() for each in windows],
    }
