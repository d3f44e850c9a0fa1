"""Measures a task on the backbones at hand, before anything is trained, and returns a plan with its reasons."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from keras_transfer.errors import DataError, UsageError, WeightsError
from keras_transfer.selection import policy, reasons, scores
from keras_transfer.selection.alike import look_alikes
from keras_transfer.selection.findings import (
    Advice,
    BlockFeatures,
    BlockScore,
    Limits,
    Measure,
    Measurement,
    Question,
    Ranked,
    Reason,
    Recipes,
)
from keras_transfer.specs import BackboneSpec, Event, Listener, Plan, silent

T = TypeVar("T")

BATCH_SIZE = int(Plan.model_fields["batch_size"].default)


@dataclass(frozen=True)
class Inquiry:
    """All that stays the same while one question is answered."""

    question: Question
    measure: Measure
    recipes: Recipes
    limits: Limits
    began: float
    """`time.perf_counter()` when reading the pictures began."""
    unknown: list[str]
    """Grows by a sentence for each thing that cannot be known."""

    @property
    def spent_seconds(self) -> float:
        """What advice has taken so far."""
        return time.perf_counter() - self.began

    def tried(self, what: str, score: Callable[..., T], *arguments: Any, **options: Any) -> T | None:
        """Return a score, or None where it cannot be had, and why stands in `unknown`."""
        try:
            return score(*arguments, **options)
        except DataError as error:
            self.unknown.append(f"{what}: {error}")
            return None


@dataclass(frozen=True)
class Judged:
    """A backbone's scores, and what is needed of it later."""

    ranked: Ranked
    probe: scores.Probe | None
    """Of its last block."""
    learning_ms: Callable[[], float] | None


INT8_SHARE = 0.30
"""Size of a full int8 file over the float32 one (EfficientNet-Lite0: 4.0 of 13.5 MB)."""

COLLAPSE_IN_INT8 = frozenset({"squeeze-excite", "swish", "hard-swish"})
"""Traits of the networks that lose 15 points and more under full int8 quantization."""

ADVICE_SHARE = 0.15
"""Most that advice may cost of the training it advises on."""

ANECDOTE_PICTURES = 5
"""Fewer pictures of a class than this and a probe of it is an anecdote."""


TIMED_FROM_SECONDS = 120
"""Expected training from which a step of it is timed: building the step alone takes seconds."""


def advise(
    question: Question,
    specs: Sequence[BackboneSpec],
    measure: Measure,
    recipes: Recipes,
    *,
    limits: Limits | None = None,
    share: float | None = None,
    listener: Listener = silent,
) -> Advice:
    """Return a plan for a question, the number behind each choice, and what could not be known.

    >>> advise(question, specs, measure, recipes).plan.backbone  # doctest: +SKIP
    'EfficientNetLite0'

    specs: the backbones to choose from, at least one; those whose weights are not at hand are said to be left out.
    limits: what the device allows; a backbone beyond them is ranked and not taken. share: once one backbone is
    measured, no other is that would make advice cost more than this share of the training it advises on; None to
    measure all.

    Raises UsageError where there is no backbone to choose from or where none stays within the limits.
    """
    if not specs:
        raise UsageError("Advice needs at least one backbone to choose from. See: keras-transfer backbones")
    began = time.perf_counter() - question.seconds
    inquiry = Inquiry(question, measure, recipes, limits or Limits(), began, list(_doubts(question)))
    measured = _measured(inquiry, specs, share, listener)
    best = _taken(measured)
    if best is None:
        inquiry.unknown.append(
            "No pretrained weights are at hand, so nothing was measured: the plan rests on counts alone."
        )
    noise = _noise(inquiry, best)
    chosen, size_reasons = _refined(inquiry, best, specs, noise.rate if noise else None)
    ranking = tuple(chosen.ranked if chosen and each is best else each.ranked for each in measured)
    return _advice(inquiry, chosen.ranked if chosen else None, ranking, size_reasons, noise, specs[0])


def _refined(
    inquiry: Inquiry, best: Judged | None, specs: Sequence[BackboneSpec], label_noise: float | None
) -> tuple[Judged | None, tuple[Reason, ...]]:
    """Look closer at the best backbone: at a larger size, and at what a step of its training takes."""
    if best is None:
        return None, ()
    chosen, reasons_of_size = _at_larger_size(inquiry, best, specs, label_noise)
    return _timed(inquiry, chosen, label_noise), reasons_of_size


