"""A run that is opened once and passed down: its pictures, its model, and what the model says of them.

Answers are kept with the run: `RUN/answers/SPLIT.npz` (`SPLIT-x3.npz` where it takes pictures three times as large)
holds each output of the trained model by its name, float32 (n, …), and `key`: the SHA-256 of `model.keras`, the digest
of the pictures and those names. Where any has changed they are not looked at.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer import keras_files
from keras_transfer.data import pipeline, sources
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.clips import FRAMES, strip
from keras_transfer.errors import KerasTransferError, RunError
from keras_transfer.export import manifest
from keras_transfer.export.supersampling import supersampled
from keras_transfer.files import read_arrays, write_bytes
from keras_transfer.specs import (
    Answers,
    Contract,
    Event,
    Feed,
    Listener,
    Output,
    Run,
    RunRecord,
    Scored,
    Settled,
    Splits,
    Task,
    silent,
)
from keras_transfer.workflow.building import with_frames
from keras_transfer.workflow.tasks import batch_of, check_annotation, task_of

ANSWERS = "answers"
KEY = "key"
KEPT_BYTES = 2**28
"""Answers of one split that take more than this, maps of many large pictures, are made again when asked for."""


@dataclass(frozen=True)
class Opened:
    """A run and what belongs to it; each part is read when it is first asked for, once.

    given: parts that are at hand already, by name: `splits`, `feed`, `model`. supersampling: by how much larger a side
    the pictures are that its model takes and averages, see `export.supersampling`.
    """

    run: Run
    listener: Listener = silent
    given: Mapping[str, Any] = field(default_factory=dict)
    supersampling: int = 1
    _said: dict[str, Answers] = field(default_factory=dict)

    @property
    def record(self) -> RunRecord:
        """What `run.json` says, of the pictures that the model takes."""
        record = self.run.record
        if self.supersampling == 1:
            return record
        return record.model_copy(update={"image_size": self.supersampling * record.image_size})

    @cached_property
    def task(self) -> Task:
        """The row of the run's task."""
        return task_of(self.record.plan.task)

    @cached_property
    def splits(self) -> Splits:
        """The pictures that the run was trained on; a warning where they have changed since."""
        if "splits" in self.given:
            return self.given["splits"]
        source = sources.of_run(self.run)
        seed, annotation = self.record.plan.seed, self.task.annotation
        splits = sources.load(source, annotation=annotation, seed=seed, listener=self.listener)
        check_annotation(self.task, splits)
        splits = with_frames(splits, self.record.plan.frames)
        if splits.digest != self.record.data_digest:
            told = f"the pictures in '{source}' are no longer those the run was trained on"
            self.listener(Event("warning", told))
        return splits

    @cached_property
    def feed(self) -> Feed:
        """Batches of those pictures."""
        plan = self.record.plan
        return self.given.get("feed") or feed_of(self.splits, plan.aspect, seed=plan.seed, listener=self.listener)

    @cached_property
    def network(self) -> keras.Model:
        """What was trained: nothing that was settled is in it."""
        return self.given.get("model") or keras_files.load(self.run.model_path)

    @cached_property
    def model(self) -> keras.Model:
        """The network as it is asked: about pictures as large as they are taken."""
        return supersampled(self.network, self.supersampling)

    @cached_property
    def model_sha256(self) -> str:
        """Of the file `model.keras`."""
        return manifest.digest(self.run.model_path)[1]

    @cached_property
    def plain(self) -> Contract:
        """What files of this run promise where nothing is settled."""
        record = self.record
        outputs = self.task.outputs(*self._sizes, **self._head)
        frames = (record.plan.frames or FRAMES) if ANNOTATIONS[self.task.annotation].clips else 0
        return Contract(
            # Files that say nothing of classes do not carry whom their model was trained on.
            class_names=record.class_names if any(each.labels != "none" for each in outputs) else (),
            image_size=record.image_size,
            aspect=record.plan.aspect,
            frames=frames,
            spacing=record.clip_seconds / frames if frames else 0.0,
            task=record.plan.task,
            outputs=outputs,
            backbone=record.plan.backbone,
            license=record.weights_license,
            run_digest=record.digest,
        )

    @cached_property
    def trained(self) -> tuple[Output, ...]:
        """What the model as it was trained gives; files give the outputs of the contract."""
        return (self.task.trained or self.task.outputs)(*self._sizes, **self._head)

    @property
    def _sizes(self) -> tuple[int, int]:
        return len(self.record.class_names), self.record.image_size

    @property
    def _head(self) -> dict[str, str]:
        return {"head": self.record.plan.head} if self.record.plan.head else {}

    @cached_property
    def fitted(self) -> Settled | None:
        """What validation pictures settle, fitted now; None where the task settles nothing."""
        if not self.task.settle:
            return None
        found = self.task.settle(self.answers("validation"), self.labels("validation"))
        self.listener(Event("note", found.sentence))
        return found

    @cached_property
    def contract(self) -> Contract:
        """What the run and its files answer by, settled when training ended.

        Of a run from before that was so it is settled now, by its validation pictures; where these are gone, the run
        answers as it was trained.
        """
        settled: Mapping[str, Any] | None = self.record.settled
        if settled is None:
            try:
                settled = self.fitted.contract if self.fitted else {}
            except KerasTransferError as error:
                told = f"'{self.run.folder}' answers as it was trained, for its settings cannot be fitted: {error}"
                self.listener(Event("warning", told))
                return self.plain
        return Contract.model_validate({**self.plain.model_dump(), **(settled or {})})

    def answers(self, split: str, contract: Contract | None = None) -> Answers:
        """Return what the model says of a split, in its order: as trained, or by the settings of a contract.

        Predicted once; what was kept with the run is read instead where it is of this model and these pictures.
        """
        if split not in self._said:
            self._said[split] = self._kept(split) or self._predicted(split)
        said = self._said[split]
        return self.task.apply(said, contract) if contract and self.task.apply else said

    def scored(self, split: str, contract: Contract) -> Scored:
        """Return what the model is worth on a split by the settings of a contract."""
        answers, labels, groups = self.answers(split, contract), self.labels(split), self.splits[split].groups
        scored = self.task.score(answers, labels, contract)
        told = self.task.by_group
        return told(scored, answers, labels, groups) if told and groups is not None else scored

    def labels(self, split: str) -> Any:
        """Return what answers to a split are judged by."""
        return seen(self.splits, self.splits[split].labels, self.plain)

    def pictures(self, split: str, rows: Sequence[int]) -> dict[int, np.ndarray]:
        """Return the pictures at some positions of a split by position, uint8 (size, size, 3); no others are read.

        Of a clip, its frames side by side: (size, frames * size, 3).
        """
        found = pictures_at(self.splits, split, rows, self.plain)
        return {row: strip(each) if each.ndim == 4 else each for row, each in found.items()}

    def _key(self) -> str:
        return " ".join([self.model_sha256, self.splits.digest, *(output.name for output in self.trained)])

    def _place(self, split: str) -> Path:
        name = split if self.supersampling == 1 else f"{split}-x{self.supersampling}"
        return self.run.folder / ANSWERS / f"{name}.npz"

    def _kept(self, split: str) -> Answers | None:
        try:
            found = read_arrays(self._place(split))
            if str(found.pop(KEY)) != self._key():
                return None
        except (OSError, ValueError, KeyError):
            return None
        whole = found and all(len(each) == len(self.splits[split]) for each in found.values())
        return found if whole else None

    def _predicted(self, split: str) -> Answers:
        outputs, total = self.trained, len(self.splits[split])
        said = predicted(self.model.predict_on_batch, outputs, self.feed, split, self.plain, total, self.listener)
        if sum(each.nbytes for each in said.values()) <= KEPT_BYTES:
            content = io.BytesIO()
            named_arrays: dict[str, Any] = {KEY: np.array(self._key()), **said}
            np.savez(content, **named_arrays)
            write_bytes(self._place(split), content.getvalue())
        return said


