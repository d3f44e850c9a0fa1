"""Finds a learning rate for a stage by trying them all, and leaves no trace of having tried."""

from __future__ import annotations

import itertools
import math

import numpy as np

from keras_transfer.errors import TrainingError
from keras_transfer.specs import Feed, Network, Stage, Value
from keras_transfer.training import checkpoints, freezing
from keras_transfer.training.batch_norm import fused
from keras_transfer.training.fit import steps, suffix_of
from keras_transfer.training.learning_rates import optimizer
from keras_transfer.training.stage_data import Settings, prepare
from keras_transfer.training.surgery import chosen

SMOOTHING = 0.9
DIVERGED = 4.0
"""The search ends where the smoothed loss is this many times the lowest seen."""


class RateCurve(Value):
    """The loss at each learning rate tried, and the rate to take."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed, one per rate."""
    suggestion: float
    """Where the loss fell fastest."""


def find(
    network: Network,
    stage: Stage,
    feed: Feed,
    settings: Settings,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    tries: int = 80,
) -> RateCurve:
    """Train `stage` for `tries` steps at rates that rise from `lowest` to `highest`, then put everything back.

    >>> find(network, stage, feed, settings).suggestion  # doctest: +SKIP
    0.0021

    Weights, batch-norm statistics, random state and what may learn are afterwards exactly what they were; the optimizer
    is one of its own. Raises TrainingError where the loss is no number from the start. Method: Smith 2017, "Cyclical
    Learning Rates for Training Neural Networks", section 3.3; the steepest point as in fastai.
    """
    before = checkpoints.values(network.model.variables, "v")
    learned = [layer.trainable for layer in network.model.layers]
    try:
        rates, losses = _tried(network, chosen(network, stage, feed, settings), feed, settings, lowest, highest, tries)
    finally:
        for layer, trainable in zip(network.model.layers, learned, strict=True):
            layer.trainable = trainable
        checkpoints.assign(network.model.variables, before, "v")
    if len(losses) < 3:
        raise TrainingError(f"No learning rate from {lowest:g} on gives stage '{stage.name}' a loss that is a number.")
    steepest = int(np.argmin(np.gradient(np.array(losses), np.log(rates))))
    return RateCurve(rates=tuple(rates), losses=tuple(losses), suggestion=rates[steepest])


def _tried(
    network: Network, stage: Stage, feed: Feed, settings: Settings, lowest: float, highest: float, tries: int
) -> tuple[list[float], list[float]]:
    freeze = freezing.decide(network, stage)
    freezing.apply(freeze)
    data = prepare(network.model, freeze, stage, feed, settings)
    suffix = suffix_of(network, data)
    method = optimizer(stage, {})
    method.build(suffix.trainable_variables)
    batches = itertools.chain.from_iterable(data.train(epoch) for epoch in itertools.count())
    rates: list[float] = []
    losses: list[float] = []
    running = 0.0
    with fused(freeze.learning, momentum=stage.batch_norm_momentum):
        step, _ = steps(suffix, network, method, stage, data, [])
        for number, batch in enumerate(itertools.islice(batches, tries)):
            rate = lowest * (highest / lowest) ** (number / (tries - 1))
            method.learning_rate = rate
            total, _, weight = (float(value) for value in step(*batch))
            running = SMOOTHING * running + (1 - SMOOTHING) * total / max(weight, 1e-9)
            smoothed = running / (1 - SMOOTHING ** (number + 1))
            if not math.isfinite(smoothed) or smoothed > DIVERGED * min(losses, default=math.inf):
                break
            rates.append(rate)
            losses.append(smoothed)
    return rates, losses