def _advice(
    inquiry: Inquiry,
    ranked: Ranked | None,
    ranking: tuple[Ranked, ...],
    size_reasons: tuple[Reason, ...],
    noise: scores.LabelNoise | None,
    otherwise: BackboneSpec,
) -> Advice:
    """Put together what was found; `otherwise` is the backbone where none was measured."""
    question, recipes, doubted = inquiry.question, inquiry.recipes, noise.rate if noise else None
    choice = policy.choose(question, ranked, doubted, recipes, BATCH_SIZE)
    offered = policy.alternatives(question, choice, ranked, recipes) if ranked else ()
    about = (*reasons.about_question(question), *reasons.about_backbone(ranked, ranking))
    return Advice(
        plan=_plan(question, ranked, choice, otherwise),
        reasons=(*about, *size_reasons, *choice.reasons),
        ranking=ranking,
        label_noise=doubted,
        suspects=noise.suspects if noise else (),
        unknown=tuple(inquiry.unknown),
        seconds=inquiry.spent_seconds,
        training_seconds=offered[0].seconds if offered else None,
        alternatives=offered,
    )


def _plan(question: Question, ranked: Ranked | None, choice: policy.Choice, otherwise: BackboneSpec) -> Plan:
    """Return the plan of what was chosen; `otherwise` is the backbone where none was measured."""
    return Plan(
        data=question.source,
        task=question.task,
        backbone=ranked.backbone if ranked else otherwise.name,
        recipe=choice.recipe,
        stages=choice.stages,
        image_size=ranked.image_size if ranked else max(question.image_size, otherwise.min_size),
        batch_size=BATCH_SIZE,
        seed=question.seed,
    )


def _measured(inquiry: Inquiry, specs: Sequence[BackboneSpec], share: float | None, listener: Listener) -> list[Judged]:
    """Measure the backbones, as many as the share allows, and return them best first."""
    measured: list[Judged] = []
    for done, spec in enumerate(specs):
        if measured and share is not None:
            training = _expected_seconds(inquiry, max((each.ranked for each in measured), key=_standing), None)
            # Of a backbone that was not looked at yet all that is known is what the others took.
            if inquiry.spent_seconds * (1 + 1 / len(measured)) > share * training:
                inquiry.unknown.append(
                    f"{spec.name} was not measured: advice would cost more than {share:.0%} of the {training:.0f} s "
                    f"that training takes. Ask for it by name to have it measured."
                )
                continue
        listener(Event("progress", f"measuring {spec.name}", done=done, total=len(specs)))
        try:
            measurement = inquiry.measure(spec, max(inquiry.question.image_size, spec.min_size))
        except WeightsError as error:
            inquiry.unknown.append(f"{spec.name} was not measured: {error}")
            continue
        measured.append(_judged(inquiry, spec, measurement))
    return sorted(measured, key=lambda each: _standing(each.ranked), reverse=True)


def _expected_seconds(inquiry: Inquiry, ranked: Ranked, label_noise: float | None) -> float:
    """What training as advised for a backbone would take."""
    stages = policy.choose(inquiry.question, ranked, label_noise, inquiry.recipes, BATCH_SIZE).stages
    return policy.training_seconds(inquiry.question, stages, ranked)


def _doubts(question: Question) -> list[str]:
    """What the counts alone forbid to conclude."""
    counts, doubts = question.class_counts, []
    smallest, largest = int(counts.min()), int(counts.max())
    if smallest < ANECDOTE_PICTURES:
        few = int((counts < ANECDOTE_PICTURES).sum())
        doubts.append(
            f"{few} of {len(counts)} classes have fewer than {ANECDOTE_PICTURES} pictures: "
            f"what is said of them is a guess."
        )
    looked_at = len(question.labels) / len(counts)
    if looked_at < ANECDOTE_PICTURES <= question.pictures / len(counts):
        doubts.append(
            f"{len(question.labels)} pictures were looked at, {looked_at:.1f} of each of {len(counts)} classes: what a "
            f"probe says of them is a guess."
        )
    if smallest and largest > 20 * smallest:
        doubts.append(
            f"The largest class has {largest / smallest:.0f} times the pictures of the smallest: accuracy will mostly "
            f"speak of the large ones."
        )
    if question.shift.alike:
        doubts.append("All pictures looked at are the same: nothing can be learned from them.")
    return doubts


