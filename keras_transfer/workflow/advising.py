"""Measures before training: advice for a plan, and what labels are worth."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer import order
from keras_transfer import plan as plans
from keras_transfer.backbones import blocks, features, registry, weights
from keras_transfer.data import pipeline, sources
from keras_transfer.errors import UsageError
from keras_transfer.evaluation import plots
from keras_transfer.evaluation.verdict import labels_saved
from keras_transfer.files import write_bytes
from keras_transfer.selection import advisor, measuring, pictures
from keras_transfer.selection.findings import Advice, Limits, Measurement, Question
from keras_transfer.specs import (
    BackboneSpec,
    Feed,
    Listener,
    Plan,
    Run,
    Split,
    Splits,
    silent,
)
from keras_transfer.training import prefix, recipes
from keras_transfer.workflow.building import TRANSFER, fitting_size, settings_of
from keras_transfer.workflow.training import train, with_scratch

LOOKED_AT = 1000
"""Training pictures that advice measures: a probe's accuracy is then known to about a point and a half."""

JUDGED_ON = 500
"""Validation pictures of the source's own that probes are judged on: known to two points, for half the looks."""

TASK_OF = {"class": "classification", "classes": "multilabel"}
"""What is trained on pictures that are labelled so; of other labels nothing here is a measure."""

METHODS = (("transfer", "scratch"), ("linear probe",))
"""What a transfer curve compares; those beside each other share a run, as scratch gets the seconds of transfer."""

ROW = ("method", "per_class", "seed", "accuracy", "seconds", "cpu_seconds")
"""What a row of a transfer curve holds of a measurement."""

OF = {"data_digest": "data set", "backbone": "backbone", "recipe": "recipe"}
"""What a row says it was measured of, and what a person calls it: rows of anything else are no part of a curve."""


@dataclass(frozen=True)
class TransferCurve:
    """What labels are worth with transfer, with a linear probe, and from scratch."""

    rows: tuple[Mapping[str, Any], ...]
    sentence: str
    """What transfer saved, as a manager reads it."""


def advise(
    source: str,
    *,
    names: Sequence[str] = (),
    limits: Limits | None = None,
    image_size: int | None = None,
    seed: int = 0,
    write: Path | None = None,
    splits: Splits | None = None,
    listener: Listener = silent,
) -> Advice:
    """Return a plan for the pictures of `source`, measured before anything is trained, and the reason of each choice.

    >>> advise("sample:fashion").plan.backbone  # doctest: +SKIP
    'EfficientNetLite0'

    names: backbones to choose from; where left out, those whose weights are at hand, as many as can be measured in a
    share of the training's time. limits: what the device allows. image_size: side in pixels; from the pictures and the
    backbone where it is left out. write: where to put the plan. splits: the pictures of `source`, where they are read
    already. Raises UsageError for pictures that are labelled with anything but classes.
    """
    began = time.perf_counter()
    splits = splits or sources.load(source, seed=seed, listener=listener)
    if splits.annotation not in TASK_OF:
        raise UsageError(
            f"Advice measures pictures that have one class, or several labels. Received: '{source}', which is labelled "
            f"with {splits.annotation}. Train by a recipe instead: keras-transfer train {source} --recipe head_then_top"
        )
    specs = [registry.backbone(name) for name in names] or sorted(
        filter(_at_hand, registry.rows()),
        key=lambda row: row.parameters,  # the first to be looked at costs least
    )
    specs = specs or [registry.backbone(str(Plan.model_fields["backbone"].default))]
    feed = pipeline.make_feed(splits, seed=seed, listener=listener)
    look = functools.cache(functools.partial(_looked_at, splits, feed, seed))
    size = image_size or fitting_size(specs[0], splits.typical_size)
    looked_at = look(size)
    question = Question(
        source=source,
        labels=looked_at.labels,
        class_counts=_class_counts(splits),
        pictures=len(splits.train),
        image_size=size,
        typical_size=splits.typical_size,
        shift=pictures.input_shift(looked_at.images),
        validation_labels=looked_at.validation_labels,
        validation_pictures=len(splits.validation),
        groups=looked_at.groups,
        task=TASK_OF[splits.annotation],
        size_is_given=image_size is not None,
        seed=seed,
        seconds=time.perf_counter() - began,
    )

    def measure(spec: BackboneSpec, side: int) -> Measurement:
        built = features.build(spec, image_size=side, listener=listener)
        return measuring.measure(
            built.model,
            blocks.cut(built.model, spec),
            look(side).images,
            _computed,
            weights.classifier(spec),
            validation=look(side).validation,
        )

    share = None if names else advisor.ADVICE_SHARE
    advice = advisor.advise(question, specs, measure, recipes.RECIPES, limits=limits, share=share, listener=listener)
    if write:
        write_bytes(write, plans.to_toml(advice.plan).encode())
    return advice


