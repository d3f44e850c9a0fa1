"""Lets a run learn from another: a feed whose targets carry what the teacher says of the very same views.

Views are stored with their targets, so a teacher is asked about each view once; where a stage is streamed, it is
asked about each picture as the epoch shows it. Source: Beyer et al., Knowledge distillation: A good teacher is patient
and consistent, CVPR 2022: teacher and student see the same crop, for many epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer import devices, keras_files, runs
from keras_transfer.errors import UsageError
from keras_transfer.export import manifest
from keras_transfer.specs import (
    PROBABILITIES_OUTPUT,
    Event,
    Feed,
    Listener,
    Plan,
    Run,
    RunRecord,
    Splits,
    StageResult,
)
from keras_transfer.training.job import Job
from keras_transfer.workflow.opened import feed_of, finished
from keras_transfer.workflow.tasks import BATCH, TASKS, task_of

SHARE, TEMPERATURE = 0.7, 2.0
"""Of a plan that leaves them out: most of the loss is the teacher's, and second-best classes show."""

Ask = Callable[[Any], Any]
"""`ask(images)`: what a teacher says of uint8 (batch, height, width, 3), float32 (batch, classes) in the order of the
student's classes, inside a graph."""


@dataclass(frozen=True)
class Teacher:
    """A finished run that another one learns from."""

    run: Run
    ask: Ask
    merit: float
    """On the validation pictures of the student."""

    @property
    def sha256(self) -> str:
        """Of its model: stored views that carry its answers are of it alone."""
        return manifest.digest(self.run.model_path)[1]


def teacher_of(plan: Plan, splits: Splits, folder: Path, listener: Listener) -> Teacher | None:
    """Return the teacher that a plan names, None where it names none.

    folder: of runs. Raises UsageError where it cannot teach this plan, or where its student is known to do better
    without it: by a finished run of the same plan without a teacher.
    """
    if plan.teacher is None:
        return None
    run, task = finished(runs.open_run(plan.teacher)), task_of(plan.task)
    _check(run, plan, splits)
    ask = asking(run, splits)
    known = run.record.data_digest == splits.digest
    merit = run.record.validation_merit if known else _merit(ask, run.record, plan, splits, listener)
    _check_better(run, merit, plan, splits, folder)
    listener(Event("note", f"taught by '{run.folder}', whose {task.merit_name} on validation is {merit:.1%}"))
    return Teacher(run, ask, merit)


def taught(job: Job, plan: Plan, splits: Splits, teacher: Teacher) -> Job:
    """Return the job with targets that the teacher's answers follow, a loss of both, and the merit of labels alone."""
    teach = task_of(plan.task).teach
    assert teach is not None  # `teacher_of` saw to it
    share = SHARE if plan.teacher_share is None else plan.teacher_share
    how: Mapping[str, Any] = {"share": share, "temperature": plan.teacher_temperature or TEMPERATURE}
    views_of = f"{job.settings.data_digest}, answers of {teacher.sha256}"
    return replace(
        job,
        network=teach(job.network, classes=len(splits.known_names), **how),
        feed=_answered(job.feed, teacher.ask),
        settings=replace(job.settings, data_digest=views_of),
    )


def tell_passed(teacher: Teacher, results: Sequence[StageResult], listener: Listener) -> None:
    """Say where the student has become better than its teacher, whose mistakes it then was taught as well."""
    reached = max(result.validation_merit for result in results if result.kept)
    if reached > teacher.merit:
        told = f"the student ({reached:.1%} on validation) has passed its teacher '{teacher.run.folder}'"
        listener(Event("warning", f"{told} ({teacher.merit:.1%}): try it without one, or with a better one"))


def _check(run: Run, plan: Plan, splits: Splits) -> None:
    """Raise UsageError where a run cannot teach a plan: another task or other classes."""
    record, task = run.record, task_of(plan.task)
    if task.teach is None:
        able = " and ".join(name for name, row in TASKS.items() if row.teach)
        raise UsageError(f"A teacher's answers can be learnt from in {able}. Received: --teacher with {task.name}")
    if record.plan.task != plan.task:
        raise UsageError(
            f"Teacher '{run.folder}' was trained for another task. It must do what its student learns, {plan.task}. "
            f"Received: {record.plan.task}"
        )
    missing = [name for name in splits.known_names if name not in record.class_names]
    extra = [name for name in record.class_names if name not in splits.known_names]
    if missing or extra:
        told = [f"lacks {', '.join(missing[:5])}"] * bool(missing) + [f"has {', '.join(extra[:5])}"] * bool(extra)
        raise UsageError(
            f"Teacher '{run.folder}' must know the classes of '{splits.source}', in any order. It {' and '.join(told)}."
        )


def _check_better(run: Run, merit: float, plan: Plan, splits: Splits, folder: Path) -> None:
    """Raise UsageError where the same student is known to do better than the teacher without it."""
    alone = plan.model_copy(update={"teacher": None})
    for other in runs.every(folder):
        record = other.record
        same = record.plan.model_copy(update=_apart(plan)) == alone and record.plan.teacher is None
        if same and record.finished and record.data_digest == splits.digest and record.validation_merit > merit:
            raise UsageError(
                f"Teacher '{run.folder}' must be better than its student. It reaches {merit:.1%} on validation, and "
                f"the same plan without a teacher {record.validation_merit:.1%}: '{other.folder}'."
            )


def _apart(plan: Plan) -> dict[str, Any]:
    """What is no difference between two plans of which one has a teacher."""
    return {name: getattr(plan, name) for name in ("teacher_share", "teacher_temperature", "exports", "image_size")}


def asking(run: Run, splits: Splits) -> Ask:
    """Return what asks the model of a run, in the order of the classes of `splits`."""
    model = keras_files.load(run.model_path)
    side = run.record.image_size
    order = [run.record.class_names.index(name) for name in splits.known_names]

    # One graph for views of every size: what a map traces anew for each data set would be the whole model.
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)
    def ask(images: Any) -> Any:
        fitting = tf.cast(tf.image.resize(images, (side, side)) + 0.5, tf.uint8)
        return tf.gather(tf.cast(model(fitting, training=False), tf.float32), order, axis=-1)

    return ask


def _answered(feed: Feed, ask: Ask) -> Feed:
    def answered(images: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
        said = tf.ensure_shape(ask(images), targets.shape)
        return images, tf.concat([targets, said], axis=-1), weights

    def batches(split: str, **how: Any) -> Any:
        given = feed(split, **how).map(tf.autograph.experimental.do_not_convert(answered))
        return devices.prefetch(devices.without_autotune(given))

    return batches


def _merit(ask: Ask, record: RunRecord, plan: Plan, splits: Splits, listener: Listener) -> float:
    """What the teacher is worth on the validation pictures of its student, where they are not its own."""
    feed = feed_of(splits, plan.aspect, listener=listener)
    batches = feed("validation", image_size=record.image_size, batch_size=BATCH)
    said = np.concatenate([np.asarray(ask(images)) for images, *_ in batches])
    return float(np.mean(task_of(plan.task).right({PROBABILITIES_OUTPUT: said}, splits.validation.labels)))