def _judged(inquiry: Inquiry, spec: BackboneSpec, measurement: Measurement) -> Judged:
    """Score one backbone; what cannot be had is None, and why stands in `unknown`."""
    question, limits, last = inquiry.question, inquiry.limits, measurement.blocks[-1].features
    groups = question.groups
    if groups is None:
        found = inquiry.tried(f"Look-alikes of {spec.name}", look_alikes, last, question.labels, question.copies)
        groups = np.arange(len(question.labels)) if found is None else found
    probes = [_probe(inquiry, f"{spec.name}", i, block, groups) for i, block in enumerate(measurement.blocks)]
    probe = probes[-1]
    mirror = _lost_by_mirroring(inquiry, spec, measurement.blocks, probes, groups)
    size_mb = measurement.size_bytes * (INT8_SHARE if limits.int8 else 1) / 1e6
    h_score, leep = _of_one_label(inquiry, spec, measurement)
    ranked = Ranked(
        backbone=spec.name,
        image_size=measurement.image_size,
        probe_accuracy=probe.accuracy if probe else None,
        standard_error=probe.standard_error if probe else None,
        balanced_accuracy=probe.balanced_accuracy if probe else None,
        judged_on=_judged_on(question, groups),
        tells=any(each.tells for each in probes if each),
        logme=inquiry.tried(f"LogME of {spec.name}", scores.logme, last, question.labels),
        h_score=h_score,
        leep=leep,
        intrinsic_dimension=inquiry.tried(f"Intrinsic dimension of {spec.name}", scores.intrinsic_dimension, last),
        mirror_loss=mirror and mirror[0],
        mirror_error=mirror and mirror[1],
        size_mb=size_mb,
        picture_ms=measurement.picture_ms,
        blocks=tuple(
            BlockScore(
                accuracy=each.accuracy, standard_error=each.standard_error, distance=block.distance, work=block.work
            )
            for each, block in zip(probes, measurement.blocks, strict=True)
            if each
        ),
        obstacle=_obstacle(spec, size_mb, measurement.picture_ms, limits),
    )
    return Judged(ranked, probe, measurement.learning_ms)


def _probe(inquiry: Inquiry, name: str, position: int, block: BlockFeatures, groups: np.ndarray) -> scores.Probe | None:
    """Probe one block: on the source's own validation pictures where it brings some, else with groups left out."""
    question = inquiry.question
    validation = None
    if question.validation_labels is not None and block.validation is not None:
        validation = block.validation, question.validation_labels
    what = f"Probe after block {position} of {name}"
    return inquiry.tried(
        what, scores.linear_probe, block.features, question.labels, groups=groups, validation=validation
    )


def _judged_on(question: Question, groups: np.ndarray) -> str:
    """Say which pictures a probe was judged on."""
    count, apart = len(question.labels), len(np.unique(groups))
    if question.validation_labels is not None:
        return f"on {len(question.validation_labels)} validation pictures of the source's own"
    if question.groups is not None:
        return f"with each of {apart} groups left out as a whole"
    if apart == count:
        return "with each picture left out in turn"
    return f"with look-alikes left out together ({count} pictures, {apart} of them different)"


def _lost_by_mirroring(
    inquiry: Inquiry,
    spec: BackboneSpec,
    blocks: Sequence[BlockFeatures],
    probes: Sequence[scores.Probe | None],
    groups: np.ndarray,
) -> tuple[float, float] | None:
    """Return what a probe of the block that knows most loses on mirrored pictures; None where none knows anything."""
    knows = blocks[int(np.argmax([probe.accuracy if probe else 0.0 for probe in probes]))]
    if knows.mirrored is None or not any(probe.tells for probe in probes if probe):
        return None
    labels = inquiry.question.labels
    what = f"Mirroring of {spec.name}"
    return inquiry.tried(what, scores.lost_by, knows.mirrored, knows.features, labels, groups=groups)


