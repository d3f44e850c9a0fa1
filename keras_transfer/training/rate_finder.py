"""Finds a learning rate for a stage by trying them all, and leaves no trace of having tried."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_transfer.errors import TrainingError
from keras_transfer.specs import Stage, Value
from keras_transfer.training import checkpoints, freezing
from keras_transfer.training.freezing import Freeze
from keras_transfer.training.job import Job
from keras_transfer.training.learning_rates import optimizer
from keras_transfer.training.stage_data import StageData, decide, prefixes, prepare
from keras_transfer.training.steps import learning_step, suffix_of
from keras_transfer.training.whole_batch import learning

SMOOTHING = 0.9
LEANING = round(1 / (1 - SMOOTHING))
"""Losses that the smoothed mean reaches back over."""

DIVERGED = 4.0
"""The search ends where the smoothed loss is this many times the lowest seen."""


@dataclass(frozen=True)
class Range:
    """The rates that are tried: `tries` of them, evenly spaced on a logarithmic scale."""

    lowest: float = 1e-6
    highest: float = 1.0
    tries: int = 80

    @property
    def rates(self) -> np.ndarray:
        """Float64 (tries,), rising."""
        return np.geomspace(self.lowest, self.highest, self.tries)


class RateCurve(Value):
    """The loss at each learning rate tried, and the rate to take."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed, one per rate."""
    suggestion: float
    """Where the loss fell fastest."""


def find(job: Job, stage: Stage, tried: Range = Range()) -> RateCurve:
    """Return how the loss of `stage` moves as its rate rises, and put everything back.

    >>> find(job, stage).suggestion  # doctest: +SKIP
    0.0021

    Weights, batch-norm statistics, random state and what may learn are afterwards exactly what they were.
    Raises TrainingError where the loss is no number from the start.
    """
    learned = [layer.trainable for layer in job.network.model.layers]
    try:
        freeze = freezing.decide(job.network, stage)
        freezing.apply(freeze)
        ready = prefixes(job, freeze, job.settings.engine)
        data = prepare(job, stage, freeze, decide(job, stage, freeze, ready), ready)
        return search(job, stage, freeze, data, tried)
    finally:
        for layer, trainable in zip(job.network.model.layers, learned, strict=True):
            layer.trainable = trainable


def search(
    job: Job,
    stage: Stage,
    freeze: Freeze,
    data: StageData,
    tried: Range = Range(),
) -> RateCurve:
    """Return what `find` returns, of a stage that has begun: with its blocks decided and its batches at hand.

    The optimizer is one of its own. Method: Smith 2017, "Cyclical Learning Rates for Training Neural Networks",
    section 3.3; the steepest point as in fastai.
    """
    before = checkpoints.values(job.network.model.variables, "v")
    try:
        rates, losses = _tried(job, stage, freeze, data, tried)
    finally:
        checkpoints.assign(job.network.model.variables, before, "v")
    if len(losses) < 3:
        raise TrainingError(
            f"No learning rate from {tried.lowest:g} on gives stage '{stage.name}' a loss that is a number."
        )
    return RateCurve(rates=tuple(rates), losses=tuple(losses), suggestion=steepest(rates, losses))


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return the rate at which smoothed losses fall fastest by the logarithm of the rate.

    >>> steepest([1e-3, 1e-2, 1e-1], [1.0, 0.4, 0.3])
    0.001

    The first `LEANING` losses are the means of a few batches: what they fall by is which pictures came, not the rate.
    They are looked at where there are hardly any others.
    """
    first = LEANING if len(losses) >= 2 * LEANING else 0
    slopes = np.gradient(np.array(losses[first:]), np.log(rates[first:]))
    return float(rates[first + int(np.argmin(slopes))])


def _tried(job: Job, stage: Stage, freeze: Freeze, data: StageData, tried: Range) -> tuple[list[float], list[float]]:
    suffix = suffix_of(job.network, data)
    with job.strategy.scope():
        method = optimizer(stage, {})
        method.build(suffix.trainable_variables)
    batches = itertools.chain.from_iterable(data.train(epoch) for epoch in itertools.count())
    rates: list[float] = []
    losses: list[float] = []
    running = 0.0
    with learning(job.strategy, job.network, freeze, stage):
        step = learning_step(suffix, job.network, method, stage, data, [], job.strategy)
        for number, (rate, batch) in enumerate(zip(tried.rates, batches, strict=False)):
            total, _, weight = (float(value) for value in step(*batch, [rate]))
            # A mean that forgets, made up for at the start, where it still leans towards 0 (Kingma & Ba 2015).
            running = SMOOTHING * running + (1 - SMOOTHING) * total / max(weight, 1e-9)
            smoothed = running / (1 - SMOOTHING ** (number + 1))
            if not math.isfinite(smoothed) or smoothed > DIVERGED * min(losses, default=math.inf):
                break
            rates.append(float(rate))
            losses.append(smoothed)
    return rates, losses