def bench_transfer(
    source: str,
    *,
    per_class: Sequence[int | None] = (5, 10, 25, 50, 100, None),
    seeds: Sequence[int] = (0, 1),
    backbone: str = "EfficientNetLite0",
    recipe: str = "head_then_top",
    plot: Path | None = None,
    keep: Run | None = None,
    resume: Path | None = None,
    listener: Listener = silent,
) -> TransferCurve:
    """Return accuracy against labelled pictures for transfer, a linear probe, and from scratch for as long.

    >>> bench_transfer("sample:fashion", per_class=[5, None], seeds=[0]).rows[0]["method"]  # doctest: +SKIP
    'transfer'

    per_class: training pictures of each class, None for all; validation has no more. One row for each method, number
    and seed: method, per_class, seed, accuracy (test), seconds, cpu_seconds, and what it was measured of: data_digest,
    backbone, recipe. plot: where to put the curve as SVG. keep: a run whose report is to tell of it. resume: a JSON
    file that has every row as soon as it is measured; rows that are in it already are not measured again.

    Raises UsageError where `resume` holds no rows, or rows of other pictures, another backbone or recipe.
    """
    splits = sources.load(source, listener=listener)
    most = int(np.bincount(splits.train.labels).max())
    of = dict(zip(OF, (splits.digest, backbone, recipe), strict=True))
    before = _measured_before(resume, of)
    counts = dict.fromkeys(min(each or most, most) for each in per_class)
    rows: list[Mapping[str, Any]] = []
    for count, seed, methods in itertools.product(counts, seeds, METHODS):
        found = [row for row in before if (row["per_class"], row["seed"]) == (count, seed) and row["method"] in methods]
        if len(found) < len(methods):
            plan = Plan(data=source, backbone=backbone, recipe=recipe if "transfer" in methods else "head", seed=seed)
            points = _points(plan, methods, count, fewer(splits, count, seed), listener)
            found = [{**point, **of} for point in points]
        rows += found
        if resume:
            later = [row for row in before if row not in rows]
            write_bytes(resume, json.dumps([*rows, *later], indent=1).encode())
    if plot:
        write_bytes(plot, plots.labels_against_accuracy(rows).encode())
    if keep:
        write_bytes(keep.folder / TRANSFER, json.dumps(rows, indent=2).encode())
    return TransferCurve(tuple(rows), labels_saved(rows))


