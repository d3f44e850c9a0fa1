"""Looks at a source before training: its health, and how fast it arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer.backbones import features, registry, weights
from keras_transfer.data import cleaning, doctor_page, label_views, pipeline, sheet, sources, throughput
from keras_transfer.data import doctor as examiner
from keras_transfer.data.doctor import Diagnosis
from keras_transfer.data.throughput import Throughput
from keras_transfer.errors import UsageError
from keras_transfer.specs import (
    BackboneSpec,
    Event,
    Listener,
    Plan,
    Splits,
    silent,
)
from keras_transfer.training import prefix
from keras_transfer.workflow.building import fitting_size
from keras_transfer.workflow.opened import some_pictures
from keras_transfer.workflow.tasks import BATCH, task_of


def doctor(
    source: str,
    *,
    task: str = "classification",
    labels: bool = True,
    write: Path | None = None,
    page: Path | None = None,
    augmented: Path | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> Diagnosis:
    """Look at every picture of `source` once and return what is wrong with them.

    >>> doctor("sample:fashion", labels=False).findings  # doctest: +SKIP
    ()

    task: what the pictures are for. labels: judge labels too, by a linear probe on ImageNet features. write: a clean
    manifest (`.csv`, `.parquet`) or, under any other name, TFRecord shards. page: an HTML file with thumbnails.
    augmented: a PNG with what each augmentation policy makes of eight pictures.
    """
    splits = _of_pictures("doctor", source, task, seed, listener)
    if write:
        cleaning.check(splits, write)
    described = _described(splits, listener) if labels else None
    examination = examiner.examine(splits, features=described, listener=listener)
    if write:
        cleaning.write(cleaning.cleaned(splits, examination), write, listener=listener)
    if page:
        views = label_views.views(splits, doctor_page.pictured(examination.diagnosis))
        doctor_page.write(examination, page, views=views)
    if augmented:
        images = some_pictures(pipeline.make_feed(splits), "train", max(96, min(splits.typical_size, 224)), 8)
        sheet.draw(images, augmented, seed=seed)
    return examination.diagnosis


def bench_input(
    source: str,
    *,
    task: str = "classification",
    image_size: int | None = None,
    batch_size: int = 32,
    augment: str = "none",
    backbone: str = "EfficientNetLite0",
    listener: Listener = silent,
) -> Throughput:
    """Return how fast the pictures of `source` arrive, how long a training step of `backbone` waits, and what limits.

    >>> bench_input("sample:fashion").limited_by  # doctest: +SKIP
    'training'
    """
    spec = registry.backbone(backbone)
    splits = _of_pictures("bench input", source, task, 0, listener)
    size = image_size or fitting_size(spec, splits.typical_size)
    step = _training_step(spec, size, len(splits.class_names))
    return throughput.measure(splits, image_size=size, batch_size=batch_size, augment=augment, step=step)


def _of_pictures(verb: str, source: str, task: str, seed: int, listener: Listener) -> Splits:
    """Return the splits of a source of pictures; UsageError for one of videos, which `verb` does not look at."""
    splits = sources.load(source, annotation=task_of(task).annotation, seed=seed, listener=listener)
    if splits.frames:
        raise UsageError(
            f"'{source}' holds videos, and {verb} looks at pictures. What is wrong with videos is told by: "
            f"keras-transfer train {source} --task {task}"
        )
    return splits


def _described(splits: Splits, listener: Listener) -> dict[str, np.ndarray] | None:
    """What the default backbone makes of every picture, averaged over its feature map; None without its weights.

    Empty where no probe would look at it.
    """
    if splits.annotation != examiner.PROBED:
        return {}
    spec = registry.backbone(str(Plan.model_fields["backbone"].default))
    if not weights.at_hand(spec):
        listener(Event("note", f"Labels are not judged: the weights of {spec.name} are not on this machine."))
        return None
    size = fitting_size(spec, splits.typical_size)
    built = features.build(spec, image_size=size, listener=listener)
    pooled = keras.Model(built.model.input, keras.layers.GlobalAveragePooling2D()(built.model.output))
    feed = pipeline.make_feed(splits)
    images, _, _ = next(iter(feed("train", image_size=size, batch_size=16)))
    compute = prefix.build(pooled, check=np.asarray(images)).compute
    rows: dict[str, list[np.ndarray]] = {name: [] for name in splits.counts}
    done, total = 0, sum(splits.counts.values())
    for name, parts in rows.items():
        for images, _, _ in feed(name, image_size=size, batch_size=BATCH):
            parts.append(compute(np.asarray(images))[0])
            done += len(images)
            listener(Event("progress", "Describing pictures", done=done, total=total))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _training_step(spec: BackboneSpec, size: int, classes: int) -> throughput.Step:
    """One step of training everything, from random weights: what a picture costs depends neither on them nor on labels.

    So the targets that come with the pictures, be they masks or boxes, are left aside.
    """
    built = features.build(spec, image_size=size, weights="none")
    pooled = keras.layers.GlobalAveragePooling2D()(built.model.output)
    model = keras.Model(built.model.input, keras.layers.Dense(classes, activation="softmax")(pooled))
    model.compile("sgd", "categorical_crossentropy")

    def step(images: Any, targets: Any, weights: Any) -> Any:
        any_class = np.full((len(images), classes), 1 / classes, np.float32)
        return model.train_on_batch(images, any_class, sample_weight=weights)

    return step
