"""Measures a task on the backbones at hand, before anything is trained, and returns a plan with its reasons."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from keras_transfer.errors import DataError, UsageError, WeightsError
from keras_transfer.selection import policy, reasons, scores
from keras_transfer.selection.findings import (
    Advice,
    BlockScore,
    Limits,
    Measure,
    Measurement,
    Ranked,
    Reason,
    Recipes,
    Task,
)
from keras_transfer.specs import BackboneSpec, Event, Listener, Plan, Stage, silent

T = TypeVar("T")

Judged = tuple[Ranked, scores.Probe | None]
"""A backbone's scores, and the probe of its last block."""

INT8_SHARE = 0.30
"""Size of a full int8 file over the float32 one (EfficientNet-Lite0: 4.0 of 13.5 MB)."""

COLLAPSE_IN_INT8 = frozenset({"squeeze-excite", "swish", "hard-swish"})
"""Traits of the networks that lose 15 points and more under full int8 quantization."""

ADVICE_SHARE = 0.15
"""Most that advice may cost of the training it advises on."""

ANECDOTE_PICTURES = 5
"""Fewer pictures of a class than this and a probe of it is an anecdote."""


def advise(
    task: Task,
    specs: Sequence[BackboneSpec],
    measure: Measure,
    recipes: Recipes,
    *,
    limits: Limits | None = None,
    share: float | None = None,
    listener: Listener = silent,
) -> Advice:
    """Return a plan for a task, the number behind each choice, and what could not be known.

    >>> advise(task, specs, measure, recipes).plan.backbone  # doctest: +SKIP
    'EfficientNetLite0'

    specs: the backbones to choose from, at least one; those whose weights are not at hand are said to be left out.
    limits: what the device allows; a backbone beyond them is ranked and not taken. share: once one backbone is
    measured, no other is that would make advice cost more than this share of the training it advises on; None to
    measure all.

    Raises UsageError where there is no backbone to choose from or where none stays within the limits.
    """
    if not specs:
        raise UsageError("Advice needs at least one backbone to choose from. See: keras-transfer backbones")
    began, limits = time.perf_counter() - task.seconds, limits or Limits()
    batch_size = Plan.model_fields["batch_size"].default
    unknown = list(_doubts(task))
    measured: list[Judged] = []
    for done, spec in enumerate(specs):
        if measured and share is not None:
            ahead = max((ranked for ranked, _ in measured), key=_standing)
            stages = policy.choose(task, ahead, None, recipes, batch_size).stages
            training = policy.training_seconds(task, stages, ahead.picture_ms)
            # Of a backbone that was not looked at yet all that is known is what the others took.
            if (time.perf_counter() - began) * (1 + 1 / len(measured)) > share * training:
                unknown.append(
                    f"{spec.name} was not measured: advice would cost more than {share:.0%} of the {training:.0f} s "
                    f"that training takes. Ask for it by name to have it measured."
                )
                continue
        listener(Event("progress", f"measuring {spec.name}", done=done, total=len(specs)))
        try:
            measurement = measure(spec, max(task.image_size, spec.min_size))
        except WeightsError as error:
            unknown.append(f"{spec.name} was not measured: {error}")
            continue
        measured.append(_ranked(spec, measurement, task, limits, unknown))
    measured.sort(key=lambda pair: _standing(pair[0]), reverse=True)
    ranking = tuple(ranked for ranked, _ in measured)
    best = _taken(measured)
    if best is None:
        unknown.append("No pretrained weights are at hand, so nothing was measured: the plan rests on counts alone.")
    chosen, probe = best or (None, None)
    noise = _noise(probe, task.labels, unknown)
    choice = policy.choose(task, chosen, noise.rate if noise else None, recipes, batch_size)
    size_reasons: tuple[Reason, ...] = ()
    if best:
        spec = next(each for each in specs if each.name == best[0].backbone)
        spent = time.perf_counter() - began
        chosen, size_reasons = _at_larger_size(best, spec, measure, task, limits, choice.stages, spent, unknown)
        ranking = tuple(chosen if each is best[0] else each for each in ranking)
        choice = policy.choose(task, chosen, noise.rate if noise else None, recipes, batch_size)
    plan = Plan(
        data=task.source,
        backbone=chosen.backbone if chosen else specs[0].name,
        recipe=choice.recipe,
        stages=choice.stages,
        image_size=chosen.image_size if chosen else max(task.image_size, specs[0].min_size),
        batch_size=batch_size,
        seed=task.seed,
    )
    return Advice(
        plan=plan,
        reasons=(*reasons.about_task(task), *reasons.about_backbone(chosen, ranking), *size_reasons, *choice.reasons),
        ranking=ranking,
        label_noise=noise.rate if noise else None,
        suspects=noise.suspects if noise else (),
        unknown=tuple(unknown),
        seconds=time.perf_counter() - began,
        training_seconds=policy.training_seconds(task, choice.stages, chosen.picture_ms) if chosen else None,
    )


