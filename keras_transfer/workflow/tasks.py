"""The table of tasks: the one place where head, figures, settings and report of a task meet.

A task is a row here, `tasks/NAME.py` (head, loss, merit), a row of `data.annotations` (what pictures are labelled
with), `evaluation/NAME.py` (figures, and how answers are read) and a section of the report.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from keras_transfer.errors import DataError, UsageError, unknown
from keras_transfer.evaluation import agreement, classification, detection, embedding, multilabel, segmentation
from keras_transfer.specs import (
    EMBEDDING_OUTPUT,
    PROBABILITIES_OUTPUT,
    Answers,
    Block,
    Contract,
    Network,
    Output,
    Plan,
    Settled,
    Splits,
    Task,
)

BATCH = 128
DETECTIONS = 100
"""Boxes that a file gives at most, as COCO counts them: `tasks.detection.DETECTIONS`, known without TensorFlow."""
PLACE_STRIDES = (8, 16, 32)
"""`tasks.detection.STRIDES`, likewise; a test holds each pair together."""
MAP_STRIDES = (4, 8, 16, 32)
"""`tasks.segmentation.STRIDES`, likewise."""
BATCH_VALUES = 2**24
"""Numbers in the answers to a batch, 64 MB of them: a map of many classes is larger than its picture."""


def _later(place: str) -> Callable[..., Any]:
    """A function that is imported when it is first called: `package.module.name`.

    What reads an answer must not wait for TensorFlow, which heads, drawings and folding need.
    """
    module, _, name = place.rpartition(".")

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(f"keras_transfer.{module}"), name)(*arguments, **options)

    return call


def _probabilities(classes: int, side: int) -> tuple[Output, ...]:
    return (Output(name=PROBABILITIES_OUTPUT, shape=(classes,), labels="axis"),)


def _settled_temperature(answers: Answers, labels: np.ndarray) -> Settled:
    from keras_transfer.export import temperature

    found = temperature.fit(answers[PROBABILITIES_OUTPUT], labels)
    before, after = (
        classification.calibration_error(classification.calibration(each, labels))
        for each in (answers[PROBABILITIES_OUTPUT], temperature.apply(answers[PROBABILITIES_OUTPUT], found))
    )
    return Settled(
        {"temperature": found}, f"temperature {found:.2f}: calibration error on validation {before:.1%} -> {after:.1%}"
    )


def _cooled(answers: Answers, contract: Contract) -> Answers:
    if contract.temperature == 1:
        return answers
    from keras_transfer.export import temperature

    return {PROBABILITIES_OUTPUT: temperature.apply(answers[PROBABILITIES_OUTPUT], contract.temperature)}


def _with_temperature(model: Any, contract: Contract) -> Any:
    from keras_transfer.export import temperature

    return model if contract.temperature == 1 else temperature.fold(model, contract.temperature)


EMBEDDING_WIDTHS = {"gem": 128, "grid": 512}
"""Numbers of an embedding by head (a test holds them to `tasks.embedding.HEADS`: heads bring TensorFlow)."""


def _embedding(classes: int, side: int, head: str = "gem") -> tuple[Output, ...]:
    return (Output(name=EMBEDDING_OUTPUT, shape=(EMBEDDING_WIDTHS[head],)),)


def _embedding_and_cosines(classes: int, side: int, head: str = "gem") -> tuple[Output, ...]:
    return (*_embedding(classes, side, head), Output(name="cosines", shape=(classes,)))


def _embedding_alone(answers: Answers, contract: Contract) -> Answers:
    return {EMBEDDING_OUTPUT: answers[EMBEDDING_OUTPUT]}


def _maps(classes: int, side: int, head: str = "fpn") -> tuple[Output, ...]:
    return (Output(name=PROBABILITIES_OUTPUT, shape=(side, side, classes), labels="axis"),)


def _segmenter(features: Any, blocks: tuple[Block, ...], **options: Any) -> Network:
    from keras_transfer.backbones.blocks import taps
    from keras_transfer.tasks.segmentation import FINEST, STRIDES, attach

    side = features.input.shape[1]
    finer = (FINEST,) if any(block.resolution * FINEST == side for block in blocks) else ()
    return attach(features, blocks, taps=taps(blocks, (*finer, *STRIDES), side), **options)


_OF_PIXELS = {
    "float32": {"agreement": 0.999, "max_difference": 0.01},
    "float16": {"agreement": 0.995, "max_difference": 0.05},
}
"""Of millions of pixels a few lie between two classes to the last bit. The second is of any one picture's."""


