"""Gives a head the weights that the features of all training pictures determine: one pass, no step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.errors import UsageError
from keras_transfer.specs import Network, Stage
from keras_transfer.training.stage_data import StageData
from keras_transfer.training.steps import in_float32, taken


def check(network: Network, stage: Stage) -> None:
    """Raise UsageError where `stage` asks for a solution that its network or its blocks do not have."""
    if network.solve is None:
        raise UsageError(
            f"Stage '{stage.name}' is to be solved, and the head of this task can only be learnt. Take solved out."
        )
    if stage.blocks:
        raise UsageError(
            f"Stage '{stage.name}' is to be solved, which a head alone can be. Received: blocks {stage.blocks}. "
            f"Let them learn in a stage behind it."
        )


def solution(suffix: keras.Model, network: Network, stage: Stage, data: StageData) -> Callable[[], tuple[float, float]]:
    """Return what solves the head of `network` and gives the loss of a training picture and the weight of them all.

    suffix: from the inputs of `data` to the raw outputs. Every view is taken, each picture from one after the other.
    """
    solved = network.solve
    assert solved is not None  # `check` saw to it
    stored = data.cut == network.features  # else the inputs are pictures
    featured = None if stored else keras.Model(network.model.input, list(network.features))
    passes = stage.views if stage.augment != "none" else 1

    @tf.function
    def losses_of(inputs: Any, targets: Any) -> Any:
        return network.losses(in_float32(suffix(taken(inputs, suffix), training=False)), targets, 0.0)

    def batches() -> Iterator[tuple[Any, Any, Any]]:
        for number in range(passes):
            for inputs, targets, weights in data.train(number):
                yield tf.nest.flatten(featured.predict_on_batch(inputs) if featured else inputs), targets, weights

    def solve() -> tuple[float, float]:
        solved(batches())
        total = weight = 0.0
        for inputs, targets, weights in data.train(0):
            total += float(tf.reduce_sum(losses_of(inputs, targets) * weights))
            weight += float(tf.reduce_sum(weights))
        return total / max(weight, 1e-9), weight

    return solve