def _doubts(task: Task) -> list[str]:
    """What the counts alone forbid to conclude."""
    counts, doubts = task.class_counts, []
    smallest, largest = int(counts.min()), int(counts.max())
    if smallest < ANECDOTE_PICTURES:
        few = int((counts < ANECDOTE_PICTURES).sum())
        doubts.append(
            f"{few} of {len(counts)} classes have fewer than {ANECDOTE_PICTURES} pictures: "
            f"what is said of them is a guess."
        )
    looked_at = len(task.labels) / len(counts)
    if looked_at < ANECDOTE_PICTURES <= counts.sum() / len(counts):
        doubts.append(
            f"{len(task.labels)} pictures were looked at, {looked_at:.1f} of each of {len(counts)} classes: what a "
            f"probe says of them is a guess."
        )
    if smallest and largest > 20 * smallest:
        doubts.append(
            f"The largest class has {largest / smallest:.0f} times the pictures of the smallest: accuracy will mostly "
            f"speak of the large ones."
        )
    if task.shift.alike:
        doubts.append("All pictures looked at are the same: nothing can be learned from them.")
    return doubts


def _ranked(spec: BackboneSpec, measurement: Measurement, task: Task, limits: Limits, unknown: list[str]) -> Judged:
    """Score one backbone, and give its last block's probe; what cannot be had is None, and why stands in `unknown`."""

    def tried(what: str, score: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return score(*arguments)
        except DataError as error:
            unknown.append(f"{what} of {spec.name}: {error}")
            return None

    last = measurement.blocks[-1].features
    probes = [
        tried(f"Probe after block {i}", scores.linear_probe, block.features, task.labels)
        for i, block in enumerate(measurement.blocks)
    ]
    tells = any(probe.tells for probe in probes if probe)
    knows = measurement.blocks[int(np.argmax([probe.accuracy if probe else 0.0 for probe in probes]))]
    mirror = (
        tried("Mirroring", scores.lost_by, knows.mirrored, knows.features, task.labels)
        if tells and knows.mirrored is not None
        else None
    )
    size_mb = measurement.size_bytes * (INT8_SHARE if limits.int8 else 1) / 1e6
    source = measurement.source_probabilities
    if source is None:
        unknown.append(f"LEEP of {spec.name}: its weights bring no predictions of source classes.")
    ranked = Ranked(
        backbone=spec.name,
        image_size=measurement.image_size,
        probe_accuracy=probes[-1].accuracy if probes[-1] else None,
        standard_error=probes[-1].standard_error if probes[-1] else None,
        balanced_accuracy=probes[-1].balanced_accuracy if probes[-1] else None,
        tells=tells,
        logme=tried("LogME", scores.logme, last, task.labels),
        h_score=tried("H-score", scores.regularized_h_score, last, task.labels),
        leep=None if source is None else tried("LEEP", scores.leep, source, task.labels),
        intrinsic_dimension=tried("Intrinsic dimension", scores.intrinsic_dimension, last),
        mirror_loss=mirror and mirror[0],
        mirror_error=mirror and mirror[1],
        size_mb=size_mb,
        picture_ms=measurement.picture_ms,
        blocks=tuple(
            BlockScore(accuracy=probe.accuracy, standard_error=probe.standard_error, distance=block.distance)
            for probe, block in zip(probes, measurement.blocks, strict=True)
            if probe
        ),
        obstacle=_obstacle(spec, size_mb, measurement.picture_ms, limits),
    )
    return ranked, probes[-1]


def _obstacle(spec: BackboneSpec, size_mb: float, picture_ms: float, limits: Limits) -> str:
    fragile = sorted(spec.traits & COLLAPSE_IN_INT8)
    if limits.max_mb is not None and size_mb > limits.max_mb:
        return f"{size_mb:.1f} MB, where {limits.max_mb:g} are allowed"
    if limits.max_ms is not None and picture_ms > limits.max_ms:
        return f"{picture_ms:.1f} ms a picture, where {limits.max_ms:g} are allowed"
    if limits.int8 and fragile:
        return f"loses its accuracy in int8 ({', '.join(fragile)})"
    return ""


def _standing(ranked: Ranked) -> tuple[bool, float, float]:
    """What a backbone is ranked by: LogME only parts equals, since it does not compare across feature widths."""
    return not ranked.obstacle, ranked.probe_accuracy or 0.0, ranked.logme or float("-inf")


def _taken(measured: Sequence[Judged]) -> Judged | None:
    """The smallest backbone among those that chance does not tell from the best."""
    if not measured:
        return None
    fitting = [pair for pair in measured if not pair[0].obstacle]
    if not fitting:
        nearest = measured[0][0]
        raise UsageError(
            f"No backbone whose weights are at hand stays within the limits; the best of them, {nearest.backbone}: "
            f"{nearest.obstacle}. Allow more, or fetch other weights. See: keras-transfer backbones"
        )
    best = fitting[0][0]
    if best.probe_accuracy is None or best.standard_error is None:
        return fitting[0]
    floor = best.probe_accuracy - best.standard_error
    return min((pair for pair in fitting if (pair[0].probe_accuracy or 0) >= floor), key=lambda pair: pair[0].size_mb)


def _at_larger_size(
    best: Judged,
    spec: BackboneSpec,
    measure: Measure,
    task: Task,
    limits: Limits,
    stages: Sequence[Stage],
    spent_seconds: float,
    unknown: list[str],
) -> tuple[Ranked, tuple[Reason, ...]]:
    """Take a third more pixels a side where a probe gains more than chance from them and looking is affordable."""
    chosen, probe = best
    size = min(spec.input_size, -(-(chosen.image_size * 4 // 3) // 32) * 32)
    if task.size_is_given or size <= chosen.image_size or probe is None:
        return chosen, ()
    training = policy.training_seconds(task, stages, chosen.picture_ms)
    # The second look costs what the first did, and more for the pixels.
    more = len(task.labels) * chosen.picture_ms / 1000 * ((size / chosen.image_size) ** 2 - 1)
    if 2 * spent_seconds + more > ADVICE_SHARE * training:
        sentence = (
            f"A larger size was not tried: advice would cost more than {ADVICE_SHARE:.0%} of the "
            f"{training:.0f} s that training takes."
        )
        return chosen, (Reason(topic="larger size", sentence=sentence, value=training),)
    larger, larger_probe = _ranked(spec, measure(spec, size), task, limits, unknown)
    gain, error = scores.gain(probe, larger_probe) if larger_probe else (0.0, 0.0)
    better = gain > error and not larger.obstacle
    sentence = f"At {size} pixels a probe is right in {gain * 100:+.1f} points more, " + (
        "which is worth its time." if better else "which chance alone could give or the limits forbid."
    )
    return larger if better else chosen, (Reason(topic="larger size", sentence=sentence, value=gain),)


def _noise(probe: scores.Probe | None, labels: np.ndarray, unknown: list[str]) -> scores.LabelNoise | None:
    if probe is None:
        return None
    if not probe.tells:
        unknown.append("Label noise: a probe that is right no more often than chance cannot doubt labels.")
        return None
    try:
        return scores.label_noise(probe.probabilities, labels)
    except DataError as error:
        unknown.append(f"Label noise: {error}")
        return None