def _detector(features: Any, blocks: tuple[Block, ...], **options: Any) -> Network:
    from keras_transfer.backbones.blocks import taps
    from keras_transfer.tasks.detection import STRIDES, attach

    return attach(features, blocks, taps=taps(blocks, STRIDES, features.input.shape[1]), **options)


def _boxes(classes: int, side: int) -> tuple[Output, ...]:
    return (
        Output(name=detection.LOCATION, shape=(DETECTIONS, 4), kind="boxes"),
        Output(name=detection.CATEGORY, shape=(DETECTIONS,), labels="values"),
        Output(name=detection.SCORE, shape=(DETECTIONS,)),
        Output(name=detection.NUMBER, shape=()),
    )


def _places(classes: int, side: int) -> tuple[Output, ...]:
    places = sum((side // stride) ** 2 for stride in PLACE_STRIDES)
    return Output(name="scores", shape=(places, classes)), Output(name="distances", shape=(places, 4))


def _without_copies(answers: Answers, contract: Contract) -> Answers:
    if detection.LOCATION in answers:
        return answers
    from keras_transfer.tasks.detection import answered

    return answered(answers["scores"], answers["distances"])


def _with_boxes(model: Any, contract: Contract) -> Any:
    from keras_transfer.tasks.detection import with_boxes

    return with_boxes(model)


def _settled_scores(answers: Answers, labels: Any) -> Settled:
    from keras_transfer.tasks.detection import answered

    return detection.settle(answered(answers["scores"], answers["distances"]), labels, answers["scores"].shape[-1])


_OF_BOXES = {
    "float32": {"agreement": 0.99, "max_difference": 0.02},
    "float16": {"agreement": 0.95, "max_difference": 0.1},
    "int8": {"drop_points": 1.5},
}
"""Of two boxes that cover each other by just as much as a copy does, either may stay, to the last bit of a runtime."""


_CLASSIFICATION = Task(
    name="classification",
    annotation="class",
    merit_name="accuracy",
    attach=_later("tasks.classification.attach"),
    losses=("cross_entropy",),
    averaged=True,
    outputs=_probabilities,
    read=classification.read,
    score=classification.score,
    right=agreement.right_class,
    differ=classification.differ,
    diverge=agreement.divergence,
    section="sections/classification.html.j2",
    show=_later("evaluation.classification_page.show"),
    settle=_settled_temperature,
    apply=_cooled,
    fold=_with_temperature,
    explain=_later("evaluation.gradcam.gradcam"),
    teach=_later("tasks.distilling.of_one_class"),
)


TASKS: Mapping[str, Task] = {
    "classification": _CLASSIFICATION,
    "clips": replace(
        _CLASSIFICATION,
        name="clips",
        annotation="clip",
        attach=_later("tasks.clips.attach"),
        section="sections/clips.html.j2",
        show=_later("evaluation.clips_page.show"),
        halve=_later("tasks.clips.halved"),
        explain=None,
        teach=None,
        averaged=False,
        defaults={
            "recipe": "clips",
            "image_size": 96,
            "exports": (*Plan.model_fields["exports"].default, "tflite-stream", "onnx-stream"),
        },
    ),
    "multilabel": Task(
        name="multilabel",
        annotation="classes",
        merit_name="label ranking",
        attach=_later("tasks.multilabel.attach"),
        losses=("binary_cross_entropy", "asymmetric"),
        averaged=True,
        outputs=_probabilities,
        read=multilabel.read,
        score=multilabel.score,
        right=multilabel.right,
        differ=multilabel.differ,
        section="sections/multilabel.html.j2",
        show=_later("evaluation.multilabel_page.show"),
        settle=multilabel.settle,
        explain=_later("evaluation.gradcam.gradcam"),
        teach=_later("tasks.distilling.of_several_labels"),
    ),
    "segmentation": Task(
        name="segmentation",
        annotation="mask",
        merit_name="mean IoU of a picture",
        attach=_segmenter,
        losses=("balanced+dice", "cross_entropy+dice", "cross_entropy", "cross_entropy+lovasz"),
        strides=MAP_STRIDES,
        heads=("fpn", "lraspp"),
        outputs=_maps,
        read=segmentation.read,
        score=segmentation.score,
        right=segmentation.right,
        differ=segmentation.differ,
        section="sections/segmentation.html.j2",
        show=_later("evaluation.segmentation_page.show"),
        keep=segmentation.keep,
        draw=_later("evaluation.overlays.draw"),
        bounds=_OF_PIXELS,
        defaults={"recipe": "dense", "batch_size": 8},
        evidence="CamVid at 384 pixels ends at mean IoU 0.723 on validation by recipe 'dense' "
        "(scripts/bench segmentation --camvid CAMVID --image-size 384).",
        most_side=352,
    ),
    "detection": Task(
        name="detection",
        annotation="boxes",
        merit_name="best F1 of a picture",
        attach=_detector,
        losses=("task_aligned",),
        strides=PLACE_STRIDES,
        outputs=_boxes,
        trained=_places,
        read=detection.read,
        score=detection.score,
        right=detection.right,
        differ=detection.differ,
        section="sections/detection.html.j2",
        show=_later("evaluation.detection_page.show"),
        settle=_settled_scores,
        apply=_without_copies,
        fold=_with_boxes,
        draw=_later("evaluation.box_drawing.draw"),
        placed=detection.placed,
        results=detection.results,
        bounds=_OF_BOXES,
        defaults={"recipe": "dense", "batch_size": 8},
        evidence="BCCD at 448 pixels ends at AP50 0.874 on validation by recipe 'dense' "
        "(scripts/bench detection BCCD).",
        most_side=448,
    ),
    "embedding": Task(
        name="embedding",
        annotation="identity",
        merit_name="Recall@1",
        attach=_later("tasks.embedding.attach"),
        losses=("arcface", "cosface", "contrastive", "proxy"),
        heads=tuple(EMBEDDING_WIDTHS),
        outputs=_embedding,
        trained=_embedding_and_cosines,
        read=embedding.read,
        score=embedding.score,
        right=embedding.right,
        differ=embedding.differ,
        section="sections/embedding.html.j2",
        show=_later("evaluation.embedding_page.show"),
        settle=embedding.settle,
        by_group=embedding.by_group,
        apply=_embedding_alone,
        fold=_later("tasks.embedding.without_cosines"),
    ),
}


def task_of(name: str) -> Task:
    """Return the row of a task; UsageError with the nearest name where there is none.

    >>> task_of("classification").merit_name
    'accuracy'
    """
    if name not in TASKS:
        raise UsageError(unknown("task", name, TASKS))
    return TASKS[name]


def batch_of(contract: Contract) -> int:
    """Return how many pictures or clips are answered at once.

    `BATCH` pictures, or as many as `BATCH_VALUES` of answers are; each frame of a clip goes through the backbone as a
    picture does.
    """
    values = sum(math.prod(output.shape) for output in contract.outputs)
    return max(1, min(BATCH // max(1, contract.frames), BATCH_VALUES // values))


def check_annotation(task: Task, splits: Splits) -> None:
    """Raise DataError, in one sentence, where pictures are not labelled with what the task learns from."""
    if splits.annotation != task.annotation:
        fitting = [row.name for row in TASKS.values() if row.annotation == splits.annotation]
        raise DataError(
            f"'{splits.source}' is labelled with '{splits.annotation}', and {task.name} takes '{task.annotation}'. "
            f"Name other pictures{f', or the task {fitting[0]}' if fitting else ''}."
        )