def feed_of(splits: Splits, aspect: str, *, seed: int = 0, listener: Listener = silent) -> Feed:
    """Return the feed of splits that are gone through once, so that nothing decoded is kept."""
    return pipeline.make_feed(splits, aspect=aspect, seed=seed, cache_bytes=0, listener=listener)


def predicted(
    predict: Callable[[np.ndarray], Any],
    outputs: Sequence[Output],
    feed: Feed,
    split: str,
    contract: Contract,
    total: int,
    listener: Listener,
) -> Answers:
    """Return the answers to all `total` pictures of a split, in its order, by name, or what the task keeps of them.

    predict: takes uint8 (n, size, size, 3), gives a mapping of the outputs, or a tensor for each.
    """
    parts: list[Mapping[str, np.ndarray]] = []
    done = 0
    keep = task_of(contract.task).keep
    for images, *_ in feed(split, image_size=contract.image_size, batch_size=batch_of(contract)):
        said = named(predict(np.asarray(images)), outputs)
        parts.append(keep(said) if keep else said)
        done += len(images)
        listener(Event("progress", f"{split} split", done=done, total=total))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def seen(splits: Splits, labels: np.ndarray, contract: Contract) -> Any:
    """Return labels of these splits as the squares that a contract names show them."""
    return ANNOTATIONS[splits.annotation].seen(labels, contract.image_size, contract.aspect)


def named(given: Any, outputs: Sequence[Output]) -> dict[str, np.ndarray]:
    """Return what a model gave by the names of its outputs: a mapping has them, tensors come in their order."""
    if isinstance(given, Mapping):
        return {output.name: np.asarray(given[output.name]) for output in outputs}
    tensors = given if isinstance(given, list | tuple) else [given]
    return {output.name: np.asarray(each) for output, each in zip(outputs, tensors, strict=True)}


def pictures_at(splits: Splits, split: str, rows: Sequence[int], contract: Contract) -> dict[int, np.ndarray]:
    """Return the pictures at some positions of a split, squared as a contract says, by position."""
    wanted = np.unique(np.asarray(rows, int))
    if not len(wanted):
        return {}
    few = splits[split].take(wanted)
    alone = replace(splits, train=few, validation=few, test=few)  # a feed looks at every split it is given
    feed = pipeline.make_feed(alone, aspect=contract.aspect, cache_bytes=0)
    batches = [
        np.asarray(images) for images, *_ in feed(split, image_size=contract.image_size, batch_size=batch_of(contract))
    ]
    return dict(zip(wanted.tolist(), np.concatenate(batches), strict=True))


def some_pictures(feed: Feed, split: str, size: int, count: int) -> np.ndarray:
    """Up to `count` pictures or clips of a split, chosen by the seed, uint8 (n, …, size, size, 3)."""
    batch = next(iter(feed(split, image_size=size, batch_size=count, shuffle=True)))
    return np.asarray(batch[0])


def finished(run: Run) -> Run:
    """Return the run; RunError where its training did not end."""
    if not run.record.finished:
        raise RunError(f"The run in '{run.folder}' is not finished. The command that began it goes on with it.")
    return run