def _measured_before(resume: Path | None, of: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The rows that an earlier measurement of the same things left."""
    if resume is None or not resume.exists():
        return []
    try:
        rows: list[Mapping[str, Any]] = [
            {name: row[name] for name in (*ROW, *OF)} for row in json.loads(resume.read_text())
        ]
    except (ValueError, TypeError, KeyError):
        raise UsageError(
            f"'{resume}' holds no rows of a transfer curve that say what they were measured of. Name another file, or "
            f"delete it."
        ) from None
    for row, name in itertools.product(rows, OF):
        if row[name] != of[name]:
            raise UsageError(
                f"'{resume}' holds rows of another {OF[name]} ({_shortened(row[name])}), which are no part of "
                f"this curve ({_shortened(of[name])}). Name another file."
            )
    return rows


def _shortened(value: Any) -> str:
    """A digest as far as a person compares it; names as they are."""
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _points(
    plan: Plan, methods: Sequence[str], per_class: int, splits: Splits, listener: Listener
) -> list[Mapping[str, Any]]:
    """The points of a transfer curve that one run gives: its own, and from scratch where `methods` has it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        run = train(plan, folder=Path(folder), splits=splits, listener=listener)
        worth = {"accuracy": run.record.test["accuracy"], "seconds": run.record.seconds}
        points = [_point(methods[0], per_class, plan.seed, worth, began)]
        if "scratch" in methods:
            began = time.process_time()
            points.append(_point("scratch", per_class, plan.seed, _from_scratch(run, splits, listener), began))
    return points


def _point(method: str, per_class: int, seed: int, worth: Mapping[str, float], began: float) -> Mapping[str, Any]:
    """One point of a transfer curve; `began` is the process time at which its training did."""
    spent = {"cpu_seconds": round(time.process_time() - began, 2)}
    return {"method": method, "per_class": per_class, "seed": seed, **worth, **spent}


def _from_scratch(run: Run, splits: Splits, listener: Listener) -> dict[str, float]:
    """Train the network of `run` from random weights for as long as the run took."""
    plan = run.record.plan
    feed = pipeline.make_feed(splits, aspect=plan.aspect, seed=plan.seed, listener=listener)
    settings = settings_of(plan, splits, "stream")
    return with_scratch(run, registry.backbone(plan.backbone), splits, feed, settings, listener).record.scratch


def fewer(splits: Splits, per_class: int, seed: int) -> Splits:
    """The same test pictures, with at most `per_class` of each class to train on, and to validate with."""
    rng = np.random.default_rng(seed)
    kept = {}
    for split in (splits.train, splits.validation):
        if not isinstance(split.pictures, np.ndarray):
            raise UsageError("A part of the pictures can be taken of folders, manifests and samples only.")
        order = rng.permutation(len(split))
        rank = np.empty(len(split), int)
        for each in np.unique(split.labels):
            rank[order[split.labels[order] == each]] = np.arange((split.labels == each).sum())
        chosen = np.flatnonzero(rank < per_class)
        kept[split.name] = Split(
            name=split.name,
            pictures=split.pictures[chosen],
            labels=split.labels[chosen],
            keys=tuple(split.keys[i] for i in chosen),
            weights=None if split.weights is None else split.weights[chosen],
        )
    digest = hashlib.sha256(f"{splits.digest} {per_class} {seed}".encode()).hexdigest()
    return replace(splits, train=kept["train"], validation=kept["validation"], digest=digest)


def _at_hand(spec: BackboneSpec) -> bool:
    """Whether the backbone's weights are on this machine: a package that is installed, or Keras' own cache."""
    cached = [path.name.lower().replace("_", "") for path in weights.cache().glob("*top*")]
    held = {
        "package": lambda source: importlib.util.find_spec(source.file.split("/")[0]) is not None,
        "keras": lambda source: any(name.startswith(spec.name.lower()) for name in cached),
    }
    return any(held[source.kind](source) for source in spec.weights)


def _computed(model: Any, check: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The one output of `model`, on the fastest engine that agrees with Keras on `check`."""
    compute = prefix.build(model, check=check).compute
    return lambda images: compute(images)[0]


@dataclass(frozen=True)
class LookedAt:
    """The pictures that advice measures, at one size."""

    images: np.ndarray
    """Of the training split, uint8 (n, side, side, 3)."""
    labels: np.ndarray
    """int (n,), or bool (n, classes)."""
    groups: np.ndarray | None
    """int (n,), where the source says which pictures belong together."""
    validation: np.ndarray | None
    """uint8 (m, side, side, 3), where the source brought a validation split."""
    validation_labels: np.ndarray | None


def _looked_at(splits: Splits, feed: Feed, seed: int, size: int) -> LookedAt:
    """Up to `LOOKED_AT` training pictures and `JUDGED_ON` validation pictures, chosen by the seed."""
    images, labels = _first(feed, "train", size, LOOKED_AT, splits.annotation)
    groups = splits.train.groups
    if groups is not None:
        rows = order.of_epoch(len(splits.train), seed=seed, epoch=0)[: len(labels)]
        # A stream that does not fit the memory comes in an order of its own, in which no group can be told.
        groups = groups[rows] if np.array_equal(splits.train.labels[rows], labels) else None
    if "validation" not in splits.given:
        return LookedAt(images, labels, groups, None, None)
    return LookedAt(images, labels, groups, *_first(feed, "validation", size, JUDGED_ON, splits.annotation))


def _first(feed: Feed, split: str, size: int, count: int, annotation: str) -> tuple[np.ndarray, np.ndarray]:
    images, targets, _ = next(iter(feed(split, image_size=size, batch_size=count, shuffle=True)))
    targets = np.asarray(targets)
    return np.asarray(images), targets > 0.5 if annotation == "classes" else targets.argmax(axis=1)


def _class_counts(splits: Splits) -> np.ndarray:
    """Training pictures of each class, int (classes,)."""
    if splits.annotation == "classes":
        return splits.train.labels.sum(axis=0)
    return np.bincount(splits.train.labels, minlength=len(splits.class_names))