def _of_one_label(inquiry: Inquiry, spec: BackboneSpec, measurement: Measurement) -> tuple[float | None, float | None]:
    """Return H-score and LEEP, which are defined where a picture has one class."""
    labels, source = inquiry.question.labels, measurement.source_probabilities
    if inquiry.question.several_labels:
        inquiry.unknown.append(f"H-score and LEEP of {spec.name}: they take one class per picture.")
        return None, None
    h_score = inquiry.tried(
        f"H-score of {spec.name}", scores.regularized_h_score, measurement.blocks[-1].features, labels
    )
    if source is None:
        inquiry.unknown.append(f"LEEP of {spec.name}: its weights bring no predictions of source classes.")
        return h_score, None
    return h_score, inquiry.tried(f"LEEP of {spec.name}", scores.leep, source, labels)


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
    fitting = [each for each in measured if not each.ranked.obstacle]
    if not fitting:
        nearest = measured[0].ranked
        raise UsageError(
            f"No backbone whose weights are at hand stays within the limits; the best of them, {nearest.backbone}: "
            f"{nearest.obstacle}. Allow more, or fetch other weights. See: keras-transfer backbones"
        )
    best = fitting[0].ranked
    if best.probe_accuracy is None or best.standard_error is None:
        return fitting[0]
    floor = best.probe_accuracy - best.standard_error
    near = [each for each in fitting if (each.ranked.probe_accuracy or 0) >= floor]
    return min(near, key=lambda each: each.ranked.size_mb)


def _at_larger_size(
    inquiry: Inquiry, best: Judged, specs: Sequence[BackboneSpec], label_noise: float | None
) -> tuple[Judged, tuple[Reason, ...]]:
    """Take a third more pixels a side where a probe gains more than chance from them and looking is affordable."""
    question, chosen = inquiry.question, best.ranked
    spec = next(each for each in specs if each.name == chosen.backbone)
    size = min(spec.input_size, -(-(chosen.image_size * 4 // 3) // 32) * 32)
    if question.size_is_given or size <= chosen.image_size or best.probe is None:
        return best, ()
    training = _expected_seconds(inquiry, chosen, label_noise)
    looked_at = len(question.labels) + len(() if question.validation_labels is None else question.validation_labels)
    # The second look costs what the first did, and more for the pixels.
    more = looked_at * chosen.picture_ms / 1000 * ((size / chosen.image_size) ** 2 - 1)
    if 2 * inquiry.spent_seconds + more > ADVICE_SHARE * training:
        sentence = (
            f"A larger size was not tried: advice would cost more than {ADVICE_SHARE:.0%} of the "
            f"{training:.0f} s that training takes."
        )
        return best, (Reason(topic="larger size", sentence=sentence, value=training),)
    larger = _judged(inquiry, spec, inquiry.measure(spec, size))
    gain, error = scores.gain(best.probe, larger.probe) if larger.probe else (0.0, 0.0)
    better = gain > error and not larger.ranked.obstacle
    sentence = f"At {size} pixels a probe is right in {gain * 100:+.1f} points more, " + (
        "which is worth its time." if better else "which chance alone could give or the limits forbid."
    )
    return larger if better else best, (Reason(topic="larger size", sentence=sentence, value=gain),)


def _timed(inquiry: Inquiry, chosen: Judged, label_noise: float | None) -> Judged:
    """Time a step of training where training is long enough for that to be nothing beside it."""
    if chosen.learning_ms is None or _expected_seconds(inquiry, chosen.ranked, label_noise) < TIMED_FROM_SECONDS:
        return chosen
    return replace(chosen, ranked=chosen.ranked.model_copy(update={"learning_ms": chosen.learning_ms()}))


def _noise(inquiry: Inquiry, best: Judged | None) -> scores.LabelNoise | None:
    """Return which labels a probe doubts, each by a fit that had not seen its picture nor any of its group."""
    if best is None or best.probe is None:
        return None
    if inquiry.question.several_labels:
        inquiry.unknown.append("Label noise: it is told from pictures with one class each.")
        return None
    if not best.probe.tells:
        inquiry.unknown.append("Label noise: a probe that is right no more often than chance cannot doubt labels.")
        return None
    return inquiry.tried("Label noise", scores.label_noise, best.probe.probabilities, inquiry.question.labels)
