"""Measures what labels are worth: accuracy against their number, with transfer, with a probe, and from scratch."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.backbones import registry
from keras_transfer.data import pipeline, sources
from keras_transfer.errors import UsageError
from keras_transfer.evaluation import plots
from keras_transfer.evaluation.verdict import labels_saved
from keras_transfer.files import write_bytes
from keras_transfer.specs import Listener, Plan, Run, Splits, silent
from keras_transfer.workflow.building import TRANSFER, settings_of
from keras_transfer.workflow.training import train, with_scratch

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
        order = rng.permutation(len(split))
        rank = np.empty(len(split), int)
        for each in np.unique(split.labels):
            rank[order[split.labels[order] == each]] = np.arange((split.labels == each).sum())
        kept[split.name] = split.take(np.flatnonzero(rank < per_class))
    digest = hashlib.sha256(f"{splits.digest} {per_class} {seed}".encode()).hexdigest()
    return replace(splits, train=kept["train"], validation=kept["validation"], digest=digest)
